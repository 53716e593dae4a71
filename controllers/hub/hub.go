// Package hub reconciles IoTHubs.
package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/source"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/places"
	"github.com/pnp-operator/pnp-operator/internal/revision"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=iothubs,verbs=get;list;watch
// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=iothubs/status,verbs=patch
// +kubebuilder:rbac:groups="";events.k8s.io,resources=events,verbs=create;patch

// IoTHubReconciler keeps one authenticated session per IoTHub.
type IoTHubReconciler struct {
	client.Client
	// Secrets reads without a cache, Secrets above all: their contents are not kept. The right to do so is granted in the namespace of the IoTHub, see config/tenant.
	Secrets  client.Reader
	Recorder events.EventRecorder
	Hubs     *session.Registry
	Wakes    *triggers.Triggers
	Brake    *removals.Brake
	// Failures of objects, of all kinds: one that succeeds at a hub has others tried again.
	Failures *backoff.Failures
	// Commands returns the commands that hear the events of the session of an IoTHub.
	Commands func(hub types.NamespacedName, of *session.Session) session.Commands
	// Declarations returns the PnPDevices of an IoTHub, of which a session at a destination asks.
	Declarations func(hub types.NamespacedName, destination string) session.Declarations
	// Restored is called for each IoTHub that was put back to an older copy.
	Restored func()
	// Namespace of the operator, where checkpoints are kept.
	Namespace string
	// Authority of tokens of Microsoft Entra ID.
	Authority Authority
	// StreamTiming of event streams; zero fields have defaults.
	StreamTiming eventstream.Timing
	// EchoWithin is how long the event of a write may take, 0 means session.DefaultEchoWithin.
	EchoWithin time.Duration
	// AllowedEventHubSuffixes are the hosts of event hubs that may be sent a token.
	AllowedEventHubSuffixes []string
	// AllowedHostSuffixes are the hosts that may be sent a token.
	AllowedHostSuffixes []string
	// HubTimeout bounds one call to a hub, 0 means the hub client's default.
	HubTimeout time.Duration
	// Workers that wait for hubs are shared by their endpoints.
	Workers *places.Pool
	// ClearWithin is how long a session is kept for clearing, 0 means DefaultClearWithin.
	ClearWithin time.Duration
	// Fence is asked just before a write or a command goes out; its error keeps it back.
	Fence func() error

	gone        goneHubs
	checkpoints *checkpoints
	watches     *secretWatches
	identity    *identity
	identities  *workloadIdentities
	proofs      *proofs
	retries     *backoff.Lasting
	// lifetime ends with the manager: sessions outlive the reconcile that starts them.
	lifetime context.Context
}

// SetupWithManager registers the controller.
func (r *IoTHubReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	r.lifetime = ctx
	r.proofs = newProofs(ctx, func(hub types.NamespacedName) { r.Wakes.Hub(ctx, hub) })
	r.ClearWithin = cmp.Or(r.ClearWithin, DefaultClearWithin)
	watches, err := newSecretWatches(ctx, mgr, r.Wakes)
	if err != nil {
		return fmt.Errorf("making a client for watches of Secrets: %w", err)
	}
	r.watches = watches
	r.retries = backoff.NewLasting(r.Failures, waits.APIServer, probing)
	r.identities = &workloadIdentities{client: r.Client, authority: r.Authority, timeout: r.HubTimeout / 2}
	r.identity = &identity{client: r.Client, namespace: r.Namespace}
	r.checkpoints = &checkpoints{Client: r.Client, reader: r.Secrets, namespace: r.Namespace}
	rewinds := &revision.Rewinds{Found: r.Restored}
	changed := predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, revision.PutBack())
	own := triggers.Observed(changed, r.gone.observer(), rewinds.Observer())
	return triggers.For(mgr, "IoTHub", &v1alpha1.IoTHub{}, own, controller.Options{MaxConcurrentReconciles: 4, RateLimiter: r.retries}).
		Watches(&v1alpha1.PnPDevice{}, r.enqueueHalted()).
		WatchesRawSource(source.Channel(r.Wakes.Hubs, &handler.EnqueueRequestForObject{})).
		Complete(backoff.Calm(r))
}

// Reconcile builds the session that the spec, and the Secret or the ServiceAccount, describe and proves that the hub accepts it. The order is
// fixed: get, events, budget, connect, count, removals, status.
func (r *IoTHubReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	hub := &v1alpha1.IoTHub{}
	if err := r.Get(ctx, req.NamespacedName, hub); err != nil {
		if apierrors.IsNotFound(err) {
			return r.forget(ctx, req.NamespacedName)
		}
		return ctrl.Result{}, err
	}
	before := hub.DeepCopy()
	r.gone.isBack(hub)
	r.watches.follow(req.NamespacedName, secretsOf(hub))
	if hub.Spec.Authentication.WorkloadIdentity == nil {
		r.identities.forget(req.NamespacedName)
	}
	e, err := r.eventsOf(ctx, hub)
	if err != nil {
		return ctrl.Result{}, err
	}
	allowance := r.budgetOf(ctx, hub)
	connected := r.connect(ctx, hub, e, allowance)
	if h, ok := errors.AsType[*halt.Error](connected); ok && h.KeepStatus { // the credential is being proved, which wakes the IoTHub; what stood in its way is gone
		r.Hubs.Obstruct(req.NamespacedName, "")
		return r.finishUnproved(ctx, before, hub, h)
	}
	if r.Hubs.Obstruct(req.NamespacedName, obstacleOf(connected)) {
		r.wakeDeleted(ctx, req.NamespacedName)
	}
	if err := countDevices(ctx, r, hub); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.brake(ctx, hub); err != nil {
		return ctrl.Result{}, err
	}
	r.describeEvents(hub, e)
	if session := r.Hubs.Get(req.NamespacedName); session != nil {
		allowance = session.Budget // with the others of its hub, now that it is trusted
		hub.Status.Destination = session.Destination
	}
	describeBudget(hub, allowance)
	describeSuspended(hub)
	r.quotaEnded(ctx, before, hub)
	describeSweeps(hub, r.Hubs.Get(req.NamespacedName))
	result, err := r.finish(ctx, before, hub, connected)
	if err == nil && e.problem != nil && e.problem.After > 0 {
		result.RequeueAfter = min(result.RequeueAfter, session.Jittered(e.problem.After))
	}
	return result, err
}

// forget ends everything that was for an IoTHub that is gone. Its session, with what was taken of
// its budget and its brake, may be kept for clearing.
func (r *IoTHubReconciler) forget(ctx context.Context, hub types.NamespacedName) (ctrl.Result, error) {
	r.watches.follow(hub, nil)
	r.identities.forget(hub)
	r.proofs.Forget(hub)
	r.proofs.accepted(hub)
	r.retries.Ended(ctrl.Request{NamespacedName: hub})
	r.Hubs.Obstruct(hub, "")
	metrics.DropStream(hub)
	switch last := r.gone.get(hub); {
	case last == nil && r.Hubs.Get(hub) != nil: // the cache is ahead of what it tells
		return ctrl.Result{RequeueAfter: session.Jittered(waits.Cache.Most)}, nil
	case last == nil || last.Spec.Suspend:
		r.Hubs.Drop(hub)
	default:
		r.limitsChanged(ctx, r.Hubs.Budgets.Distrust(hub.String())) // what it stated is gone with it
		r.retire(ctx, hub, nil)
	}
	if s, _ := r.Hubs.ForClearing(hub); s == nil {
		r.gone.forget(hub)
		r.limitsChanged(ctx, r.Hubs.Budgets.Leave(hub.String()))
		r.Brake.Forget(hub)
		r.wakeDeleted(ctx, hub)
	}
	return ctrl.Result{}, r.checkpoints.sweep(ctx)
}

// finish turns the outcome of connect into conditions, one status patch at most, and the next wake-up.
func (r *IoTHubReconciler) finish(ctx context.Context, before, hub *v1alpha1.IoTHub, outcome error) (ctrl.Result, error) {
	h := haltForBudget(outcome)
	transient := outcome != nil && h == nil && !errors.As(outcome, &h)
	generation := hub.Generation
	switch {
	case h != nil && h.KeepStatus:
		generation = before.Status.ObservedGeneration
	case outcome == nil:
		judgeHub(hub, conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonAuthenticated, Message: "The hub accepted the credential"})
	case transient && !isHubError(outcome): // the API server's trouble says nothing about the hub: the generation is not judged yet
		generation = before.Status.ObservedGeneration
	case transient:
		judgeHub(hub, halt.VerdictOn(outcome))
	default:
		judgeHub(hub, h.Verdict)
	}
	hub.Status.ObservedGeneration = generation
	e := &finish.Ending{Before: before, After: hub, Next: session.Jittered(r.nextWake(h)), Behind: waits.Cache.Most}
	if transient {
		e.Failure = outcome
	}
	e.Stored = func(bool) {
		announceHub(r.Recorder, before, hub)
		if transient {
			r.fails(hub, outcome)
		} else {
			r.retries.Ended(ctrl.Request{NamespacedName: client.ObjectKeyFromObject(hub)})
		}
	}
	return finish.Pass(ctx, r.Client, r.Recorder, e)
}

// finishUnproved ends a pass that knows nothing of the hub yet. Status says of a suspension and of
// removals all the same, and a confirmation counts: the proof of a credential takes up to proofTime,
// and the session with the former credential goes on beside it.
func (r *IoTHubReconciler) finishUnproved(ctx context.Context, before, hub *v1alpha1.IoTHub, h *halt.Error) (ctrl.Result, error) {
	if err := r.brake(ctx, hub); err != nil {
		return ctrl.Result{}, err
	}
	known := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionAuthenticated)
	if removals.IsHaltedIn(hub) != removals.IsHaltedIn(before) && known != nil && known.Status == metav1.ConditionTrue {
		judgeHub(hub, conditions.Verdict{Ready: true, Reason: known.Reason, Message: known.Message})
	}
	describeSuspended(hub)
	e := &finish.Ending{Before: before, After: hub, Next: session.Jittered(r.nextWake(h)), Behind: waits.Cache.Most}
	e.Stored = func(bool) { announceHub(r.Recorder, before, hub) }
	return finish.Pass(ctx, r.Client, r.Recorder, e)
}

// fails notes that the hub failed while it was connected.
func (r *IoTHubReconciler) fails(hub *v1alpha1.IoTHub, outcome error) {
	if !isHubError(outcome) {
		return
	}
	key := client.ObjectKeyFromObject(hub)
	r.retries.Fails(key.String()+probing, backoff.Cause{
		Row: waits.Connect, Object: hub.UID, At: backoff.Trouble{Destination: cached.DestinationOf(hub), Class: budget.Query}, About: backoff.About(hub), Wake: func() { r.Wakes.Hub(r.lifetime, key) },
	}, time.Now())
}

// judgeHub says what became of the credential. Ready is that, too, unless removals are halted: the
// hub can be used then, but whoever waits for it to be Ready should hear that a person has to look.
func judgeHub(hub *v1alpha1.IoTHub, access conditions.Verdict) {
	conditions.Set(hub, v1alpha1.ConditionAuthenticated, access.Ready, access.Reason, access.Message)
	if access.Ready && removals.IsHaltedIn(hub) {
		removals := apimeta.FindStatusCondition(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted)
		conditions.SetVerdict(hub, conditions.Verdict{Stalled: true, Reason: removals.Reason, Message: removals.Message})
		return
	}
	conditions.SetVerdict(hub, access)
}

// haltForBudget waits for the token of the call that proves the credential; nil: there was one.
func haltForBudget(outcome error) *halt.Error {
	if full, ok := errors.AsType[*budget.WaitError](outcome); ok {
		return halt.WaitingFor(full.Wait)
	}
	return nil
}

func isHubError(err error) bool {
	_, ok := errors.AsType[*iothub.Error](err)
	return ok
}

// nextWake is when an IoTHub is looked at again if nothing wakes it.
func (r *IoTHubReconciler) nextWake(h *halt.Error) time.Duration {
	if h != nil && h.After > 0 {
		return h.After
	}
	return waits.Count.Most
}

// end ends the session for a reason, which it returns.
func (r *IoTHubReconciler) end(ctx context.Context, hub *v1alpha1.IoTHub, why error) error {
	key := client.ObjectKeyFromObject(hub)
	r.limitsChanged(ctx, r.Hubs.Budgets.Distrust(key.String()))
	r.proofs.Forget(key)
	r.retire(ctx, key, why)
	return why
}

// drop ends the session: what it believed about the credential no longer holds. Until the hub accepts it again, what the IoTHub states does not count for others.
func (r *IoTHubReconciler) drop(ctx context.Context, hub *v1alpha1.IoTHub) {
	key := client.ObjectKeyFromObject(hub)
	r.Hubs.Drop(key)
	r.limitsChanged(ctx, r.Hubs.Budgets.Distrust(key.String()))
}
