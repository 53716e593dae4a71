package eventstream

import (
	"errors"
	"time"
	"unicode/utf8"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Annotations that the hub sets on every message, and properties that it sets on its own events: Microsoft's "Non-telemetry
// event schemas" and "Read device-to-cloud messages from the built-in endpoint".
const (
	sourceAnnotation  = "iothub-message-source"
	deviceAnnotation  = "iothub-connection-device-id"
	moduleAnnotation  = "iothub-connection-module-id"
	subjectAnnotation = "dt-subject"
	modelAnnotation   = "dt-dataschema"
	takenAnnotation   = "iothub-enqueuedtime" // when the hub took a message of a device
	schemaProperty    = "iothub-message-schema"
	operationProperty = "opType"
	deviceProperty    = "deviceId"
	moduleProperty    = "moduleId"
	timeProperty      = "operationTimestamp"

	telemetrySource = "Telemetry"
)

// Longest that is believed to be an id, and longest that is believed to be a connection's sequence number: they are kept in
// memory. The hub's own limit on ids is 128 characters of ASCII.
const (
	maxID       = 128
	maxSequence = 256
)

// class is what distinguishes one of the hub's own events from another.
type class struct{ source, schema, operation string }

// events are the hub's own events that this package knows, and what has to be read of each one's body.
var events = map[class]struct {
	kind Kind
	read func(*Event, []byte) error
}{
	{"twinChangeEvents", "twinChangeNotification", "updateTwin"}:                               {TwinChanged, (*Event).readTwin},
	{"twinChangeEvents", "twinChangeNotification", "replaceTwin"}:                              {TwinReplaced, nil},
	{"digitalTwinChangeEvents", "digitalTwinChangeNotification", "updateTwin"}:                 {DigitalTwinChanged, (*Event).readModel},
	{"deviceLifecycleEvents", "deviceLifecycleNotification", "createDeviceIdentity"}:           {DeviceCreated, nil},
	{"deviceLifecycleEvents", "deviceLifecycleNotification", "deleteDeviceIdentity"}:           {DeviceDeleted, nil},
	{"deviceConnectionStateEvents", "deviceConnectionStateNotification", "deviceConnected"}:    {Connected, (*Event).readConnection},
	{"deviceConnectionStateEvents", "deviceConnectionStateNotification", "deviceDisconnected"}: {Disconnected, (*Event).readConnection},
}

var (
	errNoDevice     = errors.New("no device id of 1 to 128 bytes")
	errNoConnection = errors.New("no sequence number of the connection")
	errNoPatch      = errors.New("not a JSON Patch")
)

// Decode reads a message. What it does not know is of Kind Unknown, what it knows and cannot read is a *PoisonError. The
// source decides before the body is touched: telemetry shares the endpoint, and there may be a thousand times more of it.
func Decode(m Message) (Event, error) {
	e := Event{
		Kind: Unknown, DeviceID: text(m.Annotations, deviceAnnotation), ModuleID: text(m.Annotations, moduleAnnotation),
		Partition: m.Partition, SequenceNumber: m.SequenceNumber, EnqueuedTime: m.EnqueuedTime, CorrelationID: m.CorrelationID,
	}
	source := text(m.Annotations, sourceAnnotation)
	if source == telemetrySource {
		return e.decodeTelemetry(m)
	}
	return e.decodeOwn(source, m)
}

func (e Event) decodeTelemetry(m Message) (Event, error) {
	e.Kind = Telemetry
	if e.ModuleID != "" {
		e.Kind = Module
		return e, nil
	}
	e.OperationTime, _ = m.Annotations[takenAnnotation].(time.Time)
	e.Telemetry = &TelemetryMessage{
		Component: text(m.Annotations, subjectAnnotation), Model: text(m.Annotations, modelAnnotation), ContentType: m.ContentType, Body: m.Body,
	}
	return e.checked(e.checkDevice())
}

// decodeOwn decodes an event of the hub itself.
func (e Event) decodeOwn(source string, m Message) (Event, error) {
	if e.DeviceID == "" {
		e.DeviceID = text(m.Properties, deviceProperty)
	}
	if e.ModuleID == "" {
		e.ModuleID = text(m.Properties, moduleProperty)
	}
	if e.ModuleID != "" {
		e.Kind = Module
		return e, nil
	}
	event, known := events[class{source, text(m.Properties, schemaProperty), text(m.Properties, operationProperty)}]
	if !known {
		return e, nil
	}
	e.Kind, e.OperationTime = event.kind, instant(text(m.Properties, timeProperty))
	if err := e.checkDevice(); err != nil || event.read == nil {
		return e.checked(err)
	}
	return e.checked(event.read(&e, m.Body))
}

func (e *Event) checkDevice() error {
	if e.DeviceID == "" || len(e.DeviceID) > maxID {
		return errNoDevice
	}
	return nil
}

// checked is the event, or the PoisonError that it turned out to be.
func (e Event) checked(err error) (Event, error) {
	if err != nil {
		return Event{}, &PoisonError{Kind: e.Kind, DeviceID: e.DeviceID, Partition: e.Partition, SequenceNumber: e.SequenceNumber, Err: err}
	}
	return e, nil
}

func (e *Event) readTwin(body []byte) (err error) {
	e.Twin, err = twin.ParseNotification(body)
	return err
}

// readModel looks for the device's model in a JSON Patch of its digital twin. The last one that is written counts.
func (e *Event) readModel(body []byte) error {
	v, err := twin.DecodeValue(body)
	if err != nil {
		return err
	}
	ops, ok := v.([]any)
	if !ok {
		return errNoPatch
	}
	for _, op := range ops {
		fields, _ := op.(map[string]any)
		if model := modelIn(fields["path"], fields["value"]); model != "" {
			e.Model = model
		}
	}
	return nil
}

// modelIn is the model in the value of an operation, which may write more than the model.
func modelIn(path, value any) string {
	fields, _ := value.(map[string]any)
	switch path {
	case "/$metadata/$model":
		model, _ := value.(string)
		return model
	case "/$metadata":
		return text(fields, "$model")
	case "":
		metadata, _ := fields["$metadata"].(map[string]any)
		return text(metadata, "$model")
	default:
		return ""
	}
}

func (e *Event) readConnection(body []byte) error {
	v, err := twin.DecodeValue(body)
	if err != nil {
		return err
	}
	fields, _ := v.(map[string]any)
	e.ConnectionSequence = text(fields, "sequenceNumber")
	if e.ConnectionSequence == "" || len(e.ConnectionSequence) > maxSequence {
		return errNoConnection
	}
	return nil
}

// text is the string under key, "" for anything else.
func text(fields map[string]any, key string) string {
	s, _ := fields[key].(string)
	return s
}

// instant reads the hub's times, which carry 7 fractional digits and end in "Z" or "+00:00". It is zero for anything else.
func instant(s string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, s)
	if t = t.UTC(); err != nil || t.Year() < 1 || t.Year() > 9999 { // a zone may take it out of what RFC 3339 can tell
		return time.Time{}
	}
	return t
}

// cut keeps what an error repeats of a message short.
func cut(s string) string {
	if utf8.RuneCountInString(s) <= maxID {
		return s
	}
	return string([]rune(s)[:maxID])
}
