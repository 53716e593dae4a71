package engines

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

func TestScenariosAreNamedOnceAndPlaySomething(t *testing.T) {
	seen := map[string]bool{}
	faults := map[int]bool{}
	for _, one := range engineScenarios() {
		if seen[one.name] || one.play == nil || one.title == "" || wordFor[one.engine] == "" {
			t.Errorf("scenario %q: there twice %t, of engine %q, or without play or title", one.name, seen[one.name], one.engine)
		}
		seen[one.name] = true
		faults[one.fault] = true
	}
	for fault := 1; fault <= 11; fault++ {
		if !faults[fault] {
			t.Errorf("no scenario is about fault %d", fault)
		}
	}
}

func TestPickLeavesOutWhatIsNotAskedForOrCannotRun(t *testing.T) {
	all := []engineScenario{
		{name: "one", engine: flux}, {name: "tool", engine: flux, tools: []string{"jq"}}, {name: "argo", engine: argoCD},
	}
	for name, c := range map[string]struct {
		wish    wish
		have    []string
		played  []string
		leftOut map[string]string
		fails   bool
	}{
		"everything that can run is played": {
			have: []string{"jq", "redis-server"}, played: []string{"one", "tool", "argo"},
		},
		"a missing program leaves its scenarios out": {
			played: []string{"one"}, leftOut: map[string]string{"tool: ": "needs jq", "argo: ": "needs redis-server"},
		},
		"a pattern says which, without a word on the others": {
			wish: wish{scenarios: "^one$"}, played: []string{"one"},
		},
		"an engine that is not asked for is left out": {
			wish: wish{engines: "argocd", scenarios: "one|argo"}, have: []string{"jq", "redis-server"},
			played: []string{"argo"}, leftOut: map[string]string{"one: ": "Flux is not among ENGINES"},
		},
		"nothing to play is an error":      {wish: wish{scenarios: "none"}, fails: true},
		"a broken pattern is an error":     {wish: wish{scenarios: "("}, fails: true},
		"only what cannot run is an error": {wish: wish{scenarios: "argo"}, fails: true, leftOut: map[string]string{"argo: ": "needs redis-server"}},
	} {
		t.Run(name, func(t *testing.T) {
			have := map[string]bool{}
			for _, program := range c.have {
				have[program] = true
			}
			s, err := pick(all, c.wish, func(program string) bool { return have[program] })
			if (err != nil) != c.fails {
				t.Fatalf("pick returned %v", err)
			}
			var played []string
			for _, one := range s.played {
				played = append(played, one.name)
			}
			leftOut := map[string]string(nil)
			for _, one := range s.leftOut {
				if leftOut == nil {
					leftOut = map[string]string{}
				}
				leftOut[one.what] = one.why
			}
			if diff := cmp.Diff(c.played, played); diff != "" {
				t.Errorf("played (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(c.leftOut, leftOut); diff != "" {
				t.Errorf("left out (-want +got):\n%s", diff)
			}
		})
	}
}

// The recipe is what is tested: a site is its copy, led to the simulator, under other names.
func TestASiteIsTheRecipeUnderItsOwnNames(t *testing.T) {
	s := newTestSite(t)
	if err := s.copyRecipe(); err != nil {
		t.Fatal(err)
	}
	for _, scenario := range engineScenarios() {
		if scenario.shape == nil {
			continue
		}
		t.Run(scenario.name, func(t *testing.T) {
			other := newTestSite(t)
			if err := other.copyRecipe(); err != nil {
				t.Fatal(err)
			}
			if err := scenario.shape(other); err != nil {
				t.Errorf("its shape does not fit the recipe: %v", err)
			}
		})
	}
	hub, err := s.read("site/hub/iothub.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"name: site-hub", "kustomize.toolkit.fluxcd.io/ssa: Merge", "hostName: localhost", "caBundle: CA", "key: events"} {
		if !strings.Contains(hub, want) {
			t.Errorf("the IoTHub has no %q:\n%s", want, hub)
		}
	}
	err = filepath.WalkDir(s.files, func(path string, entry os.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		data, err := os.ReadFile(path)
		if strings.Contains(string(data), "factory") || strings.Contains(string(data), "-thermostat") {
			t.Errorf("%s has a name of the recipe:\n%s", path, data)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func newTestSite(t *testing.T) *site {
	t.Helper()
	c, err := harness.FindClone()
	if err != nil {
		t.Fatal(err)
	}
	d := harness.NewTestbed(c, t.TempDir(), nil)
	d.HubEnv = map[string]string{"HUB_HOST_NAME": "localhost", "HUB_ENDPOINT": "https://localhost:1", "EVENTHUB_ADDRESS": "localhost:2"}
	if err := os.WriteFile(d.File(harness.HubCAFile), []byte("CA"), 0o600); err != nil {
		t.Fatal(err)
	}
	return &site{gitops: &gitops{Testbed: d}, repository: repository{files: t.TempDir(), url: "http://localhost/site.git"}, name: "site", engine: flux}
}

func TestTheEnginesOfASiteAreThoseOfTheRecipe(t *testing.T) {
	s := newTestSite(t)
	s.timeout = "20s"
	all, err := s.manifests("flux/factory.yaml")
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for _, object := range s.fluxObjects(all, func(name string) bool { return name != "pnp-operator" }) {
		o := unstructured.Unstructured{Object: object}
		spec := object["spec"].(map[string]any)
		if o.GetKind() == "GitRepository" {
			got[o.GetName()] = spec["url"].(string)
			continue
		}
		source := spec["sourceRef"].(map[string]any)["name"].(string)
		got[o.GetName()] = strings.Join([]string{source, spec["path"].(string), spec["timeout"].(string)}, " ")
	}
	want := map[string]string{
		"site": "http://localhost/site.git", "site-models": "site ./site/models 20s", "site-hub": "site ./site/hub 20s",
		"site-devices": "site ./site/devices 20s", "site-commands": "site ./site/commands 20s",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("objects of Flux (-want +got):\n%s", diff)
	}
}

func TestReadFluxKnowsWhatIsSaidOfWhichRevision(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"generation": int64(2)},
		"status": map[string]any{
			"observedGeneration": int64(2), "lastAppliedRevision": "main@sha1:a", "lastAttemptedRevision": "main@sha1:b", "lastHandledReconcileAt": "t",
			"conditions": []any{
				map[string]any{"type": "Healthy", "status": "True", "reason": "no", "message": "no"},
				map[string]any{"type": "Ready", "status": "False", "reason": "HealthCheckFailed", "message": "timeout"},
			},
		},
	}}
	want := fluxState{ready: "False", reason: "HealthCheckFailed", message: "timeout", applied: "main@sha1:a", attempted: "main@sha1:b", handled: "t", current: true}
	if diff := cmp.Diff(want, readFlux(o), cmp.AllowUnexported(fluxState{})); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
	o.SetGeneration(3)
	if readFlux(o).current {
		t.Error("a status of generation 2 is taken for one of generation 3")
	}
}

func TestReadArgoCDKnowsTheHealthOfEachObject(t *testing.T) {
	o := &unstructured.Unstructured{Object: map[string]any{
		"metadata": map[string]any{"annotations": map[string]any{refresh: "normal"}},
		"status": map[string]any{
			"sync": map[string]any{"status": "Synced", "revision": "a"}, "health": map[string]any{"status": "Degraded"},
			"operationState": map[string]any{"phase": "Succeeded", "message": "successfully synced"},
			"conditions":     []any{map[string]any{"type": "ComparisonError", "message": "no"}},
			"resources": []any{
				map[string]any{"kind": "PnPDevice", "name": "one", "health": map[string]any{"status": "Degraded"}},
				map[string]any{"kind": "Role", "name": "two"},
			},
		},
	}}
	want := argoState{
		sync: "Synced", revision: "a", health: "Degraded", phase: "Succeeded", message: "successfully synced", conditions: []string{"ComparisonError: no"},
		resources: map[string]string{"PnPDevice/one": "Degraded", "Role/two": ""}, refreshing: true,
	}
	if diff := cmp.Diff(want, readArgoCD(o), cmp.AllowUnexported(argoState{})); diff != "" {
		t.Errorf("state (-want +got):\n%s", diff)
	}
}

// Scenarios run what pages say: a page that loses it is noticed here, and not in ten minutes.
func TestPagesHaveTheCommandsThatScenariosRun(t *testing.T) {
	s := newTestSite(t)
	for _, c := range []struct {
		page, section string
		n             int
		parts         []string
	}{
		{"operations.md", "Stop everything", 1, []string{"--field-manager=stop", `{"spec":{"suspend":true}}`, "--namespace site"}},
		{"operations.md", "Stop everything", 2, []string{"--field-manager=stop", `{"spec":{"suspend":null}}`, "--namespace site"}},
		{"install.md", "Backup and restore", 1, []string{"backup.json", "kubectl create ", "--namespace site"}},
		{"iothub.md", "Confirm removals", 2, []string{"kubectl annotate hub factory-hub", "confirm-removals"}},
		{"argocd.md", "Health", 1, []string{"--namespace argocd", "--type merge", "integrations/argocd/health.lua"}},
	} {
		script, err := s.readDocs(c.page, c.section, c.n)
		if err != nil {
			t.Error(err)
			continue
		}
		if absent := harness.Lacking(script, c.parts...); len(absent) > 0 {
			t.Errorf("docs/%s, %s, block %d has no %q:\n%s", c.page, c.section, c.n, absent, script)
		}
	}
}

func TestConsoleBlockStaysWithinItsSection(t *testing.T) {
	const page = "# A\n\n```console\none\n```\n\n## B\n\ntext\n\n## C\n\n```console\ntwo\n```\n"
	if got, err := consoleBlock(page, "A", 1); got != "one\n" || err != nil {
		t.Errorf("block of A: %q, %v", got, err)
	}
	for _, heading := range []string{"B", "D"} {
		if got, err := consoleBlock(page, heading, 1); err == nil {
			t.Errorf("block of %s: %q", heading, got)
		}
	}
}

func TestOfKindKeepsTheDocumentsOfAKind(t *testing.T) {
	const manifests = "kind: Secret\nname: a\n---\nkind: ConfigMap\nname: b\n---\ndata:\n  kind: Secret\nkind: ConfigMap\n"
	want := "kind: ConfigMap\nname: b\n---\ndata:\n  kind: Secret\nkind: ConfigMap\n"
	if diff := cmp.Diff(want, ofKind(manifests, "ConfigMap")); diff != "" {
		t.Errorf("ConfigMaps (-want +got):\n%s", diff)
	}
}
