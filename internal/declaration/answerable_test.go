package declaration

import (
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func TestWhatCannotBeAcknowledgedIsRefusedWhereThatIsWaitedFor(t *testing.T) {
	deep := func(levels int) string {
		return `{"a":` + strings.Repeat(`{"o":`, levels) + `1` + strings.Repeat(`}`, levels) + `}`
	}
	many := string(declaring(900, `"property%03d":1`).Properties.Raw) // 19 bytes each, and 25 more in an acknowledgement
	for name, c := range map[string]struct {
		properties string
		readyWhen  v1alpha1.ReadyWhen
		want       string // part of the only violation, "": none
	}{
		"nine levels":                           {deep(9), "", ""},
		"ten are one too many for the answer":   {deep(10), "", "nest at most 9"},
		"and where offline devices are as well": {deep(10), v1alpha1.ReadyWhenReachable, "nest at most 9"},
		"but not where no answer is waited for": {deep(10), v1alpha1.ReadyWhenApplied, ""},
		"eleven are too many for the hub":       {deep(11), "", "is nested 11 levels below desired"},
		"many small ones":                       {many, v1alpha1.ReadyWhenAcknowledged, "takes 39600 bytes of the reported properties"},
		"without an answer":                     {many, v1alpha1.ReadyWhenApplied, ""},
	} {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.PnPDeviceSpec{
				Properties: &apiextensionsv1.JSON{Raw: []byte(c.properties)}, ReadyWhen: c.readyWhen, TwinAPI: v1alpha1.TwinAPIDeviceTwin,
			}
			declared, violations := Check(spec, nil)
			if len(violations) == 0 {
				violations = Unanswerable(spec, declared)
			}
			switch {
			case c.want == "" && len(violations) > 0:
				t.Errorf("got %q", violations)
			case c.want != "" && (len(violations) != 1 || !strings.Contains(violations[0], c.want)):
				t.Errorf("got %q, want %q", violations, c.want)
			}
		})
	}
}
