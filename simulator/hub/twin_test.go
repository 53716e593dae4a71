package hub

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// The sample is a recording from Azure.IoT.Hub.Service's tests, with this test's time and etags.
func TestFreshTwinIsTheRecordedOne(t *testing.T) {
	h := newDevice(t)
	const want = `{"deviceId":"dev1","etag":"AAAAAAAAAAE=","deviceEtag":"NjEyMDQ0NTEz","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z",` +
		`"connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"sas",` +
		`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"version":2,` +
		`"properties":{"desired":{"$metadata":{"$lastUpdated":"2026-01-02T04:01:00.1234567Z"},"$version":1},` +
		`"reported":{"$metadata":{"$lastUpdated":"2026-01-02T04:01:00.1234567Z"},"$version":1}},"capabilities":{"iotEdge":false}}`
	if diff := cmp.Diff(want, string(state(t, h, "dev1").JSON())); diff != "" {
		t.Errorf("(-want +got), to the byte\n%s", diff)
	}
}

func TestFirstDesiredWriteIsTheRecordedOne(t *testing.T) {
	h := newDevice(t)
	twin, err := h.PatchTwin("dev1", object(t, `{"properties":{"desired":{"username":"x"}}}`), "")
	must(t, err)
	wantJSON(t, twin.desired.document(), `{"username":"x","$metadata":{"$lastUpdated":"2026-01-02T04:01:00.1234567Z","$lastUpdatedVersion":2,
		"username":{"$lastUpdated":"2026-01-02T04:01:00.1234567Z","$lastUpdatedVersion":2}},"$version":2}`)
	if twin.ETag() != "AAAAAAAAAAI=" || twin.Version() != 3 {
		t.Errorf("etag %s version %d", twin.ETag(), twin.Version())
	}
}

// patches are rows of "Understand and use device twins", update operations.
func TestTwinPatch(t *testing.T) {
	tests := map[string]struct{ before, patch, want string }{
		"members are merged":                           {`{"a":1}`, `{"b":2}`, `{"a":1,"b":2}`},
		"null removes a member":                        {`{"a":1,"b":2}`, `{"a":null}`, `{"b":2}`},
		"null of something absent is harmless":         {`{"a":1}`, `{"x":null}`, `{"a":1}`},
		"objects are merged deeply":                    {`{"a":{"b":{"c":1}}}`, `{"a":{"b":{"d":2}}}`, `{"a":{"b":{"c":1,"d":2}}}`},
		"the last key of a nested object leaves {}":    {`{"a":{"b":1}}`, `{"a":{"b":null}}`, `{"a":{}}`},
		"arrays are replaced whole":                    {`{"a":[1,2,3]}`, `{"a":[4]}`, `{"a":[4]}`},
		"a scalar becomes an object":                   {`{"a":1}`, `{"a":{"b":2}}`, `{"a":{"b":2}}`},
		"an object becomes a scalar":                   {`{"a":{"b":2}}`, `{"a":1}`, `{"a":1}`},
		"nulls inside a new object are dropped":        {`{}`, `{"a":{"b":null,"c":1}}`, `{"a":{"c":1}}`},
		"numbers are kept verbatim":                    {`{}`, `{"a":1.0,"b":1}`, `{"a":1.0,"b":1}`},
		"$metadata and $version of a read are ignored": {`{"a":1}`, `{"a":2,"$metadata":{"x":1},"$version":77}`, `{"a":2}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithDesired(test.before))
			must(t, h.PatchDesired("dev1", test.patch, ""))
			got := string(jsontree.Append(nil, state(t, h, "dev1").Desired()))
			if got != test.want {
				t.Errorf("got %s want %s", got, test.want)
			}
		})
	}
}

func TestReadOnlyMembersOfATwinPatchAreIgnored(t *testing.T) {
	h := newDevice(t, WithReported(`{"r":1}`))
	twin, err := h.PatchTwin("dev1", object(t, `{"deviceId":"other","status":"disabled","version":99,"tags":null,
		"properties":{"reported":{"r":2},"desired":null}}`), "")
	must(t, err)
	wantJSON(t, twin.Reported(), `{"r":1}`)
	if twin.Identity.Disabled || twin.Version() != 3 {
		t.Errorf("status %s version %d", twin.Identity.Status(), twin.Version())
	}
}

func TestMetadata(t *testing.T) {
	h, c := newHub(t)
	must(t, h.CreateDevice("dev1", WithDesired(`{"a":{"b":1,"c":2}}`)))
	c.Step(time.Second)
	must(t, h.PatchDesired("dev1", `{"a":{"b":1}}`, ""))

	t.Run("an unchanged value is stamped anew, its siblings are not", func(t *testing.T) {
		wantJSON(t, state(t, h, "dev1").desired.root.metadata(), `{"$lastUpdated":"2026-01-02T04:01:01.1234567Z","$lastUpdatedVersion":3,
			"a":{"$lastUpdated":"2026-01-02T04:01:01.1234567Z","$lastUpdatedVersion":3,
				"b":{"$lastUpdated":"2026-01-02T04:01:01.1234567Z","$lastUpdatedVersion":3},
				"c":{"$lastUpdated":"2026-01-02T04:01:00.1234567Z","$lastUpdatedVersion":2}}}`)
	})
	t.Run("reported has no $lastUpdatedVersion", func(t *testing.T) {
		must(t, h.PatchReported("dev1", `{"a":{"b":1}}`))
		wantJSON(t, state(t, h, "dev1").reported.root.metadata(), `{"$lastUpdated":"2026-01-02T04:01:01.1234567Z",
			"a":{"$lastUpdated":"2026-01-02T04:01:01.1234567Z","b":{"$lastUpdated":"2026-01-02T04:01:01.1234567Z"}}}`)
	})
	t.Run("a configuration is named on the leaves that it wrote", func(t *testing.T) {
		must(t, h.PatchDesired("dev1", `{"a":{"c":3}}`, "night"))
		m := state(t, h, "dev1").desired.root.metadata().Object("a")
		by, _ := m.Object("c").Get("$lastUpdatedBy")
		if _, other := m.Object("b").Get("$lastUpdatedBy"); by != "night" || other {
			t.Errorf("got %v", m)
		}
		if d, _ := m.Object("c").Get("$lastUpdatedByDigest"); len(d.(string)) != 18 {
			t.Errorf("digest %v", d)
		}
	})
}

func TestReplace(t *testing.T) {
	tests := map[string]struct{ body, desired, tags, announced string }{
		"keys that went are announced as null": {
			`{"properties":{"desired":{"a":1,"c":100}}}`, `{"a":1,"c":100}`, `{}`, `{"a":1,"c":100,"b":null,"o":null}`},
		"nested keys too": {
			`{"tags":{"t":1},"properties":{"desired":{"o":{"y":1}}}}`, `{"o":{"y":1}}`, `{"t":1}`, `{"o":{"y":1,"x":null},"a":null,"b":null}`},
		"an absent section is emptied": {`{}`, `{}`, `{}`, `{"a":null,"b":null,"o":null}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithTags(`{"t":0,"u":0}`), WithDesired(`{"a":1,"b":2,"o":{"x":1}}`))
			var change Change
			defer h.Subscribe(func(c Change) { change = c })()
			twin, err := h.ReplaceTwin("dev1", object(t, test.body), "")
			must(t, err)
			wantJSON(t, twin.Desired(), test.desired)
			wantJSON(t, twin.Tags(), test.tags)
			wantJSON(t, change.Desired, test.announced)
			if change.Kind != TwinReplaced || twin.DesiredVersion() != 3 || twin.ETagCounter() != 4 {
				t.Errorf("%s, desired version %d, etag %d", change.Kind, twin.DesiredVersion(), twin.ETagCounter())
			}
		})
	}
}

func TestCounters(t *testing.T) {
	type counters struct{ ETag, Version, Desired, Reported int64 }
	tests := map[string]struct {
		do   func(*Hub) error
		want counters
	}{
		"tags move etag and version":           {func(h *Hub) error { return h.SetTags("dev1", `{"a":1}`) }, counters{2, 3, 1, 1}},
		"desired moves its $version too":       {func(h *Hub) error { return h.PatchDesired("dev1", `{"a":1}`, "") }, counters{2, 3, 2, 1}},
		"reported leaves the etag":             {func(h *Hub) error { return h.PatchReported("dev1", `{"a":1}`) }, counters{1, 3, 1, 2}},
		"an empty desired object is a write":   {func(h *Hub) error { return h.PatchDesired("dev1", `{}`, "") }, counters{2, 3, 2, 1}},
		"connecting moves nothing":             {func(h *Hub) error { return h.SetConnected("dev1", true, Model) }, counters{1, 2, 1, 1}},
		"an identity write moves nothing here": {func(h *Hub) error { return h.Rekey("dev1") }, counters{1, 2, 1, 1}},
		"tags and desired in one write count once": {func(h *Hub) error {
			_, err := h.PatchTwin("dev1", jsontree.Object{{Name: "tags", Value: jsontree.Object{}},
				{Name: "properties", Value: jsontree.Object{{Name: "desired", Value: jsontree.Object{}}}}}, "")
			return err
		}, counters{2, 3, 2, 1}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			must(t, test.do(h))
			s := state(t, h, "dev1")
			if got := (counters{s.ETagCounter(), s.Version(), s.DesiredVersion(), s.ReportedVersion()}); got != test.want {
				t.Errorf("got %+v want %+v", got, test.want)
			}
		})
	}
}

// Model is any model id.
const Model = "dtmi:com:example:Thermostat;1"

func TestIfMatchOnATwin(t *testing.T) {
	tests := map[string]struct {
		ifMatch string
		stale   bool
	}{
		"absent is unconditional":    {"", false},
		"a bare star matches":        {`*`, false},
		"a quoted star matches":      {`"*"`, false},
		"the quoted etag matches":    {`"AAAAAAAAAAE="`, false},
		"the bare etag matches":      {`AAAAAAAAAAE=`, false},
		"another etag is stale":      {`"AAAAAAAAAAI="`, true},
		"what is no etag is refused": {`"garbage"`, true},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			_, err := h.PatchTwin("dev1", object(t, `{"tags":{"a":1}}`), test.ifMatch)
			if !test.stale {
				must(t, err)
				return
			}
			wantRefused(t, err, 412, "PreconditionFailed")
			if !strings.HasPrefix(err.Error(), "PreconditionFailed (412001): Precondition failed: Device version did not match, existingVersion:1 newVersion:") {
				t.Errorf("text %q", err)
			}
		})
	}
}

// nested returns objects in each other, with a scalar inside the innermost.
func nested(depth int) string {
	return strings.Repeat(`{"a":`, depth) + "1" + strings.Repeat("}", depth)
}

// The limits are those of "Understand and use device twins", tags and properties format.
func TestTwinValidation(t *testing.T) {
	tests := map[string]struct {
		patch string
		valid bool
	}{
		"a key with a dot":                        {`{"a.b":1}`, false},
		"a key with a dollar":                     {`{"a$":1}`, false},
		"a key with a number sign":                {`{"a#":1}`, false},
		"a key with a space":                      {`{"a b":1}`, false},
		"a key with a no-break space":             {`{"a\u00a0b":1}`, false},
		"a key with a C0 control":                 {`{"a\u0001":1}`, false},
		"a key with a C1 control":                 {`{"a\u0085":1}`, false},
		"a nested bad key":                        {`{"a":{"$b":1}}`, false},
		"a bad key inside an array":               {`{"a":[{"b.c":1}]}`, false},
		"an empty key":                            {`{"":1}`, false},
		"a key in another script":                 {`{"温度":1}`, true},
		"a key with a hyphen":                     {`{"a-b_c:d":1}`, true},
		"a key of 1024 bytes":                     {fmt.Sprintf(`{%q:1}`, strings.Repeat("k", 1024)), true},
		"a key of 1025 bytes":                     {fmt.Sprintf(`{%q:1}`, strings.Repeat("k", 1025)), false},
		"a key of 513 two-byte letters":           {fmt.Sprintf(`{%q:1}`, strings.Repeat("é", 513)), false},
		"a string of 4096 bytes":                  {fmt.Sprintf(`{"a":%q}`, strings.Repeat("v", 4096)), true},
		"a string of 4097 bytes":                  {fmt.Sprintf(`{"a":%q}`, strings.Repeat("v", 4097)), false},
		"a long string inside an array":           {fmt.Sprintf(`{"a":[%q]}`, strings.Repeat("v", 4097)), false},
		"a scalar inside the tenth nested object": {`{"a":` + nested(10) + `}`, true},
		"an eleventh nested object":               {`{"a":` + nested(11) + `}`, false},
		"the greatest integer":                    {`{"a":4503599627370495}`, true},
		"an integer too great":                    {`{"a":4503599627370496}`, false},
		"the least integer":                       {`{"a":-4503599627370496}`, true},
		"an integer too small":                    {`{"a":-4503599627370497}`, false},
		"an integer beyond 64 bits":               {`{"a":99999999999999999999}`, false},
		"a great number that is no integer":       {`{"a":1e300}`, true},
		"an array":                                {`{"a":[1,"b",{"c":true},[2]]}`, true},
		"a null inside an array":                  {`{"a":[1,null]}`, false},
		"a null deep inside an array":             {`{"a":[{"b":null}]}`, false},
		"a null inside an array of arrays":        {`{"a":[[null]]}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			for section, write := range map[string]func() error{
				"tags":     func() error { return h.SetTags("dev1", test.patch) },
				"desired":  func() error { return h.PatchDesired("dev1", test.patch, "") },
				"reported": func() error { return h.PatchReported("dev1", test.patch) },
			} {
				err := write()
				if test.valid && err != nil {
					t.Errorf("%s: %v", section, err)
				}
				if !test.valid {
					wantRefused(t, err, 400, "ArgumentInvalid")
				}
			}
		})
	}
}

func TestSectionsMustBeObjects(t *testing.T) {
	h := newDevice(t)
	for _, body := range []string{`{"tags":1}`, `{"tags":[]}`, `{"properties":{"desired":"x"}}`} {
		_, err := h.PatchTwin("dev1", object(t, body), "")
		wantRefused(t, err, 400, "ArgumentInvalid")
	}
}

// filler is an object of exactly size bytes by the hub's way of counting.
func filler(size int) string {
	var b strings.Builder
	b.WriteString("{")
	for i := 0; size > 0; i++ {
		chunk := min(size, 1000)
		if size-chunk < 4 {
			chunk = size
		}
		fmt.Fprintf(&b, `"k%03d":%q,`, i, strings.Repeat("v", chunk-4))
		size -= chunk
	}
	return strings.TrimSuffix(b.String(), ",") + "}"
}

func TestSectionSizes(t *testing.T) {
	tests := map[string]struct {
		limit int
		write func(*Hub, string) error
	}{
		"tags 8 KB":      {8 << 10, func(h *Hub, s string) error { return h.SetTags("dev1", s) }},
		"desired 32 KB":  {32 << 10, func(h *Hub, s string) error { return h.PatchDesired("dev1", s, "") }},
		"reported 32 KB": {32 << 10, func(h *Hub, s string) error { return h.PatchReported("dev1", s) }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			must(t, test.write(h, filler(test.limit)))
			before := state(t, h, "dev1")
			wantRefused(t, test.write(h, `{"x":true}`), 400, "ArgumentInvalid")
			if state(t, h, "dev1") != before {
				t.Error("a refused write left something behind")
			}
		})
	}
}

func TestSizeOfValues(t *testing.T) {
	tests := map[string]struct {
		json string
		want int
	}{
		"a number is 8 bytes":             {`{"k":1}`, 9},
		"a bool is 4 bytes":               {`{"k":true}`, 5},
		"a string is its UTF-8 bytes":     {`{"k":"é"}`, 3},
		"control characters do not count": {`{"k":"a\u0001\n"}`, 2},
		"objects count their keys":        {`{"k":{"l":1}}`, 10},
		"arrays count their elements":     {`{"k":[1,{"m":true}]}`, 14},
		"keys count in UTF-8":             {`{"é":1}`, 10},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if got := plant(object(t, test.json), &stamp{}).size(); got != test.want {
				t.Errorf("got %d want %d", got, test.want)
			}
		})
	}
}

func TestRewindRepeatsCounters(t *testing.T) {
	h := newDevice(t)
	before := state(t, h, "dev1")
	must(t, h.PatchDesired("dev1", `{"a":1}`, ""))
	must(t, h.Rewind("dev1", before))
	must(t, h.PatchDesired("dev1", `{"b":1}`, ""))
	twin := state(t, h, "dev1")
	wantJSON(t, twin.Desired(), `{"b":1}`)
	if twin.ETag() != "AAAAAAAAAAI=" || twin.Version() != 3 {
		t.Errorf("etag %s version %d", twin.ETag(), twin.Version())
	}
	wantRefused(t, h.Rewind("nobody", before), 404, "DeviceNotFound")
}
