package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

func hubIs(matchers ...any) func(s *site, g Gomega) {
	return func(s *site, g Gomega) {
		h := &v1alpha1.IoTHub{}
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
		for _, m := range matchers {
			g.Expect(h).To(m.(OmegaMatcher))
		}
	}
}

// hubIsEdited has the IoTHub be another one, until the returned function.
func (s *site) hubIsEdited(edit func(*v1alpha1.IoTHub)) (undo func()) {
	GinkgoHelper()
	was := s.hubObject().Spec
	s.editHub(edit)
	return func() {
		GinkgoHelper()
		s.editHub(func(h *v1alpha1.IoTHub) { h.Spec = was })
	}
}

// secretIs has a key of the Secret hold something else, until the returned function.
func (s *site) secretIs(key, value string) (undo func()) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, secret)).To(Succeed())
	was := string(secret.Data[key])
	s.secretKey(key, value)
	return func() { s.secretKey(key, was) }
}

// besides is a site of another namespace at the hub, whose IoTHub reads the same events.
func (s *site) besides() *site {
	GinkgoHelper()
	other := &site{namespace: newNamespace(), sim: s.sim}
	Expect(admin.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: other.namespace, Name: "hub"},
		StringData: map[string]string{"connectionString": s.sim.ConnectionString("service"), "events": s.sim.EventHubConnectionString("service")},
	})).To(Succeed())
	Expect(admin.Create(ctx, other.eventHub())).To(Succeed())
	return other
}

// fewMessages is a site of one device whose IoTHub may use so many messages.
func fewMessages(n int64, sweepSeconds int32) func() *site {
	return func() *site {
		GinkgoHelper()
		s := newRationedSite(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages = n }), func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds = sweepSeconds })
		s.fleet(1)
		s.allReady()
		return s
	}
}

// readsUntil has the device be read until so many calls were made.
func (s *site) readsUntil(calls int) {
	GinkgoHelper()
	for s.sim.Calls().Total() < calls {
		s.readNow("d-0")
	}
}

// owningMany is a site whose device holds 25 properties.
func owningMany() *site { return manyOwned() }

// declaresNothing has all of them be halted.
func (s *site) declaresNothing() {
	GinkgoHelper()
	s.edit("d", withProperties(`{}`))
	s.eventually("d", beStalled(v1alpha1.ReasonMassRemoval))
}

// confirmsWhileWritesFail has a person confirm that all of them go, which the hub does not let
// happen.
func (s *site) confirmsWhileWritesFail() {
	GinkgoHelper()
	s.declaresNothing()
	s.failing("Patch*", "d", 503)
	s.failing("Replace*", "d", 503)
	s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "now"))
}

const (
	hubAccepted  = "The hub accepted the credential"
	hubStreaming = "Streaming"
)

// notRead is what is seen of an IoTHub that works and whose events are not read.
func notRead(reason string) seen {
	return current(v1alpha1.ReasonAuthenticated, reason+" "+hubAccepted).and(v1alpha1.ConditionEventStreamReady, "False/"+reason)
}

// throttles is what is seen of one whose work waits.
func throttles(reason string) seen {
	return current(v1alpha1.ReasonAuthenticated, reason+" "+hubAccepted).and(v1alpha1.ConditionThrottled, "True/"+reason)
}

func newIdentity() *site { return newIdentitySite().site }

var walksOfHubs = map[string]walk{
	// The credential.
	"the Secret is gone": {
		from: newSite, enter: (*site).takeSecret,
		shows: waits(v1alpha1.ReasonSecretNotFound, `False Secret "hub" does not exist in namespace`), within: told,
	},
	"the Secret has no such key": {
		from: newSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Authentication.ConnectionStringSecretRef.Key = "other" })
		},
		shows: waits(v1alpha1.ReasonSecretKeyNotFound, `False Secret "hub" has no key "other"`), within: told,
	},
	"the Secret holds nonsense": {
		from: newSite, enter: func(s *site) func() { return s.secretIs("connectionString", "nonsense") },
		shows: fails(v1alpha1.ReasonInvalidConnectionString, `False Secret "hub" key "connectionString": `), within: told,
	},
	"the Secret is for another hub": {
		from: newSite,
		enter: func(s *site) func() {
			return s.secretIs("connectionString", "HostName=other.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=c3RvbGVu")
		},
		shows: fails(v1alpha1.ReasonHostNameMismatch, `is for host "other.azure-devices.net"; spec.hostName is`), within: told,
	},
	"the host is not allowed": {
		from: newSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Endpoint = "https://127.0.0.1:1" })
		},
		shows: fails(v1alpha1.ReasonHostNotAllowed, "--allowed-hub-suffixes"), within: told,
	},
	"the certificates are none": {
		from: newSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.CABundle = "nonsense" })
		},
		shows: fails(v1alpha1.ReasonInvalidEndpoint, "False spec.caBundle holds no PEM certificate"), within: told,
	},
	"the key is wrong": {
		from: acknowledged, enter: func(s *site) func() { return s.secretIs("connectionString", wrongKey(s.sim)) },
		shows: fails(v1alpha1.ReasonUnauthorized, "False The hub refused the credential"), within: told,
	},
	"the hub refuses the call that proves the credential": {
		from: newSite,
		enter: func(s *site) func() {
			s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpQuery, Status: 400, Code: "ArgumentInvalid", Number: 400004, Message: "no", Count: -1})
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds++ })
			return s.recovers
		},
		shows: fails(v1alpha1.ReasonHubRefused, "False "), within: asked,
	},
	"one refusal of the call that proves a credential": {
		from: newSite,
		enter: func(s *site) func() {
			s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: simulator.OpQuery, Status: 404, Count: 1})
			proofs := s.proofs()
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds++ })
			Eventually(s.proofs).Should(BeNumerically(">", proofs))
			return func() {}
		},
		shows: current(v1alpha1.ReasonAuthenticated, "True "+hubAccepted),
		right: func(s *site, g Gomega) {
			hubIs(beReady(), HaveField("Status.ObservedGeneration", int64(2)))(s, g)
			g.Expect(s.eventsOf("hub", v1alpha1.ReasonHubRefused)).To(BeEmpty())
		},
		within: told,
	},
	"the IoTHub fails while it is connected": {
		from: newSite,
		enter: func(s *site) func() {
			s.failing(simulator.OpQuery, "", 503)
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds++ })
			s.eventuallyHub(beWaiting(v1alpha1.ReasonHubUnavailable))
			tenfold(s.proofs, func(i int) { s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, fmt.Sprint(i))) })
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "False The hub has been failing and is tried again: HTTP 503"), within: asked,
	},
	"the hub throttles while it is connected": {
		from: newSite,
		enter: func(s *site) func() {
			s.failing(simulator.OpQuery, "", 429)
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds++ })
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonThrottled, "False HubThrottles The hub has been failing and is tried again: HTTP 429"), within: asked,
	},
	"the operator may not read the Secret": {
		from: newForeignSite, enter: func(s *site) func() { return func() { grantTenant(s.namespace) } },
		shows: waits(v1alpha1.ReasonAccessDenied, `False The operator may not read Secret "hub". Grant it: `), within: asked,
	},
	"the operator may not read the Secret any more": {
		from: acknowledged,
		enter: func(s *site) func() {
			s.withdraw()
			s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, "now"))
			return func() { s.runAsTenant(commandIn(conditionOf(s.hub(), v1alpha1.ConditionReady).Message)) }
		},
		shows: current(v1alpha1.ReasonAccessDenied, "True Goes on with the credential that was read before"), within: asked,
	},
	"the ServiceAccount is missing": {
		from: func() *site {
			s := newBareIdentitySite()
			s.grantToken()
			s.federate()
			s.createHub()
			return s.site
		},
		enter: func(s *site) func() { return func() { (&identitySite{site: s}).createAccount() } },
		shows: waits(v1alpha1.ReasonServiceAccountNotFound, `False ServiceAccount "iot" does not exist in namespace`), within: asked,
	},
	"Microsoft Entra ID refuses the ServiceAccount": {
		from: newIdentity,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Authentication.WorkloadIdentity.TenantID = "nobody.example.com" })
		},
		shows: fails(v1alpha1.ReasonIdentityRefused, "AADSTS90002"), within: told,
	},
	"Microsoft Entra ID fails": {
		from: func() *site {
			failing(simulator.EntraDown)
			s := newBareIdentitySite()
			s.grantToken()
			s.createAccount()
			s.federate()
			s.createHub()
			return s.site
		},
		enter: func(*site) func() { return func() { authority.Fail(simulator.EntraNone) } },
		shows: waits(v1alpha1.ReasonEntraUnavailable, "False Microsoft Entra ID, which issues tokens for the hub, has been failing"), within: asked,
	},

	// A person stopped something.
	"it is suspended": {
		from: acknowledged,
		enter: func(s *site) func() {
			s.editHub(hubSuspended(true))
			return s.resumes()
		},
		shows: current(v1alpha1.ReasonAuthenticated, "True True "+hubAccepted).and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"it is suspended and its Secret is gone": {
		from: acknowledged,
		enter: func(s *site) func() {
			s.suspendHub(true)
			putBack := s.takeSecret()
			return func() {
				putBack()
				s.resumes()()
			}
		},
		shows: waits(v1alpha1.ReasonSecretNotFound, `False True Secret "hub" does not exist`).and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"removals that were halted and put back": {
		from: owningMany,
		enter: func(s *site) func() {
			s.declaresNothing()
			return s.edits(withProperties(leaves(25)))
		},
		shows: fails(v1alpha1.ReasonMassRemoval, "False Removals of 25 properties of 1 PnPDevice (d) are halted").and(v1alpha1.ConditionRemovalsHalted, "True/MassRemoval"), within: told,
	},
	"removals that were halted and put back, but for one": {
		from: owningMany,
		enter: func(s *site) func() {
			s.declaresNothing()
			return s.edits(withProperties(leaves(24)))
		},
		shows: fails(v1alpha1.ReasonMassRemoval, "False Removals of 25 properties of 1 PnPDevice (d) are halted").and(v1alpha1.ConditionRemovalsHalted, "True/MassRemoval"),
		right: func(s *site, g Gomega) {
			hubIs(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"), beReady())(s, g)
			g.Expect(s.read(g, "d")).To(beReady())
			g.Expect(s.desired("d")).To(HaveLen(24))
		},
		within: told,
	},
	"removals that were halted and confirmed": {
		from: owningMany,
		enter: func(s *site) func() {
			s.confirmsWhileWritesFail()
			return s.recovers
		},
		shows: current(v1alpha1.ReasonAuthenticated, "True "+hubAccepted).and(v1alpha1.ConditionRemovalsHalted, "False/Confirmed"), within: asked,
	},
	"removals are halted and it is suspended": {
		from: owningMany,
		enter: func(s *site) func() {
			s.declaresNothing()
			s.editHub(hubSuspended(true))
			return func() {
				s.edit("d", withProperties(leaves(25)))
				s.resumes()()
			}
		},
		shows: fails(v1alpha1.ReasonMassRemoval, "False True Removals of 25 properties").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"removals that were confirmed while it is suspended": {
		from: owningMany,
		enter: func(s *site) func() {
			s.declaresNothing()
			s.editHub(hubSuspended(true))
			s.eventuallyHub(haveCondition(v1alpha1.ConditionSuspended, "True/Suspended"))
			s.editHub(annotateHub(v1alpha1.AnnotationConfirmRemovals, "now"))
			return s.resumes()
		},
		shows: fails(v1alpha1.ReasonMassRemoval, "False True Removals of 25 properties").and(v1alpha1.ConditionRemovalsHalted, "True/MassRemoval"),
		right: func(s *site, g Gomega) {
			hubIs(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"), beReady())(s, g)
			g.Expect(s.desired("d")).To(BeEmpty())
		},
		within: told,
	},
	"removals that were confirmed before it was suspended": {
		from: owningMany,
		enter: func(s *site) func() {
			s.confirmsWhileWritesFail()
			s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "False/Confirmed"))
			s.editHub(hubSuspended(true)) // on second thoughts
			s.eventuallyHub(haveCondition(v1alpha1.ConditionRemovalsHalted, "/"))
			return func() {
				s.recovers()
				s.resumes()()
			}
		},
		shows: current(v1alpha1.ReasonAuthenticated, "True True "+hubAccepted).and(v1alpha1.ConditionSuspended, "True/Suspended"),
		right: func(s *site, g Gomega) {
			hubIs(haveCondition(v1alpha1.ConditionRemovalsHalted, "True/MassRemoval"))(s, g)
			g.Expect(s.desired("d")).To(HaveLen(25))
		},
		within: told,
	},

	// Requests and messages.
	"the hub throttles writes": {
		from: acknowledged,
		enter: func(s *site) func() {
			s.failing(simulator.OpPatchDigitalTwin, "d", 429)
			s.edit("d", hotter)
			return s.recovers
		},
		shows: throttles(v1alpha1.ReasonHubThrottles), moves: true, within: 2*time.Minute + asked,
	},
	"sweeps that the day's messages stopped": {
		from: fewMessages(10, 5),
		enter: func(s *site) func() {
			s.readsUntil(8)
			s.eventuallyHub(haveCondition(v1alpha1.ConditionThrottled, "True/"+v1alpha1.ReasonSweepsStopped))
			queries := s.proofs()
			Consistently(s.proofs, 7*time.Second).Should(BeNumerically("<=", queries+1), "a sweep waits for the next day")
			s.foreign("d-0", `{"targetTemperature": 99}`)
			return func() { s.ration(plenty) }
		},
		shows: throttles(v1alpha1.ReasonSweepsStopped),
		right: func(s *site, g Gomega) {
			g.Expect(s.desired("d-0")).To(HaveKeyWithValue("targetTemperature", BeEquivalentTo(20)))
		},
		within: told,
	},
	"90 percent of the day's messages are used": {
		from: fewMessages(20, 3600),
		enter: func(s *site) func() {
			s.readsUntil(18)
			return func() { s.ration(plenty) }
		},
		shows: throttles(v1alpha1.ReasonFollowUpsStopped), within: told,
	},
	"the day's messages are used": {
		from: fewMessages(10, 3600),
		enter: func(s *site) func() {
			for range 12 {
				s.edit("d-0", annotate(v1alpha1.AnnotationReconcileRequestedAt, time.Now().String()))
			}
			s.edit("d-0", hotter)
			s.eventually("d-0", beWaiting(v1alpha1.ReasonDailyMessagesUsed))
			return func() { s.ration(plenty) }
		},
		shows: throttles(v1alpha1.ReasonDailyMessagesUsed), within: told,
	},
	"the hub's own messages of the day are used": {
		from: acknowledged,
		enter: func(s *site) func() {
			s.outOfMessages()
			return s.unitsAreAdded
		},
		shows: throttles(v1alpha1.ReasonQuotaExceeded), within: told,
	},
	"sweeps fail": {
		from: func() *site {
			s := newSweptSite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", temperature(20)) // where there is nothing to look after, sweeps do not ask
			s.eventually("d", beReady())
			return s
		},
		enter: func(s *site) func() {
			s.failing(simulator.OpQuery, "", 500)
			Eventually(func(g Gomega) {
				g.Expect(s.hub()).To(haveCondition(v1alpha1.ConditionSweepsIncomplete, "True/SweepsFailing"))
			}, 2*asked).Should(Succeed())
			return s.recovers
		},
		shows: current(v1alpha1.ReasonAuthenticated, "True "+hubAccepted).and(v1alpha1.ConditionSweepsIncomplete, "True/SweepsFailing"), within: 2 * asked,
	},

	// The event stream.
	"events are read": {
		from: newEventSite, enter: func(*site) func() { return nil },
		shows: current(v1alpha1.ReasonAuthenticated, "True "+hubStreaming+" "+hubAccepted).and(v1alpha1.ConditionEventStreamReady, "True/"+hubStreaming),
	},
	"the key of the event hub is wrong": {
		from:  newEventSite,
		enter: func(s *site) func() { return s.secretIs("events", s.sim.EventHubConnectionString("device")) },
		shows: notRead(v1alpha1.ReasonUnauthorized), within: told,
	},
	"the Secret of the event hub holds the hub's own connection string": {
		from:  newEventSite,
		enter: func(s *site) func() { return s.secretIs("events", s.sim.ConnectionString("service")) },
		shows: notRead(v1alpha1.ReasonInvalidConnectionString), within: told,
	},
	"the Secret of the event hub is missing": {
		from: newEventSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Events.ConnectionStringSecretRef.Name = "absent" })
		},
		shows: notRead(v1alpha1.ReasonSecretNotFound), within: told,
	},
	"the Secret of the event hub has no such key": {
		from: newEventSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Events.ConnectionStringSecretRef.Key = "other" })
		},
		shows: notRead(v1alpha1.ReasonSecretKeyNotFound), within: told,
	},
	"the host of the event hub is not allowed": {
		from: newEventSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Events.Endpoint = "attacker.example:5671" })
		},
		shows: notRead(v1alpha1.ReasonHostNotAllowed), within: told,
	},
	"the event hub cannot be reached": {
		from: newEventSite,
		enter: func(s *site) func() {
			return s.hubIsEdited(func(h *v1alpha1.IoTHub) { h.Spec.Events.Endpoint = "127.0.0.1:1" })
		},
		shows: notRead(v1alpha1.ReasonEventHubUnavailable), within: told,
	},
	"the event hub moved": {
		from: newEventSite,
		enter: func(s *site) func() {
			s.sim.DeleteEventHub()
			return s.sim.RecreateEventHub
		},
		shows: notRead(v1alpha1.ReasonEndpointMoved), within: asked,
	},
	"the consumer group is gone": {
		from: newEventSite,
		enter: func(s *site) func() {
			s.sim.Events().RemoveGroup("pnp-operator")
			s.sim.AMQP().Cut()
			return func() { s.sim.Events().AddGroup("pnp-operator") }
		},
		shows: notRead(v1alpha1.ReasonConsumerGroupNotFound), within: asked,
	},
	"another reader took the consumer group": {
		from: newEventSite, enter: func(s *site) func() { return s.rival(time.Now().Unix() + 1_000_000) },
		shows: notRead(v1alpha1.ReasonConsumerGroupTaken), within: asked,
	},
	"a consumer group of an IoTHub that cannot read": {
		from: func() *site {
			holder := newEventSite()
			s := holder.besides()
			s.holder = holder
			return s
		},
		enter: func(s *site) func() {
			return func() {
				s.holder.secretKey("connectionString", wrongKey(s.sim))
				s.holder.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
			}
		},
		shows: notRead(v1alpha1.ReasonConsumerGroupShared), right: hubIs(beStreaming()), within: told,
	},
	"events pile up": {
		from: newEventSite,
		enter: func(s *site) func() {
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.sim.AMQP().Stall("")
			s.report("d", `{"maxTempSinceLastReboot":1}`)
			return s.sim.AMQP().Release
		},
		shows: notRead(v1alpha1.ReasonLagging), within: asked,
	},
	"events wait for the hub to accept the credential": {
		from: func() *site {
			s := &site{namespace: newNamespace(), sim: newHub()}
			s.createSecret(wrongKey(s.sim))
			s.secretKey("events", s.sim.EventHubConnectionString("service"))
			Expect(admin.Create(ctx, s.eventHub())).To(Succeed())
			return s
		},
		enter: func(s *site) func() {
			return func() { s.secretKey("connectionString", s.sim.ConnectionString("service")) }
		},
		shows: fails(v1alpha1.ReasonUnauthorized, "False Connecting The hub refused the credential").and(v1alpha1.ConditionEventStreamReady, "False/Connecting"), within: told,
	},
	"events are read, and it is suspended": {
		from: streaming,
		enter: func(s *site) func() {
			s.editHub(hubSuspended(true))
			return s.resumes()
		},
		shows: current(v1alpha1.ReasonAuthenticated, "True "+hubStreaming+" True "+hubAccepted).and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
}
