package device

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
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// quietTime is how long after a status patch that only showed what the device did the next such patch has to wait: a
// device that reports three times a second must not wear out etcd. Answers to values that wait for one are shown at once.
const quietTime = 5 * time.Second

// answerTime is how long status waits, after a write, for the device's answer, so that one patch shows both: a device that is connected mostly answers
// within it.
const answerTime = 250 * time.Millisecond

// awaitAnswer returns how long to wait for the device's answer before status is written, 0 if not at all, as when the operator is stopping. Memory keeps what
// status would say of the write meanwhile.
func (s *scope) awaitAnswer(ctx context.Context, before *v1alpha1.PnPDevice, h *halt.Error) time.Duration {
	if h != nil || ctx.Err() != nil || !s.ExpectsAnswer(before) {
		return 0
	}
	s.memory.Unshown()
	return answerTime
}

// untilCached is how often a pass is made again whose object was edited: until the cache shows the edit, 1.5 s in all.
var untilCached = wait.Backoff{Steps: 5, Duration: 100 * time.Millisecond, Factor: 2}

// ShowUnshown has status say what memory alone knows: writes whose devices were to answer first,
// and what is the object's where an edit in between had the status write refused, or the
// declaration moved to another IoTHub. An operator that is stopping makes no pass later.
func (r *PnPDeviceReconciler) ShowUnshown(stopping context.Context) error {
	var errs []error
	for _, unshown := range r.Hubs.Unshown() {
		declarations, err := cached.DeclarationsOf(stopping, r, unshown.DeviceID)
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
func (r *PnPDeviceReconciler) show(stopping context.Context, object client.ObjectKey, unshown session.Unshown) error {
	ctx, cancel := finish.ForRecord(stopping)
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
	return r.shows(ctx, before, s).Persist(ctx, r.Client, r.Recorder)
}

// quietFor returns how long to wait before status is written, 0 if now.
func (s *scope) quietFor(before *v1alpha1.PnPDevice) time.Duration {
	if s.memory == nil || !s.MayWait(before) {
		return 0
	}
	return s.memory.QuietFor(s.Now)
}

// quieten starts the quiet time after a patch that only showed what the device did by itself, and ends it after any other:
// what the device answers to a write is to be seen at once.
func (s *scope) quieten(before *v1alpha1.PnPDevice) {
	if s.memory == nil {
		return
	}
	switch {
	case !s.IsDeviceAlone(before):
		s.memory.Quiet(time.Time{})
	case !convergence.IsAnswered(before, s.Device):
		s.memory.Quiet(time.Now().Add(quietTime))
	}
}
