package controllers_test

import (
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/uuid"
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/internal/webhooks"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// grant is a role that the operator is given beside those of config/rbac/role.yaml, with the work that it is for.
type grant struct {
	file string // in config
	does string
	own  bool // given in the operator's namespace, not in one with IoTHubs
	work func(namespace string)
}

var grants = []grant{
	{"rbac/leader_election_role.yaml", "leads", true, func(string) { newReplica().lead() }},
	{"tenant/role.yaml", "converges a device of the namespace", false, convergesIn},
	{"tenant/workload-identity/role.yaml", "authenticates as a ServiceAccount of the namespace", false, func(namespace string) {
		s := &identitySite{&site{namespace: namespace, sim: newHub()}, uuid.NewString()}
		s.createAccount()
		s.federate()
		s.createHub()
		s.eventuallyHub(beReady())
	}},
	{"cluster-wide-secrets/role.yaml", "converges a device of any namespace", false, convergesIn},
	{"webhook/certificate_role.yaml", "makes the webhook's certificate, in a process of its own", true, func(string) { makesCertificate() }},
}

// makesCertificate has the certificate made and told, then its Secret made again.
func makesCertificate() {
	Expect(client.IgnoreNotFound(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: certificateKey.Namespace, Name: certificateKey.Name}}))).To(Succeed())
	port, err := freePort()
	Expect(err).NotTo(HaveOccurred())
	configure(port)
	keep()
	told := func() (bundles [][]byte) {
		is := &admissionv1.ValidatingWebhookConfiguration{}
		Expect(admin.Get(ctx, client.ObjectKey{Name: webhooks.Configuration}, is)).To(Succeed())
		for _, one := range is.Webhooks {
			bundles = append(bundles, one.ClientConfig.CABundle)
		}
		return bundles
	}
	Eventually(told).Should(HaveEach(Not(BeEmpty())))
	secret := &corev1.Secret{}
	Expect(admin.Get(ctx, certificateKey, secret)).To(Succeed())
	first := secret.Data[corev1.TLSCertKey]
	secret.Data[corev1.TLSCertKey] = nil
	Expect(admin.Update(ctx, secret)).To(Succeed())
	Eventually(func(g Gomega) {
		g.Expect(admin.Get(ctx, certificateKey, secret)).To(Succeed())
		g.Expect(secret.Data[corev1.TLSCertKey]).NotTo(Or(BeEmpty(), Equal(first)))
	}).Should(Succeed())
}

func convergesIn(namespace string) {
	s := &site{namespace: namespace, sim: newHub()}
	s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
	s.createSecret(s.sim.ConnectionString("service"))
	Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
	s.create("d", withProperties(`{"targetTemperature": 20}`))
	s.eventually("d", beReady())
}

// newReplica is one of several replicas.
func newReplica() *program {
	GinkgoHelper()
	p := newProgram()
	p.args = []string{"--leader-elect", "--leader-election-namespace=" + operatorNamespace}
	return p
}

// lead starts it and waits until it acts, which it does once it holds the lease.
func (p *program) lead() {
	p.kill()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: "pnp-operator.iot.pnp-operator.io"}}
	Expect(client.IgnoreNotFound(admin.Delete(ctx, lease))).To(Succeed()) // of one that was killed
	p.start()
	newSite()
}

// give applies documents until the spec ends, those without a namespace that need one in that namespace, and returns their rules once they hold.
func give(documents, namespace string) []rule {
	GinkgoHelper()
	for document := range strings.SplitSeq(documents, "\n---\n") {
		o, err := scheme.New(rbacv1.SchemeGroupVersion.WithKind(kindOf(document)))
		Expect(err).NotTo(HaveOccurred())
		object := o.(client.Object)
		Expect(yaml.UnmarshalStrict([]byte(document), object)).To(Succeed())
		if object.GetNamespace() == "" && !strings.HasPrefix(kindOf(document), "Cluster") {
			object.SetNamespace(namespace)
		}
		Expect(admin.Create(ctx, object)).To(Succeed())
		DeferCleanup(func() { Expect(admin.Delete(ctx, object)).To(Succeed()) })
	}
	rules := rulesIn(documents)
	for _, r := range rules {
		if r.role.GetNamespace() == "" {
			if _, ok := r.role.(*rbacv1.Role); ok {
				r.role.SetNamespace(namespace)
			}
		}
		Eventually(r.allows).Should(BeTrue(), r.text)
	}
	return rules
}

func kindOf(document string) string {
	var is metav1.TypeMeta
	if err := yaml.Unmarshal([]byte(document), &is); err != nil {
		panic(err)
	}
	return is.Kind
}

// give gives it in the namespace that it is meant for.
func (g grant) give() (rules []rule, namespace string) {
	GinkgoHelper()
	namespace = operatorNamespace
	if !g.own {
		namespace = newForeignNamespace()
	}
	raw, err := os.ReadFile(filepath.Join("..", "config", g.file))
	Expect(err).NotTo(HaveOccurred())
	return give(string(raw), namespace), namespace
}

var _ = Describe("The rights of the operator beside its role", func() {
	for _, g := range grants {
		It("are enough where it "+g.does, func() {
			_, namespace := g.give()
			Expect(failureOf(g.does, func() { g.work(namespace) })).To(BeEmpty())
		})

		for i, r := range rulesOf(g.file) {
			if !soaking {
				continue
			}
			It("cannot do without "+r.text+" where it "+g.does, func() {
				rules, namespace := g.give()
				rules[i].drop()
				failed := failureOf(g.does, func() { g.work(namespace) })
				Expect(failed).NotTo(BeEmpty(), "everything works without this rule: remove it")
				AddReportEntry(r.text, failed, ReportEntryVisibilityFailureOrVerbose)
			})
		}
	}

	if soaking {
		It("cannot do without the chart's rule on Events where namespaces are named and it tells of its lease", func() {
			role := chartedElection()
			for _, r := range allRules() {
				if slices.Contains(r.is.Resources, "events") { // with watchNamespaces it is for those
					DeferCleanup(r.drop())
				}
			}
			rules := give(role, operatorNamespace)
			p := newReplica()
			p.lead()
			Eventually(leaseEvents).ShouldNot(BeZero())

			about := slices.IndexFunc(rules, func(r rule) bool { return slices.Contains(r.is.Resources, "events") })
			rules[about].drop()
			p.kill()
			Expect(admin.DeleteAllOf(ctx, &corev1.Event{}, client.InNamespace(operatorNamespace))).To(Succeed())
			p.lead()
			Consistently(leaseEvents, "5s").Should(BeZero())
		})
	}
})

// chartedElection is the Role for the lease, with its binding, that the chart makes for an operator of some namespaces.
func chartedElection() string {
	GinkgoHelper()
	out, err := exec.Command(filepath.Join("..", "bin", "tools", "helm"), "template", "pnp", filepath.Join("..", "charts", "pnp-operator"),
		"--namespace="+operatorNamespace, "--set=watchNamespaces={factory}", "--show-only=templates/rbac.yaml").CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
	var found []string
	for document := range strings.SplitSeq(string(out), "\n---\n") {
		if strings.Contains(document, "name: pnp-operator-leader-election") {
			found = append(found, document)
		}
	}
	return strings.Join(found, "\n---\n")
}

// leaseEvents counts the Events about the lease.
func leaseEvents() int {
	GinkgoHelper()
	var list corev1.EventList
	Expect(admin.List(ctx, &list, client.InNamespace(operatorNamespace))).To(Succeed())
	n := 0
	for _, e := range list.Items {
		if e.InvolvedObject.Kind == "Lease" {
			n++
		}
	}
	return n
}

// A role that is bound to the operator without work of its own would never be dropped.
func TestEveryRoleOfTheOperatorHasWork(t *testing.T) {
	known := map[string]bool{}
	for _, r := range allRules() {
		known[r.role.GetName()] = true
	}
	for _, g := range grants {
		for _, r := range rulesOf(g.file) {
			known[r.role.GetName()] = true
		}
	}
	bindings := 0
	for _, document := range configured(t) {
		if !strings.HasSuffix(kindOf(document), "RoleBinding") {
			continue
		}
		binding := &rbacv1.RoleBinding{} // a ClusterRoleBinding has the same fields
		if err := yaml.Unmarshal([]byte(document), binding); err != nil {
			t.Fatal(err)
		}
		bindings++
		if !known[binding.RoleRef.Name] {
			t.Errorf("%s: no rule of it is dropped", binding.RoleRef.Name)
		}
	}
	if want := len(grants) + 3; bindings != want { // the role itself and the certificate's have two each
		t.Errorf("%d bindings in config, want %d", bindings, want)
	}
}

// configured are the documents of all that config installs; recipes bring programs of their own.
func configured(t *testing.T) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(filepath.Join("..", "config"), func(path string, e fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case e.IsDir() && e.Name() == "recipes":
			return fs.SkipDir
		case filepath.Ext(path) != ".yaml":
			return nil
		}
		raw, err := os.ReadFile(path)
		all = append(all, strings.Split(string(raw), "\n---\n")...)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
