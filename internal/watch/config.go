package watch

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
)

// prefetch is how many events the client holds per partition. It is the bound on memory: beyond it the hub waits. An
// event of an IoT hub has at most 256 KB.
const prefetch = 128

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
	switch {
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

func (c Config) client() (*azeventhubs.ConsumerClient, error) {
	config, err := c.tls()
	if err != nil {
		return nil, err
	}
	options := &azeventhubs.ConsumerClientOptions{
		ApplicationID: "pnp-operator", InstanceID: c.Instance, TLSConfig: config, CustomEndpoint: c.Endpoint,
		// One layer retries, and that is Stream.
		RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1},
	}
	if c.WebSocket {
		options.CustomEndpoint, options.NewWebSocketConn = "", c.dialWebSocket
	}
	if c.Credential != nil {
		return azeventhubs.NewConsumerClient(c.Namespace, c.EventHub, c.ConsumerGroup, c.Credential, options)
	}
	return azeventhubs.NewConsumerClientFromConnectionString(c.ConnectionString, "", c.ConsumerGroup, options)
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
