package declaration

import (
	"bytes"
	"fmt"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// MaxProperties bounds what status has to say of each.
const MaxProperties = 1000

// Size is how many bytes of JSON a spec declares, as the API server stores them.
func Size(spec *v1alpha1.PnPDeviceSpec) (size int) {
	count := func(name string, properties *apiextensionsv1.JSON) {
		size += len(name)
		if properties != nil {
			size += storable.Size(properties.Raw)
		}
	}
	count("", spec.Properties)
	for _, c := range spec.Components {
		count(c.Name, c.Properties)
	}
	return size
}

// IsTooLarge reports whether a spec declares more than MaxDeclared, or did before Abridge.
func IsTooLarge(spec *v1alpha1.PnPDeviceSpec) bool {
	return isAbridged(spec) || Size(spec) > MaxDeclared
}

// isAbridged reports whether properties are a text, as Abridge leaves it: the CRD takes objects only.
func isAbridged(spec *v1alpha1.PnPDeviceSpec) bool {
	return spec.Properties != nil && bytes.HasPrefix(spec.Properties.Raw, []byte{'"'})
}

// oversize lists what keeps an object from having room for its status.
func oversize(declared twin.Declaration) (violations []string) {
	if len(declared) > MaxProperties {
		violations = append(violations, fmt.Sprintf("spec declares %d properties; status has room for %d", len(declared), MaxProperties))
	}
	return violations
}
