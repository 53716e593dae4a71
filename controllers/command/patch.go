package command

import (
	"encoding/json"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// wholeStatus is a patch that replaces the status of a command as it was read. A merge patch would lose every null in the device's response.
type wholeStatus struct{ read *v1alpha1.DeviceCommand }

// Type is that of JSON Patch.
func (wholeStatus) Type() types.PatchType { return types.JSONPatchType }

// Data sets the resourceVersion that was read, which the API server refuses if it is not the newest, and the status of an object.
func (p wholeStatus) Data(o client.Object) ([]byte, error) {
	type operation struct {
		Op    string `json:"op"`
		Path  string `json:"path"`
		Value any    `json:"value"`
	}
	return json.Marshal([]operation{
		{"replace", "/metadata/resourceVersion", p.read.ResourceVersion},
		{"add", "/status", o.(*v1alpha1.DeviceCommand).Status}, // it is made for commands
	})
}
