package convergence

import (
	"fmt"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file says what is known of the twin before the hub is asked, and whether that suffices.

// StartClock gives a device all its time to answer once its object is suspended no more.
func (s *State) StartClock() {
	if s.isResumed() && s.Device.Status.ConnectionState != "" {
		seen := metav1.NewTime(s.Now.Truncate(time.Second))
		s.Device.Status.ConnectionStateSeenTime = &seen
	}
}

// FollowsUp reports whether a read that is due after a write is to be made: events tell all else.
func (s *State) FollowsUp() bool {
	return !s.EventsTrusted || IsUnreachable(&s.Device.Status)
}

// rest is what a suspended pass comes to: the hub is neither read nor written. Events cost it
// nothing. nil: nothing is left to do.
func (s *State) rest() *Halt {
	if s.Gone = s.Memory.IsAbsent || s.wasGoneThere(); s.Gone {
		s.IsUnconfirmed = true
	}
	if !s.Gone && IsAdopted(s.Device, s.Destination) {
		newest := s.newest()
		if s.mayBeWrittenSince(newest) || s.isAllUnconfirmed() { // what is recorded of a write stays on record
			s.IsUnconfirmed = true
			return &Halt{Verdict: s.suspendedVerdict(s.unwritten())}
		}
		s.adopt(newest)
		isDone := len(twin.Diff(s.Declared, s.Owned, s.Twin)) == 0 && len(s.Departing()) == 0
		if s.statusSuffices() && (isDone || s.Observes()) {
			return nil
		}
	}
	return &Halt{Verdict: s.suspendedVerdict(s.unwritten())}
}

// mayBeWrittenSince reports whether a write whose outcome is not known makes a later state of the
// twin than this one.
func (s *State) mayBeWrittenSince(t *twin.Twin) bool {
	for leaf, attempts := range s.attempts() {
		for _, sent := range attempts {
			if sent.Version > t.DesiredVersion && !s.Memory.IsResolved(leaf, sent) {
				return true
			}
		}
	}
	return false
}

// isAllUnconfirmed reports whether all that is known of the twin is a status that is not to be
// believed without a read.
func (s *State) isAllUnconfirmed() bool {
	return s.Memory.Newest == nil && s.Memory.Unsaved() == nil && s.Device.Status.Twin.Unconfirmed
}

// WasGone reports whether a hub did not know the device when it was asked last.
func WasGone(device *v1alpha1.PnPDevice) bool {
	c := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionSynced)
	return c != nil && c.Reason == v1alpha1.ReasonDeviceNotFound
}

// wasGoneThere reports whether the hub of the pass said that.
func (s *State) wasGoneThere() bool {
	return WasGone(s.Device) && (s.Destination == "" || s.hubBefore == s.Destination)
}

// believed is the twin as it is known without a read; nil: the hub has to be read.
func (s *State) believed() *twin.Twin {
	if !s.Resumes && s.mustAsk() {
		return nil
	}
	t := s.Memory.Newest
	suffices := s.statusSuffices() && !s.mirrorsTooLittle()
	switch {
	case t != nil && (!t.Partial || suffices):
		return t
	case !s.isAdopted || !suffices:
		return nil
	}
	return s.Memory.Newer(Belief(&s.Device.Status))
}

// mustAsk reports whether the hub has to be read although something is known.
func (s *State) mustAsk() bool {
	_, retry := s.Entries.conflictRetry(s.Now)
	isDue := s.FollowsUp() && s.FollowUpDue
	isStale := s.isResumed() && !s.EventsTrusted
	return s.Memory.IsDoubtful || isDue || retry || isStale || s.mayBeEnabled() || s.hasUnsettledRecords() || s.isAdopted && s.isInQuestion()
}

// isInQuestion reports whether the twin that status is about has to be read before it is believed.
func (s *State) isInQuestion() bool {
	return !IsAdopted(s.Device, s.Destination) || s.readRequested() || s.Device.Status.Twin.Unconfirmed || s.isOfOtherModel() || s.isOverdue()
}

// hasUnsettledRecords reports whether status records values that an earlier process may have sent.
// Only a read tells what became of them: until then nothing that status says of the twin is to be
// believed.
func (s *State) hasUnsettledRecords() bool {
	for leaf, sent := range s.sent {
		if !s.isWithheld(leaf) && !s.Memory.IsResolved(leaf, sent) {
			return true
		}
	}
	return false
}

// isOfOtherModel reports whether the device was last seen with another model than the declared one:
// only the hub can say that it has changed.
func (s *State) isOfOtherModel() bool {
	return s.Device.Spec.ModelID != "" && s.Device.Spec.ModelID != s.Device.Status.ModelID
}

// isOverdue reports whether the device is about to be called silent: not without a look at the hub
// since its time was up.
func (s *State) isOverdue() bool {
	left, ok := s.deadline()
	return ok && left <= 0 && !s.Memory.ReadSince(s.Now.Add(left))
}

// statusSuffices reports whether status knows every declared leaf.
func (s *State) statusSuffices() bool {
	for leaf := range s.Declared {
		if !s.Entries.isKnown(leaf) {
			return false
		}
	}
	return true
}

// mirrorsTooLittle reports whether status lacks what the device reports: it was described while
// spec.reported asked for less.
func (s *State) mirrorsTooLittle() bool {
	return breadth(s.Device.Status.Mirrored) < breadth(s.Device.Spec.Reported)
}

// breadth orders the values of spec.reported by how much of the twin they show.
func breadth(scope v1alpha1.ReportedScope) int {
	switch scope {
	case v1alpha1.ReportedNone:
		return 0
	case v1alpha1.ReportedAll:
		return 2
	default:
		return 1
	}
}

// otherModel is the verdict on a device of another model than the declared one, to which nothing is
// written; nil: it has that.
func (s *State) otherModel() *Halt {
	want := s.Device.Spec.ModelID
	if want == "" || s.Twin.ModelID == want {
		return nil
	}
	got := fmt.Sprintf("announced %q", s.Twin.ModelID)
	if s.Twin.ModelID == "" {
		got = "has not announced any model"
	}
	return stalled(v1alpha1.ReasonModelMismatch, fmt.Sprintf("The device %s; spec.modelID is %q", got, want), RetryAbsent)
}

// nonConformity is the verdict on a declaration that the DeviceModel of the device does not allow;
// nil: it does. A declaration that was found to conform goes on while the DeviceModel cannot be
// used: its trouble is no reason to leave a device alone that was not edited.
func (s *State) nonConformity() *Halt {
	found := *s.Conformity
	switch {
	case found.Refuses():
		return stalled(v1alpha1.ReasonModelViolation, found.Text(), 0)
	case found.NotReady != "" && !s.wasChecked(found):
		return waiting(v1alpha1.ReasonModelNotReady, NotReadyText(found))
	}
	return nil
}

// wasChecked reports whether this declaration was checked against the model that the device has
// now, and the content that its DeviceModel has.
func (s *State) wasChecked(now declaration.Conformity) bool {
	st := s.Device.Status
	return st.CheckedGeneration == s.Device.Generation && now.IsCoveredBy(st.CheckedModel)
}
