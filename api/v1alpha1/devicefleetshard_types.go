package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// ShardContent says what the data of a DeviceFleetShard are.
// +kubebuilder:validation:Enum=Members;Journal;Revision
type ShardContent string

const (
	// ShardMembers has the record of some members.
	ShardMembers ShardContent = "Members"
	// ShardJournal has newer records of scattered members, which count more than those of Members.
	ShardJournal ShardContent = "Journal"
	// ShardRevision has what a revision declared.
	ShardRevision ShardContent = "Revision"
)

// DeviceFleetShardSpec is a part of what the operator knows of the members of a fleet.
type DeviceFleetShardSpec struct {
	// fleet is the name of the DeviceFleet, in this namespace.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Fleet string `json:"fleet"`
	// content says what data are.
	// +required
	Content ShardContent `json:"content"`
	// index of the shard among those of its content.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Index int32 `json:"index,omitempty"`
	// members is how many there are in data.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Members int32 `json:"members,omitempty"`
	// ownerLevel is that of the event stream whose reader wrote data. One with a lower level writes
	// no more.
	// +optional
	// +kubebuilder:validation:Minimum=0
	OwnerLevel int64 `json:"ownerLevel,omitempty"`
	// data in columns, compressed. They say themselves of what fleet and version they are, and are
	// checked by a checksum.
	// +required
	// +kubebuilder:validation:MaxLength=1048576
	Data []byte `json:"data"`
}

// DeviceFleetShard is internal: the operator writes and reads it, and nobody else needs to.
// +kubebuilder:object:root=true
// +kubebuilder:resource:path=devicefleetshards
// +kubebuilder:printcolumn:name="Fleet",type=string,JSONPath=`.spec.fleet`
// +kubebuilder:printcolumn:name="Content",type=string,JSONPath=`.spec.content`
// +kubebuilder:printcolumn:name="Members",type=integer,JSONPath=`.spec.members`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type DeviceFleetShard struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the record.
	// +required
	Spec DeviceFleetShardSpec `json:"spec"`
}

// DeviceFleetShardList is a list of DeviceFleetShard.
// +kubebuilder:object:root=true
type DeviceFleetShardList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DeviceFleetShard `json:"items"`
}
