package controllers

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// ending is how a pass over an object ends: what the object says by now, when the next pass is due,
// and in what the kinds differ. Functions that are nil do what most kinds do.
type ending struct {
	// before is the object as it was read, after the one with its new status. They differ in nothing
	// else. Without after nothing is said.
	before, after conditioned
	// next is when the next pass is due. A refusal of the status puts it off, unless isUrgent.
	next     time.Duration
	isUrgent bool
	// failure has the pass back off, once status is written.
	failure error
	// withheld is how long the status is not offered, as the API server refused it lately.
	withheld time.Duration
	// behind is when to try again if somebody else wrote the object first, 0: see calm.
	behind time.Duration
	// patch makes a status patch on top of an object. It fails if that is not the newest any more.
	patch func(read conditioned) client.Patch
	// less makes what is offered in place of a status that was refused, best first.
	less func(refused error) []conditioned
	// refused is what a refusal means for the pass. isOnRecord is true if less was written, now or
	// before.
	refused func(refusal error, isOnRecord bool) error
	// answered hears how the API server took a status, as it is there.
	answered func(written conditioned, err error)
	// stored is called once status is what it should be. isNews is true if it was written.
	stored func(isNews bool)
}

// endPass ends a pass: it writes the status if it says something new, tells of that, and says when
// the next pass is due.
func endPass(ctx context.Context, c client.Client, to events.EventRecorder, e *ending) (ctrl.Result, error) {
	err := e.persist(ctx, c, to)
	held, isHeld := errors.AsType[*refusedError](err)
	switch {
	case isHeld && e.isUrgent:
		return ctrl.Result{RequeueAfter: convergence.Sooner(e.next, held.wait)}, nil
	case isHeld:
		return ctrl.Result{RequeueAfter: held.wait}, nil
	case e.behind > 0 && apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: session.Jittered(e.behind)}, nil
	case err != nil:
		return ctrl.Result{}, err
	case e.failure != nil:
		return ctrl.Result{}, e.failure
	}
	return ctrl.Result{RequeueAfter: e.next}, nil
}

// persist writes the status of an object, with the resourceVersion that it was computed from, if it
// says something new. Of one that the API server refuses less is written. An object that is gone
// says nothing more.
func (e *ending) persist(ctx context.Context, c client.Client, to events.EventRecorder) error {
	switch {
	case e.after == nil:
		return nil
	case e.withheld > 0:
		return &refusedError{wait: e.withheld, err: errWithheld}
	}
	isNews := !conditions.IsSame(statusFrom(e.before), statusFrom(e.after))
	if isNews {
		if err := e.write(ctx, c, to, e.after); isRefusal(err) {
			return e.persistLess(ctx, c, to, err)
		} else if err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	if e.stored != nil {
		e.stored(isNews)
	}
	return nil
}

var errWithheld = errors.New("it was refused lately")

// write writes a status and tells of it. Its object stays as it is.
func (e *ending) write(ctx context.Context, c client.Client, to events.EventRecorder, says conditioned) error {
	metrics.StatusPatches.WithLabelValues(kindOf(says)).Inc()
	written := says.DeepCopyObject().(conditioned)
	noteWarning(e.before, written)
	err := c.Status().Patch(ctx, written, e.patchOf())
	if e.answered != nil {
		e.answered(written, err)
	}
	if err == nil {
		announce(to, e.before, says)
	}
	return err
}

// patchOf returns the patch. A paused former leader must not overwrite what its successor learned.
func (e *ending) patchOf() client.Patch {
	if e.patch != nil {
		return e.patch(e.before)
	}
	return client.MergeFromWithOptions(e.before, client.MergeFromWithOptimisticLock{})
}

// persistLess writes as much of a refused status as the API server takes. A status that another
// failure keeps from being written is tried again.
func (e *ending) persistLess(ctx context.Context, c client.Client, to events.EventRecorder, refusal error) error {
	for _, less := range e.lessOf(refusal) {
		if conditions.IsSame(statusFrom(e.before), statusFrom(less)) { // an earlier try wrote it
			return e.refusedAs(to, refusal, true)
		}
		switch err := e.write(ctx, c, to, less); {
		case err == nil:
			return e.refusedAs(to, refusal, true)
		case !isRefusal(err):
			return client.IgnoreNotFound(err)
		}
	}
	return e.refusedAs(to, refusal, false)
}

// lessOf is what is offered in place of a refused status: what the object said before, with the
// reason.
func (e *ending) lessOf(refusal error) []conditioned {
	if e.less != nil {
		return e.less(refusal)
	}
	less := e.before.DeepCopyObject().(conditioned)
	conditions.SetVerdict(less, refusedVerdict(refusal))
	return []conditioned{less}
}

// refusedAs tells of a refusal that no status tells of, and has the pass back off.
func (e *ending) refusedAs(to events.EventRecorder, refusal error, isOnRecord bool) error {
	if e.refused != nil {
		return e.refused(refusal, isOnRecord)
	}
	if !isOnRecord {
		announceRefusal(to, e.before, refusal)
	}
	return refusal
}

// statusFrom points to the status of an object.
func statusFrom(o conditioned) any {
	switch o := o.(type) {
	case *v1alpha1.PnPDevice:
		return &o.Status
	case *v1alpha1.IoTHub:
		return &o.Status
	case *v1alpha1.DeviceCommand:
		return &o.Status
	case *v1alpha1.DeviceModel:
		return &o.Status
	}
	return o
}

// kindOf names the kind of an object, which the client does not keep.
func kindOf(o conditioned) string {
	switch o.(type) {
	case *v1alpha1.PnPDevice:
		return "PnPDevice"
	case *v1alpha1.IoTHub:
		return "IoTHub"
	case *v1alpha1.DeviceCommand:
		return "DeviceCommand"
	}
	return "DeviceModel"
}
