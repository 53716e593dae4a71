package routing

import (
	"fmt"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// event is a message on its way to the sink.
type event struct {
	device  string
	source  Source
	message eventhub.Message
}

// notification is what the kinds of non-telemetry events differ in.
type notification struct {
	source       Source
	schema       string
	opType       string
	contentType  string
	utcDesignate string // how operationTimestamp ends; both spellings are found
	body         any
}

const (
	plainJSON = "application/json"
	jsonPatch = "application/json-patch+json"

	offsetZero = "+00:00"
	zulu       = "Z"
)

// render returns the events that a change is announced by, as far as there are routes. They share a correlation id. Writes
// of an identity and failovers of the hub are not announced, but a connection that ended with its identity is.
func (r *Router) render(c hub.Change, routes Routes) []event {
	var out []event
	correlation := ""
	add := func(n notification) {
		if correlation == "" {
			correlation = r.numbers.correlation(c.At)
		}
		out = append(out, r.event(c, n, correlation))
	}
	if routes.Lifecycle {
		lifecycle(c, add)
	}
	if routes.TwinChanges {
		twinChange(c, add)
	}
	if routes.ConnectionState {
		r.connectionState(c, add)
	}
	if routes.DigitalTwinChanges {
		digitalTwinChange(c, add)
	}
	return out
}

func (r *Router) event(c hub.Change, n notification, correlation string) event {
	e := event{c.DeviceID, n.source, eventhub.Message{
		Properties: eventhub.Properties{
			CorrelationID: correlation, ContentType: n.contentType, ContentEncoding: "utf-8", UserID: []byte(r.hubName),
		},
		Annotations: annotations(c.DeviceID, n.source, r.clock()),
		Application: map[string]any{
			"hubName":               r.hubName,
			"deviceId":              c.DeviceID,
			"operationTimestamp":    c.At.UTC().Format("2006-01-02T15:04:05.0000000") + n.utcDesignate,
			"iothub-message-schema": n.schema,
			"opType":                n.opType,
		},
		Body: jsontree.Append(nil, n.body),
	}}
	if c.ModuleID != "" {
		e.message.Application["moduleId"], e.message.Annotations["iothub-connection-module-id"] = c.ModuleID, c.ModuleID
	}
	return e
}

func annotations(device string, s Source, at time.Time) map[string]any {
	return map[string]any{
		"iothub-connection-device-id": device,
		"iothub-enqueuedtime":         at,
		"iothub-message-source":       string(s),
	}
}

func lifecycle(c hub.Change, add func(notification)) {
	of := "DeviceIdentity"
	if c.ModuleID != "" {
		of = "ModuleIdentity"
	}
	n := notification{Lifecycle, "deviceLifecycleNotification", "create" + of, plainJSON, zulu, nil}
	switch c.Kind {
	case hub.Created:
		n.body = wholeTwin(c.After)
	case hub.Deleted:
		n.opType, n.body = "delete"+of, wholeTwin(c.Before)
	default:
		return
	}
	add(n)
}

func twinChange(c hub.Change, add func(notification)) {
	n := notification{TwinChanges, "twinChangeNotification", "updateTwin", plainJSON, offsetZero, nil}
	switch c.Kind {
	case hub.TwinUpdated:
		n.body = c.Notification()
	case hub.TwinReplaced:
		n.opType, n.body = "replaceTwin", wholeTwin(c.After)
	default:
		return
	}
	add(n)
}

// wholeTwin is a twin as events carry it: less than what a read returns.
func wholeTwin(t *hub.Twin) jsontree.Object {
	var o jsontree.Object
	document := t.Document()
	for _, name := range []string{"deviceId", "moduleId", "etag", "version", "tags", "properties"} {
		if v, ok := document.Get(name); ok {
			o = append(o, jsontree.Member{Name: name, Value: v})
		}
	}
	return o
}

func (r *Router) connectionState(c hub.Change, add func(notification)) {
	if !lives(c) || c.Before.Identity.Connected == c.After.Identity.Connected {
		return
	}
	opType := "deviceConnected"
	if !c.After.Identity.Connected {
		opType = "deviceDisconnected"
	}
	body := jsontree.Object{{Name: "sequenceNumber", Value: r.numbers.connection(c.At)}}
	add(notification{ConnectionState, "deviceConnectionStateNotification", opType, plainJSON, zulu, body})
}

func digitalTwinChange(c hub.Change, add func(notification)) {
	if !lives(c) || c.ModuleID != "" { // modules have no digital twin
		return
	}
	if patch := digitalTwinPatch(c.Before, c.After); len(patch) > 0 {
		add(notification{DigitalTwinChanges, "digitalTwinChangeNotification", "updateTwin", jsonPatch, offsetZero, patch})
	}
}

// lives reports a change of a device that was there before and is still there, in the hub's own course of events.
func lives(c hub.Change) bool { return c.Before != nil && c.After != nil && c.Kind != hub.Rewound }

// authMethod is what the hub says of a device that signs with its key.
const authMethod = `{"scope":"device","type":"sas","issuer":"iothub","acceptingIpFilterRule":null}`

// telemetry has only the properties that the device sends: no correlation id of the hub's making.
func telemetry(t *hub.Twin, d DeviceMessage, at time.Time) event {
	id := t.Identity.DeviceID
	a := annotations(id, Telemetry, at)
	a["iothub-connection-auth-method"] = authMethod
	a["iothub-connection-auth-generation-id"] = t.Identity.GenerationID
	if d.Model != "" {
		a["dt-dataschema"] = d.Model
	}
	if d.Component != "" {
		a["dt-subject"] = d.Component
	}
	return event{id, Telemetry, eventhub.Message{Properties: d.Properties, Annotations: a, Application: d.Application, Body: d.Body}}
}

// numbers are those that rise with every event, even while the clock stands still or goes back.
type numbers struct {
	mu                           sync.Mutex
	lastCorrelation, lastInstant int64
	connections                  int64
}

// 100 ns intervals, which .NET and Windows count from different years.
const (
	ticksAtUnixEpoch    = 621355968000000000
	fileTimeAtUnixEpoch = 116444736000000000
)

// correlation returns 12 hex digits. In captured events they rise by about one in 100 ns.
func (n *numbers) correlation(at time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.lastCorrelation = max(n.lastCorrelation+1, at.UnixNano()/100+ticksAtUnixEpoch)
	return fmt.Sprintf("%012x", n.lastCorrelation&(1<<48-1))
}

// connection returns the sequence number of a connection state event, 64 hex digits to be compared as text. What the
// documented example is made of is a guess: a Windows file time in its middle and a counter at its end.
func (n *numbers) connection(at time.Time) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.connections++
	n.lastInstant = max(n.lastInstant, at.UnixNano()/100+fileTimeAtUnixEpoch)
	return fmt.Sprintf("%016X%016X%08X%024X", 0, n.lastInstant, 2, n.connections)
}
