package controllers_test

import (
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// withoutFields takes fields from a CRD until the spec ends: what is written to them is lost from then on. The operator starts anew on both occasions.
func withoutFields(resource string, paths ...string) {
	GinkgoHelper()
	crd := &unstructured.Unstructured{}
	crd.SetGroupVersionKind(schema.GroupVersionKind{Group: "apiextensions.k8s.io", Version: "v1", Kind: "CustomResourceDefinition"})
	Expect(admin.Get(ctx, client.ObjectKey{Name: resource + "." + v1alpha1.GroupVersion.Group}, crd)).To(Succeed())
	current, _, err := unstructured.NestedSlice(crd.Object, "spec", "versions")
	Expect(err).NotTo(HaveOccurred())
	older := crd.DeepCopy()
	versions, _, err := unstructured.NestedSlice(older.Object, "spec", "versions")
	Expect(err).NotTo(HaveOccurred())
	for _, path := range paths {
		fields := []string{"schema", "openAPIV3Schema"}
		for name := range strings.SplitSeq(path, ".") {
			fields = append(fields, "properties", name)
		}
		_, found, err := unstructured.NestedMap(versions[0].(map[string]any), fields...)
		Expect(err).NotTo(HaveOccurred())
		Expect(found).To(BeTrue(), path)
		unstructured.RemoveNestedField(versions[0].(map[string]any), fields...)
	}
	write := func(versions []any) {
		GinkgoHelper()
		Eventually(func() error {
			Expect(admin.Get(ctx, client.ObjectKeyFromObject(crd), crd)).To(Succeed())
			Expect(unstructured.SetNestedSlice(crd.Object, versions, "spec", "versions")).To(Succeed())
			return admin.Update(ctx, crd)
		}).Should(Succeed())
	}
	write(versions)
	DeferCleanup(func() { write(current) })
}

// prunes reports whether the API server drops a field of the status that it is sent.
func prunes(device *v1alpha1.PnPDevice, patch, field string) bool {
	GinkgoHelper()
	stored := &unstructured.Unstructured{}
	stored.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind("PnPDevice"))
	stored.SetNamespace(device.Namespace)
	stored.SetName(device.Name)
	Expect(admin.Status().Patch(ctx, stored, client.RawPatch(types.MergePatchType, []byte(patch)), client.DryRunAll)).To(Succeed())
	_, found, err := unstructured.NestedFieldNoCopy(stored.Object, "status", field)
	Expect(err).NotTo(HaveOccurred())
	return !found
}

// patched is how many statuses of a kind the operator sent, those that changed nothing included.
func patched(kind string) int { return counter("pnp_status_patches_total", "kind", kind) }

var _ = Describe("An operator that is newer than the CRDs", func() {
	It("converges a device, and does not send again and again what the API server drops", func() {
		s := newEventSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.virtual("mute", simulator.Thermostat, simulator.Ignore())
		d := s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.create("mute", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		withoutFields("iothubs", "spec.requestBudget", "status.devices")
		withoutFields("pnpdevices", "status.checkedGeneration", "status.connectionStateSeenTime", "status.lastHandledResendAt")
		Eventually(func() bool { return s.hub().Spec.RequestBudget == v1alpha1.RequestBudget{} }).Should(BeTrue())
		Eventually(func() bool { return prunes(d, `{"status":{"checkedGeneration":7}}`, "checkedGeneration") }).Should(BeTrue())
		restartOperator()
		s.eventuallyHub(And(beReady(), beStreaming()))

		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))
		Expect(s.get("d").Status.CheckedGeneration).To(BeZero())
		s.eventually("mute", haveState("", "targetTemperature", "Applied"))
		before := s.writes("mute")
		s.edit("mute", annotate(v1alpha1.AnnotationResendRequestedAt, "now"))
		Eventually(func() int { return s.writes("mute") }).Should(BeNumerically(">", before), "values are sent again")

		By("resting")
		sent := func() [3]int {
			return [3]int{patched("PnPDevice"), patched("IoTHub"), s.writes("d") + s.writes("mute")}
		}
		last, since := sent(), time.Now()
		Eventually(func() time.Duration { // longer than what status may wait for, and shorter than the heartbeat of an IoTHub
			if now := sent(); now != last {
				last, since = now, time.Now()
			}
			return time.Since(since)
		}, "40s").Should(BeNumerically(">", 8*time.Second))
	})
})
