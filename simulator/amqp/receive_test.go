package amqp_test

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

func TestEveryFieldOfAnEventArrives(t *testing.T) {
	s := newSite(t)
	at := time.Date(2020, 10, 21, 14, 10, 42, 519e6, time.UTC)
	s.log.Append(0, eventhub.Message{
		PartitionKey: "my-pnp-device",
		Properties: eventhub.Properties{
			MessageID: "m1", CorrelationID: "12104ced5402", ContentType: "application/json", ContentEncoding: "utf-8",
			UserID: []byte("my-pnp-hub\x81\x0e\xa4\x7f"),
		},
		Annotations: map[string]any{"iothub-connection-device-id": "my-pnp-device", "iothub-enqueuedtime": at, "iothub-message-source": "twinChangeEvents"},
		Application: map[string]any{"opType": "updateTwin", "n": int32(7), "yes": true, "f": 1.5},
		Body:        []byte(`{"version":3}`),
	})
	got := receive(t, partition(t, s.consumer(t, group), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 1)[0]
	if diff := cmp.Diff(map[string]any{"iothub-connection-device-id": "my-pnp-device", "iothub-enqueuedtime": at, "iothub-message-source": "twinChangeEvents"}, got.SystemProperties); diff != "" {
		t.Errorf("annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(map[string]any{"opType": "updateTwin", "n": int32(7), "yes": true, "f": 1.5}, got.Properties); diff != "" {
		t.Errorf("application properties (-want +got):\n%s", diff)
	}
	want := []any{"0", int64(0), "my-pnp-device", "m1", "12104ced5402", "application/json", "utf-8", "my-pnp-hub\x81\x0e\xa4\x7f", `{"version":3}`}
	have := []any{got.Offset, got.SequenceNumber, *got.PartitionKey, *got.MessageID, got.CorrelationID, *got.ContentType,
		*got.RawAMQPMessage.Properties.ContentEncoding, string(got.RawAMQPMessage.Properties.UserID), string(got.Body)}
	if diff := cmp.Diff(want, have); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
	if time.Since(*got.EnqueuedTime) > time.Minute {
		t.Errorf("enqueued at %v", got.EnqueuedTime)
	}
}

func TestReadersStartWhereTheyAsk(t *testing.T) {
	clock := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	log := eventhub.New(eventhub.Options{Name: hubName, Partitions: 2, Groups: []string{group}, Clock: func() time.Time { return clock }})
	s := newSite(t, withLog(log))
	for i := range 10 {
		clock = clock.Add(time.Second)
		log.Append(0, eventhub.Message{Body: []byte(strconv.Itoa(i))})
	}
	third := clock.Add(-7 * time.Second)
	for name, c := range map[string]struct {
		from  azeventhubs.StartPosition
		first string
	}{
		"at the beginning":           {earliest, "0"},
		"behind a sequence number":   {azeventhubs.StartPosition{SequenceNumber: new(int64(3))}, "4"},
		"at a sequence number":       {azeventhubs.StartPosition{SequenceNumber: new(int64(3)), Inclusive: true}, "3"},
		"behind an offset":           {azeventhubs.StartPosition{Offset: new("3")}, "4"},
		"at an offset":               {azeventhubs.StartPosition{Offset: new("3"), Inclusive: true}, "3"},
		"behind a time":              {azeventhubs.StartPosition{EnqueuedTime: &third}, "3"},
		"at a time":                  {azeventhubs.StartPosition{EnqueuedTime: &third, Inclusive: true}, "2"},
		"before everything there is": {azeventhubs.StartPosition{SequenceNumber: new(int64(-1))}, "0"},
	} {
		t.Run(name, func(t *testing.T) {
			p := partition(t, s.consumer(t, group), "0", azeventhubs.PartitionClientOptions{StartPosition: c.from})
			if got := string(receive(t, p, 1)[0].Body); got != c.first {
				t.Errorf("the first event is %s, want %s", got, c.first)
			}
		})
	}
	t.Run("at the end", func(t *testing.T) {
		p := partition(t, s.consumer(t, group), "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{Latest: new(true)}})
		got := make(chan string, 1)
		go func() { got <- string(receive(t, p, 1)[0].Body) }()
		eventually(t, "the reader", func() bool { return len(s.server.Receivers()) == 1 })
		log.Append(0, eventhub.Message{Body: []byte("new")})
		if first := <-got; first != "new" {
			t.Errorf("the first event is %s", first)
		}
	})
}

func TestTenThousandEventsArriveInOrder(t *testing.T) {
	for name, prefetch := range map[string]int32{"prefetched": 0, "on demand": -1, "through a full window": 5000} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			const count = 10_000
			p := partition(t, s.consumer(t, group), "1", azeventhubs.PartitionClientOptions{StartPosition: earliest, Prefetch: prefetch})
			go func() {
				for i := range count {
					s.log.Append(1, eventhub.Message{Body: fmt.Appendf(nil, `{"n":%d}`, i)})
				}
			}()
			for next := 0; next < count; {
				for _, e := range receive(t, p, 100) {
					if want := fmt.Sprintf(`{"n":%d}`, next); string(e.Body) != want || e.SequenceNumber != int64(next) {
						t.Fatalf("event %d is %s, sequence number %d", next, e.Body, e.SequenceNumber)
					}
					next++
				}
			}
		})
	}
}

func TestLargeEventsComeInParts(t *testing.T) {
	s := newSite(t)
	const count, size = 20, 1 << 20
	body := make([]byte, size)
	for i := range body {
		body[i] = byte(i * 7)
	}
	for range count {
		s.log.Append(0, eventhub.Message{Body: body})
	}
	p := partition(t, s.consumer(t, group), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest, Prefetch: -1})
	for range count {
		if e := receive(t, p, 1)[0]; string(e.Body) != string(body) {
			t.Fatalf("a body of %d bytes arrived as %d others", size, len(e.Body))
		}
	}
}

func TestEventsExpire(t *testing.T) {
	s := newSite(t, withLog(eventhub.New(eventhub.Options{Name: hubName, Partitions: 2, Groups: []string{group}, MaxEvents: 3})))
	for i := range 10 {
		s.log.Append(0, eventhub.Message{Body: []byte(strconv.Itoa(i))})
	}
	c := s.consumer(t, group)
	properties, err := c.GetPartitionProperties(t.Context(), "0", nil)
	if err != nil {
		t.Fatal(err)
	}
	if properties.BeginningSequenceNumber != 7 || properties.LastEnqueuedSequenceNumber != 9 || properties.IsEmpty {
		t.Errorf("properties: %+v", properties)
	}
	p := partition(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: azeventhubs.StartPosition{SequenceNumber: new(int64(1))}})
	if got := string(receive(t, p, 1)[0].Body); got != "7" {
		t.Errorf("the first event is %s", got)
	}
}
