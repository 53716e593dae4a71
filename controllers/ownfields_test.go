package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("The operator's own fields", func() {
	git := func(s *site, kind, name, spec string) string {
		return fmt.Sprintf("apiVersion: iot.pnp-operator.io/v1alpha1\nkind: %s\nmetadata: {name: %s, namespace: %s}\nspec: %s\n", kind, name, s.namespace, spec)
	}
	managedBy := func(o client.Object, manager string) func() bool {
		return func() bool {
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(o), o)).To(Succeed())
			for _, m := range o.GetManagedFields() {
				if m.Manager == manager && m.Operation == metav1.ManagedFieldsOperationApply {
					return true
				}
			}
			return false
		}
	}

	It("stay when Flux applies a command that kubectl restored", func() {
		s := newSite()
		notAfter := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
		text := git(s, "DeviceCommand", "c", fmt.Sprintf("{deviceRef: {name: d}, command: reboot, notAfter: %q}", notAfter))
		restored := s.command("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) {
			c.Component, c.Command, c.Payload, c.ResponseTimeoutSeconds = "", "reboot", nil, 30
		}))
		metav1.SetMetaDataAnnotation(&restored.ObjectMeta, v1alpha1.AnnotationAttempt, "r1")
		Expect(admin.Create(ctx, restored, client.FieldOwner("kubectl-create"))).To(Succeed())
		Eventually(managedBy(restored, "pnp-operator")).Should(BeTrue())
		flux(restored, text)
		Expect(restored.Annotations).To(HaveKeyWithValue(v1alpha1.AnnotationAttempt, "r1"))
		Expect(restored.ManagedFields).To(ContainElement(HaveField("Manager", "kustomize-controller")))
	})

	It("come back: the annotation of a command that was sent, before notAfter", func() {
		s := plant()
		c := s.ranOnce("c")
		base := c.DeepCopy()
		delete(c.Annotations, v1alpha1.AnnotationAttempt)
		Expect(admin.Patch(ctx, c, client.MergeFrom(base))).To(Succeed())
		s.eventuallyCommand("c", HaveField("Annotations", HaveKeyWithValue(v1alpha1.AnnotationAttempt, c.Status.RequestID)))
	})

	It("stay when Flux applies a PnPDevice that kubectl restored, and Clear is not skipped", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		restored := &v1alpha1.PnPDevice{
			ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "d", Finalizers: []string{v1alpha1.FinalizerClear}},
			Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}, DeletionPolicy: v1alpha1.DeletionClear, Properties: object(`{"targetTemperature":20}`)},
		}
		Expect(admin.Create(ctx, restored, client.FieldOwner("kubectl-create"))).To(Succeed())
		s.eventually("d", beReady())
		Eventually(managedBy(restored, "pnp-operator")).Should(BeTrue())
		flux(restored, git(s, "PnPDevice", "d", "{hubRef: {name: hub}, deletionPolicy: Clear, properties: {targetTemperature: 20}}"))
		Expect(restored.Finalizers).To(ConsistOf(v1alpha1.FinalizerClear))
		Expect(admin.Delete(ctx, restored)).To(Succeed())
		s.eventuallyGone("d")
		s.expectDesired("d", `{}`)
		Expect(s.eventNotes("d", v1alpha1.ReasonNotCleared)).To(BeEmpty())
	})

	It("are written once, and not again", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", clearing, withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		restartOperator()
		version := s.get("d").ResourceVersion
		Consistently(func() string { return s.get("d").ResourceVersion }, 2*time.Second).Should(Equal(version))
	})

	for name, edit := range map[string]func(*v1alpha1.PnPDevice){"": func(*v1alpha1.PnPDevice) {}, ", also of a suspended object": suspended} {
		It("come back: a finalizer that was taken away while anything is owned"+name, func() {
			s := newSite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", clearing, withProperties(`{"targetTemperature": 20}`))
			s.eventually("d", SatisfyAll(beReady(), HaveField("Finalizers", ConsistOf(v1alpha1.FinalizerClear))))
			s.edit("d", edit)
			Eventually(func() bool { d := s.get("d"); return d.Status.ObservedGeneration == d.Generation }).Should(BeTrue())
			d := s.get("d")
			base := d.DeepCopy()
			d.Finalizers = nil
			Expect(admin.Patch(ctx, d, client.MergeFrom(base))).To(Succeed())
			s.eventually("d", HaveField("Finalizers", ConsistOf(v1alpha1.FinalizerClear)))
		})
	}
})
