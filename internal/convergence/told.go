package convergence

import (
	"cmp"
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file makes what conditions say of a pass, of the facts of that pass and its generation alone.

// conclusion is what the conditions say of the pass. It is no new one if they stay as they are: a
// failure that has not lasted yet changes nothing of what is said of this very generation, as long
// as the properties agree with it.
func (s *State) conclusion(h *Halt) (v conditions.Verdict, isNew bool) {
	switch {
	case h == nil:
		return s.suspendedToo(s.judge()), true
	case !h.IsUnchanged:
		v = h.Verdict
	case s.saysTheSame():
		return conditions.Verdict{}, false
	case s.Twin == nil || s.isBeingDeleted():
		v = conditions.Verdict{Reason: v1alpha1.ReasonProgressing, Message: cmp.Or(h.Message, AskingText)}
	default:
		v = s.underWay()
	}
	if s.isBeingDeleted() {
		v = beingDeleted(v, s.leftAtTheHub())
	}
	return v, true
}

// underWay is the verdict on an object that is being put right: what another writer changed is
// written again as soon as the hub takes it, unless it is left alone.
func (s *State) underWay() conditions.Verdict {
	drifted := s.inState(twin.StateDrifted)
	if len(drifted) == 0 || s.Claiming || len(s.Conflicts) > 0 || s.Observes() {
		return s.judge()
	}
	return conditions.Verdict{Reason: v1alpha1.ReasonProgressing, Message: Listed("Putting back ", drifted)}
}

// AskingText is what an object says before its hub was asked.
const AskingText = "Asking the hub for the device"

// saysTheSame reports whether the conditions are about this generation and what its properties have
// come to.
func (s *State) saysTheSame() bool {
	ready := conditions.ReadyOf(s.Device)
	if ready.Reason == "" || ready.ObservedGeneration != s.Device.Generation {
		return false
	}
	if s.Twin == nil || s.isBeingDeleted() {
		return true
	}
	synced, acknowledged := s.detail()
	return synced == conditions.IsTrue(s.Device, v1alpha1.ConditionSynced) && acknowledged == conditions.IsTrue(s.Device, v1alpha1.ConditionAcknowledged)
}

func (s *State) isBeingDeleted() bool { return !s.Device.DeletionTimestamp.IsZero() }

// leftAtTheHub are the leaves that the object owns there, or may own, sorted.
func (s *State) leftAtTheHub() (leaves []twin.Leaf) {
	for leaf, p := range PropertiesOf(&s.Device.Status) {
		if p.Owned || p.Sent != nil {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// beingDeleted is a verdict on an object that is held by what it owns at the hub.
func beingDeleted(v conditions.Verdict, left []twin.Leaf) conditions.Verdict {
	text := "Being deleted"
	switch len(left) {
	case 0:
	case 1:
		text += ": " + left[0].String() + " is still to be removed"
	default:
		text += Listed(": ", left) + " are still to be removed"
	}
	v.Ready, v.Message = false, text+"; "+continued(v.Message)
	return v
}

// continued is a sentence as a part of another one: names keep their capitals.
func continued(sentence string) string {
	word, _, _ := strings.Cut(sentence, " ")
	switch word {
	case "The", "Asking", "Waiting", "Writing", "Removing", "One":
		return strings.ToLower(sentence[:1]) + sentence[1:]
	}
	return sentence
}

// describeSuspension has a condition be there as long as the object is suspended. The time of its
// transition is that of the suspension.
func (s *State) describeSuspension() {
	conditions.SetOrRemove(s.Device, v1alpha1.ConditionSuspended, s.Device.Spec.Suspend, v1alpha1.ReasonSuspended,
		"The hub is neither read nor written for this object: set spec.suspend: false to go on")
}

// suspendedSince is when that was noticed.
func (s *State) suspendedSince() string {
	at := s.Now
	if c := apimeta.FindStatusCondition(s.Device.Status.Conditions, v1alpha1.ConditionSuspended); c != nil {
		at = c.LastTransitionTime.Time
	}
	return at.UTC().Format(time.RFC3339)
}

// suspendedToo adds to a verdict that it is as old as the suspension, and what was asked for in
// vain.
func (s *State) suspendedToo(v conditions.Verdict) conditions.Verdict {
	if !s.Device.Spec.Suspend {
		return v
	}
	if open := s.openResend(); len(open) > 0 && !v.Ready {
		return s.suspendedVerdict(Listed("not sent again: ", open))
	}
	text := "suspended, as of " + s.suspendedSince()
	if open := s.openResend(); len(open) > 0 {
		text += Listed("; not sent again: ", open)
	}
	if s.readRequested() {
		text += "; not read again, as was asked for, until it is resumed"
	}
	v.Message += " (" + text + ")"
	return v
}

// suspendedVerdict is that of a suspended object with something left to do.
func (s *State) suspendedVerdict(left string) conditions.Verdict {
	return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonSuspended,
		Message: fmt.Sprintf("Suspended since %s: %s. Resume the object to go on", s.suspendedSince(), left)}
}

// openResend are the values that were asked to be sent again and cannot be.
func (s *State) openResend() []twin.Leaf {
	if s.Twin == nil || !s.resendRequested() {
		return nil
	}
	return s.unanswered()
}

// unwritten is what a suspended object has left to do, as far as is known.
func (s *State) unwritten() string {
	var changed []twin.Leaf
	if s.Twin != nil {
		changed = LeavesOf(twin.Diff(s.Declared, s.Owned, s.Twin))
	}
	text := undone(changed, s.Departing())
	switch {
	case s.Gone:
		return "the hub does not know the device"
	case s.Twin == nil || text == "" || s.Observes():
		return "it is not known whether the hub holds the declared values"
	}
	return text
}

// undone names what is not written, and what is not removed.
func undone(written, removed []twin.Leaf) string {
	var parts []string
	if len(written) > 0 {
		parts = append(parts, Listed("not written: ", written))
	}
	if len(removed) > 0 {
		parts = append(parts, Listed("not removed: ", removed))
	}
	return strings.Join(parts, "; ")
}

// isResumed reports whether the object was suspended when status was written, and is no more.
func (s *State) isResumed() bool {
	return !s.Device.Spec.Suspend && conditions.IsTrue(s.Device, v1alpha1.ConditionSuspended)
}

// isUnseen reports whether the object was resumed and the hub not asked since: what changed there
// meanwhile is not known.
func (s *State) isUnseen() bool { return s.isResumed() && s.Twin == nil }

// hubSuspendedText is what an object says whose IoTHub is suspended while it has something to
// write.
func (s *State) hubSuspendedText(changes []twin.Change) string {
	text := fmt.Sprintf("IoTHub %q is suspended: ", s.Hub.Name)
	if s.isBeingDeleted() {
		return text + "resume it, or set deletionPolicy: Retain to leave the values at the device"
	}
	return text + undone(LeavesOf(withoutRemovals(changes)), LeavesOf(removalsOf(changes))) + ". Resume it to go on"
}
