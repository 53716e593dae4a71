package convergence

import (
	"fmt"
	"maps"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// judge is the verdict of a pass that went through: the gravest that there is to say, and what else
// has not come to its end.
func (s *State) judge() conditions.Verdict {
	if s.Claiming {
		return conditions.Verdict{Reason: v1alpha1.ReasonProgressing, Message: "Writing the declared values to the hub"}
	}
	v, told := s.gravest()
	if more := s.notAcknowledged(told); len(more) > 0 {
		v.Message += Listed(fmt.Sprintf("; %d more %s not acknowledged: ", len(more), isOrAre(len(more))), more)
	}
	return v
}

// gravest is a verdict on the leaves of one fate, and those that it names or counts.
func (s *State) gravest() (conditions.Verdict, []twin.Leaf) {
	if len(s.Conflicts) > 0 {
		return s.conflictVerdict()
	}
	for _, problem := range []struct {
		state  twin.State
		reason string
		stall  bool
		text   func(twin.Leaf, v1alpha1.PropertyStatus) string
	}{
		{twin.StateDrifted, v1alpha1.ReasonDrifted, true, s.driftedText},
		{twin.StatePending, v1alpha1.ReasonProgressing, false, func(l twin.Leaf, _ v1alpha1.PropertyStatus) string { return "Writing " + l.String() + " to the hub" }},
		{twin.StateRejected, v1alpha1.ReasonRejected, true, rejectedText},
		{twin.StateAdjusted, v1alpha1.ReasonAdjusted, true, s.adjustedText},
	} {
		if leaves := s.inState(problem.state); len(leaves) > 0 {
			text := problem.text(leaves[0], EntriesOf(&s.Device.Status)[leaves[0]])
			return conditions.Verdict{Stalled: problem.stall, Reason: problem.reason, Message: text + alsoText(leaves[1:])}, leaves
		}
	}
	if leaves := s.stillOwned(); len(leaves) > 0 {
		return conditions.Verdict{Reason: v1alpha1.ReasonProgressing, Message: Listed("Removing ", leaves) + " from the hub"}, nil
	}
	return s.answerVerdict()
}

// stillOwned are the leaves that left the declaration and are still to be removed.
func (s *State) stillOwned() (leaves []twin.Leaf) {
	for _, leaf := range s.leftAtTheHub() {
		if _, declared := s.Declared[leaf]; !declared {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// notAcknowledged are the declared leaves that are not as they should be, beyond those that were
// told of.
func (s *State) notAcknowledged(told []twin.Leaf) []twin.Leaf {
	states := []twin.State{twin.StateDrifted, twin.StatePending, twin.StateRejected, twin.StateAdjusted}
	if s.Device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied {
		states = append(states, twin.StateApplied, twin.StateInProgress)
	}
	return slices.DeleteFunc(s.inState(states...), func(leaf twin.Leaf) bool { return slices.Contains(told, leaf) })
}

func isOrAre(n int) string {
	if n == 1 {
		return "is"
	}
	return "are"
}

func (s *State) answerVerdict() (conditions.Verdict, []twin.Leaf) {
	unanswered := s.inState(twin.StateApplied, twin.StateInProgress)
	if s.Device.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied {
		return conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonApplied, Message: "The hub holds every declared value"}, unanswered
	}
	if len(unanswered) == 0 {
		return conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonDeviceAcknowledged, Message: "The device acknowledged every declared value"}, nil
	}
	unreachable := IsUnreachable(&s.Device.Status)
	if left, ok := s.deadline(); ok && left <= 0 {
		return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonAcknowledgementTimeout, Message: s.overdueText(unreachable)}, unanswered
	}
	if unreachable {
		return s.offlineVerdict(Listed("the device to acknowledge ", unanswered) + s.plainHint(unanswered)), unanswered
	}
	return conditions.Verdict{Reason: v1alpha1.ReasonAwaitingAcknowledgement, Message: s.awaitedText()}, unanswered
}

// awaitedText says what the device has to answer to, and what it said to be working on.
func (s *State) awaitedText() string {
	silent, working := s.inState(twin.StateApplied), s.inState(twin.StateInProgress)
	switch {
	case len(working) == 0:
		return Listed("Waiting for the device to acknowledge ", silent) + s.plainHint(silent)
	case len(silent) == 0:
		return "The device is working on " + s.workText(working)
	}
	return Listed("Waiting for the device to acknowledge ", silent) + s.plainHint(silent) + "; it is working on " + s.workText(working)
}

// overdueText is the same once the time for that is over.
func (s *State) overdueText(unreachable bool) string {
	silent, working := s.inState(twin.StateApplied), s.inState(twin.StateInProgress)
	within := fmt.Sprintf("more than %d s", s.Device.Spec.AcknowledgeWithinSeconds)
	if len(silent) == 0 {
		leaves, answer := s.workParts(working)
		return "The device has been working on " + leaves + " for " + within + answer
	}
	text := Listed("Waited "+within+" for the device to acknowledge ", silent) + s.plainHint(silent)
	if len(working) > 0 {
		text += "; it is working on " + s.workText(working)
	}
	if unreachable {
		text += "; it did something meanwhile, though the hub calls it disconnected"
	}
	return text
}

func (s *State) workText(leaves []twin.Leaf) string {
	names, answer := s.workParts(leaves)
	return names + answer
}

// workParts are the names of leaves that the device is working on, and what it said to that of the
// first one.
func (s *State) workParts(leaves []twin.Leaf) (names, answer string) {
	p := EntriesOf(&s.Device.Status)[leaves[0]]
	answer = fmt.Sprintf(" (%d", p.AckCode)
	if p.AckDescription != "" {
		answer += ": " + p.AckDescription
	}
	return Listed("", leaves), answer + ")"
}

// offlineVerdict is that of a device that cannot acknowledge for now.
func (s *State) offlineVerdict(waitsFor string) conditions.Verdict {
	st := &s.Device.Status
	v := conditions.Verdict{Reason: v1alpha1.ReasonDeviceOffline, Message: "Offline" + sinceText(st.ConnectionStateSince) + ": waiting for " + waitsFor}
	if st.DeviceStatus == Disabled {
		why := ""
		if st.DeviceStatusReason != "" {
			why = " (" + st.DeviceStatusReason + ")"
		}
		v = conditions.Verdict{Reason: v1alpha1.ReasonDeviceDisabled, Message: "Disabled at the hub" + sinceText(st.DeviceStatusSince) + why + ", enable it there: waiting for " + waitsFor}
	}
	if s.Device.Spec.ReadyWhen == v1alpha1.ReadyWhenReachable {
		v.Ready, v.Message = true, "The hub holds every declared value. "+v.Message
	}
	return v
}

// sinceText says since when, if that is known.
func sinceText(since *metav1.Time) string {
	if since == nil {
		return ""
	}
	return " since " + since.UTC().Format(time.RFC3339)
}

// IsUnreachable reports whether the device cannot answer for now: it is offline, or the hub lets it
// in no more.
func IsUnreachable(st *v1alpha1.PnPDeviceStatus) bool {
	return st.ConnectionState == Disconnected || st.DeviceStatus == Disabled
}

// waitsForDisabled reports whether an answer is waited for from a device that was disabled when the hub spoke of it last.
func (s *State) waitsForDisabled() bool {
	return s.Device.Status.DeviceStatus == Disabled && s.Device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied &&
		len(s.inState(twin.StateApplied, twin.StateInProgress)) > 0
}

// mayBeEnabled reports whether that was a while ago: no event tells that a device was enabled.
func (s *State) mayBeEnabled() bool {
	return s.waitsForDisabled() && !s.Memory.ReadSince(s.Now.Add(-RetryTerminal))
}

// plainHint tells users of devices that do not acknowledge how to live with them.
func (s *State) plainHint(leaves []twin.Leaf) string {
	for _, leaf := range leaves {
		if r := s.Twin.Properties[leaf].Reported; r != nil && r.Ack == nil {
			return fmt.Sprintf("; it reports %s without an acknowledgement: if it never acknowledges, set readyWhen: Applied", leaf)
		}
	}
	return ""
}

func (s *State) conflictVerdict() (conditions.Verdict, []twin.Leaf) {
	leaves := slices.SortedFunc(maps.Keys(s.Conflicts), twin.CompareLeaves)
	first := leaves[0]
	p := EntriesOf(&s.Device.Status)[first]
	who := "another writer keeps changing it" + againText(p)
	if name := s.Conflicts[first]; name != "" {
		who = fmt.Sprintf("configuration %q of the hub writes it: take it out of that, or of the declaration", name)
	}
	return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonOwnershipConflict,
		Message: fmt.Sprintf("%s, and is left alone for now: %s%s", s.driftedText(first, p), who, alsoText(leaves[1:]))}, leaves
}

// againText says when a leaf that was put back too often is put back again.
func againText(p v1alpha1.PropertyStatus) string {
	if len(p.CorrectedAt) < FightCorrections {
		return ""
	}
	return ", tried again at " + p.CorrectedAt[0].Add(FightWindow).UTC().Format(time.RFC3339)
}

func (s *State) driftedText(leaf twin.Leaf, p v1alpha1.PropertyStatus) string {
	held := "nothing"
	if p.Desired != nil {
		held = ShownValue(FactOf(p.Desired))
	}
	if s.Twin.LacksMarker(leaf.Component) {
		held += ", in " + UnmarkedText(leaf.Component)
	}
	return fmt.Sprintf("%s: declared %s, the hub holds %s", leaf, ShownValue(s.Declared[leaf]), held)
}

func rejectedText(leaf twin.Leaf, p v1alpha1.PropertyStatus) string {
	text := fmt.Sprintf("The device rejected %s with code %d", leaf, p.AckCode)
	if p.AckDescription != "" {
		text += ": " + p.AckDescription
	}
	return text
}

func (s *State) adjustedText(leaf twin.Leaf, p v1alpha1.PropertyStatus) string {
	got := "another value"
	if p.Reported != nil {
		got = ShownValue(FactOf(p.Reported))
	}
	return fmt.Sprintf("The device took %s for %s instead of %s", got, leaf, ShownValue(s.Declared[leaf]))
}

func alsoText(more []twin.Leaf) string {
	if len(more) == 0 {
		return ""
	}
	return Listed("; also ", more)
}

// inState lists the declared leaves in one of the states, sorted, as status is.
func (s *State) inState(states ...twin.State) []twin.Leaf {
	var leaves []twin.Leaf
	for leaf, p := range PropertiesOf(&s.Device.Status) {
		if _, declared := s.Declared[leaf]; declared && slices.Contains(states, twin.State(p.State)) {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// deadline returns how long until a device that is there has been silent for too long. It is there
// while it is connected, and from when it did something that the hub told of, whatever that calls
// it. No time runs while it is disabled, or its object is suspended.
func (s *State) deadline() (time.Duration, bool) {
	st := &s.Device.Status
	first := s.owedSince()
	if first.IsZero() || !s.isTimed() {
		return 0, false
	}
	within := time.Duration(s.Device.Spec.AcknowledgeWithinSeconds) * time.Second
	seen := timeOf(st.ConnectionStateSeenTime)
	if st.ConnectionState == Disconnected {
		present, ok := s.presentSince(first, within)
		if !ok {
			return 0, false
		}
		seen = present
	}
	if seen.After(first) {
		first = seen
	}
	return first.Add(within).Sub(s.Now), true
}

// isTimed reports whether the time runs that a device has to answer.
func (s *State) isTimed() bool {
	return !s.Device.Spec.Suspend && s.Device.Status.DeviceStatus != Disabled && s.Device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied
}

// OwesWhileOffline returns since when a device owes an answer that the hub calls disconnected,
// false if there is none: the pass is to find out whether it did something since, see
// Facts.PresentSince.
func (s *State) OwesWhileOffline() (since time.Time, is bool) {
	if since = s.owedSince(); since.IsZero() || !s.isTimed() || s.Device.Status.ConnectionState != Disconnected {
		return time.Time{}, false
	}
	return since, true
}

// owedSince is since when the device owes an answer, zero if it owes none.
func (s *State) owedSince() time.Time {
	var first time.Time
	for leaf, p := range PropertiesOf(&s.Device.Status) {
		if _, declared := s.Declared[leaf]; !declared || !isUnanswered(p.State) {
			continue
		}
		if since := p.LastTransitionTime.Time; first.IsZero() || since.Before(first) {
			first = since
		}
	}
	return first
}

// presentSince is since when a device is there that the hub calls disconnected: by memory, or by a verdict from before a
// start, if nothing was told of its connection since.
func (s *State) presentSince(owed time.Time, within time.Duration) (time.Time, bool) {
	if !s.PresentSince.IsZero() && !s.PresentSince.Before(owed) {
		return s.PresentSince, true
	}
	st := &s.Device.Status
	is := apimeta.FindStatusCondition(st.Conditions, v1alpha1.ConditionStalled)
	if is == nil || is.Reason != v1alpha1.ReasonAcknowledgementTimeout || !is.LastTransitionTime.After(timeOf(st.ConnectionStateSeenTime)) {
		return time.Time{}, false
	}
	present := is.LastTransitionTime.Add(-within)
	return present, !present.Before(owed) && present.After(timeOf(st.ConnectionStateSince))
}
