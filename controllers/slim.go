package controllers

import (
	"bytes"
	"unique"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Slim is a transform of the cache of PnPDevices: it drops what no controller reads, and has what is the same in thousands of objects in memory once. It
// changes no value.
func Slim(o any) (any, error) {
	device, ok := o.(*v1alpha1.PnPDevice)
	if !ok {
		return o, nil // what a watch tells of an object that is gone may be something else
	}
	device.ManagedFields = slimManagers(device)
	delete(device.Annotations, corev1.LastAppliedConfigAnnotation)
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
	return device, nil
}

// slimManagers is nothing, or a mark on an object whose finalizer is a field of others only.
func slimManagers(device *v1alpha1.PnPDevice) []metav1.ManagedFieldsEntry {
	if isForeignFinalizer(device) {
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
