// Package v1alpha1 holds the API of pnp-operator: IoTHub is the connection, PnPDevice the declaration,
// DeviceCommand one call of a device, DeviceModel what may be declared and called, DeviceFleet the
// declaration of many devices, with DeviceFleetShard as its record.
//
// +kubebuilder:object:generate=true
// +groupName=iot.pnp-operator.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

var (
	// GroupVersion is the group and version of every kind in this package.
	GroupVersion = schema.GroupVersion{Group: "iot.pnp-operator.io", Version: "v1alpha1"}

	schemeBuilder = runtime.NewSchemeBuilder(addKnownTypes)

	// AddToScheme registers the kinds of this package.
	AddToScheme = schemeBuilder.AddToScheme
)

func addKnownTypes(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion, &IoTHub{}, &IoTHubList{}, &PnPDevice{}, &PnPDeviceList{}, &DeviceCommand{}, &DeviceCommandList{},
		&DeviceModel{}, &DeviceModelList{}, &DeviceFleet{}, &DeviceFleetList{}, &DeviceFleetShard{}, &DeviceFleetShardList{})
	metav1.AddToGroupVersion(s, GroupVersion)
	return nil
}
