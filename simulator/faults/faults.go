// Package faults decides which calls to the simulated hub go wrong, and how.
package faults

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Kind is how a call goes wrong.
type Kind string

const (
	// Status answers with Fault.Status and Fault.Code; nothing is applied.
	Status Kind = "Status"
	// StatusAfter applies the call, with all that it takes, and answers as Status does: the caller is told of a failure that was none.
	StatusAfter Kind = "StatusAfter"
	// OfflineAfter applies the call of a command or method, and answers as if the device had been offline for its whole connect time-out.
	OfflineAfter Kind = "OfflineAfter"
	// Latency delays the call by Fault.Latency, then lets it (or the next matching fault) happen.
	Latency Kind = "Latency"
	// Hang never answers; nothing is applied. It ends when the client gives up or the simulator closes.
	Hang Kind = "Hang"
	// ResetBefore resets the connection before anything is applied.
	ResetBefore Kind = "ResetBefore"
	// ResetAfter applies the call, then resets the connection: the reply is lost.
	ResetAfter Kind = "ResetAfter"
	// HalfBody applies the call, announces the whole body, sends half of it and closes the connection.
	HalfBody Kind = "HalfBody"
	// InvalidJSON applies the call and answers with a complete body that is not JSON.
	InvalidJSON Kind = "InvalidJSON"

	// GhostRows has a query list and count devices that were deleted, those of Fault.Device.
	GhostRows Kind = "GhostRows"
	// MissingRows has a query neither list nor count devices, those of Fault.Device.
	MissingRows Kind = "MissingRows"
	// RepeatedRows begins a page with the last row of the page before, where that is of Fault.Device: rows moved meanwhile.
	RepeatedRows Kind = "RepeatedRows"
	// RefusedToken refuses the continuation token of a query. Queries without one are neither hit nor counted.
	RefusedToken Kind = "RefusedToken"
	// EndlessToken gives the last page of a query a continuation token that leads to the first one.
	EndlessToken Kind = "EndlessToken"
)

var (
	ofCalls = []Kind{Status, StatusAfter, OfflineAfter, Latency, Hang, ResetBefore, ResetAfter, HalfBody, InvalidJSON}
	// ofQueries happen within the answer to a query, all that strike it together.
	ofQueries = []Kind{GhostRows, MissingRows, RepeatedRows, RefusedToken, EndlessToken}
)

func (k Kind) ofQueries() bool { return slices.Contains(ofQueries, k) }

// Forever as Fault.Count lets a fault happen until it is removed.
const Forever = -1

// Fault is one rule. A call it matches on every given field is counted; from the Nth such call on, it happens Count
// times, each time with the given probability.
type Fault struct {
	ID        string `json:"id,omitempty"`        // assigned by Add when empty
	Operation string `json:"operation,omitempty"` // for example PatchTwin; empty: any; a path.Match pattern
	Device    string `json:"device,omitempty"`    // device id, for faults of queries that of rows; empty: any; a path.Match pattern
	Nth       int    `json:"nth,omitempty"`       // 1-based; 0 is 1
	Count     int    `json:"count,omitempty"`     // 0: once; Forever: no end
	// Probability that a matching call fails; 0 is 1. Seed makes the choice repeatable.
	Probability float64 `json:"probability,omitempty"`
	Seed        uint64  `json:"seed,omitempty"`

	Kind     Kind          `json:"kind"`
	Status   int           `json:"status,omitempty"`   // for Status and StatusAfter
	Code     string        `json:"code,omitempty"`     // for Status and StatusAfter: the iothub-errorcode; empty: the usual one of the status
	Number   int           `json:"number,omitempty"`   // for Status: six digits, shown in envelopes that carry one
	Message  string        `json:"message,omitempty"`  // for Status: empty: the usual one
	Envelope string        `json:"envelope,omitempty"` // for Status: E1, E2 or E3; empty: the usual one
	Latency  time.Duration `json:"-"`                  // for Latency; in JSON "latency":"250ms"
}

// plain is Fault without its methods.
type plain Fault

type encoded struct {
	plain
	Latency jsontree.Duration `json:"latency,omitzero"`
}

// MarshalJSON shows the latency as "250ms".
func (f Fault) MarshalJSON() ([]byte, error) {
	return json.Marshal(encoded{plain(f), jsontree.Duration(f.Latency)})
}

// UnmarshalJSON reads what MarshalJSON writes; a member that it does not know is an error.
func (f *Fault) UnmarshalJSON(data []byte) error {
	var e encoded
	err := jsontree.Decode(data, &e)
	if err == nil {
		*f = Fault(e.plain)
		f.Latency = time.Duration(e.Latency)
	}
	return err
}

// Throttled is a 429 as the hub sends it: ThrottlingBacklogTimeout, no Retry-After, connection closed.
func Throttled() Fault { return Fault{Kind: Status, Status: 429} }

// ServerError is a 500.
func ServerError() Fault { return Fault{Kind: Status, Status: 500} }

// Unavailable is a 503.
func Unavailable() Fault { return Fault{Kind: Status, Status: 503} }

// GatewayTimeout is a 504 with code 504101.
func GatewayTimeout() Fault { return Fault{Kind: Status, Status: 504} }

// Slow delays a call.
func Slow(d time.Duration) Fault { return Fault{Kind: Latency, Latency: d} }

// Broken is a fault of a kind that needs no further fields.
func Broken(k Kind) Fault { return Fault{Kind: k} }

// On returns the fault restricted to an operation and a device, either of which may be empty.
func (f Fault) On(operation, device string) Fault {
	f.Operation, f.Device = operation, device
	return f
}

// Times returns the fault with another count.
func (f Fault) Times(count int) Fault {
	f.Count = count
	return f
}

func (f Fault) validate() error {
	for _, pattern := range []string{f.Operation, f.Device} {
		if _, err := path.Match(pattern, ""); err != nil {
			return fmt.Errorf("pattern %q: %w", pattern, err)
		}
	}
	if !slices.Contains(ofCalls, f.Kind) && !f.Kind.ofQueries() {
		return fmt.Errorf("unknown fault kind %q", f.Kind)
	}
	if f.Kind.ofQueries() && f.Operation != "" {
		return fmt.Errorf("%s is about queries only, not about %q", f.Kind, f.Operation)
	}
	if (f.Kind == Status || f.Kind == StatusAfter) && (f.Status < 400 || f.Status > 599) {
		return fmt.Errorf("status %d is no error", f.Status)
	}
	if f.Probability < 0 || f.Probability > 1 {
		return fmt.Errorf("probability %v is not between 0 and 1", f.Probability)
	}
	return nil
}

func (f Fault) matches(operation, device string) bool {
	return !f.Kind.ofQueries() && glob(f.Operation, operation) && glob(f.Device, device)
}

// Hits reports whether the fault is about the row of a device.
func (f Fault) Hits(device string) bool { return glob(f.Device, device) }

func glob(pattern, s string) bool {
	if pattern == "" || pattern == s {
		return true
	}
	ok, _ := path.Match(pattern, s)
	return ok
}

// rule is a Fault with what has happened so far.
type rule struct {
	Fault
	seen, happened int
	random         *rand.Rand
}

func newRule(f Fault) *rule {
	return &rule{Fault: f, random: rand.New(rand.NewPCG(f.Seed, 0x9e3779b97f4a7c15))}
}

// strike reports whether the rule happens to a call that it matches.
func (r *rule) strike() bool {
	r.seen++
	if r.seen < r.Nth || r.spent() {
		return false
	}
	if r.Probability > 0 && r.random.Float64() >= r.Probability {
		return false
	}
	r.happened++
	return true
}

func (r *rule) spent() bool { return r.Count >= 0 && r.happened >= max(r.Count, 1) }

// Set is the faults in force.
type Set struct {
	mu    sync.Mutex
	next  int
	rules []*rule
}

// New returns a set without faults.
func New() *Set { return &Set{} }

// Add puts a fault in force and returns its id. A fault that makes no sense panics: it is a mistake in a test.
func (s *Set) Add(f Fault) string {
	id, err := s.TryAdd(f)
	if err != nil {
		panic(err)
	}
	return id
}

// TryAdd is Add with an error for a fault that makes no sense.
func (s *Set) TryAdd(f Fault) (string, error) {
	if err := f.validate(); err != nil {
		return "", err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.next++
	if f.ID == "" {
		f.ID = fmt.Sprintf("fault-%d", s.next)
	}
	s.rules = append(s.rules, newRule(f))
	return f.ID, nil
}

// Remove ends one fault and reports whether it was in force.
func (s *Set) Remove(id string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	before := len(s.rules)
	s.rules = slices.DeleteFunc(s.rules, func(r *rule) bool { return r.ID == id })
	return len(s.rules) < before
}

// Clear ends all faults.
func (s *Set) Clear() {
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
func (s *Set) List() []State {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]State, 0, len(s.rules))
	for _, r := range s.rules {
		out = append(out, State{r.Fault, r.seen, r.happened})
	}
	return out
}

// Strike returns what happens to a call: the sum of all latencies, and the first matching fault of another kind.
func (s *Set) Strike(operation, device string) (time.Duration, *Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var latency time.Duration
	for _, r := range s.rules {
		if !r.matches(operation, device) || !r.strike() {
			continue
		}
		if r.Kind != Latency {
			f := r.Fault
			return latency, &f
		}
		latency += r.Latency
	}
	return latency, nil
}

// StrikeQuery returns what happens within the answer to a page of a query, which came with a continuation token or without.
func (s *Set) StrikeQuery(continued bool) []Fault {
	s.mu.Lock()
	defer s.mu.Unlock()
	var hit []Fault
	for _, r := range s.rules {
		if r.Kind.ofQueries() && (continued || r.Kind != RefusedToken) && r.strike() {
			hit = append(hit, r.Fault)
		}
	}
	return hit
}
