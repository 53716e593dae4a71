package controllers_test

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// soonEnough is how long another tenant may wait meanwhile, on a busy machine. It would be several times as long if it came after the others.
const soonEnough = "20s"

var _ = Describe("A tenant that does its worst", func() {
	It("has others wait for nothing, with a hub that does not answer in time", func() {
		quick, slow := newSite(), newSite()
		quick.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		quick.create("d", withProperties(`{"targetTemperature": 1}`))
		quick.eventually("d", beReady())

		slow.sim.Faults().Add(simulator.Fault{Kind: simulator.FaultLatency, Operation: simulator.OpGetTwin, Latency: time.Minute, Count: simulator.Forever})
		for n := range 200 {
			slow.create(fmt.Sprintf("d-%d", n), withProperties(`{"targetTemperature": 1}`))
		}
		Eventually(func() int { return slow.sim.Calls().Count(simulator.OpGetTwin) }).Should(BeNumerically(">=", 16))
		for n := range 3 {
			quick.edit("d", withProperties(fmt.Sprintf(`{"targetTemperature": %d}`, 2+n)))
			Eventually(func(g Gomega) { g.Expect(quick.read(g, "d")).To(beReady()) }, soonEnough).Should(Succeed())
		}
		quick.virtual("new", simulator.Thermostat, simulator.Acknowledge())
		quick.create("new", withProperties(`{"targetTemperature": 1}`))
		Eventually(func(g Gomega) { g.Expect(quick.read(g, "new")).To(beReady()) }, soonEnough).Should(Succeed())

		slow.sim.Faults().Clear()
		slow.virtual("d-199", simulator.Thermostat, simulator.Acknowledge())
		slow.edit("d-199", withProperties(`{"targetTemperature": 2}`)) // without which it waits for its backoff
		Eventually(func(g Gomega) { g.Expect(slow.read(g, "d-199")).To(beReady()) }, "180s").Should(Succeed())
	})

	It("has others wait for nothing, with endpoints that say nothing", func() {
		silent, err := net.Listen("tcp", "127.0.0.1:0")
		Expect(err).NotTo(HaveOccurred())
		DeferCleanup(silent.Close)
		dead := &site{namespace: newNamespace(), sim: newHub()}
		dead.createSecret(dead.sim.ConnectionString("service"))
		for n := range 80 {
			hub := dead.iotHub()
			hub.Name, hub.Spec.Endpoint = fmt.Sprintf("hub-%d", n), "https://localhost:"+port(silent)
			Expect(admin.Create(ctx, hub)).To(Succeed())
		}
		other := &site{namespace: newNamespace(), sim: newHub()}
		other.createSecret(other.sim.ConnectionString("service"))
		Expect(admin.Create(ctx, other.iotHub())).To(Succeed())
		Eventually(func(g Gomega) { g.Expect(other.hubObject()).To(beReady()) }, soonEnough).Should(Succeed())
	})

	It("has others wait for nothing, with a models repository that drips", func() {
		dripping := newSite()
		release := make(chan struct{})
		server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
			w.WriteHeader(http.StatusNotFound)
		}))
		DeferCleanup(server.Close)
		DeferCleanup(func() { close(release) })
		for n := range 40 {
			dripping.createModel("thermostat", func(m *v1alpha1.DeviceModel) {
				m.Name, m.Spec.DTDL, m.Spec.ModelID = fmt.Sprintf("m-%d", n), nil, fmt.Sprintf("dtmi:com:example:Slow%d;1", n)
				m.Spec.Repository = &v1alpha1.ModelRepository{URL: server.URL}
			})
		}
		dripping.eventuallyModel("m-39", haveReady(metav1.ConditionFalse, v1alpha1.ReasonProgressing))
		other := newSite()
		other.createModel("thermostat")
		Eventually(func(g Gomega) {
			g.Expect(other.getModel(g, "thermostat")).To(haveReady(metav1.ConditionTrue, v1alpha1.ReasonUsable))
		}, soonEnough).Should(Succeed())
	})
})

func port(l net.Listener) string {
	_, port, err := net.SplitHostPort(l.Addr().String())
	Expect(err).NotTo(HaveOccurred())
	return port
}

var _ = Describe("A device whose twin is too large", func() {
	It("is set aside by sweeps, which go on with the others, and says so", func() {
		s := newSweptSite()
		for _, name := range []string{"huge", "neighbour"} {
			s.virtual(name, simulator.Thermostat, simulator.Acknowledge())
			s.create(name, withProperties(`{"targetTemperature": 42}`))
		}
		for _, name := range []string{"huge", "neighbour"} {
			s.eventually(name, beReady())
		}
		fill := strings.Repeat(`\u0001`, 4096) // control characters are not counted by the hub
		for part := range 6 {
			var properties []string
			for n := range 60 {
				properties = append(properties, fmt.Sprintf(`"p%d_%d":"%s"`, part, n, fill))
			}
			Expect(s.sim.Hub().PatchReported("huge", "{"+strings.Join(properties, ",")+"}")).To(Succeed())
		}
		manager.stop()
		hubTimeout = time.Minute // the simulator takes a while to write so much on a busy machine
		DeferCleanup(func() {
			hubTimeout = usualHubTimeout
			restartOperator()
		})
		s.foreign("neighbour", `{"targetTemperature": 7}`)
		manager = startOperator()
		Eventually(func() map[string]any { return s.desired("neighbour") }, "60s").Should(HaveKeyWithValue(target, 42.0))
		Eventually(func(g Gomega) {
			g.Expect(s.read(g, "huge")).To(And(beStalled(v1alpha1.ReasonTwinTooLarge), haveMessage("twin of the device")))
			g.Expect(s.hubObject()).To(haveCondition(v1alpha1.ConditionSweepsIncomplete, "True/DevicesUnreadable"))
		}, "60s").Should(Succeed())
		for part := range 6 {
			var properties []string
			for n := range 60 {
				properties = append(properties, fmt.Sprintf(`"p%d_%d":null`, part, n))
			}
			Expect(s.sim.Hub().PatchReported("huge", "{"+strings.Join(properties, ",")+"}")).To(Succeed())
		}
		Eventually(func(g Gomega) {
			g.Expect(s.read(g, "huge")).To(beReady())
			g.Expect(conditionOf(s.hubObject(), v1alpha1.ConditionSweepsIncomplete).Status).To(BeEmpty())
		}, "60s").Should(Succeed())
	})
})
