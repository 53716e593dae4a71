package oracle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// specOf declares properties of the default component and of the pump.
func specOf(properties, pump string) *v1alpha1.PnPDeviceSpec {
	return &v1alpha1.PnPDeviceSpec{
		Properties: &apiextensionsv1.JSON{Raw: []byte(properties)}, AcknowledgeWithinSeconds: 600, Management: v1alpha1.ManagementEnforce,
		Components: []v1alpha1.ComponentDeclaration{{Name: "pump", Properties: &apiextensionsv1.JSON{Raw: []byte(pump)}}},
	}
}

// write is a change of desired properties.
func write(service bool, version int64, before, patch string) simulator.JournalEntry {
	return simulator.JournalEntry{
		Written: noon, DeviceID: "dev1", Kind: "TwinUpdated", Service: service, DesiredVersion: version, Before: json.RawMessage(before), Desired: json.RawMessage(patch),
	}
}

// noon is when everything happens, unless a test says otherwise.
var noon = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

var created = simulator.JournalEntry{DeviceID: "dev1", Kind: "Created"}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAnEmptyWriteMayBeForTheDeviceBefore(t *testing.T) {
	again := created
	again.Written = noon.Add(-time.Second)
	for name, test := range map[string]struct {
		journal []simulator.JournalEntry
		wrong   int
	}{
		"the device was replaced meanwhile": {[]simulator.JournalEntry{created, again, write(true, 2, `{}`, `{}`)}, 0},
		"it was created once":               {[]simulator.JournalEntry{again, write(true, 2, `{}`, `{}`)}, 1},
		"the write has a marker":            {[]simulator.JournalEntry{created, again, write(true, 2, `{"pump":{"__t":"c"}}`, `{"pump":{"__t":"c"}}`)}, 1},
		"the replacement is long ago":       {[]simulator.JournalEntry{created, created, write(true, 2, `{}`, `{}`)}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			trace, err := Follow(test.journal, NewHistory())
			must(t, err)
			if len(trace.Wrong) != test.wrong {
				t.Errorf("got %q, want %d complaints", trace.Wrong, test.wrong)
			}
		})
	}
}

func TestWritesAreJudged(t *testing.T) {
	h := NewHistory()
	must(t, h.Declare("dev1", specOf(`{"a":1,"o":{"x":1}}`, `{"speed":5}`), noon))
	must(t, h.Declare("dev1", specOf(`{"a":2}`, `{"speed":5}`), noon))
	for name, test := range map[string]struct {
		write simulator.JournalEntry
		want  string // part of the complaint; empty: none
	}{
		"a declared value is set":                      {write(true, 2, `{}`, `{"a":1}`), ""},
		"a component is added with its marker":         {write(true, 2, `{}`, `{"pump":{"__t":"c","speed":5}}`), ""},
		"a declared value is removed":                  {write(true, 2, `{"a":1}`, `{"a":null}`), ""},
		"a component goes with its last property":      {write(true, 2, `{"pump":{"__t":"c","speed":5}}`, `{"pump":null}`), ""},
		"a part of an object changes":                  {write(true, 2, `{"o":{"x":1,"y":2}}`, `{"o":{"y":null}}`), ""},
		"a value that is there is written again":       {write(true, 2, `{"a":1}`, `{"a":1.0}`), "that is what the hub holds"},
		"what is not there is removed":                 {write(true, 2, `{}`, `{"a":null}`), "not ours to remove: removes a, which the hub does not hold"},
		"a foreign property is set":                    {write(true, 2, `{}`, `{"f":1}`), "touches f"},
		"a foreign property goes with a component":     {write(true, 2, `{"pump":{"__t":"c","speed":5,"f":1}}`, `{"pump":null}`), "touches pump.f"},
		"a foreign property is cleared by a component": {write(true, 2, `{"pump":{"__t":"c","f":1}}`, `{"pump":{"__t":"c","speed":5,"f":null}}`), "touches pump.f"},
		"a value that nobody declared is set":          {write(true, 2, `{}`, `{"a":3}`), "sets a to 3"},
		"someone else's value is removed":              {write(true, 2, `{"a":9}`, `{"a":null}`), "removes a while it holds 9"},
		"only a marker is written":                     {write(true, 2, `{"pump":{"__t":"c","speed":5}}`, `{"pump":{"__t":"c"}}`), "changes nothing"},
		"others may do all that":                       {write(false, 2, `{"a":9}`, `{"a":null,"f":1}`), ""},
	} {
		t.Run(name, func(t *testing.T) {
			trace, err := Follow([]simulator.JournalEntry{created, test.write}, h)
			must(t, err)
			got := strings.Join(trace.Wrong, "; ")
			if (got == "") != (test.want == "") || !strings.Contains(got, test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestAValueIsRewrittenOncePerRequest(t *testing.T) {
	again := func(seq uint64, version int64) simulator.JournalEntry {
		return writeAt(seq, true, version, `{"a":1,"o":2}`, `{"a":1}`)
	}
	for name, test := range map[string]struct {
		resends  []uint64
		then     func(*History)
		journal  []simulator.JournalEntry
		rewrites int
		wrong    int
	}{
		"nobody asked":                     {nil, nil, []simulator.JournalEntry{again(5, 2)}, 0, 1},
		"one request":                      {[]uint64{4}, nil, []simulator.JournalEntry{again(5, 2)}, 1, 0},
		"one request, and it comes later":  {[]uint64{5}, nil, []simulator.JournalEntry{again(5, 2)}, 0, 1},
		"a second write for one request":   {[]uint64{4}, nil, []simulator.JournalEntry{again(5, 2), again(6, 3)}, 1, 1},
		"a second write for a second one":  {[]uint64{4, 5}, nil, []simulator.JournalEntry{again(5, 2), again(6, 3)}, 2, 0},
		"another property for the request": {[]uint64{4}, nil, []simulator.JournalEntry{again(5, 2), writeAt(6, true, 3, `{"a":1,"o":2}`, `{"o":2}`)}, 2, 0},
		"a second write to a device that was created anew": {
			[]uint64{4}, nil, []simulator.JournalEntry{again(5, 2), created, again(7, 2)}, 1, 1,
		},
		"a second write after the operator was killed": {[]uint64{4}, func(h *History) { h.Interrupt(5, 5) }, []simulator.JournalEntry{again(5, 2), again(6, 3)}, 2, 0},
		"a second write although status had the first": {[]uint64{4}, func(h *History) {
			h.Interrupt(5, 5)
			h.Record(recordOf("Applied", `1`, 2), noon)
		}, []simulator.JournalEntry{again(5, 2), again(6, 3)}, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHistory()
			must(t, h.Declare("dev1", specOf(`{"a":1,"o":2}`, `{}`), noon))
			for _, after := range test.resends {
				h.Resend("dev1", after)
			}
			if test.then != nil {
				test.then(h)
			}
			trace, err := Follow(append([]simulator.JournalEntry{created}, test.journal...), h)
			must(t, err)
			if len(trace.Wrong) != test.wrong || trace.Rewrites != test.rewrites {
				t.Errorf("got %d rewrites and complaints %q, want %d and %d", trace.Rewrites, trace.Wrong, test.rewrites, test.wrong)
			}
		})
	}
}

func TestOrphans(t *testing.T) {
	declared := []simulator.JournalEntry{created, writeAt(7, true, 2, `{}`, `{"a":1,"pump":{"__t":"c","speed":5}}`)}
	orphan := []string{"device dev1 still has a = 1, which the operator wrote and nobody declares"}
	for name, test := range map[string]struct {
		then    func(*History) error
		journal []simulator.JournalEntry
		want    []string
	}{
		"a declared property is none":                  {func(*History) error { return nil }, nil, nil},
		"one that left is":                             {func(h *History) error { return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon) }, nil, orphan},
		"one that was removed is not":                  {func(h *History) error { return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon) }, []simulator.JournalEntry{write(true, 3, `{"a":1,"pump":{"__t":"c","speed":5}}`, `{"a":null}`)}, nil},
		"one that others changed is not":               {func(h *History) error { return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon) }, []simulator.JournalEntry{write(false, 3, `{"a":1,"pump":{"__t":"c","speed":5}}`, `{"a":2}`)}, nil},
		"one of a device that was created anew is not": {func(h *History) error { return h.Declare("dev1", specOf(`{}`, `{}`), noon) }, []simulator.JournalEntry{created}, nil},
		"one of a device that is gone is not":          {func(h *History) error { return h.Declare("dev1", specOf(`{}`, `{}`), noon) }, []simulator.JournalEntry{{DeviceID: "dev1", Kind: "Deleted"}}, nil},
		"one that was only observed when it left is not": {func(h *History) error {
			observed := specOf(`{}`, `{"speed":5}`)
			observed.Management = v1alpha1.ManagementObserve
			return h.Declare("dev1", observed, noon)
		}, nil, nil},
		"what a deleted object retains is none": {func(h *History) error { h.Delete("dev1", noon); return nil }, nil, nil},
		"what a deleted object should have cleared is": {func(h *History) error {
			cleared := specOf(`{"a":1}`, `{}`)
			cleared.DeletionPolicy = v1alpha1.DeletionClear
			err := h.Declare("dev1", cleared, noon)
			h.Delete("dev1", noon)
			return err
		}, []simulator.JournalEntry{write(true, 3, `{"a":1,"pump":{"__t":"c","speed":5}}`, `{"pump":null}`)}, orphan},
		"unless the operator was killed just after it": {func(h *History) error {
			h.Interrupt(10, 12)
			return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon)
		}, nil, nil},
		"one that status had before the operator was killed is": {func(h *History) error {
			h.Record(recordOf("Applied", `1`, 2), noon)
			h.Interrupt(10, 12)
			return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon)
		}, nil, orphan},
		"one whose place another value had in status is not": {func(h *History) error {
			h.Record(recordOf("Applied", `9`, 2), noon)
			h.Interrupt(10, 12)
			return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon)
		}, nil, nil},
		"one that status had only as someone else's is not": {func(h *History) error {
			h.Record(recordOf("Drifted", `1`, 2), noon)
			h.Interrupt(10, 12)
			return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon)
		}, nil, nil},
		"one that was written long before it was killed is": {func(h *History) error {
			h.Interrupt(100, 120)
			return h.Declare("dev1", specOf(`{}`, `{"speed":5}`), noon)
		}, nil, orphan},
		"unless the operator said that it could not": {func(h *History) error {
			cleared := specOf(`{"a":1}`, `{}`)
			cleared.DeletionPolicy = v1alpha1.DeletionClear
			err := h.Declare("dev1", cleared, noon)
			h.Delete("dev1", noon)
			h.Excuse("dev1", noon)
			return err
		}, nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			h := NewHistory()
			must(t, h.Declare("dev1", specOf(`{"a":1}`, `{"speed":5}`), noon))
			must(t, test.then(h))
			trace, err := Follow(append(declared, test.journal...), h)
			must(t, err)
			if diff := cmp.Diff(test.want, texts(trace.Orphans(h))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

// recordOf is an object whose status says that it wrote a.
func recordOf(state v1alpha1.PropertyState, desired string, version int64) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Name: "dev1"},
		Status: v1alpha1.PnPDeviceStatus{Properties: []v1alpha1.PropertyStatus{
			{Name: "a", Owned: true, State: state, Desired: value(desired), DesiredVersion: version},
		}},
	}
}

func writeAt(seq uint64, service bool, version int64, before, patch string) simulator.JournalEntry {
	e := write(service, version, before, patch)
	e.Seq = seq
	return e
}
