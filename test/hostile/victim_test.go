package hostile

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	victimDevice = "victim"
	// An edit may take this many times as long as while nobody attacks, but up to tolerable that is nothing: other programs of a small machine slow it down as well.
	tolerableRatio = 40
	tolerable      = 5 * time.Second
	// tolerableRestart is how long it may take where the operator is killed and started on the way.
	tolerableRestart = 40 * time.Second
)

// beginVictim connects and declares a device at the first hub, and measures how long its edits take.
func (h *hostileRun) beginVictim(ctx context.Context) (err error) {
	if h.Observer, err = h.Observe(ctx); err != nil {
		return err
	}
	if err := h.Hub.AddDevice(ctx, victimDevice, simulator.Spec{Model: simulator.Thermostat}); err != nil {
		return err
	}
	device := &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Name: victimDevice, Namespace: harness.Namespace},
		Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: harness.SampleHub}, Properties: jsonOf(map[string]any{harness.TargetProperty: 0})},
	}
	if err := h.Client.Create(ctx, device); err != nil {
		return err
	}
	if _, err := h.Await(ctx, victimDevice, "Ready", harness.IsReady); err != nil {
		return err
	}
	var took []time.Duration
	for range 9 {
		one, err := h.edit(ctx, time.Minute)
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	slices.Sort(took)
	h.idle = took[len(took)/2]
	return nil
}

// jsonOf encodes what a declaration holds.
func jsonOf(value any) *apiextensionsv1.JSON {
	raw, err := json.Marshal(value)
	if err != nil {
		panic(err) // a value of this program that JSON cannot hold
	}
	return &apiextensionsv1.JSON{Raw: raw}
}

// edit declares a new value of the victim's device, and returns how long it took until its hub held that.
func (h *hostileRun) edit(ctx context.Context, within time.Duration) (time.Duration, error) {
	h.edits++
	want := float64(h.edits)
	began := time.Now()
	limited, cancel := context.WithTimeoutCause(ctx, within, harness.Missed("an edit of the victim", "at its hub within "+within.String(), "not yet"))
	defer cancel()
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: victimDevice, Namespace: harness.Namespace}}
	patch := fmt.Appendf(nil, `{"spec":{"properties":{%q:%v}}}`, harness.TargetProperty, want)
	if err := h.Client.Patch(limited, device, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return time.Since(began), harness.CauseOf(limited, err)
	}
	never := func() error { return context.Cause(limited) }
	err := harness.PollEvery(limited, 10*time.Millisecond, 2*within, never, func(ctx context.Context) (bool, error) {
		value, _, err := h.Desired(ctx, victimDevice, harness.TargetProperty)
		return value == want, harness.CauseOf(ctx, err)
	})
	return time.Since(began), err
}

// victim is what the other tenant does during an attack.
type victim struct {
	asked, ended chan struct{}
	worst        time.Duration
	err          error
}

// watchVictim edits again and again until it is stopped, and does the other thing that an attack wants to see done.
func (h *hostileRun) watchVictim(ctx context.Context, a attack) *victim {
	v := &victim{asked: make(chan struct{}), ended: make(chan struct{})}
	if a.alone {
		close(v.ended)
		return v
	}
	within := max(tolerable, tolerableRatio*h.idle)
	if a.restarts {
		within = tolerableRestart
	}
	go func() {
		defer close(v.ended)
		for {
			took, err := h.edit(ctx, within)
			v.worst = max(v.worst, took)
			if v.err = err; err == nil && a.other != nil {
				v.err = a.other(ctx, h)
			}
			if v.err != nil {
				return
			}
			select {
			case <-v.asked:
				return
			case <-time.After(100 * time.Millisecond):
			}
		}
	}()
	return v
}

// stop waits for the edit under way, and returns how long the longest took.
func (v *victim) stop() (time.Duration, error) {
	close(v.asked)
	<-v.ended
	return v.worst, v.err
}

// newIoTHub makes one more IoTHub of the victim, which has to be Ready in time.
func newIoTHub(ctx context.Context, h *hostileRun) error {
	var mine v1alpha1.IoTHub
	if err := h.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: harness.SampleHub}, &mine); err != nil {
		return err
	}
	h.named++
	fresh := &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fresh-%d", h.named), Namespace: harness.Namespace}, Spec: mine.Spec}
	fresh.Spec.Events = nil
	return h.soonReady(ctx, fresh, func() []metav1.Condition { return fresh.Status.Conditions })
}

// newModel makes one more DeviceModel of the victim, which has to be Ready in time.
func newModel(ctx context.Context, h *hostileRun) error {
	h.named++
	id := fmt.Sprintf("dtmi:com:example:fresh%d;1", h.named)
	fresh := &v1alpha1.DeviceModel{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("fresh-%d", h.named), Namespace: harness.Namespace}}
	fresh.Spec.DTDL = jsonOf(map[string]any{"@context": dtdlContext, "@id": id, "@type": "Interface", "contents": []any{}})
	return h.soonReady(ctx, fresh, func() []metav1.Condition { return fresh.Status.Conditions })
}

// soonReady creates an object, waits until it is Ready, and deletes it.
func (h *hostileRun) soonReady(ctx context.Context, object client.Object, conditions func() []metav1.Condition) error {
	if err := h.Client.Create(ctx, object); err != nil {
		return err
	}
	defer func() { _ = h.Client.Delete(context.WithoutCancel(ctx), object) }() // in the way of nobody
	late := func() error {
		return harness.Missed(fmt.Sprintf("a new %T of the victim", object), "Ready within "+(2*tolerable).String(), said(conditions()))
	}
	return harness.PollEvery(ctx, 100*time.Millisecond, 2*tolerable, late, func(ctx context.Context) (bool, error) {
		err := h.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		return isTrue(conditions(), v1alpha1.ConditionReady), err
	})
}
