package controllers_test

import (
	"fmt"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	gomegatypes "github.com/onsi/gomega/types"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const report = "thermostat1*getMaxMinReport"

// plant is a site with an event stream and a controller, declared as d.
func plant() *site {
	GinkgoHelper()
	s := newEventSite()
	s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
	s.create("d", withComponent("thermostat1", `{"targetTemperature":20}`))
	s.eventually("d", beReady())
	return s
}

// command builds a DeviceCommand that asks thermostat1 for its report; edits change it before it is created.
func (s *site) command(name string, edits ...func(*v1alpha1.DeviceCommand)) *v1alpha1.DeviceCommand {
	c := &v1alpha1.DeviceCommand{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: name},
		Spec: v1alpha1.DeviceCommandSpec{
			DeviceRef: v1alpha1.DeviceReference{Name: "d"}, Component: "thermostat1", Command: "getMaxMinReport",
			Payload: object(`"2026-11-22T10:00:00Z"`), NotAfter: metav1.NewTime(time.Now().Add(time.Hour)), ResponseTimeoutSeconds: 5,
		},
	}
	for _, edit := range edits {
		edit(c)
	}
	return c
}

func (s *site) run(name string, edits ...func(*v1alpha1.DeviceCommand)) {
	GinkgoHelper()
	Expect(admin.Create(ctx, s.command(name, edits...))).To(Succeed())
}

func commandSpec(edit func(*v1alpha1.DeviceCommandSpec)) func(*v1alpha1.DeviceCommand) {
	return func(c *v1alpha1.DeviceCommand) { edit(&c.Spec) }
}

func (s *site) getCommand(name string) *v1alpha1.DeviceCommand {
	GinkgoHelper()
	c := &v1alpha1.DeviceCommand{}
	Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, c)).To(Succeed())
	return c
}

func (s *site) eventuallyCommand(name string, matcher gomegatypes.GomegaMatcher) {
	GinkgoHelper()
	Eventually(func(g Gomega) {
		c := &v1alpha1.DeviceCommand{}
		g.Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: name}, c)).To(Succeed())
		g.Expect(c).To(matcher)
	}).Should(Succeed())
}

// ran returns how often each command reached the device.
func (s *site) ran(name string) int {
	GinkgoHelper()
	commands, err := s.sim.Devices().Commands("d")
	Expect(err).NotTo(HaveOccurred())
	count := 0
	for _, c := range commands {
		if c.Name == name {
			count++
		}
	}
	return count
}

func haveOutcome(outcome v1alpha1.CommandOutcome) gomegatypes.GomegaMatcher {
	return HaveField("Status.Outcome", outcome)
}

// waitsFor matches a command without an outcome that is not Ready for a reason, and Reconciling.
func waitsFor(reason string) gomegatypes.GomegaMatcher {
	return SatisfyAll(haveOutcome(""), haveReady(metav1.ConditionFalse, reason),
		WithTransform(func(c *v1alpha1.DeviceCommand) string {
			return string(conditionOf(c, v1alpha1.ConditionReconciling).Status)
		}, Equal("True")))
}

func haveReady(is metav1.ConditionStatus, reason string) gomegatypes.GomegaMatcher {
	return WithTransform(func(o client.Object) string {
		c := conditionOf(o, v1alpha1.ConditionReady)
		return fmt.Sprint(c.Status, " ", c.Reason)
	}, Equal(fmt.Sprint(is, " ", reason)))
}

// deep is JSON of nearly the size that status holds, as deep as that allows.
func deep(begin, inside, end string) []byte {
	depth := (16<<10 - len(inside)) / (len(begin) + len(end))
	return []byte(strings.Repeat(begin, depth) + inside + strings.Repeat(end, depth))
}

// lies has the hub deliver the next command, and then answer something else.
func (s *site) lies(f simulator.Fault) {
	GinkgoHelper()
	f.Operation = simulator.OpInvokeCommand
	_, err := s.sim.Faults().TryAdd(f)
	Expect(err).NotTo(HaveOccurred())
}

var _ = Describe("A DeviceCommand", func() {
	It("runs once, and has the answer in status", func() {
		s := plant()
		s.run("c")
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), haveReady(metav1.ConditionTrue, v1alpha1.ReasonSucceeded)))
		c := s.getCommand("c")
		Expect(c.Status).To(SatisfyAll(
			HaveField("StatusCode", HaveValue(BeEquivalentTo(200))), HaveField("Attempts", BeEquivalentTo(1)), HaveField("Route", v1alpha1.RouteDigitalTwin),
			HaveField("DeviceID", "d"), HaveField("RequestID", c.Annotations[v1alpha1.AnnotationAttempt]), HaveField("CompletionTime", Not(BeNil())),
			HaveField("Response.Raw", ContainSubstring(`"maxTemp":23.4`)), HaveField("ReleasedRequestID", ""),
		))
		commands, err := s.sim.Devices().Commands("d")
		Expect(err).NotTo(HaveOccurred())
		Expect(commands).To(HaveLen(1))
		Expect(string(commands[0].Payload)).To(Equal(`"2026-11-22T10:00:00Z"`))
		s.eventuallyEvent("CommandSucceeded", "thermostat1/getMaxMinReport")
		described, err := kubectl("", "describe", "pnpdevice", "d", "-n", s.namespace)
		Expect(err).NotTo(HaveOccurred())
		Expect(described).To(MatchRegexp(`Normal +CommandSucceeded .*thermostat1/getMaxMinReport by DeviceCommand "c": The device answered with code 200`))
		Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(1))
		Expect(kstatusOf(c)).To(Equal("Current"))
	})

	It("goes as a direct method where the twin is written as a device twin, with null for no payload", func() {
		s := plant()
		s.edit("d", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.TwinAPI = v1alpha1.TwinAPIDeviceTwin }))
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Component, c.Command, c.Payload = "", "reboot", nil }))
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), HaveField("Status.Route", v1alpha1.RouteDirectMethod)))
		commands, err := s.sim.Devices().Commands("d")
		Expect(err).NotTo(HaveOccurred())
		Expect(commands).To(ConsistOf(SatisfyAll(HaveField("Name", "reboot"), HaveField("Payload", BeEquivalentTo("null")))))
		Expect(s.sim.Calls().Count(simulator.OpInvokeMethod)).To(Equal(1))
	})

	DescribeTable("sends null where it has no payload", func(api v1alpha1.TwinAPI, payload, stored string) {
		s := plant()
		s.edit("d", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.TwinAPI = api }))
		out, err := kubectl(fmt.Sprintf("apiVersion: iot.pnp-operator.io/v1alpha1\nkind: DeviceCommand\nmetadata: {name: c, namespace: %s}\n"+
			"spec: {deviceRef: {name: d}, command: reboot, notAfter: %q%s}\n", s.namespace, time.Now().Add(time.Hour).UTC().Format(time.RFC3339), payload), "apply", "--server-side", "-f", "-")
		Expect(err).NotTo(HaveOccurred(), out)
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		commands, err := s.sim.Devices().Commands("d")
		Expect(err).NotTo(HaveOccurred())
		Expect(commands).To(ConsistOf(HaveField("Payload", BeEquivalentTo("null"))))
		out, err = kubectl("", "get", "dcmd", "c", "-n", s.namespace, "-o", "jsonpath={.spec}")
		Expect(err).NotTo(HaveOccurred(), out)
		Expect(strings.Contains(out, "payload")).To(Equal(stored != ""), out)
	},
		Entry("omitted, by the digital twin", v1alpha1.TwinAPIDigitalTwin, "", ""),
		Entry("omitted, by the direct method", v1alpha1.TwinAPIDeviceTwin, "", ""),
		Entry("an explicit null, by the digital twin", v1alpha1.TwinAPIDigitalTwin, ", payload: null", "null"),
		Entry("an explicit null, by the direct method", v1alpha1.TwinAPIDeviceTwin, ", payload: null", "null"),
	)

	It("that is under way outlives the rotation of the hub's key", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 200, Delay: 6 * time.Second})).To(Succeed())
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 60 }))
		Eventually(func() int { return s.sim.Calls().Count(simulator.OpInvokeCommand) }).Should(Equal(1))
		secret := &corev1.Secret{}
		Expect(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "hub"}, secret)).To(Succeed())
		secret.Data["connectionString"] = []byte(s.sim.ConnectionString("iothubowner"))
		Expect(s.sim.Policies().Disable("service")).To(Succeed())
		Expect(admin.Update(ctx, secret)).To(Succeed())
		s.edit("d", withComponent("thermostat1", `{"targetTemperature":21}`))
		Eventually(func() any { return s.desired("d")["thermostat1"] }).Should(HaveKeyWithValue("targetTemperature", 21.0), "the new key's session writes")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonRunning))
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), HaveField("Status.Attempts", BeEquivalentTo(1))))
		Expect(s.ran(report)).To(Equal(1))
	})

	DescribeTable("ends as the device answers", func(answer simulator.CommandAnswer, outcome v1alpha1.CommandOutcome, reason string, check gomegatypes.GomegaMatcher) {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, answer)).To(Succeed())
		s.run("c")
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(outcome), check))
		Expect(conditionOf(s.getCommand("c"), v1alpha1.ConditionReady).Reason).To(Equal(reason))
		Expect(s.ran(report)).To(Equal(1))
	},
		Entry("another code", simulator.CommandAnswer{Status: 503, Payload: []byte(`"busy"`)}, v1alpha1.CommandFailed, v1alpha1.ReasonDeviceFailed,
			SatisfyAll(HaveField("Status.StatusCode", HaveValue(BeEquivalentTo(503))), HaveField("Status.Response.Raw", BeEquivalentTo(`"busy"`)))),
		Entry("202", simulator.CommandAnswer{Status: 202}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded, HaveField("Status.StatusCode", HaveValue(BeEquivalentTo(202)))),
		Entry("128 KB", simulator.CommandAnswer{Status: 200, Payload: []byte(`"` + strings.Repeat("x", 128<<10) + `"`)}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			SatisfyAll(HaveField("Status.ResponseTruncated", true), HaveField("Status.Response.Raw", WithTransform(func(raw []byte) int { return len(raw) }, And(BeNumerically("<=", 16<<10), BeNumerically(">", 15<<10)))))),
		Entry("text that is not JSON", simulator.CommandAnswer{Status: 200, Payload: []byte(`"it's done"`)}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			HaveField("Status.Response.Raw", BeEquivalentTo(`"it's done"`))),
		Entry("nulls", simulator.CommandAnswer{Status: 200, Payload: []byte(`{"a":null,"b":[null,{"c":null}]}`)}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			HaveField("Status.Response.Raw", MatchJSON(`{"a":null,"b":[null,{"c":null}]}`))),
		Entry("a number beyond a double", simulator.CommandAnswer{Status: 200, Payload: []byte(`{"a":1e999}`)}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			HaveField("Status.Response.Raw", MatchJSON(`"{\"a\":1e999}"`))),
		Entry("a number beyond 64 bits", simulator.CommandAnswer{Status: 200, Payload: []byte(`18446744073709551616`)}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			HaveField("Status.Response.Raw", MatchJSON(`"18446744073709551616"`))),
		Entry("arrays in arrays", simulator.CommandAnswer{Status: 200, Payload: deep("[", "", "]")}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			HaveField("Status.StatusCode", HaveValue(BeEquivalentTo(200)))),
		Entry("objects in objects", simulator.CommandAnswer{Status: 200, Payload: deep(`{"a":`, "1", "}")}, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded,
			HaveField("Status.StatusCode", HaveValue(BeEquivalentTo(200)))),
		Entry("nothing", simulator.CommandAnswer{Silent: true}, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown, HaveField("Status.StatusCode", BeNil())),
	)

	DescribeTable("is Unknown, and not sent again, if it may have been delivered", func(f simulator.Fault) {
		s := plant()
		s.lies(f)
		s.run("c")
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandUnknown), haveReady(metav1.ConditionFalse, v1alpha1.ReasonOutcomeUnknown)))
		Expect(isTrueOn(s.getCommand("c"), v1alpha1.ConditionStalled)).To(BeTrue())
		Expect(kstatusOf(s.getCommand("c"))).To(Equal("Failed"))
		Consistently(func() int { return s.ran(report) }, 2*time.Second).Should(Equal(1))
		Expect(s.sim.Calls().Count(simulator.OpInvokeCommand)).To(Equal(1))
		s.eventuallyEvent("CommandUnknown", "getMaxMinReport")
	},
		Entry("404103, with another text", simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 404, Code: "DeviceNotOnline", Number: 404103, Message: "Device unavailable", Envelope: "E3"}),
		Entry("404103, without a time-out", simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 404, Code: "DeviceNotOnline", Number: 404103, Message: "Timed out waiting for device to connect.", Envelope: "E3"}),
		Entry("408", simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 408}),
		Entry("500", simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 500}),
		Entry("503", simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 503}),
		Entry("504", simulator.Fault{Kind: simulator.FaultStatusAfter, Status: 504}),
		Entry("no answer", simulator.Fault{Kind: simulator.FaultResetAfter}),
		Entry("half an answer", simulator.Fault{Kind: simulator.FaultHalfBody}),
	)

	It("that reboots the device runs once, though the hub says that the device was offline", func() {
		s := plant()
		s.lies(simulator.Broken(simulator.FaultOfflineAfter))
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Component, c.Command, c.Payload = "", "reboot", nil }))
		Eventually(func() int { return s.ran("reboot") }).Should(Equal(1))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandUnknown), haveReady(metav1.ConditionFalse, v1alpha1.ReasonOutcomeUnknown)))
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionState", "Connected"))
		s.run("next", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.NewTime(time.Now().Add(time.Minute)) }))
		s.eventuallyCommand("next", haveOutcome(v1alpha1.CommandSucceeded))
		Expect(s.ran("reboot")).To(Equal(1))
	})

	It("that the hub said was not delivered is Unknown, once events say that the device was there", func() {
		s := plant()
		s.lies(simulator.Broken(simulator.FaultOfflineAfter))
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		Expect(s.sim.Devices().Offline("d")).To(Succeed()) // it disconnects only now
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandUnknown), haveReady(metav1.ConditionFalse, v1alpha1.ReasonOutcomeUnknown)))
		Expect(conditionOf(s.getCommand("c"), v1alpha1.ConditionReady).Message).To(ContainSubstring("its events say that it was there"))
		Expect(s.ran(report)).To(Equal(1))
	})

	DescribeTable("is sent again once the hub has refused it for a while", func(f simulator.Fault, reason string) {
		s := plant()
		s.lies(f)
		s.run("c")
		s.eventuallyCommand("c", waitsFor(reason))
		Expect(s.ran(report)).To(BeZero())
		c := s.getCommand("c")
		Expect(c.Status.ReleasedRequestID).To(Equal(c.Status.RequestID))
		s.ration(budget(func(b *v1alpha1.RequestBudget) { b.DailyMessages++ }))                                    // after a quota the hub is asked again for that
		Expect(s.sim.Router().PublishTelemetry("d", "thermostat1", "", []byte(`{"temperature":1}`))).To(Succeed()) // the device is there
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), HaveField("Status.Attempts", BeEquivalentTo(2))))
		Expect(s.ran(report)).To(Equal(1))
	},
		Entry("disabled", simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Code: "DeviceDisabled", Number: 403012}, v1alpha1.ReasonDeviceDisabled),
		Entry("unknown device", simulator.Fault{Kind: simulator.FaultStatus, Status: 404}, v1alpha1.ReasonDeviceNotFound),
	)

	DescribeTable("waits where the hub takes no more, whatever the device does", func(f simulator.Fault, reason string) {
		s := plant()
		s.lies(f.Times(simulator.Forever))
		s.run("c")
		s.eventuallyCommand("c", waitsFor(reason))
		Consistently(func() int {
			Expect(s.sim.Router().PublishTelemetry("d", "thermostat1", "", []byte(`{"temperature":1}`))).To(Succeed())
			return s.sim.Calls().Count(simulator.OpInvokeCommand)
		}, 4*time.Second).Should(BeNumerically("<=", 4))
		Expect(s.ran(report)).To(BeZero())
	},
		Entry("429", simulator.Fault{Kind: simulator.FaultStatus, Status: 429}, v1alpha1.ReasonThrottled),
		Entry("too many for the device", simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Code: "DeviceMaximumInflightMethodExceeded", Number: 403800}, v1alpha1.ReasonThrottled),
		Entry("quota", simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Number: 403002}, v1alpha1.ReasonQuotaExceeded),
	)

	DescribeTable("fails at once if the hub refuses it for good", func(f simulator.Fault) {
		s := plant()
		s.lies(f)
		s.run("c")
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandFailed), haveReady(metav1.ConditionFalse, v1alpha1.ReasonHubRefused)))
		Expect(s.ran(report)).To(BeZero())
	},
		Entry("400", simulator.Fault{Kind: simulator.FaultStatus, Status: 400}),
		Entry("401", simulator.Fault{Kind: simulator.FaultStatus, Status: 401}),
		Entry("403", simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Code: "OperationNotAvailableInCurrentTier", Number: 403010}),
	)

	It("waits for an offline device, and runs when that is back", func() {
		s := plant()
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionState", "Disconnected"))
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceOffline))
		Expect(kstatusOf(s.getCommand("c"))).To(Equal("InProgress"))
		Consistently(func() int { return s.sim.Calls().Count(simulator.OpInvokeCommand) }, time.Second).Should(Equal(1))
		Expect(s.sim.Devices().Online("d")).To(Succeed())
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandSucceeded), HaveField("Status.Attempts", BeEquivalentTo(2))))
		Expect(s.ran(report)).To(Equal(1))
	})

	It("expires, and is never sent", func() {
		s := plant()
		s.run("late", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.NewTime(time.Now().Add(-time.Second)) }))
		s.eventuallyCommand("late", SatisfyAll(haveOutcome(v1alpha1.CommandExpired), haveReady(metav1.ConditionFalse, v1alpha1.ReasonExpired)))
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.run("offline", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.NewTime(time.Now().Add(3 * time.Second)) }))
		s.eventuallyCommand("offline", haveOutcome(v1alpha1.CommandExpired))
		Expect(s.ran(report)).To(BeZero())
	})

	It("runs after those of its device that were created before it", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 200, Delay: time.Second})).To(Succeed())
		for _, name := range []string{"b", "a", "c"} {
			s.run(name, commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(fmt.Sprintf("%q", name)) }))
		}
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonQueued))
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		commands, err := s.sim.Devices().Commands("d")
		Expect(err).NotTo(HaveOccurred())
		Expect(commands).To(HaveLen(3))
		for i := 1; i < len(commands); i++ {
			Expect(commands[i].At.Sub(commands[i-1].At)).To(BeNumerically(">=", time.Second), "they overlap")
		}
		Expect(string(commands[2].Payload)).To(Equal(`"c"`), "creation times have whole seconds; c is the last by time and by name")
	})

	DescribeTable("an attempt that another operator left behind", func(leave func(*v1alpha1.DeviceCommand), policy v1alpha1.UnknownOutcomePolicy, outcome v1alpha1.CommandOutcome, reason string) {
		s := plant()
		manager.stop()
		c := s.command("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.OnUnknownOutcome = policy }))
		leave(c)
		status := c.Status
		Expect(admin.Create(ctx, c)).To(Succeed())
		if status.RequestID != "" {
			base := c.DeepCopy()
			c.Status = status
			Expect(admin.Status().Patch(ctx, c, client.MergeFrom(base))).To(Succeed())
		}
		manager = startOperator()
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(outcome), haveReadyReason(reason)))
		want := 0
		if outcome == v1alpha1.CommandSucceeded {
			want = 1
		}
		Consistently(func() int { return s.ran(report) }, time.Second).Should(Equal(want))
	},
		Entry("before its claim: it runs", func(*v1alpha1.DeviceCommand) {}, v1alpha1.UnknownFail, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded),
		Entry("after the annotation, as a restore without status leaves it", func(c *v1alpha1.DeviceCommand) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationAttempt, "r1")
		}, v1alpha1.UnknownFail, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown),
		Entry("after Running", func(c *v1alpha1.DeviceCommand) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationAttempt, "r1")
			c.Status.RequestID, c.Status.StartTime = "r1", &metav1.Time{Time: time.Now()}
		}, v1alpha1.UnknownFail, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown),
		Entry("after Running, and someone removed the annotation", func(c *v1alpha1.DeviceCommand) {
			c.Status.RequestID, c.Status.StartTime = "r1", &metav1.Time{Time: time.Now()}
		}, v1alpha1.UnknownFail, v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown),
		Entry("after Running, to be retried, soon after", func(c *v1alpha1.DeviceCommand) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationAttempt, "r1")
			c.Status.RequestID, c.Status.StartTime = "r1", &metav1.Time{Time: time.Now()}
		}, v1alpha1.UnknownRetry, v1alpha1.CommandOutcome(""), v1alpha1.ReasonRetryingUnknownOutcome),
		Entry("after Running, to be retried, long after", func(c *v1alpha1.DeviceCommand) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationAttempt, "r1")
			c.Status.RequestID, c.Status.StartTime = "r1", &metav1.Time{Time: time.Now().Add(-time.Hour)}
		}, v1alpha1.UnknownRetry, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded),
		Entry("after it was released", func(c *v1alpha1.DeviceCommand) {
			metav1.SetMetaDataAnnotation(&c.ObjectMeta, v1alpha1.AnnotationAttempt, "r1")
			c.Status.RequestID, c.Status.ReleasedRequestID = "r1", "r1"
		}, v1alpha1.UnknownFail, v1alpha1.CommandSucceeded, v1alpha1.ReasonSucceeded),
	)

	It("that is deleted while it runs is not waited for, and says so", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Silent: true})).To(Succeed())
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 300 }))
		Eventually(func() int { return s.ran(report) }).Should(Equal(1))
		Expect(admin.Delete(ctx, s.getCommand("c"))).To(Succeed())
		s.eventuallyEvent(v1alpha1.ReasonCommandAbandoned, "may have run")
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 200})).To(Succeed())
		s.run("next")
		s.eventuallyCommand("next", haveOutcome(v1alpha1.CommandSucceeded))
	})

	It("outlives its PnPDevice once it is sent", func() {
		s := plant()
		Expect(s.sim.Devices().AnswerCommand("d", report, simulator.CommandAnswer{Status: 200, Delay: 2 * time.Second})).To(Succeed())
		s.run("c")
		s.run("next")
		Eventually(func() int { return s.ran(report) }).Should(Equal(1))
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		s.eventuallyCommand("next", waitsFor(v1alpha1.ReasonPnPDeviceNotFound))
		Expect(s.ran(report)).To(Equal(1))
	})

	It("waits if its device was deleted at the hub", func() {
		s := plant()
		Expect(s.sim.Hub().DeleteDevice("d")).To(Succeed())
		s.run("c")
		s.eventuallyCommand("c", waitsFor(v1alpha1.ReasonDeviceNotFound))
	})

	It("waits for what it needs", func() {
		s := plant()
		s.run("nobody", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.DeviceRef.Name = "nobody" }))
		s.eventuallyCommand("nobody", waitsFor(v1alpha1.ReasonPnPDeviceNotFound))
		s.edit("d", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.Suspend = true }))
		Eventually(func() int64 { return s.get("d").Status.ObservedGeneration }).Should(Equal(s.get("d").Generation))
		s.run("suspended")
		s.eventuallyCommand("suspended", waitsFor(v1alpha1.ReasonSuspended))
		s.edit("d", withSpec(func(d *v1alpha1.PnPDeviceSpec) { d.Suspend = false }))
		s.eventuallyCommand("suspended", haveOutcome(v1alpha1.CommandSucceeded))
	})

	It("is deleted after its time to live, but not before notAfter", func() {
		s := plant()
		now := int32(0)
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) {
			c.TTLSecondsAfterFinished, c.NotAfter = &now, metav1.NewTime(time.Now().Add(6*time.Second))
		}))
		s.eventuallyCommand("c", haveOutcome(v1alpha1.CommandSucceeded))
		Consistently(func() error {
			return admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "c"}, &v1alpha1.DeviceCommand{})
		}, time.Second).Should(Succeed())
		Eventually(func() error {
			return client.IgnoreNotFound(admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "c"}, &v1alpha1.DeviceCommand{}))
		}).Should(Succeed())
		Eventually(func() bool {
			return admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "c"}, &v1alpha1.DeviceCommand{}) != nil
		}).Should(BeTrue())
	})

	It("with a payload that is too large fails without being sent", func() {
		s := plant()
		s.run("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Payload = object(`"` + strings.Repeat("x", 128<<10) + `"`) }))
		s.eventuallyCommand("c", SatisfyAll(haveOutcome(v1alpha1.CommandFailed), haveReady(metav1.ConditionFalse, v1alpha1.ReasonInvalidCommand)))
		Expect(s.ran(report)).To(BeZero())
	})

	DescribeTable("is refused by the API server", func(edit func(*v1alpha1.DeviceCommandSpec), words string) {
		s := &site{namespace: newNamespace()}
		Expect(admin.Create(ctx, s.command("c", commandSpec(edit)))).To(MatchError(ContainSubstring(words)))
	},
		Entry("connect above response", func(c *v1alpha1.DeviceCommandSpec) { c.ConnectTimeoutSeconds = 6 }, "connectTimeoutSeconds must not be above responseTimeoutSeconds"),
		Entry("response too short", func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 4 }, "responseTimeoutSeconds"),
		Entry("response too long", func(c *v1alpha1.DeviceCommandSpec) { c.ResponseTimeoutSeconds = 301 }, "responseTimeoutSeconds"),
		Entry("no command", func(c *v1alpha1.DeviceCommandSpec) { c.Command = "" }, "spec.command"),
		Entry("a command that is none", func(c *v1alpha1.DeviceCommandSpec) { c.Command = "a*b" }, "spec.command"),
		Entry("no notAfter", func(c *v1alpha1.DeviceCommandSpec) { c.NotAfter = metav1.Time{} }, "notAfter"),
	)

	It("cannot be changed", func() {
		s := &site{namespace: newNamespace()}
		c := s.command("c")
		Expect(admin.Create(ctx, c)).To(Succeed())
		Eventually(func() error {
			now := s.getCommand("c")
			now.Spec.Command = "reboot"
			return admin.Update(ctx, now)
		}).Should(MatchError(ContainSubstring("spec is immutable")))
	})
})

func haveReadyReason(reason string) gomegatypes.GomegaMatcher {
	return WithTransform(func(c *v1alpha1.DeviceCommand) string { return conditionOf(c, v1alpha1.ConditionReady).Reason }, Equal(reason))
}

func isTrueOn(o client.Object, kind string) bool {
	return conditionOf(o, kind).Status == metav1.ConditionTrue
}

// eventuallyEvent waits for an Event of the device d with a reason, whose note holds some words.
func (s *site) eventuallyEvent(reason, words string) {
	GinkgoHelper()
	Eventually(func() []string { return s.eventNotes("d", reason) }).Should(ContainElement(ContainSubstring(words)))
}
