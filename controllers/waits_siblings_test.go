package controllers_test

import (
	"net/http"
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

const (
	// toldWithin is how long an object may take to be right once an event told that what it waited for is
	// over. Operators aim at five seconds; machines of tests are slow, and timers beside events, which
	// would hide that one is missing, are of thirty seconds and more.
	toldWithin = 20 * time.Second
	// askedWithin is the same where nothing but a question tells.
	askedWithin = time.Minute
)

// soonCommand expects a command to be right within a time.
func (s *site) soonCommand(name string, within time.Duration, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func() *v1alpha1.DeviceCommand { return s.getCommand(name) }, within).Should(matcher)
}

// soonDevice expects a PnPDevice to be right within a time.
func (s *site) soonDevice(name string, within time.Duration, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func() *v1alpha1.PnPDevice { return s.get(name) }, within).Should(matcher)
}

// takeSecret deletes the Secret of the hub, waits until its session is gone, and returns what puts it back.
func (s *site) takeSecret() (putBack func()) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, secret)).To(Succeed())
	Expect(admin.Delete(ctx, secret)).To(Succeed())
	s.eventuallyHub(haveCondition(v1alpha1.ConditionReady, "False/"+v1alpha1.ReasonSecretNotFound))
	return func() {
		GinkgoHelper()
		Expect(admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"}, Data: secret.Data})).To(Succeed())
		s.eventuallyHub(beReady())
	}
}

// takeHub deletes the IoTHub, waits until that is known, and returns what puts it back.
func (s *site) takeHub() (putBack func()) {
	GinkgoHelper()
	hub := s.hubObject()
	Expect(s.deleteHub()).To(Succeed())
	s.eventually("d", beWaiting(v1alpha1.ReasonHubNotFound))
	return func() {
		GinkgoHelper()
		Expect(admin.Create(ctx, &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"}, Spec: hub.Spec})).To(Succeed())
		s.eventuallyHub(beReady())
	}
}

// sessionsEnd are the ways in which a session goes, with its memory, and another one comes.
var sessionsEnd = map[string]func(*site) func(){
	"the Secret is deleted and made again": (*site).takeSecret,
	"the IoTHub is deleted and made again": (*site).takeHub,
}

// absences are what a command waits for at its device, and how each ends.
var absences = map[string]struct {
	reason     string
	begin, end func(*site)
}{
	"an offline device": {v1alpha1.ReasonDeviceOffline,
		func(s *site) { Expect(s.sim.Devices().Offline("d")).To(Succeed()) },
		func(s *site) { Expect(s.sim.Devices().Online("d")).To(Succeed()) }},
	"a disabled device": {v1alpha1.ReasonDeviceDisabled,
		func(s *site) {
			s.disable("d", "")
			s.lies(simulator.Fault{Kind: simulator.FaultStatus, Status: http.StatusForbidden, Code: "DeviceDisabled", Number: 403012})
		},
		func(s *site) { s.enable("d"); Expect(s.sim.Devices().Online("d")).To(Succeed()) }},
	"a device that is gone": {v1alpha1.ReasonDeviceNotFound,
		func(s *site) {
			Expect(s.sim.Devices().Offline("d")).To(Succeed())
			Expect(s.sim.Hub().DeleteDevice("d")).To(Succeed())
		},
		func(s *site) {
			Expect(s.sim.Hub().CreateDevice("d")).To(Succeed())
			Expect(s.sim.Devices().Online("d")).To(Succeed())
		}},
}

var _ = Describe("A command that waits for its device", func() {
	for lost, take := range sessionsEnd {
		for cause, of := range absences {
			It("is sent when "+cause+" is back, though "+lost+" meanwhile", func() {
				s := plant()
				of.begin(s)
				s.run("c")
				s.eventuallyCommand("c", waitsFor(of.reason))
				// The stream has to have told of all that was during the attempt: else the device is not believed to be offline.
				Consistently(func() *v1alpha1.DeviceCommand { return s.getCommand("c") }, 3*streamTiming.Lag).Should(waitsFor(of.reason))
				take(s)()
				s.eventuallyHub(beStreaming())
				s.soonCommand("c", toldWithin, waitsFor(of.reason))
				of.end(s)
				s.soonCommand("c", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
				Expect(s.ran(report)).To(Equal(1))
			})
		}
	}

	for cause, of := range absences {
		It("is sent when a read shows that "+cause+" is back, where no events are read", func() {
			s := newSite()
			s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
			s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`))
			s.eventually("d", beReady())
			of.begin(s)
			s.run("c")
			s.eventuallyCommand("c", waitsFor(of.reason))
			of.end(s)
			s.readNow("d")
			s.soonCommand("c", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
			Expect(s.ran(report)).To(Equal(1))
		})
	}

	It("is not sent for a read that shows the device as it was", func() {
		s := newSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		s.readNow("d")
		Consistently(func() int { return s.sim.Calls().Count(simulator.OpInvokeCommand) }, 4*time.Second).Should(Equal(1))
	})

	It("is sent to the device at another hub that its PnPDevice moves to", func() {
		s, other := plant(), newHub()
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		there := s.joinedBy(other)
		there.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.HubRef.Name = "other" }))
		s.eventually("d", beReady())
		s.soonCommand("c", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
		Expect(there.ran(report)).To(Equal(1))
		Expect(s.ran(report)).To(BeZero())
	})

	It("says so again once the hub is back", func() {
		s := newSite() // without events, which would have it sent again
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		before := s.getCommand("c")
		end := s.outage()
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonHubNotReady))
		end()
		s.soonCommand("c", toldWithin, waitsFor(v1alpha1.ReasonDeviceOffline))
		Expect(conditionOf(s.getCommand("c"), v1alpha1.ConditionReady).Message).To(Equal(conditionOf(before, v1alpha1.ConditionReady).Message))
	})

	It("that expires says what it waited for at last, also on its PnPDevice", func() {
		s := plant()
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.NewTime(time.Now().Add(6 * time.Second)) }))
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandExpired), HaveField("Status.Attempts", BeEquivalentTo(1)),
			haveMessage("notAfter passed", "last: ", "the device is offline")))
		s.eventuallyEvent("CommandExpired", "the device is offline")
	})
})

// joinedBy has an IoTHub named other in the namespace, of another hub.
func (s *site) joinedBy(sim *simulator.Simulator) *site {
	GinkgoHelper()
	Expect(admin.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"},
		StringData: map[string]string{"connectionString": sim.ConnectionString("service")},
	})).To(Succeed())
	there := &site{namespace: s.namespace, sim: sim}
	hub := there.iotHub()
	hub.Name, hub.Spec.Authentication.ConnectionStringSecretRef.Name = "other", "other"
	Expect(admin.Create(ctx, hub)).To(Succeed())
	return there
}

var _ = Describe("A command that the hub refused once", func() {
	for name, fault := range map[string]simulator.Fault{
		"with 429":                      {Kind: simulator.FaultStatus, Status: http.StatusTooManyRequests, Code: "ThrottlingException", Number: 429001},
		"since the device has too many": {Kind: simulator.FaultStatus, Status: http.StatusForbidden, Code: "DeviceMaximumInflightMethodExceeded", Number: 403800},
	} {
		It(name+" is sent again in a moment", func() {
			s := plant()
			s.lies(fault)
			began := time.Now()
			s.run("c")
			s.soonCommand("c", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
			Expect(time.Since(began)).To(BeNumerically(">", 2*time.Second), "not at once")
			Expect(s.ran(report)).To(Equal(1))
		})
	}
})

var _ = Describe("Commands after one whose status the API server refuses", func() {
	It("are sent", func() {
		s := plant()
		refuser.of("code 418")
		DeferCleanup(func() { refuser.of("") })
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 418})).To(Succeed())
		s.run("first")
		Eventually(func() int { return s.ran(report) }).Should(Equal(1))
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 200})).To(Succeed())
		s.run("second")
		s.soonCommand("second", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
		s.run("third")
		s.soonCommand("third", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
		Expect(s.getCommand("first")).To(haveOutcome(""))
		refuser.of("")
		s.soonCommand("first", askedWithin, haveOutcome(v1alpha1.CommandFailed))
		Expect(s.ran(report)).To(Equal(3))
	})

	It("are sent if it could not be sent itself", func() {
		s := plant()
		refuser.of("notAfter passed")
		DeferCleanup(func() { refuser.of("") })
		s.run("first", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.NewTime(time.Now().Add(-time.Second)) }))
		Eventually(refuser.refused.Load).Should(BeNumerically(">", 0))
		s.run("second")
		s.soonCommand("second", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))
		refuser.of("")
		s.soonCommand("first", askedWithin, haveOutcome(v1alpha1.CommandExpired))
	})
})

// contendedDevice is one that the first of two sites has, and that the other one declares as well.
func contendedDevice(edits ...func(*v1alpha1.PnPDevice)) (a, b *site) {
	GinkgoHelper()
	a = newSite()
	a.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
	a.create("d", append(edits, withComponent("thermostat1", `{"targetTemperature":1}`))...)
	a.eventually("d", beReady())
	b = a.tenantOf()
	b.create("d", withComponent("thermostat1", `{"targetTemperature":2}`))
	b.eventually("d", beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
	return a, b
}

var _ = Describe("Two PnPDevices for one device at two IoTHubs of one host", func() {
	for _, clears := range []bool{false, true} {
		for lost, take := range sessionsEnd {
			name := "have one writer, which reads what it wins back, when " + lost
			if clears {
				name += ", also where sessions are kept to clear"
			}
			It(name, func() {
				a, b := contendedDevice(withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
					if clears {
						spec.DeletionPolicy = v1alpha1.DeletionClear
					}
				}))
				b.run("c")
				b.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceAlreadyDeclared))

				By("one that takes over")
				putBack := take(a)
				b.soonDevice("d", toldWithin, beReady())
				a.eventuallyDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 2}}`)
				b.soonCommand("c", toldWithin, haveOutcome(v1alpha1.CommandSucceeded))

				By("the incumbent that returns")
				putBack()
				a.soonDevice("d", toldWithin, beReady())
				b.soonDevice("d", toldWithin, beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
				a.eventuallyDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 1}}`)
				writes := a.writes("d")
				b.edit("d", withComponent("thermostat1", `{"targetTemperature":3}`))
				b.eventually("d", beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
				Consistently(func() int { return a.writes("d") }, 2*time.Second).Should(Equal(writes))
				Expect(a.get("d")).To(beReady())
			})
		}
	}

	It("have a write that was on its way followed by no other one", func() {
		manager.stop()
		hubTimeout = 10 * time.Second
		manager = startOperator()
		DeferCleanup(func() {
			hubTimeout = usualHubTimeout
			restartOperator()
		})
		a, b := contendedDevice()
		putBack := a.takeSecret()
		b.soonDevice("d", toldWithin, beReady())
		a.sim.Faults().Add(simulator.Fault{Operation: simulator.OpPatchDigitalTwin, Kind: simulator.FaultLatency, Latency: 5 * time.Second})
		b.edit("d", withComponent("thermostat1", `{"targetTemperature":3}`))
		Eventually(func() int { return a.sim.Faults().List()[0].Happened }).Should(Equal(1))
		putBack()
		a.eventuallyDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 1}}`)
		b.soonDevice("d", toldWithin, beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
		Expect(a.refusedWrites()).To(Equal([]int{http.StatusPreconditionFailed}))
		a.expectDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 1}}`)
		Expect(a.get("d")).To(beReady())
	})

	It("have the one that lost it say nothing of it, and what it leaves there when it goes", func() {
		a, b := contendedDevice()
		putBack := a.takeSecret()
		b.soonDevice("d", toldWithin, beReady())
		b.edit("d", clearing, withComponent("thermostat1", `{"targetTemperature":2, "ofB": 1}`))
		b.eventually("d", And(beReady(), HaveField("Status.Summary", "2/2"), HaveField("Status.ConnectionState", "Connected")))
		putBack()
		a.soonDevice("d", toldWithin, beReady())
		b.soonDevice("d", toldWithin, And(beStalled(v1alpha1.ReasonDeviceAlreadyDeclared), beUnsettled(v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged),
			HaveField("Status.Summary", "0/2"), HaveField("Status.ConnectionState", BeEmpty())))
		Expect(admin.Delete(ctx, b.get("d"))).To(Succeed())
		b.eventuallyGone("d")
		a.expectDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 1, "ofB": 1}}`)
		Eventually(func() []string { return b.eventNotes("d", v1alpha1.ReasonNotCleared) }).Should(ConsistOf(ContainSubstring("another PnPDevice has the device")))
	})

	It("have the one that returns read the device, though the other one is gone by then", func() {
		a, b := contendedDevice()
		putBack := a.takeSecret()
		b.soonDevice("d", toldWithin, beReady())
		Expect(admin.Delete(ctx, b.get("d"))).To(Succeed())
		b.eventuallyGone("d")
		putBack()
		a.eventuallyDesired("d", `{"thermostat1": {"__t": "c", "targetTemperature": 1}}`)
		a.soonDevice("d", toldWithin, beReady())
	})
})

var _ = Describe("A PnPDevice of an IoTHub whose Secret is missing", func() {
	It("names the one that is missing now", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		for _, name := range []string{"first", "second"} {
			s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.Authentication.ConnectionStringSecretRef.Name = name })
			s.soonDevice("d", toldWithin, And(beWaiting(v1alpha1.ReasonHubNotReady), haveMessage(`Secret "`+name+`" does not exist`)))
		}
	})
})

var _ = Describe("A consumer group of an IoTHub whose credential the hub refuses", func() {
	It("is free for another one, and is not taken back from that", func() {
		a := newEventSite()
		b := &site{namespace: newNamespace(), sim: a.sim}
		Expect(admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: b.namespace, Name: "hub"},
			StringData: map[string]string{"connectionString": a.sim.ConnectionString("service"), "events": a.sim.EventHubConnectionString("service")},
		})).To(Succeed())
		Expect(admin.Create(ctx, b.eventHub())).To(Succeed())
		b.eventuallyHub(And(beReady(), notStreaming(v1alpha1.ReasonConsumerGroupShared, "give each its own")))
		right := a.sim.ConnectionString("service")
		a.secretKey("connectionString", wrongKey(a.sim))
		a.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		Eventually(func() *v1alpha1.IoTHub { return b.hubObject() }, toldWithin).Should(beStreaming())
		a.secretKey("connectionString", right)
		a.eventuallyHub(And(beReady(), notStreaming(v1alpha1.ReasonConsumerGroupShared, "give each its own")))
		Expect(b.hubObject()).To(beStreaming())
	})
})
