package finish

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
)

func TestReadyIsAnEventWhereItIsNews(t *testing.T) {
	device := func(v conditions.Verdict) Object {
		d := &v1alpha1.PnPDevice{}
		conditions.SetVerdict(d, v)
		return d
	}
	ready := conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonDeviceAcknowledged}
	hub := func(v conditions.Verdict) Object {
		h := &v1alpha1.IoTHub{}
		conditions.SetVerdict(h, v)
		return h
	}
	for name, c := range map[string]struct {
		before, after Object
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

func TestEventsTellOfTheWayIntoTroubleAndOutOfIt(t *testing.T) {
	told := func(warned string, v conditions.Verdict) *v1alpha1.PnPDevice {
		device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{LastWarning: warned}}
		conditions.SetVerdict(device, v)
		return device
	}
	good := conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonDeviceAcknowledged}
	waits := conditions.Verdict{Reason: v1alpha1.ReasonAwaitingAcknowledgement}
	bad := conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonRejected}
	quota := conditions.Verdict{Reason: v1alpha1.ReasonQuotaExceeded}
	for name, c := range map[string]struct {
		before, after *v1alpha1.PnPDevice
		kind, warned  string
	}{
		"into trouble":                           {told("", waits), told("", bad), corev1.EventTypeWarning, v1alpha1.ReasonRejected},
		"out of messages":                        {told("", waits), told("", quota), corev1.EventTypeWarning, v1alpha1.ReasonQuotaExceeded},
		"the same trouble":                       {told(v1alpha1.ReasonRejected, bad), told("", bad), "", v1alpha1.ReasonRejected},
		"from trouble to waiting":                {told(v1alpha1.ReasonRejected, bad), told("", waits), "", v1alpha1.ReasonRejected},
		"from there to good":                     {told(v1alpha1.ReasonRejected, waits), told("", good), corev1.EventTypeNormal, ""},
		"straight to good, of an older operator": {told("", bad), told("", good), corev1.EventTypeNormal, ""},
		"good after an edit is not worth one":    {told("", waits), told("", good), "", ""},
	} {
		if kind, warned := toldOf(c.before, c.after), lastWarning(c.before, c.after); kind != c.kind || warned != c.warned {
			t.Errorf("%s: got %q and %q, want %q and %q", name, kind, warned, c.kind, c.warned)
		}
	}
}
