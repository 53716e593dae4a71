package controllers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	eventsv1 "k8s.io/api/events/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/integrations/argocd"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// logBuffer keeps what the operator logged, for the tests on what it must not log.
type logBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func object(s string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(s)} }

// device builds a PnPDevice; edits change it before it is created.
func (s *site) device(name string, edits ...func(*v1alpha1.PnPDevice)) *v1alpha1.PnPDevice {
	d := &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}},
	}
	for _, edit := range edits {
		edit(d)
	}
	return d
}

func (s *site) create(name string, edits ...func(*v1alpha1.PnPDevice)) *v1alpha1.PnPDevice {
	GinkgoHelper()
	d := s.device(name, edits...)
	Expect(admin.Create(ctx, d)).To(Succeed())
	return d
}

func withProperties(json string) func(*v1alpha1.PnPDevice) {
	return func(d *v1alpha1.PnPDevice) { d.Spec.Properties = object(json) }
}

func withComponent(name, json string) func(*v1alpha1.PnPDevice) {
	return func(d *v1alpha1.PnPDevice) {
		for i := range d.Spec.Components {
			if d.Spec.Components[i].Name == name {
				d.Spec.Components[i].Properties = object(json)
				return
			}
		}
		d.Spec.Components = append(d.Spec.Components, v1alpha1.ComponentDeclaration{Name: name, Properties: object(json)})
	}
}

func withSpec(edit func(*v1alpha1.PnPDeviceSpec)) func(*v1alpha1.PnPDevice) {
	return func(d *v1alpha1.PnPDevice) { edit(&d.Spec) }
}

// virtual adds a virtual device to the hub.
func (s *site) virtual(id, model string, b simulator.Behaviour) {
	GinkgoHelper()
	Expect(s.sim.Devices().Add(id, simulator.Spec{Model: model, Behaviour: b})).To(Succeed())
}

func (s *site) get(name string) *v1alpha1.PnPDevice {
	GinkgoHelper()
	d := &v1alpha1.PnPDevice{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, d)).To(Succeed())
	return d
}

// edit changes an object on the API server, again after a conflict.
func (s *site) edit(name string, edits ...func(*v1alpha1.PnPDevice)) {
	GinkgoHelper()
	Eventually(func() error {
		d := s.get(name)
		for _, edit := range edits {
			edit(d)
		}
		return admin.Update(ctx, d)
	}).Should(Succeed())
}

func annotate(key, value string) func(*v1alpha1.PnPDevice) {
	return func(d *v1alpha1.PnPDevice) { metav1.SetMetaDataAnnotation(&d.ObjectMeta, key, value) }
}

// readNow has the operator read the twin: tests need not wait for a sweep.
func (s *site) readNow(name string) {
	GinkgoHelper()
	token := fmt.Sprint(sites.Add(1))
	s.edit(name, annotate(v1alpha1.AnnotationReconcileRequestedAt, token))
	s.eventually(name, HaveField("Status.LastHandledReconcileAt", token))
}

func (s *site) eventually(name string, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func(g Gomega) { g.Expect(s.read(g, name)).To(matcher) }).Should(Succeed())
}

func (s *site) read(g Gomega, name string) *v1alpha1.PnPDevice {
	d := &v1alpha1.PnPDevice{}
	g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, d)).To(Succeed())
	return d
}

func (s *site) eventuallyHub(matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		h := &v1alpha1.IoTHub{}
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
		g.Expect(h).To(matcher)
	}).Should(Succeed())
}

func conditionOf(o client.Object, kind string) metav1.Condition {
	type conditioned interface{ GetConditions() *[]metav1.Condition }
	if c := apimeta.FindStatusCondition(*o.(conditioned).GetConditions(), kind); c != nil {
		return *c
	}
	return metav1.Condition{}
}

// ready is the Ready condition of an object as "status/reason".
func ready(o client.Object) string {
	c := conditionOf(o, v1alpha1.ConditionReady)
	return string(c.Status) + "/" + c.Reason
}

func beReady() gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) string {
		if c := conditionOf(o, v1alpha1.ConditionReady); c.ObservedGeneration != o.GetGeneration() {
			return "about another generation"
		}
		return string(conditionOf(o, v1alpha1.ConditionReady).Status) + conditionOf(o, v1alpha1.ConditionStalled).Reason
	}, Equal("True"))
}

// beStalled matches an object whose current generation is stalled for a reason.
func beStalled(reason string) gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) string {
		c := conditionOf(o, v1alpha1.ConditionStalled)
		if c.ObservedGeneration != o.GetGeneration() {
			return "not stalled in this generation: " + ready(o)
		}
		return c.Reason
	}, Equal(reason))
}

// beWaiting matches an object that is neither ready nor stalled, for a reason.
func beWaiting(reason string) gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) string {
		c := conditionOf(o, v1alpha1.ConditionReconciling)
		if c.ObservedGeneration != o.GetGeneration() {
			return "not reconciling in this generation: " + ready(o)
		}
		return c.Reason
	}, Equal(reason))
}

func haveMessage(text ...string) gomegatypes.GomegaMatcher {
	parts := make([]gomegatypes.GomegaMatcher, len(text))
	for i, t := range text {
		parts[i] = ContainSubstring(t)
	}
	return WithTransform(func(o client.Object) string { return conditionOf(o, v1alpha1.ConditionReady).Message }, And(parts...))
}

// property finds a property in status; component "" is the default one.
func property(d *v1alpha1.PnPDevice, component, name string) v1alpha1.PropertyStatus {
	list := d.Status.Properties
	for _, c := range d.Status.Components {
		if c.Name == component {
			list = c.Properties
		}
	}
	for _, p := range list {
		if p.Name == name {
			return p
		}
	}
	return v1alpha1.PropertyStatus{}
}

func haveState(component, name, state string) gomegatypes.GomegaMatcher {
	return WithTransform(func(d *v1alpha1.PnPDevice) string { return string(property(d, component, name).State) }, Equal(state))
}

// desired is the desired section of a twin at the hub, without metadata.
func (s *site) desired(id string) map[string]any {
	GinkgoHelper()
	raw, err := s.sim.Hub().Twin(id)
	Expect(err).NotTo(HaveOccurred())
	var t struct {
		Properties struct {
			Desired map[string]any `json:"desired"`
		} `json:"properties"`
	}
	Expect(json.Unmarshal(raw, &t)).To(Succeed())
	delete(t.Properties.Desired, "$metadata")
	delete(t.Properties.Desired, "$version")
	return t.Properties.Desired
}

// writes counts the calls that change a device's twin.
func (s *site) writes(id string) int {
	calls := s.sim.Calls()
	return calls.CountFor(simulator.OpPatchTwin, id) + calls.CountFor(simulator.OpPatchDigitalTwin, id) + calls.CountFor(simulator.OpReplaceTwin, id)
}

func (s *site) reads(id string) int { return s.sim.Calls().CountFor(simulator.OpGetTwin, id) }

// eventsOf lists the Events about an object with a reason.
func (s *site) eventsOf(name, reason string) []eventsv1.Event {
	GinkgoHelper()
	var list eventsv1.EventList
	Expect(admin.List(ctx, &list, client.InNamespace(s.namespace))).To(Succeed())
	var found []eventsv1.Event
	for _, e := range list.Items {
		if e.Regarding.Name == name && e.Reason == reason {
			found = append(found, e)
		}
	}
	return found
}

// kstatusOf is what Flux and kubectl's own tools make of an object. Argo CD has to agree.
func kstatusOf(o client.Object) string {
	GinkgoHelper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	Expect(err).NotTo(HaveOccurred())
	stored := &unstructured.Unstructured{Object: fields}
	kind, err := admin.GroupVersionKindFor(o)
	Expect(err).NotTo(HaveOccurred())
	stored.SetGroupVersionKind(kind)
	result, err := status.Compute(stored)
	Expect(err).NotTo(HaveOccurred())
	health, err := argocd.HealthOf(stored)
	Expect(err).NotTo(HaveOccurred())
	Expect(argocd.Agree(health.Status, result.Status.String())).To(Succeed())
	return result.Status.String()
}

// kubectl runs the real one.
func kubectl(stdin string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(assets(), "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig)
	cmd.Stdin = strings.NewReader(stdin)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
