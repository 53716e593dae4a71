package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// beGone matches an object that claims nothing of a device that is not there.
func beGone(reason string) gomegatypes.GomegaMatcher {
	return And(
		haveCondition(v1alpha1.ConditionSynced, "False/"+reason), haveCondition(v1alpha1.ConditionAcknowledged, "False/"+reason),
		HaveField("Status.ConnectionState", ""), HaveField("Status.ConnectionStateSince", BeNil()), HaveField("Status.ConnectionStateSeenTime", BeNil()),
		HaveField("Status.Acknowledged", BeZero()), HaveField("Status.Summary", HavePrefix("0/")),
	)
}

// deleted takes a device away at the hub, as somebody with the registry in hand does.
func (s *site) deleted(id string) {
	GinkgoHelper()
	Expect(s.sim.Devices().Remove(id)).To(Succeed())
	Expect(s.sim.Hub().DeleteDevice(id)).To(Succeed())
}

var _ = Describe("A device that is gone at the hub", func() {
	for _, api := range dialects {
		It("is neither in sync nor acknowledged nor connected, and heals when it is back, through "+string(api), func() {
			s := newEventSite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", through(api), withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
			s.eventually("d", And(beReady(), HaveField("Status.Summary", "1/1"), HaveField("Status.ConnectionState", "Connected")))
			s.deleted("d")
			s.eventually("d", And(beStalled(v1alpha1.ReasonDeviceNotFound), beGone(v1alpha1.ReasonDeviceNotFound)))
			is := s.get("d")
			Expect(is.Status.Properties).To(HaveExactElements(And(
				HaveField("Name", target), HaveField("State", BeEquivalentTo("Pending")), HaveField("Reported", BeNil()), HaveField("AckCode", BeZero()),
				HaveField("Owned", BeTrue()), HaveField("DesiredVersion", Not(BeZero()))))) // on record, should the hub be mistaken
			_, err := kubectl("", "wait", "pnp/d", "-n", s.namespace, "--for=condition=Acknowledged", "--timeout=1s")
			Expect(err).To(HaveOccurred())

			By("saying so once")
			s.readNow("d")
			Expect(s.get("d").Status.Properties).To(Equal(is.Status.Properties))

			By("being back")
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.eventually("d", And(beReady(), HaveField("Status.Summary", "1/1"), HaveField("Status.ConnectionState", "Connected"),
				haveCondition(v1alpha1.ConditionSynced, "True/Applied"), haveCondition(v1alpha1.ConditionAcknowledged, "True/DeviceAcknowledged")))
			s.expectDesired("d", `{"targetTemperature": 42}`)
		})

		It("is found so by a write, through "+string(api), func() {
			s := declaring(simulator.Acknowledge(), through(api))
			s.eventually("d", beReady())
			s.deleted("d")
			s.edit("d", withProperties(`{"targetTemperature": 43}`))
			s.eventually("d", And(beStalled(v1alpha1.ReasonDeviceNotFound), beGone(v1alpha1.ReasonDeviceNotFound)))
		})
	}

	It("is found so with components, and shows none of them", func() {
		s := newEventSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature": 21}`))
		s.eventually("d", beReady())
		s.deleted("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonDeviceNotFound), beGone(v1alpha1.ReasonDeviceNotFound)))
		Expect(s.get("d").Status.Components).To(ConsistOf(And(HaveField("Name", "thermostat1"), HaveField("Exists", false))))
	})

	It("keeps what it owned on record: a hub that was mistaken costs no property", func() {
		s := declaring(simulator.Acknowledge())
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventually("d", beReady())
		mistaken := simulator.Fault{Kind: simulator.FaultStatus, Status: 404, Code: "DeviceNotFound", Number: 404001}
		id := s.sim.Faults().Add(mistaken.On(simulator.OpGetTwin, "d").Times(simulator.Forever))
		s.readNow("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonDeviceNotFound), beGone(v1alpha1.ReasonDeviceNotFound)))
		s.sim.Faults().Remove(id)
		s.edit("d", withProperties(`{"targetTemperature": 42}`))
		s.readNow("d")
		s.eventuallyDesired("d", `{"targetTemperature": 42}`)
		s.eventually("d", And(beReady(), HaveField("Status.Summary", "1/1")))
	})

	It("is not Ready because its object is suspended, and heals when it is resumed", func() {
		s := newEventSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())

		By("going while the object is suspended")
		s.edit("d", suspended)
		s.eventually("d", beReady())
		s.deleted("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonSuspended), beGone(v1alpha1.ReasonDeviceNotFound)))

		By("being suspended, or looked at by another operator, once it is gone")
		s.edit("d", resumed)
		s.eventually("d", And(beStalled(v1alpha1.ReasonDeviceNotFound), beGone(v1alpha1.ReasonDeviceNotFound)))
		restartOperator()
		s.edit("d", suspended)
		s.eventually("d", And(beStalled(v1alpha1.ReasonSuspended), beGone(v1alpha1.ReasonDeviceNotFound)))

		By("being back")
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.edit("d", resumed)
		s.eventually("d", And(beReady(), HaveField("Status.Summary", "1/1")))
	})
})

var _ = Describe("A PnPDevice that moved to another IoTHub", func() {
	It("claims nothing of the device there before it was asked for", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", And(beReady(), HaveField("Status.ConnectionState", "Connected")))
		s.createElsewhere()
		s.edit("d", at("elsewhere"))
		s.eventually("d", And(beWaiting(v1alpha1.ReasonHubNotReady), beGone(v1alpha1.ReasonHubNotReady)))
		Expect(property(s.get("d"), "", target)).To(And(HaveField("Owned", BeTrue()), HaveField("State", BeEquivalentTo("Acknowledged")))) // at the hub that status names

		By("being back")
		s.edit("d", at("hub"))
		s.eventually("d", And(beReady(), HaveField("Status.Summary", "1/1"), HaveField("Status.ConnectionState", "Connected")))
		Expect(s.writes("d")).To(Equal(1))
	})

	It("claims nothing of a device that the other one does not know", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		other := newHub()
		s.secretKey("other", other.ConnectionString("service"))
		hub := s.hubObject()
		hub.Spec.HostName, hub.Spec.Endpoint, hub.Spec.CABundle = other.HostName(), other.Endpoint(), string(other.CAPEM())
		hub.Spec.Authentication.ConnectionStringSecretRef.Key = "other"
		Expect(admin.Create(ctx, &v1alpha1.IoTHub{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "other"}, Spec: hub.Spec,
		})).To(Succeed())
		s.edit("d", at("other"))
		s.eventually("d", And(beStalled(v1alpha1.ReasonDeviceNotFound), beGone(v1alpha1.ReasonDeviceNotFound)))
		Expect(property(s.get("d"), "", target).Owned).To(BeTrue())
	})
})

var _ = Describe("The table of PnPDevices", func() {
	It("names the device before the operator has looked", func() {
		s := newSite()
		manager.stop()
		DeferCleanup(func() { manager = startOperator() })
		s.create("plain")
		s.create("named", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = "Some:Device" }))
		out, err := kubectl("", "get", "pnp", "-n", s.namespace, "--no-headers")
		Expect(err).NotTo(HaveOccurred(), out)
		Expect(out).To(And(MatchRegexp(`(?m)^plain\s+hub\s+plain\s`), MatchRegexp(`(?m)^named\s+hub\s+Some:Device\s`)))
	})

	It("shows the connection, and blanks of a device that is gone", func() {
		s := declaring(simulator.Acknowledge())
		s.eventually("d", beReady())
		row := func() string {
			out, err := kubectl("", "get", "pnp", "d", "-n", s.namespace, "--no-headers")
			Expect(err).NotTo(HaveOccurred(), out)
			return out
		}
		Expect(row()).To(MatchRegexp(`^d\s+hub\s+d\s+Connected\s+1/1\s+True\s`))
		s.deleted("d")
		s.readNow("d")
		Eventually(row).Should(MatchRegexp(`^d\s+hub\s+d\s+0/1\s+False\s`))
	})
})

// A count of the connected devices of a hub, or of those that are offline, has none that is gone.
var _ = Describe("The counts of an IoTHub", func() {
	It("have no device for offline that is gone", func() {
		s := declaring(simulator.Acknowledge())
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.readNow("d")
		s.eventually("d", HaveField("Status.ConnectionState", "Disconnected"))
		s.deleted("d")
		s.readNow("d")
		s.eventually("d", beGone(v1alpha1.ReasonDeviceNotFound))
		s.editHub(annotateHub(v1alpha1.AnnotationReconcileRequestedAt, "count"))
		Eventually(func(g Gomega) {
			hub := &v1alpha1.IoTHub{}
			g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, hub)).To(Succeed())
			g.Expect(hub.Status.Devices).To(HaveValue(And(HaveField("Total", BeEquivalentTo(1)), HaveField("Offline", BeZero()), HaveField("Ready", BeZero()))))
		}, 30*time.Second).Should(Succeed())
	})
})
