package routing

// Source says where an event comes from: the annotation iothub-message-source.
type Source string

// Sources, as "IoT Hub message routing query syntax" and "Non-telemetry event schemas" spell them.
const (
	Telemetry          Source = "Telemetry"
	TwinChanges        Source = "twinChangeEvents"
	DigitalTwinChanges Source = "digitalTwinChangeEvents"
	Lifecycle          Source = "deviceLifecycleEvents"
	ConnectionState    Source = "deviceConnectionStateEvents"
)

// Routes says which sources have a route to the endpoint.
type Routes struct {
	Telemetry          bool `json:"telemetry"`
	TwinChanges        bool `json:"twinChanges"`
	DigitalTwinChanges bool `json:"digitalTwinChanges"`
	Lifecycle          bool `json:"lifecycle"`
	ConnectionState    bool `json:"connectionState"`
}

// DefaultRoutes are those that the simulator starts with: all but digital twin changes, which only repeat the twin changes.
func DefaultRoutes() Routes {
	return Routes{Telemetry: true, TwinChanges: true, Lifecycle: true, ConnectionState: true}
}

// FallbackRoute is what a new hub in Azure has: telemetry and nothing else.
func FallbackRoute() Routes { return Routes{Telemetry: true} }
