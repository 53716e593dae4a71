package controllers

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file makes what conditions say of a pass, of the facts of that pass and its generation alone.

// conclusion is what the conditions say of the pass. It is no new one if they stay as they are: a
// failure that has not lasted yet changes nothing of what is said of this very generation, as long
// as the properties agree with it.
func (s *scope) conclusion(h *halt) (v verdict, isNew bool) {
	switch {
	case h == nil:
		return s.suspendedToo(s.judge()), true
	case !h.unchanged:
		v = h.verdict
	case s.saysTheSame():
		return verdict{}, false
	case s.twin == nil || s.isBeingDeleted():
		v = verdict{reason: v1alpha1.ReasonProgressing, message: cmp.Or(h.message, askingText)}
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
func (s *scope) underWay() verdict {
	drifted := s.inState(twin.StateDrifted)
	if len(drifted) == 0 || s.claiming || len(s.conflicts) > 0 || s.observes() {
		return s.judge()
	}
	return verdict{reason: v1alpha1.ReasonProgressing, message: listed("Putting back ", drifted)}
}

const askingText = "Asking the hub for the device"

// saysTheSame reports whether the conditions are about this generation and what its properties have
// come to.
func (s *scope) saysTheSame() bool {
	ready := readyOf(s.device)
	if ready.Reason == "" || ready.ObservedGeneration != s.device.Generation {
		return false
	}
	if s.twin == nil || s.isBeingDeleted() {
		return true
	}
	synced, acknowledged := s.detail()
	return synced == isTrue(s.device, v1alpha1.ConditionSynced) && acknowledged == isTrue(s.device, v1alpha1.ConditionAcknowledged)
}

func (s *scope) isBeingDeleted() bool { return !s.device.DeletionTimestamp.IsZero() }

// leftAtTheHub are the leaves that the object owns there, or may own, sorted.
func (s *scope) leftAtTheHub() (leaves []twin.Leaf) {
	for leaf, p := range propertiesOf(&s.device.Status) {
		if p.Owned || p.Sent != nil {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// beingDeleted is a verdict on an object that is held by what it owns at the hub.
func beingDeleted(v verdict, left []twin.Leaf) verdict {
	text := "Being deleted"
	switch len(left) {
	case 0:
	case 1:
		text += ": " + left[0].String() + " is still to be removed"
	default:
		text += listed(": ", left) + " are still to be removed"
	}
	v.ready, v.message = false, text+"; "+continued(v.message)
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
func (s *scope) describeSuspension() {
	setOrRemove(s.device, v1alpha1.ConditionSuspended, s.device.Spec.Suspend, v1alpha1.ReasonSuspended,
		"The hub is neither read nor written for this object: set spec.suspend: false to go on")
}

// suspendedSince is when that was noticed.
func (s *scope) suspendedSince() string {
	at := s.now
	if c := apimeta.FindStatusCondition(s.device.Status.Conditions, v1alpha1.ConditionSuspended); c != nil {
		at = c.LastTransitionTime.Time
	}
	return at.UTC().Format(time.RFC3339)
}

// suspendedToo adds to a verdict that it is as old as the suspension, and what was asked for in
// vain.
func (s *scope) suspendedToo(v verdict) verdict {
	if !s.device.Spec.Suspend {
		return v
	}
	if open := s.openResend(); len(open) > 0 && !v.ready {
		return s.suspendedVerdict(listed("not sent again: ", open))
	}
	text := "suspended, as of " + s.suspendedSince()
	if open := s.openResend(); len(open) > 0 {
		text += listed("; not sent again: ", open)
	}
	if s.readRequested() {
		text += "; not read again, as was asked for, until it is resumed"
	}
	v.message += " (" + text + ")"
	return v
}

// suspendedVerdict is that of a suspended object with something left to do.
func (s *scope) suspendedVerdict(left string) verdict {
	return verdict{stalled: true, reason: v1alpha1.ReasonSuspended,
		message: fmt.Sprintf("Suspended since %s: %s. Resume the object to go on", s.suspendedSince(), left)}
}

// openResend are the values that were asked to be sent again and cannot be.
func (s *scope) openResend() []twin.Leaf {
	if s.twin == nil || !s.resendRequested() {
		return nil
	}
	return s.unanswered()
}

// unwritten is what a suspended object has left to do, as far as is known.
func (s *scope) unwritten() string {
	var changed []twin.Leaf
	if s.twin != nil {
		changed = leavesOf(twin.Diff(s.declared, s.owned, s.twin))
	}
	text := undone(changed, s.departing())
	switch {
	case s.gone:
		return "the hub does not know the device"
	case s.twin == nil || text == "" || s.observes():
		return "it is not known whether the hub holds the declared values"
	}
	return text
}

// undone names what is not written, and what is not removed.
func undone(written, removed []twin.Leaf) string {
	var parts []string
	if len(written) > 0 {
		parts = append(parts, listed("not written: ", written))
	}
	if len(removed) > 0 {
		parts = append(parts, listed("not removed: ", removed))
	}
	return strings.Join(parts, "; ")
}

// isResumed reports whether the object was suspended when status was written, and is no more.
func (s *scope) isResumed() bool {
	return !s.device.Spec.Suspend && isTrue(s.device, v1alpha1.ConditionSuspended)
}

// isUnseen reports whether the object was resumed and the hub not asked since: what changed there
// meanwhile is not known.
func (s *scope) isUnseen() bool { return s.isResumed() && s.twin == nil }

// hubSuspendedText is what an object says whose IoTHub is suspended while it has something to
// write.
func (s *scope) hubSuspendedText(changes []twin.Change) string {
	text := fmt.Sprintf("IoTHub %q is suspended: ", s.hub.Name)
	if s.isBeingDeleted() {
		return text + "resume it, or set deletionPolicy: Retain to leave the values at the device"
	}
	written := slices.DeleteFunc(slices.Clone(changes), isRemoval)
	return text + undone(leavesOf(written), leavesOf(removalsOf(changes))) + ". Resume it to go on"
}
