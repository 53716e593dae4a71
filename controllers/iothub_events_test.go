package controllers

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// Phases of a stream that no spec brings about.
func TestStreamIsToldInItsPhase(t *testing.T) {
	hub := &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{Events: &v1alpha1.EventSource{ConsumerGroup: "pnp-operator"}}}
	for want, phase := range map[string]eventstream.Phase{
		v1alpha1.ReasonEventHubBusy: eventstream.Busy, v1alpha1.ReasonCheckpointFailed: eventstream.StoreFailed, v1alpha1.ReasonConnecting: eventstream.Connecting,
	} {
		if v := streamVerdict(hub, "events", eventstream.State{Phase: phase}, nil); v.Reason != want || v.Ready || v.Message == "" {
			t.Errorf("%s: %+v, want reason %s, a message, and not ready", phase, v, want)
		}
	}
}
