package simulator

import (
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/calls"
	"github.com/pnp-operator/pnp-operator/simulator/devices"
	"github.com/pnp-operator/pnp-operator/simulator/entra"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
	"github.com/pnp-operator/pnp-operator/simulator/faults"
	"github.com/pnp-operator/pnp-operator/simulator/fleet"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/query"
	"github.com/pnp-operator/pnp-operator/simulator/rest"
	"github.com/pnp-operator/pnp-operator/simulator/routing"
	"github.com/pnp-operator/pnp-operator/simulator/throttle"
)

// The layers' types, so that most users need to import this package only.
type (
	// Hub is the state store.
	Hub = hub.Hub
	// Twin is one committed, immutable state of a device.
	Twin = hub.Twin
	// Change is one committed change, as Hub.Subscribe announces it.
	Change = hub.Change
	// HubError is a refusal by the hub.
	HubError = hub.Error
	// DeviceOption changes what Hub.CreateDevice creates.
	DeviceOption = hub.DeviceOption

	// Devices is the virtual devices.
	Devices = devices.Devices
	// Spec is a virtual device.
	Spec = devices.Spec
	// Behaviour is how a virtual device reacts.
	Behaviour = devices.Behaviour
	// CommandAnswer is how a virtual device answers a command.
	CommandAnswer = devices.CommandAnswer
	// RanCommand is a command that reached a virtual device.
	RanCommand = devices.Ran

	// Telemetry is what a virtual device sends of its own accord.
	Telemetry = devices.Telemetry

	// AMQP is the server of the event hub.
	AMQP = amqp.Server
	// EventHub is the event hub that events are appended to.
	EventHub = eventhub.Log
	// Router announces what happens in the hub as events.
	Router = routing.Router
	// Routes says which sources of events have a route to the endpoint.
	Routes = routing.Routes
	// Event is an event as Router.Recent shows it.
	Event = routing.Event
	// EventSource says where an event comes from.
	EventSource = routing.Source
	// EventFaults is the faults of events in force.
	EventFaults = routing.Faults
	// EventFault is one rule of how events go wrong.
	EventFault = routing.Fault
	// EventFaultKind is how an event goes wrong.
	EventFaultKind = routing.FaultKind
	// EventFaultState is a fault of events and how often it matched and happened.
	EventFaultState = routing.State

	// Faults is the faults in force.
	Faults = faults.Set
	// Fault is one rule of what goes wrong.
	Fault = faults.Fault
	// FaultKind is how a call goes wrong.
	FaultKind = faults.Kind

	// QueryDialect is what Microsoft does not say of the query language.
	QueryDialect = query.Dialect

	// Limits that the hub throttles by.
	Limits = throttle.Limits

	// CallLog is the call log.
	CallLog = calls.Log
	// Call is one REST call.
	Call = calls.Call
	// CallFilter selects calls.
	CallFilter = calls.Filter

	// EntraAuthority issues tokens of Microsoft Entra ID.
	EntraAuthority = entra.Authority
	// EntraApplication is an application or managed identity there.
	EntraApplication = entra.Application
	// Federated is whose tokens such an application trusts.
	Federated = entra.Federated
	// EntraFault is how the authority fails.
	EntraFault = entra.Fault

	// Configurations are those of the hub.
	Configurations = fleet.Configurations

	// Policies is the hub's shared access policies.
	Policies = auth.Policies
	// Policy is one of them.
	Policy = auth.Policy
)

// Models that virtual devices implement.
const (
	Thermostat            = devices.Thermostat
	TemperatureController = devices.TemperatureController
)

// Kinds of faults.
const (
	FaultStatus       = faults.Status
	FaultStatusAfter  = faults.StatusAfter
	FaultOfflineAfter = faults.OfflineAfter
	FaultLatency      = faults.Latency
	FaultHang         = faults.Hang
	FaultResetBefore  = faults.ResetBefore
	FaultResetAfter   = faults.ResetAfter
	FaultHalfBody     = faults.HalfBody
	FaultInvalidJSON  = faults.InvalidJSON
	FaultGhostRows    = faults.GhostRows
	FaultMissingRows  = faults.MissingRows
	FaultRepeatedRows = faults.RepeatedRows
	FaultRefusedToken = faults.RefusedToken
	FaultEndlessToken = faults.EndlessToken

	// Forever as Fault.Count lets a fault happen until it is removed.
	Forever = faults.Forever
)

// Kinds of faults of events.
const (
	EventLose          = routing.Lose
	EventDuplicate     = routing.Duplicate
	EventReorder       = routing.Reorder
	EventCoalesce      = routing.Coalesce
	EventDelay         = routing.Delay
	EventPoison        = routing.Poison
	EventUnknownSchema = routing.UnknownSchema
)

// Sources of events.
const (
	SourceTelemetry          = routing.Telemetry
	SourceTwinChanges        = routing.TwinChanges
	SourceDigitalTwinChanges = routing.DigitalTwinChanges
	SourceLifecycle          = routing.Lifecycle
	SourceConnectionState    = routing.ConnectionState
)

// Faults of the authority of Microsoft Entra ID.
const (
	EntraNone      = entra.None
	EntraDown      = entra.Down
	EntraHTML      = entra.HTML
	EntraHang      = entra.Hang
	EntraRedirect  = entra.Redirect
	EntraElsewhere = entra.Elsewhere
)

// DefaultRoutes are those that the simulator starts with: all but digital twin changes.
func DefaultRoutes() Routes { return routing.DefaultRoutes() }

// FallbackRoute is what a new hub in Azure has: telemetry and nothing else.
func FallbackRoute() Routes { return routing.FallbackRoute() }

// Error envelopes, for Fault.Envelope.
const (
	EnvelopeE1 = rest.E1
	EnvelopeE2 = rest.E2
	EnvelopeE3 = rest.E3
)

// Names of operations, for faults and the call log.
const (
	OpListDevices      = rest.ListDevices
	OpGetDevice        = rest.GetDevice
	OpPutDevice        = rest.PutDevice
	OpDeleteDevice     = rest.DeleteDevice
	OpBulkDevices      = rest.BulkDevices
	OpGetTwin          = rest.GetTwin
	OpPatchTwin        = rest.PatchTwin
	OpReplaceTwin      = rest.ReplaceTwin
	OpGetDigitalTwin   = rest.GetDigitalTwin
	OpInvokeMethod     = rest.InvokeMethod
	OpInvokeCommand    = rest.InvokeCommand
	OpPatchDigitalTwin = rest.PatchDigitalTwin
	OpQuery            = rest.Query
	OpUnknown          = rest.Unknown
)

// Acknowledge applies every value and answers 200.
func Acknowledge() Behaviour { return devices.Acknowledge() }

// Delay answers 202 at once and 200 after d.
func Delay(d time.Duration) Behaviour { return devices.Delay(d) }

// Reject keeps the old value and answers with an error code.
func Reject(code int, description string) Behaviour { return devices.Reject(code, description) }

// Ignore never answers.
func Ignore() Behaviour { return devices.Ignore() }

// Adjust applies value, which must be JSON, instead of what was asked for.
func Adjust(value string) Behaviour { return devices.Adjust(value) }

// PlainValue reports values without an acknowledgement envelope.
func PlainValue() Behaviour { return devices.PlainValue() }

// Float32 holds numbers in single precision.
func Float32() Behaviour { return devices.Float32() }

// S1 are the limits of a hub with so many units of S1.
func S1(units int) Limits { return throttle.S1(units) }

// Throttled is a 429 as the hub sends it: ThrottlingBacklogTimeout, no Retry-After, connection closed.
func Throttled() Fault { return faults.Throttled() }

// ServerError is a 500.
func ServerError() Fault { return faults.ServerError() }

// Unavailable is a 503.
func Unavailable() Fault { return faults.Unavailable() }

// GatewayTimeout is a 504 with code 504101 in the E3 envelope.
func GatewayTimeout() Fault { return faults.GatewayTimeout() }

// Slow delays a call.
func Slow(d time.Duration) Fault { return faults.Slow(d) }

// Broken is a fault of a kind that needs no further fields, such as FaultResetAfter.
func Broken(k FaultKind) Fault { return faults.Broken(k) }

// SignSAS makes a shared access signature; an empty policy makes a device's.
func SignSAS(resource, policy, key string, expiry time.Time) (string, error) {
	return auth.Sign(resource, policy, key, expiry)
}

// WithTags sets tags after creation, a JSON object.
func WithTags(patch string) DeviceOption { return hub.WithTags(patch) }

// WithStatus creates a device enabled or disabled.
func WithStatus(enabled bool, reason string) DeviceOption { return hub.WithStatus(enabled, reason) }

// WithDesired writes desired properties after creation.
func WithDesired(patch string) DeviceOption { return hub.WithDesired(patch) }

// WithReported writes reported properties after creation.
func WithReported(patch string) DeviceOption { return hub.WithReported(patch) }
