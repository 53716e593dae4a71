package convergence

import (
	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file says how soon a status has to be written.

// MayWait reports whether a status that the pass made of before only shows what the device did by
// itself, and nothing that was waited for: a device that reports three times a second must not wear
// out etcd.
func (s *State) MayWait(before *v1alpha1.PnPDevice) bool {
	return s.Memory != nil && s.IsDeviceAlone(before) && !IsAnswered(before, s.Device) && !conditions.IsSame(&before.Status, &s.Device.Status)
}

// ExpectsAnswer reports whether an event is about to tell of the device's answer, and the pass did
// nothing that only it can put into status. All else a later pass finds in memory, or after a crash
// at the hub.
func (s *State) ExpectsAnswer(before *v1alpha1.PnPDevice) bool {
	was, is := &before.Status, &s.Device.Status
	isHandled := was.LastHandledReconcileAt != is.LastHandledReconcileAt || was.LastHandledResendAt != is.LastHandledResendAt
	return len(s.Written) > 0 && !s.MustTell && !isHandled && s.Device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied &&
		is.ConnectionState == Connected && s.EventsExpected
}

// IsAnswered reports whether the device answered to a value that waited for it: somebody is
// looking.
func IsAnswered(before, after *v1alpha1.PnPDevice) bool {
	now := EntriesOf(&after.Status)
	for leaf, was := range PropertiesOf(&before.Status) {
		if isOpen(was.State) && !isOpen(now[leaf].State) {
			return true
		}
	}
	return false
}

func isOpen(s v1alpha1.PropertyState) bool { return s == StateOf(twin.StatePending) || isUnanswered(s) }

// isUnanswered reports whether the hub holds a value that the device has to answer to.
func isUnanswered(s v1alpha1.PropertyState) bool {
	return s == StateOf(twin.StateApplied) || s == StateOf(twin.StateInProgress)
}

// IsDeviceAlone reports whether nothing but the device moved since the last status: no edit, no
// write to the hub, no read that was asked for.
func (s *State) IsDeviceAlone(before *v1alpha1.PnPDevice) bool {
	was, is := before.Status.Twin, s.Device.Status.Twin
	return s.Twin != nil && was != nil && is != nil && was.Etag == is.Etag && was.DeviceEtag == is.DeviceEtag &&
		before.Status.ObservedGeneration == before.Generation && len(s.Written) == 0 && !s.Claiming && !s.WasRead
}

// Differs reports whether a twin, which may be partial, would change what the status of an object
// says of the device. The status of device, which is a copy, is used up.
func Differs(device *v1alpha1.PnPDevice, t *twin.Twin) bool {
	declared, err := declaration.Of(&device.Spec)
	if err != nil {
		return false
	}
	s := New(Facts{Device: device})
	s.Declared = declared
	s.Recall(true)
	s.adopt(t)
	before := device.Status.DeepCopy()
	s.Describe()
	return before.Twin == nil || before.ConnectionState != device.Status.ConnectionState ||
		before.ModelID != device.Status.ModelID || !sameProperties(before, &device.Status)
}
