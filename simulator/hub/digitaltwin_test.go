package hub

import (
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	clocktesting "k8s.io/utils/clock/testing"
)

// The expectation is the sample of "Understand IoT Plug and Play digital twins", reached by the writes that lead to it.
func TestDigitalTwinIsTheDocumentedOne(t *testing.T) {
	h, c := newHub(t)
	must(t, h.CreateDevice("sample-device", WithModel("dtmi:com:example:TemperatureController;1")))
	must(t, h.PatchReported("sample-device", `{"serialNumber":"alwinexlepaho8329","thermostat1":{"__t":"c","maxTempSinceLastReboot":25.3}}`))
	must(t, h.PatchDesired("sample-device", `{}`, ""))
	must(t, h.PatchDesired("sample-device", `{}`, ""))
	must(t, h.PatchDesired("sample-device", `{"thermostat1":{"__t":"c","targetTemperature":20.4}}`, ""))
	c.Step(time.Minute)
	must(t, h.PatchReported("sample-device", `{"thermostat1":{"__t":"c","targetTemperature":{"value":20.4,"ac":200,"av":4,"ad":"Successfully executed patch"}}}`))
	wantJSON(t, state(t, h, "sample-device").DigitalTwin(), `{"$dtId":"sample-device","serialNumber":"alwinexlepaho8329",
		"thermostat1":{"maxTempSinceLastReboot":25.3,"targetTemperature":20.4,
		"$metadata":{"targetTemperature":{"desiredValue":20.4,"desiredVersion":4,"ackVersion":4,"ackCode":200,
		"ackDescription":"Successfully executed patch","lastUpdateTime":"2026-01-02T04:02:00.1234567Z"},
		"maxTempSinceLastReboot":{"lastUpdateTime":"2026-01-02T04:01:00.1234567Z"}}},
		"$metadata":{"$model":"dtmi:com:example:TemperatureController;1","serialNumber":{"lastUpdateTime":"2026-01-02T04:01:00.1234567Z"}}}`)
}

func TestDigitalTwinView(t *testing.T) {
	const at = `"lastUpdateTime":"2026-01-02T04:01:00.1234567Z"`
	tests := map[string]struct{ desired, reported, want string }{
		"a device without a model":           {`{}`, `{}`, `{"$dtId":"dev1","$metadata":{"$model":""}}`},
		"desired and never acknowledged":     {`{"p":21.8}`, `{}`, `{"$dtId":"dev1","$metadata":{"$model":"","p":{"desiredValue":21.8,"desiredVersion":2}}}`},
		"reported as a plain value":          {`{"p":1}`, `{"p":2}`, `{"$dtId":"dev1","p":2,"$metadata":{"$model":"","p":{"desiredValue":1,"desiredVersion":2,` + at + `}}}`},
		"acknowledged without a text":        {`{}`, `{"p":{"value":2,"ac":203,"av":0}}`, `{"$dtId":"dev1","p":2,"$metadata":{"$model":"","p":{"ackVersion":0,"ackCode":203,` + at + `}}}`},
		"an object is not an envelope":       {`{}`, `{"p":{"value":2,"unit":"C"}}`, `{"$dtId":"dev1","p":{"value":2,"unit":"C"},"$metadata":{"$model":"","p":{` + at + `}}}`},
		"a component only desired":           {`{"c":{"__t":"c","p":1}}`, `{}`, `{"$dtId":"dev1","c":{"$metadata":{"p":{"desiredValue":1,"desiredVersion":2}}},"$metadata":{"$model":""}}`},
		"an unmarked object is no component": {`{"c":{"p":1}}`, `{}`, `{"$dtId":"dev1","$metadata":{"$model":"","c":{"desiredValue":{"p":1},"desiredVersion":2}}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithDesired(test.desired), WithReported(test.reported))
			wantJSON(t, state(t, h, "dev1").DigitalTwin(), test.want)
		})
	}
}

// Rules of "Manage IoT Plug and Play digital twins" and of Microsoft's samples. The twin holds component c with desired a and
// b and reported r, and root property p.
func TestDigitalTwinPatch(t *testing.T) {
	const desired = `{"p":1,"c":{"__t":"c","a":1,"b":2}}`
	tests := map[string]struct{ patch, desired, announced string }{
		"a property is added": {
			`[{"op":"add","path":"/q","value":21.2}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2},"q":21.2}`, `{"q":21.2}`},
		"add on an existing property sets it": {
			`[{"op":"add","path":"/p","value":2}]`, `{"p":2,"c":{"__t":"c","a":1,"b":2}}`, `{"p":2}`},
		"a property of a component is replaced, with its marker": {
			`[{"op":"replace","path":"/c/a","value":5}]`, `{"p":1,"c":{"__t":"c","a":5,"b":2}}`, `{"c":{"__t":"c","a":5}}`},
		"adding a component that exists clears what is not given": {
			`[{"op":"add","path":"/c","value":{"a":9,"$metadata":{}}}]`, `{"p":1,"c":{"__t":"c","a":9}}`, `{"c":{"a":9,"__t":"c","b":null}}`},
		"replacing a component does the same": {
			`[{"op":"replace","path":"/c","value":{"$metadata":{},"n":1}}]`, `{"p":1,"c":{"__t":"c","n":1}}`, `{"c":{"n":1,"__t":"c","a":null,"b":null}}`},
		"a missing component is added whole": {
			`[{"op":"add","path":"/d","value":{"a":1,"$metadata":{}}}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2},"d":{"a":1,"__t":"c"}}`, `{"d":{"a":1,"__t":"c"}}`},
		"a property is removed": {
			`[{"op":"remove","path":"/p"}]`, `{"c":{"__t":"c","a":1,"b":2}}`, `{"p":null}`},
		"a property of a component is removed": {
			`[{"op":"remove","path":"/c/a"}]`, `{"p":1,"c":{"__t":"c","b":2}}`, `{"c":{"__t":"c","a":null}}`},
		"the component goes with its last property": {
			`[{"op":"remove","path":"/c/a"},{"op":"remove","path":"/c/b"}]`, `{"p":1}`, `{"c":null}`},
		"a component is removed": {
			`[{"op":"remove","path":"/c"}]`, `{"p":1}`, `{"c":null}`},
		"what is only reported exists": {
			`[{"op":"replace","path":"/c/r","value":7}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2,"r":7}}`, `{"c":{"__t":"c","r":7}}`},
		"an object property is replaced whole": {
			`[{"op":"add","path":"/o","value":{"x":1,"y":2}},{"op":"add","path":"/o","value":{"y":3}}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2},"o":{"y":3}}`, `{"o":{"x":null,"y":3}}`},
		"Microsoft's sample accumulates its operations": {
			`[{"op":"add","path":"/t","value":1},{"op":"replace","path":"/t","value":2},{"op":"remove","path":"/t"}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2}}`, `{"t":null}`},
		"a component removed and added again starts empty": {
			`[{"op":"remove","path":"/c"},{"op":"add","path":"/c","value":{"$metadata":{},"b":3}}]`, `{"p":1,"c":{"__t":"c","b":3}}`, `{"c":{"b":3,"__t":"c","a":null}}`},
		"a component added is there for the next operation": {
			`[{"op":"add","path":"/d","value":{"$metadata":{}}},{"op":"add","path":"/d/x","value":1}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2},"d":{"__t":"c","x":1}}`, `{"d":{"__t":"c","x":1}}`},
		"an object without $metadata is a property": {
			`[{"op":"add","path":"/d","value":{"a":1}}]`, `{"p":1,"c":{"__t":"c","a":1,"b":2},"d":{"a":1}}`, `{"d":{"a":1}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithDesired(desired), WithReported(`{"c":{"__t":"c","r":1}}`))
			var change Change
			defer h.Subscribe(func(c Change) { change = c })()
			twin, err := h.PatchDigitalTwin("dev1", []byte(test.patch), "")
			must(t, err)
			wantJSON(t, twin.Desired(), test.desired)
			wantJSON(t, change.Desired, test.announced)
			if twin.DesiredVersion() != 3 || twin.ETagCounter() != 3 || twin.Version() != 5 {
				t.Errorf("desired version %d, etag %d, version %d", twin.DesiredVersion(), twin.ETagCounter(), twin.Version())
			}
		})
	}
}

func TestDigitalTwinPatchRefused(t *testing.T) {
	deep := strings.Repeat(`{"a":`, 6) + "1" + strings.Repeat("}", 6)
	tests := map[string]struct{ patch, code string }{
		"a path without a slash":                {`[{"op":"add","path":"targetTemperature","value":1}]`, "InvalidDigitalTwinPatch"},
		"an empty path":                         {`[{"op":"add","path":"","value":1}]`, "InvalidDigitalTwinPatch"},
		"a property of a missing component":     {`[{"op":"add","path":"/d/a","value":1}]`, "InvalidDigitalTwinPatch"},
		"replacing a missing property":          {`[{"op":"replace","path":"/x","value":1}]`, "InvalidDigitalTwinPatch"},
		"removing a missing property":           {`[{"op":"remove","path":"/x"}]`, "InvalidDigitalTwinPatch"},
		"replacing what the component lacks":    {`[{"op":"replace","path":"/c/x","value":1}]`, "InvalidDigitalTwinPatch"},
		"removing what the component lacks":     {`[{"op":"remove","path":"/c/x"}]`, "InvalidDigitalTwinPatch"},
		"replacing a missing component":         {`[{"op":"replace","path":"/d","value":{"$metadata":{}}}]`, "InvalidDigitalTwinPatch"},
		"a component without $metadata":         {`[{"op":"add","path":"/c","value":{"a":1}}]`, "InvalidDigitalTwinPatch"},
		"a component in place of a property":    {`[{"op":"add","path":"/p","value":{"$metadata":{}}}]`, "InvalidDigitalTwinPatch"},
		"a field of a property":                 {`[{"op":"add","path":"/c/a/x","value":1}]`, "InvalidDigitalTwinPatchPath"},
		"a name that starts with a digit":       {`[{"op":"add","path":"/1a","value":1}]`, "InvalidDigitalTwinPatchPath"},
		"a name that ends with an underscore":   {`[{"op":"add","path":"/a_","value":1}]`, "InvalidDigitalTwinPatchPath"},
		"a name that starts with an underscore": {`[{"op":"add","path":"/_a","value":1}]`, "InvalidDigitalTwinPatchPath"},
		"a name with a hyphen":                  {`[{"op":"add","path":"/a-b","value":1}]`, "InvalidDigitalTwinPatchPath"},
		"a name of 65 letters":                  {`[{"op":"add","path":"/` + strings.Repeat("a", 65) + `","value":1}]`, "InvalidDigitalTwinPatchPath"},
		"an array":                              {`[{"op":"add","path":"/x","value":[1]}]`, "InvalidDigitalTwinPayload"},
		"an array inside an object":             {`[{"op":"add","path":"/x","value":{"a":[1]}}]`, "InvalidDigitalTwinPayload"},
		"a null":                                {`[{"op":"add","path":"/x","value":null}]`, "InvalidDigitalTwinPayload"},
		"no value":                              {`[{"op":"add","path":"/x"}]`, "InvalidDigitalTwinPayload"},
		"a bad field name":                      {`[{"op":"add","path":"/x","value":{"a-b":1}}]`, "InvalidDigitalTwinPayload"},
		"an object six deep":                    {`[{"op":"add","path":"/x","value":` + deep + `}]`, "InvalidDigitalTwinPayload"},
		"a bad name inside a component":         {`[{"op":"add","path":"/d","value":{"$metadata":{},"a-b":1}}]`, "InvalidDigitalTwinPayload"},
		"$metadata that is not empty":           {`[{"op":"add","path":"/d","value":{"$metadata":{"a":1}}}]`, "InvalidDigitalTwinPayload"},
		"another operation":                     {`[{"op":"test","path":"/p","value":1}]`, "InvalidDigitalTwinJsonPatch"},
		"no array":                              {`{"op":"add","path":"/p","value":1}`, "InvalidDigitalTwinJsonPatch"},
		"no operations":                         {`[]`, "InvalidDigitalTwinJsonPatch"},
		"no JSON":                               {`[{`, "InvalidDigitalTwinPayload"},
		"a good operation before a bad one":     {`[{"op":"add","path":"/p","value":2},{"op":"remove","path":"/x"}]`, "InvalidDigitalTwinPatch"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithDesired(`{"p":1,"c":{"__t":"c","a":1}}`))
			before := state(t, h, "dev1")
			_, err := h.PatchDigitalTwin("dev1", []byte(test.patch), "")
			wantRefused(t, err, 400, test.code)
			if state(t, h, "dev1") != before {
				t.Error("a refused patch left something behind")
			}
		})
	}
}

func TestFirstRuleHasTheCapturedText(t *testing.T) {
	h := newDevice(t)
	_, err := h.PatchDigitalTwin("dev1", []byte(`[{"op":"add","path":"targetTemperature","value":1}]`), "")
	want := "InvalidDigitalTwinPatch (400507): Error in path: targetTemperature. 'path' string must be non-null, begin with '/' and have atleast the component name."
	if err.Error() != want {
		t.Errorf("got %q", err)
	}
}

func TestObjectFiveDeepIsAllowed(t *testing.T) {
	h := newDevice(t)
	_, err := h.PatchDigitalTwin("dev1", []byte(`[{"op":"add","path":"/x","value":`+nested(5)+`}]`), "")
	must(t, err)
}

func TestNonConformantDataBlocksEveryPatch(t *testing.T) {
	tests := map[string]struct{ desired, reported, name string }{
		"an array in desired":                {`{"list":[1]}`, `{}`, "list"},
		"an array in reported":               {`{}`, `{"list":[1]}`, "list"},
		"a bad name in reported":             {`{}`, `{"a-b":1}`, "a-b"},
		"a name that starts with a digit":    {`{}`, `{"1st":1}`, "1st"},
		"a bad name inside a component":      {`{"c":{"__t":"c","a-b":1}}`, `{}`, "a-b"},
		"a bad field name":                   {`{"o":{"a-b":1}}`, `{}`, "a-b"},
		"a marker that is not c":             {`{"o":{"__t":"x"}}`, `{}`, "__t"},
		"an object six deep":                 {`{"o":` + nested(6) + `}`, `{}`, "a"},
		"an array inside an acknowledgement": {`{}`, `{"p":{"value":[1],"ac":200,"av":1}}`, "p"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithDesired(test.desired), WithReported(test.reported))
			_, err := h.PatchDigitalTwin("dev1", []byte(`[{"op":"add","path":"/good","value":1}]`), "")
			want := "ArgumentInvalid (400004): '" + test.name + "' exists within the device twin and is not digital twin conformant property. " +
				"Please refer to aka.ms/dtpatch to update this to be conformant."
			if err == nil || err.Error() != want {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestTagsNeedNotConform(t *testing.T) {
	h := newDevice(t, WithTags(`{"a-b":[1]}`))
	_, err := h.PatchDigitalTwin("dev1", []byte(`[{"op":"add","path":"/good","value":1}]`), "")
	must(t, err)
}

func TestLenientDigitalTwins(t *testing.T) {
	tests := map[string]struct{ patch, want string }{
		"creates the component":          {`[{"op":"add","path":"/c/a","value":1}]`, `{"c":{"__t":"c","a":1}}`},
		"replaces what does not exist":   {`[{"op":"replace","path":"/x","value":1}]`, `{"x":1}`},
		"does not mind a missing one":    {`[{"op":"remove","path":"/x"}]`, `{}`},
		"nor one of a missing component": {`[{"op":"remove","path":"/c/a"}]`, `{}`},
		"replaces a missing component":   {`[{"op":"replace","path":"/c","value":{"$metadata":{},"a":1}}]`, `{"c":{"a":1,"__t":"c"}}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			h.SetLenientDigitalTwins(true)
			twin, err := h.PatchDigitalTwin("dev1", []byte(test.patch), "")
			must(t, err)
			wantJSON(t, twin.Desired(), test.want)
		})
	}
}

func TestDigitalTwinPatchHonoursIfMatch(t *testing.T) {
	h := newDevice(t)
	patch := []byte(`[{"op":"add","path":"/p","value":1}]`)
	_, err := h.PatchDigitalTwin("dev1", patch, `"AAAAAAAAAAk="`)
	wantRefused(t, err, 412, "PreconditionFailed")
	_, err = h.PatchDigitalTwin("dev1", patch, `"AAAAAAAAAAE="`)
	must(t, err)
	_, err = h.PatchDigitalTwin("nobody", patch, "")
	wantRefused(t, err, 404, "DeviceNotFound")
}

// The vectors are captures of a real hub: metadata and markers in a twin change event.
func TestNotificationIsTheCapturedOne(t *testing.T) {
	c := clocktesting.NewFakeClock(time.Date(2020, 10, 21, 14, 13, 39, 364910000, time.UTC))
	h := New(c.Now, 1)
	must(t, h.CreateDevice("my-pnp-device", WithReported(`{"maxTempSinceLastReboot":10.96}`)))
	var body jsontree.Object
	defer h.Subscribe(func(c Change) { body = c.Notification() })()
	must(t, h.PatchReported("my-pnp-device", `{"thermostat1":{"maxTempSinceLastReboot":98.34,"__t":"c"}}`))
	wantJSON(t, body, `{"version":4,"properties":{"reported":{"thermostat1":{"maxTempSinceLastReboot":98.34,"__t":"c"},
		"$metadata":{"$lastUpdated":"2020-10-21T14:13:39.36491Z","thermostat1":{"$lastUpdated":"2020-10-21T14:13:39.36491Z",
		"maxTempSinceLastReboot":{"$lastUpdated":"2020-10-21T14:13:39.36491Z"},"__t":{"$lastUpdated":"2020-10-21T14:13:39.36491Z"}}},
		"$version":3}}}`)
}
