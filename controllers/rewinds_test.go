package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// putBackStatus has the status of an object be what it was, as a restore does.
func putBackStatus(copied, live client.Object) {
	GinkgoHelper()
	Eventually(func() error {
		if err := admin.Get(ctx, client.ObjectKeyFromObject(live), live); err != nil {
			return err
		}
		old := copied.DeepCopyObject().(client.Object)
		old.SetResourceVersion(live.GetResourceVersion())
		return admin.Status().Update(ctx, old)
	}).Should(Succeed())
}

var _ = Describe("An object that is put back to an older copy while the operator runs", func() {
	It("is not believed: the twin is read, and status says what the hub holds", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		copied := s.get("d")
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21")))
		is := s.get("d").Status
		s.sim.Calls().Reset()
		putBackStatus(copied, s.get("d"))
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21"), HaveField("Status.Twin.DesiredVersion", is.Twin.DesiredVersion)))
		Expect(s.reads("d")).To(Equal(1))
		Expect(s.writes("d")).To(BeZero())
	})

	It("before the device answered shows the answer", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		copied := s.get("d")
		s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"later"}}`)
		s.eventually("d", haveAnswer("later"))
		putBackStatus(copied, s.get("d"))
		s.eventually("d", haveAnswer("later"))
	})

	It("with its spec is written once, and no more than that", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		copied := s.get("d")
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21")))
		s.sim.Calls().Reset()
		putBackStatus(copied, s.get("d"))
		s.edit("d", withProperties(`{"targetTemperature": 20}`))
		s.eventuallyDesired("d", `{"targetTemperature": 20}`)
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "20")))
		Consistently(func() int { return s.writes("d") }, time.Second).Should(Equal(1))
	})

	It("and the record of commands with it, does not run a command again", func() {
		s := plant()
		first, second := s.sharingRecord()
		unused := s.command(first)
		s.run(first)
		s.eventuallyCommand(first, haveOutcome(v1alpha1.CommandSucceeded))
		putBackCommand := func() {
			live := s.getCommand(first)
			putBackStatus(unused, live)
			Eventually(func() error {
				live := s.getCommand(first)
				delete(live.Annotations, v1alpha1.AnnotationAttempt)
				return admin.Update(ctx, live)
			}).Should(Succeed())
		}
		s.putRecordBack(unused, ledger.Entries{})
		putBackCommand()
		s.eventuallyCommand(first, haveOutcome(v1alpha1.CommandSucceeded))
		By("not after another command was recorded over the older copy, either")
		s.run(second)
		s.eventuallyCommand(second, haveOutcome(v1alpha1.CommandSucceeded))
		Eventually(func() *ledger.Entry { return s.onRecord(unused) }).ShouldNot(BeNil(), "it is on record again")
		putBackCommand()
		s.eventuallyCommand(first, haveOutcome(v1alpha1.CommandSucceeded))
		Expect(s.ran(report)).To(Equal(2))
	})
})

// sharingRecord names two commands whose record is in one ConfigMap.
func (s *site) sharingRecord() (first, second string) {
	const name = "c0"
	for i := 1; ; i++ {
		if other := fmt.Sprintf("c%d", i); controllers.LedgerName(s.command(other)) == controllers.LedgerName(s.command(name)) {
			return name, other
		}
	}
}

// putRecordBack has the ConfigMap of a command's record hold an older copy, while an operator runs.
func (s *site) putRecordBack(c *v1alpha1.DeviceCommand, entries ledger.Entries) {
	GinkgoHelper()
	text, err := entries.Encode()
	Expect(err).NotTo(HaveOccurred())
	Eventually(func() error {
		m := s.ledgerOf(c)
		if err := admin.Get(ctx, client.ObjectKeyFromObject(m), m); err != nil {
			return err
		}
		m.Data = map[string]string{controllers.LedgerKey: text}
		return admin.Update(ctx, m)
	}).Should(Succeed())
}
