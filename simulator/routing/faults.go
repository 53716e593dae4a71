package routing

import (
	"cmp"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/faults"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// FaultKind is how an event goes wrong.
type FaultKind string

const (
	// Lose drops the event.
	Lose FaultKind = "Lose"
	// Duplicate delivers the event twice in a row.
	Duplicate FaultKind = "Duplicate"
	// Reorder retransmits: this event starts a series, and each of the device's next ones comes with the whole series
	// before it, in the original order, until it is Fault.Series long: 1, 1 2, 1 2 3. It is the example of "Send
	// device-to-cloud messages to IoT Hub" for what "at least once" allows.
	Reorder FaultKind = "Reorder"
	// Coalesce merges the twin changes that a device makes within Fault.Delay, from this one on, into one notification of
	// the keys of all, with the last versions.
	Coalesce FaultKind = "Coalesce"
	// Delay holds the event back for Fault.Delay, and with it all later ones of the device.
	Delay FaultKind = "Delay"
	// Poison cuts the body off in its middle.
	Poison FaultKind = "Poison"
	// UnknownSchema announces the event with a schema and an operation that nobody knows.
	UnknownSchema FaultKind = "UnknownSchema"
)

var faultKinds = []FaultKind{Lose, Duplicate, Reorder, Coalesce, Delay, Poison, UnknownSchema}

// Forever as Fault.Count lets a fault happen until it is removed.
const Forever = faults.Forever

const (
	defaultSeries = 3
	defaultWindow = 100 * time.Millisecond
)

// Fault is one rule. An event that it matches on every given field is counted; from the Nth such event on, it happens Count
// times, each time with the given probability. What happened in the hub before the fault was added is not hit. Coalesce counts twin changes, before events are made of them.
type Fault struct {
	ID     string    `json:"id,omitempty"` // assigned by Add when empty
	Kind   FaultKind `json:"kind"`
	Source Source    `json:"source,omitempty"` // empty: any; a path.Match pattern
	Device string    `json:"device,omitempty"` // device id; empty: any; a path.Match pattern
	Nth    int       `json:"nth,omitempty"`    // 1-based; 0 is 1
	Count  int       `json:"count,omitempty"`  // 0: once; Forever: no end
	// Probability that a matching event is hit; 0 is 1. Seed makes the choice repeatable.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`

	Delay  time.Duration `json:"-"`                // for Delay; for Coalesce, where 0 is 100 ms; in JSON "delay":"250ms"
	Series int           `json:"series,omitempty"` // for Reorder; 0 is 3
}

// plain is Fault without its methods.
type plain Fault

type encoded struct {
	plain
	Delay jsontree.Duration `json:"delay,omitzero"`
}

// MarshalJSON shows the delay as "250ms".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(encoded{plain(f), jsontree.Duration(f.Delay)})
}

// UnmarshalJSON reads what MarshalJSON writes; a member that it does not know is an error.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var e encoded
	err := jsontree.Decode(data, &e)
	if err == nil {
		*f = Fault(e.plain)
		f.Delay = time.Duration(e.Delay)
	}
	return err
}

// On returns the fault restricted to a source and a device, either of which may be empty.
func (f Fault) On(s Source, device string) Fault {
	f.Source, f.Device = s, device
	return f
}

// Times returns the fault with another count.
func (f Fault) Times(count int) Fault {
	f.Count = count
	return f
}

func (f Fault) validate() error {
	if !slices.Contains(faultKinds, f.Kind) {
		return fmt.Errorf("unknown kind of event fault %q", f.Kind)
	}
	if f.Delay < 0 || f.Kind == Delay && f.Delay == 0 {
		return fmt.Errorf("a delay of %s makes no sense", f.Delay)
	}
	return f.matchable()
}

// matchable refuses a filter that no event passes, most likely a misspelt source.
func (f Fault) matchable() error {
	sources := []Source{Telemetry, TwinChanges, DigitalTwinChanges, Lifecycle, ConnectionState}
	if f.Kind == Coalesce {
		sources = []Source{TwinChanges, DigitalTwinChanges}
	}
	if f.Source == "" || slices.ContainsFunc(sources, func(s Source) bool { ok, _ := path.Match(string(f.Source), string(s)); return ok }) {
		return nil
	}
	return fmt.Errorf("no event that %s can hit comes from %q", f.Kind, f.Source)
}

// rule matches, counts and decides as a fault of a call does: it holds one of those in a set of its own.
type rule struct {
	Fault
	number int
	calls  *faults.Set
}

func newRule(f Fault, number int) (rule, error) {
	r := rule{f, number, faults.New()}
	_, err := r.calls.TryAdd(faults.Fault{
		Operation: string(f.Source), Device: f.Device, Nth: f.Nth, Count: f.Count,
		Probability: f.Probability, Seed: f.Seed, Kind: faults.Hang, // any kind will do
	})
	return r, err
}

func (r rule) strike(s Source, device string) bool {
	_, hit := r.calls.Strike(string(s), device)
	return hit != nil
}

// Faults are the faults in force. The zero value has none.
type Faults struct {
	mu    sync.Mutex
	next  int
	rules []rule
}

// Add puts a fault in force and returns its id. A fault that makes no sense panics: it is a mistake in a test.
func (s *Faults) Add(f Fault) string {
	id, err := s.TryAdd(f)
	if err != nil {
		panic(err)
	}
	return id
}

// TryAdd is Add with an error for a fault that makes no sense.
func (s *Faults) TryAdd(f Fault) (string, error) {
	if err := f.validate(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	if f.ID == "" {
		f.ID = fmt.Sprintf("event-fault-%d", s.next)
	}
	r, err := newRule(f, s.next)
	if err != nil {
		return "", err
	}
	s.rules = append(s.rules, r)
	return f.ID, nil
}

// Remove ends one fault and reports whether it was in force. What it holds back is still delivered in time.
func (s *Faults) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.rules)
	s.rules = slices.DeleteFunc(s.rules, func(r rule) bool { return r.ID == id })
	return len(s.rules) < before
}

// Clear ends all faults.
func (s *Faults) Clear() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.rules = nil
}

// State is a fault and how often it matched and happened.
type State struct {
	Fault    Fault `json:"fault"`
	Seen     int   `json:"seen"`
	Happened int   `json:"happened"`
}

// List returns the faults in force, and those that are spent, in the order they were added.
func (s *Faults) List() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]State, 0, len(s.rules))
	for _, r := range s.rules {
		counted := r.calls.List()[0]
		out = append(out, State{r.Fault, counted.Seen, counted.Happened})
	}
	return out
}

// added returns how many faults were ever added.
func (s *Faults) added() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.next
}

// strike returns what happens to an event: the sum of all delays, and the first matching fault of another kind. Only the
// first so many rules count.
func (s *Faults) strike(source Source, device string, rules int) (time.Duration, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var delay time.Duration
	for _, r := range s.rules {
		if r.Kind == Coalesce || r.number > rules || !r.strike(source, device) {
			continue
		}
		if r.Kind != Delay {
			return delay, &r.Fault
		}
		delay += r.Delay
	}
	return delay, nil
}

// window returns for how long the changes of a device are to be merged from now on, 0 for not at all.
func (s *Faults) window(device string, announcedAs []Source, rules int) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.rules {
		hit := func(source Source) bool { return r.strike(source, device) }
		if r.Kind == Coalesce && r.number <= rules && slices.ContainsFunc(announcedAs, hit) {
			return cmp.Or(r.Delay, defaultWindow)
		}
	}
	return 0
}
