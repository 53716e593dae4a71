package chart_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// scored are what kube-score says of the chart and what stays as it is, by object and check, with the reason.
var scored = map[string]string{
	"* container-image-pull-policy":                   "a tag of a release and a digest name one image for good, and Always would keep a pod from starting while the registry is down",
	"* container-resources":                           "there is a limit of memory and none of CPU: a leader that is throttled loses its lease",
	"* container-ephemeral-storage-request-and-limit": "the root is read-only and /tmp holds one certificate: what would count is the log, and a pod that says much would be evicted",

	"pnp-simulator pod-networkpolicy":   "for trying the operator, in a namespace of its own without anything else",
	"pnp-simulator deployment-strategy": "what it knows is in memory: two at a time would be two hubs",
	"pnp-simulator deployment-replicas": "what it knows is in memory: two at a time would be two hubs",
	"pnp-simulator pod-probes":          "one that hangs shows how the operator takes a hub that hangs; a restart would forget all devices",

	"pnp-operator-end-trial pod-networkpolicy": "it runs for seconds, when a trial is uninstalled",
}

// TestKubeScore has kube-score judge everything that the chart can render for a cluster. Its findings are mended, or explained above.
func TestKubeScore(t *testing.T) {
	path := filepath.Join(t.TempDir(), "chart.yaml")
	rendered := template(t, "--set=simulator.enabled=true,networkPolicy.enabled=true,protection.enabled=true,image.tag=v0.1.0")
	if err := os.WriteFile(path, []byte(rendered), 0o600); err != nil {
		t.Fatal(err)
	}
	out, _ := tool(t, nil, "kube-score", "score", path, "--output-format=json") // which ends with 1 for the exceptions
	var objects []struct {
		Meta struct {
			Name string `json:"name"`
		} `json:"object_meta"`
		Checks []struct {
			Check struct {
				ID string `json:"id"`
			} `json:"check"`
			Skipped  bool `json:"skipped"`
			Grade    int  `json:"grade"`
			Comments []struct {
				Path    string `json:"path"`
				Summary string `json:"summary"`
			} `json:"comments"`
		} `json:"checks"`
	}
	if err := json.Unmarshal([]byte(out), &objects); err != nil || len(objects) == 0 {
		t.Fatalf("%v: %s", err, out)
	}
	const fine = 10
	used := map[string]bool{}
	for _, object := range objects {
		for _, c := range object.Checks {
			if c.Skipped || c.Grade >= fine {
				continue
			}
			key := exceptionOf(object.Meta.Name, c.Check.ID)
			if used[key] = true; key == "" {
				t.Errorf("%s: %s: %s", object.Meta.Name, c.Check.ID, strings.TrimSpace(fmt.Sprint(c.Comments)))
			}
		}
	}
	for key := range scored {
		if !used[key] {
			t.Errorf("kube-score does not say %q any more: remove the exception", key)
		}
	}
}

// exceptionOf is the exception that covers a check of an object, "" if there is none.
func exceptionOf(object, check string) string {
	for _, key := range []string{object + " " + check, "* " + check} {
		if scored[key] != "" {
			return key
		}
	}
	return ""
}
