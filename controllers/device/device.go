// Package device reconciles PnPDevices.
package device

import (
	"cmp"
	"context"
	"errors"
	"sync/atomic"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/places"
	"github.com/pnp-operator/pnp-operator/internal/reasons"
	"github.com/pnp-operator/pnp-operator/internal/revision"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=pnpdevices,verbs=get;list;watch;patch
// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=pnpdevices/status,verbs=patch

// PnPDeviceReconciler converges the twin of each PnPDevice with its declaration.
type PnPDeviceReconciler struct {
	client.Client
	Recorder events.EventRecorder
	Hubs     *session.Registry
	Wakes    *triggers.Triggers
	Brake    *removals.Brake
	Models   *models.Library
	// Workers are shared between hubs while they wait for them, see WorkersOf; nil: a hub may have all.
	Workers *places.Pool
	// Concurrency is how many may wait for one hub.
	Concurrency int
	// Failures of objects, of all kinds: one that succeeds at a hub has others tried again.
	Failures *backoff.Failures
	// Commands that wait for devices; nil: none do.
	Commands *command.Registry
	// GoneHub returns an IoTHub as it was when it went, nil if that is not known.
	GoneHub func(types.NamespacedName) *v1alpha1.IoTHub
	// Restored is called for each PnPDevice that was put back to an older copy.
	Restored func()
	// Grace is how long the hub may fail before status says so, 0 means DefaultGrace.
	Grace time.Duration

	latest      latest // also for the sweeps
	clearing    clearing
	rewinds     revision.Rewinds
	holders     holders
	origins     origins
	refusals    backoff.Failures // of statuses, by the API server
	stopwatches stopwatches
	retries     *backoff.Lasting
	// large counts the passes that hold a large twin, see mayHold.
	large atomic.Int32
}

// SetupWithManager registers the controller.
func (r *PnPDeviceReconciler) SetupWithManager(mgr ctrl.Manager) error {
	if r.Grace == 0 {
		r.Grace = halt.DefaultGrace
	}
	r.rewinds.Found = r.Restored
	r.retries = backoff.NewLasting(r.Failures, waits.APIServer, "")
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, finalizerMoves(), revision.PutBack())
	own := triggers.Observed(changed,
		r.latest.observer(), r.rewinds.Observer(), r.clearing.observer(), r.origins.observer(), r.stopwatches.observer(), r.forgets())
	return triggers.For(mgr, "PnPDevice", &v1alpha1.PnPDevice{}, own, controller.Options{MaxConcurrentReconciles: WorkersOf(r.Concurrency), RateLimiter: r.retries}).
		Watches(&v1alpha1.PnPDevice{}, handler.EnqueueRequestsFromMapFunc(r.siblings), builder.WithPredicates(rivals.Changed())).
		Watches(&v1alpha1.IoTHub{}, triggers.EnqueueBehind(r.rivalsAt), builder.WithPredicates(rivals.StandingChanged())).
		Watches(&v1alpha1.PnPDevice{}, triggers.EnqueueEdited()).
		Watches(&v1alpha1.IoTHub{}, r.enqueueMembers(), builder.WithPredicates(rivals.HubMatters())).
		WatchesRawSource(source.TypedChannel(r.Wakes.Devices, triggers.EnqueueDevices())).
		WatchesRawSource(source.Channel(r.Wakes.Members, r.enqueueMembers())).
		Complete(backoff.Calm(r))
}

// WorkersOf is how many workers there have to be for so many to wait for one hub: it gets half of
// them, see places.Pool.
func WorkersOf(concurrency int) int { return 2 * concurrency }

// Reconcile makes one pass: get, deletion, finalizer, phases, and one status patch if anything was
// learned. The phases are resolveHub, compete, check, begin and converge; the first that halts ends
// the pass with its verdict.
func (r *PnPDeviceReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	s := &scope{}
	defer r.ended(req, s)
	before, err := r.latest.get(ctx, r.Client, req.NamespacedName)
	if apierrors.IsNotFound(err) {
		r.retries.Ended(req)
		return ctrl.Result{}, nil
	} else if err != nil {
		return ctrl.Result{}, err
	}
	if !before.DeletionTimestamp.IsZero() {
		*s = *newScope(before.DeepCopy(), time.Now())
		return r.delete(ctx, before, s)
	}
	if before, err = r.keepFinalizer(ctx, before); err != nil {
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	*s = *newScope(before.DeepCopy(), time.Now())
	s.origin = r.origins.of(before)
	return r.finish(ctx, before, s, r.pass(ctx, s))
}

func (r *PnPDeviceReconciler) pass(ctx context.Context, s *scope) error {
	s.Model = r.modelOf(ctx, s.Device)
	for _, phase := range []func(context.Context, *scope) error{
		r.resolveHub, r.compete, r.check, r.begin, r.converge,
	} {
		if err := phase(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// finish ends a pass. Events that arrived during it, and that are not in its outcome, need another
// one: they woke nobody. A stop does not keep what was done from being recorded.
func (r *PnPDeviceReconciler) finish(ctx context.Context, before *v1alpha1.PnPDevice, s *scope, outcome error) (ctrl.Result, error) {
	e := r.conclude(ctx, before, s, outcome)
	ctx, cancel := finish.ForRecord(ctx)
	defer cancel()
	result, err := finish.Pass(ctx, r.Client, r.Recorder, e)
	if s.memory != nil && s.memory.End() && err == nil {
		result = ctrl.Result{RequeueAfter: waits.Soon}
	}
	return result, err
}

// conclude decides what the outcome of a pass means for status, and when the next one is due. An
// outcome that is no halt is transient: it backs off, and status speaks of it once it has lasted for
// the grace time. One that has no token for a call waits for it.
func (r *PnPDeviceReconciler) conclude(ctx context.Context, before *v1alpha1.PnPDevice, s *scope, outcome error) *finish.Ending {
	if errors.Is(outcome, context.Canceled) && ctx.Err() != nil {
		return &finish.Ending{Failure: outcome}
	}
	if full, ok := errors.AsType[*budget.WaitError](outcome); ok {
		s.inLine = full.Why == budget.WhySlow
		return r.await(ctx, before, s, full.Wait)
	}
	h, transient := r.classify(ctx, s, outcome)
	if h != nil && h.KeepStatus {
		return &finish.Ending{Next: session.Jittered(h.After)}
	}
	if !transient {
		r.carry(s)
	}
	next := s.summarise(h)
	if wait := s.awaitAnswer(ctx, before, h); wait > 0 {
		return &finish.Ending{Next: convergence.Sooner(next, wait)}
	}
	if quiet := s.quietFor(before); quiet > 0 {
		return &finish.Ending{Next: convergence.Sooner(next, quiet)}
	}
	e := r.says(ctx, before, s)
	e.Next = next
	if transient {
		e.Failure = outcome
	}
	stored := e.Stored
	e.Stored = func(isNews bool) {
		stored(isNews)
		r.stopwatches.settled(s.Device, time.Now())
		if !transient && s.isDealtWith(h) {
			r.origins.settle(s.Device, s.origin)
		}
	}
	return e
}

// isDealtWith reports whether nothing is left of what the pass was made for that the operator could
// do: it is done, or a person has to act first.
func (s *scope) isDealtWith(h *halt.Error) bool {
	if h == nil {
		return !s.Claiming
	}
	return h.Stalled && !reasons.Of(h.Reason).Heals
}

// classify turns the outcome of a pass into a halt, nil if the pass went through, and says whether it is transient. A
// transient failure halts with what status says already, and with its own verdict once it has lasted.
func (r *PnPDeviceReconciler) classify(ctx context.Context, s *scope, outcome error) (h *halt.Error, transient bool) {
	if outcome != nil {
		h = halt.Of(outcome)
		transient = h == nil
	}
	switch {
	case s.memory == nil && transient:
		return unchanged(s.Device), true
	case s.memory != nil && h != nil && h.Row != nil:
		h.After = r.fails(ctx, s, h.Row, outcome)
		return h, false
	case !transient && (h == nil || !h.KeepStatus):
		r.retries.Over(nameOfDevice(s.Device))
		return h, false
	case !transient:
		return h, false
	}
	r.fails(ctx, s, waits.HubFails, outcome)
	if s.Now.Sub(r.failingSince(s)) < r.Grace {
		h = unchanged(s.Device)
		h.Message = cmp.Or(h.Message, halt.VerdictOn(outcome).Message)
		return h, true
	}
	return &halt.Error{Verdict: halt.VerdictOn(outcome)}, true
}

// nameOfDevice is how failures, and budgets, know an object.
func nameOfDevice(device *v1alpha1.PnPDevice) string {
	return client.ObjectKeyFromObject(device).String()
}

// failingSince is when the object began to fail, now if it does not.
func (r *PnPDeviceReconciler) failingSince(s *scope) time.Time {
	if one, fails := r.retries.Of(nameOfDevice(s.Device)); fails {
		return one.Since
	}
	return s.Now
}

// fails notes that a pass failed, and returns when the object is to be tried again.
func (r *PnPDeviceReconciler) fails(ctx context.Context, s *scope, row *waits.Row, outcome error) time.Duration {
	key := client.ObjectKeyFromObject(s.Device)
	why := backoff.Cause{Row: row, Object: s.Device.UID, About: backoff.About(s.Device)}
	why.Wake = func() { r.Wakes.Device(ctx, triggers.Device{Key: key, Priority: triggers.PriorityEvent}) }
	switch e, ok := errors.AsType[*iothub.Error](outcome); {
	case iothub.IsThrottled(outcome): // others succeed meanwhile: that is no sign that the hub takes more
	case ok:
		why.At = backoff.Trouble{Destination: s.Destination, Class: e.Op.Class()}
	case row == waits.DeviceAbsent:
		why.At = backoff.Trouble{Destination: s.Destination, Class: budget.TwinRead}
	case row == waits.HubRefuses:
		why.At = backoff.Trouble{Destination: s.Destination, Class: budget.TwinWrite}
	}
	return r.retries.Fails(key.String(), why, time.Now()) // a call may have taken longer than the wait is
}

// unchanged halts with the verdict that status holds, unless that is about something else by now,
// or that of a beginning.
func unchanged(device *v1alpha1.PnPDevice) *halt.Error {
	is := conditions.ReadyOf(device)
	if is.Reason == "" {
		return halt.Waiting(v1alpha1.ReasonProgressing, convergence.AskingText, 0)
	}
	return &halt.Error{KeepConditions: true}
}

// says has the device say at the end of a pass what its status holds, unless the API server refused
// that of the object lately. Of a status that it refuses less is written.
func (r *PnPDeviceReconciler) says(ctx context.Context, before *v1alpha1.PnPDevice, s *scope) *finish.Ending {
	e := r.shows(ctx, before, s)
	e.Withheld = r.refusals.Left(string(s.Device.UID), backoff.About(s.Device), time.Now())
	return e
}

// shows is the same, whatever the API server refused before.
func (r *PnPDeviceReconciler) shows(ctx context.Context, before *v1alpha1.PnPDevice, s *scope) *finish.Ending {
	uid := string(before.UID)
	e := &finish.Ending{Before: before, After: s.Device}
	e.Answered = func(written finish.Object, err error) {
		if err != nil {
			r.latest.refused(before, err)
			return
		}
		r.latest.put(context.WithoutCancel(ctx), r, written.(*v1alpha1.PnPDevice))
	}
	e.Less = func(refusal error) []finish.Object { return lessOf(before, s.Device, refusal) }
	e.Refused = func(refusal error, isOnRecord bool) error {
		log.FromContext(ctx).Error(refusal, "The API server refused a status")
		if !isOnRecord {
			finish.AnnounceRefusal(r.Recorder, before, refusal)
		}
		return &finish.RefusedError{Wait: session.Jittered(r.refusals.Fails(uid, statusRefused(before), time.Now())), Err: refusal}
	}
	e.Stored = func(isNews bool) {
		if isNews {
			s.quieten(before)
		}
		r.refusals.Over(uid)
		s.stored()
	}
	return e
}

// stored tells memory what status has now.
func (s *scope) stored() {
	if s.carried != nil {
		s.carried.stored()
	}
	if s.memory == nil {
		return
	}
	s.memory.Stored(session.Stored{
		Shown: shownIn(&s.Device.Status), Withheld: s.Withheld(), Twin: s.Twin, IsPartial: s.Claiming || s.waiting,
	})
}

// siblings are the other declarations of the same device id.
func (r *PnPDeviceReconciler) siblings(ctx context.Context, device client.Object) []reconcile.Request {
	return rivals.Requests(rivals.Siblings(ctx, r, device))
}

// rivalsAt are the other declarations of the devices of an IoTHub.
func (r *PnPDeviceReconciler) rivalsAt(ctx context.Context, hub client.Object) []reconcile.Request {
	return rivals.Requests(rivals.At(ctx, r, hub))
}
