// Package managedfields keeps the annotation and the finalizer of the operator among its own
// fields.
package managedfields

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	restclient "k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Owner is the manager of what the operator writes on objects beside status.
const Owner = client.FieldOwner("pnp-operator")

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
	return []string{string(Owner), program}
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

// Apply is an object with nothing but a field of its metadata, on top of what was read.
func Apply(kind string, o client.Object, metadata map[string]any) client.Patch {
	metadata["name"], metadata["namespace"] = o.GetName(), o.GetNamespace()
	metadata["uid"], metadata["resourceVersion"] = o.GetUID(), o.GetResourceVersion()
	raw, err := json.Marshal(map[string]any{"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind, "metadata": metadata})
	if err != nil {
		panic(err) // nothing in it cannot be encoded
	}
	return client.RawPatch(types.ApplyPatchType, raw)
}

// IsForeignAttempt reports whether the annotation of the attempt is a field of others only. For
// objects of the cache see IsForeignFinalizer.
func IsForeignAttempt(c *v1alpha1.DeviceCommand) bool {
	return c.Annotations[v1alpha1.AnnotationAttempt] != "" && len(c.ManagedFields) > 0 && !ownsField(c.ManagedFields, attemptField)
}

// IsForeignFinalizer reports whether the finalizer is a field of others only. Objects of the cache
// have managedFields just then, see Slim; those that the API server answered with have them all.
func IsForeignFinalizer(device *v1alpha1.PnPDevice) bool {
	return controllerutil.ContainsFinalizer(device, v1alpha1.FinalizerClear) && len(device.ManagedFields) > 0 && !ownsField(device.ManagedFields, finalizerField)
}

// OtherFinalizers names the finalizers of others that an object has, "" for none. Those of
// Kubernetes' own collector are none: they end within a moment.
func OtherFinalizers(o client.Object) string {
	return strings.Join(slices.DeleteFunc(slices.Clone(o.GetFinalizers()), func(finalizer string) bool {
		return finalizer == metav1.FinalizerDeleteDependents || finalizer == metav1.FinalizerOrphanDependents
	}), ", ")
}
