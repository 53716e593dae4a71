package controllers_test

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// work is what the operator has its rights for: each rule is needed by one of these.
var work = []struct {
	name string
	run  func()
}{
	{"converges a device, says so, and clears it", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", clearing, withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Eventually(func() int { return len(s.eventsOf("hub", v1alpha1.ReasonAuthenticated)) }).Should(Equal(1))
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyGone("d")
	}},
	{"follows events, and remembers where it is", func() {
		s := newEventSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		checkpoint := client.ObjectKey{Namespace: operatorNamespace, Name: "checkpoint-" + string(s.hub().UID)}
		Eventually(func() error { return admin.Get(ctx, checkpoint, &corev1.ConfigMap{}) }).Should(Succeed())
	}},
	{"runs a command, and removes it in time", func() {
		s := plant()
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) {
			c.TTLSecondsAfterFinished, c.NotAfter = new(int32), metav1.NewTime(time.Now().Add(5*time.Second))
		}))
		Eventually(func() error {
			return admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "c"}, &v1alpha1.DeviceCommand{})
		}).ShouldNot(Succeed())
		Expect(s.ran(report)).To(Equal(1))
	}},
	{"checks against a model", func() {
		s := newSite()
		model := s.sampleModel("thermostat")
		Expect(admin.Create(ctx, model)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(model), model)).To(Succeed())
			g.Expect(model).To(beReady())
		}).Should(Succeed())
	}},
	{"tells Prometheus how it is doing", func() {
		address, token := serveMetrics(), scraper()
		Eventually(func() int { return scraped(address, token) }).Should(Equal(http.StatusOK))
	}},
}

// firstFailure does all the work and names what fails.
func firstFailure() string {
	for _, w := range work {
		if failed := failureOf(w.name, w.run); failed != "" {
			return failed
		}
	}
	return ""
}

// failureOf does some work, and names it if it fails.
func failureOf(name string, work func()) string {
	SetDefaultEventuallyTimeout(10 * time.Second)
	defer SetDefaultEventuallyTimeout(20 * time.Second)
	if err := InterceptGomegaFailure(work); err != nil {
		return name + ": " + strings.Join(strings.Fields(err.Error()), " ")
	}
	return ""
}

// soaking is whether the long run was asked for: make soak-rbac.
var soaking = os.Getenv("PNP_RBAC_DROP") != ""

// rule is one of those that an installation grants.
type rule struct {
	role  client.Object // ClusterRole or Role
	index int
	text  string
	is    rbacv1.PolicyRule
	user  string // who has it
}

// allRules are those of the roles of config/rbac/role.yaml. Others have work of their own, see grants.
func allRules() []rule { return rulesOf("rbac/role.yaml") }

// rulesOf reads the roles of a file in config when specs are built, where nothing can be expected yet.
func rulesOf(file string) []rule {
	raw, err := os.ReadFile(filepath.Join("..", "config", file))
	if err != nil {
		panic(err)
	}
	return rulesIn(string(raw))
}

// rulesIn reads the rules of all roles among documents.
func rulesIn(documents string) []rule {
	var all []rule
	for document := range strings.SplitSeq(documents, "\n---\n") {
		role := &rbacv1.Role{}
		if err := yaml.Unmarshal([]byte(document), role); err != nil {
			panic(err)
		}
		var object client.Object = &rbacv1.Role{ObjectMeta: role.ObjectMeta}
		if role.Kind == "ClusterRole" {
			object = &rbacv1.ClusterRole{ObjectMeta: role.ObjectMeta}
		}
		user := operatorUser
		if role.Name == "pnp-operator-certificate" {
			user = keeperUser
		}
		for i, r := range role.Rules {
			text := fmt.Sprintf("%s %s %s %s", role.Kind, strings.Join(r.Verbs, ","), strings.Join(r.Resources, ","), strings.Join(r.ResourceNames, ","))
			all = append(all, rule{object, i, strings.TrimSpace(text), r, user})
		}
	}
	return all
}

// edit changes the rules of the role on the API server.
func (r rule) edit(change func([]rbacv1.PolicyRule) []rbacv1.PolicyRule) {
	GinkgoHelper()
	o := r.role.DeepCopyObject().(client.Object)
	Expect(admin.Get(ctx, client.ObjectKeyFromObject(o), o)).To(Succeed())
	switch role := o.(type) {
	case *rbacv1.ClusterRole:
		role.Rules = change(role.Rules)
	case *rbacv1.Role:
		role.Rules = change(role.Rules)
	}
	Expect(admin.Update(ctx, o)).To(Succeed())
}

// drop takes the rule away until restore is called, both of which the API server knows on return.
func (r rule) drop() (restore func()) {
	GinkgoHelper()
	r.edit(func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule { return slices.Delete(rules, r.index, r.index+1) })
	Eventually(r.allows).Should(BeFalse(), r.text)
	return func() {
		GinkgoHelper()
		r.edit(func(rules []rbacv1.PolicyRule) []rbacv1.PolicyRule { return slices.Insert(rules, r.index, r.is) })
		Eventually(r.allows).Should(BeTrue(), r.text)
	}
}

// allows asks for one of the things that the rule allows.
func (r rule) allows() bool {
	GinkgoHelper()
	what := r.is
	resource, sub, _ := strings.Cut(what.Resources[0], "/")
	ask := authorizationv1.ResourceAttributes{
		Namespace: r.role.GetNamespace(), Verb: what.Verbs[0], Group: what.APIGroups[0], Resource: resource, Subresource: sub,
	}
	if len(what.ResourceNames) > 0 {
		ask.Name = what.ResourceNames[0]
	}
	return userMay(r.user, ask)
}

// Some of these wait for what does not come: a few rules always, all of them with PNP_RBAC_DROP=1 (make soak-rbac).
var _ = Describe("The rights of the operator", func() {
	const always = "events|configmaps"

	It("are enough for all its work", func() {
		Expect(firstFailure()).To(BeEmpty())
	})

	for _, r := range allRules() {
		if !soaking && !slices.ContainsFunc(strings.Split(always, "|"), func(s string) bool { return strings.HasSuffix(r.text, s) }) {
			continue
		}
		It("cannot do without "+r.text, func() {
			manager.stop()
			restore := r.drop()
			reduced := startOperator()
			failed := firstFailure()
			reduced.cancel()
			restore()
			Eventually(reduced.done, 2*time.Minute).Should(Receive(), "a manager ends only once its caches have been filled")
			manager = startOperator()
			Expect(failed).NotTo(BeEmpty(), "everything works without this rule: remove it")
			GinkgoWriter.Println("without", r.text+":", failed)
			AddReportEntry(r.text, failed, ReportEntryVisibilityFailureOrVerbose)
		})
	}
})
