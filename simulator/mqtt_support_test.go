package simulator_test

import (
	"bufio"
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
)

const mqttWait = 5 * time.Second

// mqttDevice is a device that speaks MQTT packet by packet, as rightly or wrongly as a test wants.
type mqttDevice struct {
	t    testing.TB
	conn *tls.Conn
	in   *bufio.Reader
	id   string
	next uint16
}

// login is what a CONNECT says.
type login struct {
	client, user, password string
	keepAlive              uint16
	will                   string
	certificate            *tls.Certificate
}

// login returns what a device with a SAS key says that lives by the rules.
func (c *client) login(id, model string) login {
	c.t.Helper()
	user := "factory.azure-devices.net/" + id + "/?api-version=2021-04-12&DeviceClientType=" + url.QueryEscape("test/1 (go; linux)")
	if model != "" {
		user = "factory.azure-devices.net/" + id + "/?api-version=2021-04-12&model-id=" + model
	}
	return login{client: id, user: user, password: c.deviceToken(id, id, time.Hour), keepAlive: 180}
}

// deviceToken signs a token for one device with the key of another.
func (c *client) deviceToken(id, keyOf string, valid time.Duration) string {
	c.t.Helper()
	t, err := c.sim.Hub().Get(keyOf)
	c.must(err)
	token, err := auth.Sign("factory.azure-devices.net/devices/"+id, "", t.Identity.Authentication.PrimaryKey, c.clock.Now().Add(valid))
	c.must(err)
	return token
}

// dial sends a CONNECT and returns the return code of the CONNACK, -1 if the connection ended without one.
func (c *client) dial(l login) (*mqttDevice, int) {
	c.t.Helper()
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.sim.CAPEM())
	config := &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}
	if l.certificate != nil {
		config.Certificates = []tls.Certificate{*l.certificate}
	}
	conn, err := tls.Dial("tcp", c.sim.MQTTAddress(), config)
	c.must(err)
	c.t.Cleanup(func() { _ = conn.Close() })
	d := &mqttDevice{t: c.t, conn: conn, in: bufio.NewReader(conn), id: l.client}
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Connect}, ProtocolVersion: 4, Connect: packets.ConnectParams{
		ProtocolName: []byte("MQTT"), ClientIdentifier: l.client, Keepalive: l.keepAlive,
		UsernameFlag: true, Username: []byte(l.user), PasswordFlag: l.password != "", Password: []byte(l.password),
	}}
	if l.will != "" {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, l.will, []byte(`{"gone":true}`)
	}
	d.write(pk.ConnectEncode)
	ack, err := d.read()
	if err != nil {
		return d, -1
	}
	return d, int(ack.ReasonCode)
}

// connect is dial for a device that is taken, and subscribes to all that a device can.
func (c *client) connect(id, model string) *mqttDevice {
	c.t.Helper()
	d, code := c.dial(c.login(id, model))
	if code != 0 {
		c.t.Fatalf("CONNACK %d", code)
	}
	d.subscribe("$iothub/twin/res/#", "$iothub/twin/PATCH/properties/desired/#", "$iothub/methods/POST/#")
	return d
}

func (d *mqttDevice) write(encode func(*bytes.Buffer) error) {
	d.t.Helper()
	var b bytes.Buffer
	if err := encode(&b); err != nil {
		d.t.Fatal(err)
	}
	_, _ = d.conn.Write(b.Bytes()) // reading will tell
}

func (d *mqttDevice) read() (packets.Packet, error) {
	var pk packets.Packet
	_ = d.conn.SetReadDeadline(time.Now().Add(mqttWait))
	first, err := d.in.ReadByte()
	if err != nil {
		return pk, err
	}
	if err := pk.FixedHeader.Decode(first); err != nil {
		return pk, err
	}
	pk.ProtocolVersion = 4
	if pk.FixedHeader.Remaining, _, err = packets.DecodeLength(d.in); err != nil {
		return pk, err
	}
	body := make([]byte, pk.FixedHeader.Remaining)
	if _, err := io.ReadFull(d.in, body); err != nil {
		return pk, err
	}
	switch pk.FixedHeader.Type {
	case packets.Connack:
		err = pk.ConnackDecode(body)
	case packets.Publish:
		err = pk.PublishDecode(body)
	case packets.Suback:
		err = pk.SubackDecode(body)
	case packets.Puback:
		err = pk.PubackDecode(body)
	}
	return pk, err
}

// await returns the next packet of a type; what comes before is dropped.
func (d *mqttDevice) await(kind byte) packets.Packet {
	d.t.Helper()
	for {
		pk, err := d.read()
		if err != nil {
			d.t.Fatalf("waiting for packet type %d: %v", kind, err)
		}
		if pk.FixedHeader.Type == kind {
			return pk
		}
	}
}

// wantEnd waits for the end of the connection.
func (d *mqttDevice) wantEnd() {
	d.t.Helper()
	for {
		_, err := d.read()
		if timeout := (interface{ Timeout() bool })(nil); errors.As(err, &timeout) && timeout.Timeout() {
			d.t.Fatal("the connection is still there")
		}
		if err != nil {
			return
		}
	}
}

func (d *mqttDevice) subscribe(filters ...string) packets.Packet {
	d.t.Helper()
	d.next++
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: 4, PacketID: d.next}
	for _, f := range filters {
		pk.Filters = append(pk.Filters, packets.Subscription{Filter: f, Qos: 1})
	}
	d.write(pk.SubscribeEncode)
	return d.await(packets.Suback)
}

func (d *mqttDevice) publish(topic, payload string, qos byte) {
	d.t.Helper()
	pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Publish, Qos: qos}, ProtocolVersion: 4, TopicName: topic, Payload: []byte(payload)}
	if qos > 0 {
		d.next++
		pk.PacketID = d.next
	}
	d.write(pk.PublishEncode)
}

// received returns topic and payload of the next message.
func (d *mqttDevice) received() (string, string) {
	d.t.Helper()
	pk := d.await(packets.Publish)
	return pk.TopicName, string(pk.Payload)
}

// report sends a reported patch and returns the topic and body of the answer.
func (d *mqttDevice) report(patch string) (string, string) {
	d.t.Helper()
	d.publish("$iothub/twin/PATCH/properties/reported/?$rid=7", patch, 0)
	return d.received()
}

// telemetryTopic joins properties, which come in pairs, to the topic of a device's messages.
func (d *mqttDevice) telemetryTopic(properties ...string) string {
	var bag []string
	for i := 0; i < len(properties); i += 2 {
		bag = append(bag, escape(properties[i])+"="+escape(properties[i+1]))
	}
	return "devices/" + d.id + "/messages/events/" + strings.Join(bag, "&")
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
