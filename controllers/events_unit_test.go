package controllers

import (
	"testing"

	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func TestReadyIsAnEventWhereItIsNews(t *testing.T) {
	device := func(v verdict) conditioned {
		d := &v1alpha1.PnPDevice{}
		setVerdict(d, v)
		return d
	}
	ready := verdict{ready: true, reason: v1alpha1.ReasonDeviceAcknowledged}
	hub := func(v verdict) conditioned {
		h := &v1alpha1.IoTHub{}
		setVerdict(h, v)
		return h
	}
	for name, c := range map[string]struct {
		before, after conditioned
		events        int
	}{
		"a device that took its first declaration":      {&v1alpha1.PnPDevice{}, device(ready), 0},
		"a device that took an edit":                    {device(verdict{reason: v1alpha1.ReasonAwaitingAcknowledgement}), device(ready), 0},
		"a device whose hub is back":                    {device(verdict{reason: v1alpha1.ReasonHubUnavailable}), device(ready), 1},
		"a device that was stalled":                     {device(verdict{stalled: true, reason: v1alpha1.ReasonRejected}), device(ready), 1},
		"a device that refuses":                         {device(ready), device(verdict{stalled: true, reason: v1alpha1.ReasonRejected}), 1},
		"a hub that was connected for the first time":   {&v1alpha1.IoTHub{}, hub(verdict{ready: true, reason: v1alpha1.ReasonAuthenticated}), 1},
		"a device that goes on as it was":               {device(ready), device(ready), 0},
		"a device that goes on being refused a request": {device(verdict{reason: v1alpha1.ReasonThrottled}), device(verdict{reason: v1alpha1.ReasonThrottled}), 0},
	} {
		recorder := events.NewFakeRecorder(10)
		announce(recorder, c.before, c.after)
		if got := len(recorder.Events); got != c.events {
			t.Errorf("%s: %d Events, want %d", name, got, c.events)
		}
	}
}
