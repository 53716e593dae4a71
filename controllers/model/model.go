// Package model reconciles DeviceModels.
package model

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/util/workqueue"
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
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/revision"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=devicemodels,verbs=get;list;watch
// +kubebuilder:rbac:groups=iot.pnp-operator.io,resources=devicemodels/status,verbs=patch

const (
	// countAfter is how long after a device joined or left a model its count is taken: devices come in numbers.
	countAfter = 5 * time.Second

	// parseSoon is how soon a large model is parsed once that is on record: the cache has to show the record.
	parseSoon = 200 * time.Millisecond
)

// DeviceModelReconciler compiles models and says in status what became of them.
type DeviceModelReconciler struct {
	client.Client
	Recorder events.EventRecorder
	Library  *models.Library
	Wakes    *triggers.Triggers

	changed chan event.GenericEvent // more is known of what a DeviceModel is made of

	mu   sync.Mutex
	told map[types.NamespacedName]finding // what those who are checked were woken for last
}

// finding is what compiling a DeviceModel came to.
type finding struct {
	uid        types.UID
	generation int64
	content    string
	verdict    conditions.Verdict
}

// SetupWithManager registers the controller.
func (r *DeviceModelReconciler) SetupWithManager(ctx context.Context, mgr ctrl.Manager) error {
	r.changed = make(chan event.GenericEvent)
	r.Library.Repositories.Wake = func(key types.NamespacedName) {
		triggers.Send(ctx, r.changed, event.GenericEvent{Object: &v1alpha1.DeviceModel{ObjectMeta: triggers.Named(key)}})
	}
	edited := builder.WithPredicates(predicate.Or(predicate.GenerationChangedPredicate{}, predicate.AnnotationChangedPredicate{}, revision.PutBack()))
	return ctrl.NewControllerManagedBy(mgr).
		For(&v1alpha1.DeviceModel{}, edited).
		Watches(&v1alpha1.DeviceModel{}, handler.EnqueueRequestsFromMapFunc(r.dependents), builder.WithPredicates(predicate.GenerationChangedPredicate{})).
		Watches(&v1alpha1.PnPDevice{}, r.counts()).
		WatchesRawSource(source.Channel(r.changed, &handler.EnqueueRequestForObject{})).
		WithOptions(controller.Options{MaxConcurrentReconciles: 4, RateLimiter: backoff.New(waits.APIServer)}).
		Complete(backoff.Calm(r))
}

// Reconcile makes one pass: compile, count, write status, and have those checked again who use the model.
func (r *DeviceModelReconciler) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	object := &v1alpha1.DeviceModel{}
	if err := r.Get(ctx, req.NamespacedName, object); err != nil {
		if apierrors.IsNotFound(err) {
			return ctrl.Result{}, r.tell(ctx, req.NamespacedName, finding{})
		}
		return ctrl.Result{}, err
	}
	before := object.DeepCopy()
	r.refetch(object)
	found, after, err := r.judge(ctx, object)
	if err != nil {
		return ctrl.Result{}, err
	}
	if err := r.tell(ctx, req.NamespacedName, found); err != nil {
		return ctrl.Result{}, err
	}
	if err := r.count(ctx, object); err != nil {
		return ctrl.Result{}, err
	}
	object.Status.ObservedGeneration = object.Generation
	conditions.SetVerdict(object, found.verdict)
	return finish.Pass(ctx, r.Client, r.Recorder, &finish.Ending{Before: before, After: object, Next: session.Jittered(after)})
}

// tell wakes those who are checked, and the other DeviceModels of the namespace, which may be made of this one, if a model is not what they were told
// before. That includes the first time after a start.
func (r *DeviceModelReconciler) tell(ctx context.Context, key types.NamespacedName, found finding) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	was, known := r.told[key]
	if known && was == found || !known && found.uid == "" {
		return nil
	}
	var list v1alpha1.PnPDeviceList
	if err := r.List(ctx, &list, client.InNamespace(key.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return err
	}
	r.Wakes.ModelChanged(ctx, key.Namespace, list.Items)
	for _, other := range r.dependents(ctx, &v1alpha1.DeviceModel{ObjectMeta: triggers.Named(key)}) {
		triggers.Send(ctx, r.changed, event.GenericEvent{Object: &v1alpha1.DeviceModel{ObjectMeta: triggers.Named(other.NamespacedName)}})
	}
	if was.uid != found.uid {
		r.Library.Forget(was.uid)
	}
	if found.uid == "" {
		delete(r.told, key)
		return nil
	}
	if r.told == nil {
		r.told = map[types.NamespacedName]finding{}
	}
	r.told[key] = found
	return nil
}

// refetch has the repository asked anew if someone wants that.
func (r *DeviceModelReconciler) refetch(object *v1alpha1.DeviceModel) {
	if object.Status.ObservedGeneration != object.Generation {
		r.Library.Retry(object.UID)
	}
	asked := convergence.Echoable(object.Annotations[v1alpha1.AnnotationReconcileRequestedAt])
	if !convergence.IsOpenRequest(asked, object.Status.LastHandledReconcileAt) {
		return
	}
	object.Status.LastHandledReconcileAt, object.Status.Parsing = asked, ""
	r.Library.Refetch(object.UID)
}

// judge compiles the model and describes it. after is when to try again what may mend itself.
func (r *DeviceModelReconciler) judge(ctx context.Context, object *v1alpha1.DeviceModel) (found finding, after time.Duration, err error) {
	status := &object.Status
	status.ModelID = models.ModelIDOf(object)
	status.Properties, status.Commands, status.Components, status.Digest = 0, 0, 0, ""
	found.uid, found.generation = object.UID, object.Generation
	if status.ModelID != "" {
		same, err := r.Library.Shelf.ByModelID(ctx, object.Namespace, status.ModelID)
		if err != nil {
			return finding{}, 0, err
		}
		if len(same) > 0 && same[0].UID != object.UID {
			found.verdict = conditions.Verdict{Reason: v1alpha1.ReasonModelAlreadyDefined,
				Message: fmt.Sprintf("DeviceModel %q is older and has the same modelID: that one is used", same[0].Name)}
			return found, found.waits(object, time.Now()), nil
		}
	}
	model, trouble, err := r.Library.Load(models.AskedBy(ctx, client.ObjectKeyFromObject(object)), object)
	if err != nil {
		return finding{}, 0, err
	}
	if trouble != nil {
		found.verdict = conditions.Verdict{Stalled: trouble.Final, Reason: trouble.Reason, Message: trouble.Message}
		switch {
		case trouble.OfOther:
			after = found.waits(object, time.Now())
		case trouble.Soon:
			after = parseSoon
		case !trouble.Final:
			after = waits.Repository.Most
		}
		return found, after, nil
	}
	status.Digest = model.Digest
	describeModel(status, model.Device)
	found.content = model.Content
	found.verdict = conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonUsable, Message: "Devices and commands of the model are checked against it"}
	return found, 0, nil
}

// waits makes a finding that another DeviceModel may mend one that is waited for, and returns for how long: 0 once a person is
// to look.
func (f *finding) waits(object *v1alpha1.DeviceModel, now time.Time) time.Duration {
	left := waits.Other.Most
	reconciling := apimeta.FindStatusCondition(object.Status.Conditions, v1alpha1.ConditionReconciling)
	if reconciling != nil && reconciling.Reason != f.verdict.Reason { // its time is of something else
		apimeta.RemoveStatusCondition(&object.Status.Conditions, v1alpha1.ConditionReconciling)
	}
	since := func(kind string) *metav1.Time {
		c := apimeta.FindStatusCondition(object.Status.Conditions, kind)
		if c == nil || c.Reason != f.verdict.Reason || c.ObservedGeneration != object.Generation {
			return nil
		}
		return &c.LastTransitionTime
	}
	if began := since(v1alpha1.ConditionReconciling); began != nil {
		left = max(0, began.Add(waits.Other.Most).Sub(now))
	} else if since(v1alpha1.ConditionStalled) != nil {
		left = 0
	}
	f.verdict.Stalled = left == 0
	return left
}

func describeModel(status *v1alpha1.DeviceModelStatus, device *dtdl.Interface) {
	add := func(i *dtdl.Interface) {
		status.Properties += int32(len(i.Properties)) //nolint:gosec // bounded by dtdl.MaxBytes
		status.Commands += int32(len(i.Commands))     //nolint:gosec // the same
	}
	add(device)
	for _, c := range device.Components {
		add(c.Interface)
	}
	status.Components = int32(len(device.Components)) //nolint:gosec // the same
}

func (r *DeviceModelReconciler) count(ctx context.Context, object *v1alpha1.DeviceModel) error {
	var list v1alpha1.PnPDeviceList
	err := r.List(ctx, &list, client.InNamespace(object.Namespace), client.MatchingFields{cached.IndexModel: object.Status.ModelID}, client.UnsafeDisableDeepCopy)
	object.Status.Devices = int32(min(len(list.Items), 1<<30))
	return err
}

// dependents are the DeviceModels that may be made of this one, or were: all others of the namespace. There are few.
func (r *DeviceModelReconciler) dependents(ctx context.Context, changed client.Object) []reconcile.Request {
	var list v1alpha1.DeviceModelList
	if err := r.List(ctx, &list, client.InNamespace(changed.GetNamespace()), client.UnsafeDisableDeepCopy); err != nil {
		return nil
	}
	var requests []reconcile.Request
	for i := range list.Items {
		if key := client.ObjectKeyFromObject(&list.Items[i]); key.Name != changed.GetName() {
			requests = append(requests, reconcile.Request{NamespacedName: key})
		}
	}
	return requests
}

// counts has the DeviceModels of a device counted, a while after it joined or left them.
func (r *DeviceModelReconciler) counts() handler.EventHandler {
	recount := func(ctx context.Context, q workqueue.TypedRateLimitingInterface[reconcile.Request], devices ...client.Object) {
		for _, o := range devices {
			device := o.(*v1alpha1.PnPDevice)
			found, err := r.Library.Shelf.ByModelID(ctx, device.Namespace, device.ModelID())
			if err != nil {
				continue
			}
			for _, model := range found {
				q.AddAfter(reconcile.Request{NamespacedName: client.ObjectKeyFromObject(model)}, countAfter)
			}
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			recount(ctx, q, e.Object)
		},
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			if e.ObjectOld.(*v1alpha1.PnPDevice).ModelID() != e.ObjectNew.(*v1alpha1.PnPDevice).ModelID() {
				recount(ctx, q, e.ObjectOld, e.ObjectNew)
			}
		},
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			recount(ctx, q, e.Object)
		},
	}
}
