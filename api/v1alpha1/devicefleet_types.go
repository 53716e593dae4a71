package v1alpha1

import (
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// ExistingValues says whose a value is that a device held before the fleet declared it.
// +kubebuilder:validation:Enum=Keep;TakeOver
type ExistingValues string

const (
	// ExistingValuesKeep holds and enforces an equal value, and never removes it.
	ExistingValuesKeep ExistingValues = "Keep"
	// ExistingValuesTakeOver makes an equal value the fleet's, on record, from then on.
	ExistingValuesTakeOver ExistingValues = "TakeOver"
)

// AcknowledgementForm is what counts as the answer of a device.
// +kubebuilder:validation:Enum=Envelope;Value;None
type AcknowledgementForm string

const (
	// AcknowledgementEnvelope wants the acknowledgement of IoT Plug and Play, with ac and av.
	AcknowledgementEnvelope AcknowledgementForm = "Envelope"
	// AcknowledgementValue takes a reported value that is equal, without an envelope, as well.
	AcknowledgementValue AcknowledgementForm = "Value"
	// AcknowledgementNone waits for no answer: the hub's own is enough.
	AcknowledgementNone AcknowledgementForm = "None"
)

// AdjustedValues says what it means that a device took another value than the declared one.
// +kubebuilder:validation:Enum=Fail;Accept
type AdjustedValues string

const (
	// AdjustedFail counts the device as failed.
	AdjustedFail AdjustedValues = "Fail"
	// AdjustedAccept counts the device as acknowledged.
	AdjustedAccept AdjustedValues = "Accept"
)

// OfflineDevices says when the twin of a device that is not connected is written.
// +kubebuilder:validation:Enum=Defer;Write
type OfflineDevices string

const (
	// OfflineDefer writes once the device is there, or after deferSeconds.
	OfflineDefer OfflineDevices = "Defer"
	// OfflineWrite writes at once. The hub delivers the value when the device connects.
	OfflineWrite OfflineDevices = "Write"
)

// TagOperator compares a tag. A missing tag is not in any list, as with labels in Kubernetes.
// +kubebuilder:validation:Enum=In;NotIn;Exists;DoesNotExist;IsTrue;IsFalse
type TagOperator string

const (
	// TagIn wants the tag to be one of the values.
	TagIn TagOperator = "In"
	// TagNotIn wants the tag to be none of the values, or absent.
	TagNotIn TagOperator = "NotIn"
	// TagExists wants the tag to be there.
	TagExists TagOperator = "Exists"
	// TagDoesNotExist wants the tag to be absent.
	TagDoesNotExist TagOperator = "DoesNotExist"
	// TagIsTrue wants the tag to be the boolean true.
	TagIsTrue TagOperator = "IsTrue"
	// TagIsFalse wants the tag to be the boolean false.
	TagIsFalse TagOperator = "IsFalse"
)

// BatchState says how far a batch has come.
// +kubebuilder:validation:Enum=Pending;OnHold;Progressing;Soaking;NoEvidence;Passed;Stopped
type BatchState string

const (
	// BatchPending waits for the batch before it.
	BatchPending BatchState = "Pending"
	// BatchOnHold waits for an approval before it starts.
	BatchOnHold BatchState = "OnHold"
	// BatchProgressing has members that are not written to, or not judged.
	BatchProgressing BatchState = "Progressing"
	// BatchSoaking has its evidence, and waits for soakSeconds.
	BatchSoaking BatchState = "Soaking"
	// BatchNoEvidence has too few members that could acknowledge: it waits for some, or an
	// approval.
	BatchNoEvidence BatchState = "NoEvidence"
	// BatchPassed has let the rollout through.
	BatchPassed BatchState = "Passed"
	// BatchStopped had more failures than it allows.
	BatchStopped BatchState = "Stopped"
)

// MemberState says how far the wanted revision has come at one device. A device has exactly one.
// +kubebuilder:validation:Enum=Pending;InFlight;Acknowledged;Offline;Rejected;Adjusted;TimedOut;Lost;ModelMismatch;Refused
type MemberState string

const (
	// MemberPending does not hold the revision, or is not known to.
	MemberPending MemberState = "Pending"
	// MemberInFlight was written to, or holds the revision, and has not answered.
	MemberInFlight MemberState = "InFlight"
	// MemberAcknowledged holds the revision and acknowledged it.
	MemberAcknowledged MemberState = "Acknowledged"
	// MemberOffline was not connected when its batch came.
	MemberOffline MemberState = "Offline"
	// MemberRejected refused a value.
	MemberRejected MemberState = "Rejected"
	// MemberAdjusted took another value than the declared one.
	MemberAdjusted MemberState = "Adjusted"
	// MemberTimedOut stayed silent for acknowledgeWithinSeconds of connected time.
	MemberTimedOut MemberState = "TimedOut"
	// MemberLost was written to and went before it answered, or answered and went within the soak.
	MemberLost MemberState = "Lost"
	// MemberModelMismatch announces a model that does not allow what is declared.
	MemberModelMismatch MemberState = "ModelMismatch"
	// MemberRefused could not be written: the hub refuses the write.
	MemberRefused MemberState = "Refused"
)

// TagExpression compares one tag of a device.
// +kubebuilder:validation:XValidation:rule="(self.operator in ['In', 'NotIn']) == (has(self.values) && size(self.values) > 0)",message="In and NotIn need values, and no other operator takes any",fieldPath=".values"
type TagExpression struct {
	// key of the tag: identifiers joined by dots, without "tags.".
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$`
	Key string `json:"key"`
	// operator compares. NotIn and DoesNotExist match a device without the tag.
	// +required
	Operator TagOperator `json:"operator"`
	// values that In and NotIn compare with: texts or whole numbers. A text never equals a number.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=100
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:XIntOrString
	Values []intstr.IntOrString `json:"values,omitempty"`
}

// FleetSelector says which devices of the hub are members. All that is set has to hold.
// +kubebuilder:validation:XValidation:rule="has(self.modelID) || has(self.deviceIDs) || has(self.matchTags) || has(self.matchExpressions)",message="selector needs at least one of modelID, matchTags, matchExpressions and deviceIDs: it never means all devices of a hub"
type FleetSelector struct {
	// modelID that members announce: a DTMI.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=128
	// +kubebuilder:validation:Pattern=`^dtmi:[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?(?::[A-Za-z](?:[A-Za-z0-9_]*[A-Za-z0-9])?)*(?:;[1-9][0-9]{0,8}(?:\.[1-9][0-9]{0,5})?)?$`
	ModelID string `json:"modelID,omitempty"`

	// matchTags wants each tag to equal a text or a whole number. Keys are identifiers joined by
	// dots, without "tags.". A text never equals a number.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=20
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 256 && key.matches('^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$'))",message="keys of matchTags are identifiers joined by dots, of at most 256 characters, like location.plant"
	MatchTags map[string]intstr.IntOrString `json:"matchTags,omitempty"`

	// matchExpressions that a device's tags have to meet.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	MatchExpressions []TagExpression `json:"matchExpressions,omitempty"`

	// deviceIDs that may be members.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9\-:.+%_#*?!(),=@;$']+$`
	DeviceIDs []string `json:"deviceIDs,omitempty"`

	// exclude leaves devices alone: they are no members, and nothing is removed from them.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=1000
	// +kubebuilder:validation:items:MinLength=1
	// +kubebuilder:validation:items:MaxLength=128
	// +kubebuilder:validation:items:Pattern=`^[A-Za-z0-9\-:.+%_#*?!(),=@;$']+$`
	Exclude []string `json:"exclude,omitempty"`
}

// FleetBatch is a part of the members that is written to before the next.
// +kubebuilder:validation:XValidation:rule="has(self.matchTags) != has(self.upTo)",message="a batch needs exactly one of upTo and matchTags",fieldPath=".upTo"
// +kubebuilder:validation:XValidation:rule="!has(self.upTo) || type(self.upTo) != int || !has(self.minJudged) || self.minJudged <= int(self.upTo)",message="minJudged is more devices than upTo lets in: failures would never be looked at",fieldPath=".minJudged"
// +kubebuilder:validation:XValidation:rule="!has(self.upTo) || type(self.upTo) != int || !has(self.maxFailures) || type(self.maxFailures) != int || int(self.maxFailures) < int(self.upTo)",message="maxFailures allows every device of the batch to fail: nothing would stop the rollout",fieldPath=".maxFailures"
type FleetBatch struct {
	// name of the batch. The last batch, of all other members, is called rest.
	// +required
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?$`
	// +kubebuilder:validation:XValidation:rule="self != 'rest'",message="rest is the name of the last batch, which is always there"
	Name string `json:"name"`

	// upTo is how much of the members the batches have reached with this one: a percentage, rounded
	// up, or a number of devices.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 1 : string(self).matches('^([0-9]|[1-9][0-9]|100)([.][0-9]{1,3})?%$') && double(string(self).replace('%', '')) > 0.0 && double(string(self).replace('%', '')) <= 100.0",message="upTo is a number of devices from 1, or a percentage above 0% up to 100%, like 10% or 0.5%"
	UpTo *intstr.IntOrString `json:"upTo,omitempty"`

	// matchTags picks the members of the batch by tags, as selector.matchTags does.
	// +optional
	// +mapType=atomic
	// +kubebuilder:validation:MinProperties=1
	// +kubebuilder:validation:MaxProperties=5
	// +kubebuilder:validation:XValidation:rule="self.all(key, size(key) <= 256 && key.matches('^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$'))",message="keys of matchTags are identifiers joined by dots, of at most 256 characters, like location.plant"
	MatchTags map[string]intstr.IntOrString `json:"matchTags,omitempty"`

	// hold waits for an approval before the batch starts.
	// +optional
	Hold bool `json:"hold,omitempty"`

	// soakSeconds that pass after the last write and the last answer before the next batch.
	// +optional
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=2592000
	SoakSeconds int32 `json:"soakSeconds,omitempty"`

	// maxFailures of the members that were written to, instead of rollout.maxFailures.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 0 : string(self).matches('^[0-9]{1,2}([.][0-9]{1,3})?%$')",message="maxFailures is a number of devices from 0, or a percentage from 0% to below 100%"
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`

	// minJudged is how many devices have answered or failed before a percentage of failures counts.
	// More than are connected is as many as are.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MinJudged int32 `json:"minJudged,omitempty"`
}

// FleetRollout says how an edit goes through the fleet. An edit of it restarts nothing.
// +kubebuilder:validation:XValidation:rule="!has(self.acknowledgement) || self.acknowledgement != 'None' || !has(self.adjusted) || self.adjusted != 'Accept'",message="adjusted: Accept needs answers, which acknowledgement: None does not wait for",fieldPath=".adjusted"
// +kubebuilder:validation:XValidation:rule="!has(self.batches) || !has(self.minAcknowledged) || !self.batches.exists(b, has(b.upTo) && type(b.upTo) == int && int(b.upTo) < self.minAcknowledged)",message="minAcknowledged is more devices than upTo of a batch lets in: its gate would never open",fieldPath=".minAcknowledged"
type FleetRollout struct {
	// groupBy is a tag whose members go together, like location.line: the order is by a hash of its
	// value, then of the device id.
	// +optional
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	// +kubebuilder:validation:Pattern=`^[A-Za-z_][A-Za-z0-9_]*([.][A-Za-z_][A-Za-z0-9_]*)*$`
	GroupBy string `json:"groupBy,omitempty"`

	// batches one after the other, each up to a larger part of the members; all others are the last
	// batch, rest. Unset or empty: up to 1%, up to 10%, rest.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=20
	// +kubebuilder:validation:XValidation:rule="self.all(a, !has(a.upTo) || type(a.upTo) != int || self.exists_one(b, has(b.upTo) && type(b.upTo) == int && int(b.upTo) == int(a.upTo)))",message="upTo counts from the first batch on: two batches have the same number"
	// +kubebuilder:validation:XValidation:rule="self.map(b, has(b.upTo) && type(b.upTo) == int, int(b.upTo)).isSorted()",message="upTo counts from the first batch on: numbers have to go up from batch to batch"
	// +kubebuilder:validation:XValidation:rule="self.all(a, !has(a.upTo) || type(a.upTo) != string || self.exists_one(b, has(b.upTo) && type(b.upTo) == string && double(string(b.upTo).replace('%', '')) == double(string(a.upTo).replace('%', ''))))",message="upTo counts from the first batch on: two batches have the same percentage"
	// +kubebuilder:validation:XValidation:rule="self.map(b, has(b.upTo) && type(b.upTo) == string, double(string(b.upTo).replace('%', ''))).isSorted()",message="upTo counts from the first batch on: percentages have to go up from batch to batch"
	Batches []FleetBatch `json:"batches,omitempty"`

	// maxInFlight is how many devices may be written to without having answered.
	// +optional
	// +default=500
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100000
	MaxInFlight int32 `json:"maxInFlight,omitempty"`

	// maxPerMinute is how many devices are written to in a minute, apart from the hub's request
	// budget. Unset: no limit of its own.
	// +optional
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MaxPerMinute int32 `json:"maxPerMinute,omitempty"`

	// maxFailures of the members of a batch that were written to: a percentage, rounded down, or a
	// number. Unset: 2%.
	// +optional
	// +kubebuilder:validation:XIntOrString
	// +kubebuilder:validation:MaxLength=8
	// +kubebuilder:validation:XValidation:rule="type(self) == int ? int(self) >= 0 : string(self).matches('^[0-9]{1,2}([.][0-9]{1,3})?%$')",message="maxFailures is a number of devices from 0, or a percentage from 0% to below 100%"
	MaxFailures *intstr.IntOrString `json:"maxFailures,omitempty"`

	// minAcknowledged is how many acknowledgements a gate needs at least.
	// +optional
	// +default=1
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000000
	MinAcknowledged int32 `json:"minAcknowledged,omitempty"`

	// acknowledgement is what counts as the answer of a device: Envelope, Value for one that
	// reports plain values, None for one that reports nothing.
	// +optional
	// +default="Envelope"
	Acknowledgement AcknowledgementForm `json:"acknowledgement,omitempty"`

	// adjusted says what it means that a device took another value: Fail, or Accept.
	// +optional
	// +default="Fail"
	Adjusted AdjustedValues `json:"adjusted,omitempty"`

	// offline says when devices that are not connected are written to: Defer until they are there,
	// or Write at once, which reaches them past every gate.
	// +optional
	// +default="Defer"
	Offline OfflineDevices `json:"offline,omitempty"`

	// deferSeconds after the start of its batch a deferred value is written anyway.
	// +optional
	// +default=86400
	// +kubebuilder:validation:Minimum=60
	// +kubebuilder:validation:Maximum=31536000
	DeferSeconds int32 `json:"deferSeconds,omitempty"`

	// paused starts no further device. Written values stay.
	// +optional
	Paused bool `json:"paused,omitempty"`
}

// DeviceFleetSpec declares what the twins of many devices shall hold, and how an edit reaches them.
// +kubebuilder:validation:XValidation:rule="self.management != 'Enforce'",message="a DeviceFleet does not write yet: set Observe, which counts the devices that differ",fieldPath=".management"
type DeviceFleetSpec struct {
	// hubRef names the IoTHub, in this namespace. It cannot be changed.
	// +required
	// +kubebuilder:validation:XValidation:rule="self.name == oldSelf.name",message="hubRef is immutable: create another DeviceFleet for another hub"
	HubRef HubReference `json:"hubRef"`

	// selector says which devices of the hub are members.
	// +required
	Selector FleetSelector `json:"selector"`

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

	// management says whether the operator writes: Observe counts where the hub differs, Enforce
	// rolls the declared values out. Enforce is refused as yet.
	// +optional
	// +default="Observe"
	Management Management `json:"management,omitempty"`

	// existingValues says whose an equal value is that a device held before: Keep holds it and
	// never removes it, TakeOver makes it the fleet's.
	// +optional
	// +default="Keep"
	ExistingValues ExistingValues `json:"existingValues,omitempty"`

	// deletionPolicy says what happens to the twins when this object is deleted: Retain leaves them
	// as they are, Clear removes what the fleet wrote.
	// +optional
	// +default="Retain"
	DeletionPolicy DeletionPolicy `json:"deletionPolicy,omitempty"`

	// leavePolicy says what happens to the twin of a device that is no member any more.
	// +optional
	// +default="Retain"
	LeavePolicy DeletionPolicy `json:"leavePolicy,omitempty"`

	// acknowledgeWithinSeconds of connected time a device may stay silent before it has failed.
	// +optional
	// +default=600
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=604800
	AcknowledgeWithinSeconds int32 `json:"acknowledgeWithinSeconds,omitempty"`

	// suspend stops reading from and writing to the hub for this object.
	// +optional
	Suspend bool `json:"suspend,omitempty"`

	// rollout says how an edit goes through the fleet.
	// +optional
	// +default={"maxInFlight":500}
	Rollout FleetRollout `json:"rollout,omitempty"`
}

// FleetDevices counts members by state. Each is counted once, so that they add up to total.
type FleetDevices struct {
	// total is the number of members.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Total int32 `json:"total"`
	// acknowledged is the number of members that hold the revision and acknowledged it.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Acknowledged int32 `json:"acknowledged"`
	// inFlight is the number of members that hold the revision, or may, and have not answered.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	InFlight int32 `json:"inFlight"`
	// failed is the number of members that refused, changed or did not answer, or that the value
	// does not fit.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Failed int32 `json:"failed"`
	// offline is the number of members that were not connected when their batch came.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Offline int32 `json:"offline"`
	// pending is the number of all others.
	// +optional
	// +default=0
	// +kubebuilder:validation:Minimum=0
	Pending int32 `json:"pending"`
}

// FleetBatchStatus is what is known of one batch. It is also a part of the fleet's record.
type FleetBatchStatus struct {
	// name of the batch.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Name string `json:"name"`
	// size is the number of members when the batches were cut, and of those that joined since.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Size int32 `json:"size,omitempty"`
	// state says how far the batch has come.
	// +required
	State BatchState `json:"state"`
	// acknowledged is the number of its members that acknowledged the revision.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Acknowledged int32 `json:"acknowledged,omitempty"`
	// failed is the number of its members that were written to and failed.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Failed int32 `json:"failed,omitempty"`
	// allowed is how many of them may fail.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Allowed int32 `json:"allowed,omitempty"`
	// offline is the number of its members that were not connected when it came.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Offline int32 `json:"offline,omitempty"`
	// through is where the batch ends in the order of members: 32 hexadecimal digits. Absent for
	// the last one, and for one of tags.
	// +optional
	// +kubebuilder:validation:MaxLength=32
	Through string `json:"through,omitempty"`
	// startedAt is when its first member could be written to.
	// +optional
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// completedAt is when it let the rollout through.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
	// approvedBy is the user who approved its start.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	ApprovedBy string `json:"approvedBy,omitempty"`
	// acceptedBy is the user who let it pass without evidence, or accepted its failures.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	AcceptedBy string `json:"acceptedBy,omitempty"`
	// accepted is the number of failures that an approval accepted.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Accepted int32 `json:"accepted,omitempty"`
}

// FleetStop is a rollout that failures stopped.
type FleetStop struct {
	// batch whose failures did.
	// +required
	// +kubebuilder:validation:MaxLength=63
	Batch string `json:"batch"`
	// failed is how many there were.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Failed int32 `json:"failed,omitempty"`
	// allowed is how many there might have been.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Allowed int32 `json:"allowed,omitempty"`
	// time of the stop.
	// +required
	Time metav1.Time `json:"time"`
}

// RolloutKind says why members are written to.
// +kubebuilder:validation:Enum=Batches;Back;Joined
type RolloutKind string

const (
	// RolloutBatches brings another revision, batch by batch.
	RolloutBatches RolloutKind = "Batches"
	// RolloutBack brings the stable revision back, at once.
	RolloutBack RolloutKind = "Back"
	// RolloutJoined brings the revision to members that joined, batch by batch.
	RolloutJoined RolloutKind = "Joined"
)

// FleetRolloutStatus is how far the wanted revision has come. It is also a part of the record.
type FleetRolloutStatus struct {
	// number of the rollout, which each new one raises.
	// +required
	// +kubebuilder:validation:Minimum=1
	Number int64 `json:"number"`
	// kind says why members are written to.
	// +required
	Kind RolloutKind `json:"kind"`
	// startedAt is when the batches were cut.
	// +required
	StartedAt metav1.Time `json:"startedAt"`
	// stopped tells of the failures that stopped it. Absent if none did.
	// +optional
	Stopped *FleetStop `json:"stopped,omitempty"`
	// completedAt is when its last batch let it through.
	// +optional
	CompletedAt *metav1.Time `json:"completedAt,omitempty"`
}

// FleetFailure is a member that failed.
type FleetFailure struct {
	// deviceID of the member.
	// +required
	// +kubebuilder:validation:MaxLength=128
	DeviceID string `json:"deviceID"`
	// property that failed, after its component and a slash, if one did.
	// +optional
	// +kubebuilder:validation:MaxLength=1537
	Property string `json:"property,omitempty"`
	// state of the member.
	// +required
	State MemberState `json:"state"`
	// code of the device's answer, in the manner of HTTP.
	// +optional
	Code int64 `json:"code,omitempty"`
	// description is the device's own text on one line, cut at 256 characters.
	// +optional
	// +kubebuilder:validation:MaxLength=256
	Description string `json:"description,omitempty"`
	// time at which it failed.
	// +required
	Time metav1.Time `json:"time"`
}

// FleetFailureReason counts members that failed alike.
type FleetFailureReason struct {
	// state of the members.
	// +required
	State MemberState `json:"state"`
	// code of their answers, in the manner of HTTP.
	// +optional
	Code int64 `json:"code,omitempty"`
	// count of members.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
}

// FleetJoins counts members that were written to outside of batches on one day.
type FleetJoins struct {
	// day in UTC, like 2026-12-01.
	// +required
	// +kubebuilder:validation:MaxLength=10
	Day string `json:"day"`
	// count of members.
	// +required
	// +kubebuilder:validation:Minimum=0
	Count int32 `json:"count"`
}

// DeviceFleetStatus says how far the fleet is, in counts. It is also a part of the fleet's record.
type DeviceFleetStatus struct {
	// observedGeneration is the generation that the conditions are about.
	// +optional
	// +default=-1
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`

	// lastHandledReconcileAt echoes the annotation iot.pnp-operator.io/reconcile-requested-at.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastHandledReconcileAt string `json:"lastHandledReconcileAt,omitempty"`

	// lastHandledRetryAt echoes the annotation iot.pnp-operator.io/retry-requested-at.
	// +optional
	// +kubebuilder:validation:MaxLength=1024
	LastHandledRetryAt string `json:"lastHandledRetryAt,omitempty"`

	// revision names what is declared: the fleet's name and a hash of properties and components.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	Revision string `json:"revision,omitempty"`

	// stableRevision is the last one that went through all batches.
	// +optional
	// +kubebuilder:validation:MaxLength=253
	StableRevision string `json:"stableRevision,omitempty"`

	// devices counts the members.
	// +optional
	Devices FleetDevices `json:"devices,omitempty"`

	// differ is the number of members whose twin is known not to hold the declaration.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Differ int32 `json:"differ,omitempty"`

	// unread is the number of members whose twin is not known yet.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Unread int32 `json:"unread,omitempty"`

	// excepted is the number of members of which a PnPDevice declares a property of the fleet.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Excepted int32 `json:"excepted,omitempty"`

	// conflicting is the number of members of which another fleet has a property of this one.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Conflicting int32 `json:"conflicting,omitempty"`

	// leaving is the number of devices that are no members any more, and still have to be cleared.
	// +optional
	// +kubebuilder:validation:Minimum=0
	Leaving int32 `json:"leaving,omitempty"`

	// leavingHalted is true while too many devices left for them to be cleared without a
	// confirmation.
	// +optional
	LeavingHalted bool `json:"leavingHalted,omitempty"`

	// rollout is how far the wanted revision has come.
	// +optional
	Rollout *FleetRolloutStatus `json:"rollout,omitempty"`

	// batches of the rollout, in order.
	// +optional
	// +listType=map
	// +listMapKey=name
	// +kubebuilder:validation:MaxItems=21
	Batches []FleetBatchStatus `json:"batches,omitempty"`

	// joined counts the members that were written to outside of batches today.
	// +optional
	Joined *FleetJoins `json:"joined,omitempty"`

	// failures are the newest 20.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=20
	Failures []FleetFailure `json:"failures,omitempty"`

	// failureReasons are the 10 most frequent.
	// +optional
	// +listType=atomic
	// +kubebuilder:validation:MaxItems=10
	FailureReasons []FleetFailureReason `json:"failureReasons,omitempty"`

	// summary is how far the batches are, like "2/4 few", for the table.
	// +optional
	// +kubebuilder:validation:MaxLength=80
	Summary string `json:"summary,omitempty"`

	// conditions are Ready, Synced, Acknowledged, RolledOut, and Reconciling, Stalled or Suspended
	// where they apply.
	// +optional
	// +listType=map
	// +listMapKey=type
	// +kubebuilder:validation:MaxItems=32
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// DeviceFleet declares desired properties for many devices of one hub at once.
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:path=devicefleets,shortName=dfleet,categories=iot
// +kubebuilder:printcolumn:name="Hub",type=string,JSONPath=`.spec.hubRef.name`
// +kubebuilder:printcolumn:name="Devices",type=integer,JSONPath=`.status.devices.total`
// +kubebuilder:printcolumn:name="Acked",type=integer,JSONPath=`.status.devices.acknowledged`
// +kubebuilder:printcolumn:name="Failed",type=integer,JSONPath=`.status.devices.failed`
// +kubebuilder:printcolumn:name="Offline",type=integer,JSONPath=`.status.devices.offline`
// +kubebuilder:printcolumn:name="Batch",type=string,JSONPath=`.status.summary`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].message`
// +kubebuilder:printcolumn:name="Differ",type=integer,JSONPath=`.status.differ`,priority=1
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.status.revision`,priority=1
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="size(self.metadata.name) <= 200",message="metadata.name is longer than 200 characters: the objects of the fleet's record are named after it"
type DeviceFleet struct {
	metav1.TypeMeta `json:",inline"`
	// metadata of the object.
	// +optional
	metav1.ObjectMeta `json:"metadata,omitempty"`

	// spec is the declaration.
	// +required
	Spec DeviceFleetSpec `json:"spec"`
	// status says how far the fleet is.
	// +optional
	// +default={"observedGeneration":-1}
	Status DeviceFleetStatus `json:"status,omitempty"`
}

// DeviceFleetList is a list of DeviceFleet.
// +kubebuilder:object:root=true
type DeviceFleetList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`

	Items []DeviceFleet `json:"items"`
}

// GetConditions returns the conditions for the setters that work on any kind.
func (f *DeviceFleet) GetConditions() *[]metav1.Condition { return &f.Status.Conditions }
