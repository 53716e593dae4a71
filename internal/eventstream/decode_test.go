package eventstream_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const vectors = "testdata/vectors"

// vector reads a recorded event as the SDK hands it on: what it keeps in fields of its own is not among the annotations.
func vector(t testing.TB, name string) eventstream.Message {
	t.Helper()
	raw, err := os.ReadFile(filepath.Join(vectors, name))
	if err != nil {
		t.Fatal(err)
	}
	var recorded struct {
		Body                                    json.RawMessage
		ApplicationProperties, SystemProperties map[string]any
	}
	if err := json.Unmarshal(raw, &recorded); err != nil {
		t.Fatal(err)
	}
	m := eventstream.Message{Partition: "1", Properties: recorded.ApplicationProperties, Annotations: map[string]any{}, Body: recorded.Body}
	for key, v := range recorded.SystemProperties {
		switch key {
		case "x-opt-sequence-number":
			m.SequenceNumber = int64(v.(float64))
		case "x-opt-offset":
			m.Offset = v.(string)
		case "x-opt-enqueued-time":
			m.EnqueuedTime = milliseconds(v)
		case "correlation-id":
			m.CorrelationID = v.(string)
		case "content-type":
			m.ContentType = v.(string)
		case "content-encoding", "user-id":
		case "iothub-enqueuedtime":
			m.Annotations[key] = milliseconds(v)
		default:
			m.Annotations[key] = v
		}
	}
	return m
}

func milliseconds(v any) time.Time { return time.UnixMilli(int64(v.(float64))).UTC() }

func at(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		panic(err)
	}
	return t.UTC()
}

// equal compares everything that an event shows.
var equal = cmp.Options{cmpopts.IgnoreUnexported(twin.Patch{}), cmp.Transformer("text", func(body []byte) string { return string(body) })}

func TestRecordedEvents(t *testing.T) {
	tests := map[string]struct {
		want   eventstream.Event
		leaves []twin.Leaf // written to the twin
	}{
		"twin-change-default-component.json": {
			want: eventstream.Event{
				Kind: eventstream.TwinChanged, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13332, CorrelationID: "12104ced5402",
				EnqueuedTime: at("2020-10-21T14:10:42.738Z"), OperationTime: at("2020-10-21T14:10:42.4171263Z"),
				Twin: &twin.Notification{Version: 3, Reported: &twin.Patch{Version: 2, LastUpdated: at("2020-10-21T14:10:42.4171263Z")}},
			},
			leaves: []twin.Leaf{{Name: "maxTempSinceLastReboot"}},
		},
		"twin-change-thermostat1.json": {
			want: eventstream.Event{
				Kind: eventstream.TwinChanged, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13341, CorrelationID: "1210b664ab83",
				EnqueuedTime: at("2020-10-21T14:13:39.668Z"), OperationTime: at("2020-10-21T14:13:39.36491Z"),
				Twin: &twin.Notification{Version: 4, Reported: &twin.Patch{Version: 3, LastUpdated: at("2020-10-21T14:13:39.36491Z")}},
			},
			leaves: []twin.Leaf{{Component: "thermostat1", Name: "maxTempSinceLastReboot"}},
		},
		"digital-twin-change-default-component.json": {want: eventstream.Event{
			Kind: eventstream.DigitalTwinChanged, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13333, CorrelationID: "12104ced5402",
			EnqueuedTime: at("2020-10-21T14:10:42.738Z"), OperationTime: at("2020-10-21T14:10:42.4171263Z"),
		}},
		"digital-twin-change-thermostat1.json": {want: eventstream.Event{
			Kind: eventstream.DigitalTwinChanged, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13342, CorrelationID: "1210b664ab83",
			EnqueuedTime: at("2020-10-21T14:13:39.668Z"), OperationTime: at("2020-10-21T14:13:39.36491Z"),
		}},
		"telemetry-default-component.json": {want: eventstream.Event{
			Kind: eventstream.Telemetry, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13280, EnqueuedTime: at("2020-10-21T14:00:10.824Z"), OperationTime: at("2020-10-21T14:00:10.715Z"),
			Telemetry: telemetryOf("", "dtmi:com:example:Thermostat;1", `{ "temperature": 12 }`),
		}},
		"telemetry-thermostat1.json": {want: eventstream.Event{
			Kind: eventstream.Telemetry, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13328, EnqueuedTime: at("2020-10-21T14:05:28.001Z"), OperationTime: at("2020-10-21T14:05:27.844Z"),
			Telemetry: telemetryOf("thermostat1", "dtmi:com:example:TemperatureController;1", `{ "temperature": 45 }`),
		}},
		"telemetry-thermostat2.json": {want: eventstream.Event{
			Kind: eventstream.Telemetry, DeviceID: "my-pnp-device", Partition: "1", SequenceNumber: 13329, EnqueuedTime: at("2020-10-21T14:05:33.173Z"), OperationTime: at("2020-10-21T14:05:33.017Z"),
			Telemetry: telemetryOf("thermostat2", "dtmi:com:example:TemperatureController;1", `{ "temperature": 49 }`),
		}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := eventstream.Decode(vector(t, name))
			if err != nil {
				t.Fatal(err)
			}
			if got.Telemetry != nil {
				got.Telemetry.Body = []byte(strings.Join(strings.Fields(string(got.Telemetry.Body)), " "))
			}
			if diff := cmp.Diff(tc.want, got, equal); diff != "" {
				t.Errorf("Decode() (-want +got):\n%s", diff)
			}
			if got.Twin == nil {
				return
			}
			if diff := cmp.Diff(tc.leaves, got.Twin.Leaves(&twin.Twin{})); diff != "" {
				t.Errorf("leaves (-want +got):\n%s", diff)
			}
		})
	}
	if all, err := filepath.Glob(filepath.Join(vectors, "*.json")); err != nil || len(all) != len(tests) {
		t.Errorf("%d recorded events (%v), %d of them tested", len(all), err, len(tests))
	}
}

func telemetryOf(component, model, body string) *eventstream.TelemetryMessage {
	return &eventstream.TelemetryMessage{Component: component, Model: model, ContentType: "application/json", Body: []byte(body)}
}

// The two announcements of one change have nothing in common but the correlation id.
func TestBothAnnouncementsOfAChangeAreCorrelated(t *testing.T) {
	for _, component := range []string{"default-component", "thermostat1"} {
		change, err := eventstream.Decode(vector(t, "twin-change-"+component+".json"))
		digital, errDigital := eventstream.Decode(vector(t, "digital-twin-change-"+component+".json"))
		if err != nil || errDigital != nil {
			t.Fatal(err, errDigital)
		}
		if change.CorrelationID == "" || change.CorrelationID != digital.CorrelationID {
			t.Errorf("correlation ids %q and %q", change.CorrelationID, digital.CorrelationID)
		}
	}
}

// message is an event of the hub itself, by "Non-telemetry event schemas".
func message(source, schema, operation, body string) eventstream.Message {
	return eventstream.Message{
		Partition: "3", SequenceNumber: 42, ContentType: "application/json", CorrelationID: "11ed82d13f50",
		Annotations: map[string]any{"iothub-connection-device-id": "dev1", "iothub-message-source": source, "iothub-enqueuedtime": at("2020-10-21T10:01:40Z")},
		Properties: map[string]any{
			"hubName": "my-pnp-hub", "deviceId": "dev1", "operationTimestamp": "2020-10-21T10:01:40.1281138+00:00",
			"iothub-message-schema": schema, "opType": operation,
		},
		Body: []byte(body),
	}
}

const freshTwin = `{"deviceId":"dev1","etag":"AAAAAAAAAAE=","version":2,"properties":{"desired":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1},
"reported":{"$metadata":{"$lastUpdated":"0001-01-01T00:00:00Z"},"$version":1}}}`

const connection = "000000000000000001D8713FF7E0851400000002000000000000000000000007"

func twinEvent(body string) eventstream.Message {
	return message("twinChangeEvents", "twinChangeNotification", "updateTwin", body)
}

func digitalEvent(body string) eventstream.Message {
	return message("digitalTwinChangeEvents", "digitalTwinChangeNotification", "updateTwin", body)
}

func lifecycle(operation string) eventstream.Message {
	return message("deviceLifecycleEvents", "deviceLifecycleNotification", operation, freshTwin)
}

func connectionEvent(operation, body string) eventstream.Message {
	return message("deviceConnectionStateEvents", "deviceConnectionStateNotification", operation, body)
}

func telemetry(body string) eventstream.Message {
	return eventstream.Message{
		Partition: "3", SequenceNumber: 42,
		Annotations: map[string]any{"iothub-connection-device-id": "dev1", "iothub-message-source": "Telemetry"}, Body: []byte(body),
	}
}

func with(m eventstream.Message, section, key string, v any) eventstream.Message {
	if m.Properties == nil {
		m.Properties = map[string]any{}
	}
	fields := map[string]map[string]any{"annotation": m.Annotations, "property": m.Properties}[section]
	if v == nil {
		delete(fields, key)
	} else {
		fields[key] = v
	}
	return m
}

// own is an event as message makes it.
func own(kind eventstream.Kind, change func(*eventstream.Event)) eventstream.Event {
	e := eventstream.Event{
		Kind: kind, DeviceID: "dev1", Partition: "3", SequenceNumber: 42, CorrelationID: "11ed82d13f50",
		OperationTime: at("2020-10-21T10:01:40.1281138Z"),
	}
	if change != nil {
		change(&e)
	}
	return e
}

// passed is an event that is only counted.
func passed(kind eventstream.Kind, module string) eventstream.Event {
	return own(kind, func(e *eventstream.Event) { e.ModuleID, e.OperationTime = module, time.Time{} })
}

func connected(kind eventstream.Kind) eventstream.Event {
	return own(kind, func(e *eventstream.Event) { e.ConnectionSequence = connection })
}

func digital(model string) eventstream.Event {
	return own(eventstream.DigitalTwinChanged, func(e *eventstream.Event) { e.Model = model })
}

func TestDecode(t *testing.T) {
	tests := map[string]struct {
		message eventstream.Message
		want    eventstream.Event
	}{
		"tags and desired properties": {
			message: twinEvent(`{"version":7,"tags":{"tag1":"new value"},"properties":{"desired":{"property1":"new value","$metadata":{"$lastUpdated":"2020-10-21T10:01:40Z"},"$version":6}}}`),
			want: own(eventstream.TwinChanged, func(e *eventstream.Event) {
				e.Twin = &twin.Notification{Version: 7, Tags: true, Desired: &twin.Patch{Version: 6, LastUpdated: at("2020-10-21T10:01:40Z")}}
			}),
		},
		"a replaced twin has to be read anyway": {
			message: message("twinChangeEvents", "twinChangeNotification", "replaceTwin", `{"deviceId":"dev1","etag":"AAAAAAAAAAI=","version":`),
			want:    own(eventstream.TwinReplaced, nil),
		},
		"a device is created": {message: lifecycle("createDeviceIdentity"), want: own(eventstream.DeviceCreated, nil)},
		"a device is deleted": {message: lifecycle("deleteDeviceIdentity"), want: own(eventstream.DeviceDeleted, nil)},
		"a device connects": {
			message: connectionEvent("deviceConnected", `{"sequenceNumber":"`+connection+`"}`), want: connected(eventstream.Connected),
		},
		"a device disconnects": {
			message: connectionEvent("deviceDisconnected", `{"sequenceNumber":"`+connection+`"}`), want: connected(eventstream.Disconnected),
		},
		"a device announces its model": {
			message: digitalEvent(`[{"op":"add","path":"/a","value":1},{"op":"replace","path":"/$metadata/$model","value":"dtmi:com:example:Thermostat;2"}]`),
			want:    digital("dtmi:com:example:Thermostat;2"),
		},
		"a device announces it with all metadata": {
			message: digitalEvent(`[{"op":"add","path":"/$metadata","value":{"$model":"dtmi:x;1"}}]`), want: digital("dtmi:x;1"),
		},
		"a digital twin is written as a whole": {
			message: digitalEvent(`[{"op":"add","path":"","value":{"$metadata":{"$model":"dtmi:x;1"}}}]`), want: digital("dtmi:x;1"),
		},
		"the last model counts": {
			message: digitalEvent(`[{"op":"add","path":"/$metadata/$model","value":"dtmi:x;1"},{"op":"add","path":"/$metadata/$model","value":"dtmi:x;2"}]`),
			want:    digital("dtmi:x;2"),
		},
		"operations that are none say nothing": {
			message: digitalEvent(`[1,null,{"op":"remove","path":"/$metadata/$model"},{"path":7},{"path":"/$metadata/$model","value":7},{"path":"/$metadata","value":[]}]`),
			want:    digital(""),
		},
		"a time in the other spelling": {
			message: with(lifecycle("createDeviceIdentity"), "property", "operationTimestamp", "2020-10-21T10:01:40.1281138Z"),
			want:    own(eventstream.DeviceCreated, nil),
		},
		"a time that cannot be read is unknown": {
			message: with(lifecycle("createDeviceIdentity"), "property", "operationTimestamp", "yesterday"),
			want:    own(eventstream.DeviceCreated, func(e *eventstream.Event) { e.OperationTime = time.Time{} }),
		},
		"the device id is a property only": {
			message: with(lifecycle("createDeviceIdentity"), "annotation", "iothub-connection-device-id", nil), want: own(eventstream.DeviceCreated, nil),
		},
		"the annotation counts where both differ": {
			message: with(lifecycle("createDeviceIdentity"), "property", "deviceId", "other"), want: own(eventstream.DeviceCreated, nil),
		},
		"a module's twin, by annotation": {message: with(twinEvent(`{`), "annotation", "iothub-connection-module-id", "mod1"), want: passed(eventstream.Module, "mod1")},
		"a module's twin, by property":   {message: with(twinEvent(`{`), "property", "moduleId", "mod1"), want: passed(eventstream.Module, "mod1")},
		"a module is created": {
			message: with(lifecycle("createModuleIdentity"), "property", "moduleId", "mod1"), want: passed(eventstream.Module, "mod1"),
		},
		"a module's telemetry": {
			message: with(telemetry(`x`), "annotation", "iothub-connection-module-id", "mod1"),
			want:    eventstream.Event{Kind: eventstream.Module, DeviceID: "dev1", ModuleID: "mod1", Partition: "3", SequenceNumber: 42},
		},
		"telemetry is not read, and its properties are the device's": {
			message: with(with(telemetry("{\xff"), "property", "moduleId", "mod1"), "property", "iothub-message-schema", "twinChangeNotification"),
			want: eventstream.Event{
				Kind: eventstream.Telemetry, DeviceID: "dev1", Partition: "3", SequenceNumber: 42, Telemetry: &eventstream.TelemetryMessage{Body: []byte("{\xff")},
			},
		},
		"an unknown source":            {message: with(twinEvent(`{`), "annotation", "iothub-message-source", "mqttBrokerEvents"), want: passed(eventstream.Unknown, "")},
		"a source that is no text":     {message: with(twinEvent(`{`), "annotation", "iothub-message-source", []byte("twinChangeEvents")), want: passed(eventstream.Unknown, "")},
		"an unknown schema":            {message: with(twinEvent(`{`), "property", "iothub-message-schema", "twinChangeNotification2"), want: passed(eventstream.Unknown, "")},
		"an unknown operation":         {message: with(twinEvent(`{`), "property", "opType", "upsertTwin"), want: passed(eventstream.Unknown, "")},
		"an operation of no text":      {message: with(twinEvent(`{`), "property", "opType", 3.5), want: passed(eventstream.Unknown, "")},
		"a schema of another source":   {message: with(twinEvent(`{`), "property", "iothub-message-schema", "deviceLifecycleNotification"), want: passed(eventstream.Unknown, "")},
		"nothing at all":               {want: eventstream.Event{Kind: eventstream.Unknown}},
		"enrichments change nothing":   {message: with(with(lifecycle("createDeviceIdentity"), "property", "location", "floor 3"), "annotation", "x-opt-custom", map[string]any{"a": []any{1}}), want: own(eventstream.DeviceCreated, nil)},
		"a device id that is no text":  {message: with(lifecycle("createDeviceIdentity"), "annotation", "iothub-connection-device-id", []byte("dev2")), want: own(eventstream.DeviceCreated, nil)},
		"no times and no correlation":  {message: with(lifecycle("deleteDeviceIdentity"), "property", "operationTimestamp", nil), want: own(eventstream.DeviceDeleted, func(e *eventstream.Event) { e.OperationTime = time.Time{} })},
		"a notification without keys":  {message: twinEvent(`{}`), want: own(eventstream.TwinChanged, func(e *eventstream.Event) { e.Twin = &twin.Notification{} })},
		"a body of a megabyte":         {message: twinEvent(`{"version":5,"pad":"` + strings.Repeat("x", 1<<20) + `"}`), want: own(eventstream.TwinChanged, func(e *eventstream.Event) { e.Twin = &twin.Notification{Version: 5} })},
		"a body that is not all UTF-8": {message: twinEvent("{\"version\":5,\"pad\":\"\xff\"}"), want: own(eventstream.TwinChanged, func(e *eventstream.Event) { e.Twin = &twin.Notification{Version: 5} })},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := eventstream.Decode(tc.message)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got, equal); diff != "" {
				t.Errorf("Decode() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestPoison(t *testing.T) {
	const secret = "SharedAccessKey"
	long := secret + strings.Repeat("9", 1<<20)
	tests := map[string]struct {
		message eventstream.Message
		want    eventstream.PoisonError
	}{
		"a twin change that is cut off":         {twinEvent(`{"version":4,"a":"` + long), eventstream.PoisonError{Kind: eventstream.TwinChanged, DeviceID: "dev1"}},
		"one of the wrong types":                {twinEvent(`{"version":"` + long + `"}`), eventstream.PoisonError{Kind: eventstream.TwinChanged, DeviceID: "dev1"}},
		"one without a body":                    {twinEvent(``), eventstream.PoisonError{Kind: eventstream.TwinChanged, DeviceID: "dev1"}},
		"a JSON Patch that is cut off":          {digitalEvent(`[{"path":"` + long), eventstream.PoisonError{Kind: eventstream.DigitalTwinChanged, DeviceID: "dev1"}},
		"a JSON Patch that is an object":        {digitalEvent(`{"path":"` + long + `"}`), eventstream.PoisonError{Kind: eventstream.DigitalTwinChanged, DeviceID: "dev1"}},
		"a connection without a number":         {connectionEvent("deviceConnected", `{}`), eventstream.PoisonError{Kind: eventstream.Connected, DeviceID: "dev1"}},
		"a connection whose number is a number": {connectionEvent("deviceConnected", `{"sequenceNumber":`+strings.Repeat("9", 1000)+`}`), eventstream.PoisonError{Kind: eventstream.Connected, DeviceID: "dev1"}},
		"a connection whose number is endless":  {connectionEvent("deviceDisconnected", `{"sequenceNumber":"`+long+`"}`), eventstream.PoisonError{Kind: eventstream.Disconnected, DeviceID: "dev1"}},
		"a connection that is no JSON":          {connectionEvent("deviceConnected", long), eventstream.PoisonError{Kind: eventstream.Connected, DeviceID: "dev1"}},
		"no device id": {
			with(with(twinEvent(`{}`), "annotation", "iothub-connection-device-id", nil), "property", "deviceId", 7), eventstream.PoisonError{Kind: eventstream.TwinChanged},
		},
		"an endless device id": {
			with(lifecycle("createDeviceIdentity"), "annotation", "iothub-connection-device-id", strings.Repeat("d", 129)),
			eventstream.PoisonError{Kind: eventstream.DeviceCreated, DeviceID: strings.Repeat("d", 129)},
		},
		"telemetry of nobody": {
			with(with(telemetry(long), "annotation", "iothub-connection-device-id", nil), "property", "deviceId", "dev1"), eventstream.PoisonError{Kind: eventstream.Telemetry},
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := eventstream.Decode(tc.message)
			var got *eventstream.PoisonError
			if !errors.As(err, &got) || errors.Unwrap(err) == nil {
				t.Fatalf("Decode() = %v, %v, want a PoisonError with its reason", e, err)
			}
			tc.want.Partition, tc.want.SequenceNumber = "3", 42
			if diff := cmp.Diff(&tc.want, got, cmpopts.IgnoreFields(eventstream.PoisonError{}, "Err")); diff != "" {
				t.Errorf("error (-want +got):\n%s", diff)
			}
			text := err.Error()
			for _, part := range []string{string(tc.want.Kind), fmt.Sprintf("%.128q", tc.want.DeviceID), `"3"`, "42"} {
				if !strings.Contains(text, part) {
					t.Errorf("%q does not name %s", text, part)
				}
			}
			if strings.Contains(text, secret) || strings.Contains(text, "999") || len(text) > 400 {
				t.Errorf("error repeats the body: %.400s", text)
			}
		})
	}
}

func TestEveryLegalCharacterOfADeviceID(t *testing.T) {
	const legal = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-:.+%_#*?!(),=@;$'"
	for _, id := range append(strings.Split(legal, ""), legal, strings.Repeat("d", 128)) {
		e, err := eventstream.Decode(with(lifecycle("createDeviceIdentity"), "annotation", "iothub-connection-device-id", id))
		if err != nil || e.DeviceID != id {
			t.Errorf("Decode() = %q, %v, want device %q", e.DeviceID, err, id)
		}
	}
}

func TestConnectionsCompareAsText(t *testing.T) {
	earlier, err := eventstream.Decode(connectionEvent("deviceConnected", `{"sequenceNumber":"`+connection+`"}`))
	later, errLater := eventstream.Decode(connectionEvent("deviceDisconnected", `{"sequenceNumber":"`+strings.TrimSuffix(connection, "7")+`A"}`))
	if err != nil || errLater != nil || later.ConnectionSequence <= earlier.ConnectionSequence {
		t.Errorf("%q (%v) is not after %q (%v)", later.ConnectionSequence, errLater, earlier.ConnectionSequence, err)
	}
}

func TestNumbers(t *testing.T) {
	many := map[string]int{}
	for i := range 150 {
		many[fmt.Sprintf("n%03d", i)] = i
	}
	manyJSON, err := json.Marshal(many)
	if err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		body string
		want map[string]float64
	}{
		"numbers at the top":                {body: `{"temperature":21.5,"count":-3,"e":1e3,"name":"x","on":true,"none":null,"o":{"inner":1},"a":[1]}`, want: map[string]float64{"temperature": 21.5, "count": -3, "e": 1000}},
		"a number that no double holds":     {body: `{"big":1e999,"small":1}`, want: map[string]float64{"small": 1}},
		"an object without any":             {body: `{"name":"x"}`, want: map[string]float64{}},
		"an array":                          {body: `[1]`},
		"a number alone":                    {body: `1`},
		"null":                              {body: `null`},
		"no JSON":                           {body: "temperature=21"},
		"not UTF-8":                         {body: "\xff\xfe"},
		"nothing":                           {},
		"more than a hub takes":             {body: `{"a":1,"pad":"` + strings.Repeat("x", 256<<10) + `"}`},
		"the first hundred, by their names": {body: string(manyJSON), want: firstOf(many, 100)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			e, err := eventstream.Decode(telemetry(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, e.Telemetry.Numbers()); diff != "" {
				t.Errorf("Numbers() (-want +got):\n%s", diff)
			}
		})
	}
}

func firstOf(all map[string]int, n int) map[string]float64 {
	first := map[string]float64{}
	for i := range n {
		name := fmt.Sprintf("n%03d", i)
		first[name] = float64(all[name])
	}
	return first
}

func FuzzDecode(f *testing.F) {
	all, err := filepath.Glob(filepath.Join(vectors, "*.json"))
	if err != nil || len(all) == 0 {
		f.Fatalf("no recorded events (%v)", err)
	}
	for _, name := range all {
		m := vector(f, filepath.Base(name))
		source, _ := m.Annotations["iothub-message-source"].(string)
		schema, _ := m.Properties["iothub-message-schema"].(string)
		f.Add(source, schema, "updateTwin", "my-pnp-device", "2020-10-21T14:10:42.4171263+00:00", m.Body)
	}
	f.Add("deviceConnectionStateEvents", "deviceConnectionStateNotification", "deviceConnected", "d", "", []byte(`{"sequenceNumber":"`+connection+`"}`))
	f.Add("twinChangeEvents", "twinChangeNotification", "replaceTwin", "\xff", "Z", []byte(nil))
	f.Fuzz(func(t *testing.T, source, schema, operation, device, operationTime string, body []byte) {
		m := message(source, schema, operation, string(body))
		m.Annotations["iothub-connection-device-id"], m.Properties["operationTimestamp"] = device, operationTime
		e, err := eventstream.Decode(m)
		var poison *eventstream.PoisonError
		switch {
		case err != nil && (!errors.As(err, &poison) || len(err.Error()) > 2000 || e.Kind != ""):
			t.Fatalf("Decode() = %v, %v", e, err)
		case err == nil && (e.Twin != nil) != (e.Kind == eventstream.TwinChanged), err == nil && (e.Telemetry != nil) != (e.Kind == eventstream.Telemetry):
			t.Fatalf("a %s with twin %v and telemetry %v", e.Kind, e.Twin, e.Telemetry)
		}
		if e.Telemetry != nil && len(e.Telemetry.Numbers()) > 100 {
			t.Fatalf("%d numbers", len(e.Telemetry.Numbers()))
		}
	})
}
