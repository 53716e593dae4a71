package eventstream

import (
	"fmt"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Message is one message of an Event Hub, whatever client read it. Nothing in it is trusted: maps may hold values of any
// type, and the body any bytes.
type Message struct {
	Partition      string
	SequenceNumber int64
	Offset         string
	EnqueuedTime   time.Time
	CorrelationID  string
	ContentType    string
	// Annotations are the message annotations. The hub sets them, a device cannot.
	Annotations map[string]any
	// Properties are the application properties. Of telemetry, the device sets them.
	Properties map[string]any
	Body       []byte
}

// Kind is what a message tells.
type Kind string

const (
	// TwinChanged means that some keys of a twin were written. Event.Twin has them.
	TwinChanged Kind = "TwinChanged"
	// TwinReplaced means that tags and desired properties were replaced as a whole. What they are has to be read.
	TwinReplaced Kind = "TwinReplaced"
	// DigitalTwinChanged is the same change as a TwinChanged, seen as a digital twin and without any version.
	DigitalTwinChanged Kind = "DigitalTwinChanged"
	// DeviceCreated means that an identity was created, with a fresh twin.
	DeviceCreated Kind = "DeviceCreated"
	// DeviceDeleted means that an identity was deleted, and its twin with it.
	DeviceDeleted Kind = "DeviceDeleted"
	// Connected means that a device came online.
	Connected Kind = "Connected"
	// Disconnected means that a device went offline.
	Disconnected Kind = "Disconnected"
	// Telemetry means that a device sent a message.
	Telemetry Kind = "Telemetry"
	// Module is something about a module identity, which this operator leaves alone.
	Module Kind = "Module"
	// Unknown is a source, schema or operation that this version does not know.
	Unknown Kind = "Unknown"
)

// Event is a decoded message.
type Event struct {
	Kind Kind
	// DeviceID is set unless the Kind is Unknown or Module, where it may be empty.
	DeviceID string
	// ModuleID is set for Module, and only there.
	ModuleID string

	Partition      string
	SequenceNumber int64
	// EnqueuedTime is when the message reached the Event Hub.
	EnqueuedTime time.Time
	// OperationTime is when the hub did what the event tells, or had the telemetry, by the hub's
	// own clock; zero where it does not say.
	OperationTime time.Time
	// CorrelationID is common to the events of one change, "" if the hub does not say.
	CorrelationID string

	// Twin is set for TwinChanged.
	Twin *twin.Notification
	// Model is set for DigitalTwinChanged if the device announced a model: its DTMI.
	Model string
	// ConnectionSequence is set for Connected and Disconnected. It is a hexadecimal number of fixed width: of two events of
	// one device, the one whose sequence is higher as a string is the later.
	ConnectionSequence string
	// Telemetry is set for Telemetry.
	Telemetry *TelemetryMessage
}

// PoisonError is a message of a known kind that cannot be read. It never repeats the body.
type PoisonError struct {
	Kind Kind
	// DeviceID is "" if that is what is missing.
	DeviceID       string
	Partition      string
	SequenceNumber int64
	Err            error
}

func (e *PoisonError) Error() string {
	return fmt.Sprintf("%s event of device %q (partition %q, sequence number %d): %v", e.Kind, cut(e.DeviceID), cut(e.Partition), e.SequenceNumber, e.Err)
}

// Unwrap is the reason.
func (e *PoisonError) Unwrap() error { return e.Err }
