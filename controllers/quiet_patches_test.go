package controllers_test

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"sync"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// foreignWrites has others write what "d" does not declare, and its tags, and waits until the operator has heard of all of it.
func (s *site) foreignWrites(n int) {
	GinkgoHelper()
	for i := range n {
		s.foreign("d", fmt.Sprintf(`{"theirs": %d}`, i))
		Expect(s.sim.Hub().SetTags("d", fmt.Sprintf(`{"n":%d}`, i))).To(Succeed())
	}
	Eventually(s.checkpointIsAtTheEnd).Should(BeTrue())
}

// refusedWrites are the PATCHes that the hub refused since the log was reset.
func (s *site) refusedWrites() (statuses []int) {
	for _, c := range s.sim.Calls().List(simulator.CallFilter{DeviceID: "d"}) {
		if strings.HasPrefix(c.Operation, "Patch") && c.Status >= http.StatusBadRequest {
			statuses = append(statuses, c.Status)
		}
	}
	return statuses
}

var _ = Describe("Other writers of what nobody declared, and of tags", func() {
	for _, api := range dialects {
		for _, reported := range []v1alpha1.ReportedScope{v1alpha1.ReportedDeclared, v1alpha1.ReportedAll} {
			It(fmt.Sprintf("cost no status patch and no call, nor does the next edit cost more, through %s, reported: %s", api, reported), func() {
				s := newEventSite()
				s.trusted()
				s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
				s.create("d", through(api), withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = reported }))
				s.eventually("d", beReady())
				Eventually(s.checkpointIsAtTheEnd).Should(BeTrue())
				s.readNow("d")                                                        // behind what the device said by itself when it connected
				Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed()) // it answers to what others write, too
				before := s.get("d").ResourceVersion
				s.sim.Calls().Reset()
				s.foreignWrites(20)
				Expect(s.get("d").ResourceVersion).To(Equal(before))
				Expect(s.calls()).To(BeZero(), s.history("d"))

				By("not having the next edit refused, nor read for")
				Expect(s.sim.Devices().Behave("d", simulator.Acknowledge())).To(Succeed())
				s.edit("d", withProperties(`{"targetTemperature": 43}`))
				s.eventually("d", beReady())
				Expect(s.writes("d")).To(Equal(1), s.history("d"))
				Expect(s.reads("d")).To(BeZero(), s.history("d"))
				s.expectDesired("d", `{"targetTemperature": 43, "theirs": 19}`)
				twin, err := s.sim.Hub().Get("d")
				Expect(err).NotTo(HaveOccurred())
				Expect(s.get("d").Status.Twin).To(And(HaveField("Etag", twin.ETag()), HaveField("DesiredVersion", twin.DesiredVersion())))

				By("having the first edit after a start refused once, and tried again")
				Expect(s.sim.Devices().Behave("d", simulator.Ignore())).To(Succeed())
				s.foreignWrites(5)
				Expect(s.get("d").Status.Twin.Etag).To(Equal(twin.ETag()))
				Expect(s.sim.Devices().Behave("d", simulator.Acknowledge())).To(Succeed())
				restartOperator()
				s.eventuallyHub(beStreaming())
				s.sim.Calls().Reset()
				s.edit("d", withProperties(`{"targetTemperature": 44}`))
				s.eventually("d", beReady())
				s.expectDesired("d", `{"targetTemperature": 44, "theirs": 4}`)
				Expect(s.refusedWrites()).To(Or(BeEmpty(), HaveExactElements(http.StatusPreconditionFailed)), s.history("d"))
				Expect(s.eventNotes("d", v1alpha1.ReasonDriftCorrected)).To(BeEmpty())
			})
		}
	}

	It("leave no wrong belief to the next operator: what the device says then, and what others write, is read", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		s.foreignWrites(5)
		restartOperator()
		s.eventuallyHub(beStreaming())
		s.answerWith("newest", s.desiredVersion("d"))
		s.eventually("d", And(beReady(), haveState("", target, "Acknowledged"), haveAnswer("newest")))
		s.foreign("d", `{"targetTemperature": 99}`)
		s.eventuallyDesired("d", `{"targetTemperature": 42, "theirs": 4}`)
		s.eventually("d", beReady())
	})

	It("are told from a foreign write of what is declared, which is put back at once", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		s.foreignWrites(5)
		s.sim.Calls().Reset()
		s.foreign("d", `{"targetTemperature": 99, "theirs": 7}`)
		s.eventuallyDesired("d", `{"targetTemperature": 42, "theirs": 7}`)
		s.eventually("d", beReady())
		Expect(s.refusedWrites()).To(BeEmpty())
		Expect(s.reads("d")).To(BeZero(), s.history("d"))
	})
})

// answerWith has the device acknowledge 42 degrees in its own words.
func (s *site) answerWith(words string, version int64) {
	GinkgoHelper()
	s.report("d", `{"targetTemperature":{"value":42,"ac":200,"av":%d,"ad":%q}}`, version, words)
}

var _ = Describe("What makes the hub refuse to be written", func() {
	for name, c := range map[string]struct {
		begin, end func(s *site)
		reason     string
	}{
		"is a reported name": {
			func(s *site) { s.report("d", `{"外部":{"a":1}}`) }, func(s *site) { s.report("d", `{"外部":null}`) }, v1alpha1.ReasonTwinNotConformant,
		},
		"is a reported array": {
			func(s *site) { s.report("d", `{"list":[1]}`) }, func(s *site) { s.report("d", `{"list":1}`) }, v1alpha1.ReasonTwinNotConformant,
		},
		"is a name in a component": {
			func(s *site) { s.report("d", `{"c":{"__t":"c","a-b":1}}`) }, func(s *site) { s.report("d", `{"c":{"__t":"c","a-b":null}}`) }, v1alpha1.ReasonTwinNotConformant,
		},
		"is a foreign array": {
			func(s *site) { s.foreign("d", `{"list":[1]}`) }, func(s *site) { s.foreign("d", `{"list":null}`); s.report("d", `{"list":null}`) }, v1alpha1.ReasonTwinNotConformant,
		},
		"is the size of foreign values": {
			func(s *site) { s.foreign("d", fillWith("x")) }, func(s *site) { s.foreign("d", fillWith("")) }, v1alpha1.ReasonHubRefused,
		},
	} {
		It("ends at once when it "+name+" that goes", func() {
			s := newEventSite()
			s.trusted()
			s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
			s.create("d", through(v1alpha1.TwinAPIDigitalTwin), withProperties(`{"targetTemperature": 42}`))
			s.eventually("d", beReady())
			c.begin(s)
			s.edit("d", withProperties(fmt.Sprintf(`{"targetTemperature": 43, "another": %q}`, strings.Repeat("x", 100))))
			s.eventually("d", beStalled(c.reason))

			By("not being tried again for what has nothing to do with it")
			Eventually(s.checkpointIsAtTheEnd).Should(BeTrue())
			s.sim.Calls().Reset()
			for i := range 5 {
				s.report("d", `{"maxTempSinceLastReboot":%d}`, i)
			}
			Eventually(s.checkpointIsAtTheEnd).Should(BeTrue())
			Expect(s.calls()).To(BeZero(), s.history("d"))

			c.end(s)
			s.eventually("d", beReady())
		})
	}

	It("ends at once when it is a component's name for a value that goes", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", through(v1alpha1.TwinAPIDigitalTwin), withComponent("thermostat1", `{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		s.foreign("d", `{"thermostat1": 17}`)
		s.eventually("d", beStalled(v1alpha1.ReasonTwinNotConformant))
		s.foreign("d", `{"thermostat1": null}`)
		s.eventually("d", beReady())
	})
})

// fillWith fills a twin up to its limit with texts of a character, or takes them away.
func fillWith(character string) string {
	var b strings.Builder
	for i := range 8 {
		value := "null"
		if character != "" {
			value = fmt.Sprintf("%q", strings.Repeat(character, 4080))
		}
		_, _ = fmt.Fprintf(&b, `,"fill%d":%s`, i, value)
	}
	return "{" + b.String()[1:] + "}"
}

// outrunner writes objects of a namespace just before the operator writes their status.
var outrunner = &outrunning{}

type outrunning struct {
	mu        sync.Mutex
	namespace string
	lost      map[string]int // how many locks were lost, by kind
}

func (o *outrunning) begin(namespace string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.namespace, o.lost = namespace, map[string]int{}
}

// lostOf is how many locks were lost of objects of a kind.
func (o *outrunning) lostOf(kind string) int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.lost[kind]
}

// outruns names the object whose status is about to be written, if it has lost fewer than two locks.
func (o *outrunning) outruns(request *http.Request) (found *unstructured.Unstructured) {
	path, isStatus := strings.CutSuffix(request.URL.Path, "/status")
	parts := strings.Split(path, "/")
	kinds := map[string]string{"pnpdevices": "PnPDevice", "iothubs": "IoTHub", "devicecommands": "DeviceCommand", "devicemodels": "DeviceModel"}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !isStatus || request.Method != http.MethodPatch || len(parts) < 3 || o.namespace == "" || parts[len(parts)-3] != o.namespace {
		return nil
	}
	kind := kinds[parts[len(parts)-2]]
	if o.lost[kind] == 2 {
		return nil
	}
	o.lost[kind]++
	found = &unstructured.Unstructured{}
	found.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	found.SetNamespace(o.namespace)
	found.SetName(parts[len(parts)-1])
	return found
}

func (o *outrunning) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		if object := o.outruns(request); object != nil {
			patch := client.RawPatch(types.MergePatchType, fmt.Appendf(nil, `{"metadata":{"labels":{"n":"%d"}}}`, sites.Add(1)))
			if err := admin.Patch(ctx, object, patch); err != nil {
				return nil, err
			}
		}
		return next.RoundTrip(request)
	})
}

var _ = Describe("A lock that is lost to another writer", func() {
	It("is no error in the log of any controller, and its pass is made again", func() {
		before := len(logs.String())
		s := &site{namespace: newNamespace(), sim: newHub()}
		outrunner.begin(s.namespace)
		DeferCleanup(func() { outrunner.begin("") })
		s.createSecret(s.sim.ConnectionString("service"))
		Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
		s.createModel("temperaturecontroller")
		s.createModel("thermostat")
		s.virtual("d", simulator.TemperatureController, simulator.Acknowledge())
		s.create("d", withComponent("thermostat1", `{"targetTemperature": 42}`))
		s.run("c")
		s.eventuallyHub(beReady())
		s.eventually("d", beReady())
		s.eventuallyModel("temperaturecontroller", beReady())
		s.eventuallyCommand("c", beReady())
		for _, kind := range []string{"PnPDevice", "IoTHub", "DeviceCommand", "DeviceModel"} {
			Expect(outrunner.lostOf(kind)).NotTo(BeZero(), kind)
		}
		log := []byte(logs.String()[before:])
		for line := range bytes.Lines(log) {
			Expect(string(line)).NotTo(And(ContainSubstring("ERROR"), ContainSubstring("the object has been modified")))
		}
	})
})
