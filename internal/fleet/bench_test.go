package fleet

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"strconv"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// liveHeap is what is reachable, in MiB.
func liveHeap() float64 {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return float64(m.HeapAlloc) / (1 << 20)
}

// rowOf is the twin of a device that holds x = 1 and acknowledged it.
func rowOf(id string) *twin.Twin {
	return &twin.Twin{
		DeviceID: id, ETag: twin.ETagOf(7), DeviceETag: "e-" + id, Version: 16, DesiredVersion: 7, ReportedVersion: 9, ConnectionState: "Connected",
		DesiredUpdated: epoch, ReportedUpdated: epoch,
		Properties: map[twin.Leaf]twin.Property{{Name: "x"}: {
			Desired: &twin.Desired{Value: num(1), Version: 7}, Reported: &twin.Reported{Value: num(1), Ack: &twin.Ack{Version: 7, Code: 200}},
		}},
	}
}

func reportOf(version, reported, av int64) *twin.Notification {
	raw, err := json.Marshal(map[string]any{"version": version, "properties": map[string]any{"reported": map[string]any{
		"x": map[string]any{"value": 2, "ac": 200, "av": av}, "$version": reported, "$metadata": map[string]any{"$lastUpdated": epoch.Add(time.Hour), "x": map[string]any{}},
	}}})
	if err != nil {
		panic(err)
	}
	n, err := twin.ParseNotification(raw)
	if err != nil {
		panic(err)
	}
	return n
}

// BenchmarkRollout takes DEVICES members (100,000 if unset) in by rows, and rolls an edit out over
// all of them. It reports the live heap with the members settled, and what a member costs of time.
func BenchmarkRollout(b *testing.B) {
	devices := 100_000
	if text := os.Getenv("DEVICES"); text != "" {
		devices, _ = strconv.Atoi(text)
	}
	for range b.N {
		rollOut(b, devices)
	}
}

func rollOut(b *testing.B, devices int) {
	b.Helper()
	spec := enforcing()
	spec.Rollout.MaxInFlight, spec.Rollout.Batches = int32(max(500, devices/200)), nil
	before, start := liveHeap(), time.Now()
	s, now := New(Identity{Namespace: "n", Name: "f", UID: "u", Hub: "h"}, spec, declaring(map[string]any{"x": num(1)})), epoch
	s.Apply(now, Stream{Healthy: true})
	for i := range devices {
		id := fmt.Sprintf("line-%d-ctrl-%05d", i%97, i)
		s.Apply(now, Listed{DeviceID: id, Connected: true, DeviceETag: "e-" + id, Version: 16, Tags: map[string]any{"kind": "controller"}})
		s.Apply(now, Seen{Twin: rowOf(id), Tags: map[string]any{"kind": "controller"}, IsRow: true})
	}
	s.Apply(now, ListingDone{})
	settled := drive(b, s, &now)
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(devices), "µs/adopted")
	b.ReportMetric(liveHeap()-before, "MiB/settled")
	start = time.Now()
	s.Apply(now, Declared{Spec: spec, Declaration: declaring(map[string]any{"x": num(2)})})
	edited := drive(b, s, &now)
	b.ReportMetric(float64(time.Since(start).Microseconds())/float64(devices), "µs/rolled-out")
	b.ReportMetric(liveHeap()-before, "MiB/rolled-out")
	if edited.writes != devices || s.total.states[stateAcknowledged] != devices {
		b.Fatalf("%d writes, counted %v", edited.writes, s.total.states)
	}
	b.ReportMetric(float64(edited.objects), "objects-stored")
	b.ReportMetric(float64(edited.bytes)/(1<<20), "MiB-stored")
	b.ReportMetric(float64(settled.stored)/(1<<20), "MiB-of-record")
	b.ReportMetric(float64(settled.objects), "objects-of-record")
	runtime.KeepAlive(s)
}

type driven struct {
	writes, objects, bytes, stored int
}

// drive does whatever the fleet asks for, at 500 devices in ten seconds.
func drive(b *testing.B, s *State, now *time.Time) (d driven) {
	b.Helper()
	for {
		a := s.Next(*now)
		switch a.Do {
		case Wait:
			if a.Until.IsZero() || !s.rollout.isActive() && s.stored.dirty == 0 {
				return d
			}
			*now = a.Until
		case Record:
			s.Apply(*now, Recorded{Number: a.Number})
		case Flush:
			d.objects += len(a.Objects)
			for _, o := range a.Objects {
				d.bytes += len(o.Data)
				d.stored += len(o.Data)
			}
			s.Apply(*now, Flushed{Number: a.Number})
		case Write:
			d.writes++
			*now = now.Add(time.Duration(10_000/int(s.spec.Rollout.MaxInFlight)) * time.Millisecond)
			s.Apply(*now, Written{Twin: writtenTwin(a.DeviceID, *now)})
			s.Apply(*now, Changed{DeviceID: a.DeviceID, Notification: reportOf(18, 10, 8)})
		case List, Read:
			b.Fatalf("asked for %v of %s", a.Do, a.DeviceID)
		}
	}
}

func writtenTwin(id string, now time.Time) *twin.Twin {
	t := rowOf(id)
	t.ETag, t.Version, t.DesiredVersion, t.DesiredUpdated = twin.ETagOf(8), 17, 8, now
	p := t.Properties[twin.Leaf{Name: "x"}]
	p.Desired = &twin.Desired{Value: num(2), Version: 8}
	t.Properties[twin.Leaf{Name: "x"}] = p
	return t
}
