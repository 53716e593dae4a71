package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DeviceReference names a PnPDevice of the same namespace.
type DeviceReference struct {
	// name of the PnPDevice.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[ -~]+$`
	Name string `json:"name"`
}

// UnknownOutcomePolicy says what follows when nobody can tell whether the device ran a command.
// +kubebuilder:validation:Enum=Fail;Retry
type UnknownOutcomePolicy string

const (
	// UnknownFail ends the command with the outcome Unknown.
	UnknownFail UnknownOutcomePolicy = "Fail"
	// UnknownRetry sends the command again: only for those that may run twice.
	UnknownRetry UnknownOutcomePolicy = "Retry"
)

// CommandOutcome is how a command ended.
// +kubebuilder:validation:Enum=Succeeded;Failed;Unknown;Expired
type CommandOutcome string

const (
	// CommandSucceeded means that the device answered with a code of 200 to 299.
	CommandSucceeded CommandOutcome = "Succeeded"
	// CommandFailed means that the device answered with another code, or that the hub refused the command for good.
	CommandFailed CommandOutcome = "Failed"
	// CommandUnknown means that the command was sent and nobody can tell whether the device ran it.
	CommandUnknown CommandOutcome = "Unknown"
	// CommandExpired means that notAfter passed before the command was sent.
	CommandExpired CommandOutcome = "Expired"
)

// CommandRoute is the API that a command went through.
// +kubebuilder:validation:Enum=DigitalTwin;DirectMethod
type CommandRoute string

const (
	// RouteDigitalTwin is the command endpoint of the digital twin.
	RouteDigitalTwin CommandRoute = "DigitalTwin"
	// RouteDirectMethod is the direct method of the same name, component*command in a component.
	RouteDirectMethod CommandRoute = "DirectMethod"
)

// DeviceCommandSpec is one invocation of one command. It cannot be changed.
// +kubebuilder:validation:XValidation:rule="self.connectTimeoutSeconds <= self.responseTimeoutSeconds",message="connectTimeoutSeconds must not be above responseTimeoutSeconds, which is the time for the whole call",fieldPath=".connectTimeoutSeconds"
type DeviceCommandSpec struct {
	// deviceRef names the PnPDevice, in this namespace, whose device runs the command.
	// +required
	DeviceRef DeviceReference `json:"deviceRef"`

	// component that has the command, the default component if unset.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=64
	// +kubebuilder:validation:Pattern=`^[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?$`
	Component string `json:"component,omitempty"`

	// command to invoke.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	// +kubebuilder:validation:Pattern=`^[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?$`
	Command string `json:"command"`

	// payload of the request, any JSON value of up to 128 KB; null if unset.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	Payload *apiextensionsv1.JSON `json:"payload,omitempty"`

	// notAfter is when the command must not be sent any more: it is Expired then. It is absolute, so that a tool that creates the object
	// again, or a restored backup, does not run it again later.
	// +required
	NotAfter metav1.Time `json:"notAfter"`

	// connectTimeoutSeconds is how long the hub waits for an offline device within one attempt.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=300
	ConnectTimeoutSeconds int32 `json:"connectTimeoutSeconds,omitempty"`

	// responseTimeoutSeconds is how long one attempt may take in all.
	// +optional
	// +default=30
	// +kubebuilder:validation:Minimum=5
	// +kubebuilder:validation:Maximum=300
	ResponseTimeoutSeconds int32 `json:"responseTimeoutSeconds,omitempty"`

	// onUnknownOutcome says what follows when nobody can tell whether the device ran the command: Fail
	// ends with the outcome Unknown, Retry sends it again. Retry is for commands that may run twice.
	// +optional
	// +default="Fail"
	OnUnknownOutcome UnknownOutcomePolicy `json:"onUnknownOutcome,omitempty"`

	// ttlSecondsAfterFinished is when the operator deletes the finished object; never before notAfter. Unset: never.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=31536000
	TTLSecondsAfterFinished *int32 `json:"ttlSecondsAfterFinished,omitempty"`
}

// OfflinePeriod is when a hub waited for a device that it took for offline.
type OfflinePeriod struct {
	// hub that said so: its host name, and beyond an @ the endpoint and a digest of the caBundle, if
	// the IoTHub has any.
	// +optional
	// +kubebuilder:validation:MaxLength=420
	Hub string `json:"hub,omitempty"`

	// from is when the wait began, by the hub's clock; unset if the hub did not say.
	// +optional
	From *metav1.MicroTime `json:"from,omitempty"`

	// until is when it ended, by the hub's clock; unset if the hub did not say.
	// +optional
	Until *metav1.MicroTime `json:"until,omitempty"`
}

// DeviceCommandStatus is what became of a command.
type DeviceCommandStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// outcome of the command, once there is one.
	// +optional
	Outcome CommandOutcome `json:"outcome,omitempty"`

	// statusCode that the device answered with.
	// +optional
	StatusCode *int32 `json:"statusCode,omitempty"`

	// response of the device. One of more than 16 KiB is the beginning of its text, as a string.
	// +optional
	// +nullable
	// +kubebuilder:pruning:PreserveUnknownFields
	Response *apiextensionsv1.JSON `json:"response,omitempty"`

	// responseTruncated is true if response is not all of it.
	// +optional
	ResponseTruncated bool `json:"responseTruncated,omitempty"`

	// deviceID that the last attempt went to.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	DeviceID string `json:"deviceID,omitempty"`

	// route that the last attempt took.
	// +optional
	Route CommandRoute `json:"route,omitempty"`

	// requestID of the last attempt. The annotation iot.pnp-operator.io/attempt held it before the hub was called.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	RequestID string `json:"requestID,omitempty"`

	// releasedRequestID is the last attempt that is known not to have reached the device: another may follow.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	ReleasedRequestID string `json:"releasedRequestID,omitempty"`

	// deviceOffline is set if the attempt in releasedRequestID was released because the hub said
	// that the device was offline. That is certain once the device's events of that time were
	// heard.
	// +optional
	DeviceOffline *OfflinePeriod `json:"deviceOffline,omitempty"`

	// attempts that were begun.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Attempts int32 `json:"attempts,omitempty"`

	// startTime of the last attempt.
	// +optional
	StartTime *metav1.Time `json:"startTime,omitempty"`

	// completionTime is when there was an outcome.
	// +optional
	CompletionTime *metav1.Time `json:"completionTime,omitempty"`

	// conditions are Ready, and Reconciling or Stalled where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DeviceCommand invokes a command of a device at most once, and records what became of it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=devicecommands,shortName=dcmd,categories=iot
// +kubebuilder:printcolumn:name="Device",type=string,JSONPath=`.spec.deviceRef.name`
// +kubebuilder:printcolumn:name="Component",type=string,JSONPath=`.spec.component`
// +kubebuilder:printcolumn:name="Command",type=string,JSONPath=`.spec.command`
// +kubebuilder:printcolumn:name="Outcome",type=string,JSONPath=`.status.outcome`
// +kubebuilder:printcolumn:name="Code",type=integer,JSONPath=`.status.statusCode`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Not After",type=string,JSONPath=`.spec.notAfter`,priority=1
// +kubebuilder:printcolumn:name="Attempts",type=integer,JSONPath=`.status.attempts`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DeviceCommand struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the invocation. It cannot be changed: create another DeviceCommand instead.
	// +required
	// +kubebuilder:validation:XValidation:rule="self == oldSelf",message="spec is immutable: a command is one invocation, create another DeviceCommand, under another name, for another one. In Git: put this one back as it was, or take it out"
	Spec DeviceCommandSpec `json:"spec"`
	// status is what became of it.
	// +optional
	// +default={"observedGeneration":-1}
	Status DeviceCommandStatus `json:"status,omitempty"`
}

// DeviceCommandList is a list of DeviceCommand.
// +kubebuilder:object:root=true
type DeviceCommandList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DeviceCommand `json:"items"`
}

// Finished reports whether there is an outcome.
func (c *DeviceCommand) Finished() bool { return c.Status.Outcome != "" }

// GetConditions returns the conditions for the setters that work on any kind.
func (c *DeviceCommand) GetConditions() *[]metav1.Condition { return &c.Status.Conditions }
