package controllers_test

import (
	"encoding/json"
	"fmt"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// Helpers of the tests on acknowledgements, ownership and knowledge.

func through(api v1alpha1.TwinAPI) func(*v1alpha1.PnPDevice) {
	return withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.TwinAPI = api })
}

func observing(d *v1alpha1.PnPDevice)   { d.Spec.Management = v1alpha1.ManagementObserve }
func enforcing(d *v1alpha1.PnPDevice)   { d.Spec.Management = v1alpha1.ManagementEnforce }
func suspended(d *v1alpha1.PnPDevice)   { d.Spec.Suspend = true }
func resumed(d *v1alpha1.PnPDevice)     { d.Spec.Suspend = false }
func onceApplied(d *v1alpha1.PnPDevice) { d.Spec.ReadyWhen = v1alpha1.ReadyWhenApplied }

func answeringWithin(seconds int32) func(*v1alpha1.PnPDevice) {
	return withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.AcknowledgeWithinSeconds = seconds })
}

func (s *site) hubObject() *v1alpha1.IoTHub {
	GinkgoHelper()
	h := &v1alpha1.IoTHub{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
	return h
}

func (s *site) editHub(edit func(*v1alpha1.IoTHub)) {
	GinkgoHelper()
	Eventually(func() error {
		h := s.hubObject()
		edit(h)
		return admin.Update(ctx, h)
	}).Should(Succeed())
}

func hubSuspended(on bool) func(*v1alpha1.IoTHub) {
	return func(h *v1alpha1.IoTHub) { h.Spec.Suspend = on }
}

func annotateHub(key, value string) func(*v1alpha1.IoTHub) {
	return func(h *v1alpha1.IoTHub) { metav1.SetMetaDataAnnotation(&h.ObjectMeta, key, value) }
}

// newSweptSite is a site whose hub is swept every five seconds.
func newSweptSite() *site {
	GinkgoHelper()
	s := newSite()
	s.editHub(func(h *v1alpha1.IoTHub) { h.Spec.SweepIntervalSeconds = 5 })
	s.eventuallyHub(beReady())
	return s
}

// sweeps waits until the hub was swept n more times, and until what the last one found is done.
func (s *site) sweeps(n int) {
	GinkgoHelper()
	// A sweep of few devices is one query, and it judges the rows while the query counts already: one more is behind it.
	want := s.sim.Calls().Count(simulator.OpQuery) + n + 1
	Eventually(func() int { return s.sim.Calls().Count(simulator.OpQuery) }, "60s").Should(BeNumerically(">=", want))
}

// haveCondition matches a condition of a kind by "status/reason".
func haveCondition(kind, want string) gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) string {
		c := conditionOf(o, kind)
		return string(c.Status) + "/" + c.Reason
	}, Equal(want))
}

// foreign writes desired properties as another service would.
func (s *site) foreign(id, patch string) {
	GinkgoHelper()
	Expect(s.sim.Hub().PatchDesired(id, patch, "")).To(Succeed())
}

// report writes reported properties as the device would.
func (s *site) report(id, patch string, args ...any) {
	GinkgoHelper()
	Expect(s.sim.Hub().PatchReported(id, fmt.Sprintf(patch, args...))).To(Succeed())
}

func (s *site) desiredVersion(id string) int64 {
	GinkgoHelper()
	t, err := s.sim.Hub().Get(id)
	Expect(err).NotTo(HaveOccurred())
	return t.DesiredVersion()
}

// eventuallyDesired waits until the hub holds exactly these desired properties, given as JSON.
func (s *site) eventuallyDesired(id, want string) {
	GinkgoHelper()
	var values map[string]any
	Expect(json.Unmarshal([]byte(want), &values)).To(Succeed())
	Eventually(func() map[string]any { return s.desired(id) }).Should(Equal(values))
}

func (s *site) expectDesired(id, want string) {
	GinkgoHelper()
	var values map[string]any
	Expect(json.Unmarshal([]byte(want), &values)).To(Succeed())
	Expect(s.desired(id)).To(Equal(values))
}

// patchBodies are what the operator sent to a device's twin, oldest first.
func (s *site) patchBodies(id string) []string {
	var bodies []string
	for _, c := range s.sim.Calls().List(simulator.CallFilter{DeviceID: id}) {
		if c.Operation == simulator.OpPatchDigitalTwin || c.Operation == simulator.OpPatchTwin {
			bodies = append(bodies, c.Body)
		}
	}
	return bodies
}

// eventNotes are the texts of the Events about an object with a reason.
func (s *site) eventNotes(name, reason string) []string {
	GinkgoHelper()
	var notes []string
	for _, e := range s.eventsOf(name, reason) {
		notes = append(notes, e.Note)
	}
	return notes
}

// replaceDevice deletes a device at the hub and creates it anew.
func (s *site) replaceDevice(id string, options ...simulator.DeviceOption) {
	GinkgoHelper()
	if _, virtual := s.sim.Devices().Get(id); virtual {
		Expect(s.sim.Devices().Remove(id)).To(Succeed())
	}
	Expect(s.sim.Hub().DeleteDevice(id)).To(Succeed())
	Expect(s.sim.Hub().CreateDevice(id, options...)).To(Succeed())
}

// tagUntil moves the etag of a twin with writes that touch no property.
func (s *site) tagUntil(id string, counter int64) {
	GinkgoHelper()
	for i := 0; ; i++ {
		t, err := s.sim.Hub().Get(id)
		Expect(err).NotTo(HaveOccurred())
		Expect(t.ETagCounter()).To(BeNumerically("<=", counter))
		if t.ETagCounter() == counter {
			return
		}
		Expect(s.sim.Hub().SetTags(id, fmt.Sprintf(`{"n":%d}`, i))).To(Succeed())
	}
}

// counter reads a counter of the operator, summed over the series that match a label.
func counter(name, label, value string) int {
	GinkgoHelper()
	families, err := metrics.Registry.Gather()
	Expect(err).NotTo(HaveOccurred())
	total := 0.0
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, m := range family.GetMetric() {
			for _, l := range m.GetLabel() {
				if l.GetName() == label && l.GetValue() == value {
					total += m.GetCounter().GetValue()
				}
			}
		}
	}
	return int(total)
}

// failedPasses is how many passes over PnPDevices ended in an error.
func failedPasses() int {
	return counter("controller_runtime_reconcile_errors_total", "controller", "pnpdevice")
}

// versions records every state of a PnPDevice that the API server shows from now on. The returned function ends it.
func (s *site) versions(name string) (seen func() []*v1alpha1.PnPDevice) {
	GinkgoHelper()
	c, err := client.NewWithWatch(environment.Config, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	w, err := c.Watch(ctx, &v1alpha1.PnPDeviceList{}, client.InNamespace(s.namespace), client.MatchingFields{"metadata.name": name},
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: s.get(name).ResourceVersion}})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(w.Stop)
	var all []*v1alpha1.PnPDevice
	return func() []*v1alpha1.PnPDevice {
		GinkgoHelper()
		newest := s.get(name).ResourceVersion
		for len(all) == 0 || all[len(all)-1].ResourceVersion != newest {
			var e watch.Event
			Eventually(w.ResultChan()).Should(Receive(&e))
			d, ok := e.Object.(*v1alpha1.PnPDevice)
			Expect(ok).To(BeTrue(), "%v", e)
			all = append(all, d)
		}
		return all
	}
}
