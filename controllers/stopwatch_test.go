package controllers

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// measured is how often a step was measured, and the sum of seconds.
func measured(t *testing.T, step string) (times uint64, seconds float64) {
	t.Helper()
	families, err := metrics.Registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, family := range families {
		for _, m := range family.GetMetric() {
			if family.GetName() == "pnp_device_convergence_seconds" && m.GetLabel()[0].GetValue() == step {
				return m.GetHistogram().GetSampleCount(), m.GetHistogram().GetSampleSum()
			}
		}
	}
	return 0, 0
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
		patched, acknowledged float64 // seconds, -1: not measured
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
		}, 4, -1},
		"edited again before it was written": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			d.Generation++
			s.patched(d, edited, at(1)) // by a pass over what nobody saw begin
			s.start(d, at(2))
			s.patched(d, edited, at(5))
		}, 3, -1},
		"the hub held it already": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			acknowledged(d)
			s.settled(d, at(1))
			s.patched(d, edited, at(2))
		}, -1, -1},
		"drift put back": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.patched(d, drifted, at(1))
		}, -1, -1},
		"known before a restart": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			acknowledged(d)
			s.start(d, at(0))
			s.patched(d, edited, at(1))
		}, -1, -1},
		"deleted on the way": {func(s *stopwatches, d *v1alpha1.PnPDevice) {
			s.start(d, at(0))
			s.drop(d.UID)
			s.patched(d, edited, at(1))
		}, -1, -1},
	} {
		t.Run(name, func(t *testing.T) {
			for step, want := range map[string]float64{stepPatched: test.patched, stepAcknowledged: test.acknowledged} {
				times, seconds := measured(t, step)
				test.play(&stopwatches{}, &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{UID: "u", Generation: 2}})
				n, sum := measured(t, step)
				if got := sum - seconds; want < 0 && n != times || want >= 0 && (n != times+1 || got != want) {
					t.Errorf("%s: measured %d times, %v s; want %v s", step, n-times, got, want)
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
