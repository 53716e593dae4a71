package cached

import (
	"bytes"
	"strings"
	"unique"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/managedfields"
	"github.com/pnp-operator/pnp-operator/internal/models"
)

// What is kept of an object at most, beside its status, its finalizers and a few fixed fields: see docs/security.md.
const (
	// maxAnnotation is how many bytes are kept of an annotation: no more is ever looked at.
	maxAnnotation = 2048
	// maxResult is how many bytes of payload and response are kept of a command that has ended.
	maxResult = 1024
)

// Slim is the transform of the cache: it drops what no controller reads, which is for others to make as large as they like, and has what is the same in
// thousands of objects in memory once. It changes no value that is read.
func Slim(o any) (any, error) {
	if object, ok := o.(client.Object); ok {
		slimMetadata(object)
	}
	switch object := o.(type) {
	case *v1alpha1.PnPDevice:
		slimDevice(object)
	case *v1alpha1.DeviceCommand:
		slimCommand(object)
	case *v1alpha1.DeviceModel:
		models.Abridge(object)
	}
	return o, nil // what a watch tells of an object that is gone may be something else
}

// slimMetadata keeps of annotations and labels what the operator reads: its own annotations, and no labels but those of its ConfigMaps.
func slimMetadata(o client.Object) {
	o.SetManagedFields(slimManagers(o))
	switch o.(type) {
	case *v1alpha1.IoTHub, *v1alpha1.PnPDevice, *v1alpha1.DeviceCommand, *v1alpha1.DeviceModel:
	default:
		return
	}
	o.SetLabels(nil)
	o.SetOwnerReferences(nil)
	kept := map[string]string{}
	for _, name := range append(v1alpha1.Annotations, models.AnnotationAbridged) { // a transform may see what it made before
		if value, ok := o.GetAnnotations()[name]; ok {
			kept[name] = strings.Clone(value[:min(len(value), maxAnnotation)])
		}
	}
	if o.SetAnnotations(kept); len(kept) == 0 {
		o.SetAnnotations(nil)
	}
}

// slimCommand drops what a command did, and what came of it, where that is much and the command has ended. It is read from the API server where it matters.
func slimCommand(command *v1alpha1.DeviceCommand) {
	payload, response := command.Spec.Payload, command.Status.Response
	if !command.Finished() || sizeOf(payload)+sizeOf(response) <= maxResult {
		return
	}
	command.Spec.Payload, command.Status.Response = nil, nil
	metav1.SetMetaDataAnnotation(&command.ObjectMeta, models.AnnotationAbridged, "true")
}

func sizeOf(value *apiextensionsv1.JSON) int {
	if value == nil {
		return 0
	}
	return len(value.Raw)
}

func slimDevice(device *v1alpha1.PnPDevice) {
	declaration.Abridge(&device.Spec)
	spec, status := &device.Spec, &device.Status
	shared(&device.Kind, &device.APIVersion, &device.Namespace, &spec.HubRef.Name, &spec.ModelID, &status.ModelID, &status.ConnectionState, &status.Summary)
	shared(&spec.TwinAPI)
	shared(&spec.Management)
	shared(&spec.DeletionPolicy)
	shared(&spec.ReadyWhen)
	shared(&spec.Reported)
	for i := range spec.Components {
		shared(&spec.Components[i].Name)
	}
	if status.Twin != nil {
		shared(&status.Twin.Hub)
		if status.Twin.DeviceID == device.Name {
			status.Twin.DeviceID = device.Name // the same text, once
		}
	}
	for i := range status.Conditions {
		c := &status.Conditions[i]
		shared(&c.Type, &c.Reason, &c.Message)
		shared(&c.Status)
	}
	slimProperties(status.Properties)
	for i := range status.Components {
		shared(&status.Components[i].Name)
		slimProperties(status.Components[i].Properties)
	}
}

// slimManagers is nothing, or a mark on an object whose finalizer or annotation of the operator is a field of others only.
func slimManagers(o client.Object) []metav1.ManagedFieldsEntry {
	device, isDevice := o.(*v1alpha1.PnPDevice)
	command, isCommand := o.(*v1alpha1.DeviceCommand)
	if isDevice && managedfields.IsForeignFinalizer(device) || isCommand && managedfields.IsForeignAttempt(command) {
		return []metav1.ManagedFieldsEntry{{Manager: "another"}}
	}
	return nil
}

func slimProperties(properties []v1alpha1.PropertyStatus) {
	for i := range properties {
		p := &properties[i]
		shared(&p.Name, &p.AckDescription)
		shared(&p.State)
		if p.Desired != nil && p.Reported != nil && bytes.Equal(p.Desired.Raw, p.Reported.Raw) {
			p.Reported = p.Desired // objects of the cache are never written to
		}
	}
}

// shared makes equal texts the same text.
func shared[T ~string](texts ...*T) {
	for _, text := range texts {
		if *text != "" {
			*text = unique.Make(*text).Value()
		}
	}
}
