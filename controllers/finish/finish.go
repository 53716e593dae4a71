// Package finish ends the passes of all reconcilers: it writes status once, offers less of a status
// that the API server refuses, emits Events, and says when the next pass is due.
package finish

import (
	"context"
	"errors"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// Ending is how a pass over an object ends: what the object says by now, when the next pass is due,
// and in what the kinds differ. Functions that are nil do what most kinds do.
type Ending struct {
	// Before is the object as it was read, after the one with its new status. They differ in
	// nothing else. Without after nothing is said.
	Before, After Object
	// Next is when the next pass is due. A refusal of the status puts it off, unless isUrgent.
	Next     time.Duration
	IsUrgent bool
	// Failure has the pass back off, once status is written.
	Failure error
	// Withheld is how long the status is not offered, as the API server refused it lately.
	Withheld time.Duration
	// Behind is when to try again if somebody else wrote the object first, 0: see calm.
	Behind time.Duration
	// Patch makes a status patch on top of an object. It fails if that is not the newest any more.
	Patch func(read Object) client.Patch
	// Less makes what is offered in place of a status that was refused, best first.
	Less func(refused error) []Object
	// Refused is what a refusal means for the pass. isOnRecord is true if less was written, now or
	// before.
	Refused func(refusal error, isOnRecord bool) error
	// Answered hears how the API server took a status, as it is there.
	Answered func(written Object, err error)
	// Stored is called once status is what it should be. isNews is true if it was written.
	Stored func(isNews bool)
}

// Pass ends a pass: it writes the status if it says something new, tells of that, and says when
// the next pass is due.
func Pass(ctx context.Context, c client.Client, to events.EventRecorder, e *Ending) (ctrl.Result, error) {
	err := e.Persist(ctx, c, to)
	held, isHeld := errors.AsType[*RefusedError](err)
	switch {
	case isHeld && e.IsUrgent:
		return ctrl.Result{RequeueAfter: convergence.Sooner(e.Next, held.Wait)}, nil
	case isHeld:
		return ctrl.Result{RequeueAfter: held.Wait}, nil
	case e.Behind > 0 && apierrors.IsConflict(err):
		return ctrl.Result{RequeueAfter: session.Jittered(e.Behind)}, nil
	case err != nil:
		return ctrl.Result{}, err
	case e.Failure != nil:
		return ctrl.Result{}, e.Failure
	}
	return ctrl.Result{RequeueAfter: e.Next}, nil
}

// Persist writes the status of an object, with the resourceVersion that it was computed from, if it
// says something new. Of one that the API server refuses less is written. An object that is gone
// says nothing more.
func (e *Ending) Persist(ctx context.Context, c client.Client, to events.EventRecorder) error {
	switch {
	case e.After == nil:
		return nil
	case e.Withheld > 0:
		return &RefusedError{Wait: e.Withheld, Err: errWithheld}
	}
	isNews := !conditions.IsSame(statusFrom(e.Before), statusFrom(e.After))
	if isNews {
		if err := e.write(ctx, c, to, e.After); IsRefusal(err) {
			return e.persistLess(ctx, c, to, err)
		} else if err != nil {
			return client.IgnoreNotFound(err)
		}
	}
	if e.Stored != nil {
		e.Stored(isNews)
	}
	return nil
}

var errWithheld = errors.New("it was refused lately")

// write writes a status and tells of it. Its object stays as it is.
func (e *Ending) write(ctx context.Context, c client.Client, to events.EventRecorder, says Object) error {
	metrics.StatusPatches.WithLabelValues(kindOf(says)).Inc()
	written := says.DeepCopyObject().(Object)
	noteWarning(e.Before, written)
	err := c.Status().Patch(ctx, written, e.patchOf())
	if e.Answered != nil {
		e.Answered(written, err)
	}
	if err == nil {
		announce(to, e.Before, says)
	}
	return err
}

// patchOf returns the patch. A paused former leader must not overwrite what its successor learned.
func (e *Ending) patchOf() client.Patch {
	if e.Patch != nil {
		return e.Patch(e.Before)
	}
	return client.MergeFromWithOptions(e.Before, client.MergeFromWithOptimisticLock{})
}

// persistLess writes as much of a refused status as the API server takes. A status that another
// failure keeps from being written is tried again.
func (e *Ending) persistLess(ctx context.Context, c client.Client, to events.EventRecorder, refusal error) error {
	for _, less := range e.lessOf(refusal) {
		if conditions.IsSame(statusFrom(e.Before), statusFrom(less)) { // an earlier try wrote it
			return e.refusedAs(to, refusal, true)
		}
		switch err := e.write(ctx, c, to, less); {
		case err == nil:
			return e.refusedAs(to, refusal, true)
		case !IsRefusal(err):
			return client.IgnoreNotFound(err)
		}
	}
	return e.refusedAs(to, refusal, false)
}

// lessOf is what is offered in place of a refused status: what the object said before, with the
// reason.
func (e *Ending) lessOf(refusal error) []Object {
	if e.Less != nil {
		return e.Less(refusal)
	}
	less := e.Before.DeepCopyObject().(Object)
	conditions.SetVerdict(less, RefusedVerdict(refusal))
	return []Object{less}
}

// refusedAs tells of a refusal that no status tells of, and has the pass back off.
func (e *Ending) refusedAs(to events.EventRecorder, refusal error, isOnRecord bool) error {
	if e.Refused != nil {
		return e.Refused(refusal, isOnRecord)
	}
	if !isOnRecord {
		AnnounceRefusal(to, e.Before, refusal)
	}
	return refusal
}

// statusFrom points to the status of an object.
func statusFrom(o Object) any {
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
func kindOf(o Object) string {
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

// Object is an object of this API.
type Object interface {
	client.Object
	GetConditions() *[]metav1.Condition
}

// ForRecord is a context for what has to be recorded although the operator is told to stop. It ends
// long before Kubernetes loses patience.
func ForRecord(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.WithoutCancel(ctx), 5*time.Second)
}
