package eventstream

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/pnp-operator/pnp-operator/internal/disguise"
)

// Config says which stream to read, and how to reach it. Either ConnectionString or Credential is set.
type Config struct {
	// ConnectionString of the Event Hub-compatible endpoint, with EntityPath. Never printed.
	ConnectionString string
	// Credential for Microsoft Entra ID.
	Credential azcore.TokenCredential
	// Namespace is the fully qualified name, like ns.servicebus.windows.net.
	Namespace     string
	EventHub      string
	ConsumerGroup string
	// Endpoint (host:port) to dial instead of the namespace, for a private link or a simulator.
	Endpoint string
	// CABundle in PEM instead of the system's.
	CABundle []byte
	// WebSocket tunnels AMQP through port 443.
	WebSocket bool
	// Instance names this reader to others that it takes a partition from.
	Instance string

	isPlain bool // no TLS, as for an emulator
}

// Check refuses what cannot work, or would send a token in the clear.
func (c Config) Check() error {
	if c.isPlain && c.Endpoint != "" && !isLoopback(c.Endpoint) {
		return fmt.Errorf("UseDevelopmentEmulator sends tokens without encryption: allowed to this machine only, got endpoint %q", c.Endpoint)
	}
	_, err := c.tls()
	return err
}

const notAConnectionString = "not the connection string of an Event Hub-compatible endpoint: expected Endpoint=sb://…;SharedAccessKeyName=…;SharedAccessKey=…;EntityPath=…"

// ParseConnectionString takes the address out of the connection string of an Event Hub-compatible endpoint. No error
// repeats any secret part of it.
func ParseConnectionString(s string) (Config, error) {
	p, err := azeventhubs.ParseConnectionString(s)
	problem := disguise.Of(s)
	switch {
	case problem != "":
		return Config{}, errors.New("the connection string " + problem)
	case err != nil || p.FullyQualifiedNamespace == "":
		return Config{}, errors.New(notAConnectionString)
	case p.EntityPath == nil || *p.EntityPath == "":
		return Config{}, errors.New("EntityPath is missing: the connection string has to name the event hub")
	case p.Emulator && !isLoopback(p.FullyQualifiedNamespace):
		return Config{}, fmt.Errorf("UseDevelopmentEmulator sends tokens without encryption: allowed to this machine only, got %q", p.FullyQualifiedNamespace)
	}
	return Config{ConnectionString: s, Namespace: p.FullyQualifiedNamespace, EventHub: *p.EntityPath, isPlain: p.Emulator}, nil
}

func isLoopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		host = address
	}
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// connection is how one event hub is reached: one client reads events, the other asks for
// properties. Each has a connection of its own. A ConsumerClient could do both; but it does not end
// the renewal of its claim on properties when it is closed, and so leaves a goroutine behind for up
// to 110 minutes (docs/decisions/0033-webhook-certificate.md). The ProducerClient sends nothing.
type connection struct {
	events     *azeventhubs.ConsumerClient
	properties *azeventhubs.ProducerClient
	// in and answers are what the two bring.
	in, answers *intake
}

// close bounds the farewell: a peer that is gone does not answer it.
func (c connection) close() {
	closing(c.properties)
	closing(c.events)
	c.in.end()
	c.answers.end()
}

func (c Config) connection() (connection, error) {
	made := connection{in: newIntake(), answers: newIntake()}
	config, err := c.tls()
	if err != nil {
		return connection{}, err
	}
	if made.events, err = c.consumer(config, made.in); err != nil {
		return connection{}, err
	}
	made.properties, err = c.producer(config, made.answers)
	return made, err
}

const application = "pnp-operator"

// once has the client try once: one layer retries, and that is Stream.
var once = azeventhubs.RetryOptions{MaxRetries: -1}

func (c Config) consumer(config *tls.Config, in *intake) (*azeventhubs.ConsumerClient, error) {
	options := &azeventhubs.ConsumerClientOptions{ApplicationID: application, InstanceID: c.Instance, TLSConfig: config, RetryOptions: once}
	options.CustomEndpoint, options.NewWebSocketConn = c.way(in)
	if c.Credential != nil {
		return azeventhubs.NewConsumerClient(c.Namespace, c.EventHub, c.ConsumerGroup, c.Credential, options)
	}
	return azeventhubs.NewConsumerClientFromConnectionString(c.ConnectionString, "", c.ConsumerGroup, options)
}

func (c Config) producer(config *tls.Config, in *intake) (*azeventhubs.ProducerClient, error) {
	options := &azeventhubs.ProducerClientOptions{ApplicationID: application, TLSConfig: config, RetryOptions: once}
	options.CustomEndpoint, options.NewWebSocketConn = c.way(in)
	if c.Credential != nil {
		return azeventhubs.NewProducerClient(c.Namespace, c.EventHub, c.Credential, options)
	}
	return azeventhubs.NewProducerClientFromConnectionString(c.ConnectionString, "", options)
}

// way is where a client dials, or what it dials with. An emulator, which is on this machine, is not
// counted.
func (c Config) way(in *intake) (endpoint string, dial func(context.Context, azeventhubs.WebSocketConnParams) (net.Conn, error)) {
	if c.isPlain && !c.WebSocket {
		return c.Endpoint, nil
	}
	return "", c.dialer(in)
}

func (c Config) tls() (*tls.Config, error) {
	config := &tls.Config{MinVersion: tls.VersionTLS12}
	if len(c.CABundle) > 0 {
		config.RootCAs = x509.NewCertPool()
		if !config.RootCAs.AppendCertsFromPEM(c.CABundle) {
			return nil, errors.New("caBundle holds no PEM certificate")
		}
	}
	return config, nil
}
