// Package reasons is the table of what follows from each reason that conditions and Events have. A
// reason is for people: what the operator does next hangs on facts, and on this table where it tells
// of them.
package reasons

import "strings"

// Says is where a reason occurs on objects of a kind, and how kstatus reads an object that has it in
// Ready.
type Says uint8

const (
	// Current has Ready=True.
	Current Says = 1 << iota
	// InProgress has Ready=False and Reconciling=True: something else than a person is waited for, or
	// an object that a person is about to make.
	InProgress
	// Failed has Ready=False and Stalled=True: a person acts.
	Failed
	// Beside is in another condition than Ready.
	Beside
	// Event is in an Event that no condition goes with.
	Event
)

// ofReady are the ways in which Ready has a reason.
const ofReady = Current | InProgress | Failed

// Warns is when a Ready condition that gets a reason is worth a Warning among the object's Events.
type Warns uint8

const (
	// IfStalled warns of what a person has to act on.
	IfStalled Warns = iota
	// Always warns, also while the object is Reconciling, or Ready for the time being.
	Always
	// Never warns: another object does.
	Never
)

// Row is what follows from a reason.
type Row struct {
	// Device, Hub, Command, Model and Fleet are how PnPDevices, IoTHubs, DeviceCommands, DeviceModels
	// and DeviceFleets have it, 0 if they do not.
	Device, Hub, Command, Model, Fleet Says
	// Heals is true if the cause may pass without a person who acts.
	Heals bool
	// Warns is when it is worth an Event.
	Warns Warns
	// ReadAgain is true if the hub gave no answer to rely on, which leaves open what it holds: the
	// twin of a PnPDevice is read before anything is believed of it, as status.twin.unconfirmed says. A
	// request that was not made, or that the hub turned away for now, leaves status as it was.
	ReadAgain bool
}

// Of returns the row of a reason. One of another version of the operator has an empty row.
func Of(reason string) Row { return table[reason] }

// All returns the reasons that have a row, in no order.
func All() (all []string) {
	for reason := range table {
		all = append(all, reason)
	}
	return all
}

// Kinds are the kinds of this API. The page of one in docs has its name in small letters.
var Kinds = []string{"PnPDevice", "IoTHub", "DeviceCommand", "DeviceModel", "DeviceFleet"}

// Page returns the path of the docs page that lists the reasons of a kind, from the top.
func Page(kind string) string { return "docs/" + strings.ToLower(kind) + ".md" }

// On returns how objects of a kind have the reason.
func (r Row) On(kind string) Says {
	switch kind {
	case "PnPDevice":
		return r.Device
	case "IoTHub":
		return r.Hub
	case "DeviceCommand":
		return r.Command
	case "DeviceModel":
		return r.Model
	case "DeviceFleet":
		return r.Fleet
	}
	return 0
}

// Allows reports whether objects of a kind may have the reason in Ready as kstatus reads it. A
// DeviceCommand waits with the reason of its PnPDevice until that was read.
func (r Row) Allows(kind string, says Says) bool {
	if kind == "DeviceCommand" && says == InProgress && r.Device&ofReady != 0 {
		return true
	}
	return r.On(kind)&ofReady&says != 0
}

// IsWorthAnEvent reports whether Ready with the reason is trouble to tell of.
func (r Row) IsWorthAnEvent(isStalled bool) bool {
	return r.Warns == Always || r.Warns == IfStalled && isStalled
}
