package conformance_test

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

const (
	eventCount = 10_000
	partitions = 4
	largest    = 64 << 10
	// sample is one event of how many is compared in all its details.
	sample = 20
)

// record is an event as a client sees it, in a form that Go and JavaScript agree on.
type record struct {
	Sequence int64
	Offset   string
	Enqueued int64  // Unix milliseconds
	Body     string // SHA-256
	Details  *details
}

type details struct {
	MessageID, CorrelationID, ContentType, ContentEncoding, PartitionKey string

	UserID             string // in hexadecimal digits: it is no text
	Properties, System map[string]any
}

// start runs a simulator.
func start(t *testing.T) *simulator.Simulator {
	t.Helper()
	sim, err := simulator.Start(t.Context(), simulator.Options{
		EventPartitions: partitions, EventsListen: "127.0.0.1:0", EventsPlainListen: "127.0.0.1:0",
	})
	must(t, err)
	t.Cleanup(func() { must(t, sim.Close()) })
	return sim
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// appendEvents appends events and returns what clients have to see, by partition.
func appendEvents(t *testing.T, log *eventhub.Log) map[string][]record {
	t.Helper()
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	r := rand.New(rand.NewPCG(seed, 0))
	want := map[string][]record{}
	for i := range eventCount {
		p := log.Partitions()[r.IntN(partitions)]
		m := message(r, i)
		n := p.Append(m)
		if have := int64(len(want[p.ID()])); n != have {
			t.Fatalf("event %d of partition %s has sequence number %d", have, p.ID(), n)
		}
		want[p.ID()] = append(want[p.ID()], recordOf(p.Read(n, 1)[0], m))
	}
	return agreed(t, want)
}

// message is as IoT Hub makes them; the user id is not UTF-8, as a hub was seen to send.
func message(r *rand.Rand, i int) eventhub.Message {
	device := fmt.Sprintf("device-%d", r.IntN(50))
	source := []string{"Telemetry", "twinChangeEvents", "digitalTwinChangeEvents", "deviceLifecycleEvents", "deviceConnectionStateEvents"}[r.IntN(5)]
	m := eventhub.Message{
		PartitionKey: device,
		Properties: eventhub.Properties{
			MessageID: "m" + strconv.Itoa(i), CorrelationID: strconv.FormatUint(r.Uint64(), 16),
			ContentType: "application/json", ContentEncoding: "utf-8", UserID: []byte("hub\x81\x0e\xa4\x7f\xff" + strconv.Itoa(i)),
		},
		Annotations: map[string]any{
			"iothub-connection-device-id":          device,
			"iothub-connection-auth-method":        `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`,
			"iothub-connection-auth-generation-id": strconv.FormatInt(638000000000000000+r.Int64N(1e12), 10),
			"iothub-enqueuedtime":                  time.UnixMilli(1_700_000_000_000 + r.Int64N(1e10)).UTC(),
			"iothub-message-source":                source,
			"dt-dataschema":                        "dtmi:com:example:Thermostat;1",
		},
		Body: body(r, i),
	}
	if i%3 > 0 {
		m.Annotations["dt-subject"] = "thermostat" + strconv.Itoa(i%3)
		m.Application = map[string]any{
			"opType": "updateTwin", "größe": "ünïcödé ☃", "n": int32(i), "negative": int32(-i), "big": int64(1) << 40,
			"ratio": r.Float64(), "alert": i%2 == 0, "empty": "", "at": time.UnixMilli(1_700_000_000_000).UTC(),
		}
	}
	return m
}

// body is of any bytes; some are empty, and some do not fit in a frame.
func body(r *rand.Rand, i int) []byte {
	size := r.IntN(2000)
	switch i % 100 {
	case 7:
		size = largest
	case 8:
		size = r.IntN(largest)
	case 9:
		size = 0
	}
	b := make([]byte, size)
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	return b
}

// recordOf joins what the log says of an event to what was appended.
func recordOf(e eventhub.Event, m eventhub.Message) record {
	all := record{Sequence: e.SequenceNumber, Offset: strconv.FormatInt(e.Offset, 10), Enqueued: e.Enqueued.UnixMilli(), Body: hash(m.Body)}
	if e.SequenceNumber%sample == 0 {
		all.Details = &details{
			MessageID: m.Properties.MessageID, CorrelationID: m.Properties.CorrelationID, ContentType: m.Properties.ContentType,
			ContentEncoding: m.Properties.ContentEncoding, PartitionKey: m.PartitionKey, UserID: hex.EncodeToString(m.Properties.UserID),
			Properties: plain(m.Application), System: plain(m.Annotations),
		}
	}
	return all
}

func hash(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

// plain has times as Unix milliseconds, as Node's client shows them.
func plain(values map[string]any) map[string]any {
	out := map[string]any{}
	for name, v := range values {
		if at, ok := v.(time.Time); ok {
			v = at.UnixMilli()
		}
		out[name] = v
	}
	return out
}

// agreed has all numbers be of one type, as JavaScript has.
func agreed(t *testing.T, records map[string][]record) map[string][]record {
	t.Helper()
	b, err := json.Marshal(records)
	must(t, err)
	var out map[string][]record
	must(t, json.Unmarshal(b, &out))
	return out
}
