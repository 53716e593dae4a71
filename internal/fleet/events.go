package fleet

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Event is something that was heard: of the hub, of a device, or of a person.
type Event interface{ isEvent() }

// Listed is a row of a listing: a hint that a device may be a member.
type Listed struct {
	DeviceID, ETag, DeviceETag, ModelID string
	Version                             int64
	Connected                           bool
	Tags                                map[string]any
}

// ListingDone is the end of a listing that saw all devices.
type ListingDone struct{}

// ListingFailed is the end of one that did not.
type ListingFailed struct{}

// Seen is a twin as the hub returned it, with its tags: of a read, or, with IsRow, of a query,
// which may be older than what is known.
type Seen struct {
	Twin  *twin.Twin
	Tags  map[string]any
	IsRow bool
}

// Absent says that the hub does not know the device: a read said so, or an event of its lifecycle.
type Absent struct{ DeviceID string }

// NotRead says that a Read had no answer.
type NotRead struct{ DeviceID string }

// Created is the lifecycle event of a new device, or of one that was created again.
type Created struct{ DeviceID string }

// Changed is a twin change, with the tags that it wrote, nil for none.
type Changed struct {
	DeviceID     string
	Notification *twin.Notification
	Tags         map[string]any
}

// Presence is a connection event. At is the hub's time.
type Presence struct {
	DeviceID  string
	Connected bool
	At        time.Time
}

// Spoke is anything else that a device sent.
type Spoke struct {
	DeviceID string
	At       time.Time
}

// Doubted says that what is known of a device may be wrong, such as a row of a safety net.
type Doubted struct{ DeviceID string }

// Written is the hub's answer to a Write: the whole twin.
type Written struct{ Twin *twin.Twin }

// Failed is why a write did not happen, or may not have.
type Failed int

const (
	// Unknown means that the hub may have taken the write.
	Unknown Failed = iota
	// Postponed means that it was not sent.
	Postponed
	// Turned means that the hub certainly did not take it for now.
	Turned
	// Stale means that the twin had another etag.
	Stale
	// Forbidden means that the hub refuses it for good.
	Forbidden
)

// NotWritten says that a Write failed.
type NotWritten struct {
	DeviceID string
	Why      Failed
}

// Stream says whether the events of the hub are caught up with and alive.
type Stream struct{ Healthy bool }

// Denied says which leaves of a device belong to others: a PnPDevice, or another fleet that has
// them.
type Denied struct {
	DeviceID            string
	Exception, Conflict []twin.Leaf
}

// Unfit says which models do not allow what is declared.
type Unfit struct{ ModelIDs []string }

// Declared is an edit of the spec.
type Declared struct {
	Spec        *v1alpha1.DeviceFleetSpec
	Declaration twin.Declaration
}

// Approved is an approval, named "<revision>/<batch>".
type Approved struct{ Name, By string }

// Retry is the value of the retry annotation.
type Retry struct{ Value string }

// Confirmed lets devices that left be cleared although there are many.
type Confirmed struct{}

// Ended says that the object is being deleted.
type Ended struct{}

// Recorded says that a Record was stored.
type Recorded struct{ Number int64 }

// NotRecorded says that it may not have been.
type NotRecorded struct{ Number int64 }

// Flushed says that all objects of a Flush were stored.
type Flushed struct{ Number int64 }

// NotFlushed says that some may not have been.
type NotFlushed struct{ Number int64 }

func (Listed) isEvent()        {}
func (ListingDone) isEvent()   {}
func (ListingFailed) isEvent() {}
func (Seen) isEvent()          {}
func (Absent) isEvent()        {}
func (NotRead) isEvent()       {}
func (Created) isEvent()       {}
func (Changed) isEvent()       {}
func (Presence) isEvent()      {}
func (Spoke) isEvent()         {}
func (Doubted) isEvent()       {}
func (Written) isEvent()       {}
func (NotWritten) isEvent()    {}
func (Stream) isEvent()        {}
func (Denied) isEvent()        {}
func (Unfit) isEvent()         {}
func (Declared) isEvent()      {}
func (Approved) isEvent()      {}
func (Retry) isEvent()         {}
func (Confirmed) isEvent()     {}
func (Ended) isEvent()         {}
func (Recorded) isEvent()      {}
func (NotRecorded) isEvent()   {}
func (Flushed) isEvent()       {}
func (NotFlushed) isEvent()    {}

// Notice is something that a person has to know, for an Event of the object.
type Notice struct{ Reason, Text string }

func (s *State) notice(reason, text string) { s.notices = append(s.notices, Notice{reason, text}) }

// Notices returns those since it was last called.
func (s *State) Notices() []Notice {
	notices := s.notices
	s.notices = nil
	return notices
}
