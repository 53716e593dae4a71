// Package command reconciles DeviceCommands.
package command

import (
	"context"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/builder"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/rivals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/revision"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=devicecommands,verbs=get;list;watch;patch;delete
// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=devicecommands/status,verbs=patch

// DeviceCommandReconciler has each DeviceCommand run at most once.
type DeviceCommandReconciler struct {
	client.Client
	Recorder events.EventRecorder
	Hubs     *session.Registry
	Wakes    *triggers.Triggers
	Models   *models.Library
	// Flights are the commands whose hub is being called.
	Flights *Flights
	// Concurrency is the number of workers. None of them waits for a device, or its hub.
	Concurrency int

	retries *backoff.Lasting
}

// SetupWithManager registers the controller.
func (r *DeviceCommandReconciler) SetupWithManager(mgr ctrl.Manager) error {
	r.retries = backoff.NewLasting(&backoff.Failures{}, waits.APIServer, "")
	rewinds := &revision.Rewinds{Found: r.Flights.Ledger.Verify}
	own := triggers.Observed(predicate.Funcs{}, rewinds.Observer(), r.Flights.arrivals.observer())
	return triggers.For(mgr, "DeviceCommand", &v1alpha1.DeviceCommand{}, own, controller.Options{MaxConcurrentReconciles: r.Concurrency, RateLimiter: r.retries}).
		Watches(&v1alpha1.DeviceCommand{}, handler.EnqueueRequestsFromMapFunc(r.nextInLine), builder.WithPredicates(lineMoves())).
		Watches(&v1alpha1.PnPDevice{}, handler.EnqueueRequestsFromMapFunc(r.commandsOfDevice), builder.WithPredicates(deviceMatters())).
		Watches(&v1alpha1.PnPDevice{}, handler.EnqueueRequestsFromMapFunc(r.commandsOfSiblings), builder.WithPredicates(rivals.Changed())).
		Watches(&v1alpha1.IoTHub{}, triggers.EnqueueBehind(r.commandsOfNamespace), builder.WithPredicates(rivals.HubMatters())).
		Watches(&v1alpha1.IoTHub{}, triggers.EnqueueBehind(r.commandsOfRivals), builder.WithPredicates(rivals.StandingChanged())).
		WatchesRawSource(source.Channel(r.Wakes.Callers, triggers.EnqueueBehind(r.commandsOfNamespace))).
		WatchesRawSource(source.Channel(r.Wakes.Commands, &handler.EnqueueRequestForObject{})).
		WatchesRawSource(source.Channel(r.Flights.wakes, &handler.EnqueueRequestForObject{})).
		Complete(backoff.Calm(r))
}

// Reconcile makes one pass: a command that is not finished goes through the phases settle, expire,
// leave, queue, resolve, rest, settleModel, conform and send; the first that halts says what status
// says. send starts a flight and ends the pass: from then on the flight writes status.
func (r *DeviceCommandReconciler) Reconcile(ctx context.Context, req ctrl.Request) (result ctrl.Result, err error) {
	s := &commandScope{now: time.Now()}
	defer func() {
		if err == nil && !s.looks { // else the pass goes on when the hub has answered
			r.retries.Ended(req)
		}
	}()
	command := &v1alpha1.DeviceCommand{}
	if err := r.Get(ctx, req.NamespacedName, command); err != nil {
		if apierrors.IsNotFound(err) {
			r.Flights.abandon(req.NamespacedName)
		}
		return ctrl.Result{}, client.IgnoreNotFound(err)
	}
	if r.Flights.has(req.NamespacedName) {
		if r.Flights.Registry.RunsFor(req.NamespacedName) != command.UID { // nobody saw that the former one went
			r.Flights.abandon(req.NamespacedName)
		}
		return ctrl.Result{}, nil
	}
	if err := r.keepSeal(ctx, command); err != nil {
		return ctrl.Result{}, err
	}
	if command.Finished() {
		r.Flights.clear(req.NamespacedName)
		return r.conclude(ctx, command)
	}
	s.command = command
	return r.advance(ctx, s)
}

// cacheRetry is how soon an object is looked at again of which the API server has another one than
// the cache.
const cacheRetry = time.Second

// conclude looks after a finished command. One that the cache has a part of is read whole, and
// nothing of that part is taken: it may be of an earlier object of that name.
func (r *DeviceCommandReconciler) conclude(ctx context.Context, command *v1alpha1.DeviceCommand) (ctrl.Result, error) {
	if command.Annotations[models.AnnotationAbridged] != "" {
		whole := &v1alpha1.DeviceCommand{}
		if err := r.Flights.Reader.Get(ctx, client.ObjectKeyFromObject(command), whole); err != nil {
			return ctrl.Result{}, client.IgnoreNotFound(err)
		}
		if whole.UID != command.UID || !whole.Finished() {
			return ctrl.Result{RequeueAfter: cacheRetry}, nil
		}
		command = whole
	}
	if err := r.account(ctx, command); err != nil {
		return ctrl.Result{}, err
	}
	return r.collect(ctx, command)
}

// collect deletes a finished command whose time has come.
func (r *DeviceCommandReconciler) collect(ctx context.Context, command *v1alpha1.DeviceCommand) (ctrl.Result, error) {
	ttl, done := command.Spec.TTLSecondsAfterFinished, command.Status.CompletionTime
	if ttl == nil || done == nil || !command.DeletionTimestamp.IsZero() {
		return ctrl.Result{}, nil
	}
	from := done.Time
	if command.CreationTimestamp.After(from) { // it shows what became of an earlier object
		from = command.CreationTimestamp.Time
	}
	due := from.Add(time.Duration(*ttl) * time.Second)
	if due.Before(command.Spec.NotAfter.Time) {
		due = command.Spec.NotAfter.Time
	}
	if wait := time.Until(due); wait > 0 {
		return ctrl.Result{RequeueAfter: wait}, nil
	}
	return ctrl.Result{}, client.IgnoreNotFound(r.Delete(ctx, command, client.Preconditions{UID: &command.UID, ResourceVersion: &command.ResourceVersion}))
}

// advance runs the phases and writes what they say.
func (r *DeviceCommandReconciler) advance(ctx context.Context, s *commandScope) (ctrl.Result, error) {
	before := s.command.DeepCopy()
	e := &finish.Ending{Before: before, Failure: r.pass(ctx, s)}
	if s.sent || e.Failure == nil {
		return finish.Pass(ctx, r.Client, r.Recorder, e)
	}
	if h := halt.Of(e.Failure); h != nil {
		e.Failure, e.Next = nil, s.soonest(h.After)
		if !h.KeepStatus {
			s.command.Status.ObservedGeneration = s.command.Generation
			conditions.SetVerdict(s.command, h.Verdict)
			r.says(ctx, s, e)
		}
	}
	return finish.Pass(ctx, r.Client, r.Recorder, e)
}

// says has the command say at the end of the pass what its status holds. An outcome that the API
// server refuses, with the device's answer and without, does not hold up the commands behind it.
func (r *DeviceCommandReconciler) says(ctx context.Context, s *commandScope, e *finish.Ending) {
	endsCommand(e, s.command)
	e.Answered = func(written finish.Object, err error) {
		if err == nil {
			announceOutcome(r.Recorder, written.(*v1alpha1.DeviceCommand), r.deviceOf(ctx, s), !s.isRepeated)
		}
	}
	e.Refused = func(refusal error, isOnRecord bool) error {
		finish.AnnounceRefusal(r.Recorder, e.Before, refusal)
		switch {
		case isOnRecord:
			r.noted(s)
			return nil
		case s.command.Finished():
			r.Flights.passBy(s.command)
		}
		return refusal
	}
	e.Stored = func(isNews bool) {
		if isNews {
			r.noted(s)
		}
	}
}

// noted drops the doubt about an attempt that this pass put on record.
func (r *DeviceCommandReconciler) noted(s *commandScope) {
	if s.doubted {
		r.Flights.Registry.DoubtIsOnRecord(client.ObjectKeyFromObject(s.command))
	}
}

// deviceOf is the PnPDevice that a command is for, also where the pass ended before it was looked for; nil
// if there is none.
func (r *DeviceCommandReconciler) deviceOf(ctx context.Context, s *commandScope) *v1alpha1.PnPDevice {
	if s.device != nil {
		return s.device
	}
	device := &v1alpha1.PnPDevice{}
	if r.Get(ctx, client.ObjectKey{Namespace: s.command.Namespace, Name: s.command.Spec.DeviceRef.Name}, device) != nil {
		return nil
	}
	return device
}

func (r *DeviceCommandReconciler) pass(ctx context.Context, s *commandScope) error {
	for _, phase := range []func(context.Context, *commandScope) error{
		r.settle, r.expire, r.leave, r.queue, r.resolve, r.rest, r.settleModel, r.conform, r.send,
	} {
		if err := phase(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// nextInLine finds the command that is first now that another one is done or gone.
func (r *DeviceCommandReconciler) nextInLine(ctx context.Context, o client.Object) []reconcile.Request {
	command, ok := o.(*v1alpha1.DeviceCommand)
	if !ok {
		return nil
	}
	return r.headsIn(ctx, command.Namespace, client.MatchingFields{cached.IndexUnfinished: command.Spec.DeviceRef.Name})
}

// lineMoves passes what may make another command the first of its device.
func lineMoves() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return true },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.DeviceCommand), e.ObjectNew.(*v1alpha1.DeviceCommand)
			return was.Finished() != is.Finished() || was.DeletionTimestamp.IsZero() != is.DeletionTimestamp.IsZero()
		},
	}
}

func (r *DeviceCommandReconciler) commandsOfDevice(ctx context.Context, device client.Object) []reconcile.Request {
	return r.headsIn(ctx, device.GetNamespace(), client.MatchingFields{cached.IndexUnfinished: device.GetName()})
}

// commandsOfSiblings are those for the other declarations of a device: they may have it now, or not any
// more.
func (r *DeviceCommandReconciler) commandsOfSiblings(ctx context.Context, device client.Object) []reconcile.Request {
	return r.commandsOf(ctx, rivals.Siblings(ctx, r, device))
}

// commandsOfRivals are those for the other declarations of the devices of an IoTHub.
func (r *DeviceCommandReconciler) commandsOfRivals(ctx context.Context, hub client.Object) []reconcile.Request {
	return r.commandsOf(ctx, rivals.At(ctx, r, hub))
}

func (r *DeviceCommandReconciler) commandsOf(ctx context.Context, devices []*v1alpha1.PnPDevice) []reconcile.Request {
	var requests []reconcile.Request
	for _, device := range devices {
		requests = append(requests, r.commandsOfDevice(ctx, device)...)
	}
	return requests
}

func (r *DeviceCommandReconciler) commandsOfNamespace(ctx context.Context, hub client.Object) []reconcile.Request {
	return r.headsIn(ctx, hub.GetNamespace())
}

// headsIn has only those looked at that may be sent: the others wait for them.
func (r *DeviceCommandReconciler) headsIn(ctx context.Context, namespace string, which ...client.ListOption) []reconcile.Request {
	first, err := r.Flights.heads(ctx, r, append(which, client.InNamespace(namespace))...)
	if err != nil {
		return nil
	}
	requests := make([]reconcile.Request, len(first))
	for i, one := range first {
		requests[i].NamespacedName = client.ObjectKeyFromObject(one)
	}
	return requests
}
