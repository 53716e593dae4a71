package controllers_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// commandsOf are the blocks of commands under a heading of a page.
func commandsOf(page, heading string) []string {
	GinkgoHelper()
	raw, err := os.ReadFile(filepath.Join("..", "docs", page))
	Expect(err).NotTo(HaveOccurred())
	_, section, found := strings.Cut(string(raw), "\n## "+heading+"\n")
	Expect(found).To(BeTrue(), "%s has no %q", page, heading)
	section, _, _ = strings.Cut(section, "\n## ")
	var blocks []string
	for _, block := range strings.Split(section, "```console\n")[1:] {
		block, _, _ = strings.Cut(block, "```")
		blocks = append(blocks, block)
	}
	return blocks
}

// typed types a block of commands into a shell, in the root of the project.
func typed(block string) string {
	GinkgoHelper()
	shell := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", block)
	shell.Dir = ".."
	shell.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+absolute(assets())+":"+os.Getenv("PATH"))
	out, err := shell.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	return string(out)
}

func absolute(path string) string {
	GinkgoHelper()
	path, err := filepath.Abs(path)
	Expect(err).NotTo(HaveOccurred())
	return path
}

// argocdCM is what Argo CD's install.yaml and its getting started make of it.
const argocdCM = `apiVersion: v1
kind: ConfigMap
metadata:
  name: argocd-cm
  namespace: argocd
  labels: {app.kubernetes.io/name: argocd-cm, app.kubernetes.io/part-of: argocd}
data:
  url: https://argocd.example.com
  oidc.config: "name: SSO"
`

var _ = Describe("The command of docs/argocd.md for the health script", Ordered, func() {
	BeforeAll(func() {
		Expect(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "argocd"}})).To(Succeed())
	})

	DescribeTable("leaves all else of argocd-cm as it was", func(install ...string) {
		DeferCleanup(func() {
			Expect(admin.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace("argocd"), client.MatchingLabels{"app.kubernetes.io/part-of": "argocd"})).To(Succeed())
		})
		script, err := os.ReadFile(filepath.Join("..", "integrations", "argocd", "health.lua"))
		Expect(err).NotTo(HaveOccurred())
		installed := func() {
			GinkgoHelper()
			out, err := kubectl(argocdCM, append(install, "-f", "-")...)
			Expect(err).NotTo(HaveOccurred(), out)
		}
		installed()
		typed(`kubectl patch configmap argocd-cm -n argocd --type merge -p '{"data":{"timeout.reconciliation":"60s"}}'`) // as people do
		blocks := commandsOf("argocd.md", "Health")
		Expect(blocks).To(HaveLen(1))
		haveAll := func() {
			GinkgoHelper()
			cm := &corev1.ConfigMap{}
			Expect(admin.Get(ctx, client.ObjectKey{Namespace: "argocd", Name: "argocd-cm"}, cm)).To(Succeed())
			Expect(cm.Labels).To(Equal(map[string]string{"app.kubernetes.io/name": "argocd-cm", "app.kubernetes.io/part-of": "argocd"}))
			want := map[string]string{"url": "https://argocd.example.com", "oidc.config": "name: SSO", "timeout.reconciliation": "60s"}
			for _, kind := range []string{"DeviceCommand", "DeviceModel", "IoTHub", "PnPDevice"} {
				want["resource.customizations.health.iot.pnp-operator.io_"+kind] = string(script)
			}
			Expect(cm.Data).To(Equal(want))
		}
		for range 2 {
			typed(blocks[0])
			haveAll()
		}
		if install[0] == "apply" { // an upgrade of Argo CD
			installed()
			haveAll()
		}
	},
		Entry("made by kubectl apply", "apply"),
		Entry("made by kubectl apply --server-side", "apply", "--server-side"),
		Entry("made by kubectl create", "create"),
	)
})

// manifestOf is what of a hub is in Git.
func (s *site) manifestOf(hub *v1alpha1.IoTHub) string {
	GinkgoHelper()
	raw, err := yaml.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "IoTHub", "metadata": map[string]any{"name": hub.Name, "namespace": s.namespace}, "spec": hub.Spec,
	})
	Expect(err).NotTo(HaveOccurred())
	return string(raw)
}

// reconcile applies Git's manifest of the hub as an engine does.
type reconcile func(s *site, manifest string)

// byFlux takes over the fields of all managers whose names begin with kubectl, and applies then:
// what Git does not name goes.
func byFlux(s *site, manifest string) {
	GinkgoHelper()
	const flux = "kustomize-controller"
	if hub := (&v1alpha1.IoTHub{}); admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, hub) == nil {
		kubectls := sets.New[string]()
		for _, entry := range hub.ManagedFields {
			if strings.HasPrefix(entry.Manager, "kubectl") {
				kubectls.Insert(entry.Manager)
			}
		}
		before := hub.DeepCopy()
		Expect(csaupgrade.UpgradeManagedFields(hub, kubectls, flux)).To(Succeed())
		Expect(admin.Patch(ctx, hub, client.MergeFrom(before))).To(Succeed())
	}
	serverSide(flux)(s, manifest)
}

func serverSide(name string) reconcile {
	return func(_ *site, manifest string) {
		GinkgoHelper()
		out, err := kubectl(manifest, "apply", "--server-side", "--force-conflicts", "--field-manager", name, "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
	}
}

// byArgoCD is its default, a three-way merge as kubectl does.
func byArgoCD(_ *site, manifest string) {
	GinkgoHelper()
	out, err := kubectl(manifest, "apply", "--field-manager=argocd-controller", "-f", "-")
	Expect(err).NotTo(HaveOccurred(), out)
}

var _ = Describe("The commands of docs/operations.md to stop everything", func() {
	newGitSite := func(engine reconcile) (s *site, sync func()) {
		GinkgoHelper()
		s = &site{namespace: newNamespace(), sim: newHub()}
		s.createSecret(s.sim.ConnectionString("service"))
		manifest := s.manifestOf(s.iotHub())
		Expect(manifest).NotTo(ContainSubstring("suspend"))
		sync = func() { engine(s, manifest) }
		sync()
		s.eventuallyHub(beReady())
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		return s, sync
	}

	DescribeTable("hold through an engine's reconciliation and a restart, and let go again", func(engine reconcile) {
		s, sync := newGitSite(engine)
		commands := commandsOf("operations.md", "Stop everything")
		Expect(commands).To(HaveLen(2))
		Expect(typed(commands[0])).To(ContainSubstring("iothub.iot.pnp-operator.io/hub patched"))
		sync()
		restartOperator()
		writes := s.writes("d")
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", beStalled(v1alpha1.ReasonHubSuspended))
		sync()
		Expect(s.hub().Spec.Suspend).To(BeTrue())
		Expect(s.writes("d")).To(Equal(writes))

		typed(commands[1])
		s.eventually("d", beReady())
		Expect(s.desired("d")).To(HaveKeyWithValue("targetTemperature", 21.0))
		for _, entry := range s.hub().ManagedFields {
			Expect(entry.FieldsV1.GetRawString()).NotTo(ContainSubstring("f:suspend"), entry.Manager)
		}
	},
		Entry("Flux", reconcile(byFlux)),
		Entry("Argo CD with ServerSideApply", serverSide("argocd-controller")),
		Entry("Argo CD", reconcile(byArgoCD)),
	)

	It("are needed: Flux undoes what kubectl patches in its own name", func() {
		s, sync := newGitSite(byFlux)
		out, err := kubectl("", "patch", "hub", "hub", "-n", s.namespace, "--type=merge", "-p", `{"spec":{"suspend":true}}`)
		Expect(err).NotTo(HaveOccurred(), out)
		sync()
		Expect(s.hub().Spec.Suspend).To(BeFalse())
	})
})
