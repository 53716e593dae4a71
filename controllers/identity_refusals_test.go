package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// triedUntil has the IoTHub tried again and again: its heartbeat is a minute.
func (s *identitySite) triedUntil(matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		s.tryNow()
		g.Expect(s.hub()).To(matcher)
	}, "30s", "300ms").Should(Succeed())
}

var _ = Describe("A ServiceAccount", func() {
	It("that does not exist is waited for, and found without anybody touching the IoTHub", func() {
		s := newBareIdentitySite()
		s.grantToken()
		s.federate()
		s.createHub()
		s.eventuallyHub(And(beWaiting(v1alpha1.ReasonServiceAccountNotFound), haveMessage(`ServiceAccount "iot"`, s.namespace)))
		Expect(kstatusOf(s.hub())).To(Equal("InProgress"))
		version := s.hub().ResourceVersion
		before := len(requests.about(s.namespace, "/token"))
		Consistently(func() int { return len(requests.about(s.namespace, "/token")) - before }, "5s").Should(BeNumerically("<=", 5))
		Expect(s.hub().ResourceVersion).To(Equal(version))
		s.createAccount()
		s.eventuallyHub(beReady())
	})

	It("whose tokens the operator may not make is granted by the command in the message, and no other", func() {
		s := newBareIdentitySite()
		s.createAccount()
		s.federate()
		s.createHub()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventuallyHub(And(beWaiting(v1alpha1.ReasonAccessDenied), haveMessage(`ServiceAccount "iot"`, "--verb=create", "--resource=serviceaccounts/token")))
		s.eventually("d", beWaiting(v1alpha1.ReasonHubNotReady))
		command := commandIn(conditionOf(s.hub(), v1alpha1.ConditionReady).Message)
		s.runAsTenant(command)
		s.eventually("d", beReady())
		Expect(mayMakeToken(s.namespace, "default")).To(BeFalse())
		Expect(mayMakeToken(s.namespace, "")).To(BeFalse())
		Expect(mayRead(s.namespace)).To(BeFalse())
		s.runAsTenant(command) // again does no harm
	})

	It("that is deleted, or withdrawn from the operator, lets the session go on until its token expires", func() {
		for reason, take := range map[string]func(*identitySite){
			v1alpha1.ReasonServiceAccountNotFound: func(s *identitySite) {
				Expect(admin.Delete(ctx, &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: account}})).To(Succeed())
			},
			v1alpha1.ReasonAccessDenied: func(s *identitySite) {
				s.withdraw()
				Eventually(func() bool { return mayMakeToken(s.namespace, account) }).Should(BeFalse())
			},
			v1alpha1.ReasonIdentityRefused: func(s *identitySite) { s.federate(func(a *simulator.EntraApplication) { a.Federated = nil }) },
		} {
			By(reason)
			shortLived(15 * time.Second)
			s := newIdentitySite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", withProperties(`{"targetTemperature": 20}`))
			s.eventually("d", beReady())
			take(s)
			said := false
			Eventually(func(g Gomega) { // the token is renewed in its last quarter only, when something is asked of the hub
				s.readNow("d")
				s.tryNow()
				h := s.hub()
				if ready(h) == "True/"+reason {
					said = true
					g.Expect(h).To(haveMessage("Goes on"))
				}
				g.Expect(said).To(BeTrue())
			}, "40s", "300ms").Should(Succeed())
			Eventually(func(g Gomega) {
				s.tryNow()
				g.Expect(ready(s.hub())).To(Equal("False/" + reason))
			}, "40s", "300ms").Should(Succeed())
			s.eventually("d", s.beHeldByHub())
		}
	})
})

var _ = Describe("Microsoft Entra ID", func() {
	for name, c := range map[string]struct {
		app  func(*simulator.EntraApplication)
		hub  func(*v1alpha1.IoTHub)
		says []string
	}{
		"refuses another subject": {
			app:  func(a *simulator.EntraApplication) { a.Federated[0].Subject = "system:serviceaccount:default:iot" },
			says: []string{"AADSTS700213", "system:serviceaccount:", "federated-credential create"},
		},
		"refuses another issuer": {
			app:  func(a *simulator.EntraApplication) { a.Federated[0].Issuer = "https://issuer.example" },
			says: []string{"AADSTS700211", "no federated credential with issuer"},
		},
		"refuses another audience": {
			app:  func(a *simulator.EntraApplication) { a.Federated[0].Audience = "api://other" },
			says: []string{"AADSTS700212", "api://AzureADTokenExchange"},
		},
		"refuses an identity without a federated credential": {
			app:  func(a *simulator.EntraApplication) { a.Federated = nil },
			says: []string{"AADSTS700211"},
		},
		"refuses another client": {
			hub: func(h *v1alpha1.IoTHub) {
				h.Spec.Authentication.WorkloadIdentity.ClientID = "00000000-0000-0000-0000-00000000abcd"
			},
			says: []string{"AADSTS700016", "00000000-0000-0000-0000-00000000abcd", "check clientID and tenantID"},
		},
		"refuses another tenant": {
			hub:  func(h *v1alpha1.IoTHub) { h.Spec.Authentication.WorkloadIdentity.TenantID = "nobody.example.com" },
			says: []string{"AADSTS90002", "nobody.example.com", "check tenantID"},
		},
	} {
		It(name+": IdentityRefused, with the code and what to check, and no token", func() {
			s := newBareIdentitySite()
			s.grantToken()
			s.createAccount()
			s.federate(func(a *simulator.EntraApplication) {
				if c.app != nil {
					c.app(a)
				}
			})
			s.createHub(func(h *v1alpha1.IoTHub) {
				if c.hub != nil {
					c.hub(h)
				}
			})
			s.eventuallyHub(And(beStalled(v1alpha1.ReasonIdentityRefused), haveMessage(c.says...)))
			Expect(kstatusOf(s.hub())).To(Equal("Failed"))
			Expect(s.everythingSaid()).NotTo(ContainSubstring(tokenStart))
			Expect(logs.String()).NotTo(ContainSubstring(tokenStart))
			Expect(s.sim.Calls().Total()).To(BeZero())
			version := s.hub().ResourceVersion
			Consistently(func() string { return s.hub().ResourceVersion }, time.Second).Should(Equal(version))

			By("being mended")
			s.federate()
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec = s.identityHub().Spec })
			s.tryNow()
			s.eventuallyHub(beReady())
		})
	}

	for fault, says := range map[simulator.EntraFault]string{
		simulator.EntraDown:      "fails or is busy (HTTP 503)",
		simulator.EntraHTML:      "not one of Microsoft Entra ID, but perhaps of a proxy (HTTP 200)",
		simulator.EntraHang:      "no whole answer in time",
		simulator.EntraRedirect:  "not one of Microsoft Entra ID, but perhaps of a proxy (HTTP 307)",
		simulator.EntraElsewhere: "not one of Microsoft Entra ID",
	} {
		It("is tried again while it fails: "+string(fault), func() {
			failing(fault)
			s := newBareIdentitySite()
			s.grantToken()
			s.createAccount()
			s.federate()
			s.createHub()
			s.eventuallyHub(And(beWaiting(v1alpha1.ReasonEntraUnavailable), haveMessage("Microsoft Entra ID", says)))
			Expect(kstatusOf(s.hub())).To(Equal("InProgress"))
			Expect(logs.String()).NotTo(ContainSubstring(tokenStart))
			authority.Fail(simulator.EntraNone)
			s.eventuallyHub(beReady())
		})
	}

	It("may fail while tokens are good, and is waited for when they are not", func() {
		shortLived(12 * time.Second)
		s := newIdentitySite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		failing(simulator.EntraDown)
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))

		Eventually(func(g Gomega) { // until the token has expired
			s.edit("d", annotate(v1alpha1.AnnotationReconcileRequestedAt, time.Now().String()))
			g.Expect(s.read(g, "d")).To(And(beWaiting(v1alpha1.ReasonEntraUnavailable), haveMessage("Microsoft Entra ID")))
		}, "40s", "500ms").Should(Succeed())
		Expect(s.hub()).To(beReady(), "the credential was accepted when it was last tried, as with a hub that fails later")
		authority.Fail(simulator.EntraNone)
		s.eventually("d", beReady())
	})
})

var _ = Describe("A role at the hub", func() {
	It("that is missing is named, and found once it is there", func() {
		s := newBareIdentitySite()
		s.grantToken()
		s.createAccount()
		s.federate(func(a *simulator.EntraApplication) { a.Roles = []string{"Contributor", "IoT Hub Registry Contributor"} })
		s.createHub()
		s.eventuallyHub(And(beStalled(v1alpha1.ReasonUnauthorized), haveMessage("IoT Hub Data Contributor", s.clientID)))
		s.federate()
		s.triedUntil(beReady())
	})

	It("that goes ends the session, and the hub's word on a token that is new is final", func() {
		s := newIdentitySite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		asked, _ := s.asked()
		s.federate(func(a *simulator.EntraApplication) { a.Roles = nil })
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		s.eventually("d", beStalled(v1alpha1.ReasonHubNotReady))
		again, _ := s.asked()
		Expect(again).To(Equal(asked))
		s.federate()
		s.triedUntil(beReady())
		s.eventually("d", beReady())
	})

	It("that is missing at the event hub keeps only the events away", func() {
		s := newBareIdentitySite()
		s.grantToken()
		s.createAccount()
		s.federate(func(a *simulator.EntraApplication) { a.Roles = []string{hubRole} })
		s.createHub(s.withEvents)
		s.eventuallyHub(And(beReady(), notStreaming(v1alpha1.ReasonUnauthorized, "Azure Event Hubs Data Receiver")))
		s.federate()
		s.eventuallyHub(beStreaming())
	})
})

var _ = Describe("An event hub with a workload identity", func() {
	for name, c := range map[string]struct {
		edit   func(*v1alpha1.EventSource)
		reason string
		says   string
	}{
		"is named if it does not exist":          {func(e *v1alpha1.EventSource) { e.EventHub.Name = "other" }, v1alpha1.ReasonEndpointMoved, `Event hub "other" does not exist`},
		"is named if it lacks the group":         {func(e *v1alpha1.EventSource) { e.ConsumerGroup = "other" }, v1alpha1.ReasonConsumerGroupNotFound, "az eventhubs eventhub consumer-group create"},
		"has to be at an allowed host":           {func(e *v1alpha1.EventSource) { e.EventHub.FullyQualifiedNamespace = "events.attacker.example" }, v1alpha1.ReasonHostNotAllowed, "--allowed-event-hub-suffixes"},
		"is not sent tokens to another endpoint": {func(e *v1alpha1.EventSource) { e.Endpoint = "attacker.example:5671" }, v1alpha1.ReasonHostNotAllowed, "--allowed-event-hub-suffixes"},
	} {
		It(name, func() {
			s := newIdentitySite()
			s.editHub(func(h *v1alpha1.IoTHub) {
				s.withEvents(h)
				c.edit(h.Spec.Events)
			})
			s.eventuallyHub(And(beReady(), notStreaming(c.reason, c.says)))
		})
	}
})

var _ = Describe("A hub that may not be sent tokens of Microsoft Entra ID", func() {
	for name, edit := range map[string]func(*v1alpha1.IoTHub){
		"by its host name": func(h *v1alpha1.IoTHub) { h.Spec.HostName = "hub.attacker.example" },
		"by its endpoint":  func(h *v1alpha1.IoTHub) { h.Spec.Endpoint = "https://attacker.example" },
	} {
		It("is refused before any token is made: "+name, func() {
			s := newBareIdentitySite()
			s.grantToken()
			s.createAccount()
			s.federate()
			h := s.identityHub(edit)
			Expect(admin.Create(ctx, h)).To(Succeed())
			s.eventuallyHub(beStalled(v1alpha1.ReasonHostNotAllowed))
			Expect(requests.about(s.namespace, "/token")).To(BeEmpty())
			Expect(client.IgnoreNotFound(admin.Delete(ctx, h))).To(Succeed())
		})
	}
})
