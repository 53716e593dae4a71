package device

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// unmeasured is in a table what no time was measured of.
const unmeasured = -1

// measurement is how often a step was measured, and the sum of seconds.
type measurement struct {
	times   uint64
	seconds float64
}

// readSteps returns what the process has measured so far of each step.
func readSteps(t *testing.T) map[string]measurement {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	steps := map[string]measurement{}
	for _, family := range families {
		if family.GetName() != "pnp_device_convergence_seconds" {
			continue
		}
		for _, m := range family.GetMetric() {
			steps[m.GetLabel()[0].GetValue()] = measurement{m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()}
		}
	}
	return steps
}

func TestStopwatch(t *testing.T) {
	began := time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)
	at := func(seconds int) time.Time { return began.Add(time.Duration(seconds) * time.Second) }
	edited, drifted := []twin.Change{{Cause: twin.Edited}}, []twin.Change{{Cause: twin.Drifted}}
	acknowledged := func(d *v1alpha1.PnPDevice) {
		d.Status.ObservedGeneration = d.Generation
		d.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionAcknowledged, Status: metav1.ConditionTrue}}
	}
	for name, test := range map[string]struct {
		play                  func(*stopwatches, *v1alpha1.PnPDevice)
		patched, acknowledged float64 // seconds
	}{
		"written and acknowledged": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.patched(d, edited, at(2))
			s.settled(d, at(3)) // status does not say so yet
			acknowledged(d)
			s.settled(d, at(7))
			s.settled(d, at(9)) // counts once
		}, 2, 5},
		"written twice": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.patched(d, edited, at(1))
			s.patched(d, edited, at(4))
			acknowledged(d)
			s.settled(d, at(6))
		}, 1, 5},
		"seen again while it waits": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.start(d, at(3))
			s.patched(d, edited, at(4))
		}, 4, unmeasured},
		"edited again before it was written": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			d.Generation++
			s.patched(d, edited, at(1)) // by a pass over what nobody saw begin
			s.start(d, at(2))
			s.patched(d, edited, at(5))
		}, 3, unmeasured},
		"the hub held it already": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			acknowledged(d)
			s.settled(d, at(1))
			s.patched(d, edited, at(2))
		}, unmeasured, unmeasured},
		"drift put back": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.patched(d, drifted, at(1))
		}, unmeasured, unmeasured},
		"known before a restart": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			acknowledged(d)
			s.start(d, at(0))
			s.patched(d, edited, at(1))
		}, unmeasured, unmeasured},
		"deleted on the way": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.drop(d.UID)
			s.patched(d, edited, at(1))
		}, unmeasured, unmeasured},
	} {
		t.Run(name, func(t *testing.T) {
			before := readSteps(t)
			test.play(&stopwatches{}, &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 2}})
			after := readSteps(t)
			for step, want := range map[string]float64{stepPatched: test.patched, stepAcknowledged: test.acknowledged} {
				times, seconds := after[step].times-before[step].times, after[step].seconds-before[step].seconds
				if want == unmeasured {
					if times != 0 {
						t.Errorf("%s: measured %d times, want none", step, times)
					}
					continue
				}
				if times != 1 || seconds != want {
					t.Errorf("%s: measured %d times, %v s in all; want once, %v s", step, times, seconds, want)
				}
			}
		})
	}
}

func TestOutcomesAreCountedFromTheBeginning(t *testing.T) {
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	counted := 0
	for _, family := range families {
		if family.GetName() == "pnp_device_commands_total" {
			counted = len(family.GetMetric())
		}
	}
	if counted != 4 {
		t.Errorf("%d outcomes are counted", counted)
	}
}
