package controllers_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// newForeignSite has all that a site has, but for the operator's right to read its Secret.
func newForeignSite() *site {
	GinkgoHelper()
	s := &site{namespace: newForeignNamespace(), sim: newHub()}
	s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
	s.createSecret(s.sim.ConnectionString("service"))
	Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
	s.create("d", withProperties(`{"targetTemperature": 20}`))
	return s
}

func (s *site) hub() *v1alpha1.IoTHub {
	GinkgoHelper()
	h := &v1alpha1.IoTHub{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
	return h
}

// commandIn is what a message says to run.
func commandIn(message string) string {
	GinkgoHelper()
	_, command, found := strings.Cut(message, "Grant it: ")
	Expect(found).To(BeTrue(), message)
	return command
}

// runAsTenant runs a line in a shell, with the real kubectl, as the administrator of one namespace.
func (s *site) runAsTenant(line string) {
	GinkgoHelper()
	user := "tenant-" + s.namespace
	for _, role := range []string{"view", "edit", "admin"} { // which the role admin is made of
		Expect(client.IgnoreAlreadyExists(admin.Create(ctx, &rbacv1.RoleBinding{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: user + "-" + role},
			RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "system:aggregate-to-" + role},
			Subjects:   []rbacv1.Subject{{Kind: "User", Name: user}},
		}))).To(Succeed())
	}
	path, err := filepath.Abs(assets())
	Expect(err).NotTo(HaveOccurred())
	line = strings.ReplaceAll(line, "kubectl ", "kubectl --as="+user+" ")
	cmd := exec.CommandContext(ctx, "sh", "-c", line)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+path+":"+os.Getenv("PATH"))
	out, err := cmd.CombinedOutput()
	Expect(err).NotTo(HaveOccurred(), string(out))
}

// withdraw takes every right in a namespace from the operator.
func (s *site) withdraw() {
	GinkgoHelper()
	Expect(admin.DeleteAllOf(ctx, &rbacv1.RoleBinding{}, client.InNamespace(s.namespace))).To(Succeed())
	Eventually(func() bool { return mayRead(s.namespace) }).Should(BeFalse())
}

// rotate has the Secret hold the connection string of another policy.
func (s *site) rotate(policy string) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, secret)).To(Succeed())
	secret.Data["connectionString"] = []byte(s.sim.ConnectionString(policy))
	Expect(admin.Update(ctx, secret)).To(Succeed())
}

var _ = Describe("The right to read a Secret", func() {
	It("is granted by the command in the message, and to nothing but that Secret", func() {
		s := newForeignSite()
		s.eventuallyHub(And(beWaiting(v1alpha1.ReasonAccessDenied), haveMessage(`Secret "hub"`, "--serviceaccount=pnp-system:pnp-operator")))
		Expect(kstatusOf(s.hub())).To(Equal("InProgress"))
		s.eventually("d", beWaiting(v1alpha1.ReasonHubNotReady))
		Expect(s.sim.Calls().Total()).To(BeZero())
		generation := s.hub().Generation

		command := commandIn(conditionOf(s.hub(), v1alpha1.ConditionReady).Message)
		s.runAsTenant(command)
		s.eventually("d", beReady())
		s.eventuallyHub(beReady())
		Expect(s.hub().Generation).To(Equal(generation))

		s.runAsTenant(command) // again does no harm
		Expect(mayRead(s.namespace)).To(BeFalse(), "all Secrets of the namespace")
	})

	It("is asked for ever more rarely, without a watch, and without a word more in status", func() {
		s := newForeignSite()
		s.eventuallyHub(And(beWaiting(v1alpha1.ReasonAccessDenied), HaveField("Status.Devices.Total", BeEquivalentTo(1))))
		version := s.hub().ResourceVersion
		before := len(requests.about(s.namespace))
		Consistently(func() int { return len(requests.about(s.namespace)) - before }, "10s").Should(BeNumerically("<=", 6))
		Expect(requests.about(s.namespace, "watch=")).To(BeEmpty())
		Expect(s.hub().ResourceVersion).To(Equal(version))
		Eventually(func() int { return len(s.eventsOf("hub", v1alpha1.ReasonAccessDenied)) }).Should(Equal(1))
	})

	It("lets a session go on when it is withdrawn, and says what that means", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.withdraw()
		s.rotate("iothubowner") // the watch that is still open tells of it
		s.eventuallyHub(And(beReady(), haveMessage("Goes on", "kubectl create role")))
		Expect(ready(s.hub())).To(Equal("True/" + v1alpha1.ReasonAccessDenied))
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))
		Expect(s.desired("d")).To(HaveKeyWithValue("targetTemperature", 21.0))

		restartOperator()
		s.eventuallyHub(beWaiting(v1alpha1.ReasonAccessDenied))
		s.runAsTenant(commandIn(conditionOf(s.hub(), v1alpha1.ConditionReady).Message))
		s.eventuallyHub(HaveField("Status.Conditions", ContainElement(HaveField("Reason", v1alpha1.ReasonAuthenticated))))
	})

	It("does not let a session go on after the spec was changed", func() {
		s := newSite()
		s.withdraw()
		h := s.hub()
		h.Spec.Authentication.ConnectionStringSecretRef.Name = "another"
		Expect(admin.Update(ctx, h)).To(Succeed())
		s.eventuallyHub(And(beWaiting(v1alpha1.ReasonAccessDenied), haveMessage(`Secret "another"`)))
	})
})

var _ = Describe("Rights on Secrets and tokens", func() {
	It("are none in the cluster as a whole", func() {
		namespace := newForeignNamespace()
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
			for _, where := range []string{"", namespace} {
				Expect(operatorMay(authorizationv1.ResourceAttributes{Namespace: where, Verb: verb, Resource: "secrets"})).To(BeFalse(), verb+" "+where)
			}
		}
		Expect(mayMakeToken("", "")).To(BeFalse())
		Expect(mayMakeToken(operatorNamespace, "pnp-operator")).To(BeFalse())
	})

	It("are none in its own namespace, nor does any other lead to those of whoever makes the webhook's certificate", func() {
		for _, verb := range []string{"get", "list", "watch", "create", "update", "patch", "delete"} {
			for _, what := range []authorizationv1.ResourceAttributes{
				{Namespace: operatorNamespace, Resource: "secrets"},
				{Namespace: operatorNamespace, Resource: "secrets", Name: "pnp-operator-webhook-cert"},
				{Namespace: operatorNamespace, Resource: "serviceaccounts", Subresource: "token", Name: "pnp-operator-certificate"},
				{Namespace: operatorNamespace, Resource: "pods"},
				{Namespace: operatorNamespace, Resource: "pods", Subresource: "exec"},
				{Namespace: operatorNamespace, Group: "apps", Resource: "deployments"},
				{Namespace: operatorNamespace, Group: rbacv1.GroupName, Resource: "rolebindings"},
				{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations", Name: "pnp-operator"},
				{Group: "admissionregistration.k8s.io", Resource: "validatingwebhookconfigurations"},
				{Group: "admissionregistration.k8s.io", Resource: "mutatingwebhookconfigurations"},
			} {
				what.Verb = verb
				Expect(operatorMay(what)).To(BeFalse(), "%v", what)
			}
		}
	})

	It("of config/tenant/workload-identity are for one ServiceAccount", func() {
		namespace := newForeignNamespace()
		role, binding := &rbacv1.Role{}, &rbacv1.RoleBinding{}
		readDocuments(filepath.Join("..", "config", "tenant", "workload-identity", "role.yaml"), role, binding)
		role.Namespace, binding.Namespace = namespace, namespace
		Expect(admin.Create(ctx, role)).To(Succeed())
		Expect(admin.Create(ctx, binding)).To(Succeed())
		Eventually(func() bool { return mayMakeToken(namespace, "iot") }).Should(BeTrue())
		Expect(mayMakeToken(namespace, "default")).To(BeFalse())
		Expect(mayMakeToken(namespace, "")).To(BeFalse())
		Expect(mayRead(namespace)).To(BeFalse())
	})

	It("of config/cluster-wide-secrets are for every namespace, and nothing but Secrets", func() {
		s := newForeignSite()
		s.eventuallyHub(beWaiting(v1alpha1.ReasonAccessDenied))
		role, binding := &rbacv1.ClusterRole{}, &rbacv1.ClusterRoleBinding{}
		readDocuments(filepath.Join("..", "config", "cluster-wide-secrets", "role.yaml"), role, binding)
		Expect(admin.Create(ctx, role)).To(Succeed())
		Expect(admin.Create(ctx, binding)).To(Succeed())
		DeferCleanup(func() {
			Expect(admin.Delete(ctx, binding)).To(Succeed())
			Expect(admin.Delete(ctx, role)).To(Succeed())
			Eventually(func() bool { return mayRead("") }).Should(BeFalse())
		})
		s.eventually("d", beReady())
		Expect(mayMakeToken(s.namespace, "default")).To(BeFalse())
	})
})

var _ = Describe("A watch of one Secret", func() {
	It("tells of a rotation, and of a Secret that is created later", func() {
		s := &site{namespace: newNamespace(), sim: newHub()}
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
		s.eventuallyHub(beWaiting(v1alpha1.ReasonSecretNotFound))
		Eventually(func() []string { return requests.about(s.namespace, "watch=") }).ShouldNot(BeEmpty())
		s.createSecret("HostName=other.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0")
		Eventually(s.hub, 5*time.Second).Should(beStalled(v1alpha1.ReasonHostNameMismatch))
		s.rotate("service")
		Eventually(s.hub, 5*time.Second).Should(beReady())
	})

	It("is shared, and ends when nobody refers to the Secret any more", func() {
		s := newSite()
		second := s.iotHub()
		second.Name = "second"
		Expect(admin.Create(ctx, second)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(second), second)).To(Succeed())
			g.Expect(second).To(beReady())
		}).Should(Succeed())
		Expect(requests.openWatches(s.namespace)).To(Equal(1))
		Expect(admin.Delete(ctx, s.hub())).To(Succeed())
		Consistently(func() int { return requests.openWatches(s.namespace) }, time.Second).Should(Equal(1))
		Expect(admin.Delete(ctx, second)).To(Succeed())
		Eventually(func() int { return requests.openWatches(s.namespace) }).Should(BeZero())
	})

	It("costs nothing for foreign Secrets, and does not ask for content", func() {
		s := newSite()
		foreign := 300
		if soaking {
			foreign = 10_000
		}
		received, heap := len(requests.received(s.namespace)), liveHeap()
		s.createForeign(foreign)
		s.rotate("iothubowner")
		s.eventuallyHub(beReady())
		Expect(requests.about(s.namespace, "foreign-")).To(BeEmpty())
		Expect(requests.received(s.namespace)).NotTo(ContainSubstring("foreign-"))
		Expect(requests.received(s.namespace)).NotTo(ContainSubstring("SharedAccessKey"))
		Expect(requests.received(s.namespace)).To(ContainSubstring("hub"), "what is received is recorded")
		received, heap = len(requests.received(s.namespace))-received, liveHeap()-heap
		AddReportEntry("cost", fmt.Sprintf("%d Secrets: %d bytes received, live heap grew by %d", foreign, received, heap), ReportEntryVisibilityFailureOrVerbose)
		Expect(received).To(BeNumerically("<", 100*foreign), "a name and what belongs to it takes more")
		if soaking { // fewer are lost among what else the process holds
			Expect(heap).To(BeNumerically("<", 300*foreign), "a third of what the metadata alone takes")
		}
	})

	It("cannot reach a Secret of another namespace", func() {
		rich := newSite()
		s := &site{namespace: newNamespace(), sim: rich.sim}
		for _, name := range []string{"../../" + rich.namespace + "/secrets/hub", rich.namespace + "/hub", "hub; reboot", "$(reboot)", "Hub"} {
			h := s.iotHub()
			h.Spec.Authentication.ConnectionStringSecretRef.Name = name
			Expect(admin.Create(ctx, h)).To(MatchError(ContainSubstring("connectionStringSecretRef.name")))
		}
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed()) // the same name, in its own namespace
		s.eventuallyHub(And(beWaiting(v1alpha1.ReasonSecretNotFound), haveMessage(s.namespace)))
	})
})
