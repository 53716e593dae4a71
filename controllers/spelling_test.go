package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const counters = "dtmi:com:example:Counters;1"

// countersModel has a property of each schema that has several texts for a value.
func countersModel(s *site) *v1alpha1.DeviceModel {
	return &v1alpha1.DeviceModel{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "counters"},
		Spec: v1alpha1.DeviceModelSpec{DTDL: object(`{
			"@context": "dtmi:dtdl:context;4", "@id": "` + counters + `", "@type": "Interface", "contents": [
				{"@type": "Property", "name": "when", "writable": true, "schema": "dateTime"},
				{"@type": "Property", "name": "dec", "writable": true, "schema": "decimal"},
				{"@type": "Property", "name": "uuid", "writable": true, "schema": "uuid"},
				{"@type": "Property", "name": "dur", "writable": true, "schema": "duration"},
				{"@type": "Property", "name": "plan", "writable": true, "schema": {"@type": "Object", "fields": [
					{"name": "pauses", "schema": {"@type": "Array", "elementSchema": "duration"}},
					{"name": "prices", "schema": {"@type": "Map", "mapKey": {"name": "k", "schema": "string"}, "mapValue": {"name": "v", "schema": "decimal"}}}]}},
				{"@type": "Command", "name": "set", "request": {"name": "v", "schema": "unsignedLong"}},
				{"@type": "Command", "name": "weigh", "request": {"name": "v", "schema": "double"}}
			]}`)},
	}
}

// Declared, and as a device or another writer may write the same values.
const (
	declaredWords = `{"when":"2023-01-31T10:37:08.4599400Z","dec":"1.10","uuid":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","dur":"PT300S","plan":{"pauses":["PT60S"],"prices":{"a":"2.50"}}}`
	otherWords    = `{"when":"2023-01-31T11:37:08.45994+01:00","dec":"1.1","uuid":"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6","dur":"PT5M","plan":{"pauses":["PT1M"],"prices":{"a":"2.5"}}}`
)

// acknowledgeInOtherWords has the device answer to the last write with the values in other words.
func (s *site) acknowledgeInOtherWords(id string) {
	GinkgoHelper()
	v := s.desiredVersion(id)
	report := ""
	for _, leaf := range []string{
		`"when":{"value":"2023-01-31T11:37:08.45994+01:00"`, `"dec":{"value":"1.1"`, `"uuid":{"value":"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"`,
		`"dur":{"value":"PT5M"`, `"plan":{"value":{"pauses":["PT1M"],"prices":{"a":"2.5"}}`,
	} {
		report += fmt.Sprintf(`,%s,"ac":200,"av":%d}`, leaf, v)
	}
	s.report(id, "%s", `{`+report[1:]+`}`)
}

var _ = Describe("Values that mean the same to their schema", func() {
	written := func(edits ...func(*v1alpha1.PnPDevice)) *site {
		GinkgoHelper()
		s := newSite()
		Expect(admin.Create(ctx, countersModel(s))).To(Succeed())
		s.virtual("d", counters, simulator.Ignore())
		s.create("d", append(edits, through(v1alpha1.TwinAPIDeviceTwin), withProperties(declaredWords))...)
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		return s
	}

	It("are acknowledged whatever words the device has for them, and other values are adjusted", func() {
		s := written()
		s.acknowledgeInOtherWords("d")
		s.readNow("d")
		s.eventually("d", And(beReady(), HaveField("Status.Summary", "5/5")))
		Expect(s.writes("d")).To(Equal(1))
		Expect(string(property(s.get("d"), "", "dur").Reported.Raw)).To(Equal(`"PT5M"`), "status has the device's words")
		s.report("d", `{"dur":{"value":"PT6M","ac":200,"av":%d}}`, s.desiredVersion("d"))
		s.eventually("d", And(beStalled(v1alpha1.ReasonAdjusted), haveMessage("PT6M", "dur", "PT300S")))
	})

	It("are no drift when another writer has other words for them, and an edit of the words alone writes nothing", func() {
		s := written()
		s.acknowledgeInOtherWords("d")
		s.eventually("d", beReady())
		s.foreign("d", otherWords)
		s.readNow("d")
		Expect(s.get("d")).To(beReady(), "the device has answered to these values")
		Expect(s.desired("d")["dur"]).To(Equal("PT5M"))
		Expect(s.writes("d")).To(Equal(1))
		s.edit("d", withProperties(`{"when":"2023-01-31T10:37:08.45994Z","dec":"1.100","uuid":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","dur":"PT0H5M","plan":{"pauses":["PT60.0S"],"prices":{"a":"02.5"}}}`))
		s.eventually("d", beStalled(v1alpha1.ReasonModelViolation)) // 02.5 is no decimal
		s.edit("d", withProperties(`{"when":"2023-01-31T10:37:08.45994Z","dec":"1.100","uuid":"f81d4fae-7dec-11d0-a765-00a0c91e6bf6","dur":"PT0H5M","plan":{"pauses":["PT60.0S"],"prices":{"a":"2.5"}}}`))
		s.eventually("d", beReady())
		Expect(s.writes("d")).To(Equal(1))
		s.foreign("d", `{"dur":"PT6M"}`)
		s.readNow("d")
		Eventually(func() any { return s.desired("d")["dur"] }).Should(Equal("PT0H5M"), "another value is put back, in the words of the spec")
	})

	It("stay the same while the model cannot be used, and are texts once it is gone", func() {
		s := written()
		s.acknowledgeInOtherWords("d")
		s.eventually("d", beReady())
		base := countersModel(s)
		s.editModel("counters", func(m *v1alpha1.DeviceModel) { m.Spec.Validation = v1alpha1.ValidationWarn })
		s.readNow("d")
		s.eventually("d", beReady())
		Expect(admin.Delete(ctx, base)).To(Succeed())
		s.readNow("d")
		s.eventually("d", beStalled(v1alpha1.ReasonAdjusted))
		Expect(admin.Create(ctx, countersModel(s))).To(Succeed())
		s.eventually("d", beReady())
		Consistently(func() string { return ready(s.get("d")) }, time.Second).Should(HavePrefix("True"))
	})

	It("are other values without a model", func() {
		s := newSite()
		s.virtual("d", counters, simulator.Ignore())
		s.create("d", through(v1alpha1.TwinAPIDeviceTwin), withProperties(declaredWords))
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		s.acknowledgeInOtherWords("d")
		s.eventually("d", beStalled(v1alpha1.ReasonAdjusted))
	})

	It("are no drift to one who only observes", func() {
		s := newSite()
		Expect(admin.Create(ctx, countersModel(s))).To(Succeed())
		s.virtual("d", counters, simulator.Ignore())
		s.foreign("d", otherWords)
		s.create("d", through(v1alpha1.TwinAPIDeviceTwin), observing, withProperties(declaredWords))
		s.eventually("d", beWaiting(v1alpha1.ReasonAwaitingAcknowledgement))
		s.acknowledgeInOtherWords("d")
		s.eventually("d", beReady())
		s.foreign("d", declaredWords)
		s.readNow("d")
		Expect(s.get("d")).To(beReady())
		s.foreign("d", `{"dur":"PT6M"}`)
		s.readNow("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonDrifted), haveMessage("PT300S", "PT6M")))
		Expect(s.writes("d")).To(BeZero())
	})
})
