package twin_test

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// freshTwin is what a hub recorded for a device that never connected.
const freshTwin = `{"deviceId":"dev1","etag":"AAAAAAAAAAE=","deviceEtag":"NjEyMDQ0NTEz","status":"enabled","statusUpdateTime":"0001-01-01T00:00:00Z",
"connectionState":"Disconnected","lastActivityTime":"0001-01-01T00:00:00Z","cloudToDeviceMessageCount":0,"authenticationType":"sas",
"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"version":2,
"properties":{"desired":{"$metadata":{"$lastUpdated":"2021-07-07T20:45:24.2374163Z"},"$version":1},
"reported":{"$metadata":{"$lastUpdated":"2021-07-07T20:45:24.2374163Z"},"$version":1}},"capabilities":{"iotEdge":false}}`

func leaf(component, name string) twin.Leaf { return twin.Leaf{Component: component, Name: name} }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t
}

func TestParseDeviceTwin(t *testing.T) {
	tests := map[string]struct {
		body string
		want *twin.Twin
	}{
		"a fresh twin": {
			body: freshTwin,
			want: &twin.Twin{
				DeviceID: "dev1", ETag: "AAAAAAAAAAE=", DeviceETag: "NjEyMDQ0NTEz", Version: 2, DesiredVersion: 1, ReportedVersion: 1,
				DesiredUpdated: at("2021-07-07T20:45:24.2374163Z"), ReportedUpdated: at("2021-07-07T20:45:24.2374163Z"),
				ConnectionState: "Disconnected", Status: "enabled",
			},
		},
		"a live hub's spelling of thumbprints and unknown fields": {
			body: `{"deviceId":"dev1","x509Thumbprint":{"PrimaryThumbprint":null},"configurations":{"c":{"status":"Applied"}},"tags":7,"version":3}`,
			want: &twin.Twin{DeviceID: "dev1", Version: 3},
		},
		"null sections are empty": {
			body: `{"deviceId":"dev1","modelId":null,"etag":null,"version":null,"properties":{"desired":null,"reported":{"$metadata":null,"$version":null}}}`,
			want: &twin.Twin{DeviceID: "dev1"},
		},
		"missing metadata leaves version and time at zero": {
			body: `{"deviceId":"dev1","properties":{"desired":{"a":1,"$version":4},"reported":{"a":2}}}`,
			want: &twin.Twin{
				DeviceID: "dev1", DesiredVersion: 4,
				Properties: map[twin.Leaf]twin.Property{
					leaf("", "a"): {Desired: &twin.Desired{Value: value(`1`)}, Reported: &twin.Reported{Value: value(`2`)}},
				},
			},
		},
		"a component is marked on either side, and its marker is no leaf": {
			body: `{"deviceId":"dev1","properties":{
				"desired":{"t1":{"__t":"c","a":1},"t2":{"b":2},"o":{"__t":"d"},"__t":"c"},
				"reported":{"t1":{"c":3},"t2":{"__t":"c"},"t3":{"__t":"c"}}}}`,
			want: &twin.Twin{
				DeviceID:   "dev1",
				Components: map[string]bool{"t1": true, "t2": true, "t3": true},
				Unmarked:   map[string]bool{"t2": true, "t3": true},
				Properties: map[twin.Leaf]twin.Property{
					leaf("t1", "a"): {Desired: &twin.Desired{Value: value(`1`)}},
					leaf("t1", "c"): {Reported: &twin.Reported{Value: value(`3`)}},
					leaf("t2", "b"): {Desired: &twin.Desired{Value: value(`2`)}},
					leaf("", "o"):   {Desired: &twin.Desired{Value: value(`{"__t":"d"}`)}},
				},
			},
		},
		"null is absent": {
			body: `{"deviceId":"dev1","properties":{"desired":{"a":null,"t1":{"__t":"c","b":null}}}}`,
			want: &twin.Twin{DeviceID: "dev1", Components: map[string]bool{"t1": true}},
		},
		"a name that is a component here and a scalar there is both": {
			body: `{"deviceId":"dev1","properties":{"desired":{"x":1},"reported":{"x":{"__t":"c","y":2}}}}`,
			want: &twin.Twin{
				DeviceID:   "dev1",
				Components: map[string]bool{"x": true},
				Unmarked:   map[string]bool{"x": true},
				Properties: map[twin.Leaf]twin.Property{
					leaf("", "x"):  {Desired: &twin.Desired{Value: value(`1`)}},
					leaf("x", "y"): {Reported: &twin.Reported{Value: value(`2`)}},
				},
			},
		},
		"the default component's name marks no component": {
			body: `{"deviceId":"dev1","properties":{"desired":{"":{"__t":"c"},"$x":{"__t":"c"}}}}`,
			want: &twin.Twin{
				DeviceID:   "dev1",
				Properties: map[twin.Leaf]twin.Property{leaf("", ""): {Desired: &twin.Desired{Value: value(`{"__t":"c"}`)}}},
			},
		},
		"a value is reported at its newest time": {
			body: `{"deviceId":"dev1","properties":{"reported":{"a":{"b":1,"c":2},"t1":{"__t":"c","d":"x"},"$metadata":{"$lastUpdated":"2026-01-09T00:00:00Z",
				"a":{"$lastUpdated":"2026-01-01T00:00:00Z","b":{"$lastUpdated":"2026-01-03T00:00:00.1234567Z"},"c":{"$lastUpdated":"2026-01-02T00:00:00Z"}},
				"t1":{"$lastUpdated":"2026-01-05T00:00:00Z","d":{"$lastUpdated":"0001-01-01T00:00:00"}}}}}}`,
			want: &twin.Twin{
				DeviceID:        "dev1",
				ReportedUpdated: at("2026-01-09T00:00:00Z"),
				Components:      map[string]bool{"t1": true},
				Unmarked:        map[string]bool{"t1": true},
				Properties: map[twin.Leaf]twin.Property{
					leaf("", "a"):   {Reported: &twin.Reported{Value: value(`{"b":1,"c":2}`), LastUpdated: at("2026-01-03T00:00:00.1234567Z")}},
					leaf("t1", "d"): {Reported: &twin.Reported{Value: "x"}},
				},
			},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := twin.ParseDeviceTwin([]byte(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("ParseDeviceTwin() (-want +got):\n%s", diff)
			}
		})
	}
}

// TestTheVersionThatSetAProperty is the last sentence of the acknowledgement rules: the highest $lastUpdatedVersion in the
// property's subtree, else the nearest ancestor's.
func TestTheVersionThatSetAProperty(t *testing.T) {
	tests := map[string]struct {
		metadata string
		want     twin.Desired
	}{
		"its own version": {
			metadata: `{"$lastUpdatedVersion":9,"t1":{"$lastUpdatedVersion":8,"a":{"$lastUpdatedVersion":5}}}`,
			want:     twin.Desired{Version: 5},
		},
		"the highest below it": {
			metadata: `{"$lastUpdatedVersion":9,"t1":{"$lastUpdatedVersion":8,"a":{"$lastUpdatedVersion":3,"b":{"$lastUpdatedVersion":6,"c":{"$lastUpdatedVersion":7}}}}}`,
			want:     twin.Desired{Version: 7},
		},
		"the highest in an array's metadata": {
			metadata: `{"$lastUpdatedVersion":9,"t1":{"a":[{"$lastUpdatedVersion":3},{"$lastUpdatedVersion":4}]}}`,
			want:     twin.Desired{Version: 4},
		},
		"the component's where the property has none": {
			metadata: `{"$lastUpdatedVersion":9,"t1":{"$lastUpdatedVersion":8,"a":{"$lastUpdated":"2026-01-01T00:00:00Z"}}}`,
			want:     twin.Desired{Version: 8},
		},
		"the section's where the component has none": {
			metadata: `{"$lastUpdatedVersion":9,"t1":{}}`,
			want:     twin.Desired{Version: 9},
		},
		"none where nobody has one":   {metadata: `{"t1":"?"}`, want: twin.Desired{}},
		"not that of another one":     {metadata: `{"t1":{"z":{"$lastUpdatedVersion":9}}}`, want: twin.Desired{}},
		"the configuration on it":     {metadata: `{"t1":{"a":{"$lastUpdatedVersion":2,"$lastUpdatedBy":"cfg"}}}`, want: twin.Desired{Version: 2, By: "cfg"}},
		"the configuration below it":  {metadata: `{"t1":{"a":{"$lastUpdatedVersion":2,"b":{"c":{"$lastUpdatedBy":"cfg"}}}}}`, want: twin.Desired{Version: 2, By: "cfg"}},
		"no configuration above it":   {metadata: `{"t1":{"$lastUpdatedBy":"cfg","a":{"$lastUpdatedVersion":2}}}`, want: twin.Desired{Version: 2}},
		"the first of configurations": {metadata: `{"t1":{"a":{"d":{"$lastUpdatedBy":"z"},"b":{"$lastUpdatedBy":"y"}}}}`, want: twin.Desired{By: "y"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			body := `{"deviceId":"dev1","properties":{"desired":{"t1":{"__t":"c","a":{"b":{"c":1}}},"$metadata":` + tc.metadata + `}}}`
			got, err := twin.ParseDeviceTwin([]byte(body))
			if err != nil {
				t.Fatal(err)
			}
			tc.want.Value = value(`{"b":{"c":1}}`)
			if diff := cmp.Diff(&tc.want, got.Properties[leaf("t1", "a")].Desired); diff != "" {
				t.Errorf("desired (-want +got):\n%s", diff)
			}
		})
	}
}

func TestAcknowledgementEnvelopes(t *testing.T) {
	tests := map[string]struct {
		reported string
		want     twin.Reported
		keeps    bool // the envelope, because value and acknowledgement do not tell all of it
	}{
		"a whole envelope": {
			reported: `{"value":23,"ac":200,"av":3,"ad":"complete"}`,
			want:     twin.Reported{Value: value(`23`), Ack: &twin.Ack{Version: 3, Code: 200, Description: "complete"}},
		},
		"the description is optional": {
			reported: `{"value":23,"ac":200,"av":3}`,
			want:     twin.Reported{Value: value(`23`), Ack: &twin.Ack{Version: 3, Code: 200}},
		},
		"a description that is no text is dropped": {
			reported: `{"value":23,"ac":200,"av":3,"ad":{}}`,
			want:     twin.Reported{Value: value(`23`), Ack: &twin.Ack{Version: 3, Code: 200}},
			keeps:    true,
		},
		"integers of firmware that only knows floats": {
			reported: `{"value":23,"ac":200.0,"av":3e0}`,
			want:     twin.Reported{Value: value(`23`), Ack: &twin.Ack{Version: 3, Code: 200}},
			keeps:    true,
		},
		"what else is in it is kept": {
			reported: `{"value":23,"ac":200,"av":3,"at":"noon"}`,
			want:     twin.Reported{Value: value(`23`), Ack: &twin.Ack{Version: 3, Code: 200}},
			keeps:    true,
		},
		"an empty description is not the same as none": {
			reported: `{"value":23,"ac":200,"av":3,"ad":""}`,
			want:     twin.Reported{Value: value(`23`), Ack: &twin.Ack{Version: 3, Code: 200}},
			keeps:    true,
		},
		"av is missing":          {reported: `{"value":23,"ac":200}`, want: twin.Reported{Value: value(`23`)}, keeps: true},
		"ac is missing":          {reported: `{"value":23,"av":3}`, want: twin.Reported{Value: value(`23`)}, keeps: true},
		"av is a string":         {reported: `{"value":23,"ac":200,"av":"3"}`, want: twin.Reported{Value: value(`23`)}, keeps: true},
		"ac is a fraction":       {reported: `{"value":23,"ac":200.5,"av":3}`, want: twin.Reported{Value: value(`23`)}, keeps: true},
		"ac is true":             {reported: `{"value":23,"ac":true,"av":3}`, want: twin.Reported{Value: value(`23`)}, keeps: true},
		"a plain value":          {reported: `23`, want: twin.Reported{Value: value(`23`)}},
		"an object with a value": {reported: `{"value":23}`, want: twin.Reported{Value: value(`{"value":23}`)}},
		"codes without a value":  {reported: `{"ac":200,"av":3}`, want: twin.Reported{Value: value(`{"ac":200,"av":3}`)}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := twin.ParseDeviceTwin([]byte(`{"deviceId":"dev1","properties":{"reported":{"a":` + tc.reported + `}}}`))
			if err != nil {
				t.Fatal(err)
			}
			if tc.keeps {
				tc.want.Envelope = value(tc.reported).(map[string]any)
			}
			if diff := cmp.Diff(&tc.want, got.Properties[leaf("", "a")].Reported); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
		})
	}
}

func TestParseDigitalTwin(t *testing.T) {
	tests := map[string]struct {
		body string
		want *twin.Twin
	}{
		"Microsoft's sample": {
			body: `{"$dtId":"sample-device","serialNumber":"alwinexlepaho8329",
				"thermostat1":{"maxTempSinceLastReboot":25.3,"targetTemperature":20.4,"$metadata":{
					"targetTemperature":{"desiredValue":20.4,"desiredVersion":4,"ackVersion":4,"ackCode":200,
						"ackDescription":"Successfully executed patch","lastUpdateTime":"2020-07-17T06:11:04.9309159Z"},
					"maxTempSinceLastReboot":{"lastUpdateTime":"2020-07-17T06:10:31.9609233Z"}}},
				"$metadata":{"$model":"dtmi:com:example:TemperatureController;1","serialNumber":{"lastUpdateTime":"2020-07-17T06:10:31.9609233Z"}}}`,
			want: &twin.Twin{
				DeviceID: "sample-device", ModelID: "dtmi:com:example:TemperatureController;1", DesiredVersion: 4,
				Components: map[string]bool{"thermostat1": true},
				Properties: map[twin.Leaf]twin.Property{
					leaf("", "serialNumber"): {
						Reported: &twin.Reported{Value: "alwinexlepaho8329", LastUpdated: at("2020-07-17T06:10:31.9609233Z")},
					},
					leaf("thermostat1", "maxTempSinceLastReboot"): {
						Reported: &twin.Reported{Value: value(`25.3`), LastUpdated: at("2020-07-17T06:10:31.9609233Z")},
					},
					leaf("thermostat1", "targetTemperature"): {
						Desired: &twin.Desired{Value: value(`20.4`), Version: 4},
						Reported: &twin.Reported{
							Value: value(`20.4`), LastUpdated: at("2020-07-17T06:11:04.9309159Z"),
							Ack: &twin.Ack{Version: 4, Code: 200, Description: "Successfully executed patch"},
						},
					},
				},
			},
		},
		"a device without a model": {
			body: `{"$dtId":"dev1","$metadata":{"$model":""}}`,
			want: &twin.Twin{DeviceID: "dev1"},
		},
		"a desired value that was never acknowledged has no reported side": {
			body: `{"$dtId":"dev1","t1":{"$metadata":{"a":{"desiredValue":21.8,"desiredVersion":4}}},"$metadata":{"b":{"desiredValue":{"c":1},"desiredVersion":7}}}`,
			want: &twin.Twin{
				DeviceID: "dev1", DesiredVersion: 7,
				Components: map[string]bool{"t1": true},
				Properties: map[twin.Leaf]twin.Property{
					leaf("t1", "a"): {Desired: &twin.Desired{Value: value(`21.8`), Version: 4}},
					leaf("", "b"):   {Desired: &twin.Desired{Value: value(`{"c":1}`), Version: 7}},
				},
			},
		},
		"an object without metadata of its own is a property": {
			body: `{"$dtId":"dev1","o":{"p":1}}`,
			want: &twin.Twin{
				DeviceID:   "dev1",
				Properties: map[twin.Leaf]twin.Property{leaf("", "o"): {Reported: &twin.Reported{Value: value(`{"p":1}`)}}},
			},
		},
		"reserved names are neither components nor properties": {
			body: `{"$dtId":"dev1","$x":{"$metadata":{}},"__t":{"$metadata":{}},"t1":{"__t":"c","$metadata":{"$lastUpdateTime":"x"}}}`,
			want: &twin.Twin{DeviceID: "dev1", Components: map[string]bool{"t1": true}},
		},
		"half an acknowledgement is none": {
			body: `{"$dtId":"dev1","a":1,"$metadata":{"a":{"ackVersion":4}}}`,
			want: &twin.Twin{
				DeviceID: "dev1",
				Properties: map[twin.Leaf]twin.Property{leaf("", "a"): {Reported: &twin.Reported{
					Value: value(`1`), Envelope: map[string]any{"value": value(`1`), "av": value(`4`)},
				}}},
			},
		},
		"nulls are absent": {
			body: `{"$dtId":"dev1","a":null,"$metadata":{"$model":null,"a":null,"b":{"desiredValue":null,"desiredVersion":null}}}`,
			want: &twin.Twin{DeviceID: "dev1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			for _, etag := range []string{`"AAAAAAAAAAU="`, `AAAAAAAAAAU=`, `W/"AAAAAAAAAAU="`} {
				got, err := twin.ParseDigitalTwin([]byte(tc.body), etag)
				if err != nil {
					t.Fatal(err)
				}
				tc.want.ETag = "AAAAAAAAAAU="
				if diff := cmp.Diff(tc.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("ParseDigitalTwin() (-want +got):\n%s", diff)
				}
			}
		})
	}
}

func TestBodiesThatAreNoTwins(t *testing.T) {
	const secret = "SharedAccessKey"
	long := secret + strings.Repeat("9", 1000)
	tests := map[string]string{
		"empty":                             ``,
		"null":                              `null`,
		"an array":                          `[]`,
		"an error body":                     `{"Message":"ErrorCode:DeviceNotFound;x","ExceptionMessage":""}`,
		"cut off":                           `{"deviceId":"dev1","$dtId":"dev1","a":"` + long,
		"two documents":                     `{"deviceId":"dev1","$dtId":"dev1"}{}`,
		"an id that is a number":            `{"deviceId":1,"$dtId":1}`,
		"metadata that is a string":         `{"deviceId":"dev1","$dtId":"dev1","$metadata":"` + long + `","properties":{"desired":{"$metadata":"` + long + `"}}}`,
		"reported metadata that is a list":  `{"deviceId":"dev1","properties":{"reported":{"$metadata":[]}}}`,
		"a version that is a string":        `{"deviceId":"dev1","version":"` + long + `"}`,
		"a version beyond int64":            `{"deviceId":"dev1","version":` + strings.Repeat("9", 1000) + `}`,
		"a section version that is a text":  `{"deviceId":"dev1","properties":{"desired":{"$version":"` + long + `"}}}`,
		"a reported version that is a bool": `{"deviceId":"dev1","properties":{"reported":{"$version":true}}}`,
		"a section that is a list":          `{"deviceId":"dev1","properties":{"desired":["` + long + `"]}}`,
		"a model that is an object":         `{"$dtId":"dev1","$metadata":{"$model":{}}}`,
		"property metadata that is a text":  `{"$dtId":"dev1","$metadata":{"a":"` + long + `"}}`,
		"a desired version that is a text":  `{"$dtId":"dev1","t1":{"$metadata":{"a":{"desiredValue":1,"desiredVersion":"` + long + `"}}}}`,
	}
	for name, body := range tests {
		t.Run(name, func(t *testing.T) {
			_, deviceErr := twin.ParseDeviceTwin([]byte(body))
			_, digitalErr := twin.ParseDigitalTwin([]byte(body), "")
			for _, err := range []error{deviceErr, digitalErr} {
				if err == nil {
					t.Fatal("parsed")
				}
				if strings.Contains(err.Error(), secret) || len(err.Error()) > 300 {
					t.Errorf("error repeats the body: %v", err)
				}
			}
		})
	}
}

func TestNonConformant(t *testing.T) {
	tests := map[string]struct {
		properties string
		want       []string
	}{
		"a conformant twin": {
			properties: `{"desired":{"t1":{"__t":"c","a":` + nested(5) + `}},"reported":{"b":{"value":{"c":1},"ac":200,"av":1}}}`,
		},
		"names, arrays and depth on either side, sorted": {
			properties: `{"desired":{"z":[1],"odd-name":1},"reported":{"t1":{"__t":"c","deep":` + nested(6) + `},"inner":{"1a":1},"ack":{"value":[],"ac":200,"av":1}}}`,
			want:       []string{"ack", "inner", "odd-name", "t1/deep", "z"},
		},
		"a component's name": {
			properties: `{"reported":{"t-1":{"__t":"c","a":1}}}`,
			want:       []string{"t-1"},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tw, err := twin.ParseDeviceTwin([]byte(`{"deviceId":"dev1","properties":` + tc.properties + `}`))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, twin.NonConformant(tw)); diff != "" {
				t.Errorf("NonConformant() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestETagCounter(t *testing.T) {
	tests := map[string]struct {
		etag string
		want uint64
		ok   bool
	}{
		"a twin's etag":              {etag: "AAAAAAAAAAE=", want: 1, ok: true},
		"a counter of several bytes": {etag: "AAAAAAAAAQI=", want: 258, ok: true},
		"the largest counter":        {etag: "//////////8=", want: 1<<64 - 1, ok: true},
		"an identity's etag":         {etag: "NjEyMDQ0NTEz"},
		"a quoted etag":              {etag: `"AAAAAAAAAAE="`},
		"no etag":                    {etag: ""},
		"no base64":                  {etag: "*"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got, ok := twin.ETagCounter(tc.etag); got != tc.want || ok != tc.ok {
				t.Errorf("ETagCounter(%q) = %d, %v, want %d, %v", tc.etag, got, ok, tc.want, tc.ok)
			}
		})
	}
}

func TestAckLimit(t *testing.T) {
	tests := map[string]struct {
		twin twin.Twin
		want int64
	}{
		"the desired version of a device twin":            {twin: twin.Twin{Version: 9, DesiredVersion: 4, ETag: "AAAAAAAAAAg="}, want: 4},
		"the etag's counter where only properties show":   {twin: twin.Twin{DesiredVersion: 4, ETag: "AAAAAAAAAAg="}, want: 8},
		"the highest version seen if the counter is less": {twin: twin.Twin{DesiredVersion: 9, ETag: "AAAAAAAAAAg="}, want: 9},
		"the highest version seen without an etag":        {twin: twin.Twin{DesiredVersion: 4}, want: 4},
		"a counter beyond int64 is no obstacle":           {twin: twin.Twin{DesiredVersion: 4, ETag: "//////////8="}, want: 1<<63 - 1},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := tc.twin.AckLimit(); got != tc.want {
				t.Errorf("AckLimit() = %d, want %d", got, tc.want)
			}
		})
	}
}
