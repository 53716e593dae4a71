package oracle

import (
	"maps"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func options(seed uint64) Options {
	return Options{Seed: seed, Devices: 12, Replicas: 1, Duration: 3 * time.Minute, Hub: "factory-hub"}
}

// lines are the actions of a plan with their pauses, as the log shows them.
func (p Plan) lines() []string {
	var lines []string
	for _, part := range [][]Action{p.Begin, p.First, p.Between, p.Second, p.End} {
		for _, a := range part {
			lines = append(lines, a.Pause.String()+" "+a.String())
		}
	}
	return lines
}

func TestSameSeedGivesTheSameActions(t *testing.T) {
	first := New(options(7)).lines()
	if diff := cmp.Diff(first, New(options(7)).lines()); diff != "" {
		t.Errorf("(-first +second)\n%s", diff)
	}
	if slices.Equal(first, New(options(8)).lines()) {
		t.Error("another seed gives the same actions")
	}
}

func TestEveryKindHappens(t *testing.T) {
	happened := map[Kind]int{}
	for seed := range uint64(20) {
		p := New(options(seed + 1))
		for _, part := range [][]Action{p.Begin, p.First, p.Between, p.Second, p.End} {
			for _, a := range part {
				happened[a.Kind]++
			}
		}
	}
	for _, kind := range []Kind{
		Create, Edit, Delete, Resend, Refresh, Command, SuspendHub, ResumeHub, Confirm, Foreign, Report, Behave, Offline, Online, Vanish, Return,
		Tag, Rekey, Recreate, Remember, Rewind, Mend, Fault, EventFault, Stream, ClockJump, IndexLag, ServerDown, ServerUp, ClearFaults,
	} {
		if happened[kind] == 0 {
			t.Errorf("%s never happens; what did: %v", kind, slices.Sorted(maps.Keys(happened)))
		}
	}
}

func TestPlanMakesSense(t *testing.T) {
	for seed := range uint64(20) {
		p := New(options(seed + 1))
		w := witness{t: t, declared: map[string]*v1alpha1.PnPDeviceSpec{}, gone: map[string]bool{}, copied: map[string]bool{}}
		for _, part := range [][]Action{p.Begin, p.First, p.Between, p.Second, p.End} {
			for _, a := range part {
				w.see(a)
			}
		}
		if w.serverDown || w.hubSuspended {
			t.Errorf("seed %d leaves the API server down (%t) or the hub suspended (%t)", seed+1, w.serverDown, w.hubSuspended)
		}
		for name, spec := range w.declared {
			if spec.Suspend || spec.HubRef.Name != "factory-hub" {
				t.Errorf("seed %d leaves %s suspended (%t) or at %s", seed+1, name, spec.Suspend, spec.HubRef.Name)
			}
		}
	}
}

// witness checks actions against those before them.
type witness struct {
	t                        *testing.T
	declared                 map[string]*v1alpha1.PnPDeviceSpec
	gone                     map[string]bool // at the hub
	copied                   map[string]bool // the hub has a copy of the device that there is
	serverDown, hubSuspended bool
}

func (w *witness) see(a Action) {
	spec, declared := w.declared[a.Device]
	wants := map[Kind]bool{
		Create: !declared, Edit: declared, Delete: declared, Resend: declared, Refresh: declared, Command: declared,
		Foreign: !w.gone[a.Device], Report: !w.gone[a.Device], Behave: !w.gone[a.Device], Offline: !w.gone[a.Device], Online: !w.gone[a.Device],
		Recreate: !w.gone[a.Device], Remember: !w.gone[a.Device], Rewind: w.copied[a.Device],
		Vanish: !w.gone[a.Device], Return: w.gone[a.Device], ServerDown: !w.serverDown, ServerUp: w.serverDown,
	}
	if ok, constrained := wants[a.Kind]; constrained && !ok {
		w.t.Errorf("%s makes no sense now; declared %v, gone %v", a, spec, w.gone)
	}
	if a.Spec != nil && w.serverDown {
		w.t.Errorf("%s while there is no API server", a)
	}
	switch a.Kind {
	case Create, Edit:
		w.declared[a.Device] = a.Spec
	case Delete:
		delete(w.declared, a.Device)
	case Remember:
		w.copied[a.Device] = true
	case Vanish, Return, Recreate:
		w.gone[a.Device] = a.Kind == Vanish
		w.copied[a.Device] = false
	case ServerDown, ServerUp:
		w.serverDown = a.Kind == ServerDown
	case SuspendHub, ResumeHub:
		w.hubSuspended = a.Kind == SuspendHub
	}
}

// A minute has to have what the storm is for: values under the names that objects declare, and edits that are taken back soon.
func TestAMinuteHasPlots(t *testing.T) {
	for seed := range uint64(20) {
		o := options(seed + 1)
		o.Duration, o.Devices = time.Minute, 30
		p := New(o)
		count := map[Kind]int{}
		values, takenBack := 0, 0
		declared := map[string]map[Leaf]any{}
		for i, part := range [][]Action{p.Begin, p.First, p.Second} {
			for _, a := range part {
				count[a.Kind]++
				if i == 0 && a.Kind == Foreign {
					values++
				}
				if a.Spec == nil {
					continue
				}
				leaves, err := Declared(a.Spec)
				must(t, err)
				for leaf := range declared[a.Device] {
					if _, kept := leaves[leaf]; !kept && i > 0 {
						takenBack++
					}
				}
				declared[a.Device] = leaves
			}
		}
		if values < 60 || takenBack < 50 || count[Rewind] == 0 || count[Mend] < 5 {
			t.Errorf("seed %d: %d values of others in the beginning, %d properties taken back, %d failovers, %d faults of single devices",
				seed+1, values, takenBack, count[Rewind], count[Mend])
		}
	}
}

func TestWithReplicasTheSecondPartKeepsTheAPIServer(t *testing.T) {
	for seed := range uint64(20) {
		o := options(seed + 1)
		o.Replicas = 2
		for _, a := range New(o).Second {
			if a.Kind == ServerDown {
				t.Errorf("seed %d: %s", seed+1, a)
			}
		}
	}
}
