package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// outage has the hub not ready until the returned function ends that.
func (s *site) outage() (end func()) {
	GinkgoHelper()
	secret := &corev1.Secret{}
	key := client.ObjectKey{Namespace: s.namespace, Name: "hub"}
	Expect(admin.Get(ctx, key, secret)).To(Succeed())
	whole := secret.DeepCopy().Data
	secret.Data["connectionString"] = []byte("nonsense")
	Expect(admin.Update(ctx, secret)).To(Succeed())
	return func() {
		GinkgoHelper()
		Expect(admin.Get(ctx, key, secret)).To(Succeed())
		secret.Data = whole
		Expect(admin.Update(ctx, secret)).To(Succeed())
	}
}

// ofDevice has a command go to a PnPDevice.
func ofDevice(name string) func(*v1alpha1.DeviceCommand) {
	return commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.DeviceRef.Name = name })
}

var _ = Describe("A DeviceCommand, by what is known of its device,", func() {
	DescribeTable("is not sent after an outage of the hub where it was not before", func(declare func(*site), reason string) {
		s := plant()
		declare(s)
		s.run("c", ofDevice("other"))
		s.eventuallyCommand("c", waitsFor(reason))
		end := s.outage()
		s.eventually("other", beStalled(v1alpha1.ReasonHubNotReady))
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonHubNotReady))
		end()
		s.eventuallyCommand("c", waitsFor(reason))
		s.eventually("other", beStalled(reason))
		Consistently(func() int { return s.sim.Calls().Count(simulator.OpInvokeCommand) }, time.Second).Should(BeZero())
		Expect(s.getCommand("c")).To(waitsFor(reason))
	},
		Entry("of another model", func(s *site) {
			s.virtual("other", simulator.Thermostat, simulator.Acknowledge())
			s.create("other", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.ModelID = "dtmi:com:example:Other;1" }))
		}, v1alpha1.ReasonModelMismatch),
		Entry("of another object", func(s *site) {
			s.create("other", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.DeviceID = "d" }))
		}, v1alpha1.ReasonDeviceAlreadyDeclared),
	)

	It("looks at the model after a start, and is sent", func() {
		s := plant()
		s.edit("d", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.ModelID = simulator.TemperatureController }))
		s.eventually("d", beReady())
		restartOperator()
		s.eventuallyHub(beStreaming())
		s.run("c")
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
	})

	It("that ran is not sent again after a start, though the hub said that its device was offline", func() {
		s := plant()
		s.sim.AMQP().Stall("")
		s.lies(simulator.Broken(simulator.FaultOfflineAfter))
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Component, c.Command, c.Payload = "", "reboot", nil }))
		Eventually(func() int { return s.ran("reboot") }).Should(Equal(1))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.eventuallyCommand("c", SatisfyAll(waitsFor(v1alpha1.ReasonDeviceOffline), HaveField("Status.DeviceOffline.Until", Not(BeNil()))))
		restartOperator()
		s.eventuallyHub(haveCondition(v1alpha1.ConditionEventStreamReady, "False/Lagging"))
		Consistently(func() int { return s.sim.Calls().Count(simulator.OpInvokeCommand) }, 4*time.Second).Should(Equal(1))
		s.sim.AMQP().Release()
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandUnknown))
		Expect(s.ran("reboot")).To(Equal(1))
	})

	It("for an offline device is sent once after a start, when the events were heard, and when the device is back", func() {
		s := plant()
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionState", "Disconnected"))
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		restartOperator()
		s.eventuallyCommand("c", SatisfyAll(waitsFor(v1alpha1.ReasonDeviceOffline), HaveField("Status.Attempts", BeEquivalentTo(2))))
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), HaveField("Status.Attempts", BeEquivalentTo(3))))
		Expect(s.ran(report)).To(Equal(1))
	})

	DescribeTable("compares the hub's events with its answers by the hub's clock, which is", func(ahead time.Duration) {
		s := plant()
		s.sim.SetClockOffset(ahead)
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionState", "Disconnected"))
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		s.lies(simulator.Broken(simulator.FaultOfflineAfter))
		s.run("lie")
		Eventually(func() int { return s.ran(report) }).Should(Equal(2))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventuallyCommand("lie", haveOutcome(v1alpha1.CommandUnknown))
	},
		Entry("ahead of ours", time.Minute),
		Entry("behind ours", -time.Minute),
	)
})
