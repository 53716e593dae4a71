package controllers_test

import (
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// failing has the hub fail an operation with a status.
func (s *site) failing(operation, device string, status int) {
	s.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultStatus, Operation: operation, Device: device, Status: status, Count: -1})
}

// recovers has the hub do what it is asked again.
func (s *site) recovers() { s.sim.Faults().Clear() }

func temperature(i int) func(*v1alpha1.PnPDevice) {
	return withProperties(fmt.Sprintf(`{"targetTemperature": %d}`, i))
}

// hotter is an edit of acknowledged.
func hotter(d *v1alpha1.PnPDevice) { temperature(43)(d) }

// acknowledged is a site whose device "d" acknowledged 42 degrees. No events are read.
func acknowledged() *site {
	GinkgoHelper()
	s := declaring(simulator.Acknowledge())
	s.eventually("d", beReady())
	return s
}

// streaming is a site with a device that acknowledges, and events that are trusted.
func streaming() *site {
	GinkgoHelper()
	s := newEventSite()
	s.trusted()
	s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
	s.create("d", temperature(20))
	s.eventually("d", beReady())
	return s
}

// behaves has the device react in another way from now on.
func (s *site) behaves(b simulator.Behaviour) {
	GinkgoHelper()
	Expect(s.sim.Devices().Behave("d", b)).To(Succeed())
}

// edits returns what edits "d".
func (s *site) edits(edits ...func(*v1alpha1.PnPDevice)) func() {
	return func() {
		GinkgoHelper()
		s.edit("d", edits...)
	}
}

// answersNow has the device answer what the hub holds, and the operator look.
func (s *site) answersNow(value string) func() {
	return func() {
		GinkgoHelper()
		s.answer(value, 200, s.desiredVersion("d"))
		s.readNow("d")
	}
}

func (s *site) goesOffline() {
	GinkgoHelper()
	Expect(s.sim.Devices().Offline("d")).To(Succeed())
}

func (s *site) comesOnline() {
	GinkgoHelper()
	Expect(s.sim.Devices().Online("d")).To(Succeed())
}

// isDisabled has the hub let the device in no more, until the returned function.
func (s *site) isDisabled() (enable func()) {
	GinkgoHelper()
	s.disable("d", "maintenance")
	return func() {
		GinkgoHelper()
		s.enable("d")
		s.comesOnline()
	}
}

// resumes returns what has the IoTHub be suspended no more.
func (s *site) resumes() func() { return func() { s.editHub(hubSuspended(false)) } }

// deletes begins to delete "d", which has something to clear.
func (s *site) deletes() {
	GinkgoHelper()
	s.eventually("d", HaveField("Finalizers", Not(BeEmpty())))
	Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
}

// clears is acknowledged with something to clear.
func clears() *site {
	GinkgoHelper()
	s := acknowledged()
	s.edit("d", clearing)
	s.eventually("d", And(beReady(), HaveField("Finalizers", Not(BeEmpty()))))
	return s
}

func deviceIsReady(name string) func(s *site, g Gomega) {
	return func(s *site, g Gomega) { g.Expect(s.read(g, name)).To(beReady()) }
}

// deviceIsGone is what is right of one that is deleted.
func deviceIsGone(s *site, g Gomega) {
	err := admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "d"}, &v1alpha1.PnPDevice{})
	g.Expect(apierrors.IsNotFound(err)).To(BeTrue())
}

// tenfold does something again and again, each time after one more try of the operator.
func tenfold(tries func() int, do func(i int)) {
	GinkgoHelper()
	for i := range 10 {
		before := tries()
		do(i)
		Eventually(tries).Should(BeNumerically(">", before))
	}
}

// waitingForTheLowNumber is a site whose device is about to wait for the daily messages that another
// IoTHub of the hub states.
func waitingForTheLowNumber() *site {
	GinkgoHelper()
	s := newSite()
	Expect(admin.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"},
		StringData: map[string]string{"connectionString": s.sim.ConnectionString("service")},
	})).To(Succeed())
	other := s.iotHub()
	other.Name, other.Spec.Authentication.ConnectionStringSecretRef.Name = "other", "other"
	other.Spec.RequestBudget = budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages = 10 })
	Expect(admin.Create(ctx, other)).To(Succeed())
	s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
	s.create("d", onceApplied, temperature(0))
	return s
}

// usesUp has "d" be edited until no messages are left.
func (s *site) usesUp() {
	GinkgoHelper()
	for i := range 12 {
		s.edit("d", temperature(20+i))
		s.eventually("d", Or(beReady(), beWaiting(v1alpha1.ReasonDailyMessagesUsed)))
	}
}

// manyOwned is a site whose device holds 25 properties.
func manyOwned(edits ...func(*v1alpha1.PnPDevice)) *site {
	GinkgoHelper()
	s := newSite()
	s.virtual("d", simulator.Thermostat, simulator.Ignore())
	s.create("d", append(edits, onceApplied, through(v1alpha1.TwinAPIDeviceTwin), withProperties(leaves(25)))...)
	s.eventually("d", beReady())
	return s
}

const answersExpected = "Waiting for the device to acknowledge targetTemperature"

var walksOfDevices = map[string]walk{
	// Answers of the device.
	"an answer is waited for": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter)
			return s.answersNow("43")
		},
		shows: waits(v1alpha1.ReasonAwaitingAcknowledgement, "Connected 0/1 False "+answersExpected), within: told,
	},
	"no answer came in time": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter, answeringWithin(1))
			return s.answersNow("43")
		},
		shows: fails(v1alpha1.ReasonAcknowledgementTimeout, "0/1 False Waited more than 1 s for the device to acknowledge targetTemperature"), within: told,
	},
	"the device works on it (202)": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter)
			s.eventuallyDesired("d", `{"targetTemperature": 43}`)
			s.answer("42", 202, s.desiredVersion("d"))
			s.readNow("d")
			return s.answersNow("43")
		},
		shows: waits(v1alpha1.ReasonAwaitingAcknowledgement, "0/1 False The device is working on targetTemperature (202: by hand)"), within: told,
	},
	"the device works on it (202) for too long": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter, answeringWithin(3))
			s.eventuallyDesired("d", `{"targetTemperature": 43}`)
			s.answer("42", 202, s.desiredVersion("d"))
			s.readNow("d")
			return s.answersNow("43")
		},
		shows: fails(v1alpha1.ReasonAcknowledgementTimeout, "The device has been working on targetTemperature for more than 3 s (202: by hand)"), within: told,
	},
	"the device refuses": {
		enter: func(s *site) func() {
			s.behaves(simulator.Reject(400, "too hot"))
			s.edit("d", hotter)
			return func() {
				s.behaves(simulator.Acknowledge())
				s.edit("d", temperature(41))
			}
		},
		shows: fails(v1alpha1.ReasonRejected, "0/1 False The device rejected targetTemperature with code 400: too hot"), within: told,
	},
	"the device takes another value": {
		enter: func(s *site) func() {
			s.behaves(simulator.Adjust("40"))
			s.edit("d", hotter)
			return s.edits(temperature(40))
		},
		shows: fails(v1alpha1.ReasonAdjusted, "0/1 False The device took 40 for targetTemperature instead of 43"), within: told,
	},
	"the device answers without an acknowledgement": {
		enter: func(s *site) func() {
			s.behaves(simulator.PlainValue())
			s.edit("d", hotter)
			return func() {
				s.behaves(simulator.Acknowledge())
				s.edit("d", temperature(41))
			}
		},
		shows: waits(v1alpha1.ReasonAwaitingAcknowledgement, "readyWhen: Applied"), within: asked,
	},
	"one value is refused, and another one not answered": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", withProperties(`{"targetTemperature": 43, "mode": "eco"}`))
			s.eventuallyDesired("d", `{"targetTemperature": 43, "mode": "eco"}`)
			s.answer("42", 400, s.desiredVersion("d"))
			s.readNow("d")
			return s.edits(withProperties(`{}`))
		},
		shows: fails(v1alpha1.ReasonRejected, "The device rejected targetTemperature with code 400: by hand; 1 more is not acknowledged: mode"), within: told,
	},
	"the stream dies after a write": {
		from: streaming,
		enter: func(s *site) func() {
			s.virtual("slow", simulator.Thermostat, simulator.Ignore())
			s.create("slow", temperature(20))
			s.eventually("slow", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
			s.sim.Events().RemoveGroup("pnp-operator")
			s.sim.AMQP().Cut()
			s.eventuallyHub(notStreaming(v1alpha1.ReasonConsumerGroupNotFound))
			return func() { s.report("slow", `{"targetTemperature":{"value":20,"ac":200,"av":2}}`) }
		},
		shows: waits(v1alpha1.ReasonAwaitingAcknowledgement, answersExpected).on("slow"), within: asked,
	},

	// The hub holds enough, or the device is not there.
	"the hub's word is enough (readyWhen: Applied)": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter, onceApplied)
			return func() {
				s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ReadyWhen = v1alpha1.ReadyWhenAcknowledged }))
				s.answersNow("43")()
			}
		},
		shows: current(v1alpha1.ReasonApplied, "0/1 True The hub holds every declared value"), within: told,
	},
	"the device is offline": {
		from: streaming,
		enter: func(s *site) func() {
			s.goesOffline()
			s.edit("d", hotter)
			return s.comesOnline
		},
		shows: waits(v1alpha1.ReasonDeviceOffline, "Disconnected 0/1 False Offline since 20"), within: told,
	},
	"the device is offline, and that is enough (readyWhen: Reachable)": {
		from: streaming,
		enter: func(s *site) func() {
			s.goesOffline()
			s.edit("d", hotter, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ReadyWhen = v1alpha1.ReadyWhenReachable }))
			return s.comesOnline
		},
		shows: current(v1alpha1.ReasonDeviceOffline, "Disconnected 0/1 True The hub holds every declared value. Offline since 20"), within: told,
	},
	"the device is disabled": {
		from: streaming,
		enter: func(s *site) func() {
			enable := s.isDisabled()
			s.edit("d", hotter)
			return enable
		},
		shows: waits(v1alpha1.ReasonDeviceDisabled, "Disabled 0/1 False Disabled at the hub since 20"), within: told,
	},
	"the device is disabled, and that is enough (readyWhen: Reachable)": {
		from: streaming,
		enter: func(s *site) func() {
			enable := s.isDisabled()
			s.edit("d", hotter, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ReadyWhen = v1alpha1.ReadyWhenReachable }))
			return enable
		},
		shows: current(v1alpha1.ReasonDeviceDisabled, "Disabled 0/1 True The hub holds every declared value. Disabled at the hub"), within: told,
	},
	"the device is gone": {
		enter: func(s *site) func() {
			s.deleted("d")
			s.edit("d", hotter)
			return func() { s.virtual("d", simulator.Thermostat, simulator.Acknowledge()) }
		},
		shows: fails(v1alpha1.ReasonDeviceNotFound, "0/1 False The hub does not know the device"), within: asked,
	},
	"a device that the hub denies and that reports": {
		from: streaming,
		enter: func(s *site) func() {
			s.failing(simulator.OpGetTwin, "d", 404)
			s.readNow("d")
			s.eventually("d", beStalled(v1alpha1.ReasonDeviceNotFound))
			reads := s.reads("d") // the next try is some time away
			Eventually(func() int { return s.reads("d") }, asked).Should(BeNumerically(">=", reads+2))
			return func() {
				s.recovers()
				s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"here I am"}}`)
			}
		},
		shows: fails(v1alpha1.ReasonDeviceNotFound, "0/1 False The hub does not know the device"), within: told,
	},
	"another model is announced": {
		enter: func(s *site) func() {
			s.edit("d", hotter, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "dtmi:other;1" }))
			return s.edits(withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = simulator.Thermostat }))
		},
		shows: fails(v1alpha1.ReasonModelMismatch, `0/1 False The device announced "dtmi:com:example:Thermostat;1"; spec.modelID is "dtmi:other;1"`), within: told,
	},

	// Suspended, and with what.
	"it is suspended in sync": {
		enter: func(s *site) func() {
			s.edit("d", suspended)
			return s.edits(resumed)
		},
		shows:  current(v1alpha1.ReasonDeviceAcknowledged, "1/1 True The device acknowledged every declared value (suspended, as of 20").and(v1alpha1.ConditionSuspended, "True/Suspended"),
		within: told,
	},
	"it is suspended with an edit": {
		enter: func(s *site) func() {
			s.edit("d", suspended, hotter)
			return s.edits(resumed)
		},
		shows: fails(v1alpha1.ReasonSuspended, "0/1 False Suspended since 20").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"it is suspended while an answer is waited for": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter)
			s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
			s.edit("d", suspended)
			return func() {
				s.answer("43", 200, s.desiredVersion("d"))
				s.edit("d", resumed)
			}
		},
		shows: waits(v1alpha1.ReasonAwaitingAcknowledgement, "suspended, as of 20").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"it is suspended and asked to resend": {
		enter: func(s *site) func() {
			s.behaves(simulator.Ignore())
			s.edit("d", hotter)
			s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
			s.edit("d", suspended, annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
			return func() {
				s.behaves(simulator.Acknowledge())
				s.edit("d", resumed)
			}
		},
		shows: fails(v1alpha1.ReasonSuspended, "not sent again: targetTemperature").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: asked,
	},
	"it is suspended while it is refused": {
		enter: func(s *site) func() {
			s.behaves(simulator.Reject(400, "too hot"))
			s.edit("d", hotter)
			s.eventually("d", beStalled(v1alpha1.ReasonRejected))
			s.edit("d", suspended)
			return func() {
				s.behaves(simulator.Acknowledge())
				s.edit("d", resumed, temperature(41))
			}
		},
		shows: fails(v1alpha1.ReasonRejected, "code 400: too hot (suspended, as of 20").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: asked,
	},
	"it is suspended and its declaration is invalid": {
		enter: func(s *site) func() {
			s.edit("d", suspended, withProperties(`{"targetTemperature": null}`))
			return s.edits(resumed, temperature(42))
		},
		shows: fails(v1alpha1.ReasonInvalidDeclaration, "targetTemperature is null").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"it is suspended and its IoTHub is suspended": {
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.edit("d", suspended, hotter)
			return func() {
				s.resumes()()
				s.edit("d", resumed)
			}
		},
		shows: fails(v1alpha1.ReasonSuspended, "not written: targetTemperature").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"it is suspended and without its IoTHub": {
		enter: func(s *site) func() {
			s.edit("d", suspended, at("nowhere"))
			return s.edits(resumed, at("hub"))
		},
		shows: waits(v1alpha1.ReasonHubNotFound, `IoTHub "nowhere" does not exist`).and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},
	"it is suspended and only observes": {
		enter: func(s *site) func() {
			s.edit("d", suspended, observing, hotter)
			return s.edits(resumed, enforcing)
		},
		shows: fails(v1alpha1.ReasonDrifted, "declared 43, the hub holds 42 (suspended, as of 20").and(v1alpha1.ConditionSuspended, "True/Suspended"), within: told,
	},

	// The IoTHub.
	"its IoTHub is suspended": {
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.edit("d", hotter)
			return s.resumes()
		},
		shows: fails(v1alpha1.ReasonHubSuspended, `0/1 False IoTHub "hub" is suspended: not written: targetTemperature`), within: told,
	},
	"its IoTHub is suspended and a value is to be removed": {
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.edit("d", withProperties(`{}`))
			return s.resumes()
		},
		shows: fails(v1alpha1.ReasonHubSuspended, `IoTHub "hub" is suspended: not removed: targetTemperature`), within: told,
	},
	"its IoTHub is suspended and its declaration is invalid": {
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.edit("d", withProperties(`{"targetTemperature": null}`))
			return func() {
				s.resumes()()
				s.edit("d", temperature(42))
			}
		},
		shows: fails(v1alpha1.ReasonInvalidDeclaration, "targetTemperature is null"), within: told,
	},
	"its IoTHub is suspended and another model is announced": {
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.edit("d", hotter, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "dtmi:other;1" }))
			return func() {
				s.resumes()()
				s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "" }))
			}
		},
		shows: fails(v1alpha1.ReasonModelMismatch, "The device announced"), within: told,
	},
	"its IoTHub is suspended and the hub fails": {
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.failing("*", "d", 503)
			s.edit("d", hotter)
			return func() {
				s.recovers()
				s.resumes()()
			}
		},
		shows: fails(v1alpha1.ReasonHubSuspended, "not written: targetTemperature"), within: asked,
	},
	"the credential is refused": {
		enter: func(s *site) func() {
			Expect(s.sim.Policies().Disable("service")).To(Succeed())
			s.edit("d", hotter)
			return func() { s.rotate("iothubowner") }
		},
		shows: fails(v1alpha1.ReasonHubNotReady, `0/1 False IoTHub "hub" is not ready: Unauthorized: The hub refused the credential`), within: told,
	},
	"the Secret of its IoTHub is gone": {
		enter: func(s *site) func() { return s.takeSecret() },
		shows: waits(v1alpha1.ReasonHubNotReady, `1/1 False IoTHub "hub" is not ready: SecretNotFound: Secret "hub" does not exist in namespace`), within: told,
	},
	"its IoTHub is gone": {
		enter: func(s *site) func() { return s.takeHub() },
		shows: waits(v1alpha1.ReasonHubNotFound, `1/1 False IoTHub "hub" does not exist in namespace`), within: told,
	},
	"it names no IoTHub that there is": {
		enter: func(s *site) func() {
			s.edit("d", at("nowhere"), hotter)
			return s.edits(at("hub"))
		},
		shows: waits(v1alpha1.ReasonHubNotFound, `False IoTHub "nowhere" does not exist in namespace`), within: told,
	},

	// The hub fails.
	"the hub fails, for now": {
		from: func() *site {
			patiently()
			return acknowledged()
		},
		enter: func(s *site) func() {
			s.failing("*", "d", 503)
			s.edit("d", hotter)
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonProgressing, "0/1 False "), within: asked,
	},
	"the hub fails": {
		enter: func(s *site) func() {
			s.failing("*", "d", 503)
			s.edit("d", hotter)
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "0/1 False The hub has been failing and is tried again: HTTP 503"), within: asked,
	},
	"the hub throttles": {
		enter: func(s *site) func() {
			s.failing("*", "d", 429)
			s.edit("d", hotter)
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonThrottled, "0/1 False The hub has been failing and is tried again: HTTP 429"), within: asked,
	},
	"an outage of writes with ten edits in it": {
		from: streaming,
		enter: func(s *site) func() {
			s.failing(simulator.OpPatchDigitalTwin, "d", 503)
			tenfold(func() int { return s.writes("d") }, func(i int) { s.edit("d", temperature(21+i)) })
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "0/1 False The hub has been failing"), within: asked,
	},
	"an outage of writes in which the device reports": {
		from: streaming,
		enter: func(s *site) func() {
			s.failing(simulator.OpPatchDigitalTwin, "d", 503)
			s.edit("d", temperature(21))
			tenfold(func() int { return s.writes("d") }, func(i int) {
				s.report("d", `{"targetTemperature":{"value":%d,"ac":200,"av":2}}`, 40+i)
			})
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "0/1 False The hub has been failing"), within: asked,
	},
	"many that fail, and one beside them succeeds": {
		from: streaming,
		enter: func(s *site) func() {
			for i := range 6 {
				name := fmt.Sprintf("out-%d", i)
				s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
				s.create(name, temperature(20))
				s.eventually(name, beReady())
			}
			s.failing(simulator.OpPatchDigitalTwin, "out-*", 503)
			for i := range 6 {
				s.edit(fmt.Sprintf("out-%d", i), temperature(21))
			}
			for i := range 6 {
				s.eventually(fmt.Sprintf("out-%d", i), beWaiting(v1alpha1.ReasonHubUnavailable))
			}
			return func() {
				s.recovers()
				s.edit("d", temperature(21)) // its success tells
			}
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "0/1 False The hub has been failing").on("out-3"),
		right: func(s *site, g Gomega) {
			for i := range 6 {
				deviceIsReady(fmt.Sprintf("out-%d", i))(s, g)
			}
		},
		within: told,
	},
	"a device whose read fails and that reports": {
		from: streaming,
		enter: func(s *site) func() {
			s.failing(simulator.OpGetTwin, "d", 503)
			s.edit("d", annotate(v1alpha1.AnnotationReconcileRequestedAt, "1"))
			s.eventually("d", beWaiting(v1alpha1.ReasonHubUnavailable))
			Eventually(func() int { return s.reads("d") }, asked).Should(BeNumerically(">=", 7))
			return func() {
				s.recovers()
				s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"here I am"}}`)
			}
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "False The hub has been failing"), within: told,
	},
	"a write that is refused for a while": {
		from: streaming,
		enter: func(s *site) func() {
			s.failing(simulator.OpPatchDigitalTwin, "d", 400)
			s.edit("d", temperature(21))
			return s.recovers
		},
		shows: fails(v1alpha1.ReasonHubRefused, "0/1 False "), within: asked,
	},
	"the tier of the hub refuses writes": {
		enter: func(s *site) func() {
			s.sim.Faults().Add(simulator.Fault{
				Operation: "Patch*", Device: "d", Kind: simulator.FaultStatus, Status: 403, Code: "OperationNotAvailableInCurrentTier", Number: 403010, Count: simulator.Forever,
			})
			s.edit("d", hotter)
			return s.recovers
		},
		shows: fails(v1alpha1.ReasonHubRefused, "0/1 False 403 OperationNotAvailableInCurrentTier (403010)"), within: asked,
	},

	// Requests and messages.
	"requests are used up for now": {
		from: func() *site {
			s := newRationedSite(plenty)
			s.fleet(12)
			s.allReady()
			s.ration(budget(func(b *v1alpha1.RequestBudget) { b.TwinWritesPerSecond = 1 }))
			Eventually(s.rate("TwinWrite")).Should(Equal(1.0))
			return s
		},
		enter: func(s *site) func() {
			for i := range 12 {
				s.edit(fmt.Sprintf("d-%d", i), temperature(30))
			}
			return func() { s.ration(plenty) }
		},
		shows: waits(v1alpha1.ReasonWaitingForBudget, "0/1 False Waiting for its turn: spec.requestBudget of the IoTHub has no twin writes left for now").on("d-11"),
		moves: true, within: told,
	},
	"the low number of another IoTHub that is deleted": {
		from: waitingForTheLowNumber,
		enter: func(s *site) func() {
			s.usesUp()
			return func() {
				Expect(admin.Delete(ctx, &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"}})).To(Succeed())
			}
		},
		shows: waits(v1alpha1.ReasonDailyMessagesUsed, `spec.requestBudget.dailyMessages: 10 of IoTHub "other" are used`), within: told,
	},
	"the low number of another IoTHub that is refused": {
		from: waitingForTheLowNumber,
		enter: func(s *site) func() {
			s.usesUp()
			return func() {
				Expect(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"}})).To(Succeed())
			}
		},
		shows: waits(v1alpha1.ReasonDailyMessagesUsed, `spec.requestBudget.dailyMessages: 10 of IoTHub "other" are used`), within: told,
	},
	"the hub's own messages of the day are used up": {
		enter: func(s *site) func() {
			s.outOfMessages()
			return s.unitsAreAdded
		},
		shows: waits(v1alpha1.ReasonQuotaExceeded, "0/1 False The hub's own messages of the day are used up (403002)"), within: told,
	},

	// The declaration.
	"its declaration is invalid": {
		enter: func(s *site) func() {
			s.edit("d", withProperties(`{"targetTemperature": null}`))
			return s.edits(temperature(42))
		},
		shows: fails(v1alpha1.ReasonInvalidDeclaration, "0/1 False properties.targetTemperature is null"), within: told,
	},
	"it only observes": {
		enter: func(s *site) func() {
			s.edit("d", observing, hotter)
			return s.edits(enforcing)
		},
		shows: fails(v1alpha1.ReasonDrifted, "0/1 False targetTemperature: declared 43, the hub holds 42"), within: told,
	},
	"it only observes, and the device is offline": {
		from: streaming,
		enter: func(s *site) func() {
			s.goesOffline()
			s.edit("d", observing, hotter)
			return func() {
				s.comesOnline()
				s.edit("d", enforcing)
			}
		},
		shows: fails(v1alpha1.ReasonDrifted, "0/1 False targetTemperature: declared 43, the hub holds 20"), within: told,
	},
	"a configuration of the hub writes the same value": {
		enter: func(s *site) func() {
			Expect(s.sim.Hub().PatchDesired("d", `{"targetTemperature": 7}`, "line-config")).To(Succeed())
			s.readNow("d")
			return s.edits(withProperties(`{}`))
		},
		shows: fails(v1alpha1.ReasonOwnershipConflict, `targetTemperature: declared 42, the hub holds 7, and is left alone for now: configuration "line-config" of the hub writes it`), within: told,
	},
	"another writer keeps changing a value": {
		enter: func(s *site) func() {
			for i := range 3 {
				s.drift(50 + i)
				s.eventuallyDesired("d", `{"targetTemperature": 42}`)
				s.eventually("d", HaveField("Status.Properties", ConsistOf(HaveField("CorrectedAt", HaveLen(i+1)))))
			}
			s.drift(60)
			return s.edits(withProperties(`{}`))
		},
		shows: fails(v1alpha1.ReasonOwnershipConflict, "targetTemperature: declared 42, the hub holds 60, and is left alone for now: another writer keeps changing it, tried again at 20"), within: told,
	},
	"the twin takes no digital-twin patch": {
		enter: func(s *site) func() {
			s.report("d", `{"not-conformant": [1]}`)
			s.edit("d", hotter)
			return s.edits(through(v1alpha1.TwinAPIDeviceTwin))
		},
		shows: fails(v1alpha1.ReasonTwinNotConformant, "0/1 False The hub refuses every digital-twin patch while the twin holds"), within: told,
	},
	"another PnPDevice has the device": {
		enter: func(s *site) func() {
			s.create("e", hotter, withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = "d" }))
			return func() { Expect(admin.Delete(ctx, s.get("d"))).To(Succeed()) }
		},
		shows: fails(v1alpha1.ReasonDeviceAlreadyDeclared, "0/1 False Device \"d\" of hub ").on("e"), within: told,
	},
	"its DeviceModel forbids it": {
		enter: func(s *site) func() {
			s.createModel("thermostat")
			s.eventually("d", haveCondition(v1alpha1.ConditionConformsToModel, "True/"+v1alpha1.ReasonConforms))
			s.edit("d", withProperties(`{"targetTemperature":"hot"}`))
			return s.edits(temperature(42))
		},
		shows: fails(v1alpha1.ReasonModelViolation, `0/1 False spec.properties.targetTemperature is "hot", want a number`).and(v1alpha1.ConditionConformsToModel, "False/ModelViolation"), within: told,
	},
	"its DeviceModel warns": {
		enter: func(s *site) func() {
			s.createModel("thermostat", warning)
			s.edit("d", withProperties(`{"other":1}`))
			return s.edits(temperature(42))
		},
		shows: current(v1alpha1.ReasonDeviceAcknowledged, "1/1 True ").and(v1alpha1.ConditionConformsToModel, "False/ModelViolation"), within: told,
	},
	"its DeviceModel is not ready": {
		enter: func(s *site) func() {
			s.createModel("thermostat")
			s.eventually("d", haveCondition(v1alpha1.ConditionConformsToModel, "True/"+v1alpha1.ReasonConforms))
			s.editModel("thermostat", inDTDL(`"double"`, `"dubble"`))
			return func() {
				s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.DTDL = s.sampleModel("thermostat").Spec.DTDL })
			}
		},
		shows: waits(v1alpha1.ReasonModelNotReady, `1/1 False DeviceModel "thermostat" cannot be used: `), within: told,
	},
	"it conforms to its DeviceModel": {
		enter: func(s *site) func() {
			s.createModel("thermostat")
			return func() { Expect(admin.Delete(ctx, s.sampleModel("thermostat"))).To(Succeed()) }
		},
		shows: current(v1alpha1.ReasonDeviceAcknowledged, "1/1 True").and(v1alpha1.ConditionConformsToModel, "True/Conforms"), within: told,
	},

	// Removals.
	"removals are halted": {
		from: func() *site { return manyOwned() },
		enter: func(s *site) func() {
			s.edit("d", withProperties(`{}`))
			return s.edits(withProperties(leaves(25)))
		},
		shows: fails(v1alpha1.ReasonMassRemoval, "0/0 False One sync would remove an unusually large share"), within: told,
	},
	"removals are halted, and it is being deleted": {
		from: func() *site { return manyOwned(clearing) },
		enter: func(s *site) func() {
			s.deletes()
			return s.edits(func(d *v1alpha1.PnPDevice) { d.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
		},
		shows: fails(v1alpha1.ReasonMassRemoval, "Being deleted: ").leaving(), right: deviceIsGone, within: told,
	},
	"it is being deleted and the hub fails, for now": {
		from: func() *site {
			patiently()
			return clears()
		},
		enter: func(s *site) func() {
			s.failing("*", "d", 503)
			s.deletes()
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonProgressing, "Being deleted: targetTemperature is still to be removed; the hub has been failing").leaving(), right: deviceIsGone, within: asked,
	},
	"it is being deleted and the hub fails": {
		from: clears,
		enter: func(s *site) func() {
			s.failing("*", "d", 503)
			s.deletes()
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonHubUnavailable, "Being deleted: targetTemperature is still to be removed").leaving(), right: deviceIsGone, within: asked,
	},
	"it is being deleted and the hub throttles": {
		from: clears,
		enter: func(s *site) func() {
			s.failing("*", "d", 429)
			s.deletes()
			return s.recovers
		},
		shows: waits(v1alpha1.ReasonThrottled, "Being deleted: targetTemperature is still to be removed").leaving(), right: deviceIsGone, within: asked,
	},
	"it is being deleted and its IoTHub is suspended": {
		from: clears,
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.deletes()
			return s.resumes()
		},
		shows: fails(v1alpha1.ReasonHubSuspended, "Being deleted: targetTemperature is still to be removed; IoTHub \"hub\" is suspended").leaving(), right: deviceIsGone, within: told,
	},
	"it is being deleted, its IoTHub is suspended, and what it holds may stay": {
		from: clears,
		enter: func(s *site) func() {
			s.suspendHub(true)
			s.deletes()
			return s.edits(func(d *v1alpha1.PnPDevice) { d.Spec.DeletionPolicy = v1alpha1.DeletionRetain })
		},
		shows: fails(v1alpha1.ReasonHubSuspended, "or set deletionPolicy: Retain").leaving(), right: deviceIsGone, within: told,
	},

	// The API server.
	"the API server refuses its status": {
		from: streaming,
		enter: func(s *site) func() {
			refuser.of("refuse me")
			DeferCleanup(func() { refuser.of("") })
			s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
			s.report("d", `{"x": "refuse me"}`)
			return func() { refuser.of("") }
		},
		shows: fails(v1alpha1.ReasonStatusRefused, "The API server refused the status, and this shows less of it"), within: asked,
	},

	// Nothing is wrong.
	"a foreign change was put back": {
		enter: func(s *site) func() {
			s.drift(99)
			s.eventuallyDesired("d", `{"targetTemperature": 42}`)
			Eventually(func() string { return s.lastEvent("d") }).Should(Equal("Warning " + v1alpha1.ReasonDriftCorrected))
			return nil
		},
		shows: current(v1alpha1.ReasonDeviceAcknowledged, "1/1 True The device acknowledged every declared value"),
	},
	"a value was released to another writer": {
		enter: func(s *site) func() {
			s.edit("d", suspended)
			s.eventually("d", beReady())
			s.foreign("d", `{"targetTemperature": 99}`)
			s.edit("d", resumed, withProperties(`{}`))
			Eventually(func() string { return s.lastEvent("d") }).Should(Equal("Warning " + v1alpha1.ReasonReleased))
			return nil
		},
		shows: current(v1alpha1.ReasonDeviceAcknowledged, "0/0 True"),
	},
}

// outOfMessages has the hub refuse what is asked beyond one message, and "d" need more.
func (s *site) outOfMessages() {
	GinkgoHelper()
	s.sim.SetLimits(simulator.Limits{DailyMessages: 1})
	s.edit("d", annotate(v1alpha1.AnnotationReconcileRequestedAt, "the only one"))
	s.edit("d", hotter)
	s.eventually("d", beWaiting(v1alpha1.ReasonQuotaExceeded))
}

// unitsAreAdded has it take more, and the IoTHub say so.
func (s *site) unitsAreAdded() {
	GinkgoHelper()
	s.sim.SetLimits(simulator.Limits{})
	s.ration(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages++ }))
}
