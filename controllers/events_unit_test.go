package controllers

import (
	"testing"

	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

func TestReadyIsAnEventWhereItIsNews(t *testing.T) {
	device := func(v conditions.Verdict) conditioned {
		d := &v1alpha1.PnPDevice{}
		conditions.SetVerdict(d, v)
		return d
	}
	ready := conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonDeviceAcknowledged}
	hub := func(v conditions.Verdict) conditioned {
		h := &v1alpha1.IoTHub{}
		conditions.SetVerdict(h, v)
		return h
	}
	for name, c := range map[string]struct {
		before, after conditioned
		events        int
	}{
		"a device that took its first declaration":      {&v1alpha1.PnPDevice{}, device(ready), 0},
		"a device that took an edit":                    {device(conditions.Verdict{Reason: v1alpha1.ReasonAwaitingAcknowledgement}), device(ready), 0},
		"a device whose hub is back":                    {device(conditions.Verdict{Reason: v1alpha1.ReasonHubUnavailable}), device(ready), 1},
		"a device that was stalled":                     {device(conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonRejected}), device(ready), 1},
		"a device that refuses":                         {device(ready), device(conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonRejected}), 1},
		"a hub that was connected for the first time":   {&v1alpha1.IoTHub{}, hub(conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonAuthenticated}), 1},
		"a device that goes on as it was":               {device(ready), device(ready), 0},
		"a device that goes on being refused a request": {device(conditions.Verdict{Reason: v1alpha1.ReasonThrottled}), device(conditions.Verdict{Reason: v1alpha1.ReasonThrottled}), 0},
	} {
		recorder := events.NewFakeRecorder(10)
		announce(recorder, c.before, c.after)
		if got := len(recorder.Events); got != c.events {
			t.Errorf("%s: %d Events, want %d", name, got, c.events)
		}
	}
}
