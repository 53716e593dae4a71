package controllers_test

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	eventsv1 "k8s.io/api/events/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// tokenStart is what a JSON Web Token begins with.
const tokenStart = "eyJ"

var _ = Describe("An IoTHub with a workload identity", func() {
	It("converges a device, follows its events and runs a command with tokens of its ServiceAccount, and touches no Secret", func() {
		s := newBareIdentitySite()
		s.grantToken()
		s.createAccount()
		s.federate()
		s.createHub(s.withEvents)
		s.eventuallyHub(And(beReady(), beStreaming()))
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature": 20}`))
		s.eventually("d", And(beReady(), haveState("thermostat1", "targetTemperature", "Acknowledged")))
		s.run("c")
		s.eventuallyCommand("c", HaveField("Status.Outcome", v1alpha1.CommandSucceeded))

		By("writing as Entra ID may: device twins and direct methods")
		Expect(s.sim.Calls().Count(simulator.OpPatchDigitalTwin)).To(BeZero())
		Expect(s.sim.Calls().Count(simulator.OpPatchTwin)).To(Equal(1))
		Expect(s.getCommand("c").Status.Route).To(Equal(v1alpha1.RouteDirectMethod))

		By("asking for no more than it needs")
		Expect(requests.about(s.namespace, "/secrets")).To(BeEmpty())
		asked, issued := s.asked()
		Expect([]int{asked, issued}).To(Equal([]int{2, 2}), "one for the hub, one for the event hub")
		Expect(requests.about(s.namespace, "/serviceaccounts/"+account+"/token")).To(HaveLen(2))

		By("printing no token")
		Expect(logs.String()).NotTo(ContainSubstring(tokenStart))
		Expect(s.everythingSaid()).NotTo(ContainSubstring(tokenStart))
	})

	It("renews its tokens and notices nothing", func() {
		shortLived(4 * time.Second)
		s := newIdentitySite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		since := conditionOf(s.hub(), v1alpha1.ConditionReady).LastTransitionTime
		temperature := 20
		Eventually(func(g Gomega) {
			temperature++
			s.edit("d", withProperties(fmt.Sprintf(`{"targetTemperature": %d}`, temperature)))
			s.eventually("d", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))
			_, issued := s.asked()
			g.Expect(issued).To(BeNumerically(">=", 4))
		}, "60s", "500ms").Should(Succeed())
		Expect(s.hub()).To(beReady())
		Expect(conditionOf(s.hub(), v1alpha1.ConditionReady).LastTransitionTime).To(Equal(since))
		Expect(s.eventsOf("hub", v1alpha1.ReasonUnauthorized)).To(BeEmpty())
	})

	It("reads events on after the token that opened the stream has expired", func() {
		shortLived(5 * time.Second)
		s := newIdentitySite()
		s.editHub(s.withEvents)
		s.eventuallyHub(beStreaming())
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		_, before := s.asked()
		Eventually(func() int { _, issued := s.asked(); return issued }, "60s").Should(BeNumerically(">=", before+3))
		s.report("d", `{"targetTemperature": {"value": 20, "ac": 200, "av": %d, "ad": "again"}}`, s.desiredVersion("d"))
		Eventually(func(g Gomega) { g.Expect(s.read(g, "d")).To(haveAnswer("again")) }, "60s").Should(Succeed())
	})

	It("says what is the matter if digital twins are asked for, and asks no more", func() {
		s := newIdentitySite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", through(v1alpha1.TwinAPIDigitalTwin), withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonHubRefused), haveMessage("Entra ID", "twinAPI")))
		before := s.sim.Calls().Total()
		Consistently(s.sim.Calls().Total, "2s").Should(BeNumerically("<=", before+1))
		Expect(s.hub()).To(beReady())
		s.edit("d", through(""))
		s.eventually("d", beReady())
	})

	It("lets a device go that cannot be cleared by digital twin", func() {
		s := newIdentitySite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", clearing, withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.edit("d", through(v1alpha1.TwinAPIDigitalTwin))
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyGone("d")
		Eventually(func() int { return len(s.eventsOf("d", v1alpha1.ReasonNotCleared)) }).Should(Equal(1))
	})

	It("may read events with a connection string, and takes another identity at once", func() {
		s := newIdentitySite()
		grantTenant(s.namespace)
		s.createSecret(s.sim.ConnectionString("service"))
		s.secretKey("events", s.sim.EventHubConnectionString("service"))
		s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.Events = s.eventHub().Spec.Events })
		s.eventuallyHub(And(beReady(), beStreaming()))

		s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.Authentication = s.iotHub().Spec.Authentication })
		s.eventuallyHub(beReady())
		authority.Remove(s.clientID)
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Calls().Count(simulator.OpPatchDigitalTwin)).To(Equal(1), "as with any connection string")
	})
})

// everythingSaid is all that the API server shows of the site's objects and Events.
func (s *identitySite) everythingSaid() string {
	GinkgoHelper()
	var said strings.Builder
	for _, list := range []client.ObjectList{&v1alpha1.IoTHubList{}, &v1alpha1.PnPDeviceList{}, &v1alpha1.DeviceCommandList{}, &eventsv1.EventList{}} {
		Expect(admin.List(ctx, list, client.InNamespace(s.namespace))).To(Succeed())
		Expect(json.NewEncoder(&said).Encode(list)).To(Succeed())
	}
	Expect(said.String()).To(ContainSubstring(`"serviceAccountName":"iot"`))
	return said.String()
}

var _ = Describe("A workload identity", func() {
	It("of another namespace is out of reach, whatever the names are", func() {
		rich := newIdentitySite()
		s := &identitySite{&site{namespace: newForeignNamespace(), sim: rich.sim}, rich.clientID}
		s.grantToken()
		s.createAccount()
		s.createHub()
		s.eventuallyHub(And(beStalled(v1alpha1.ReasonIdentityRefused), haveMessage("AADSTS700213", "system:serviceaccount:"+s.namespace+":"+account)))
		for _, url := range requests.about(s.namespace, "/serviceaccounts/") {
			Expect(url).NotTo(ContainSubstring(rich.namespace))
		}

		By("refusing names that lead elsewhere")
		for _, name := range []string{"../../" + rich.namespace + "/serviceaccounts/" + account, rich.namespace + "/" + account, rich.namespace + ":" + account, "$(reboot)", "Iot", ""} {
			h := s.identityHub(func(h *v1alpha1.IoTHub) {
				h.Name, h.Spec.Authentication.WorkloadIdentity.ServiceAccountName = "other", name
			})
			Expect(admin.Create(ctx, h)).To(MatchError(ContainSubstring("serviceAccountName")))
		}
	})

	It("is not shared by two IoTHubs", func() {
		s := newIdentitySite()
		_, before := s.asked()
		second := s.identityHub(func(h *v1alpha1.IoTHub) { h.Name = "second" })
		Expect(admin.Create(ctx, second)).To(Succeed())
		Eventually(func(g Gomega) {
			g.Expect(admin.Get(ctx, client.ObjectKeyFromObject(second), second)).To(Succeed())
			g.Expect(second).To(beReady())
		}).Should(Succeed())
		_, issued := s.asked()
		Expect(issued).To(Equal(before + 1))
	})
})

var _ = Describe("An IoTHub of another namespace", func() {
	It("is out of reach of a PnPDevice", func() {
		rich := newSite()
		rich.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		poor := &site{namespace: newNamespace(), sim: rich.sim}
		poor.create("d", withProperties(`{"targetTemperature": 20}`))
		poor.eventually("d", And(beWaiting(v1alpha1.ReasonHubNotFound), haveMessage(`"hub"`)))
		for _, name := range []string{rich.namespace + "/hub", "../" + rich.namespace + "/hub"} {
			d := poor.device("other", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.HubRef.Name = name }))
			if err := admin.Create(ctx, d); err == nil { // the name of an object that cannot exist
				poor.eventually("other", beWaiting(v1alpha1.ReasonHubNotFound))
				Expect(admin.Delete(ctx, d)).To(Succeed())
			}
		}
		Expect(rich.writes("d") + rich.reads("d")).To(BeZero())
	})
})

var _ = Describe("spec.authentication", func() {
	identity := func(edit func(*v1alpha1.WorkloadIdentity)) func(*v1alpha1.IoTHub) {
		return func(h *v1alpha1.IoTHub) { edit(h.Spec.Authentication.WorkloadIdentity) }
	}
	secret := &v1alpha1.SecretKeyReference{Name: "hub", Key: "connectionString"}
	eventHub := func(namespace, name string) func(*v1alpha1.IoTHub) {
		return func(h *v1alpha1.IoTHub) {
			h.Spec.Events = &v1alpha1.EventSource{EventHub: &v1alpha1.EventHub{FullyQualifiedNamespace: namespace, Name: name}}
		}
	}
	for name, c := range map[string]struct {
		edit  func(*v1alpha1.IoTHub)
		wrong string
	}{
		"takes a workload identity": {func(*v1alpha1.IoTHub) {}, ""},
		"takes a connection string": {func(h *v1alpha1.IoTHub) {
			h.Spec.Authentication = v1alpha1.HubAuthentication{ConnectionStringSecretRef: secret}
		}, ""},
		"refuses both":                               {func(h *v1alpha1.IoTHub) { h.Spec.Authentication.ConnectionStringSecretRef = secret }, "exactly one method"},
		"refuses neither":                            {func(h *v1alpha1.IoTHub) { h.Spec.Authentication = v1alpha1.HubAuthentication{} }, "exactly one method"},
		"takes a domain as tenant":                   {identity(func(w *v1alpha1.WorkloadIdentity) { w.TenantID = "example.onmicrosoft.com" }), ""},
		"refuses a word as tenant":                   {identity(func(w *v1alpha1.WorkloadIdentity) { w.TenantID = "common" }), "tenantID"},
		"refuses a path as tenant":                   {identity(func(w *v1alpha1.WorkloadIdentity) { w.TenantID = "example.com/../x" }), "tenantID"},
		"refuses a client ID that is none":           {identity(func(w *v1alpha1.WorkloadIdentity) { w.ClientID = "iot" }), "clientID"},
		"refuses a client ID with more":              {identity(func(w *v1alpha1.WorkloadIdentity) { w.ClientID = identityTenant + "x" }), "clientID"},
		"refuses a ServiceAccount without a name":    {identity(func(w *v1alpha1.WorkloadIdentity) { w.ServiceAccountName = "" }), "serviceAccountName"},
		"takes an event hub beside it":               {eventHub("factory-events.servicebus.windows.net", "pnp"), ""},
		"refuses an event hub's namespace with port": {eventHub("factory-events.servicebus.windows.net:5671", "pnp"), "fullyQualifiedNamespace"},
		"refuses an event hub's short namespace":     {eventHub("factory-events", "pnp"), "fullyQualifiedNamespace"},
		"refuses an event hub's name with a slash":   {eventHub("factory-events.servicebus.windows.net", "a/b"), "eventHub.name"},
		"refuses two sources of events": {func(h *v1alpha1.IoTHub) {
			eventHub("factory-events.servicebus.windows.net", "pnp")(h)
			h.Spec.Events.ConnectionStringSecretRef = secret
		}, "exactly one source"},
		"refuses an event hub beside a connection string": {func(h *v1alpha1.IoTHub) {
			eventHub("factory-events.servicebus.windows.net", "pnp")(h)
			h.Spec.Authentication = v1alpha1.HubAuthentication{ConnectionStringSecretRef: secret}
		}, "authentication.workloadIdentity"},
	} {
		It(name, func() {
			err := admin.Create(ctx, newBareIdentitySite().identityHub(c.edit), client.DryRunAll)
			if c.wrong == "" {
				Expect(err).NotTo(HaveOccurred())
				return
			}
			Expect(err).To(MatchError(ContainSubstring(c.wrong)))
		})
	}
})
