package v1alpha1

import (
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// HubReference names an IoTHub of the object's own namespace.
type HubReference struct {
	// name of the IoTHub.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[ -~]+$`
	Name string `json:"name"`
}

// Management says whether the operator writes.
// +kubebuilder:validation:Enum=Enforce;Observe
type Management string

const (
	// ManagementEnforce writes declared values and corrects drift.
	ManagementEnforce Management = "Enforce"
	// ManagementObserve reports drift and never writes.
	ManagementObserve Management = "Observe"
)

// DeletionPolicy says what happens to the twin when the object is deleted.
// +kubebuilder:validation:Enum=Retain;Clear
type DeletionPolicy string

const (
	// DeletionRetain leaves the twin as it is.
	DeletionRetain DeletionPolicy = "Retain"
	// DeletionClear removes the properties that the object owns.
	DeletionClear DeletionPolicy = "Clear"
)

// ReadyWhen says what a declared value needs for the object to be Ready.
// +kubebuilder:validation:Enum=Acknowledged;Reachable;Applied
type ReadyWhen string

const (
	// ReadyWhenAcknowledged waits for the device's acknowledgement.
	ReadyWhenAcknowledged ReadyWhen = "Acknowledged"
	// ReadyWhenReachable waits for the acknowledgement of a device that is connected, and is content
	// when the hub holds the value for one that is not.
	ReadyWhenReachable ReadyWhen = "Reachable"
	// ReadyWhenApplied is content when the hub holds the value.
	ReadyWhenApplied ReadyWhen = "Applied"
)

// ReportedScope says which reported properties are mirrored into status.
// +kubebuilder:validation:Enum=Declared;All;None
type ReportedScope string

const (
	// ReportedDeclared mirrors the reported values of declared properties.
	ReportedDeclared ReportedScope = "Declared"
	// ReportedAll mirrors every reported property.
	ReportedAll ReportedScope = "All"
	// ReportedNone mirrors no reported value.
	ReportedNone ReportedScope = "None"
)

// PropertyState says how far a property has come.
// +kubebuilder:validation:Enum=Pending;Applied;InProgress;Acknowledged;Adjusted;Rejected;Drifted;Reported
type PropertyState string

// ComponentDeclaration declares desired properties of one component.
type ComponentDeclaration struct {
	// name of the component in the device's model.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z]([A-Za-z0-9_]*[A-Za-z0-9])?$`
	Name string `json:"name"`

	// properties declares values by property name. Each is any JSON value but null.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +structType=atomic
	Properties *apiextensionsv1.JSON `json:"properties,omitempty"`
}

// TelemetrySelection names numbers of a component's telemetry.
type TelemetrySelection struct {
	// component that sends them, the default component if unset.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	Component string `json:"component,omitempty"`

	// fields at the top level of the message whose last numeric value is shown.
	// +required
	// +listType=set
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	Fields []string `json:"fields"`
}

// PnPDeviceSpec declares what the digital twin of one device shall hold.
type PnPDeviceSpec struct {
	// hubRef names the IoTHub, in this namespace. Another hub means that the device is adopted there anew.
	// +required
	HubRef HubReference `json:"hubRef"`

	// deviceID at the hub, metadata.name if unset. It cannot be changed.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9\-:.+%_#*?!(),=@;$']+$`
	DeviceID string `json:"deviceID,omitempty"`

	// modelID that the device has to announce. With another one nothing is written.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*(?:;[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,5})?)?$`
	ModelID string `json:"modelID,omitempty"`

	// properties of the default component, by name. Each is any JSON value but null.
	// +optional
	// +kubebuilder:validation:Type=object
	// +kubebuilder:pruning:PreserveUnknownFields
	// +structType=atomic
	Properties *apiextensionsv1.JSON `json:"properties,omitempty"`

	// components with declared properties.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=300
	Components []ComponentDeclaration `json:"components,omitempty"`

	// twinAPI that writes go through. Unset means what the IoTHub says.
	// +optional
	TwinAPI TwinAPI `json:"twinAPI,omitempty"`

	// management says whether the operator writes: Enforce writes the declared values, Observe only
	// reports where the hub differs.
	// +optional
	// +default="Enforce"
	Management Management `json:"management,omitempty"`

	// deletionPolicy says what happens to the twin when this object is deleted: Retain leaves it as it
	// is, Clear removes the properties that the object owns.
	// +optional
	// +default="Retain"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// readyWhen says what the declared values need: Acknowledged waits for the device, Applied is
	// content when the hub holds the values, and Reachable when it holds them for a device that is offline.
	// +optional
	// +default="Acknowledged"
	ReadyWhen ReadyWhen `json:"readyWhen,omitempty"`

	// acknowledgeWithinSeconds is how long a connected device may stay silent before the object is Stalled.
	// +optional
	// +default=600
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	AcknowledgeWithinSeconds int32 `json:"acknowledgeWithinSeconds,omitempty"`

	// suspend stops reading from and writing to the hub for this object.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// reported says which reported properties are mirrored into status.
	// +optional
	// +default="Declared"
	Reported ReportedScope `json:"reported,omitempty"`

	// telemetry whose last values the operator exposes as the metric pnp_device_telemetry, one item for each component. Nothing of it is put into status.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:XValidation:rule="self.all(a, self.exists_one(b, (has(a.component) ? a.component : '') == (has(b.component) ? b.component : '')))",message="two items have the same component, or none, which is the default component: put their fields into one item"
	Telemetry []TelemetrySelection `json:"telemetry,omitempty"`
}

// TwinReference identifies the twin that the status is about.
type TwinReference struct {
	// hub that the twin was read at: its host name, and beyond an @ the endpoint and a digest of the
	// caBundle, if the IoTHub has any.
	// +optional
	// +kubebuilder:validation:MaxLength=420
	Hub string `json:"hub,omitempty"`
	// deviceID at the hub.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	DeviceID string `json:"deviceID,omitempty"`
	// deviceEtag of the device identity. It moves with every write to the identity and when the device is created again.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	DeviceEtag string `json:"deviceEtag,omitempty"`
	// etag of the twin, which guards every write. Empty means that the twin has not been read yet.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Etag string `json:"etag,omitempty"`
	// version of the twin when this status was written.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Version int64 `json:"version,omitempty"`
	// desiredVersion is the $version of the desired section.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DesiredVersion int64 `json:"desiredVersion,omitempty"`
	// desiredUpdated is the hub's time of the desired section's last write, if it is known. It tells the twin from an earlier
	// one of the same device id, whose versions may be the same.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	DesiredUpdated string `json:"desiredUpdated,omitempty"`
	// unconfirmed is true if the hub may hold something else than this status says: its last call failed, or the object was at
	// another hub meanwhile. The twin is read before anything of this is believed.
	// +optional
	Unconfirmed bool `json:"unconfirmed,omitempty"`
}

// PropertyStatus is what is known of one property.
type PropertyStatus struct {
	// name of the property.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name"`

	// state says how far the property has come.
	// +required
	State PropertyState `json:"state"`

	// owned is true if the hub holds a value of this object: one that it wrote, or that it found equal to its declaration. It
	// is removed once it leaves the declaration. With state Drifted and without heldVersion another writer changed such a
	// value; that one stays.
	// +optional
	Owned bool `json:"owned,omitempty"`

	// sent is a value that is about to be written or may have been. It is present for the first write of a property, until
	// its outcome is known.
	// +optional
	Sent *SentValue `json:"sent,omitempty"`

	// desired value: what the hub holds. Absent if the hub holds none. {"$json": text} is a value that cannot be stored or shown
	// as it is, as JSON text; {"$omitted": reason, "$digest": text} one that there is no room for.
	// +optional
	Desired *apiextensionsv1.JSON `json:"desired,omitempty"`

	// reported value, without the acknowledgement around it, in the forms of desired.
	// +optional
	Reported *apiextensionsv1.JSON `json:"reported,omitempty"`

	// desiredVersion is the $version of the desired section that set this value.
	// +optional
	// +kubebuilder:validation:Minimum=0
	DesiredVersion int64 `json:"desiredVersion,omitempty"`

	// heldVersion is the $version that the hub shows for the value, if that is a later one than desiredVersion: another writer
	// wrote the same value again, which asks the device for no other answer. It is also present where the object owns a value
	// that differs from its declaration and is left alone.
	// +optional
	// +kubebuilder:validation:Minimum=0
	HeldVersion int64 `json:"heldVersion,omitempty"`

	// ackVersion is the desired $version that the device acknowledged.
	// +optional
	AckVersion int64 `json:"ackVersion,omitempty"`

	// ackCode is the device's status code, in the manner of HTTP.
	// +optional
	AckCode int64 `json:"ackCode,omitempty"`

	// ackDescription is the device's own text on one line, cut at 512 bytes.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	AckDescription string `json:"ackDescription,omitempty"`

	// correctedAt lists up to three times at which a foreign change of this property was put back.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=3
	CorrectedAt []metav1.Time `json:"correctedAt,omitempty"`

	// lastTransitionTime is when state changed last.
	// +optional
	LastTransitionTime metav1.Time `json:"lastTransitionTime,omitempty"`
}

// SentValue is a value that a write carries, or may have carried.
type SentValue struct {
	// value that is sent, in the forms of desired.
	// +required
	Value apiextensionsv1.JSON `json:"value"`
	// version is the $version of the desired section that the write makes if the hub takes it. Only a value of exactly this
	// version is the object's.
	// +required
	// +kubebuilder:validation:Minimum=1
	Version int64 `json:"version"`
}

// ComponentStatus is what is known of one component.
type ComponentStatus struct {
	// name of the component.
	// +required
	// +kubebuilder:validation:MaxLength=1024
	Name string `json:"name"`

	// exists is true if the twin holds the component, in desired or in reported.
	// +optional
	Exists bool `json:"exists,omitempty"`

	// unmarked is true if desired holds properties of the component without its marker, by which a device tells it from a
	// property: that is not what is declared.
	// +optional
	Unmarked bool `json:"unmarked,omitempty"`

	// properties of the component.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Properties []PropertyStatus `json:"properties,omitempty"`
}

// PnPDeviceStatus is what the hub and the device said. It is also the operator's durable cache.
type PnPDeviceStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// lastHandledReconcileAt echoes the annotation iot.pnp-operator.io/reconcile-requested-at.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// lastHandledResendAt echoes the annotation iot.pnp-operator.io/resend-requested-at.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastHandledResendAt string `json:"lastHandledResendAt,omitempty"`

	// modelID that the device announced.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	ModelID string `json:"modelID,omitempty"`

	// checkedGeneration is the last generation that was found to conform to a DeviceModel, or to need none.
	// +optional
	// +kubebuilder:validation:Minimum=0
	CheckedGeneration int64 `json:"checkedGeneration,omitempty"`

	// checkedModel is what it was checked against: the modelID, with UID and generation of its
	// DeviceModel if there was one.
	// +optional
	// +kubebuilder:validation:MaxLength=2176
	CheckedModel string `json:"checkedModel,omitempty"`

	// connectionState as the hub said last: Connected or Disconnected. Absent if it does not know the device.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ConnectionState string `json:"connectionState,omitempty"`

	// connectionStateSince is when the device connected or disconnected, if an event of the hub told.
	// +optional
	ConnectionStateSince *metav1.Time `json:"connectionStateSince,omitempty"`

	// connectionStateSeenTime is when the operator first saw this connectionState, that the device is disabled no more, or that
	// the object is suspended no more.
	// +optional
	ConnectionStateSeenTime *metav1.Time `json:"connectionStateSeenTime,omitempty"`

	// deviceStatus is Disabled if the hub lets the device in no more. Absent otherwise.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	DeviceStatus string `json:"deviceStatus,omitempty"`

	// deviceStatusReason is what was given at the hub as the reason, on one line.
	// +optional
	// +kubebuilder:validation:MaxLength=512
	DeviceStatusReason string `json:"deviceStatusReason,omitempty"`

	// deviceStatusSince is when the device was disabled, as the hub says.
	// +optional
	DeviceStatusSince *metav1.Time `json:"deviceStatusSince,omitempty"`

	// twin that this status is about.
	// +optional
	Twin *TwinReference `json:"twin,omitempty"`

	// mirrored is which reported values properties and components show: those that spec.reported asked for when the twin was
	// last read. Absent: Declared.
	// +optional
	// +kubebuilder:validation:Enum=None;All
	Mirrored ReportedScope `json:"mirrored,omitempty"`

	// declared is the number of declared properties.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Declared int32 `json:"declared"`

	// acknowledged is the number of declared properties that the device acknowledged.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Acknowledged int32 `json:"acknowledged"`

	// summary is acknowledged/declared, for the table.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Summary string `json:"summary,omitempty"`

	// properties of the default component.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Properties []PropertyStatus `json:"properties,omitempty"`

	// components with declared, owned or mirrored properties.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=4096
	Components []ComponentStatus `json:"components,omitempty"`

	// notShown is the number of reported properties that reported: All asks for and that are not in this status: there is no
	// room for them, or their names cannot be shown.
	// +optional
	// +kubebuilder:validation:Minimum=0
	NotShown int32 `json:"notShown,omitempty"`

	// lastWarning is the reason of the last Warning about Ready among the object's Events, until one says that it is Ready.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	LastWarning string `json:"lastWarning,omitempty"`

	// conditions are Ready, Synced, Acknowledged, and Reconciling, Stalled or Suspended where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// PnPDevice declares what the digital twin of one IoT Plug and Play device shall hold.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=pnpdevices,shortName=pnp,categories=iot
// +kubebuilder:printcolumn:name="Hub",type=string,JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Device",type=string,JSONPath=`.*['deviceID','name']`
// +kubebuilder:printcolumn:name="Connected",type=string,JSONPath=`.status['deviceStatus','connectionState']`
// +kubebuilder:printcolumn:name="Acked",type=string,JSONPath=`.status.summary`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.modelID`,priority=1
// +kubebuilder:printcolumn:name="Etag",type=string,JSONPath=`.status.twin.etag`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="has(self.spec.deviceID) || size(self.metadata.name) <= 128",message="metadata.name is longer than a device id can be (128): set deviceID",fieldPath=".spec.deviceID"
// +kubebuilder:validation:XValidation:rule="(has(self.spec.deviceID) ? self.spec.deviceID : self.metadata.name) == (has(oldSelf.spec.deviceID) ? oldSelf.spec.deviceID : oldSelf.metadata.name)",message="deviceID is immutable: create another PnPDevice for another device",fieldPath=".spec.deviceID"
type PnPDevice struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the declaration.
	// +required
	Spec PnPDeviceSpec `json:"spec"`
	// status is what the hub and the device said.
	// +optional
	// +default={"observedGeneration":-1}
	Status PnPDeviceStatus `json:"status,omitempty"`
}

// PnPDeviceList is a list of PnPDevice. Its items are pointers: there may be ten thousand of them, and a list from a cache need not copy them.
// +kubebuilder:object:root=true
type PnPDeviceList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []*PnPDevice `json:"items"`
}

// HostName returns the host name of the hub that the twin was read at, by whatever endpoint.
func (t *TwinReference) HostName() string {
	name, _, _ := strings.Cut(t.Hub, "@")
	return name
}

// DeviceID is the device's id at the hub: spec.deviceID, or the object's name.
func (d *PnPDevice) DeviceID() string {
	if d.Spec.DeviceID != "" {
		return d.Spec.DeviceID
	}
	return d.Name
}

// ModelID is the model that the device is checked against: the declared one, else the announced one.
func (d *PnPDevice) ModelID() string {
	if d.Spec.ModelID != "" {
		return d.Spec.ModelID
	}
	return d.Status.ModelID
}

// GetConditions returns the conditions for the setters that work on any kind.
func (d *PnPDevice) GetConditions() *[]metav1.Condition { return &d.Status.Conditions }
