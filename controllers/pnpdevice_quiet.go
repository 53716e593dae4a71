package controllers

import (
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/util/retry"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// quietTime is how long after a status patch that only showed what the device did the next such patch has to wait: a
// device that reports three times a second must not wear out etcd. Answers to values that wait for one are shown at once.
const quietTime = 5 * time.Second

// answerTime is how long status waits, after a write, for the device's answer, so that one patch shows both: a device that is connected mostly answers
// within it.
const answerTime = 250 * time.Millisecond

// awaitAnswer returns how long to wait for the device's answer before status is written, 0 if not at all, as when the operator is stopping. Memory keeps what
// status would say of the write meanwhile.
func (s *scope) awaitAnswer(ctx context.Context, before *v1alpha1.PnPDevice, h *halt) time.Duration {
	if h != nil || ctx.Err() != nil || !s.expectsAnswer(before) {
		return 0
	}
	s.memory.Unshown()
	return answerTime
}

// untilCached is how often a pass is made again whose object was edited: until the cache shows the edit, 1.5 s in all.
var untilCached = wait.Backoff{Steps: 5, Duration: 100 * time.Millisecond, Factor: 2}

// showUnshown has status say what memory alone knows: writes whose devices were to answer first,
// and what is the object's where an edit in between had the status write refused, or the
// declaration moved to another IoTHub. An operator that is stopping makes no pass later.
func (r *PnPDeviceReconciler) showUnshown(stopping context.Context) error {
	var errs []error
	for _, unshown := range r.Hubs.Unshown() {
		declarations, err := declarationsOf(stopping, r, unshown.DeviceID)
		errs = append(errs, err)
		for _, d := range declarations {
			if d.UID == unshown.Object {
				errs = append(errs, r.show(stopping, client.ObjectKeyFromObject(d), unshown))
			}
		}
	}
	return errors.Join(errs...)
}

// show makes a pass over one object, and if that does not get as far as its device, writes what
// memory knows.
func (r *PnPDeviceReconciler) show(stopping context.Context, object client.ObjectKey, unshown hubs.Unshown) error {
	ctx, cancel := forRecord(stopping)
	defer cancel()
	isOver := func(context.Context) (bool, error) { return !unshown.IsInPass(), nil }
	if err := wait.PollUntilContextCancel(ctx, 20*time.Millisecond, true, isOver); err != nil {
		return fmt.Errorf("waiting for the last pass over PnPDevice %s: %w", object, err)
	}
	pass := func() error {
		_, err := r.Reconcile(stopping, reconcile.Request{NamespacedName: object})
		return err
	}
	return firstThat(unshown.Is, pass, func() error { return r.record(ctx, object) })
}

// firstThat tries one way after the other until nothing is open any more, each again while edits
// are faster. Why an earlier way failed is no matter.
func firstThat(isOpen func() bool, ways ...func() error) (err error) {
	for _, way := range ways {
		if !isOpen() {
			return nil
		}
		err = retry.OnError(untilCached, apierrors.IsConflict, way)
	}
	return err
}

// record writes what memory knows of an object into its status. It asks nobody.
func (r *PnPDeviceReconciler) record(ctx context.Context, object client.ObjectKey) error {
	before, err := r.latest.get(ctx, r.Client, object)
	if err != nil {
		return client.IgnoreNotFound(err)
	}
	s := newScope(before.DeepCopy(), time.Now())
	r.carry(s)
	return r.shows(ctx, before, s).persist(ctx, r.Client, r.Recorder)
}

// quietFor returns how long to wait before status is written, 0 if now.
func (s *scope) quietFor(before *v1alpha1.PnPDevice) time.Duration {
	if s.memory == nil || !s.isDeviceAlone(before) || isAnswered(before, s.device) || isSame(&before.Status, &s.device.Status) {
		return 0
	}
	return s.memory.QuietFor(s.now)
}

// expectsAnswer reports whether an event is about to tell of the device's answer, and the pass did nothing that only it can put into status. All else a later
// pass finds in memory, or after a crash at the hub.
func (s *scope) expectsAnswer(before *v1alpha1.PnPDevice) bool {
	return len(s.written) > 0 && !s.mustTell && before.Status.LastHandledReconcileAt == s.device.Status.LastHandledReconcileAt &&
		before.Status.LastHandledResendAt == s.device.Status.LastHandledResendAt && s.device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied &&
		s.device.Status.ConnectionState == connected && s.session.EventsExpected()
}

// isAnswered reports whether the device answered to a value that waited for it: somebody is looking.
func isAnswered(before, after *v1alpha1.PnPDevice) bool {
	now := entriesOf(&after.Status)
	for leaf, was := range propertiesOf(&before.Status) {
		if isOpen(was.State) && !isOpen(now[leaf].State) {
			return true
		}
	}
	return false
}

func isOpen(s v1alpha1.PropertyState) bool { return s == stateOf(twin.StatePending) || isUnanswered(s) }

// isUnanswered reports whether the hub holds a value that the device has to answer to.
func isUnanswered(s v1alpha1.PropertyState) bool {
	return s == stateOf(twin.StateApplied) || s == stateOf(twin.StateInProgress)
}

// quieten starts the quiet time after a patch that only showed what the device did by itself, and ends it after any other:
// what the device answers to a write is to be seen at once.
func (s *scope) quieten(before *v1alpha1.PnPDevice) {
	if s.memory == nil {
		return
	}
	switch {
	case !s.isDeviceAlone(before):
		s.memory.Quiet(time.Time{})
	case !isAnswered(before, s.device):
		s.memory.Quiet(time.Now().Add(quietTime))
	}
}

// isDeviceAlone reports whether nothing but the device moved since the last status: no edit, no write to the hub, no
// read that was asked for.
func (s *scope) isDeviceAlone(before *v1alpha1.PnPDevice) bool {
	was, is := before.Status.Twin, s.device.Status.Twin
	return s.twin != nil && was != nil && is != nil && was.Etag == is.Etag && was.DeviceEtag == is.DeviceEtag &&
		before.Status.ObservedGeneration == before.Generation && len(s.written) == 0 && !s.claiming && !s.wasRead
}
