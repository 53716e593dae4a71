package controllers

import (
	"fmt"
	"maps"
	"slices"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// judge is the verdict of a pass that went through: the gravest that there is to say, and what else
// has not come to its end.
func (s *scope) judge() verdict {
	if s.claiming {
		return verdict{reason: v1alpha1.ReasonProgressing, message: "Writing the declared values to the hub"}
	}
	v, told := s.gravest()
	if more := s.notAcknowledged(told); len(more) > 0 {
		v.message += listed(fmt.Sprintf("; %d more %s not acknowledged: ", len(more), isOrAre(len(more))), more)
	}
	return v
}

// gravest is a verdict on the leaves of one fate, and those that it names or counts.
func (s *scope) gravest() (verdict, []twin.Leaf) {
	if len(s.conflicts) > 0 {
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
			text := problem.text(leaves[0], entriesOf(&s.device.Status)[leaves[0]])
			return verdict{stalled: problem.stall, reason: problem.reason, message: text + alsoText(leaves[1:])}, leaves
		}
	}
	if leaves := s.stillOwned(); len(leaves) > 0 {
		return verdict{reason: v1alpha1.ReasonProgressing, message: listed("Removing ", leaves) + " from the hub"}, nil
	}
	return s.answerVerdict()
}

// stillOwned are the leaves that left the declaration and are still to be removed.
func (s *scope) stillOwned() (leaves []twin.Leaf) {
	for _, leaf := range s.leftAtTheHub() {
		if _, declared := s.declared[leaf]; !declared {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// notAcknowledged are the declared leaves that are not as they should be, beyond those that were
// told of.
func (s *scope) notAcknowledged(told []twin.Leaf) []twin.Leaf {
	states := []twin.State{twin.StateDrifted, twin.StatePending, twin.StateRejected, twin.StateAdjusted}
	if s.device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied {
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

func (s *scope) answerVerdict() (verdict, []twin.Leaf) {
	unanswered := s.inState(twin.StateApplied, twin.StateInProgress)
	if s.device.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied {
		return verdict{ready: true, reason: v1alpha1.ReasonApplied, message: "The hub holds every declared value"}, unanswered
	}
	if len(unanswered) == 0 {
		return verdict{ready: true, reason: v1alpha1.ReasonDeviceAcknowledged, message: "The device acknowledged every declared value"}, nil
	}
	unreachable := isUnreachable(&s.device.Status)
	if left, ok := s.deadline(); ok && left <= 0 {
		return verdict{stalled: true, reason: v1alpha1.ReasonAcknowledgementTimeout, message: s.overdueText(unreachable)}, unanswered
	}
	if unreachable {
		return s.offlineVerdict(listed("the device to acknowledge ", unanswered) + s.plainHint(unanswered)), unanswered
	}
	return verdict{reason: v1alpha1.ReasonAwaitingAcknowledgement, message: s.awaitedText()}, unanswered
}

// awaitedText says what the device has to answer to, and what it said to be working on.
func (s *scope) awaitedText() string {
	silent, working := s.inState(twin.StateApplied), s.inState(twin.StateInProgress)
	switch {
	case len(working) == 0:
		return listed("Waiting for the device to acknowledge ", silent) + s.plainHint(silent)
	case len(silent) == 0:
		return "The device is working on " + s.workText(working)
	}
	return listed("Waiting for the device to acknowledge ", silent) + s.plainHint(silent) + "; it is working on " + s.workText(working)
}

// overdueText is the same once the time for that is over.
func (s *scope) overdueText(unreachable bool) string {
	silent, working := s.inState(twin.StateApplied), s.inState(twin.StateInProgress)
	within := fmt.Sprintf("more than %d s", s.device.Spec.AcknowledgeWithinSeconds)
	if len(silent) == 0 {
		leaves, answer := s.workParts(working)
		return "The device has been working on " + leaves + " for " + within + answer
	}
	text := listed("Waited "+within+" for the device to acknowledge ", silent) + s.plainHint(silent)
	if len(working) > 0 {
		text += "; it is working on " + s.workText(working)
	}
	if unreachable {
		text += "; it did something meanwhile, though the hub calls it disconnected"
	}
	return text
}

func (s *scope) workText(leaves []twin.Leaf) string {
	names, answer := s.workParts(leaves)
	return names + answer
}

// workParts are the names of leaves that the device is working on, and what it said to that of the
// first one.
func (s *scope) workParts(leaves []twin.Leaf) (names, answer string) {
	p := entriesOf(&s.device.Status)[leaves[0]]
	answer = fmt.Sprintf(" (%d", p.AckCode)
	if p.AckDescription != "" {
		answer += ": " + p.AckDescription
	}
	return listed("", leaves), answer + ")"
}

// offlineVerdict is that of a device that cannot acknowledge for now.
func (s *scope) offlineVerdict(waitsFor string) verdict {
	st := &s.device.Status
	v := verdict{reason: v1alpha1.ReasonDeviceOffline, message: "Offline" + sinceText(st.ConnectionStateSince) + ": waiting for " + waitsFor}
	if st.DeviceStatus == disabled {
		why := ""
		if st.DeviceStatusReason != "" {
			why = " (" + st.DeviceStatusReason + ")"
		}
		v = verdict{reason: v1alpha1.ReasonDeviceDisabled, message: "Disabled at the hub" + sinceText(st.DeviceStatusSince) + why + ", enable it there: waiting for " + waitsFor}
	}
	if s.device.Spec.ReadyWhen == v1alpha1.ReadyWhenReachable {
		v.ready, v.message = true, "The hub holds every declared value. "+v.message
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

// isUnreachable reports whether the device cannot answer for now: it is offline, or the hub lets it in no more.
func isUnreachable(st *v1alpha1.PnPDeviceStatus) bool {
	return st.ConnectionState == disconnected || st.DeviceStatus == disabled
}

// waitsForDisabled reports whether an answer is waited for from a device that was disabled when the hub spoke of it last.
func (s *scope) waitsForDisabled() bool {
	return s.device.Status.DeviceStatus == disabled && s.device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied &&
		len(s.inState(twin.StateApplied, twin.StateInProgress)) > 0
}

// mayBeEnabled reports whether that was a while ago: no event tells that a device was enabled.
func (s *scope) mayBeEnabled() bool {
	return s.waitsForDisabled() && !s.memory.ReadSince(s.now.Add(-retryTerminal))
}

// plainHint tells users of devices that do not acknowledge how to live with them.
func (s *scope) plainHint(leaves []twin.Leaf) string {
	for _, leaf := range leaves {
		if r := s.twin.Properties[leaf].Reported; r != nil && r.Ack == nil {
			return fmt.Sprintf("; it reports %s without an acknowledgement: if it never acknowledges, set readyWhen: Applied", leaf)
		}
	}
	return ""
}

func (s *scope) conflictVerdict() (verdict, []twin.Leaf) {
	leaves := slices.SortedFunc(maps.Keys(s.conflicts), twin.CompareLeaves)
	first := leaves[0]
	p := entriesOf(&s.device.Status)[first]
	who := "another writer keeps changing it" + againText(p)
	if name := s.conflicts[first]; name != "" {
		who = fmt.Sprintf("configuration %q of the hub writes it: take it out of that, or of the declaration", name)
	}
	return verdict{stalled: true, reason: v1alpha1.ReasonOwnershipConflict,
		message: fmt.Sprintf("%s, and is left alone for now: %s%s", s.driftedText(first, p), who, alsoText(leaves[1:]))}, leaves
}

// againText says when a leaf that was put back too often is put back again.
func againText(p v1alpha1.PropertyStatus) string {
	if len(p.CorrectedAt) < fightCorrections {
		return ""
	}
	return ", tried again at " + p.CorrectedAt[0].Add(fightWindow).UTC().Format(time.RFC3339)
}

func (s *scope) driftedText(leaf twin.Leaf, p v1alpha1.PropertyStatus) string {
	held := "nothing"
	if p.Desired != nil {
		held = shownValue(factOf(p.Desired))
	}
	if s.twin.LacksMarker(leaf.Component) {
		held += ", in " + unmarkedText(leaf.Component)
	}
	return fmt.Sprintf("%s: declared %s, the hub holds %s", leaf, shownValue(s.declared[leaf]), held)
}

func rejectedText(leaf twin.Leaf, p v1alpha1.PropertyStatus) string {
	text := fmt.Sprintf("The device rejected %s with code %d", leaf, p.AckCode)
	if p.AckDescription != "" {
		text += ": " + p.AckDescription
	}
	return text
}

func (s *scope) adjustedText(leaf twin.Leaf, p v1alpha1.PropertyStatus) string {
	got := "another value"
	if p.Reported != nil {
		got = shownValue(factOf(p.Reported))
	}
	return fmt.Sprintf("The device took %s for %s instead of %s", got, leaf, shownValue(s.declared[leaf]))
}

func alsoText(more []twin.Leaf) string {
	if len(more) == 0 {
		return ""
	}
	return listed("; also ", more)
}

// inState lists the declared leaves in one of the states, sorted, as status is.
func (s *scope) inState(states ...twin.State) []twin.Leaf {
	var leaves []twin.Leaf
	for leaf, p := range propertiesOf(&s.device.Status) {
		if _, declared := s.declared[leaf]; declared && slices.Contains(states, twin.State(p.State)) {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// deadline returns how long until a device that is there has been silent for too long. It is there
// while it is connected, and from when it did something that the hub told of, whatever that calls
// it. No time runs while it is disabled, or its object is suspended.
func (s *scope) deadline() (time.Duration, bool) {
	st := &s.device.Status
	first := s.owedSince()
	if first.IsZero() || s.device.Spec.Suspend || st.DeviceStatus == disabled || s.device.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied {
		return 0, false
	}
	within := time.Duration(s.device.Spec.AcknowledgeWithinSeconds) * time.Second
	seen := timeOf(st.ConnectionStateSeenTime)
	if st.ConnectionState == disconnected {
		present, ok := s.presentSince(first, within)
		if !ok {
			return 0, false
		}
		seen = present
	}
	if seen.After(first) {
		first = seen
	}
	return first.Add(within).Sub(s.now), true
}

// owedSince is since when the device owes an answer, zero if it owes none.
func (s *scope) owedSince() time.Time {
	var first time.Time
	for leaf, p := range propertiesOf(&s.device.Status) {
		if _, declared := s.declared[leaf]; !declared || !isUnanswered(p.State) {
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
func (s *scope) presentSince(owed time.Time, within time.Duration) (time.Time, bool) {
	if s.memory != nil {
		if present, ok := s.memory.PresentSince(owed); ok {
			return present, true
		}
	}
	st := &s.device.Status
	is := apimeta.FindStatusCondition(st.Conditions, v1alpha1.ConditionStalled)
	if is == nil || is.Reason != v1alpha1.ReasonAcknowledgementTimeout || !is.LastTransitionTime.After(timeOf(st.ConnectionStateSeenTime)) {
		return time.Time{}, false
	}
	present := is.LastTransitionTime.Add(-within)
	return present, !present.Before(owed) && present.After(timeOf(st.ConnectionStateSince))
}
