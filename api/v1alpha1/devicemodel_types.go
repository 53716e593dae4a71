package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Validation says what happens to a declaration that breaks a model.
// +kubebuilder:validation:Enum=Enforce;Warn
type Validation string

const (
	// ValidationEnforce refuses it: at admission, and once more before anything is written or sent.
	ValidationEnforce Validation = "Enforce"
	// ValidationWarn lets it through and says what is wrong.
	ValidationWarn Validation = "Warn"
)

// ModelRepository is where a model is fetched from, laid out by the DTMI path convention of https://devicemodels.azure.com.
type ModelRepository struct {
	// url of the repository's root. Its host has to be among the operator's --allowed-model-repositories.
	// +required
	// +kubebuilder:validation:MaxLength=2048
	// +kubebuilder:validation:Pattern=`^https://[^\s?#@]+$`
	URL string `json:"url"`

	// digest that the fetched model must have, as status.digest shows it. Unset takes what the repository gives.
	// +optional
	// +kubebuilder:validation:MaxLength=71
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	Digest string `json:"digest,omitempty"`
}

// DeviceModelSpec holds a model, or says where it is: exactly one of dtdl and repository is set. A CEL rule cannot tell, as it does not see dtdl.
// +kubebuilder:validation:XValidation:rule="!has(self.repository) || has(self.modelID)",message="modelID must be set with repository",fieldPath=".modelID"
type DeviceModelSpec struct {
	// modelID of the devices that are checked against this model: a DTMI. With dtdl it defaults to the @id of its first interface.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*(?:;[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,5})?)?$`
	ModelID string `json:"modelID,omitempty"`

	// dtdl is the model itself, in DTDL version 2, 3 or 4: one interface, or a list that begins with the one that devices announce. What it extends
	// or has as components may be in other DeviceModels of the namespace.
	// +optional
	// +kubebuilder:validation:Schemaless
	// +kubebuilder:pruning:PreserveUnknownFields
	DTDL *apiextensionsv1.JSON `json:"dtdl,omitempty"`

	// repository that the model is fetched from, with what it extends and has as components.
	// +optional
	Repository *ModelRepository `json:"repository,omitempty"`

	// validation says what happens to what breaks the model: Enforce refuses it, Warn lets it through
	// and says so.
	// +optional
	// +default="Enforce"
	Validation Validation `json:"validation,omitempty"`
}

// DeviceModelStatus is what the operator made of the model.
type DeviceModelStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// lastHandledReconcileAt echoes the annotation iot.pnp-operator.io/reconcile-requested-at, which has a repository asked again.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// modelID of the devices that are checked against this model.
	// +optional
	// +kubebuilder:validation:MaxLength=2048
	ModelID string `json:"modelID,omitempty"`

	// digest of the model's own interfaces, whatever order and layout they came in.
	// +optional
	// +kubebuilder:validation:MaxLength=128
	Digest string `json:"digest,omitempty"`

	// parsing is the content, by its digest, of a model of more than 64 KB that is about to be parsed. If the operator ends meanwhile, the next one
	// tries once more, for which it ends in ".2", and the one after that leaves the model alone.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Parsing string `json:"parsing,omitempty"`

	// parsed is the content, by its digest, of a model of more than 64 KB that was parsed.
	// +optional
	// +kubebuilder:validation:MaxLength=64
	Parsed string `json:"parsed,omitempty"`

	// properties of the model, those of its components among them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Properties int32 `json:"properties"`

	// commands of the model, those of its components among them.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Commands int32 `json:"commands"`

	// components of the model.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Components int32 `json:"components"`

	// devices is the number of PnPDevices of the namespace that declare or announced this model.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Devices int32 `json:"devices"`

	// conditions are Ready, and Reconciling or Stalled where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DeviceModel says what devices of one model have: PnPDevices and DeviceCommands of its namespace are checked against it.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=devicemodels,shortName=dmodel,categories=iot
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.status.modelID`
// +kubebuilder:printcolumn:name="Validation",type=string,JSONPath=`.spec.validation`
// +kubebuilder:printcolumn:name="Properties",type=integer,JSONPath=`.status.properties`
// +kubebuilder:printcolumn:name="Commands",type=integer,JSONPath=`.status.commands`
// +kubebuilder:printcolumn:name="Components",type=integer,JSONPath=`.status.components`,priority=1
// +kubebuilder:printcolumn:name="Devices",type=integer,JSONPath=`.status.devices`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DeviceModel struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the model.
	// +required
	Spec DeviceModelSpec `json:"spec"`
	// status is what the operator made of it.
	// +optional
	// +default={"observedGeneration":-1}
	Status DeviceModelStatus `json:"status,omitempty"`
}

// DeviceModelList is a list of DeviceModel.
// +kubebuilder:object:root=true
type DeviceModelList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DeviceModel `json:"items"`
}

// GetConditions returns the conditions for the setters that work on any kind.
func (m *DeviceModel) GetConditions() *[]metav1.Condition { return &m.Status.Conditions }
