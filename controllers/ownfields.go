package controllers

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	restclient "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// fieldOwner is the manager of what the operator writes on objects beside status.
const fieldOwner = client.FieldOwner("pnp-operator")

// The annotation and the finalizer of the operator may come with a restore, and are then fields of
// whatever restored them. Flux takes over the fields of kubectl, and removes what Git does not
// name. So the operator takes its own over as well, by server-side apply of that field alone: a
// field of two managers stays when one of them lets go.

// Names of fields as managedFields have them.
var (
	attemptField   = []string{"f:metadata", "f:annotations", "f:" + v1alpha1.AnnotationAttempt}
	finalizerField = []string{"f:metadata", "f:finalizers", `v:"` + v1alpha1.FinalizerClear + `"`}
)

// ownManagers are the names that the operator's writes have: its own, and that of its program,
// which earlier versions had.
var ownManagers = func() []string {
	program, _, _ := strings.Cut(restclient.DefaultKubernetesUserAgent(), "/")
	return []string{string(fieldOwner), program}
}()

// ownsField reports whether the operator is among the managers of a field.
func ownsField(managers []metav1.ManagedFieldsEntry, path []string) bool {
	for i := range managers {
		if slices.Contains(ownManagers, managers[i].Manager) && hasField(managers[i].FieldsV1, path) {
			return true
		}
	}
	return false
}

func hasField(fields *metav1.FieldsV1, path []string) bool {
	if fields == nil || !bytes.Contains(fields.GetRawBytes(), []byte(v1alpha1.GroupVersion.Group)) {
		return false
	}
	raw := json.RawMessage(fields.GetRawBytes())
	for _, name := range path {
		var at map[string]json.RawMessage
		if json.Unmarshal(raw, &at) != nil {
			return false
		}
		inner, ok := at[name]
		if !ok {
			return false
		}
		raw = inner
	}
	return true
}

// applied is an object with nothing but a field of its metadata, on top of what was read.
func applied(kind string, o client.Object, metadata map[string]any) client.Patch {
	metadata["name"], metadata["namespace"] = o.GetName(), o.GetNamespace()
	metadata["uid"], metadata["resourceVersion"] = o.GetUID(), o.GetResourceVersion()
	raw, err := json.Marshal(map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind, "metadata": metadata})
	if err != nil {
		panic(err) // nothing in it cannot be encoded
	}
	return client.RawPatch(types.ApplyPatchType, raw)
}

// keepSeal has the annotation of a command that was sent, and has it among the operator's own
// fields. A restore needs it where the ledger is not.
func (r *DeviceCommandReconciler) keepSeal(ctx context.Context, c *v1alpha1.DeviceCommand) error {
	if !time.Now().Before(c.Spec.NotAfter.Time) {
		return nil
	}
	sealed, id := c.Annotations[v1alpha1.AnnotationAttempt], c.Status.RequestID
	var patch client.Patch
	options := []client.PatchOption{fieldOwner}
	changed := c.DeepCopy()
	switch {
	case sealed == "" && id != "":
		metav1.SetMetaDataAnnotation(&changed.ObjectMeta, v1alpha1.AnnotationAttempt, id)
		patch = client.MergeFromWithOptions(c, client.MergeFromWithOptimisticLock{})
	case isForeignAttempt(c):
		patch = applied("DeviceCommand", c, map[string]any{"annotations": map[string]string{v1alpha1.AnnotationAttempt: sealed}})
		options = append(options, client.ForceOwnership)
	default:
		return nil
	}
	if err := r.Patch(ctx, changed, patch, options...); err != nil {
		return ignoreOvertaken(fmt.Errorf("keeping the annotation of the attempt: %w", err))
	}
	*c = *changed
	return nil
}

// isForeignAttempt reports whether the annotation of the attempt is a field of others only. For objects of the cache see isForeignFinalizer.
func isForeignAttempt(c *v1alpha1.DeviceCommand) bool {
	return c.Annotations[v1alpha1.AnnotationAttempt] != "" && len(c.ManagedFields) > 0 && !ownsField(c.ManagedFields, attemptField)
}

// ignoreOvertaken: an object that changed meanwhile is looked at again because of that.
func ignoreOvertaken(err error) error {
	if apierrors.IsConflict(err) || apierrors.IsNotFound(err) {
		return nil
	}
	return err
}

// ownFinalizer has the finalizer of a PnPDevice among the operator's own fields.
func (r *PnPDeviceReconciler) ownFinalizer(ctx context.Context, device *v1alpha1.PnPDevice) (*v1alpha1.PnPDevice, error) {
	changed := device.DeepCopy()
	patch := applied("PnPDevice", device, map[string]any{"finalizers": []string{v1alpha1.FinalizerClear}})
	return changed, r.Patch(ctx, changed, patch, fieldOwner, client.ForceOwnership)
}

// isForeignFinalizer reports whether the finalizer is a field of others only. Objects of the cache
// have managedFields just then, see Slim; those that the API server answered with have them all.
func isForeignFinalizer(device *v1alpha1.PnPDevice) bool {
	return controllerutil.ContainsFinalizer(device, v1alpha1.FinalizerClear) && len(device.ManagedFields) > 0 && !ownsField(device.ManagedFields, finalizerField)
}

// finalizerMoves passes the change of the finalizer, and of those that it is a field of.
func finalizerMoves() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc: func(e event.UpdateEvent) bool {
			was, is := e.ObjectOld.(*v1alpha1.PnPDevice), e.ObjectNew.(*v1alpha1.PnPDevice)
			lost := controllerutil.ContainsFinalizer(was, v1alpha1.FinalizerClear) && !controllerutil.ContainsFinalizer(is, v1alpha1.FinalizerClear)
			return lost || isForeignFinalizer(is) || isHeldOtherwise(was, is)
		},
	}
}

// isHeldOtherwise reports whether an object that is being deleted, and that others hold, is held by
// other ones than before.
func isHeldOtherwise(was, is *v1alpha1.PnPDevice) bool {
	return !is.DeletionTimestamp.IsZero() && !controllerutil.ContainsFinalizer(is, v1alpha1.FinalizerClear) && !slices.Equal(was.Finalizers, is.Finalizers)
}

// holdersOf names the finalizers of others that an object has, "" for none. Those of Kubernetes'
// own collector are none: they end within a moment.
func holdersOf(o client.Object) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(finalizer string) bool {
		return finalizer == metav1.FinalizerDeleteDependents || finalizer == metav1.FinalizerOrphanDependents
	}), ", ")
}
