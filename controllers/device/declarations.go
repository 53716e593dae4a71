package device

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// declarations are the PnPDevices of one IoTHub in the cache: its sweep compares the hub with them,
// and its events are for them.
type declarations struct {
	reader client.Reader
	latest *latest
	wakes  *triggers.Triggers
	hub    types.NamespacedName
	// destination of the session.
	destination string
	sessions    *session.Registry
	failing     *backoff.Failures
}

// Declarations returns the PnPDevices of an IoTHub that has a session at a destination.
func (r *PnPDeviceReconciler) Declarations(hub types.NamespacedName, destination string) session.Declarations {
	return &declarations{reader: r.Client, latest: &r.latest, wakes: r.Wakes, hub: hub, destination: destination, sessions: r.Hubs, failing: r.Failures}
}

// List returns the devices of the hub.
func (w *declarations) List(ctx context.Context) ([]session.Declared, error) {
	devices, err := cached.MembersOf(ctx, w.reader, w.hub)
	if err != nil {
		return nil, err
	}
	var declared []session.Declared
	for _, d := range devices {
		if !w.wins(ctx, d) {
			continue
		}
		declared = append(declared, session.Declared{
			DeviceID: d.DeviceID(), Adopted: convergence.IsAdopted(d, w.destination), ETag: etagOf(d), ConnectionState: d.Status.ConnectionState,
			Suspended: d.Spec.Suspend,
		})
	}
	return declared, nil
}

// wins reports whether the object may act on its device. The cache answers.
func (w *declarations) wins(ctx context.Context, d *v1alpha1.PnPDevice) bool {
	winner, err := rivals.Winner(ctx, w.reader, w.sessions, d, w.destination)
	return err == nil && winner.UID == d.UID
}

func etagOf(d *v1alpha1.PnPDevice) string {
	if d.Status.Twin == nil {
		return ""
	}
	return d.Status.Twin.Etag
}

// Differs reports whether the twin would change what status says.
func (w *declarations) Differs(ctx context.Context, t *twin.Twin) bool {
	for _, d := range w.declaring(ctx, t.DeviceID) {
		if now, err := w.latest.get(ctx, w.reader, client.ObjectKeyFromObject(d)); err == nil && convergence.Differs(now.DeepCopy(), t) {
			return true
		}
	}
	return false
}

// Enqueue has the objects of the device reconciled. Where an event causes that, those that fail are
// not looked at too often.
func (w *declarations) Enqueue(ctx context.Context, deviceID string, cause session.Cause, after time.Duration) {
	for _, d := range w.declaring(ctx, deviceID) {
		next := triggers.Device{Key: client.ObjectKeyFromObject(d), Priority: triggers.PrioritySweep, After: after}
		if cause == session.CauseEvent {
			next.Priority, next.After = triggers.PriorityEvent, max(after, w.failing.Hold(nameOfDevice(d), time.Now()))
		}
		w.wakes.Device(ctx, next)
	}
}

// Cached returns what status knows of a device, to be computed if needed. An object that is being
// deleted, or that has lost the device to another one, learns nothing.
func (w *declarations) Cached(ctx context.Context, deviceID string) (func() session.Belief, bool) {
	for _, d := range w.declaring(ctx, deviceID) {
		if !d.DeletionTimestamp.IsZero() || !w.wins(ctx, d) {
			continue
		}
		return func() session.Belief { return w.believed(ctx, client.ObjectKeyFromObject(d)) }, true
	}
	return nil, false
}

func (w *declarations) believed(ctx context.Context, key types.NamespacedName) session.Belief {
	d, err := w.latest.get(ctx, w.reader, key)
	if err != nil || !convergence.IsAdopted(d, w.destination) {
		return session.Belief{}
	}
	belief := session.Belief{Twin: convergence.Belief(&d.Status), MirrorsAll: d.Spec.Reported == v1alpha1.ReportedAll && d.Status.NotShown == 0}
	if seen := d.Status.ConnectionStateSeenTime; seen != nil {
		belief.StateSeen = seen.Time
	}
	return belief
}

func (w *declarations) declaring(ctx context.Context, deviceID string) []*v1alpha1.PnPDevice {
	declarations, err := cached.DeclarationsAt(ctx, w.reader, w.hub, deviceID)
	if err != nil {
		return nil
	}
	return declarations
}
