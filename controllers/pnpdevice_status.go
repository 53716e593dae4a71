package controllers

import (
	"fmt"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	ackDescriptionRunes = 512
	// maxMirrored bounds the properties in status. A twin section of 32 KB holds fewer than that.
	maxMirrored = 4096
)

// summarise computes the whole status from what the pass found and returns when the next pass is due, 0 if only when
// woken. It is the only writer of status.
func summarise(s *scope, h *halt) time.Duration {
	st := &s.device.Status
	previous := *st // a shallow copy: what becomes of twin and properties are new values
	s.describe()
	keepVersion(&previous, st)
	v := verdict{}
	if h == nil {
		v = s.judge()
		s.echo()
	} else if !h.unchanged {
		v = h.verdict
		s.echo()
	}
	if h == nil || !h.unchanged {
		setVerdict(s.device, v)
		s.setDetails(v)
		st.ObservedGeneration = s.device.Generation
	}
	return s.next(h, entriesOf(&previous))
}

// describe writes what is known of the twin and its properties.
func (s *scope) describe() {
	st := &s.device.Status
	s.identify()
	if s.twin != nil {
		st.ModelID = s.twin.ModelID
		s.describeConnection()
		s.describeProperties()
	}
	s.describeConformity()
	declared := s.declared
	if declared == nil { // a declaration that does not decode counts as nothing
		declared, _ = declaration.Of(&s.device.Spec)
	}
	st.Declared, st.Acknowledged = int32(len(declared)), 0 //nolint:gosec // bounded by the size of an object
	for leaf, p := range propertiesOf(st) {
		if _, ok := declared[leaf]; ok && p.State == stateOf(twin.StateAcknowledged) {
			st.Acknowledged++
		}
	}
	st.Summary = fmt.Sprintf("%d/%d", st.Acknowledged, st.Declared)
}

// identify says which twin the status is about. The etag is there once it has been read.
func (s *scope) identify() {
	st := &s.device.Status
	id := s.device.DeviceID()
	host := ""
	if s.hub != nil {
		host = s.hub.Spec.HostName
	}
	if st.Twin == nil || host != "" && st.Twin.Hub != host {
		st.Twin = &v1alpha1.TwinReference{Hub: host, DeviceID: id}
	}
	if t := s.twin; t != nil {
		st.Twin = &v1alpha1.TwinReference{
			Hub: host, DeviceID: id, DeviceEtag: t.DeviceETag, Etag: t.ETag, Version: t.Version, DesiredVersion: t.DesiredVersion,
		}
	}
}

// keepVersion drops a change of the twin's version alone: what a device reports beside its declaration costs no write.
func keepVersion(previous, st *v1alpha1.PnPDeviceStatus) {
	if previous.Twin == nil || st.Twin == nil {
		return
	}
	was, is := *previous.Twin, *st.Twin
	version := is.Version
	was.Version, is.Version = 0, 0
	if was == is && previous.ConnectionState == st.ConnectionState && previous.ModelID == st.ModelID &&
		sameProperties(previous, st) {
		version = previous.Twin.Version
	}
	st.Twin.Version = version
}

func sameProperties(a, b *v1alpha1.PnPDeviceStatus) bool {
	return isSame(a.Properties, b.Properties) && isSame(a.Components, b.Components)
}

func (s *scope) describeConnection() {
	st := &s.device.Status
	if since := s.twin.ConnectionStateSince; !since.IsZero() && !since.Equal(timeOf(st.ConnectionStateSince)) {
		at := metav1.NewTime(since)
		st.ConnectionStateSince = &at
	}
	if st.ConnectionState == s.twin.ConnectionState {
		return
	}
	st.ConnectionState = s.twin.ConnectionState
	if s.twin.ConnectionStateSince.IsZero() {
		st.ConnectionStateSince = nil // a read shows the state, not since when
	}
	seen := metav1.NewTime(s.now.Truncate(time.Second))
	st.ConnectionStateSeenTime = &seen
}

func (s *scope) describeProperties() {
	all := entries{}
	for leaf := range s.declared {
		all[leaf] = s.entry(leaf)
	}
	for leaf := range s.claims {
		if _, done := all[leaf]; !done && !s.observes() && s.twin.Properties[leaf].Desired != nil {
			all[leaf] = s.departing(leaf)
		}
	}
	if s.device.Spec.Reported == v1alpha1.ReportedAll {
		for leaf, p := range s.twin.Properties {
			if _, done := all[leaf]; !done && p.Reported != nil && len(all) < maxMirrored {
				all[leaf] = s.reportedEntry(leaf, p.Reported)
			}
		}
	}
	all.writeTo(&s.device.Status, s.twin.Components)
}

// departing describes an owned leaf that is declared no more and not removed yet. Someone else's value must show: what status says of it is believed
// by the pass that removes it.
func (s *scope) departing(leaf twin.Leaf) v1alpha1.PropertyStatus {
	e, claim, held := s.entries[leaf], s.claims[leaf], s.twin.Properties[leaf].Desired
	e.Desired = sameJSON(e.Desired, held.Value)
	if twin.Equal(held.Value, claim.Value) {
		e.DesiredVersion = claim.Version
		return e
	}
	e.State, e.DesiredVersion = stateOf(twin.StateDrifted), held.Version
	s.transition(&e, s.entries[leaf], false)
	return e
}

func (s *scope) reportedEntry(leaf twin.Leaf, r *twin.Reported) v1alpha1.PropertyStatus {
	previous := s.entries[leaf]
	e := v1alpha1.PropertyStatus{Name: leaf.Name, State: stateOf(twin.StateReported), Reported: sameJSON(previous.Reported, r.Value)}
	s.transition(&e, previous, false)
	return e
}

// entry says how far one declared leaf has come.
func (s *scope) entry(leaf twin.Leaf) v1alpha1.PropertyStatus {
	previous, value, p := s.entries[leaf], s.declared[leaf], s.twin.Properties[leaf]
	e := v1alpha1.PropertyStatus{Name: leaf.Name, CorrectedAt: s.corrections(leaf, previous)}
	s.mirror(&e, previous, p.Reported)
	if p.Desired != nil && twin.Equal(p.Desired.Value, value) {
		s.settle(&e, leaf, p)
	} else {
		s.outstanding(&e, leaf, p.Desired)
	}
	_, e.Owned = s.claims[leaf]
	s.transition(&e, previous, s.written[leaf] || e.Owned && previous.DesiredVersion != e.DesiredVersion && e.DesiredVersion != 0)
	return e
}

// settle judges a leaf whose declared value the hub holds. In passing it becomes ours: nothing was written, and none of
// its future is someone else's. The version of a drifted leaf is the one that set the other writer's value: an answer to that is none to ours.
func (s *scope) settle(e *v1alpha1.PropertyStatus, leaf twin.Leaf, p twin.Property) {
	claim, known := s.claims[leaf]
	if previous, ok := s.entries[leaf]; !known && ok && s.entries.isKnown(leaf) {
		claim, known = twin.Claim{Value: declaration.Value(previous.Desired), Version: previous.DesiredVersion}, true
	}
	if known && (claim.Version == 0 || s.entries[leaf].State == stateOf(twin.StateDrifted)) {
		known = false
	}
	version := twin.SettingVersion(claim, known, *p.Desired)
	if !s.observes() {
		s.claims[leaf] = twin.Claim{Value: p.Desired.Value, Version: version}
	}
	e.State = stateOf(twin.Judge(s.declared[leaf], p, version, s.twin.AckLimit()))
	e.Desired, e.DesiredVersion = sameJSON(s.entries[leaf].Desired, p.Desired.Value), version
}

// outstanding describes a leaf that the hub does not hold as declared. What status says of it is the truth about the hub,
// not about the declaration: later passes diff against it.
func (s *scope) outstanding(e *v1alpha1.PropertyStatus, leaf twin.Leaf, held *twin.Desired) {
	previous, claim := s.entries[leaf].Desired, s.claims[leaf]
	_, ours := s.claims[leaf]
	_, contested := s.conflicts[leaf]
	e.State = stateOf(twin.StatePending)
	switch {
	case s.observes():
		e.State = stateOf(twin.StateDrifted)
		if held != nil {
			e.Desired, e.DesiredVersion = sameJSON(previous, held.Value), held.Version
		}
	case ours && claim.Version == 0 && !contested:
		e.Desired = sameJSON(previous, claim.Value)
	case ours && !contested && held != nil && twin.Equal(held.Value, claim.Value):
		e.Desired, e.DesiredVersion = sameJSON(previous, held.Value), claim.Version
	case ours || contested:
		e.State = stateOf(twin.StateDrifted)
		if held != nil {
			e.Desired, e.DesiredVersion = sameJSON(previous, held.Value), held.Version
		}
	}
}

// mirror writes what the device reported.
func (s *scope) mirror(e *v1alpha1.PropertyStatus, previous v1alpha1.PropertyStatus, r *twin.Reported) {
	if r == nil {
		return
	}
	if s.device.Spec.Reported != v1alpha1.ReportedNone {
		e.Reported = sameJSON(previous.Reported, r.Value)
	}
	if r.Ack != nil {
		e.AckVersion, e.AckCode, e.AckDescription = r.Ack.Version, r.Ack.Code, cut(r.Ack.Description, ackDescriptionRunes)
	}
}

// sameJSON keeps the stored form of a value that did not change: the API server writes 42.0 as 42.
func sameJSON(previous *apiextensionsv1.JSON, v any) *apiextensionsv1.JSON {
	if previous != nil && twin.Equal(declaration.Value(previous), v) {
		return previous
	}
	return jsonOf(v)
}

// corrections keeps the last times at which the leaf was put back.
func (s *scope) corrections(leaf twin.Leaf, previous v1alpha1.PropertyStatus) []metav1.Time {
	if !s.corrected[leaf] {
		return previous.CorrectedAt
	}
	times := append(slices.Clone(previous.CorrectedAt), metav1.NewTime(s.now.Truncate(time.Second)))
	return times[max(0, len(times)-fightCorrections):]
}

// transition keeps the time of the last change of state. A write begins anew: the device owes another answer.
func (s *scope) transition(e *v1alpha1.PropertyStatus, previous v1alpha1.PropertyStatus, written bool) {
	e.LastTransitionTime = previous.LastTransitionTime
	if previous.State != e.State || written {
		e.LastTransitionTime = metav1.NewTime(s.now.Truncate(time.Second))
	}
}

// echo says that the requests in the annotations were heard.
func (s *scope) echo() {
	if s.wasRead {
		s.device.Status.LastHandledReconcileAt = s.annotation(v1alpha1.AnnotationReconcileRequestedAt)
	}
	if s.resent {
		s.device.Status.LastHandledResendAt = s.annotation(v1alpha1.AnnotationResendRequestedAt)
	}
}

// setDetails writes Synced and Acknowledged. Where this pass did not settle them they keep what they said.
func (s *scope) setDetails(v verdict) {
	if s.twin == nil {
		for _, kind := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged} {
			if apimeta.FindStatusCondition(s.device.Status.Conditions, kind) == nil {
				setCondition(s.device, kind, false, v.reason, v.message)
			}
		}
		return
	}
	synced, acknowledged := s.detail()
	s.setDetail(v1alpha1.ConditionSynced, synced, v1alpha1.ReasonApplied, "The hub holds every declared value", v)
	s.setDetail(v1alpha1.ConditionAcknowledged, acknowledged, v1alpha1.ReasonDeviceAcknowledged, "The device acknowledged every declared value", v)
}

func (s *scope) setDetail(kind string, on bool, reason, message string, v verdict) {
	if !on {
		reason, message = v.reason, v.message
		if v.ready {
			reason, message = v1alpha1.ReasonAwaitingAcknowledgement, "The device has not acknowledged every declared value"
		}
	}
	setCondition(s.device, kind, on, reason, message)
}

func (s *scope) detail() (synced, acknowledged bool) {
	synced, acknowledged = true, true
	for leaf, p := range propertiesOf(&s.device.Status) {
		_, declared := s.declared[leaf]
		switch {
		case !declared && p.Owned: // still to be removed
			synced = false
		case !declared:
		case p.State == stateOf(twin.StatePending) || p.State == stateOf(twin.StateDrifted):
			synced, acknowledged = false, false
		case p.State != stateOf(twin.StateAcknowledged):
			acknowledged = false
		}
	}
	return synced, acknowledged
}

// next manages the follow-up reads and returns when the next pass is due.
func (s *scope) next(h *halt, previous entries) time.Duration {
	var in time.Duration
	if h != nil {
		in = h.after
	}
	if s.claiming {
		return soon
	}
	if s.memory != nil && s.twin != nil && !s.device.Spec.Suspend {
		in = sooner(in, s.followUp(previous))
		if deadline, ok := s.deadline(); ok && deadline > 0 {
			in = sooner(in, deadline)
		}
	}
	s.entries = entriesOf(&s.device.Status)
	retry, _ := s.conflictRetry()
	in = sooner(in, retry)
	if in <= time.Second {
		return in
	}
	return in + jittered(in)/20 // late rather than early: what is due must be due then
}

// followUp wants reads after a write, and while an answer of the device is missing.
func (s *scope) followUp(previous entries) time.Duration {
	waits, moved := false, len(s.written) > 0
	for leaf, p := range propertiesOf(&s.device.Status) {
		if !isUnanswered(p.State) {
			continue
		}
		waits = true
		moved = moved || p.State == stateOf(twin.StateInProgress) && previous[leaf].State != p.State
	}
	s.memory.Awaits(waits)
	if s.session.EventsTrusted() {
		s.memory.Settled()
		return 0
	}
	offline := s.device.Status.ConnectionState == disconnected || s.device.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied
	switch {
	case !waits:
		s.memory.Settled()
	case moved || !offline:
		s.memory.Unsettled(s.now, moved)
	}
	in, ok := s.memory.NextFollowUp(s.now)
	if !ok {
		return 0
	}
	return max(in, soon)
}

// describeConformity says what the DeviceModel of the device has to say.
func (s *scope) describeConformity() {
	v := s.conformity
	if v == nil {
		return
	}
	switch {
	case v.Refuses():
		s.device.Status.CheckedGeneration = 0
	case v.NotReady == "":
		s.device.Status.CheckedGeneration = s.device.Generation
	}
	switch {
	case v.Model == "":
		apimeta.RemoveStatusCondition(s.device.GetConditions(), v1alpha1.ConditionConformsToModel)
	case v.NotReady != "":
		setConditionStatus(s.device, v1alpha1.ConditionConformsToModel, metav1.ConditionUnknown, v1alpha1.ReasonModelNotReady, notReadyText(*v))
	case len(v.Violations) > 0:
		setCondition(s.device, v1alpha1.ConditionConformsToModel, false, v1alpha1.ReasonModelViolation, v.Text())
	default:
		setCondition(s.device, v1alpha1.ConditionConformsToModel, true, v1alpha1.ReasonConforms, fmt.Sprintf("Checked against DeviceModel %q", v.Model))
	}
}
