package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// Sources of events.
const (
	telemetry          = "Telemetry"
	twinChanges        = "twinChangeEvents"
	digitalTwinChanges = "digitalTwinChangeEvents"
	lifecycle          = "deviceLifecycleEvents"
	connectionState    = "deviceConnectionStateEvents"
)

// announcement is an event of the device.
type announcement struct {
	eventstream.Message

	source string
	body   document // nil if it is no object
}

// stream reads the event endpoint from its end on, and keeps what is about the device. It has no owner level, so it takes nothing from
// other readers.
type stream struct {
	config   eventstream.Config
	options  options
	roots    *x509.CertPool
	deviceID string
	events   *journal[announcement]

	client  *azeventhubs.ConsumerClient
	end     context.CancelFunc
	readers sync.WaitGroup
	broken  atomic.Pointer[error] // why a partition is not read any more
}

func newStream(config eventstream.Config, o options, roots *x509.CertPool, deviceID string) *stream {
	return &stream{config: config, options: o, roots: roots, deviceID: deviceID, events: newJournal[announcement](), end: func() {}}
}

// start connects to all partitions; what happens after it returned is read.
func (s *stream) start(ctx context.Context) (err error) {
	s.client, err = azeventhubs.NewConsumerClientFromConnectionString(s.config.ConnectionString, "", s.options.consumerGroup, &azeventhubs.ConsumerClientOptions{
		ApplicationID: "hubcheck", CustomEndpoint: s.options.eventsEndpoint, TLSConfig: &tls.Config{RootCAs: s.roots, MinVersion: tls.VersionTLS12},
	})
	if err != nil {
		return fmt.Errorf("reading events: %w", err)
	}
	ctx, cancel := context.WithTimeout(ctx, callTime)
	defer cancel()
	endpoint, err := s.client.GetEventHubProperties(ctx, nil)
	if err != nil {
		return fmt.Errorf("asking the event endpoint: %w", err)
	}
	reading, end := context.WithCancel(context.Background())
	s.end = end
	for _, id := range endpoint.PartitionIDs {
		if err := s.startPartition(ctx, reading, id); err != nil {
			return fmt.Errorf("reading partition %s of the event endpoint in consumer group %s: %w", id, s.options.consumerGroup, err)
		}
	}
	return nil
}

func (s *stream) startPartition(ctx, reading context.Context, id string) error {
	last, err := s.client.GetPartitionProperties(ctx, id, nil)
	if err != nil {
		return err
	}
	p, err := s.client.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{SequenceNumber: &last.LastEnqueuedSequenceNumber},
	})
	if err != nil {
		return err
	}
	s.readers.Go(func() {
		for reading.Err() == nil {
			received, err := p.ReceiveEvents(reading, 1, nil)
			for _, e := range received {
				s.take(id, e)
			}
			if err != nil && reading.Err() == nil { // the client itself has tried again
				err = fmt.Errorf("reading partition %s of the event endpoint in consumer group %s: %w", id, s.options.consumerGroup, err)
				s.broken.Store(&err)
				return
			}
		}
	})
	return nil
}

// take keeps an event of the device.
func (s *stream) take(partition string, e *azeventhubs.ReceivedEventData) {
	if e.SystemProperties["iothub-connection-device-id"] != s.deviceID {
		return
	}
	a := announcement{Message: eventstream.Message{
		Partition: partition, SequenceNumber: e.SequenceNumber, Annotations: e.SystemProperties, Properties: e.Properties, Body: e.Body,
	}}
	if e.EnqueuedTime != nil {
		a.EnqueuedTime = e.EnqueuedTime.UTC()
	}
	if e.ContentType != nil {
		a.ContentType = *e.ContentType
	}
	a.CorrelationID, _ = e.CorrelationID.(string)
	a.source, _ = e.SystemProperties["iothub-message-source"].(string)
	a.body, _ = parseDocument(e.Body) // a JSON Patch is none
	s.events.add(a)
}

func (s *stream) stop(ctx context.Context) {
	s.end()
	s.readers.Wait()
	if s.client != nil {
		_ = s.client.Close(ctx) // there is nothing left to lose
	}
}

// announced is the first event of a source from a mark on that fits. Where none comes, the hub may have no route for it.
func (s *site) announced(ctx context.Context, mark int, source string, within time.Duration, fits func(announcement) bool) (announcement, error) {
	if s.silent[source] {
		return announcement{}, skipf("no event of %s came before", source)
	}
	a, found, err := s.events.events.await(ctx, mark, within, func(a announcement) bool { return a.source == source && fits(a) })
	if why := s.events.broken.Load(); err == nil && !found && why != nil {
		return a, *why
	}
	if err == nil && !found {
		s.silent[source] = true
		err = skipf("no event of %s within %s: has the hub a route for it to the endpoint events?", source, within)
	}
	return a, err
}

// wrote is about an event of desired properties that name a key.
func wrote(key string) func(announcement) bool {
	return func(a announcement) bool { return a.body.has("properties", "desired", key) }
}
