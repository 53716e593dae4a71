package controllers_test

import (
	"fmt"
	"os"
	"strings"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

const fleetYAML = `apiVersion: iot.pnp-operator.io/v1alpha1
kind: DeviceFleet
metadata: {name: %s, namespace: %s}
spec: {hubRef: {name: hub}, %s}
`

// aFleet is a selector that any fleet may have, with a rollout.
func aFleet(rollout string) string { return "selector: {deviceIDs: [d]}, rollout: {" + rollout + "}" }

// batched is aFleet with batches.
func batched(batches string) string { return aFleet("batches: [" + batches + "]") }

var _ = Describe("A DeviceFleet at apply", func() {
	It("is taken as the sample has it, with its defaults", func() {
		namespace := newNamespace()
		sample, err := os.ReadFile("testdata/devicefleet.yaml")
		Expect(err).NotTo(HaveOccurred())
		out, err := kubectl(string(sample), "apply", "--server-side", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		fleet := &v1alpha1.DeviceFleet{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "line-controllers"}, fleet)).To(Succeed())
		Expect(fleet.Spec).To(And(
			HaveField("Management", v1alpha1.ManagementObserve), HaveField("ExistingValues", v1alpha1.ExistingValuesKeep),
			HaveField("LeavePolicy", v1alpha1.DeletionRetain), HaveField("AcknowledgeWithinSeconds", int32(600)),
			HaveField("Rollout.Offline", v1alpha1.OfflineDefer), HaveField("Rollout.DeferSeconds", int32(86400)),
			HaveField("Rollout.MinAcknowledged", int32(1)), HaveField("Rollout.Batches", HaveLen(3)),
			HaveField("Selector.MatchTags", HaveKeyWithValue("location.plant", HaveField("StrVal", "43"))),
		))
		again, err := kubectl(string(sample), "apply", "--server-side", "-n", namespace, "-f", "-")
		Expect(err).NotTo(HaveOccurred(), again)
		generation := fleet.Generation
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(fleet), fleet)).To(Succeed())
		Expect(fleet.Generation).To(Equal(generation))
	})

	It("has the defaults of a rollout without one", func() {
		namespace := newNamespace()
		out, err := kubectl(fmt.Sprintf(fleetYAML, "bare", namespace, "selector: {deviceIDs: [d]}"), "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		fleet := &v1alpha1.DeviceFleet{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "bare"}, fleet)).To(Succeed())
		Expect(fleet.Spec.Rollout).To(And(HaveField("MaxInFlight", int32(500)), HaveField("Acknowledgement", v1alpha1.AcknowledgementEnvelope),
			HaveField("Adjusted", v1alpha1.AdjustedFail), HaveField("MinAcknowledged", int32(1))))
	})

	DescribeTable("is taken", func(spec string) {
		out, err := kubectl(fmt.Sprintf(fleetYAML, "good", "default", spec), "create", "--dry-run=server", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
	},
		Entry("with tags that are numbers and texts", `selector: {matchTags: {a: 1, b.c_d: "1", _e: "it's"}}`),
		Entry("with each operator", `selector: {matchExpressions: [{key: a, operator: In, values: [x, 1]}, {key: b, operator: NotIn, values: [z]}, {key: c, operator: Exists}, {key: d, operator: DoesNotExist}, {key: e, operator: IsTrue}, {key: f, operator: IsFalse}]}`),
		Entry("with a model alone", `selector: {modelID: "dtmi:com:example:Thermostat;1"}`),
		Entry("with numbers that go up", batched(`{name: a, upTo: 1}, {name: b, upTo: 10}, {name: c, upTo: 11}`)),
		Entry("with percentages that go up", batched(`{name: a, upTo: 0.01%}, {name: b, upTo: 2%}, {name: c, upTo: 10%}, {name: d, upTo: 100%}`)),
		Entry("with numbers and percentages, which only the fleet's size compares", batched(`{name: a, upTo: 10}, {name: b, upTo: 1%}, {name: c, upTo: 20}, {name: d, upTo: 10%}`)),
		Entry("with tags between shares", batched(`{name: a, matchTags: {ring: "0"}}, {name: b, upTo: 1%}, {name: c, matchTags: {ring: 1}}`)),
		Entry("with 20 batches", batched(manyBatches(20))),
		Entry("with a budget of none", aFleet(`maxFailures: 0, batches: [{name: a, upTo: 5, maxFailures: 0%, minJudged: 5}]`)),
	)

	DescribeTable("is refused", func(spec string, want ...string) {
		out, err := kubectl(fmt.Sprintf(fleetYAML, "bad", "default", spec), "create", "--dry-run=server", "-f", "-")
		Expect(err).To(HaveOccurred(), out)
		for _, text := range want {
			Expect(out).To(ContainSubstring(text))
		}
	},
		Entry("that writes", `selector: {deviceIDs: [d]}, management: Enforce`, "spec.management", "does not write yet"),
		Entry("without a selector", `suspend: false`, "spec.selector"),
		Entry("with a selector of nothing", `selector: {}`, "spec.selector", "at least one of"),
		Entry("with exclusions alone", `selector: {exclude: [d]}`, "spec.selector", "at least one of"),
		Entry("with an empty list of devices", `selector: {deviceIDs: []}`, "spec.selector.deviceIDs"),
		Entry("with empty tags", `selector: {matchTags: {}}`, "spec.selector.matchTags"),
		Entry("with a key with a space", `selector: {matchTags: {"a b": x}}`, "spec.selector.matchTags", "identifiers"),
		Entry("with a key that is a query", `selector: {matchTags: {"a = 1 OR tags.b": x}}`, "spec.selector.matchTags", "identifiers"),
		Entry("with a key that ends in a dot", `selector: {matchTags: {"a.": x}}`, "spec.selector.matchTags", "identifiers"),
		Entry("with a tag that is a boolean", `selector: {matchTags: {a: true}}`, "spec.selector.matchTags.a"),
		Entry("with a tag that is an object", `selector: {matchTags: {a: {b: c}}}`, "spec.selector.matchTags.a"),
		Entry("with a key of an expression that is a query", `selector: {matchExpressions: [{key: "a OR b", operator: Exists}]}`, "spec.selector.matchExpressions[0].key"),
		Entry("with In of nothing", `selector: {matchExpressions: [{key: a, operator: In}]}`, "spec.selector.matchExpressions[0].values"),
		Entry("with values of Exists", `selector: {matchExpressions: [{key: a, operator: Exists, values: [x]}]}`, "spec.selector.matchExpressions[0].values"),
		Entry("with an operator of another language", `selector: {matchExpressions: [{key: a, operator: Like, values: [x]}]}`, "spec.selector.matchExpressions[0].operator"),
		Entry("with a device id that no hub takes", `selector: {deviceIDs: ["a/b"]}`, "spec.selector.deviceIDs"),
		Entry("with a model that is no DTMI", `selector: {modelID: com.example}`, "spec.selector.modelID"),
		Entry("with 1,001 devices", `selector: {deviceIDs: [`+strings.Repeat("d,", 1000)+`d]}`, "spec.selector.deviceIDs"),
		Entry("with a batch that picks nothing", batched(`{name: a}`), "spec.rollout.batches[0].upTo", "exactly one"),
		Entry("with a batch that picks twice", batched(`{name: a, upTo: 1%, matchTags: {ring: "0"}}`), "spec.rollout.batches[0].upTo", "exactly one"),
		Entry("with two batches of one name", batched(`{name: a, upTo: 1%}, {name: a, upTo: 2%}`), "spec.rollout.batches[1]"),
		Entry("with a batch called rest", batched(`{name: rest, upTo: 1%}`), "spec.rollout.batches[0].name", "last batch"),
		Entry("with a batch of nobody", batched(`{name: a, upTo: 0}`), "spec.rollout.batches[0].upTo"),
		Entry("with a batch of 0%", batched(`{name: a, upTo: 0%}`), "spec.rollout.batches[0].upTo"),
		Entry("with a batch of 101%", batched(`{name: a, upTo: 101%}`), "spec.rollout.batches[0].upTo"),
		Entry("with a batch of a text", batched(`{name: a, upTo: "10"}`), "spec.rollout.batches[0].upTo"),
		Entry("with percentages that go down", batched(`{name: a, upTo: 10%}, {name: b, upTo: 9%}`), "spec.rollout.batches", "go up"),
		Entry("with a percentage twice", batched(`{name: a, upTo: 10%}, {name: b, upTo: 10.0%}`), "spec.rollout.batches", "same percentage"),
		Entry("with numbers that go down", batched(`{name: a, upTo: 10}, {name: b, upTo: 1%}, {name: c, upTo: 9}`), "spec.rollout.batches", "go up"),
		Entry("with a number twice", batched(`{name: a, upTo: 10}, {name: b, upTo: 10}`), "spec.rollout.batches", "same number"),
		Entry("with more to be judged than the batch has", batched(`{name: a, upTo: 10, minJudged: 11}`), "spec.rollout.batches[0].minJudged"),
		Entry("with a budget that a whole batch meets", batched(`{name: a, upTo: 10, maxFailures: 10}`), "spec.rollout.batches[0].maxFailures", "nothing would stop"),
		Entry("with a budget of 100%", aFleet(`maxFailures: 100%`), "spec.rollout.maxFailures"),
		Entry("with a budget below nothing", aFleet(`maxFailures: -1`), "spec.rollout.maxFailures"),
		Entry("with more acknowledgements than a batch has devices", aFleet(`minAcknowledged: 11, batches: [{name: a, upTo: 10}]`), "spec.rollout.minAcknowledged"),
		Entry("with nothing in flight", aFleet(`maxInFlight: 0`), "spec.rollout.maxInFlight"),
		Entry("with adjusted answers that nobody waits for", aFleet(`acknowledgement: None, adjusted: Accept`), "spec.rollout.adjusted"),
		Entry("with a group that is a query", aFleet(`groupBy: "a, b"`), "spec.rollout.groupBy"),
		Entry("with a batch's tag that is a query", batched(`{name: a, matchTags: {"a OR b": x}}`), "spec.rollout.batches[0].matchTags", "identifiers"),
		Entry("with 21 batches", batched(manyBatches(21)), "spec.rollout.batches"),
		Entry("with a soak below nothing", batched(`{name: a, upTo: 1%, soakSeconds: -1}`), "spec.rollout.batches[0].soakSeconds"),
	)

	It("cannot be moved to another hub", func() {
		namespace := newNamespace()
		out, err := kubectl(fmt.Sprintf(fleetYAML, "moved", namespace, "selector: {deviceIDs: [d]}"), "apply", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		moved := strings.Replace(fmt.Sprintf(fleetYAML, "moved", namespace, "selector: {deviceIDs: [d]}"), "name: hub", "name: other", 1)
		out, err = kubectl(moved, "apply", "-f", "-")
		Expect(err).To(HaveOccurred(), out)
		Expect(out).To(And(ContainSubstring("spec.hubRef"), ContainSubstring("immutable")))
	})
})

func manyBatches(n int) string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("{name: b%d, upTo: %d%%}", i, i+1))
	}
	return strings.Join(all, ", ")
}
