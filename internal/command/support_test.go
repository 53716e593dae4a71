package command

import (
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"
)

var (
	hub   = Hub{IoTHub: object("hub"), Host: "h"}
	first = Site{hub, &Life{}}
)

func object(name string) types.NamespacedName {
	return types.NamespacedName{Namespace: "factory", Name: name}
}

// office is a registry, what it had looked at, and the attempts that are under way. It belongs into
// a bubble of synctest.
type office struct {
	*Registry

	told  []string // of a free place
	slots map[string]*Slot

	mu    sync.Mutex
	names []string // with "doubt about" before those that are in doubt then
}

func newOffice() *office {
	o := &office{slots: map[string]*Slot{}}
	o.Registry = NewRegistry(func(key types.NamespacedName) {
		name := key.Name
		if o.State(key) == Doubted {
			name = "doubt about " + name
		}
		o.mu.Lock()
		defer o.mu.Unlock()
		o.names = append(o.names, name)
	})
	return o
}

// looked lists what was looked at.
func (o *office) looked() []string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.names)
}

// begin takes a place for a command of a device.
func (o *office) begin(device, name string) bool {
	s, err := o.Reserve(Request{Key: object(name), Site: first, Device: device, Freed: func() { o.told = append(o.told, name) }})
	if err == nil {
		o.slots[device] = s
	}
	return err == nil
}

// end gives the place of a device back.
func (o *office) end(device string) { o.slots[device].Cancel() }

// rest has a command of a device rest that was under way for a time until now, and answered.
func (o *office) rest(device, name string, awaits Awaited, took time.Duration) {
	o.begin(device, name)
	o.slots[device].Answered(WindowOf(time.Now(), took))
	o.slots[device].Rest(Rest{RequestID: "of " + name, Awaits: awaits, NotAfter: time.Now().Add(time.Hour)})
	o.end(device)
}

// signals has an event of a device arrive, of what happened at a time, and the device settle.
func (o *office) signals(device string, sign Sign, at time.Time) {
	o.At(first).Signal(device, sign, at, Origin{Partition: "1", SequenceNumber: 7})
	o.settles()
}

// settles waits until devices that are back have settled.
func (*office) settles() { time.Sleep(SettleFor + time.Millisecond) }

func wantNames(t *testing.T, what string, got []string, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// wantNothing sees that nothing is kept of commands that are over.
func (o *office) wantNothing(t *testing.T) {
	t.Helper()
	if len(o.runs)+len(o.lines) > 0 {
		t.Errorf("left over: %d commands, %d lines", len(o.runs), len(o.lines))
	}
}
