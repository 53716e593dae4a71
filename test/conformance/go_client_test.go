package conformance_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// readWithGo reads over TLS until it has as many events of every partition as there should be.
func readWithGo(t *testing.T, sim *simulator.Simulator, want map[string][]record) map[string][]record {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), taskTime)
	defer cancel()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sim.CAPEM())
	c, err := azeventhubs.NewConsumerClientFromConnectionString(sim.EventHubConnectionString("service"), "", simulator.DefaultConsumerGroup,
		&azeventhubs.ConsumerClientOptions{
			CustomEndpoint: sim.EventsAddress(), TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1},
		})
	must(t, err)
	defer func() { must(t, c.Close(ctx)) }()
	got := map[string][]record{}
	for id, records := range want {
		got[id] = readPartitionWithGo(ctx, t, c, id, len(records))
	}
	return agreed(t, got)
}

func readPartitionWithGo(ctx context.Context, t *testing.T, c *azeventhubs.ConsumerClient, id string, count int) []record {
	t.Helper()
	p, err := c.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Earliest: new(true)}})
	must(t, err)
	defer func() { must(t, p.Close(ctx)) }()
	events, err := p.ReceiveEvents(ctx, count, nil)
	must(t, err)
	records := make([]record, len(events))
	for i, e := range events {
		records[i] = recordOfReceived(e)
	}
	return records
}

func recordOfReceived(e *azeventhubs.ReceivedEventData) record {
	r := record{Sequence: e.SequenceNumber, Offset: e.Offset, Enqueued: e.EnqueuedTime.UnixMilli(), Body: hash(e.Body)}
	if e.SequenceNumber%sample == 0 {
		p := e.RawAMQPMessage.Properties
		r.Details = &details{
			MessageID: *e.MessageID, CorrelationID: e.CorrelationID.(string), ContentType: *e.ContentType, ContentEncoding: *p.ContentEncoding,
			PartitionKey: *e.PartitionKey, UserID: hex.EncodeToString(p.UserID),
			Properties: plain(e.Properties), System: plain(e.SystemProperties),
		}
	}
	return r
}
