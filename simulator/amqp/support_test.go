package amqp_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

const (
	hubName = "iothub-ehub-factory"
	group   = "pnp-operator"
)

// site is an event hub that is served in the clear, as to SDKs in their emulator mode.
type site struct {
	log      *eventhub.Log
	server   *amqp.Server
	policies *auth.Policies
	address  string
}

func newSite(t *testing.T, edits ...func(*amqp.Options)) *site {
	t.Helper()
	s := &site{
		log:      eventhub.New(eventhub.Options{Name: hubName, Partitions: 2, Groups: []string{group}}),
		policies: auth.NewPolicies(func() string { return "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0LTEyMzQ=" }),
	}
	o := amqp.Options{Log: s.log, Policies: s.policies}
	for _, edit := range edits {
		edit(&o)
	}
	s.log = o.Log
	s.server = amqp.New(o)
	s.address = s.listen(t, nil)
	t.Cleanup(func() {
		if err := s.server.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func withLog(l *eventhub.Log) func(*amqp.Options) { return func(o *amqp.Options) { o.Log = l } }

// listen serves on another port of this machine.
func (s *site) listen(t *testing.T, config *tls.Config) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if config != nil {
		l = tls.NewListener(l, config)
	}
	go func() { _ = s.server.Serve(l) }() // until the server is closed
	return address
}

// connectionString is for a policy, in emulator mode.
func (s *site) connectionString(policy string) string {
	p, _ := s.policies.Get(policy)
	return fmt.Sprintf("Endpoint=sb://%s;SharedAccessKeyName=%s;SharedAccessKey=%s;EntityPath=%s;UseDevelopmentEmulator=true", s.address, p.Name, p.Key, hubName)
}

// consumer is Microsoft's client.
func (s *site) consumer(t *testing.T, group string, edits ...func(*azeventhubs.ConsumerClientOptions)) *azeventhubs.ConsumerClient {
	t.Helper()
	o := &azeventhubs.ConsumerClientOptions{RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1}}
	for _, edit := range edits {
		edit(o)
	}
	client, err := azeventhubs.NewConsumerClientFromConnectionString(s.connectionString("service"), "", group, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(client) })
	return client
}

func closing(c interface{ Close(context.Context) error }) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	_ = c.Close(ctx)
}

func partition(t *testing.T, c *azeventhubs.ConsumerClient, id string, o azeventhubs.PartitionClientOptions) *azeventhubs.PartitionClient {
	t.Helper()
	p, err := c.NewPartitionClient(id, &o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(p) })
	return p
}

var earliest = azeventhubs.StartPosition{Earliest: new(true)}

var earliestOptions = azeventhubs.PartitionClientOptions{StartPosition: earliest}

// receive waits for n events.
func receive(t *testing.T, p *azeventhubs.PartitionClient, n int) []*azeventhubs.ReceivedEventData {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	events, err := p.ReceiveEvents(ctx, n, nil)
	if err != nil || len(events) != n {
		t.Fatalf("received %d of %d events: %v", len(events), n, err)
	}
	return events
}

// failure waits for the error of a receiver that is refused or evicted.
func failure(t *testing.T, p *azeventhubs.PartitionClient) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	_, err := p.ReceiveEvents(ctx, 1, nil)
	if err == nil || ctx.Err() != nil {
		t.Fatalf("no error but %v, %v", err, ctx.Err())
	}
	return err
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited 20 s for " + what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// anyJWT takes every token of Microsoft Entra ID for ever.
func anyJWT(string) (auth.Right, time.Time, error) { return auth.Listen | auth.Send, time.Time{}, nil }
