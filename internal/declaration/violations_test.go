package declaration

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// declaring is a spec with many properties of a kind.
func declaring(count int, format string) *v1alpha1.PnPDeviceSpec {
	var b strings.Builder
	for i := range count {
		_, _ = fmt.Fprintf(&b, ","+format, i)
	}
	return &v1alpha1.PnPDeviceSpec{Properties: &apiextensionsv1.JSON{Raw: []byte("{" + strings.TrimPrefix(b.String(), ",") + "}")}}
}

func TestViolationsAreBounded(t *testing.T) {
	_, violations := Check(declaring(1000, `"k$%d":1`), nil)
	if len(violations) != MaxViolations+1 || violations[MaxViolations] != "and 980 more" {
		t.Errorf("%d violations, the last is %q", len(violations), violations[len(violations)-1])
	}
	var long Violations
	long.Add(func() string { return strings.Repeat("ü", 1000) })
	if text := long.Texts()[0]; len(text) > maxText+3 || !strings.HasSuffix(text, "ü…") {
		t.Errorf("%d bytes", len(text))
	}
}

func TestTooMuchIsNotDecoded(t *testing.T) {
	spec := declaring(110_000, `"k$%d":1`)
	size := Size(spec)
	_, violations := Check(spec, nil)
	want := fmt.Sprintf("properties and components have %d bytes of JSON, in which control characters and <, > and & count as six, want at most 131072", size)
	if !slices.Equal(violations, []string{want}) {
		t.Errorf("got %.300q, want %q", violations, want)
	}
	Abridge(spec)
	if Size(spec) > 200 {
		t.Errorf("%d bytes are kept", Size(spec))
	}
	if declared, violations := Check(spec, nil); len(declared) > 0 || !slices.Equal(violations, []string{want}) {
		t.Errorf("abridged: %v, %.300q", declared, violations)
	}
	components := &v1alpha1.PnPDeviceSpec{Components: []v1alpha1.ComponentDeclaration{{Name: "c", Properties: declaring(20_000, `"a%d":1`).Properties}}}
	if _, err := Of(components); err == nil {
		t.Error("components count for nothing")
	}
	small := declaring(3, `"a%d":1`)
	Abridge(small)
	if declared, err := Of(small); err != nil || len(declared) != 3 {
		t.Error("what is small is abridged, too")
	}
}
