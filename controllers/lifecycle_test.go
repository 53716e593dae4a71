package controllers_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

func clearing(d *v1alpha1.PnPDevice) { d.Spec.DeletionPolicy = v1alpha1.DeletionClear }

func (s *site) eventuallyGone(name string) {
	GinkgoHelper()
	Eventually(func() bool {
		return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, &v1alpha1.PnPDevice{}))
	}).Should(BeTrue())
}

var _ = Describe("Deletion", func() {
	converged := func(edits ...func(*v1alpha1.PnPDevice)) *site {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		Expect(s.sim.Hub().PatchDesired("d", `{"foreign": 1}`, "")).To(Succeed())
		s.create("d", append(edits, withProperties(`{"targetTemperature": 20}`))...)
		s.eventually("d", beReady())
		return s
	}

	It("leaves the twin as it is by default, without a finalizer", func() {
		s := converged()
		Expect(s.get("d").Finalizers).To(BeEmpty())
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyGone("d")
		Expect(s.desired("d")).To(Equal(map[string]any{"foreign": 1.0, "targetTemperature": 20.0}))
		Expect(s.writes("d")).To(Equal(1))
	})

	It("clears what the object owns, and nothing else, if asked to", func() {
		s := converged(clearing)
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyGone("d")
		Expect(s.desired("d")).To(Equal(map[string]any{"foreign": 1.0}))
	})

	It("waits while the hub fails, and lets go at once when the policy is changed to Retain", func() {
		s := converged(clearing)
		s.sim.Faults().Add(simulator.Unavailable().On("*", "d").Times(simulator.Forever))
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventually("d", beWaiting(v1alpha1.ReasonHubUnavailable))
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeletionPolicy = v1alpha1.DeletionRetain }))
		s.eventuallyGone("d")
		Expect(s.desired("d")).To(HaveKey("targetTemperature"))
	})

	DescribeTable("completes although nothing can be cleared any more, after a restart", func(gone client.Object) {
		s := converged(clearing)
		manager.stop()
		gone.SetNamespace(s.namespace)
		gone.SetName("hub")
		Expect(admin.Delete(ctx, gone)).To(Succeed())
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		manager = startOperator()
		s.eventuallyGone("d")
		Eventually(func() int { return len(s.eventsOf("d", v1alpha1.ReasonNotCleared)) }).Should(Equal(1))
		Expect(logs.String()).To(ContainSubstring("Deleting without clearing the twin"))
	},
		Entry("because the IoTHub is gone", &v1alpha1.IoTHub{}),
		Entry("because the Secret is gone", &corev1.Secret{}),
	)

	It("takes a device that is gone at the hub for cleared", func() {
		s := converged(clearing)
		Expect(s.sim.Hub().DeleteDevice("d")).To(Succeed())
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyGone("d")
		Expect(s.eventsOf("d", v1alpha1.ReasonNotCleared)).To(BeEmpty())
	})

	It("finishes for a namespace with everything in it", func() {
		s := converged(clearing)
		Expect(admin.Delete(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: s.namespace}})).To(Succeed())
		Eventually(func() bool {
			return apierrors.IsNotFound(admin.Get(ctx, client.ObjectKey{Name: s.namespace}, &corev1.Namespace{}))
		}, time.Minute).Should(BeTrue())
	})
})

// history is what the hub was asked about a device, for a failure's text.
func (s *site) history(id string) string {
	var lines []string
	for _, c := range s.sim.Calls().List(simulator.CallFilter{DeviceID: id}) {
		lines = append(lines, fmt.Sprintf("%s %s %d %s %s", c.Time.Format("15:04:05.000"), c.Operation, c.Status, c.IfMatch, c.Body))
	}
	return id + ":\n" + strings.Join(lines, "\n")
}

const manifest = `apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata:
  name: %s
  namespace: %s
spec:
  hubRef: {name: hub}
  suspend: true
  properties:
    big: 4503599627370495
    beyondDouble: 9007199254740993
    half: 21.5
    whole: 42.0
    text: "no: boolean"
    nested: {a: {b: [1, 2.5, x]}, c: true}
  components:
  - name: thermostat1
    properties: {targetTemperature: 42, limits: {low: 1, high: 2}}
  - name: thermostat2
    properties: {targetTemperature: 19.5}
`

var _ = Describe("kubectl apply", func() {
	for _, mode := range []struct {
		name string
		args []string
	}{{"client-side", nil}, {"server-side", []string{"--server-side", "--field-manager=flux"}}} {
		It("is stable when repeated, "+mode.name, func() {
			s := &site{namespace: newNamespace()}
			yaml := fmt.Sprintf(manifest, "stable", s.namespace)
			apply := append([]string{"apply", "-f", "-"}, mode.args...)
			out, err := kubectl(yaml, apply...)
			Expect(err).NotTo(HaveOccurred(), out)
			s.eventually("stable", beWaiting(v1alpha1.ReasonHubNotFound))
			first := s.get("stable")
			for range 3 {
				out, err = kubectl(yaml, apply...)
				Expect(err).NotTo(HaveOccurred(), out)
			}
			Expect(s.get("stable").Generation).To(Equal(first.Generation))
			Expect(string(s.get("stable").Spec.Properties.Raw)).To(And(
				ContainSubstring("4503599627370495"), ContainSubstring("9007199254740993"), ContainSubstring("21.5")))
			out, err = kubectl(yaml, append([]string{"diff", "-f", "-"}, mode.args...)...)
			Expect(err).NotTo(HaveOccurred(), out)
			Expect(out).To(BeEmpty())
		})
	}

	It("removes a nested value that left the manifest, and adds no null, server-side", func() {
		s := &site{namespace: newNamespace()}
		apply := func(properties string) {
			out, err := kubectl(fmt.Sprintf("apiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: d, namespace: %s}\nspec: {hubRef: {name: hub}, suspend: true, properties: %s}\n",
				s.namespace, properties), "apply", "--server-side", "-f", "-")
			Expect(err).NotTo(HaveOccurred(), out)
		}
		apply(`{a: {x: 1, y: 2}, b: 1}`)
		apply(`{a: {x: 1}}`)
		Expect(string(s.get("d").Spec.Properties.Raw)).To(MatchJSON(`{"a":{"x":1}}`))
	})
})

var _ = Describe("kstatus", func() {
	It("says InProgress, Current and Failed at the right moments", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Ignore())
		d := s.device("d", withProperties(`{"targetTemperature": 20}`))
		d.Spec.Suspend = true
		Expect(admin.Create(ctx, d)).To(Succeed())
		Expect(d.Status.ObservedGeneration).To(BeEquivalentTo(-1))
		Expect(kstatusOf(d)).To(Equal("InProgress"), "an object that nobody has looked at yet")
		s.eventually("d", beStalled(v1alpha1.ReasonSuspended))
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Suspend = false }))
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		Expect(kstatusOf(s.get("d"))).To(Equal("InProgress"))
		Expect(s.sim.Devices().Behave("d", simulator.Acknowledge())).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", beReady())
		Expect(kstatusOf(s.get("d"))).To(Equal("Current"))
		out, err := kubectl("", "wait", "--for=condition=Ready", "pnp", "--all", "-n", s.namespace, "--timeout=10s")
		Expect(err).NotTo(HaveOccurred(), out)
		Expect(s.sim.Devices().Behave("d", simulator.Reject(400, "out of range"))).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 900}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonRejected), haveMessage("out of range")))
		Expect(kstatusOf(s.get("d"))).To(Equal("Failed"))
	})
})

var _ = Describe("Three hundred devices", Ordered, func() {
	const count = 300
	It("converge with one PATCH and at most two GETs each; applying again and restarting cost no write", func() {
		s := newSite()
		name := func(i int) string { return fmt.Sprintf("device-%04d", i) }
		for i := range count {
			s.virtual(name(i), simulator.Thermostat, simulator.Acknowledge())
		}
		s.sim.Calls().Reset()
		yaml := ""
		for i := range count {
			yaml += fmt.Sprintf("---\napiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: %s, namespace: %s}\nspec: {hubRef: {name: hub}, properties: {targetTemperature: 21.5}}\n", name(i), s.namespace)
		}
		out, err := kubectl(yaml, "apply", "--server-side", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		allReady := func() (ready int, versions map[string]string) {
			var list v1alpha1.PnPDeviceList
			Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
			versions = map[string]string{}
			for _, d := range list.Items {
				versions[d.Name] = d.ResourceVersion
				if conditionOf(d, v1alpha1.ConditionReady).Status == metav1.ConditionTrue {
					ready++
				}
			}
			return ready, versions
		}
		Eventually(func() int { n, _ := allReady(); return n }, 3*time.Minute, time.Second).Should(Equal(count))
		for i := range count {
			Expect(s.writes(name(i))).To(Equal(1), name(i))
			Expect(s.reads(name(i))).To(BeNumerically("<=", 2), s.history(name(i)))
		}

		By("applying the same YAML again: no call but the sweep's own queries, no status patch")
		_, before := allReady()
		s.sim.Calls().Reset()
		out, err = kubectl(yaml, "apply", "--server-side", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		Consistently(func() int { return s.sim.Calls().Total() - s.sim.Calls().Count(simulator.OpQuery) }, 2*time.Second).Should(BeZero())
		_, after := allReady()
		Expect(after).To(Equal(before))

		By("restarting the operator: no write, no status patch")
		restartOperator()
		s.sim.Calls().Reset()
		s.virtual("canary", simulator.Thermostat, simulator.Acknowledge())
		s.create("canary", withProperties(`{"targetTemperature": 1}`))
		s.eventually("canary", beReady()) // behind the three hundred in the queue's start, or soon after
		Expect(s.sim.Calls().AwaitCount(ctx, simulator.OpQuery, 4)).To(Succeed(), "the first sweep compares by value")
		Expect(s.sim.Calls().Count(simulator.OpPatchDigitalTwin)).To(Equal(1), "the canary's")
		_, after = allReady()
		delete(after, "canary")
		Expect(after).To(Equal(before))
	})
})
