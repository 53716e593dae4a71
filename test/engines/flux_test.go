package engines

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// fluxNamespace is where the objects of Flux are.
const fluxNamespace = "flux-system"

// requestedAt is what `flux reconcile` sets.
const requestedAt = "reconcile.fluxcd.io/requestedAt"

var (
	gitRepositoryKind = schema.GroupVersionKind{Group: "source.toolkit.fluxcd.io", Version: "v1", Kind: "GitRepository"}
	kustomizationKind = schema.GroupVersionKind{Group: "kustomize.toolkit.fluxcd.io", Version: "v1", Kind: "Kustomization"}
)

// startFlux installs Flux's definitions and runs its two controllers, and applies the Kustomization
// that all others depend on.
func (g *gitops) startFlux(ctx context.Context) error {
	if err := g.installFluxDefinitions(ctx); err != nil {
		return err
	}
	at, err := loopback(5)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(g.File("flux-source"), 0o700); err != nil {
		return err
	}
	env := []string{"RUNTIME_NAMESPACE=" + fluxNamespace}
	usual := []string{"--watch-all-namespaces", "--enable-leader-election=false", "--events-addr="}
	err = g.launchEngine("source-controller", g.Path(enginesFolder+"/source-controller"), env, append(usual,
		"--storage-path="+g.File("flux-source"), "--storage-addr="+at[0], "--storage-adv-addr="+at[0],
		"--metrics-addr="+at[1], "--health-addr="+at[2])...)
	if err != nil {
		return err
	}
	// A Kustomization that waits for a device keeps a worker busy: there are as many sites here as
	// scenarios.
	err = g.launchEngine("kustomize-controller", g.Path(enginesFolder+"/kustomize-controller"), env, append(usual,
		"--metrics-addr="+at[3], "--health-addr="+at[4], "--concurrent=20", "--requeue-dependency=1s")...)
	if err != nil {
		return err
	}
	for _, address := range []string{at[2], at[4]} {
		if err := g.untilHealthy(ctx, "http://"+address+"/readyz"); err != nil {
			return err
		}
	}
	g.Out.Passf("Flux runs: source-controller and kustomize-controller")
	return g.openFleet(ctx)
}

// installFluxDefinitions takes the CustomResourceDefinitions out of the controllers' modules.
func (g *gitops) installFluxDefinitions(ctx context.Context) error {
	for _, tool := range modulesOf[flux] {
		dir, err := moduleFolder(ctx, g.Clone, tool, "github.com/fluxcd/"+tool)
		if err != nil {
			return err
		}
		args := []string{"apply", "--server-side", "-f", filepath.Join(dir, "config/crd/bases")}
		if _, err := g.Kubectl.Show(ctx, args...); err != nil {
			return err
		}
	}
	err := g.Kubectl.Established(ctx, "crd/gitrepositories.source.toolkit.fluxcd.io", "crd/kustomizations.kustomize.toolkit.fluxcd.io")
	if err != nil {
		return err
	}
	_, err = g.Kubectl.Show(ctx, "create", "namespace", fluxNamespace)
	return err
}

// untilHealthy waits until a probe is answered. A program that ended will not answer.
func (g *gitops) untilHealthy(ctx context.Context, url string) error {
	var got error
	late := func() error { return harness.Missed(url, "200", fmt.Sprint(got)) }
	return harness.PollEvery(ctx, 100*time.Millisecond, withinEngine, late, func(ctx context.Context) (bool, error) {
		got = harness.Probe(ctx, &http.Client{Timeout: time.Second}, url)
		return got == nil, g.stillRun()
	})
}

// openFleet makes the repository fleet with the Kustomization pnp-operator, which is there once and
// depends on nothing. The HelmRelease in it is left out: helm-controller cannot be had.
func (g *gitops) openFleet(ctx context.Context) error {
	r, err := g.newRepository(ctx, "fleet")
	if err != nil {
		return err
	}
	manifest := "apiVersion: v1\nkind: Namespace\nmetadata:\n  name: " + harness.OperatorNamespace + "\n"
	if err := r.write("operator/namespace.yaml", manifest); err != nil {
		return err
	}
	if _, err := r.commit(ctx, "The operator"); err != nil {
		return err
	}
	s := &site{gitops: g, repository: r, name: "fleet"}
	objects, err := s.manifests("flux/factory.yaml")
	if err != nil {
		return err
	}
	return s.give(ctx, s.fluxObjects(objects, func(name string) bool { return name == "fleet" || name == "pnp-operator" }))
}

// leadFlux gives Flux what config/recipes/gitops/flux has for the site, led to its repository.
func (s *site) leadFlux(ctx context.Context) error {
	objects, err := s.manifests("flux/factory.yaml")
	if err != nil {
		return err
	}
	return s.give(ctx, s.fluxObjects(objects, func(name string) bool { return name != "pnp-operator" }))
}

// fluxObjects are the objects of some names, with the site's URL and time-out.
func (s *site) fluxObjects(all []map[string]any, wanted func(name string) bool) []map[string]any {
	var objects []map[string]any
	for _, object := range all {
		o := unstructured.Unstructured{Object: object}
		if !wanted(o.GetName()) {
			continue
		}
		spec := object["spec"].(map[string]any)
		if o.GetKind() == gitRepositoryKind.Kind {
			spec["url"] = s.url
		} else if s.timeout != "" {
			spec["timeout"] = s.timeout
		}
		objects = append(objects, object)
	}
	return objects
}

// arriveByFlux waits until all Kustomizations of the site have applied its first commit.
func (s *site) arriveByFlux(ctx context.Context) error {
	return s.arrive(ctx, func(first commit, folder string) error {
		_, _, err := s.fluxReady(ctx, first, folder)
		return err
	})
}

// request has Flux look at an object, as `flux reconcile` does.
func (s *site) request(ctx context.Context, kind schema.GroupVersionKind, name string) (value string, err error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind)
	o.SetNamespace(fluxNamespace)
	o.SetName(name)
	value = time.Now().Format(time.RFC3339Nano)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, requestedAt, value)
	return value, s.client.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// fluxState is what Flux says of a Kustomization.
type fluxState struct {
	doing                                               string // now: the message of Reconciling
	ready, reason, message, applied, attempted, handled string
	current                                             bool // it speaks of the object as it is
}

func (f fluxState) String() string {
	return fmt.Sprintf("Ready=%s %s: %s", f.ready, f.reason, f.message)
}

// readFlux reads the status of a Kustomization.
func readFlux(o *unstructured.Unstructured) fluxState {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(o.Object, append([]string{"status"}, path...)...)
		return value
	}
	observed, _, _ := unstructured.NestedInt64(o.Object, "status", "observedGeneration")
	f := fluxState{
		applied: text("lastAppliedRevision"), attempted: text("lastAttemptedRevision"), handled: text("lastHandledReconcileAt"),
		current: observed == o.GetGeneration(),
	}
	conditions, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	for _, one := range conditions {
		c, _ := one.(map[string]any)
		switch c["type"] {
		case "Ready":
			f.ready, f.reason, f.message = fmt.Sprint(c["status"]), fmt.Sprint(c["reason"]), fmt.Sprint(c["message"])
		case "Reconciling":
			f.doing = fmt.Sprint(c["message"])
		}
	}
	return f
}

// flux returns what Flux says of one of the site's folders.
func (s *site) flux(ctx context.Context, folder string) (fluxState, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kustomizationKind)
	err := s.client.Get(ctx, client.ObjectKey{Namespace: fluxNamespace, Name: s.name + "-" + folder}, o)
	return readFlux(o), err
}

// fluxReady waits until Flux says that it applied a commit to a folder, and that all in it is
// Ready.
func (s *site) fluxReady(ctx context.Context, c commit, folder string) (fluxState, time.Time, error) {
	return s.fluxSays(ctx, folder, "Ready=True at "+c.sha, func(f fluxState) bool {
		return f.current && f.ready == "True" && strings.HasSuffix(f.applied, c.sha)
	})
}

// fluxFails waits until Flux says that a commit failed, in words that contain these.
func (s *site) fluxFails(ctx context.Context, c commit, folder string, words ...string) (fluxState, time.Time, error) {
	return s.fluxSays(ctx, folder, fmt.Sprintf("Ready=False at %s with %q", c.sha, words), func(f fluxState) bool {
		return f.ready == "False" && strings.HasSuffix(f.attempted, c.sha) && len(harness.Lacking(f.reason+": "+f.message, words...)) == 0
	})
}

func (s *site) fluxSays(ctx context.Context, folder, wanted string, ok func(fluxState) bool) (fluxState, time.Time, error) {
	var last fluxState
	at, err := s.until(ctx, "Kustomization "+s.name+"-"+folder, wanted, func(ctx context.Context) (string, bool, error) {
		f, err := s.flux(ctx, folder)
		last = f
		return fmt.Sprintf("%s (attempted %s)", f, f.attempted), ok(f), err
	})
	return last, at, err
}

// reconcile has Flux go through a folder once more, and waits until it did.
func (s *site) reconcile(ctx context.Context, folder string) (fluxState, error) {
	value, err := s.request(ctx, kustomizationKind, s.name+"-"+folder)
	if err != nil {
		return fluxState{}, err
	}
	f, _, err := s.fluxSays(ctx, folder, "a reconciliation at "+value, func(f fluxState) bool {
		return f.handled == value && f.ready != "Unknown"
	})
	return f, err
}
