package controllers_test

import (
	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// paying is a command with a payload.
func paying(payload string) func(*v1alpha1.DeviceCommand) {
	return commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(payload) })
}

// The API server has doubles of integers beyond 64 bits signed, and hands nothing else on: what was written is lost by then.
var _ = Describe("The webhook, of values that were changed on the way to it,", Ordered, func() {
	BeforeAll(func() { serve() })

	It("refuses integers that Kubernetes rounds, with and without a model, and says so", func() {
		g := newGate()
		beyond := MatchError(And(ContainSubstring("spec.payload"), ContainSubstring("beyond 64 bits"), ContainSubstring("send it as text")))
		Expect(g.try(g.command("c", paying("18446744073709551615")))).To(Succeed(), "before there is a device: its model may say that a double is meant")
		Expect(g.client.Create(ctx, countersModel(g.site))).To(Succeed())
		Expect(g.client.Create(ctx, g.device("d", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.ModelID = counters })))).To(Succeed())
		named := func(name string) func(*v1alpha1.DeviceCommand) {
			return commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Component, c.Command = "", name })
		}
		Eventually(func() error { return g.try(g.command("c", named("set"), paying(`"x"`))) }).Should(MatchError(ContainSubstring("want an integer")))
		Expect(g.try(g.command("c", named("set"), paying("18446744073709551615")))).To(And(beyond, MatchError(Not(ContainSubstring("want an integer")))))
		Expect(g.try(g.command("c", named("set"), paying("9223372036854775807")))).To(Succeed())
		Expect(g.try(g.command("c", named("weigh"), paying("100000000000000000000")))).To(Succeed(), "a double is one")
		Expect(g.try(g.device("e", withProperties(`{"serial":18446744073709551615}`)))).To(MatchError(And(ContainSubstring("properties.serial"), ContainSubstring("beyond 64 bits"))))
	})

	It("warns of names that a reader of YAML made of on and off", func() {
		g := newGate()
		Expect(g.try(g.device("d", withProperties(`{"true":1,"schedule":{"false":"22:00"}}`)))).To(Succeed())
		Expect(g.warned()).To(And(ContainSubstring(`true has the name "true"`), ContainSubstring(`schedule.false has the name "false"`), ContainSubstring("quote it")))
	})
})

var _ = Describe("A DeviceCommand that the webhook did not see", func() {
	It("is not sent with an integer that Kubernetes rounded", func() {
		s := plant()
		s.run("c", paying(`{"serial":18446744073709551615}`))
		s.eventuallyCommand("c", And(HaveField("Status.Outcome", v1alpha1.CommandFailed), haveReadyReason(v1alpha1.ReasonInvalidCommand), haveMessage("spec.payload.serial", "beyond 64 bits")))
		Expect(s.ran("c")).To(BeZero())
	})
})
