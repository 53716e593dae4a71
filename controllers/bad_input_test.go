package controllers_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const hubYAML = `apiVersion: iot.pnp-operator.io/v1alpha1
kind: IoTHub
metadata: {name: bad, namespace: %s}
spec: %s
`

var _ = Describe("Input that is refused at apply", func() {
	DescribeTable("an IoTHub", func(spec string, want ...string) {
		out, err := kubectl(fmt.Sprintf(hubYAML, "default", spec), "apply", "-f", "-")
		Expect(err).To(HaveOccurred(), out)
		for _, text := range want {
			Expect(out).To(ContainSubstring(text))
		}
	},
		Entry("without any authentication method", `{hostName: factory.azure-devices.net, authentication: {}}`,
			"spec.authentication", "exactly one method"),
		Entry("without authentication", `{hostName: factory.azure-devices.net}`, "spec.authentication"),
		Entry("with a second authentication method, which this release does not know",
			`{hostName: factory.azure-devices.net, authentication: {connectionStringSecretRef: {name: a, key: b}, workloadIdentity: {}}}`,
			"spec.authentication.workloadIdentity"),
		Entry("with a host name that is a URL", `{hostName: "https://factory.azure-devices.net", authentication: {connectionStringSecretRef: {name: a, key: b}}}`,
			"spec.hostName", "full host name"),
		Entry("with a host name without a domain", `{hostName: factory, authentication: {connectionStringSecretRef: {name: a, key: b}}}`, "spec.hostName"),
		Entry("with an endpoint without TLS", `{hostName: factory.azure-devices.net, endpoint: "http://localhost:80", authentication: {connectionStringSecretRef: {name: a, key: b}}}`, "spec.endpoint"),
		Entry("with an empty Secret name", `{hostName: factory.azure-devices.net, authentication: {connectionStringSecretRef: {name: "", key: b}}}`, "connectionStringSecretRef.name"),
		Entry("with a budget that lets nothing through", `{hostName: factory.azure-devices.net, authentication: {connectionStringSecretRef: {name: a, key: b}}, requestBudget: {twinReadsPerSecond: 0}}`,
			"spec.requestBudget.twinReadsPerSecond", "greater than or equal to 1"),
		Entry("with a budget of half a write", `{hostName: factory.azure-devices.net, authentication: {connectionStringSecretRef: {name: a, key: b}}, requestBudget: {twinWritesPerSecond: 0.5}}`,
			"spec.requestBudget.twinWritesPerSecond"),
		Entry("with fewer daily messages than a start takes", `{hostName: factory.azure-devices.net, authentication: {connectionStringSecretRef: {name: a, key: b}}, requestBudget: {dailyMessages: 9}}`,
			"spec.requestBudget.dailyMessages", "greater than or equal to 10"),
	)

	DescribeTable("a PnPDevice", func(spec string, want ...string) {
		out, err := kubectl(fmt.Sprintf("apiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: bad, namespace: default}\nspec: %s\n", spec), "apply", "-f", "-")
		Expect(err).To(HaveOccurred(), out)
		for _, text := range want {
			Expect(out).To(ContainSubstring(text))
		}
	},
		Entry("with a component named twice", `{hubRef: {name: hub}, components: [{name: a, properties: {x: 1}}, {name: a, properties: {y: 2}}]}`, "spec.components"),
		Entry("with telemetry of a component named twice", `{hubRef: {name: hub}, telemetry: [{component: a, fields: [x]}, {component: a, fields: [z]}]}`, "spec.telemetry", "two items have the same component"),
		Entry("with telemetry of the default component named twice", `{hubRef: {name: hub}, telemetry: [{fields: [x]}, {component: "", fields: [z]}]}`, "spec.telemetry", "put their fields into one item"),
		Entry("without a hub", `{}`, "spec.hubRef"),
		Entry("with properties that are a list", `{hubRef: {name: hub}, properties: [1]}`, "spec.properties"),
		Entry("with a device id that no hub takes", `{hubRef: {name: hub}, deviceID: "a/b"}`, "spec.deviceID"),
		Entry("with a model that is no DTMI", `{hubRef: {name: hub}, modelID: "com.example"}`, "spec.modelID"),
		Entry("with a component name that no model can have", `{hubRef: {name: hub}, components: [{name: "a.b"}]}`, "name"),
		Entry("with an unknown management", `{hubRef: {name: hub}, management: Sometimes}`, "spec.management", "Enforce"),
	)

	It("refuses another device id or another hub name later, also by removing the field first", func() {
		s := &site{namespace: newNamespace()}
		s.create("fixed", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = "first" }))
		s.eventually("fixed", beWaiting(v1alpha1.ReasonHubNotFound)) // the operator is done with it
		d := s.get("fixed")
		d.Spec.DeviceID = "second"
		Expect(admin.Update(ctx, d)).To(MatchError(And(ContainSubstring("spec.deviceID"), ContainSubstring("immutable"))))
		d.Spec.DeviceID = ""
		Expect(admin.Update(ctx, d)).To(MatchError(ContainSubstring("immutable")))
		s.create("by-name")
		s.edit("by-name", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = "by-name" })) // the default, spelled out

		s.sim = newHub()
		h := s.iotHub()
		Expect(admin.Create(ctx, h)).To(Succeed())
		s.eventuallyHub(beWaiting(v1alpha1.ReasonSecretNotFound))
		Expect(admin.Get(ctx, client.ObjectKeyFromObject(h), h)).To(Succeed())
		h.Spec.HostName = "other.azure-devices.net"
		Expect(admin.Update(ctx, h)).To(MatchError(And(ContainSubstring("spec.hostName"), ContainSubstring("immutable"))))
	})
})

var _ = Describe("A credential that does not work", func() {
	// Each hub starts broken, shows why, and heals by itself when the Secret is put right.
	DescribeTable("heals when the Secret is put right", func(broken map[string]string, matcher func() OmegaMatcher) {
		s := &site{namespace: newNamespace(), sim: newHub()}
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		if broken != nil {
			Expect(admin.Create(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"}, StringData: broken})).To(Succeed())
		}
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventuallyHub(matcher())
		s.eventually("d", s.beHeldByHub())
		Expect(s.writes("d")).To(BeZero())

		secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"}}
		Expect(client.IgnoreNotFound(admin.Delete(ctx, secret))).To(Succeed())
		s.createSecret(s.sim.ConnectionString("service"))
		s.eventually("d", beReady())
	},
		Entry("after the Secret was missing", nil, func() OmegaMatcher { return beWaiting(v1alpha1.ReasonSecretNotFound) }),
		Entry("after the key was missing", map[string]string{"other": "x"}, func() OmegaMatcher { return beWaiting(v1alpha1.ReasonSecretKeyNotFound) }),
		Entry("after the connection string was malformed", map[string]string{"connectionString": "HostName=x"},
			func() OmegaMatcher { return beStalled(v1alpha1.ReasonInvalidConnectionString) }),
		Entry("after it was for another host", map[string]string{"connectionString": "HostName=other.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=c2VjcmV0c2VjcmV0c2VjcmV0"},
			func() OmegaMatcher { return beStalled(v1alpha1.ReasonHostNameMismatch) }),
	)

	It("shows a wrong key as Unauthorized, does not ask again at once and never prints the key", func() {
		s := &site{namespace: newNamespace(), sim: newHub()}
		const key = "c3VwZXItc2VjcmV0LWtleS10aGF0LWlzLXdyb25n"
		s.createSecret("HostName=" + s.sim.HostName() + ";SharedAccessKeyName=service;SharedAccessKey=" + key)
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
		s.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		asked := s.sim.Calls().Total()
		// It asks again after two seconds, or a tenth less: such a refusal may pass.
		Consistently(s.sim.Calls().Total, 1500*time.Millisecond).Should(Equal(asked))
		s.noTraceOf(key)
	})

	It("notices a policy that is disabled in the middle of work, and heals with a new key", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Policies().Disable("service")).To(Succeed())
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventuallyHub(beStalled(v1alpha1.ReasonUnauthorized))
		s.eventually("d", beStalled(v1alpha1.ReasonHubNotReady))
		secret := &corev1.Secret{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, secret)).To(Succeed())
		secret.Data["connectionString"] = []byte(s.sim.ConnectionString("iothubowner"))
		Expect(admin.Update(ctx, secret)).To(Succeed())
		s.eventually("d", beReady())
		Expect(s.desired("d")).To(HaveKeyWithValue("targetTemperature", 21.0))
		policy, _ := s.sim.Policies().Get("iothubowner")
		s.noTraceOf(policy.Key)
	})

	It("sends no token to a host that is not allowed", func() {
		s := &site{namespace: newNamespace(), sim: newHub()}
		s.createSecret(s.sim.ConnectionString("service"))
		h := s.iotHub()
		h.Spec.Endpoint = "https://127.0.0.1:" + h.Spec.Endpoint[strings.LastIndex(h.Spec.Endpoint, ":")+1:]
		Expect(admin.Create(ctx, h)).To(Succeed())
		s.eventuallyHub(And(beStalled(v1alpha1.ReasonHostNotAllowed), haveMessage("127.0.0.1", "--allowed-hub-suffixes")))
		Expect(s.sim.Calls().Total()).To(BeZero())
	})
})

// noTraceOf proves that a key is neither in the log nor in anything that the API server shows.
func (s *site) noTraceOf(key string) {
	GinkgoHelper()
	Expect(logs.String()).NotTo(ContainSubstring(key))
	out, err := kubectl("", "get", "iothubs,pnpdevices,events,events.events.k8s.io", "-n", s.namespace, "-o", "yaml")
	Expect(err).NotTo(HaveOccurred(), out)
	Expect(out).To(ContainSubstring("kind: IoTHub"))
	Expect(out).NotTo(ContainSubstring(key))
}

func nested(levels int) string {
	return `{"a": ` + strings.Repeat(`{"a":`, levels) + "1" + strings.Repeat("}", levels) + `}`
}

// large is an object of n strings of some length each.
func large(n, length int) string {
	fields := make([]string, n)
	for i := range fields {
		fields[i] = fmt.Sprintf(`"k%d": %q`, i, strings.Repeat("x", length))
	}
	return "{" + strings.Join(fields, ",") + "}"
}

var _ = Describe("A device that cannot be written", func() {
	It("is DeviceNotFound until it is created at the hub", func() {
		s := newSite()
		h := &v1alpha1.IoTHub{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, h)).To(Succeed())
		h.Spec.SweepIntervalSeconds = 5
		Expect(admin.Update(ctx, h)).To(Succeed())
		s.create("late", withProperties(`{"targetTemperature": 20}`))
		s.eventually("late", beStalled(v1alpha1.ReasonDeviceNotFound))
		Expect(kstatusOf(s.get("late"))).To(Equal("Failed"))
		s.virtual("late", simulator.Thermostat, simulator.Acknowledge())
		s.eventually("late", beReady())
	})

	It("is left alone while it announces another model", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = "dtmi:com:example:Other;1" }))
		s.eventually("d", And(beStalled(v1alpha1.ReasonModelMismatch), haveMessage(simulator.Thermostat, "dtmi:com:example:Other;1")))
		Expect(s.writes("d")).To(BeZero())
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.ModelID = simulator.Thermostat }))
		s.eventually("d", beReady())
	})

	DescribeTable("has a declaration that breaks the twin's rules", func(bad, path string) {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(bad), withComponent("valid", `{"x": 1}`),
			withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.TwinAPI = v1alpha1.TwinAPIDeviceTwin }))
		s.eventually("d", And(beStalled(v1alpha1.ReasonInvalidDeclaration), haveMessage(path)))
		Expect(kstatusOf(s.get("d"))).To(Equal("Failed"))
		Expect(s.desired("d")).To(BeEmpty(), "not even the valid rest may be written")
		s.edit("d", func(d *v1alpha1.PnPDevice) { d.Spec.Components = nil }, withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
	},
		Entry("by depth 11", nested(11), "properties.a.a.a"),
		Entry("by a string of 5 KB", `{"a": "`+strings.Repeat("x", 5*1024)+`"}`, "properties.a"),
		Entry("by a key with a dot", `{"a": {"b.c": 1}}`, "properties.a"),
		Entry("by null", `{"a": null}`, "properties.a"),
		Entry("by null in an array", `{"a": [1, null]}`, "properties.a"),
		Entry("by 2^53", `{"a": 9007199254740992}`, "properties.a"),
		Entry("by 33 KB in all", large(9, 3700), "32768"),
	)
})

var _ = Describe("Two PnPDevices for one device", func() {
	It("lets the oldest win in one namespace, and the other when that goes", func() {
		s := newSite()
		s.virtual("shared", simulator.Thermostat, simulator.Acknowledge())
		s.create("shared", withProperties(`{"targetTemperature": 20}`))
		s.eventually("shared", beReady())
		s.create("second", withProperties(`{"targetTemperature": 30}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = "shared" }))
		s.eventually("second", And(beStalled(v1alpha1.ReasonDeviceAlreadyDeclared), haveMessage(`PnPDevice "shared"`)))
		Expect(s.desired("shared")).To(HaveKeyWithValue("targetTemperature", 20.0))
		Expect(admin.Delete(ctx, s.get("shared"))).To(Succeed())
		s.eventually("second", beReady())
		Expect(s.desired("shared")).To(HaveKeyWithValue("targetTemperature", 30.0))
	})

	It("lets the oldest win across namespaces without naming the other's", func() {
		first := newSite()
		second := &site{namespace: newNamespace(), sim: first.sim}
		second.createSecret(first.sim.ConnectionString("service"))
		Expect(admin.Create(ctx, second.iotHub())).To(Succeed())
		second.eventuallyHub(beReady())
		first.virtual("shared", simulator.Thermostat, simulator.Acknowledge())
		first.create("shared", withProperties(`{"targetTemperature": 20}`))
		first.eventually("shared", beReady())
		second.create("shared", withProperties(`{"targetTemperature": 30}`))
		second.eventually("shared", beStalled(v1alpha1.ReasonDeviceAlreadyDeclared))
		Expect(conditionOf(second.get("shared"), "Ready").Message).NotTo(ContainSubstring(first.namespace))
		Expect(admin.Delete(ctx, first.get("shared"))).To(Succeed())
		second.eventually("shared", beReady())
	})

	It("does not let a tenant without a credential block another", func() {
		poor := &site{namespace: newNamespace(), sim: newHub()}
		Expect(admin.Create(ctx, poor.iotHub())).To(Succeed())
		poor.create("shared", withProperties(`{"targetTemperature": 10}`))
		poor.eventually("shared", beWaiting(v1alpha1.ReasonHubNotReady))
		rich := &site{namespace: newNamespace(), sim: poor.sim}
		rich.createSecret(rich.sim.ConnectionString("service"))
		Expect(admin.Create(ctx, rich.iotHub())).To(Succeed())
		rich.virtual("shared", simulator.Thermostat, simulator.Acknowledge())
		rich.create("shared", withProperties(`{"targetTemperature": 20}`))
		rich.eventually("shared", beReady())
	})
})

var _ = Describe("A twin that the hub will not patch as a digital twin", func() {
	It("names the culprit and the way out", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		Expect(s.sim.Hub().PatchReported("d", `{"not-conformant": [1]}`)).To(Succeed())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", And(beStalled(v1alpha1.ReasonTwinNotConformant), haveMessage("not-conformant", "twinAPI: DeviceTwin")))
		s.edit("d", withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.TwinAPI = v1alpha1.TwinAPIDeviceTwin }))
		s.eventually("d", beReady())
	})
})

var _ = Describe("A hub that fails for now", func() {
	DescribeTable("is tried again, shown after a grace time, and heals", func(fault simulator.Fault) {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		id := s.sim.Faults().Add(fault.On("*", "d").Times(simulator.Forever))
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", Or(beWaiting(v1alpha1.ReasonHubUnavailable), beWaiting(v1alpha1.ReasonThrottled)))
		Expect(kstatusOf(s.get("d"))).To(Equal("InProgress"))
		message := conditionOf(s.get("d"), "Ready").Message
		version := s.get("d").ResourceVersion
		Consistently(func() string { return s.get("d").ResourceVersion }, 2*time.Second).Should(Equal(version), "the same trouble must not be written twice: %s", message)
		Expect(len(s.eventsOf("d", v1alpha1.ReasonHubUnavailable)) + len(s.eventsOf("d", v1alpha1.ReasonThrottled))).To(BeNumerically("<=", 1))
		s.sim.Faults().Remove(id)
		Eventually(func(g Gomega) { g.Expect(s.read(g, "d")).To(beReady()) }, 40*time.Second).Should(Succeed())
		Expect(s.desired("d")).To(HaveKeyWithValue("targetTemperature", 21.0))
	},
		Entry("429", simulator.Throttled()),
		Entry("500", simulator.ServerError()),
		Entry("503", simulator.Unavailable()),
		Entry("504101", simulator.GatewayTimeout()),
		Entry("resets", simulator.Broken(simulator.FaultResetBefore)),
		Entry("half a body", simulator.Broken(simulator.FaultHalfBody)),
		Entry("invalid JSON", simulator.Broken(simulator.FaultInvalidJSON)),
		Entry("no answer at all", simulator.Broken(simulator.FaultHang)),
	)
})

var _ = Describe("The samples", func() {
	It("are complete, and accepted by the API server as they are", func() {
		out, err := kubectl("", "apply", "--server-side", "--dry-run=server", "--namespace", newNamespace(), "--kustomize", filepath.Join("..", "config", "samples"))
		Expect(err).NotTo(HaveOccurred(), out)
		for _, kind := range []string{"iothub", "pnpdevice", "devicecommand"} {
			Expect(out).To(ContainSubstring(kind + ".iot.pnp-operator.io/"))
		}
		files, err := filepath.Glob(filepath.Join("..", "config", "samples", "*.yaml"))
		Expect(err).NotTo(HaveOccurred())
		Expect(strings.Count(out, "serverside-applied")).To(Equal(len(files)-1), "a file that kustomization.yaml does not name:\n"+out)
	})

	It("of recipes are, too, and the CronJob's script makes a command", func() {
		namespace, recipes := newNamespace(), filepath.Join("..", "config", "recipes")
		for _, recipe := range []string{"fan-out", "schedule"} {
			out, err := kubectl("", "apply", "--namespace", namespace, "--kustomize", filepath.Join(recipes, recipe))
			Expect(err).NotTo(HaveOccurred(), out)
		}
		var job batchv1.CronJob
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: namespace, Name: "line-3-report"}, &job)).To(Succeed())
		c := job.Spec.JobTemplate.Spec.Template.Spec.Containers[0]
		run := exec.CommandContext(ctx, c.Command[0], append(c.Command[1:], strings.ReplaceAll(c.Args[0], "kubectl create", "kubectl create --namespace "+namespace))...)
		run.Env = append(os.Environ(), "KUBECONFIG="+kubeconfig, "PATH="+assets()+":"+os.Getenv("PATH"))
		out, err := run.CombinedOutput()
		Expect(err).NotTo(HaveOccurred(), string(out))
		var commands v1alpha1.DeviceCommandList
		Expect(admin.List(ctx, &commands, client.InNamespace(namespace))).To(Succeed())
		Expect(commands.Items).To(ConsistOf(HaveField("Name", HavePrefix("line-1-")), HaveField("Name", HavePrefix("line-2-")), HaveField("GenerateName", "line-3-report-")))
	})
})
