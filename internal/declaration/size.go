package declaration

import (
	"fmt"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// MaxBytes is what the properties of one declaration may take as the API server stores them. The 32 KiB that a hub grants
	// fit in it six times: a hub does not count control characters, and the API server writes each as six bytes.
	MaxBytes = 256 << 10
	// MaxProperties bounds what status has to say of each.
	MaxProperties = 1000
)

// Bytes is what the properties take as the API server stores them.
func Bytes(spec *v1alpha1.PnPDeviceSpec) int {
	size := 0
	if spec.Properties != nil {
		size = storable.Size(spec.Properties.Raw)
	}
	for _, c := range spec.Components {
		if c.Properties != nil {
			size += storable.Size(c.Properties.Raw)
		}
	}
	return size
}

// oversize lists what keeps an object from having room for its status.
func oversize(spec *v1alpha1.PnPDeviceSpec, declared twin.Declaration) (violations []string) {
	if size := Bytes(spec); size > MaxBytes {
		violations = append(violations, fmt.Sprintf("spec has properties of %d bytes of JSON, control characters and <, > and & counted as six; status has room for %d", size, MaxBytes))
	}
	if len(declared) > MaxProperties {
		violations = append(violations, fmt.Sprintf("spec declares %d properties; status has room for %d", len(declared), MaxProperties))
	}
	return violations
}
