package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// TwinAPI names the hub API that writes go through.
// +kubebuilder:validation:Enum=DigitalTwin;DeviceTwin
type TwinAPI string

const (
	// TwinAPIDigitalTwin writes JSON Patches to /digitaltwins.
	TwinAPIDigitalTwin TwinAPI = "DigitalTwin"
	// TwinAPIDeviceTwin writes merge patches to /twins.
	TwinAPIDeviceTwin TwinAPI = "DeviceTwin"
)

// SecretKeyReference names one key of a Secret of the object's own namespace.
type SecretKeyReference struct {
	// name of the Secret.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	Name string `json:"name"`

	// key in the Secret's data.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Key string `json:"key"`
}

// HubAuthentication says how the operator proves who it is. Exactly one method is set.
// +kubebuilder:validation:XValidation:rule="has(self.connectionStringSecretRef) != has(self.workloadIdentity)",message="authentication needs exactly one method: set connectionStringSecretRef or workloadIdentity"
type HubAuthentication struct {
	// connectionStringSecretRef names the Secret that holds a connection string of a shared access policy with ServiceConnect.
	// +optional
	ConnectionStringSecretRef *SecretKeyReference `json:"connectionStringSecretRef,omitempty"`

	// workloadIdentity is an identity of Microsoft Entra ID that trusts a ServiceAccount of this namespace.
	// +optional
	WorkloadIdentity *WorkloadIdentity `json:"workloadIdentity,omitempty"`
}

// WorkloadIdentity is an application or managed identity of Microsoft Entra ID with a federated credential for a ServiceAccount of the object's own namespace.
type WorkloadIdentity struct {
	// clientID of the application or managed identity.
	// +required
	// +kubebuilder:validation:MinLength=36
	// +kubebuilder:validation:MaxLength=36
	// +kubebuilder:validation:Pattern=`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`
	ClientID string `json:"clientID"`

	// tenantID of the directory that the identity is in, or one of its domains.
	// +required
	// +kubebuilder:validation:MinLength=3
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^([0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?(\.[a-zA-Z0-9]([a-zA-Z0-9-]*[a-zA-Z0-9])?)+)$`
	TenantID string `json:"tenantID"`

	// serviceAccountName of the ServiceAccount that the identity trusts, in this namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ServiceAccountName string `json:"serviceAccountName"`
}

// EventTransport is what AMQP travels over.
// +kubebuilder:validation:Enum=AMQP;WebSocket
type EventTransport string

const (
	// EventTransportAMQP is TLS on port 5671.
	EventTransportAMQP EventTransport = "AMQP"
	// EventTransportWebSocket is a WebSocket on port 443, for networks that let nothing else out.
	EventTransportWebSocket EventTransport = "WebSocket"
)

// EventHub names an event hub that a route of the hub sends to. It is read with the workload identity of the IoTHub.
type EventHub struct {
	// fullyQualifiedNamespace of the event hub, for example factory-events.servicebus.windows.net.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+$`
	FullyQualifiedNamespace string `json:"fullyQualifiedNamespace"`

	// name of the event hub in its namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`
	Name string `json:"name"`
}

// EventSource says where the hub's events are read: twin changes, lifecycle, connection state and telemetry, as routed.
// +kubebuilder:validation:XValidation:rule="has(self.connectionStringSecretRef) != has(self.eventHub)",message="events needs exactly one source: set connectionStringSecretRef or eventHub"
// +kubebuilder:validation:XValidation:rule="self.consumerGroup.lowerAscii() != '$default' || self.defaultGroup == 'Take'",message="reading takes the consumer group away from all other readers: for $Default say so with defaultGroup: Take, or make a consumer group for the operator",fieldPath=".consumerGroup"
type EventSource struct {
	// connectionStringSecretRef names the Secret that holds the connection string of the Event Hub-compatible endpoint, or
	// of the event hub that a route sends to, with EntityPath and the right to listen.
	// +optional
	ConnectionStringSecretRef *SecretKeyReference `json:"connectionStringSecretRef,omitempty"`

	// eventHub that a route sends to, read with the IoTHub's workloadIdentity.
	// +optional
	EventHub *EventHub `json:"eventHub,omitempty"`

	// consumerGroup that the operator reads alone: every other reader of it is shut out.
	// +optional
	// +default="pnp-operator"
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=50
	// +kubebuilder:validation:Pattern=`^(\$[Dd]efault|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)$`
	ConsumerGroup string `json:"consumerGroup,omitempty"`

	// defaultGroup says whether the operator may read the group $Default, which other readers may be
	// using: Refuse keeps it out, Take lets it in.
	// +optional
	// +default="Refuse"
	DefaultGroup DefaultGroupPolicy `json:"defaultGroup,omitempty"`

	// transport is AMQP, or WebSocket where only port 443 is open.
	// +optional
	// +default="AMQP"
	Transport EventTransport `json:"transport,omitempty"`

	// endpoint (host:port) to dial instead of the event hub's own host, for a private link or a simulator.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[^/@?#\s:]+:[0-9]{1,5}$`
	Endpoint string `json:"endpoint,omitempty"`

	// caBundle in PEM that the endpoint's certificate is checked against instead of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`
}

// DefaultGroupPolicy says whether the consumer group $Default may be taken.
// +kubebuilder:validation:Enum=Refuse;Take
type DefaultGroupPolicy string

const (
	// DefaultGroupRefuse leaves $Default alone.
	DefaultGroupRefuse DefaultGroupPolicy = "Refuse"
	// DefaultGroupTake reads $Default, to the exclusion of all other readers.
	DefaultGroupTake DefaultGroupPolicy = "Take"
)

// RequestBudget bounds what the operator asks of a hub, all IoTHubs of the same host taken together. Limits of a hub hold for everybody who uses it; the
// defaults are half of what one S1 unit grants, and a tenth of its messages.
type RequestBudget struct {
	// twinReadsPerSecond that the operator makes at most. An S1 hub grants 100.
	// +optional
	// +default=50
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	TwinReadsPerSecond int32 `json:"twinReadsPerSecond,omitempty"`

	// twinWritesPerSecond at most; a digital twin's patch counts once for each 4 KB. An S1 hub grants 50.
	// +optional
	// +default=25
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	TwinWritesPerSecond int32 `json:"twinWritesPerSecond,omitempty"`

	// queriesPerMinute at most: the sweep's, a hundred devices each. An S1 unit grants 20.
	// +optional
	// +default=10
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	QueriesPerMinute int32 `json:"queriesPerMinute,omitempty"`

	// commandsPerSecond at most; one counts once for each 4 KB of its payload. An S1 unit grants 160 KB a second, which is 40.
	// +optional
	// +default=20
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	CommandsPerSecond int32 `json:"commandsPerSecond,omitempty"`

	// dailyMessages of 4 KB that requests and their answers use up at most from 00:00 to 24:00 UTC. An S1 unit has 400,000. At 80 percent the sweep stops,
	// at 90 percent reads that follow events or writes, at 100 percent everything.
	// +optional
	// +default=40000
	// +kubebuilder:validation:Minimum=10
	// +kubebuilder:validation:Maximum=100000000000
	DailyMessages int64 `json:"dailyMessages,omitempty"`
}

// IoTHubSpec is the connection to one Azure IoT hub.
// +kubebuilder:validation:XValidation:rule="!has(self.events) || !has(self.events.eventHub) || has(self.authentication.workloadIdentity)",message="events.eventHub is read with the identity of authentication.workloadIdentity: set that, or use events.connectionStringSecretRef",fieldPath=".events.eventHub"
type IoTHubSpec struct {
	// hostName of the hub, for example factory.azure-devices.net. It cannot be changed: another hub is another object.
	// +required
	// +kubebuilder:validation:MinLength=5
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="hostName is immutable: create another IoTHub for another hub"
	// +kubebuilder:validation:XValidation:rule="self.matches('^[a-z0-9][a-z0-9-]{1,48}[a-z0-9]([.][a-z0-9]([a-z0-9-]*[a-z0-9])?)+$')",message="hostName must be the hub's full host name in lower case, like factory.azure-devices.net"
	HostName string `json:"hostName"`

	// authentication says how the operator proves who it is to the hub.
	// +required
	Authentication HubAuthentication `json:"authentication"`

	// endpoint to dial instead of https://hostName, for a private link or a simulator.
	// IoTHubs that differ in it, or in caBundle, count as IoTHubs of different hubs.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^https://[^/@?#\s]+$`
	Endpoint string `json:"endpoint,omitempty"`

	// caBundle in PEM that the endpoint's certificate is checked against instead of the system's.
	// +optional
	// +kubebuilder:validation:MaxLength=65536
	CABundle string `json:"caBundle,omitempty"`

	// events says where the hub announces device changes. Without it only the sweep, and reads after writes, notice them.
	// +optional
	Events *EventSource `json:"events,omitempty"`

	// twinAPI that writes go through, unless a PnPDevice overrides it. Unset means DigitalTwin with a connection string, and DeviceTwin with a
	// workload identity, which hubs are reported to refuse on digital twins.
	// +optional
	TwinAPI TwinAPI `json:"twinAPI,omitempty"`

	// sweepIntervalSeconds between two comparisons of all declared devices with the hub by query.
	// +optional
	// +default=3600
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=86400
	SweepIntervalSeconds int32 `json:"sweepIntervalSeconds,omitempty"`

	// requestBudget bounds what the operator asks of the hub. Of several IoTHubs of one hub, the lowest of each number holds.
	// +optional
	// +default={}
	RequestBudget RequestBudget `json:"requestBudget,omitempty"`

	// suspend stops every write to this hub. Reads and status go on.
	// +optional
	Suspend bool `json:"suspend,omitempty"`
}

// IoTHubDevices counts the PnPDevices that use the hub.
type IoTHubDevices struct {
	// total number of PnPDevices.
	// +optional
	Total int32 `json:"total"`
	// ready ones.
	// +optional
	Ready int32 `json:"ready"`
	// offline ones, as far as the hub said.
	// +optional
	Offline int32 `json:"offline"`
	// clearing ones: they are being deleted, and their properties removed.
	// +optional
	Clearing int32 `json:"clearing,omitempty"`
}

// HubRemovals is what the brake on mass removals has to remember.
type HubRemovals struct {
	// recent removals, which count together with the next ones.
	// +optional
	Recent *RecentRemovals `json:"recent,omitempty"`
	// halted removals: these are what a person confirms.
	// +optional
	Halted *RemovalSet `json:"halted,omitempty"`
	// confirmed removals, until all are done. No others are.
	// +optional
	Confirmed *RemovalSet `json:"confirmed,omitempty"`
}

// RemovalSet is removals that wait.
type RemovalSet struct {
	// properties to be removed.
	// +required
	// +kubebuilder:validation:Minimum=0
	Properties int32 `json:"properties"`
	// devices is the number of PnPDevices that own them.
	// +required
	// +kubebuilder:validation:Minimum=0
	Devices int32 `json:"devices"`
	// at this time they were halted, or confirmed.
	// +required
	At metav1.Time `json:"at"`
	// members are these PnPDevices at their generation: four bytes of a hash for each, sorted.
	// +optional
	// +kubebuilder:validation:MaxLength=87400
	Members []byte `json:"members,omitempty"`
}

// RecentRemovals are noted before they are sent, some ahead.
type RecentRemovals struct {
	// count of the properties that were removed lately or may be soon. It is never too small.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
	// until when they count.
	// +required
	Until metav1.Time `json:"until"`
	// members are PnPDevices, at their generation, all of whose removals are in count: four bytes
	// of a hash for each, sorted.
	// +optional
	// +kubebuilder:validation:MaxLength=1400
	Members []byte `json:"members,omitempty"`
}

// IoTHubStatus is what the operator knows of the connection.
type IoTHubStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// destination that accepted the credential last: the hub's host name, and beyond an @ the endpoint
	// and a digest of the caBundle, if there are any. IoTHubs with the same destination share a
	// request budget, and their PnPDevices compete for devices.
	// +optional
	// +kubebuilder:validation:MaxLength=420
	Destination string `json:"destination,omitempty"`

	// devices counts the PnPDevices of this hub, seconds after one of them changed.
	// +optional
	Devices *IoTHubDevices `json:"devices,omitempty"`

	// lastConfirmedRemovals echoes the annotation iot.pnp-operator.io/confirm-removals.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastConfirmedRemovals string `json:"lastConfirmedRemovals,omitempty"`

	// removals is what the brake on mass removals has to remember.
	// +optional
	Removals *HubRemovals `json:"removals,omitempty"`

	// conditions are Ready, EventStreamReady if there are events, and Reconciling, Stalled, Suspended, RemovalsHalted, Throttled or
	// SweepsIncomplete where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// IoTHub is the connection to an Azure IoT hub. PnPDevices of the same namespace use it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=iothubs,shortName=hub,categories=iot
// +kubebuilder:printcolumn:name="Host",type=string,JSONPath=`.spec.hostName`
// +kubebuilder:printcolumn:name="Devices",type=integer,JSONPath=`.status.devices.total`
// +kubebuilder:printcolumn:name="Devices Ready",type=integer,JSONPath=`.status.devices.ready`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Events",type=string,JSONPath=`.status.conditions[?(@.type=="EventStreamReady")].reason`
// +kubebuilder:printcolumn:name="Suspended",type=string,JSONPath=`.status.conditions[?(@.type=="Suspended")].status`
// +kubebuilder:printcolumn:name="Throttled",type=string,JSONPath=`.status.conditions[?(@.type=="Throttled")].reason`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Offline",type=integer,JSONPath=`.status.devices.offline`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type IoTHub struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the connection.
	// +required
	Spec IoTHubSpec `json:"spec"`
	// status is what the operator knows of it.
	// +optional
	// +default={"observedGeneration":-1}
	Status IoTHubStatus `json:"status,omitempty"`
}

// IoTHubList is a list of IoTHub.
// +kubebuilder:object:root=true
type IoTHubList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []IoTHub `json:"items"`
}

// GetConditions returns the conditions for the setters that work on any kind.
func (h *IoTHub) GetConditions() *[]metav1.Condition { return &h.Status.Conditions }

// WritesThrough is the API that twins of this hub are written through, unless a PnPDevice says otherwise.
func (h *IoTHub) WritesThrough() TwinAPI {
	switch {
	case h.Spec.TwinAPI != "":
		return h.Spec.TwinAPI
	case h.Spec.Authentication.WorkloadIdentity != nil:
		return TwinAPIDeviceTwin
	}
	return TwinAPIDigitalTwin
}
