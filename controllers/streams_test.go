package controllers_test

import (
	"fmt"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

var _ = Describe("An event stream that breaks", func() {
	for name, c := range map[string]struct {
		breakIt, mend func(*site)
		reason        string
		words         []string
	}{
		"because the key is wrong": {
			func(s *site) { s.secretKey("events", s.sim.EventHubConnectionString("device")) },
			func(s *site) { s.secretKey("events", s.sim.EventHubConnectionString("service")) },
			v1alpha1.ReasonUnauthorized, []string{`Secret "hub" key "events"`, "may listen"},
		},
		"because the Secret lost its key": {
			func(s *site) { s.secretKey("events", "") }, func(s *site) { s.secretKey("events", s.sim.EventHubConnectionString("service")) },
			v1alpha1.ReasonInvalidConnectionString, []string{`Secret "hub" key "events"`, "expected Endpoint=sb://"},
		},
		"because the Secret holds the hub's own connection string": {
			func(s *site) { s.secretKey("events", s.sim.ConnectionString("service")) },
			func(s *site) { s.secretKey("events", s.sim.EventHubConnectionString("service")) },
			v1alpha1.ReasonInvalidConnectionString, []string{"Event Hub-compatible endpoint"},
		},
		"because the event hub moved": {
			func(s *site) { s.sim.DeleteEventHub() }, func(s *site) { s.sim.RecreateEventHub() },
			v1alpha1.ReasonEndpointMoved, []string{`Secret "hub" key "events"`, "failover"},
		},
		"because the consumer group was deleted": {
			func(s *site) { s.sim.Events().RemoveGroup("pnp-operator"); s.sim.AMQP().Cut() },
			func(s *site) { s.sim.Events().AddGroup("pnp-operator") },
			v1alpha1.ReasonConsumerGroupNotFound, []string{"az iot hub consumer-group create", "pnp-operator"},
		},
		"because events pile up": {
			func(s *site) { s.sim.AMQP().Stall(""); s.report("d", `{"maxTempSinceLastReboot":1}`) }, func(s *site) { s.sim.AMQP().Release() },
			v1alpha1.ReasonLagging, []string{"partitions"},
		},
	} {
		It(name+" says so on the IoTHub, leaves the rest working, and heals", func() {
			s := newEventSite()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			c.breakIt(s)
			s.eventuallyHub(And(beReady(), notStreaming(c.reason, c.words...)))
			s.create("d", withProperties(`{"targetTemperature": 20}`))
			s.eventually("d", beReady())
			c.mend(s)
			s.eventuallyHub(beStreaming())
			Eventually(func() string {
				s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"after it"}}`)
				return property(s.get("d"), "", "targetTemperature").AckDescription
			}).Should(Equal("after it"))
			Expect(logs.String()).NotTo(ContainSubstring("SharedAccessKey="))
		})
	}

	It("because another reader took the group says so, and goes on when that one leaves", func() {
		s := newEventSite()
		other := s.rival(time.Now().Unix() + 1_000_000)
		s.eventuallyHub(notStreaming(v1alpha1.ReasonConsumerGroupTaken, `consumer group "pnp-operator"`))
		other()
		s.eventuallyHub(beStreaming())
	})

	It("tells when another IoTHub of the cluster reads the same group", func() {
		s := newEventSite()
		second := &site{namespace: newNamespace(), sim: s.sim}
		Expect(admin.Create(ctx, &corev1.Secret{
			ObjectMeta: metav1.ObjectMeta{Namespace: second.namespace, Name: "hub"},
			StringData: map[string]string{"connectionString": s.sim.ConnectionString("service"), "events": s.sim.EventHubConnectionString("service")},
		})).To(Succeed())
		Expect(admin.Create(ctx, second.eventHub())).To(Succeed())
		second.eventuallyHub(And(beReady(), notStreaming(v1alpha1.ReasonConsumerGroupShared, "give each its own")))
		Expect(conditionOf(second.hubObject(), v1alpha1.ConditionEventStreamReady).Message).NotTo(ContainSubstring(s.namespace))
		s.eventuallyHub(beStreaming())
	})

	It("does not keep others from a group that it may not read, or not any more", func() {
		s := newEventSite()
		s.sim.Events().AddGroup("shared")
		wants := func(h *v1alpha1.IoTHub) { h.Spec.Events.ConsumerGroup = "shared" }
		// A stranger's hub does not exist, and another's key is wrong: both come first.
		stranger, refused := &site{namespace: newNamespace(), sim: s.sim}, &site{namespace: newNamespace(), sim: s.sim}
		for other, connectionString := range map[*site]string{
			stranger: "HostName=" + s.sim.HostName() + ";SharedAccessKeyName=service;SharedAccessKey=AAAA", refused: s.sim.ConnectionString("service"),
		} {
			Expect(admin.Create(ctx, &corev1.Secret{
				ObjectMeta: metav1.ObjectMeta{Namespace: other.namespace, Name: "hub"},
				StringData: map[string]string{"connectionString": connectionString, "events": s.sim.EventHubConnectionString("device")},
			})).To(Succeed())
			hub := other.eventHub()
			wants(hub)
			Expect(admin.Create(ctx, hub)).To(Succeed())
		}
		stranger.eventuallyHub(Not(beReady()))
		refused.eventuallyHub(And(beReady(), notStreaming(v1alpha1.ReasonUnauthorized)))
		s.editHub(wants)
		s.eventuallyHub(And(HaveField("Status.ObservedGeneration", int64(2)), beStreaming()))
		refused.secretKey("events", s.sim.EventHubConnectionString("service"))
		refused.eventuallyHub(And(beReady(), notStreaming(v1alpha1.ReasonConsumerGroupShared, "give each its own")))
		s.eventuallyHub(beStreaming())
		s.secretKey("events", s.sim.EventHubConnectionString("device")) // and now the other way round
		s.eventuallyHub(notStreaming(v1alpha1.ReasonUnauthorized))
		refused.eventuallyHub(beStreaming())
	})

	It("reads over WebSocket where a network lets nothing else out", func() {
		s := newEventSite()
		s.editHub(func(h *v1alpha1.IoTHub) {
			h.Spec.Events.Transport, h.Spec.Events.Endpoint = v1alpha1.EventTransportWebSocket, s.sim.WebSocketAddress()
		})
		s.eventuallyHub(And(beReady(), beStreaming(), HaveField("Status.ObservedGeneration", int64(2))))
		s.trusted()
	})

	It("finds out that twin changes are not routed, and goes on reading after writes", func() {
		s := newEventSite()
		s.sim.Router().SetRoutes(simulator.FallbackRoute())
		for i := range 3 {
			name := fmt.Sprintf("d%d", i)
			s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
			s.create(name, withProperties(`{"targetTemperature": 20}`))
			s.eventually(name, beReady())
		}
		s.eventuallyHub(beStreaming())
		Eventually(func(g Gomega) {
			g.Expect(s.hubObject()).To(notStreaming(v1alpha1.ReasonNoTwinChangeEvents, "az iot hub message-route create"))
		}, "90s").Should(Succeed())
		s.sim.Router().SetRoutes(simulator.DefaultRoutes())
		s.sim.Calls().Reset()
		s.report("d0", `{"maxTempSinceLastReboot":1}`)
		s.eventuallyHub(beStreaming())
		Eventually(func() []int { return []int{s.reads("d0"), s.reads("d1"), s.reads("d2")} }).Should(HaveEach(BeNumerically(">=", 1)),
			"who knows what else was not told")
	})
})

var _ = Describe("Routes of twin changes that go", func() {
	var s *site
	BeforeEach(func() {
		s = newEventSite()
		s.trusted()
		for _, name := range []string{"d", "slow"} {
			s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
			s.create(name, withProperties(`{"targetTemperature": 20}`))
			s.eventually(name, beReady())
		}
		Expect(s.sim.Calls().AwaitCount(ctx, simulator.OpQuery, 2)).To(Succeed(), "the probe, and the first sweep: the next one is an hour away")
	})
	without := func() {
		routes := simulator.DefaultRoutes()
		routes.TwinChanges = false
		s.sim.Router().SetRoutes(routes)
	}

	It("have a device read that was written since", func() {
		without()
		s.sim.Calls().Reset()
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21")))
		Expect(s.reads("d")).To(Equal(1), s.history("d"))
		Expect(s.reads("slow")+s.reads("first")).To(BeZero(), "they owe no answer")
		s.eventuallyHub(And(beStreaming(), WithTransform(func(o client.Object) string {
			return conditionOf(o, v1alpha1.ConditionEventStreamReady).Message
		}, ContainSubstring("has not come back"))))
	})

	It("have devices read that owe an answer, until a twin change comes again", func() {
		Expect(s.sim.Devices().Behave("slow", simulator.Ignore())).To(Succeed())
		s.edit("slow", withProperties(`{"targetTemperature": 21}`))
		s.eventually("slow", haveState("", "targetTemperature", "Applied"))
		without()
		s.report("slow", `{"targetTemperature":{"value":21,"ac":200,"av":3}}`)
		s.sim.Calls().Reset()
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21")))
		s.eventually("slow", And(beReady(), haveState("", "targetTemperature", "Acknowledged")))
		Expect(s.reads("first")).To(BeZero(), "it owes no answer")

		s.sim.Router().SetRoutes(simulator.DefaultRoutes())
		s.edit("slow", withProperties(`{"targetTemperature": 22}`))
		s.eventuallyHub(WithTransform(func(o client.Object) string {
			return conditionOf(o, v1alpha1.ConditionEventStreamReady).Message
		}, Equal("Device changes arrive as events")))
		s.eventually("slow", haveState("", "targetTemperature", "Applied"))
		s.sim.Calls().Reset()
		Consistently(s.gets, "3s").Should(BeZero(), "the stream tells")
		s.report("slow", `{"targetTemperature":{"value":22,"ac":200,"av":4}}`)
		s.eventually("slow", beReady())
		Expect(s.gets()).To(BeZero())
	})

	It("have a device read after a restart in between", func() {
		without()
		s.edit("d", withProperties(`{"targetTemperature": 21}`))
		s.eventually("d", haveState("", "targetTemperature", "Applied"))
		restartOperator()
		s.eventually("d", And(beReady(), haveReported("targetTemperature", "21")))
	})

	It("and a stream that stalls as well have devices read that owe an answer", func() {
		Expect(s.sim.Devices().Behave("slow", simulator.Ignore())).To(Succeed())
		s.edit("slow", withProperties(`{"targetTemperature": 21}`))
		s.eventually("slow", haveState("", "targetTemperature", "Applied"))
		s.sim.AMQP().Stall("")
		s.report("slow", `{"targetTemperature":{"value":21,"ac":200,"av":3}}`)
		s.eventually("slow", beReady())
		s.sim.AMQP().Release()
	})
})

var _ = Describe("Events that go wrong", func() {
	for name, c := range map[string]struct {
		fault simulator.EventFault
		gets  int
	}{
		"an event that is lost costs one read":               {simulator.EventFault{Kind: simulator.EventLose, Source: "twinChangeEvents", Count: 1}, 1},
		"events that come twice cost nothing":                {simulator.EventFault{Kind: simulator.EventDuplicate, Count: simulator.Forever}, 0},
		"a series that is sent again costs nothing":          {simulator.EventFault{Kind: simulator.EventReorder, Count: simulator.Forever}, 0},
		"an event that cannot be decoded costs one read":     {simulator.EventFault{Kind: simulator.EventPoison, Source: "twinChangeEvents", Count: 1}, 1},
		"an event of an unknown schema counts as a lost one": {simulator.EventFault{Kind: simulator.EventUnknownSchema, Source: "twinChangeEvents", Count: 1}, 1},
	} {
		It(name, func() {
			s := newEventSite()
			s.trusted()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", withProperties(`{"targetTemperature": 20}`))
			s.eventually("d", beReady())
			s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"before"}}`)
			s.eventually("d", haveAnswer("before"))
			s.sim.Calls().Reset()
			c.fault.Device = "d"
			s.sim.Router().Faults().Add(c.fault)
			for i := range 5 {
				s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"report %d"}}`, i)
			}
			s.eventually("d", haveAnswer("report 4"))
			Expect(s.gets()).To(BeNumerically("<=", c.gets), s.history("d"))
			Expect(s.gets()).To(BeNumerically(">=", c.gets), s.history("d"))
			Expect(s.writes("d")).To(BeZero())
		})
	}
})

var _ = Describe("A connection event that cannot be decoded", func() {
	It("has the device read: it may be the last one for long", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", And(beReady(), HaveField("Status.ConnectionState", "Connected")))
		s.sim.Calls().Reset()
		s.sim.Router().Faults().Add(simulator.EventFault{Kind: simulator.EventPoison, Source: "deviceConnectionStateEvents", Device: "d", Count: 1})
		Expect(s.sim.Devices().Offline("d")).To(Succeed())
		s.eventually("d", HaveField("Status.ConnectionState", "Disconnected"))
		Expect(s.gets()).To(Equal(1), s.history("d"))
	})
})

var _ = Describe("Events of a hub in special circumstances", func() {
	It("that failed over, and counts versions again, are not taken for old ones", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		Expect(s.sim.Remember("d")).To(Succeed())
		for i := range 3 {
			s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"lost %d"}}`, i)
		}
		s.eventually("d", haveAnswer("lost 2"))
		Expect(s.sim.Rewind("d")).To(Succeed())
		s.sim.Calls().Reset()
		s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"after the failover"}}`)
		s.eventually("d", haveAnswer("after the failover"))
		Expect(s.gets()).To(Equal(1), s.history("d"))
	})

	It("that announces digital twin changes too do no work twice", func() {
		s := newEventSite()
		s.trusted()
		routes := simulator.DefaultRoutes()
		routes.DigitalTwinChanges = true
		s.sim.Router().SetRoutes(routes)
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`))
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		patches := s.statusPatches()
		s.report("d", `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"told twice"}}`)
		s.eventually("d", haveAnswer("told twice"))
		Consistently(s.gets, "3s").Should(BeZero())
		Expect(patches()).To(Equal(1))
	})

	It("reach a device whose id has every legal character", func() {
		const id = "aZ09-:.+%_#*?!(),=@;$'"
		s := newEventSite()
		s.trusted()
		s.virtual(id, simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.DeviceID = id }))
		s.eventually("d", beReady())
		s.sim.Calls().Reset()
		s.report(id, `{"targetTemperature":{"value":20,"ac":200,"av":2,"ad":"heard"}}`)
		s.eventually("d", haveAnswer("heard"))
		Expect(s.gets()).To(BeZero())
	})
})

var _ = Describe("A start of the operator", func() {
	It("reads nothing for devices without events, though they report what nobody declares", func() {
		const count = 300
		s := newEventSite()
		s.trusted()
		name := func(i int) string { return fmt.Sprintf("device-%03d", i) }
		s.converge(count, name)
		Eventually(s.checkpointIsAtTheEnd, "20s").Should(BeTrue())
		for i := range count {
			s.report(name(i), `{"maxTempSinceLastReboot":%d}`, i)
		}
		Eventually(s.checkpointIsAtTheEnd, "20s").Should(BeTrue())
		before := s.resourceVersions()
		manager.stop()
		for i := range count { // while nobody reads
			s.report(name(i), `{"maxTempSinceLastReboot":%d}`, count+i)
		}
		s.sim.Calls().Reset()
		manager = startOperator()
		s.eventuallyHub(beStreaming())
		Expect(s.sim.Calls().AwaitCount(ctx, simulator.OpQuery, 2)).To(Succeed(), "the probe, and the sweep")
		s.foreign("first", `{"targetTemperature": 99}`)
		s.eventuallyDesired("first", `{"targetTemperature": 1}`)
		s.eventually("first", beReady())
		Expect(s.sim.Calls().Total()).To(BeNumerically("<=", 100))
		Expect(s.gets()).To(BeZero())
		after := s.resourceVersions()
		delete(after, "first")
		delete(before, "first")
		Expect(after).To(Equal(before))
	})

	It("reads every device once if its checkpoint is gone", func() {
		s := newEventSite()
		s.trusted()
		s.converge(20, func(i int) string { return fmt.Sprintf("device-%03d", i) })
		manager.stop()
		Expect(admin.DeleteAllOf(ctx, &corev1.ConfigMap{}, client.InNamespace(operatorNamespace), client.HasLabels{"iot.pnp-operator.io/checkpoint"})).To(Succeed())
		s.report("device-007", `{"targetTemperature":{"value":21.5,"ac":200,"av":2,"ad":"while nobody read"}}`)
		s.sim.Calls().Reset()
		manager = startOperator()
		s.eventually("device-007", haveAnswer("while nobody read"))
		Eventually(s.gets).Should(Equal(21))
		Consistently(s.gets, "2s").Should(Equal(21))
	})

	It("deletes the checkpoints of IoTHubs that are gone", func() {
		s := newEventSite()
		checkpoint := client.ObjectKey{Namespace: operatorNamespace, Name: "checkpoint-" + string(s.hubObject().UID)}
		Expect(admin.Get(ctx, checkpoint, &corev1.ConfigMap{})).To(Succeed())
		Expect(admin.Delete(ctx, s.hubObject())).To(Succeed())
		Eventually(func() error { return client.IgnoreNotFound(admin.Get(ctx, checkpoint, &corev1.ConfigMap{})) }).Should(Succeed())
		Eventually(func() bool {
			err := admin.Get(ctx, checkpoint, &corev1.ConfigMap{})
			return err != nil
		}).Should(BeTrue())
	})
})

var _ = Describe("Telemetry", func() {
	It("is counted, and shown where an object asks for it, until the object goes", func() {
		s := newEventSite()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature": 20}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
			spec.Telemetry = []v1alpha1.TelemetrySelection{{Component: "thermostat1", Fields: []string{"temperature"}}}
		}))
		s.eventually("d", beReady())
		patches := s.statusPatches()
		Expect(s.sim.Router().PublishTelemetry("d", "thermostat1", "", []byte(`{"temperature": 21.5}`))).To(Succeed())
		Expect(s.sim.Router().PublishTelemetry("d", "thermostat2", "", []byte(`{"temperature": 30}`))).To(Succeed())
		Eventually(func() []float64 { return gauges("pnp_device_telemetry", s.namespace) }).Should(Equal([]float64{21.5}))
		Eventually(func() int { return counter("pnp_telemetry_messages_total", "namespace", s.namespace) }).Should(Equal(2))
		Expect(patches()).To(BeZero())
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		Eventually(func() []float64 { return gauges("pnp_device_telemetry", s.namespace) }).Should(BeEmpty())
	})
})

var _ = Describe("spec.events", func() {
	for name, c := range map[string]struct {
		edit  func(*v1alpha1.EventSource)
		wrong string
	}{
		"takes a group of its own":               {func(*v1alpha1.EventSource) {}, ""},
		"takes $Default where that is meant":     {func(e *v1alpha1.EventSource) { e.ConsumerGroup, e.DefaultGroup = "$Default", v1alpha1.DefaultGroupTake }, ""},
		"refuses $Default where it is not meant": {func(e *v1alpha1.EventSource) { e.ConsumerGroup = "$Default" }, "defaultGroup: Take"},
		"refuses it in any spelling":             {func(e *v1alpha1.EventSource) { e.ConsumerGroup = "$default" }, "defaultGroup: Take"},
		"refuses an endpoint without a port":     {func(e *v1alpha1.EventSource) { e.Endpoint = "localhost" }, "spec.events.endpoint"},
		"refuses an endpoint with a scheme":      {func(e *v1alpha1.EventSource) { e.Endpoint = "sb://localhost:5671" }, "spec.events.endpoint"},
		"needs a source":                         {func(e *v1alpha1.EventSource) { e.ConnectionStringSecretRef = nil }, "connectionStringSecretRef"},
		"refuses another transport":              {func(e *v1alpha1.EventSource) { e.Transport = "MQTT" }, "spec.events.transport"},
	} {
		It(name, func() {
			h := (&site{namespace: newNamespace(), sim: newHub()}).eventHub()
			c.edit(h.Spec.Events)
			err := admin.Create(ctx, h, client.DryRunAll)
			if c.wrong == "" {
				Expect(err).NotTo(HaveOccurred())
				return
			}
			Expect(err).To(MatchError(ContainSubstring(c.wrong)))
		})
	}
})
