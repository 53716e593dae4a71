package engines

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	argoNamespace = "argocd"
	argoModule    = "github.com/argoproj/argo-cd/v3"
	refresh       = "argocd.argoproj.io/refresh"
	serverSide    = "--server-side"
)

var applicationKind = schema.GroupVersionKind{Group: "argoproj.io", Version: "v1alpha1", Kind: "Application"}

// argoProject lets Applications of the tests go where they want.
const argoProject = `apiVersion: argoproj.io/v1alpha1
kind: AppProject
metadata: {name: default, namespace: argocd}
spec:
  sourceRepos: ['*']
  destinations: [{namespace: '*', server: '*'}]
  clusterResourceWhitelist: [{group: '*', kind: '*'}]
`

// argoSecrets are what Argo CD's own programs would make of themselves in a cluster.
const argoSecrets = `apiVersion: v1
kind: Secret
metadata: {name: argocd-redis, namespace: argocd}
stringData: {auth: ""}
---
apiVersion: v1
kind: Secret
metadata: {name: argocd-secret, namespace: argocd, labels: {app.kubernetes.io/name: argocd-secret, app.kubernetes.io/part-of: argocd}}
stringData: {server.secretkey: only-for-this-test}
`

// startArgoCD installs what Argo CD needs, adds the health script as docs/argocd.md says, and runs
// its repo-server and application-controller beside a Redis.
func (g *gitops) startArgoCD(ctx context.Context) error {
	dir, err := moduleFolder(ctx, g.Clone, "argocd", argoModule)
	if err != nil {
		return err
	}
	if err := g.installArgoCD(ctx, dir); err != nil {
		return err
	}
	s := &site{gitops: g, name: argoNamespace}
	if err := s.docs(ctx, "argocd.md", "Health", 1); err != nil {
		return err
	}
	at, err := loopback(4)
	if err != nil {
		return err
	}
	if err := g.launchArgoCD(at); err != nil {
		return err
	}
	if err := g.untilHealthy(ctx, "http://"+at[3]+"/healthz"); err != nil {
		return err
	}
	g.Out.Passf("Argo CD runs: repo-server and application-controller, with the health script of docs/argocd.md")
	return nil
}

// installArgoCD takes definitions, ConfigMaps and Secrets out of the module. The ConfigMaps are
// applied as Argo CD's getting-started does, by kubectl apply.
func (g *gitops) installArgoCD(ctx context.Context, dir string) error {
	for _, name := range []string{"application", "applicationset", "appproject"} {
		if _, err := g.Kubectl.Show(ctx, "apply", serverSide, "-f", filepath.Join(dir, "manifests/crds", name+"-crd.yaml")); err != nil {
			return err
		}
	}
	if err := g.Kubectl.Established(ctx, "crd/applications.argoproj.io", "crd/appprojects.argoproj.io"); err != nil {
		return err
	}
	if _, err := g.Kubectl.Show(ctx, "create", "namespace", argoNamespace); err != nil {
		return err
	}
	install, err := os.ReadFile(filepath.Join(dir, "manifests/install.yaml"))
	if err != nil {
		return err
	}
	if _, err := g.Kubectl.ShowInput(ctx, ofKind(string(install), "ConfigMap"), "apply", "-n", argoNamespace, "-f", "-"); err != nil {
		return err
	}
	if _, err = g.Kubectl.ShowInput(ctx, argoSecrets, "apply", "-f", "-"); err != nil {
		return err
	}
	_, err = g.Kubectl.ShowInput(ctx, argoProject, "apply", serverSide, "-f", "-")
	return err
}

// ofKind keeps the documents of a kind.
func ofKind(manifests, kind string) string {
	var kept []string
	for document := range strings.SplitSeq(manifests, "\n---\n") {
		if regexp.MustCompile(`(?m)^kind: ` + kind + `$`).MatchString(document) {
			kept = append(kept, document)
		}
	}
	return strings.Join(kept, "\n---\n")
}

// launchArgoCD starts Redis, and the one program of Argo CD by two of its names. at are the
// addresses of Redis, repo-server, its metrics, and those of the application-controller.
func (g *gitops) launchArgoCD(at []string) error {
	// The repo-server runs kustomize.
	env := []string{"ARGOCD_FAKE_IN_CLUSTER=true", "ARGOCD_GPG_ENABLED=false", finding(g.Path("bin/tools"))}
	for name, folder := range map[string]string{
		"ARGOCD_TLS_DATA_PATH": "tls", "ARGOCD_SSH_DATA_PATH": "ssh", "ARGOCD_GNUPGHOME": "gpg", "ARGOCD_PLUGINSOCKFILEPATH": "plugin",
		"TMPDIR": "tmp", "HOME": "home",
	} {
		path := g.File("argocd/" + folder)
		if err := os.MkdirAll(path, 0o700); err != nil {
			return err
		}
		env = append(env, name+"="+path)
	}
	port := func(address string) string { return address[strings.LastIndex(address, ":")+1:] }
	links := map[string]string{}
	for _, name := range []string{"argocd-repo-server", "argocd-application-controller"} {
		links[name] = g.File("argocd/" + name)
		if err := os.Symlink(g.Path(enginesFolder+"/argocd"), links[name]); err != nil {
			return err
		}
	}
	return errors.Join(
		g.launchEngine("redis-server", "redis-server", nil, "--bind", "127.0.0.1", "--port", port(at[0]), "--save", "", "--appendonly", "no", "--dir", g.Dir),
		g.launchEngine("argocd-repo-server", links["argocd-repo-server"], env, "--disable-tls", "--address", "127.0.0.1", "--port", port(at[1]),
			"--metrics-address", "127.0.0.1", "--metrics-port", port(at[2]), "--redis", at[0]),
		g.launchEngine("argocd-application-controller", links["argocd-application-controller"], env, "--namespace", argoNamespace,
			"--repo-server", at[1], "--repo-server-plaintext", "--redis", at[0], "--metrics-port", port(at[3]), "--persist-resource-health"),
	)
}

// leadArgoCD gives Argo CD what config/recipes/gitops/argocd has for the site, led to its
// repository.
func (s *site) leadArgoCD(ctx context.Context) error {
	all, err := s.manifests("argocd/factory.yaml")
	if err != nil {
		return err
	}
	var objects []map[string]any
	for _, object := range all {
		o := unstructured.Unstructured{Object: object}
		if o.GetName() == "pnp-operator" {
			continue
		}
		if err := unstructured.SetNestedField(object, s.url, "spec", "source", "repoURL"); err != nil {
			return err
		}
		objects = append(objects, object)
	}
	return s.give(ctx, objects)
}

// arriveByArgoCD waits until all Applications of the site have synced its first commit.
func (s *site) arriveByArgoCD(ctx context.Context) error {
	return s.arrive(ctx, func(first commit, folder string) error {
		_, _, err := s.argoHealthy(ctx, first, folder)
		return err
	})
}

// refreshArgoCD has Argo CD look at Git and compare, as a webhook of the Git server or the button
// does.
func (s *site) refreshArgoCD(ctx context.Context, folder, how string) error {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(applicationKind)
	o.SetNamespace(argoNamespace)
	o.SetName(s.name + "-" + folder)
	patch := fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, refresh, how)
	return s.client.Patch(ctx, o, client.RawPatch("application/merge-patch+json", []byte(patch)))
}

// argoState is what Argo CD says of an Application.
type argoState struct {
	sync, revision, health, phase, message string
	conditions                             []string
	// resources are the health of objects by KIND/NAME.
	resources map[string]string
	// refreshing is whether a request is not answered yet.
	refreshing bool
}

func (a argoState) String() string {
	text := fmt.Sprintf("%s, %s; operation %s: %s", a.sync, a.health, a.phase, a.message)
	return strings.Join(append([]string{text}, a.conditions...), "\n")
}

// readArgoCD reads the status of an Application.
func readArgoCD(o *unstructured.Unstructured) argoState {
	text := func(path ...string) string {
		value, _, _ := unstructured.NestedString(o.Object, append([]string{"status"}, path...)...)
		return value
	}
	_, refreshing := o.GetAnnotations()[refresh]
	a := argoState{
		sync: text("sync", "status"), revision: text("sync", "revision"), health: text("health", "status"),
		phase: text("operationState", "phase"), message: text("operationState", "message"), resources: map[string]string{}, refreshing: refreshing,
	}
	each := func(name string, do func(map[string]any)) {
		all, _, _ := unstructured.NestedSlice(o.Object, "status", name)
		for _, one := range all {
			if m, ok := one.(map[string]any); ok {
				do(m)
			}
		}
	}
	each("conditions", func(c map[string]any) {
		a.conditions = append(a.conditions, fmt.Sprintf("%v: %v", c["type"], c["message"]))
	})
	each("resources", func(r map[string]any) {
		health, _, _ := unstructured.NestedString(r, "health", "status")
		a.resources[fmt.Sprintf("%v/%v", r["kind"], r["name"])] = health
	})
	return a
}

// argo returns what Argo CD says of one of the site's folders.
func (s *site) argo(ctx context.Context, folder string) (argoState, error) {
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(applicationKind)
	err := s.client.Get(ctx, client.ObjectKey{Namespace: argoNamespace, Name: s.name + "-" + folder}, o)
	return readArgoCD(o), err
}

func (s *site) argoSays(ctx context.Context, folder, wanted string, ok func(argoState) bool) (argoState, time.Time, error) {
	var last argoState
	at, err := s.untilWithin(ctx, 2*withinEngine, "Application "+s.name+"-"+folder, wanted, func(ctx context.Context) (string, bool, error) {
		a, err := s.argo(ctx, folder)
		last = a
		return fmt.Sprintf("%s (at %s)", a, a.revision), ok(a), err
	})
	return last, at, err
}

// argoHealthy waits until an Application is Synced at a commit, and Healthy.
func (s *site) argoHealthy(ctx context.Context, c commit, folder string) (argoState, time.Time, error) {
	return s.argoSays(ctx, folder, "Synced and Healthy at "+c.sha, func(a argoState) bool {
		return a.sync == "Synced" && a.revision == c.sha && a.health == "Healthy"
	})
}

// argoPass has Argo CD compare a folder once more, and waits until it did.
func (s *site) argoPass(ctx context.Context, folder, how string) (argoState, error) {
	if err := s.refreshArgoCD(ctx, folder, how); err != nil {
		return argoState{}, err
	}
	a, _, err := s.argoSays(ctx, folder, "compared once more", func(a argoState) bool { return !a.refreshing })
	return a, err
}

// alive checks that the programs of Argo CD did not panic on the way.
func (g *gitops) alive(name string) error {
	for _, e := range g.engines {
		if e.name != name {
			continue
		}
		data, err := os.ReadFile(e.log)
		if err != nil {
			return err
		}
		if at := bytes.Index(data, []byte("panic")); at >= 0 {
			return harness.Missed("the log of "+name, "no panic", string(data[at:min(len(data), at+400)]))
		}
	}
	return nil
}

// sorted are the keys and values of a map, for a failure.
func sorted(m map[string]string) string {
	var all []string
	for key, value := range m {
		all = append(all, key+"="+value)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}
