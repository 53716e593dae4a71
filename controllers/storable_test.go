package controllers_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// terrible is text that a terminal acts on.
const terrible = "\x1b]0;OWNED\x07\x1b[2J\u009b32m \u202egnp.exe \r\nline-9 factory-hub line-9 Connected 2/2 True \x00\u2028"

// refuser answers status patches that hold a text as an API server with a stricter rule does.
var refuser = &refusing{}

type refusing struct {
	mu      sync.Mutex
	text    string
	refused atomic.Int64
}

func (r *refusing) of(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = text
	r.refused.Store(0)
}

func (r *refusing) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(request *http.Request) (*http.Response, error) {
		r.mu.Lock()
		text := r.text
		r.mu.Unlock()
		if text == "" || request.Method != http.MethodPatch || !strings.HasSuffix(request.URL.Path, "/status") {
			return next.RoundTrip(request)
		}
		body, err := io.ReadAll(request.Body)
		if err != nil {
			return nil, err
		}
		if !bytes.Contains(body, []byte(text)) {
			request = request.Clone(request.Context())
			request.Body = io.NopCloser(bytes.NewReader(body))
			return next.RoundTrip(request)
		}
		r.refused.Add(1)
		answer, err := json.Marshal(metav1.Status{
			TypeMeta: metav1.TypeMeta{APIVersion: "v1", Kind: "Status"}, Status: metav1.StatusFailure, Code: http.StatusInternalServerError,
			Message: "etcdserver: request is too large",
		})
		return &http.Response{
			StatusCode: http.StatusInternalServerError, Header: http.Header{"Content-Type": {"application/json"}},
			Body: io.NopCloser(bytes.NewReader(answer)), Request: request,
		}, err
	})
}

var _ = Describe("A status that the API server stores", func() {
	It("is made of any twin that a hub can hold, in every mode, and leaves room to label and to delete the object", func() {
		namespace := newNamespace()
		for seed := range 12 {
			for _, mode := range []v1alpha1.ReportedScope{v1alpha1.ReportedDeclared, v1alpha1.ReportedAll, v1alpha1.ReportedNone} {
				body := twinBody().Example(seed)
				t, err := twin.ParseDeviceTwin(body)
				Expect(err).NotTo(HaveOccurred())
				s := &site{namespace: namespace}
				name := fmt.Sprintf("twin-%d-%s", seed, strings.ToLower(string(mode)))
				d := s.device(name, withProperties(declarationOf(t)), withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
					spec.HubRef.Name, spec.Reported, spec.Suspend, spec.TwinAPI = "none", mode, true, v1alpha1.TwinAPIDeviceTwin
				}))
				controllerutil.AddFinalizer(d, v1alpha1.FinalizerClear) // what a deletion has to get past
				Expect(admin.Create(ctx, d)).To(Succeed())
				By(fmt.Sprintf("seed %d, reported: %s, %d bytes", seed, mode, len(body)))
				expectStored(d, t)
				Expect(admin.Patch(ctx, d, client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"a":"b"}}}`)))).To(Succeed())
				Expect(admin.Delete(ctx, d)).To(Succeed())
			}
		}
	})

	It("shows a number that no double holds, and goes on", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Ignore())
		s.create("d", withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
		s.eventuallyDesired("d", `{"targetTemperature": 42}`)
		s.report("d", `{"targetTemperature": {"value": 1e400, "ac": 200, "av": %d}, "y": -1e999}`, s.desiredVersion("d"))
		s.readNow("d")
		s.eventually("d", haveState("", "targetTemperature", "Adjusted"))
		Expect(string(property(s.get("d"), "", "targetTemperature").Reported.Raw)).To(Equal(`{"$json":"1e400"}`))
		Expect(string(property(s.get("d"), "", "y").Reported.Raw)).To(Equal(`{"$json":"-1e999"}`))
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventuallyDesired("d", `{"targetTemperature": 42, "mode": "eco"}`)
	})

	It("has room for an object to go whose device reports all that it can", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		large := strings.Repeat(`\u0001`, 4096)
		for i := range 40 {
			s.report("d", `{"p%d": "%s"}`, i, large)
		}
		for i := range 6 {
			s.report("d", `{"all": {"p%d": "%s"}}`, i, large)
		}
		s.create("d", withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
			spec.Reported, spec.DeletionPolicy = v1alpha1.ReportedAll, v1alpha1.DeletionClear
		}))
		Eventually(func(g Gomega) {
			d := s.read(g, "d")
			g.Expect(d).To(And(beReady(), HaveField("Status.NotShown", BeNumerically(">", 10))), ready(d))
		}, time.Minute).Should(Succeed())
		Expect(string(property(s.get("d"), "", "all").Reported.Raw)).To(HavePrefix(`{"$digest":`))
		patches := s.statusPatches()
		s.report("d", `{"p1": "x"}`)
		s.readNow("d")
		Expect(patches()).To(BeNumerically("<=", 3)) // the request, its echo, and no more
		Expect(admin.Delete(ctx, s.get("d"))).To(Succeed())
		Eventually(func() error {
			return admin.Get(ctx, client.ObjectKey{Namespace: s.namespace, Name: "d"}, &v1alpha1.PnPDevice{})
		}).Should(MatchError(ContainSubstring("not found")))
		s.expectDesired("d", `{}`)
	})

	It("puts what devices say on one line", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Reject(400, terrible))
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beStalled(v1alpha1.ReasonRejected))
		Eventually(func() []string { return s.eventNotes("d", v1alpha1.ReasonRejected) }).ShouldNot(BeEmpty())
		d := s.get("d")
		for _, text := range []string{property(d, "", "targetTemperature").AckDescription, conditionOf(d, v1alpha1.ConditionReady).Message, s.eventNotes("d", v1alpha1.ReasonRejected)[0]} {
			Expect(storable.IsClean(text)).To(BeTrue(), "%q", text)
			Expect(text).To(ContainSubstring("]0;OWNED [2J 32m gnp.exe line-9"))
		}
	})

	It("refuses a declaration that a status has no room for", func() {
		s := newSite()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(fmt.Sprintf(`{"a": "%s"}`, strings.Repeat("<", 60_000))), withSpec(func(spec *v1alpha1.PnPDeviceSpec) {
			spec.TwinAPI, spec.DeletionPolicy = v1alpha1.TwinAPIDeviceTwin, v1alpha1.DeletionClear
		}))
		s.eventually("d", And(beStalled(v1alpha1.ReasonInvalidDeclaration), haveMessage("360008 bytes", "want at most 131072")))
		Expect(s.get("d").Finalizers).To(BeEmpty())
		Expect(s.writes("d")).To(BeZero())
	})
})

var _ = Describe("A status that the API server refuses", func() {
	It("is replaced by what facts rest on, with a reason, is not tried at each event, and comes back", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`), withSpec(func(spec *v1alpha1.PnPDeviceSpec) { spec.Reported = v1alpha1.ReportedAll }))
		s.eventually("d", beReady())
		refuser.of("refuse me")
		DeferCleanup(func() { refuser.of("") })
		s.report("d", `{"x": "refuse me 0"}`)
		s.eventually("d", And(beStalled(v1alpha1.ReasonStatusRefused), haveMessage("larger than etcd takes")))
		Eventually(func() []string { return s.eventNotes("d", v1alpha1.ReasonStatusRefused) }).ShouldNot(BeEmpty())
		for i := range 100 {
			s.report("d", `{"x": "refuse me %d"}`, i)
		}
		Consistently(refuser.refused.Load, 3*time.Second).Should(BeNumerically("<=", 3))

		By("writing what is declared anew all the same")
		s.edit("d", withProperties(`{"targetTemperature": 42, "mode": "eco"}`))
		s.eventuallyDesired("d", `{"targetTemperature": 42, "mode": "eco"}`)

		refuser.of("")
		Eventually(func(g Gomega) { g.Expect(s.read(g, "d")).To(beReady()) }, time.Minute).Should(Succeed())
		Expect(string(property(s.get("d"), "", "x").Reported.Raw)).To(Equal(`"refuse me 99"`))
	})

	It("does not lift the limit of corrections", func() {
		s := newEventSite()
		s.trusted()
		s.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		s.create("d", withProperties(`{"targetTemperature": 42}`))
		s.eventually("d", beReady())
		meddler.begin(s.namespace, false)
		DeferCleanup(meddler.end)
		before := s.writes("d")
		for i := range 3 {
			s.foreign("d", fmt.Sprintf(`{"targetTemperature": %d}`, 50+i))
			s.eventuallyDesired("d", `{"targetTemperature": 42}`)
		}
		s.foreign("d", `{"targetTemperature": 60}`)
		Consistently(func() int { return s.writes("d") - before }, 3*time.Second).Should(Equal(3))
		meddler.end()
		s.readNow("d")
		s.eventually("d", And(beStalled(v1alpha1.ReasonOwnershipConflict), HaveField("Status.Properties", ConsistOf(HaveField("CorrectedAt", HaveLen(3))))))
		s.expectDesired("d", `{"targetTemperature": 60}`)
	})
})

// expectStored writes what a pass says of a twin, and expects that it comes back as it is meant.
func expectStored(d *v1alpha1.PnPDevice, t *twin.Twin) {
	GinkgoHelper()
	before := d.DeepCopy()
	Expect(controllers.Describe(d, t, false)).To(Succeed())
	// The answer has what is stored. A read may find what the operator, which has no hub for it,
	// says of it.
	Expect(admin.Status().Patch(ctx, d, client.MergeFrom(before))).To(Succeed())
	declared := 0
	for leaf, is := range controllers.Belief(d).Properties {
		was := t.Properties[leaf]
		if is.Desired != nil {
			declared++
			Expect(twin.Equal(was.Desired.Value, is.Desired.Value)).To(BeTrue(), "%q", leaf.Name)
		}
		if d.Spec.Reported != v1alpha1.ReportedNone && is.Reported != nil && is.Reported.Value != nil {
			Expect(twin.Equal(was.Reported.Value, is.Reported.Value)).To(BeTrue(), "%q", leaf.Name)
		}
	}
	Expect(declared).To(BeEquivalentTo(d.Status.Declared)) // what is declared is what the twin desires
	again := d.DeepCopy()
	Expect(controllers.Describe(again, t, true)).To(Succeed())
	Expect(equality.Semantic.DeepEqual(again.Status, d.Status)).To(BeTrue(), "the next pass patches it again")
}

// declarationOf declares some of what a twin desires: what a declaration may have.
func declarationOf(t *twin.Twin) string {
	fields := map[string]any{}
	for leaf, p := range t.Properties {
		if p.Desired != nil && leaf.Component == "" && len(fields) < 20 && len(twin.Validate(twin.Declaration{leaf: p.Desired.Value}, twin.DeviceTwin)) == 0 {
			fields[leaf.Name] = p.Desired.Value
		}
	}
	return string(twin.EncodeValue(fields))
}

// twinBody draws the answer of a hub with as much as it lets a device hold: control characters do not count there.
func twinBody() *rapid.Generator[[]byte] {
	return rapid.Custom(func(t *rapid.T) []byte {
		section := func(name string, size int) map[string]any {
			return rapid.Custom(func(t *rapid.T) map[string]any {
				fields := map[string]any{"$version": 3, "$metadata": map[string]any{"$lastUpdated": "2026-11-29T00:00:00Z", "$lastUpdatedVersion": 2}}
				for range rapid.IntRange(0, size).Draw(t, "fields") {
					key := strings.TrimFunc(rapid.StringMatching(`[a-z]{1,3}[ -~]{0,2}`).Draw(t, "key"), func(r rune) bool { return strings.ContainsRune(" .$#", r) })
					fields[strings.NewReplacer(" ", "", ".", "", "$", "", "#", "").Replace("k"+key)] = hubValue(3).Draw(t, "value")
				}
				if rapid.Bool().Draw(t, "wide") {
					for i := range 6000 {
						fields[fmt.Sprintf("w%d", i)] = ""
					}
				}
				if rapid.Bool().Draw(t, "large") {
					for i := range rapid.IntRange(1, 70).Draw(t, "texts") {
						fields[fmt.Sprintf("large%d", i)] = strings.Repeat(rapid.SampledFrom([]string{"\x01", "<", "\u009b", "\u202e"}).Draw(t, "of"), 1300)
					}
				}
				if rapid.Bool().Draw(t, "long") {
					fields[strings.Repeat("n", 1024)], fields[strings.Repeat("ü", 600)], fields["a\u202eb"] = 1, 2, 3
				}
				return fields
			}).Draw(t, name)
		}
		raw, err := json.Marshal(map[string]any{
			"deviceId": "d", "etag": "AAAAAAAAAAM=", "deviceEtag": "x", "version": 7, "connectionState": "Connected",
			"modelId":    rapid.SampledFrom([]string{"dtmi:a:b;1", terrible, strings.Repeat("m", 5000)}).Draw(t, "model"),
			"properties": map[string]any{"desired": section("desired", 30), "reported": section("reported", 200)},
		})
		if err != nil {
			panic(err)
		}
		return raw
	})
}

// hubValue draws a value that a twin may hold.
func hubValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		switch rapid.IntRange(0, 6).Draw(t, "kind") {
		case 0:
			return rapid.SampledFrom([]string{terrible, "plain", strings.Repeat("\x01", 4096), strings.Repeat("温", 1300), "\ufeff"}).Draw(t, "text")
		case 1:
			return json.Number(rapid.SampledFrom([]string{"1e400", "-1e400", "1e-400", "-0.0", "42.0", "9007199254740993.0", "4503599627370495", "123456789012345678901234567890", "0.1"}).Draw(t, "number"))
		case 2:
			var deep any = json.Number("1")
			for range 10 {
				deep = map[string]any{"d": deep}
			}
			return deep
		case 3:
			return map[string]any{"value": hubScalar().Draw(t, "reported"), "ac": 200, "av": rapid.IntRange(0, 4).Draw(t, "av"), "ad": terrible}
		case 4:
			return []any{nil, map[string]any{"a": nil, "b": json.Number("1")}, hubScalar().Draw(t, "item")}
		case 5:
			if depth > 0 {
				return map[string]any{"a": hubValue(depth-1).Draw(t, "a"), "b\u202e": hubValue(depth-1).Draw(t, "b")}
			}
		}
		return hubScalar().Draw(t, "scalar")
	})
}

func hubScalar() *rapid.Generator[any] {
	return rapid.SampledFrom([]any{true, "x", terrible, json.Number("1e400"), json.Number("3"), nil})
}
