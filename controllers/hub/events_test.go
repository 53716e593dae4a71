package hub

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

func TestOneConsumerGroupHasOneName(t *testing.T) {
	a := eventstream.Config{Namespace: "ns.servicebus.windows.net", EventHub: "factory", ConsumerGroup: "pnp-operator"}
	if b := (eventstream.Config{Namespace: "NS.ServiceBus.windows.net", EventHub: "Factory", ConsumerGroup: "PnP-Operator"}); streamKey(a) != streamKey(b) {
		t.Errorf("%+v and %+v: event hubs do not tell capitals from small letters", streamKey(a), streamKey(b))
	}
	own := a
	own.Endpoint = "mallory:5671"
	if streamKey(a) == streamKey(own) {
		t.Error("what was accepted at an endpoint of one's own counts for the other one")
	}
}
