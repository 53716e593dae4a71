// Command conformance serves the simulator's event hub where the live tests of Microsoft's azeventhubs look for it, for
// hack/conformance.sh. It stops at SIGTERM, or when its standard input ends.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/google/uuid"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

const (
	// namespace is a loopback address of its own, because the clients take the default ports with it.
	namespace = "127.0.0.2"
	// refused must not listen: the tests of the custom endpoint want to be refused there.
	refused = "127.0.0.1:5671"
	hubName = "conformance"
	// fakeToken is that of the SDK's fake credential.
	fakeToken = "Sanitized"
)

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: conformance DIRECTORY (for ca.pem and env)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	go func() { _, _ = io.Copy(io.Discard, os.Stdin); stop() }()
	err := run(ctx, os.Args[1])
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "conformance:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, dir string) error {
	policies, err := newPolicies()
	if err != nil {
		return err
	}
	server := amqp.New(amqp.Options{
		Log:      eventhub.New(eventhub.Options{Name: hubName, Partitions: 4}),
		Policies: policies, VerifyJWT: verifyFake,
	})
	certificate, caPEM, err := issue(net.ParseIP(namespace))
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	failed, err := serve(server, config)
	if err != nil {
		return errors.Join(err, server.Close())
	}
	if err := describe(dir, policies, caPEM); err != nil {
		return errors.Join(err, server.Close())
	}
	fmt.Println("ready")
	select {
	case <-ctx.Done():
	case err = <-failed:
	}
	return errors.Join(err, server.Close())
}

// newPolicies are a hub's, and those of an Event Hubs namespace that the tests ask for.
func newPolicies() (*auth.Policies, error) {
	p := auth.NewPolicies(uuid.NewString)
	return p, errors.Join(p.Add("ListenOnly", auth.Listen), p.Add("SendOnly", auth.Send))
}

func verifyFake(token string) (rights auth.Right, expires time.Time, err error) {
	if token != fakeToken {
		return 0, time.Time{}, errors.New("InvalidToken: only the token of the SDK's fake credential is accepted")
	}
	return auth.Listen | auth.Send, time.Time{}, nil
}

// serve listens where clients go of their own accord. What it returns says when a listener failed.
func serve(server *amqp.Server, config *tls.Config) (failed <-chan error, err error) {
	if c, err := net.DialTimeout("tcp", refused, time.Second); err == nil {
		return nil, errors.Join(fmt.Errorf("something listens on %s, where the tests of the custom endpoint want to be refused", refused), c.Close())
	}
	failures := make(chan error, 3)
	websocket := &http.Server{Handler: server.WebSocketHandler(), ReadHeaderTimeout: 30 * time.Second}
	for _, l := range []struct {
		port, what string
		wrap       func(net.Listener) net.Listener
		serve      func(net.Listener) error
	}{
		{"5672", "AMQP", func(l net.Listener) net.Listener { return l }, server.Serve},
		{"5671", "AMQP over TLS", func(l net.Listener) net.Listener { return tls.NewListener(l, config) }, server.Serve},
		{"443", "AMQP over WebSocket", func(l net.Listener) net.Listener { return tls.NewListener(l, config) }, websocket.Serve},
	} {
		listener, err := net.Listen("tcp", net.JoinHostPort(namespace, l.port))
		if err != nil {
			return nil, fmt.Errorf("%s needs its port: %w", l.what, err)
		}
		go func() { failures <- fmt.Errorf("%s: %w", l.what, l.serve(l.wrap(listener))) }()
	}
	return failures, nil
}

// connectionString names no event hub: the tests do.
func connectionString(policies *auth.Policies, name string) string {
	p, _ := policies.Get(name)
	return fmt.Sprintf("Endpoint=sb://%s/;SharedAccessKeyName=%s;SharedAccessKey=%s", namespace, p.Name, p.Key)
}

// describe writes the environment of the tests, for a shell to read, and the CA's certificate.
func describe(dir string, policies *auth.Policies, caPEM []byte) error {
	ca := filepath.Join(dir, "ca.pem")
	var env strings.Builder
	for _, v := range [][2]string{
		{"EVENTHUB_NAMESPACE", namespace},
		{"EVENTHUB_NAME", hubName},
		{"EVENTHUB_LINKSONLY_NAME", hubName},
		{"EVENTHUB_CONNECTION_STRING", connectionString(policies, "iothubowner")},
		{"EVENTHUB_CONNECTION_STRING_LISTEN_ONLY", connectionString(policies, "ListenOnly")},
		{"EVENTHUB_CONNECTION_STRING_SEND_ONLY", connectionString(policies, "SendOnly")},
		{"SSL_CERT_FILE", ca},
		// The tests want these to be there, but those that are run do not use them.
		{"AZURE_SUBSCRIPTION_ID", "none"}, {"RESOURCE_GROUP", "none"}, {"CHECKPOINTSTORE_STORAGE_ENDPOINT", "none"},
	} {
		fmt.Fprintf(&env, "export %s='%s'\n", v[0], v[1])
	}
	return errors.Join(os.WriteFile(ca, caPEM, 0o600), os.WriteFile(filepath.Join(dir, "env"), []byte(env.String()), 0o600))
}
