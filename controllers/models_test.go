package controllers_test

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// sampleModel is a DeviceModel of the samples.
func (s *site) sampleModel(name string, edits ...func(*v1alpha1.DeviceModel)) *v1alpha1.DeviceModel {
	GinkgoHelper()
	raw, err := os.ReadFile(filepath.Join("..", "config", "samples", name+"-model.yaml"))
	Expect(err).NotTo(HaveOccurred())
	model := &v1alpha1.DeviceModel{}
	Expect(yaml.Unmarshal(raw, model)).To(Succeed())
	model.Namespace = s.namespace
	for _, edit := range edits {
		edit(model)
	}
	return model
}

func (s *site) createModel(name string, edits ...func(*v1alpha1.DeviceModel)) {
	GinkgoHelper()
	Expect(admin.Create(ctx, s.sampleModel(name, edits...))).To(Succeed())
}

func warning(m *v1alpha1.DeviceModel) { m.Spec.Validation = v1alpha1.ValidationWarn }

// inDTDL replaces a text of the model.
func inDTDL(old, text string) func(*v1alpha1.DeviceModel) {
	return func(m *v1alpha1.DeviceModel) {
		Expect(string(m.Spec.DTDL.Raw)).To(ContainSubstring(old))
		m.Spec.DTDL.Raw = json.RawMessage(strings.ReplaceAll(string(m.Spec.DTDL.Raw), old, text))
	}
}

func (s *site) getModel(g Gomega, name string) *v1alpha1.DeviceModel {
	GinkgoHelper()
	m := &v1alpha1.DeviceModel{}
	g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, m)).To(Succeed())
	return m
}

func (s *site) eventuallyModel(name string, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func(g Gomega) { g.Expect(s.getModel(g, name)).To(matcher) }).Should(Succeed())
}

func (s *site) editModel(name string, edit func(*v1alpha1.DeviceModel)) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		m := s.getModel(g, name)
		edit(m)
		g.Expect(admin.Update(ctx, m)).To(Succeed())
	}).Should(Succeed())
}

var _ = Describe("A DeviceModel", func() {
	usable := haveReady(metav1.ConditionTrue, v1alpha1.ReasonUsable)
	targetOf := func(value string) func(*v1alpha1.PnPDevice) {
		return withProperties(`{"targetTemperature":` + value + `}`)
	}

	It("is described in status, with what other DeviceModels of the namespace have of it", func() {
		s := newSite()
		s.createModel("temperaturecontroller")
		s.eventuallyModel("temperaturecontroller", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonMissingInterfaces), haveMessage("dtmi:com:example:Thermostat;1")))
		s.createModel("thermostat")
		s.eventuallyModel("thermostat", SatisfyAll(usable, HaveField("Status.Properties", BeEquivalentTo(2)), HaveField("Status.Commands", BeEquivalentTo(1))))
		s.eventuallyModel("temperaturecontroller", SatisfyAll(usable,
			HaveField("Status.ModelID", simulator.TemperatureController), HaveField("Status.Properties", BeEquivalentTo(13)), HaveField("Status.Commands", BeEquivalentTo(3)),
			HaveField("Status.Components", BeEquivalentTo(3)), HaveField("Status.Digest", HavePrefix("sha256:"))))
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`))
		s.eventuallyModel("temperaturecontroller", HaveField("Status.Devices", BeEquivalentTo(1)))
		s.eventually("d", SatisfyAll(beReady(), haveCondition(v1alpha1.ConditionConformsToModel, "True/Conforms")))
		Expect(admin.Delete(ctx, s.sampleModel("thermostat"))).To(Succeed())
		s.eventuallyModel("temperaturecontroller", haveReady(metav1.ConditionFalse, v1alpha1.ReasonMissingInterfaces))
	})

	It("keeps a wrong declaration from the device that announced the model, and lets a mended one through", func() {
		s := newSite()
		s.createModel("thermostat")
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", targetOf(`"hot"`))
		s.eventually("d", SatisfyAll(beStalled(v1alpha1.ReasonModelViolation), haveMessage("spec.properties.targetTemperature", `"hot"`, "double"),
			haveCondition(v1alpha1.ConditionConformsToModel, "False/ModelViolation")))
		Expect(s.writes("d")).To(BeZero())
		s.edit("d", targetOf("21"))
		s.eventually("d", SatisfyAll(beReady(), haveCondition(v1alpha1.ConditionConformsToModel, "True/Conforms")))
		s.edit("d", withProperties(`{"maxTempSinceLastReboot":21}`))
		s.eventually("d", SatisfyAll(beStalled(v1alpha1.ReasonModelViolation), haveMessage("read-only")))
		Expect(s.desired("d")).To(Equal(map[string]any{"targetTemperature": 21.0}))
	})

	It("only says what is wrong with validation Warn", func() {
		s := newSite()
		s.createModel("thermostat", warning)
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"other":1}`))
		s.eventually("d", SatisfyAll(beReady(), haveCondition(v1alpha1.ConditionConformsToModel, "False/ModelViolation")))
	})

	It("that changes has its devices checked again, and is no longer asked when it is gone", func() {
		s := newSite()
		s.createModel("thermostat", inDTDL(`"double"`, `"integer"`))
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", targetOf("20.5"))
		s.eventually("d", beStalled(v1alpha1.ReasonModelViolation))
		s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.DTDL = s.sampleModel("thermostat").Spec.DTDL })
		s.eventually("d", beReady())
		s.edit("d", withProperties(`{"other":1}`))
		s.eventually("d", beStalled(v1alpha1.ReasonModelViolation))
		Expect(admin.Delete(ctx, s.sampleModel("thermostat"))).To(Succeed())
		s.eventually("d", SatisfyAll(beReady(), haveCondition(v1alpha1.ConditionConformsToModel, "/")))
	})

	It("that breaks DTDL is Stalled with all that is wrong, and holds up new declarations but not old ones", func() {
		s := newSite()
		s.virtual("old", simulator.Thermostat, simulator.Acknowledge())
		s.create("old", targetOf("20"))
		s.eventually("old", beReady())
		s.createModel("thermostat", inDTDL(`"double"`, `"dubble"`))
		s.eventuallyModel("thermostat", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonInvalidModel), haveMessage("dubble", "/contents/0/schema", "/contents/1/schema")))
		s.eventually("old", SatisfyAll(beReady(), haveCondition(v1alpha1.ConditionConformsToModel, "Unknown/ModelNotReady")))
		s.virtual("new", simulator.Thermostat, simulator.Acknowledge())
		s.create("new", targetOf("20"))
		s.eventually("new", beWaiting(v1alpha1.ReasonModelNotReady))
		s.foreign("old", `{"targetTemperature": 5}`)
		s.readNow("old")
		s.eventuallyDesired("old", `{"targetTemperature": 20}`)
		s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.DTDL = s.sampleModel("thermostat").Spec.DTDL })
		s.eventually("new", beReady())
	})

	It("that cannot be used is not taken for one that a declaration was checked against", func() {
		s := newSite()
		s.createModel("thermostat")
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", targetOf("20"))
		s.eventually("d", SatisfyAll(beReady(), haveCondition(v1alpha1.ConditionConformsToModel, "True/Conforms")))
		By("which is edited")
		s.editModel("thermostat", inDTDL(`"double"`, `"dubble"`))
		s.eventually("d", beWaiting(v1alpha1.ReasonModelNotReady))
		s.foreign("d", `{"targetTemperature": 5}`)
		s.readNow("d")
		s.expectDesired("d", `{"targetTemperature": 5}`)
		s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.DTDL = s.sampleModel("thermostat").Spec.DTDL })
		s.eventuallyDesired("d", `{"targetTemperature": 20}`)
		s.eventually("d", beReady())
		By("or of another model than the device has by now")
		s.createModel("temperaturecontroller", inDTDL(`"@type"`, `"@typ"`))
		s.eventuallyModel("temperaturecontroller", Not(usable))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		Expect(s.sim.Hub().SetConnected("d", true, simulator.TemperatureController)).To(Succeed())
		s.foreign("d", `{"targetTemperature": 5}`)
		s.readNow("d")
		s.eventually("d", beWaiting(v1alpha1.ReasonModelNotReady))
		s.expectDesired("d", `{"targetTemperature": 5}`)
	})

	It("is the oldest one of its modelID", func() {
		s := newSite()
		s.createModel("thermostat")
		s.eventuallyModel("thermostat", usable)
		s.createModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Name = "zz-second" }, inDTDL(`"double"`, `"integer"`))
		s.eventuallyModel("zz-second", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonModelAlreadyDefined), haveMessage(`"thermostat"`)))
		Expect(admin.Delete(ctx, s.sampleModel("thermostat"))).To(Succeed())
		s.eventuallyModel("zz-second", usable)
	})

	It("of another namespace is nobody's business", func() {
		s, other := newSite(), newSite()
		other.createModel("thermostat")
		other.eventuallyModel("thermostat", usable)
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"other":1}`))
		s.eventually("d", beReady())
	})

	It("fails a wrong command before it is sent, and none with validation Warn", func() {
		s := plant()
		s.createModel("thermostat")
		s.createModel("temperaturecontroller")
		s.eventuallyModel("temperaturecontroller", usable)
		s.run("wrong", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(`"yesterday"`) }))
		s.eventuallyCommand("wrong", SatisfyAll(haveOutcome(v1alpha1.CommandFailed), haveReady(metav1.ConditionFalse, v1alpha1.ReasonModelViolation)))
		s.run("unknown", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Command = "explode" }))
		s.eventuallyCommand("unknown", SatisfyAll(haveOutcome(v1alpha1.CommandFailed), haveMessage("explode", "getMaxMinReport")))
		Expect(s.ran(report)).To(BeZero())
		s.editModel("temperaturecontroller", warning)
		s.eventuallyModel("temperaturecontroller", HaveField("Status.ObservedGeneration", BeEquivalentTo(2)))
		s.run("warned", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(`"yesterday"`) }))
		s.eventuallyCommand("warned", haveOutcome(v1alpha1.CommandSucceeded))
	})

	Context("of a repository", func() {
		It("is fetched once, and again when someone asks for that", func() {
			s := newSite()
			path := s.fetches()
			s.eventuallyModel("thermostat", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonModelNotFound), haveMessage(path)))
			modelRepository.put(path+".json", strings.ReplaceAll(s.dtdl(), `"double"`, `"integer"`))
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) {
				m.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: "1"}
			})
			s.eventuallyModel("thermostat", SatisfyAll(usable, HaveField("Status.LastHandledReconcileAt", "1")))
			asked := modelRepository.askedFor(path + ".json")
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Annotations = nil })
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", targetOf("20.5"))
			s.eventually("d", beStalled(v1alpha1.ReasonModelViolation))
			Expect(modelRepository.askedFor(path + ".json")).To(Equal(asked))
			s.eventuallyModel("thermostat", HaveField("Status.LastHandledReconcileAt", "1"))
			modelRepository.put(path+".json", s.dtdl())
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) {
				m.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: "2"}
			})
			s.eventually("d", beReady())
		})

		It("that is mended there has those mended that are made of it", func() {
			s := newSite()
			path := s.fetches()
			modelRepository.put(path+".json", strings.ReplaceAll(s.dtdl(), `"double"`, `"nonsense"`))
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) {
				m.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: "1"}
			})
			s.eventuallyModel("thermostat", haveReady(metav1.ConditionFalse, v1alpha1.ReasonInvalidModel))
			s.createModel("temperaturecontroller")
			s.eventuallyModel("temperaturecontroller", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonInvalidModel), haveMessage("Another DeviceModel")))
			modelRepository.put(path+".json", s.dtdl())
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) {
				m.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: "2"}
			})
			s.eventuallyModel("temperaturecontroller", usable)
		})

		It("is asked for again by itself", func() {
			s := newSite()
			path := s.fetches()
			s.eventuallyModel("thermostat", haveReady(metav1.ConditionFalse, v1alpha1.ReasonModelNotFound))
			modelRepository.put(path+".json", s.dtdl())
			Eventually(func() *v1alpha1.DeviceModel { return s.getModel(Default, "thermostat") }, askedWithin).Should(usable)
		})

		It("is compared with its pinned digest", func() {
			s := newSite()
			path := s.fetches(func(m *v1alpha1.DeviceModel) { m.Spec.Repository.Digest = "sha256:" + strings.Repeat("0", 64) })
			modelRepository.put(path+".expanded.json", "["+s.dtdl()+"]")
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) {
				m.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: "1"}
			})
			s.eventuallyModel("thermostat", haveReady(metav1.ConditionFalse, v1alpha1.ReasonDigestMismatch))
			message := conditionOf(s.getModel(Default, "thermostat"), v1alpha1.ConditionReady).Message
			given := regexp.MustCompile("sha256:[0-9a-f]{64}").FindString(message)
			s.editModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.Repository.Digest = given })
			s.eventuallyModel("thermostat", SatisfyAll(usable, HaveField("Status.Digest", given)))
		})

		It("has to be at an allowed host", func() {
			s := newSite()
			s.fetches(func(m *v1alpha1.DeviceModel) { m.Spec.Repository.URL = "https://169.254.169.254/metadata" })
			s.eventuallyModel("thermostat", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonRepositoryNotAllowed), haveMessage("169.254.169.254", "127.0.0.1")))
		})
	})

	It("that is large is parsed once that is on record, and is set aside where the operator ended twice meanwhile", func() {
		s := newSite()
		s.createModel("thermostat", func(m *v1alpha1.DeviceModel) {
			contents := make([]string, 2500)
			for i := range contents {
				contents[i] = fmt.Sprintf(`{"@type":"Command","name":"command%d"}`, i)
			}
			m.Spec.DTDL.Raw = json.RawMessage(`{"@context":"dtmi:dtdl:context;3","@id":"dtmi:com:example:Large;1","@type":"Interface","contents":[` + strings.Join(contents, ",") + `]}`)
		})
		s.eventuallyModel("thermostat", usable)
		large := s.getModel(Default, "thermostat").Status
		Expect(large.Parsing).To(BeEmpty())
		Expect(large.Parsed).To(HaveLen(64))
		Expect(large.Commands).To(BeEquivalentTo(2500))

		ended := func(parsing string) {
			manager.stop()
			m := s.getModel(Default, "thermostat")
			m.Status.Parsing, m.Status.Parsed = parsing, ""
			Expect(admin.Status().Update(ctx, m)).To(Succeed())
			manager = startOperator()
		}
		ended(large.Parsed)
		Eventually(func() string { return s.getModel(Default, "thermostat").Status.Parsed }).Should(Equal(large.Parsed))
		again := large.Parsed[:62] + ".2"
		ended(again)
		s.eventuallyModel("thermostat", SatisfyAll(haveReady(metav1.ConditionFalse, v1alpha1.ReasonSetAside), haveMessage("Edit the model")))
		Expect(s.getModel(Default, "thermostat").Status.Parsing).To(Equal(again))

		s.editModel("thermostat", func(m *v1alpha1.DeviceModel) {
			metav1.SetMetaDataAnnotation(&m.ObjectMeta, v1alpha1.AnnotationReconcileRequestedAt, "now")
		})
		s.eventuallyModel("thermostat", usable)
	})
})
