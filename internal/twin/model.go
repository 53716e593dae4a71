package twin

import (
	"cmp"
	"time"
)

// Leaf names one property of a component: the unit of ownership. Component "" is the default component.
type Leaf struct{ Component, Name string }

// String is "thermostat1/targetTemperature", or "targetTemperature" in the default component.
func (l Leaf) String() string {
	if l.Component == "" {
		return l.Name
	}
	return l.Component + "/" + l.Name
}

// CompareLeaves orders leaves by component, the default one first, then by name. It fits slices.SortFunc.
func CompareLeaves(a, b Leaf) int {
	return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Name, b.Name))
}

// Declaration is what is wanted: what Git declares.
type Declaration map[Leaf]any

// Twin is a device twin as read in either dialect.
type Twin struct {
	DeviceID string
	// ModelID is the DTMI that the device announced, "" if none.
	ModelID string
	// ETag is unquoted. It moves on desired and tag writes, not on reports.
	ETag string
	// DeviceETag is the etag of the identity, unquoted; "" in the digital-twin dialect, which does not show it.
	DeviceETag string
	// Version counts every change of the twin, 0 in the digital-twin dialect, which does not show it.
	Version int64
	// DesiredVersion is $version of the desired section. In the digital-twin dialect it is the highest version that any
	// property shows, and the true one may be higher: a removal leaves no trace there. See AckLimit.
	DesiredVersion int64
	// ReportedVersion is $version of the reported section, 0 in the digital-twin dialect.
	ReportedVersion int64
	// DesiredUpdated and ReportedUpdated are the hub's times of the last write of the sections, zero if unknown.
	DesiredUpdated, ReportedUpdated time.Time
	// ConnectionState is "Connected" or "Disconnected", "" if unknown.
	ConnectionState string
	// ConnectionStateSince is when that began, zero unless an event told: twins carry no such time.
	ConnectionStateSince time.Time
	// Status is "enabled" or "disabled", "" if unknown. StatusReason is what the one who set it gave for it, StatusSince when
	// that was, zero if the hub does not say.
	Status, StatusReason string
	StatusSince          time.Time
	// Properties holds every leaf that desired or reported holds, own or foreign.
	Properties map[Leaf]Property
	// Components are those that exist at the hub: desired or reported holds the name with the component marker.
	Components map[string]bool
	// Unmarked are those of Components whose marker desired lacks, nil if there are none, and in the digital-twin dialect,
	// which does not show it. A device takes what desired holds of one for anything but the component's.
	Unmarked map[string]bool
	// Partial: Properties hold only the leaves that somebody asked to keep, such as those that a status shows. What they say
	// of these is true, and a leaf without either side is absent at the hub. Of other leaves nothing is known.
	Partial bool
}

// Property is one leaf at the hub. At least one side is set, unless the twin is partial.
type Property struct {
	Desired  *Desired
	Reported *Reported
}

// Desired is the value that the hub asks the device for.
type Desired struct {
	Value any
	// Version is the desired $version that last set the value: the highest $lastUpdatedVersion in its subtree, else the
	// nearest ancestor's, else 0.
	Version int64
	// By is the configuration (automatic device management) that wrote the value or a part of it, "" if none.
	By string
}

// Reported is the value that the device says it holds.
type Reported struct {
	// Value is, with an acknowledgement, what the device answered: without the inner keys that the hub, which merges reports,
	// still holds of earlier ones.
	Value any
	// Ack is nil for a plain value and for an envelope that lacks an integer "ac" or "av".
	Ack *Ack
	// LastUpdated is the hub's time of the report, zero if the hub does not say.
	LastUpdated time.Time
	// Envelope is the object around Value as the hub holds it, if Value and Ack do not tell all of it: one of "ac" and
	// "av" is missing or not an integer, there is more in it, or leftovers of earlier reports. Later reports merge into it.
	// Nil otherwise.
	Envelope map[string]any
}

// Ack is the device's answer to a desired value, by the IoT Plug and Play conventions.
type Ack struct {
	// Version ("av") is the desired $version that the device answers to.
	Version int64
	// Code ("ac") is HTTP-like: 200 done, 202 in progress, 203 the device's own default, >= 400 refused.
	Code        int64
	Description string
}

// AckLimit is the highest "av" that a device can know. Where only the digital-twin dialect was read, the etag's counter
// stands in for the desired $version: it moves with every desired write (and with tag writes), so it is never too low.
func (t *Twin) AckLimit() int64 {
	counter, ok := ETagCounter(t.ETag)
	if t.Version != 0 || !ok {
		return t.DesiredVersion
	}
	return max(t.DesiredVersion, clampInt64(counter))
}
