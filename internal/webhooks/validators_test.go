package webhooks

import (
	"errors"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/models"
)

func TestConclude(t *testing.T) {
	broken := []string{"spec.properties.fanSpeed is not in dtmi:com:example:Thermostat;1, want a writable property: targetTemperature"}
	for name, test := range map[string]struct {
		verdict  models.Verdict
		err      error
		refusal  []string
		warnings []string
	}{
		"nothing to say": {verdict: models.Verdict{Model: "thermostat"}},
		"a refusal names the model, and the way out of a commit that changes both": {
			verdict: models.Verdict{Model: "thermostat", Violations: broken},
			refusal: []string{broken[0], `DeviceModel "thermostat" as the cluster has it`, "models in a folder of their own", "one commit earlier"},
		},
		"a model that only warns": {verdict: models.Verdict{Model: "thermostat", Violations: broken, Warn: true}, warnings: broken},
		"a model that cannot be used refuses nothing": {
			verdict:  models.Verdict{Model: "thermostat", NotReady: "MissingInterfaces"},
			warnings: []string{`not checked: DeviceModel "thermostat" cannot be used: MissingInterfaces`},
		},
		"trouble of our own refuses nothing": {
			err:      errors.New("the cache is not filled"),
			warnings: []string{"not checked against its DeviceModel at admission; the operator checks it again"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			warnings, err := conclude(t.Context(), test.verdict, test.err)
			if got, want := strings.Join(warnings, "\n"), strings.Join(test.warnings, "\n"); got != want {
				t.Errorf("warnings are %q, want %q", got, want)
			}
			if (err != nil) != (len(test.refusal) > 0) {
				t.Fatalf("the refusal is %v", err)
			}
			for _, part := range test.refusal {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%q lacks %q", err, part)
				}
			}
		})
	}
}
