package simulator

import (
	"crypto/tls"
	"net"

	"github.com/pnp-operator/pnp-operator/simulator/mqtt"
)

// serveMQTT lets devices connect. Certificates of devices are asked for and not verified here: what counts is the thumbprint.
func (s *Simulator) serveMQTT(l net.Listener, certificate tls.Certificate) error {
	s.mqtt = mqtt.New(mqtt.Options{
		HostNames: []string{s.options.HostName, s.MQTTAddress()},
		Hub:       s.hub, Policies: s.policies, Methods: s.methods, Router: s.router, Clock: s.options.Clock, Logger: s.options.Logger,
	})
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12, ClientAuth: tls.RequestClientCert}
	return s.mqtt.Serve(tls.NewListener(l, config))
}

// MQTTAddress returns where devices connect, MQTT over TLS: the gateway host name of Microsoft's device SDKs.
func (s *Simulator) MQTTAddress() string { return reachable(s.mqttAddr) }

// DeviceConnectionString returns what a device pastes into Microsoft's device SDK. It has no key if the device proves itself
// by a certificate.
func (s *Simulator) DeviceConnectionString(id string) (string, error) {
	t, err := s.hub.Get(id)
	if err != nil {
		return "", err
	}
	credential := ";x509=true"
	if key := t.Identity.Authentication.PrimaryKey; key != "" {
		credential = ";SharedAccessKey=" + key
	}
	return "HostName=" + s.options.HostName + ";DeviceId=" + id + credential + ";GatewayHostName=" + s.MQTTAddress(), nil
}

// CutMQTT ends the connection of a device without a word, or of all devices if id is empty.
func (s *Simulator) CutMQTT(id string) { s.mqtt.Cut(id) }
