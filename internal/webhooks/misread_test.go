package webhooks

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
)

// Names that were on and off are warned of wherever they stand.
func TestMisreadNamesAreFoundAtEveryLevel(t *testing.T) {
	properties := func(text string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(text)} }
	for name, c := range map[string]struct {
		spec v1alpha1.PnPDeviceSpec
		want string // the paths, in order
	}{
		"none":                    {v1alpha1.PnPDeviceSpec{Properties: properties(`{"a":{"b":true,"c":"false"}}`)}, ""},
		"a property":              {v1alpha1.PnPDeviceSpec{Properties: properties(`{"true":1}`)}, "true"},
		"a field of a field":      {v1alpha1.PnPDeviceSpec{Properties: properties(`{"a":{"b":{"false":1,"true":2}}}`)}, "a.b.false a.b.true"},
		"a field of an item":      {v1alpha1.PnPDeviceSpec{Properties: properties(`{"a":[0,{"true":1}]}`)}, "a[1].true"},
		"a component's property":  {v1alpha1.PnPDeviceSpec{Components: []v1alpha1.ComponentDeclaration{{Name: "c", Properties: properties(`{"false":1}`)}}}, "c/false"},
		"the name of a component": {v1alpha1.PnPDeviceSpec{Components: []v1alpha1.ComponentDeclaration{{Name: "true", Properties: properties(`{"a":1}`)}}}, "true/a"},
	} {
		t.Run(name, func(t *testing.T) {
			leaves, err := declaration.Of(&c.spec)
			if err != nil {
				t.Fatal(err)
			}
			var paths []string
			for _, text := range misread(leaves) {
				path, _, _ := strings.Cut(text, " ")
				paths = append(paths, path)
			}
			if got := strings.Join(paths, " "); got != c.want {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}
