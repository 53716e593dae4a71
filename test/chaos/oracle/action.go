// Package oracle plans a run of make chaos and judges what came of it. It does no I/O: the same
// options give the same actions, and the judges read the hub's twins and journal by rules of their
// own, not by the operator's code.
package oracle

import (
	"encoding/json"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// Kind is what an action does.
type Kind string

// Actions of users, on Kubernetes objects.
const (
	Create     Kind = "create" // a PnPDevice
	Edit       Kind = "edit"   // its spec, as a whole
	Delete     Kind = "delete"
	Resend     Kind = "resend"  // asks for unanswered values to be written again
	Refresh    Kind = "refresh" // asks for a read
	Command    Kind = "command" // creates a DeviceCommand
	SuspendHub Kind = "suspendhub"
	ResumeHub  Kind = "resumehub"
	Confirm    Kind = "confirm" // removals that are halted, if they are
)

// Actions of devices, and of other writers at the hub.
const (
	Foreign Kind = "foreign" // writes desired properties
	Report  Kind = "report"
	Behave  Kind = "behave"
	Offline Kind = "offline"
	Online  Kind = "online"
	Vanish  Kind = "vanish" // the device is deleted at the hub
	Return  Kind = "return" // and created again
	// Recreate deletes the device and creates it again; others write its desired properties until its etag is that of the device before.
	Recreate Kind = "recreate"
	Remember Kind = "remember" // the hub makes a copy of the device
	Rewind   Kind = "rewind"   // the hub fails over to that copy
	Tag      Kind = "tag"
	Rekey    Kind = "rekey" // moves the identity's etag
)

// Actions on what lies between.
const (
	Fault       Kind = "fault"
	Mend        Kind = "mend" // ends the faults of one device
	EventFault  Kind = "eventfault"
	Stream      Kind = "stream" // the connections of the event hub, by Name
	ClockJump   Kind = "clock"
	IndexLag    Kind = "indexlag"
	ServerDown  Kind = "serverdown" // the API server is killed
	ServerUp    Kind = "serverup"
	ClearFaults Kind = "clearfaults"
)

// What an action of a plot may wait for, some seconds at most.
const (
	Seen    = "seen"    // status speaks of the declaration in force
	Written = "written" // the operator has written to the device since the action before
)

// Action is one thing that happens, after a pause. Which fields count depends on the kind.
type Action struct {
	Pause time.Duration `json:"-"`
	// Plot has the action happen after those before it that are about the device, once Await has come true, and after another Wait.
	Plot  bool          `json:"plot,omitempty"`
	Await string        `json:"await,omitempty"`
	Wait  time.Duration `json:"wait,omitempty"`

	Kind       Kind                    `json:"kind"`
	Device     string                  `json:"device,omitempty"`
	Spec       *v1alpha1.PnPDeviceSpec `json:"spec,omitempty"`
	Patch      json.RawMessage         `json:"patch,omitempty"`
	By         string                  `json:"by,omitempty"` // the configuration that writes
	Property   string                  `json:"property,omitempty"`
	Behaviour  *simulator.Behaviour    `json:"behaviour,omitempty"`
	Fault      *simulator.Fault        `json:"fault,omitempty"`
	EventFault *simulator.EventFault   `json:"eventFault,omitempty"`
	Name       string                  `json:"name,omitempty"`
	Offset     time.Duration           `json:"offset,omitempty"`
}

// String is the action as a line of the log.
func (a Action) String() string {
	line, err := json.Marshal(a)
	if err != nil {
		return string(a.Kind) + ": " + err.Error()
	}
	return string(line)
}
