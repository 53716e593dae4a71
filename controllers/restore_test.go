package controllers_test

import (
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// backup is what a backup tool keeps of an object, and restores without status into a cluster where it got lost: another UID, another time of creation.
func backup[T client.Object](o T) T {
	kept := o.DeepCopyObject().(T)
	kept.SetUID("")
	kept.SetResourceVersion("")
	kept.SetCreationTimestamp(metav1.Time{})
	kept.SetManagedFields(nil)
	kept.SetFinalizers(nil)
	return kept
}

var _ = Describe("A restore without status", func() {
	It("writes to no device, runs no command again, and removes nothing that others wrote", func() {
		s := plant()
		s.run("done")
		s.eventuallyCommand("done", haveOutcome(v1alpha1.CommandSucceeded))
		s.foreign("d", `{"thermostat2":{"__t":"c","targetTemperature":5}}`)
		objects := []client.Object{backup(s.hubObject()), backup(s.get("d")), backup(s.getCommand("done"))}

		manager.stop() // the cluster is lost: nobody sees the objects go
		removeDevices(s.namespace)
		s.loseLedger()
		writes, held := s.writes("d"), s.desired("d")
		for _, o := range objects {
			Expect(admin.Create(ctx, o)).To(Succeed())
		}
		Expect(s.get("d").Status.Twin).To(BeNil(), "status is not restored")
		manager = startOperator()

		s.eventually("d", beReady())
		s.eventuallyCommand("done", haveOutcome(v1alpha1.CommandUnknown))
		Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(1))
		Expect(s.writes("d")).To(Equal(writes))
		Expect(s.desired("d")).To(Equal(held))
		By("owning what it declares, as before")
		s.edit("d", withComponent("thermostat1", `{"targetTemperature":21}`))
		s.eventually("d", beReady())
		Expect(s.writes("d")).To(Equal(writes + 1))
	})

	It("over a twin that was changed meanwhile brings it back to what Git says, and leaves the rest", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		object := backup(s.get("d"))
		manager.stop()
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.foreign("d", `{"targetTemperature": 7, "other": 1}`)
		Expect(admin.Create(ctx, object)).To(Succeed())
		manager = startOperator()
		s.eventually("d", beReady())
		s.expectDesired("d", `{"targetTemperature": 20, "other": 1}`)
	})
})
