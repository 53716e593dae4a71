package controllers

import (
	"bytes"
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// maxAckDescription and maxStatusReason in bytes.
	maxAckDescription = 512
	maxStatusReason   = 512
	// twinDisabled is how a twin says that the hub lets its device in no more.
	twinDisabled = "disabled"
)

// summarise computes the whole status from what the pass found and returns when the next pass is due, 0 if only when
// woken. It is the only writer of status.
func summarise(s *scope, h *halt) time.Duration {
	st := &s.device.Status
	previous := *st                                               // a shallow copy: what becomes of twin and properties are new values
	if s.declared == nil && s.device.DeletionTimestamp.IsZero() { // what does not decode counts as nothing
		s.declared, _ = declaration.Of(&s.device.Spec)
	}
	s.describe()
	s.keepVersion(&previous)
	if v, isNew := s.conclusion(h); isNew {
		s.isUnconfirmed = s.isUnconfirmed || s.isUnseen()
		s.describeSuspension()
		setVerdict(s.device, v)
		s.setDetails(v)
		s.unsettleConformity(v)
		st.ObservedGeneration = s.device.Generation
		st.Twin.Unconfirmed = s.unconfirmed(&previous)
	} else if previous.Twin != nil {
		st.Twin.Unconfirmed = previous.Twin.Unconfirmed
	}
	return s.next(h, &previous)
}

// describe writes what is known of the twin and its properties, and which requests were met: a
// resend is known to have arrived by what status said before.
func (s *scope) describe() {
	st := &s.device.Status
	s.identify()
	s.echo()
	if s.twin != nil {
		st.ModelID = s.twin.ModelID
		s.describeConnection()
		s.describeProperties()
	}
	if s.gone || s.isElsewhere() {
		s.describeAbsence()
	}
	s.describeConformity()
	st.Declared = int32(len(s.declared)) //nolint:gosec // bounded by the size of an object
	st.Acknowledged = min(st.Declared, s.acknowledged())
	st.Summary = fmt.Sprintf("%d/%d", st.Acknowledged, st.Declared)
}

// acknowledged counts the declared values that the device acknowledged. A pass that did not get as
// far as the twin knows no more than status did, and of another generation what has the same value.
func (s *scope) acknowledged() (n int32) {
	st := &s.device.Status
	switch {
	case s.isElsewhere():
		return 0
	case s.twin == nil && !s.gone && st.ObservedGeneration == s.device.Generation:
		return st.Acknowledged
	}
	for leaf, p := range propertiesOf(st) {
		value, ok := s.declared[leaf]
		if ok && p.State == stateOf(twin.StateAcknowledged) && (s.twin != nil || twin.Equal(value, factOf(p.Desired))) {
			n++
		}
	}
	return n
}

// identify says which twin the status is about. The etag is there once it has been read: until then status stays about the
// twin that was read before, at another hub for example, since what the object owns there is not gone.
func (s *scope) identify() {
	st := &s.device.Status
	id := s.device.DeviceID()
	host := s.destination
	if host == "" && s.hub != nil {
		host = s.hub.Spec.HostName
	}
	if t := s.twin; t != nil {
		st.Twin = &v1alpha1.TwinReference{
			Hub: host, DeviceID: id, DeviceEtag: t.DeviceETag, Etag: t.ETag, Version: t.Version, DesiredVersion: t.DesiredVersion,
			DesiredUpdated: s.desiredUpdated(st.Twin),
		}
		return
	}
	if st.Twin == nil || st.Twin.Etag == "" {
		st.Twin = &v1alpha1.TwinReference{Hub: host, DeviceID: id}
	}
}

// desiredUpdated keeps the time that is known of the section: a digital-twin patch answers without one, and what is believed
// has none.
func (s *scope) desiredUpdated(known *v1alpha1.TwinReference) string {
	switch {
	case !s.twin.DesiredUpdated.IsZero():
		return s.twin.DesiredUpdated.UTC().Format(time.RFC3339Nano)
	case known != nil && known.Etag == s.twin.ETag && known.DeviceEtag == s.twin.DeviceETag:
		return known.DesiredUpdated
	}
	return ""
}

func instantOf(text string) time.Time {
	at, err := time.Parse(time.RFC3339Nano, text)
	if err != nil {
		return time.Time{}
	}
	return at
}

// isElsewhere reports whether status is about the twin of another hub than the one that the declaration is for now, or about the
// device as it was before another object had it.
func (s *scope) isElsewhere() bool {
	is := s.device.Status.Twin
	return s.lost || s.twin == nil && s.hub != nil && is != nil && is.Etag != "" && iothub.HostOf(is.Hub) != s.hub.Spec.HostName
}

// unconfirmed reports whether the next pass has to read before it believes status: a call left open what the hub holds, or
// status is about another hub than the declaration, or from before another object had the device.
func (s *scope) unconfirmed(previous *v1alpha1.PnPDeviceStatus) bool {
	is := s.device.Status.Twin
	isNowhere := s.twin == nil && is.Etag != "" && s.hub == nil
	wasUnconfirmed := previous.Twin != nil && previous.Twin.Unconfirmed && !s.wasRead && !s.wrote
	return s.isUnconfirmed || isNowhere || is.Etag != "" && s.isElsewhere() || wasUnconfirmed
}

// keepVersion drops a change of the twin's counters alone: what a device reports beside its declaration costs no write, and
// neither does another writer of tags, or of what nobody declared. Memory has the newest ones; after a start an etag that is
// older than the hub's costs a read. The news of a read is on record: no start need find it again.
// So is a twin that counts as another one: it would be found to be another one for ever.
func (s *scope) keepVersion(previous *v1alpha1.PnPDeviceStatus) {
	st := &s.device.Status
	if previous.Twin == nil || st.Twin == nil || s.isInherited {
		return
	}
	was, is := *previous.Twin, *st.Twin
	isToldByEvents := !s.wasRead && !s.wrote && was.Etag != ""
	if isToldByEvents {
		is.Etag, is.DesiredVersion = was.Etag, was.DesiredVersion
	}
	is.Version, is.DesiredUpdated, is.Unconfirmed = was.Version, was.DesiredUpdated, was.Unconfirmed
	isFirstTime := !isToldByEvents && was.DesiredUpdated == "" && st.Twin.DesiredUpdated != "" // from now on another twin is told by it
	if !isFirstTime && was == is && sameConnection(previous, st) && previous.ModelID == st.ModelID && sameProperties(previous, st) {
		is.Unconfirmed = st.Twin.Unconfirmed
		st.Twin = &is
	}
}

func sameConnection(a, b *v1alpha1.PnPDeviceStatus) bool {
	return a.ConnectionState == b.ConnectionState && a.DeviceStatus == b.DeviceStatus
}

func sameProperties(a, b *v1alpha1.PnPDeviceStatus) bool {
	return isSame(a.Properties, b.Properties) && isSame(a.Components, b.Components)
}

// describeAbsence takes back what status says of a device that the hub does not know, or has not been asked for yet. Values
// that the object owned stay on record, should the hub be mistaken: that comes to nothing once the device is another one.
func (s *scope) describeAbsence() {
	st := &s.device.Status
	st.ConnectionState, st.ConnectionStateSince, st.ConnectionStateSeenTime = "", nil, nil
	st.DeviceStatus, st.DeviceStatusReason, st.DeviceStatusSince = "", "", nil
	if s.isElsewhere() { // the properties are those at the other hub, or of before
		return
	}
	all := entriesOf(st)
	maps.DeleteFunc(all, func(_ twin.Leaf, p v1alpha1.PropertyStatus) bool { return p.State == stateOf(twin.StateReported) })
	for leaf, p := range all {
		p.Reported, p.AckVersion, p.AckCode, p.AckDescription = nil, 0, 0, ""
		if p.State != stateOf(twin.StateDrifted) {
			p.State = stateOf(twin.StatePending)
		}
		s.transition(&p, s.entries[leaf], false)
		all[leaf] = p
	}
	all.writeTo(st, &twin.Twin{})
	st.NotShown = 0
}

func (s *scope) describeConnection() {
	st := &s.device.Status
	wasDisabled := st.DeviceStatus == disabled
	s.describeEnablement()
	if since := s.twin.ConnectionStateSince; !since.IsZero() && !since.Equal(timeOf(st.ConnectionStateSince)) {
		at := metav1.NewTime(since)
		st.ConnectionStateSince = &at
	}
	isOther := st.ConnectionState != s.twin.ConnectionState
	if isOther && s.twin.ConnectionStateSince.IsZero() {
		st.ConnectionStateSince = nil // a read shows the state, not since when
	}
	if isEnabled := wasDisabled && st.DeviceStatus != disabled; isOther || isEnabled { // the device has all its time to answer
		seen := metav1.NewTime(s.now.Truncate(time.Second))
		st.ConnectionState, st.ConnectionStateSeenTime = s.twin.ConnectionState, &seen
	}
}

// describeEnablement says whether the hub has the device disabled, and what the one who did that gave as a reason.
func (s *scope) describeEnablement() {
	st := &s.device.Status
	st.DeviceStatus, st.DeviceStatusReason, st.DeviceStatusSince = "", "", nil
	if s.twin.Status != twinDisabled {
		return
	}
	st.DeviceStatus, st.DeviceStatusReason = disabled, storable.Text(s.twin.StatusReason, maxStatusReason)
	if since := s.twin.StatusSince; !since.IsZero() {
		at := metav1.NewTime(since.Truncate(time.Second))
		st.DeviceStatusSince = &at
	}
}

func (s *scope) describeProperties() {
	all := entries{}
	for leaf := range s.declared {
		all[leaf] = s.entry(leaf)
	}
	if !s.observes() {
		for _, leaf := range s.departing() {
			all[leaf] = s.departingEntry(leaf)
		}
	}
	room := all.fit()
	if s.device.Spec.Reported != v1alpha1.ReportedAll || !s.twin.Partial { // a partial twin has no more than status shows
		s.device.Status.NotShown = 0
	}
	if s.device.Spec.Reported == v1alpha1.ReportedAll {
		s.describeReported(all, &room)
	}
	all.writeTo(&s.device.Status, s.twin)
	s.device.Status.Mirrored = s.mirrored()
}

// describeReported adds what the device reports beside the declaration, as far as there is room, in the order of leaves: the
// same twin always gives the same status.
func (s *scope) describeReported(all entries, room *room) {
	for _, leaf := range slices.SortedFunc(maps.Keys(s.twin.Properties), twin.CompareLeaves) {
		reported := s.twin.Properties[leaf].Reported
		if _, done := all[leaf]; done || reported == nil || reported.Value == nil {
			continue
		}
		entry := s.reportedEntry(leaf, reported)
		if !room.admits(leaf, &entry) {
			s.device.Status.NotShown++
			continue
		}
		all[leaf] = entry
	}
}

// mirrored is what status shows now of what the device reports. A partial twin has no more than status had.
func (s *scope) mirrored() v1alpha1.ReportedScope {
	is := s.device.Spec.Reported
	if was := s.device.Status.Mirrored; s.twin.Partial && breadth(was) < breadth(is) {
		is = was
	}
	if is == v1alpha1.ReportedDeclared {
		return ""
	}
	return is
}

// departingEntry describes a leaf that left the declaration, and that is not removed or let go of yet.
func (s *scope) departingEntry(leaf twin.Leaf) v1alpha1.PropertyStatus {
	e, previous, held := s.entries[leaf], s.entries[leaf], s.twin.Properties[leaf].Desired
	e.Name = leaf.Name
	owned, isOurs := s.owned.Held[leaf]
	_, isLost := s.owned.Lost[leaf]
	s.holds(&e, held, owned.SetVersion)
	e.Owned, e.Sent = isOurs || isLost, s.recordedSent(leaf)
	switch {
	case isLost:
		e.State = stateOf(twin.StateDrifted)
	case !isOurs || e.State == "" || e.State == stateOf(twin.StateDrifted):
		e.State = stateOf(twin.StatePending)
	}
	s.transition(&e, previous, false)
	return e
}

// holds says what the hub holds. set is the version that an answer has to reach, 0 where the value is not the declared one.
func (s *scope) holds(e *v1alpha1.PropertyStatus, held *twin.Desired, set int64) {
	previous := e.Desired
	e.Desired, e.DesiredVersion, e.HeldVersion = nil, 0, 0
	if held == nil {
		return
	}
	e.Desired, e.DesiredVersion = sameJSON(previous, held.Value), cmp.Or(set, held.Version)
	if held.Version > e.DesiredVersion {
		e.HeldVersion = held.Version
	}
}

// recordedSent is what status records of a first write whose outcome is not known. It ends with a read: a value that is still
// to be sent is recorded anew, with the version that it makes then.
func (s *scope) recordedSent(leaf twin.Leaf) *v1alpha1.SentValue {
	sent, ok := s.sent[leaf]
	if owned, held := s.owned.Held[leaf]; !ok || held && (!s.isCarried || sent.Version <= owned.Version) {
		return nil
	}
	declared, isDeclared := s.declared[leaf]
	isNext := isDeclared && sent.Version == s.nextVersion() && twin.Equal(sent.Value, declared)
	if _, read := s.reading(); !isNext && (read || s.isWithheld(leaf)) {
		return nil
	}
	return &v1alpha1.SentValue{Value: *jsonOf(sent.Value), Version: sent.Version}
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
	_, isOurs := s.owned.Held[leaf]
	_, isLost := s.owned.Lost[leaf]
	_, isContested := s.conflicts[leaf]
	e.Desired, e.State = previous.Desired, stateOf(twin.StatePending)
	switch {
	case s.twin.Holds(leaf, value):
		version := s.setVersion(leaf, *p.Desired)
		s.holds(&e, p.Desired, version)
		e.State = stateOf(twin.Judge(value, s.heard(leaf, value, p), version, s.twin.AckLimit()))
	case s.observes() || isContested || isLost:
		s.holds(&e, p.Desired, s.owned.Held[leaf].SetVersion)
		e.State = stateOf(twin.StateDrifted)
		if isOurs { // told from a lost value by that
			e.HeldVersion = p.Desired.Version
		}
	default:
		s.holds(&e, p.Desired, s.owned.Held[leaf].SetVersion)
		e.Sent = s.recordedSent(leaf)
	}
	e.Owned = isOurs || isLost && e.State == stateOf(twin.StateDrifted)
	s.transition(&e, previous, s.written[leaf] || isOurs && previous.DesiredVersion != e.DesiredVersion)
	return e
}

// setVersion is the version that an answer has to reach. Where the value is not the object's, as in Observe mode, it is the
// one that status knows, as long as no other value was seen.
func (s *scope) setVersion(leaf twin.Leaf, held twin.Desired) int64 {
	if owned, ok := s.owned.Held[leaf]; ok {
		return owned.SetVersion
	}
	if previous := s.entries[leaf]; s.entries.isKnown(leaf) && s.isSame(leaf, factOf(previous.Desired), held.Value) {
		return previous.DesiredVersion
	}
	return held.Version
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
		e.AckVersion, e.AckCode, e.AckDescription = r.Ack.Version, r.Ack.Code, storable.Text(r.Ack.Description, maxAckDescription)
	}
}

// sameJSON keeps the stored form of a value that did not change, unless a status may not have it: the API server writes 42.0
// as 42.
func sameJSON(previous *apiextensionsv1.JSON, v any) *apiextensionsv1.JSON {
	is := jsonOf(v)
	if previous == nil || is == nil {
		return is
	}
	isSameForm := storable.IsForm(previous.Raw) == storable.IsForm(is.Raw)
	if isSameForm && (bytes.Equal(previous.Raw, is.Raw) || twin.Equal(factOf(previous), v)) {
		return previous
	}
	return is
}

// corrections keeps the last times at which the leaf was put back: those of status, or of memory, which knows more of them
// where a status write was refused.
func (s *scope) corrections(leaf twin.Leaf, previous v1alpha1.PropertyStatus) []metav1.Time {
	times := s.correctionsOf(leaf)
	if len(times) <= len(recentCorrections(previous, s.now)) && !s.corrected[leaf] {
		return previous.CorrectedAt
	}
	recorded := make([]metav1.Time, 0, fightCorrections)
	for _, at := range times[max(0, len(times)-fightCorrections):] {
		recorded = append(recorded, metav1.NewTime(at))
	}
	return recorded
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
	if s.wasRead && s.readRequested() {
		s.device.Status.LastHandledReconcileAt = s.annotation(v1alpha1.AnnotationReconcileRequestedAt)
	}
	if s.resent {
		s.device.Status.LastHandledResendAt = s.annotation(v1alpha1.AnnotationResendRequestedAt)
	}
}

// setDetails writes Synced and Acknowledged, with the text of Ready where they are not True.
func (s *scope) setDetails(v verdict) {
	synced, acknowledged := s.detail()
	switch {
	case s.isBeingDeleted():
		synced, acknowledged = false, false
	case s.gone, s.twin == nil && s.wasGoneThere() && !s.isElsewhere(): // whatever else keeps the object from being Ready
		synced, acknowledged = false, false
		v = verdict{reason: v1alpha1.ReasonDeviceNotFound, message: notFoundText}
	case s.twin == nil:
		synced = synced && s.wasKnown(v1alpha1.ConditionSynced)
		acknowledged = acknowledged && s.wasKnown(v1alpha1.ConditionAcknowledged)
	}
	s.setDetail(v1alpha1.ConditionSynced, synced, v1alpha1.ReasonApplied, "The hub holds every declared value", v)
	s.setDetail(v1alpha1.ConditionAcknowledged, acknowledged, v1alpha1.ReasonDeviceAcknowledged, "The device acknowledged every declared value", v)
}

// wasKnown reports whether a condition was true of this declaration when the hub spoke last, as far
// as the states of properties do not tell: of another generation they tell it of what has the same
// value.
func (s *scope) wasKnown(kind string) bool {
	was := apimeta.FindStatusCondition(s.device.Status.Conditions, kind)
	switch {
	case was == nil || s.isElsewhere():
		return false
	case was.ObservedGeneration == s.device.Generation:
		return was.Status == metav1.ConditionTrue
	}
	known := entriesOf(&s.device.Status)
	for leaf, value := range s.declared {
		if p, ok := known[leaf]; !ok || p.Desired == nil || !twin.Equal(value, factOf(p.Desired)) {
			return false
		}
	}
	return true
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

// unsettleConformity has ConformsToModel say no more of an earlier generation where the pass did
// not ask.
func (s *scope) unsettleConformity(v verdict) {
	was := apimeta.FindStatusCondition(s.device.Status.Conditions, v1alpha1.ConditionConformsToModel)
	if s.conformity != nil || v.ready || was == nil || was.ObservedGeneration == s.device.Generation && was.Status != metav1.ConditionUnknown {
		return
	}
	setConditionStatus(s.device, v1alpha1.ConditionConformsToModel, metav1.ConditionUnknown, v.reason, v.message)
}

func (s *scope) detail() (synced, acknowledged bool) {
	synced, acknowledged = true, true
	for leaf, p := range propertiesOf(&s.device.Status) {
		_, declared := s.declared[leaf]
		switch {
		case !declared && (p.Owned || p.Sent != nil): // still to be removed, or to be let go
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
func (s *scope) next(h *halt, previous *v1alpha1.PnPDeviceStatus) time.Duration {
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
		if s.waitsForDisabled() {
			in = sooner(in, retryTerminal)
		}
	}
	s.entries = entriesOf(&s.device.Status)
	retry, _ := s.conflictRetry()
	in = sooner(in, retry)
	if in <= time.Second {
		return in
	}
	return in + hubs.Jittered(in)/20 // late rather than early: what is due must be due then
}

// followUp wants reads after a write, and while an answer of the device is missing.
func (s *scope) followUp(previous *v1alpha1.PnPDeviceStatus) time.Duration {
	waits, moved, before := false, len(s.written) > 0, entriesOf(previous)
	for leaf, p := range propertiesOf(&s.device.Status) {
		if !isUnanswered(p.State) {
			continue
		}
		waits = true
		moved = moved || p.State == stateOf(twin.StateInProgress) && before[leaf].State != p.State
	}
	s.memory.Awaits(waits)
	switch {
	case s.session.EventsTrusted():
		s.askWhyOffline(waits, previous)
	case !waits:
		s.memory.Settled()
	case moved || !isUnreachable(&s.device.Status) && s.device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied:
		s.memory.Unsettled(s.now, moved)
	}
	in, ok := s.memory.NextFollowUp(s.now)
	if !ok {
		return 0
	}
	return max(in, soon)
}

// askWhyOffline wants one read once a device that owes an answer has gone offline, or was written to while it was: no event
// tells that it was disabled. All else events tell.
func (s *scope) askWhyOffline(waits bool, previous *v1alpha1.PnPDeviceStatus) {
	isNews := len(s.written) > 0 || !isUnreachable(previous)
	switch {
	case !waits, !isUnreachable(&s.device.Status), s.device.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied:
		s.memory.Settled()
	case isNews && !s.memory.ReadSince(s.now):
		s.memory.Unexplained(s.now)
	}
}

// describeConformity says what the DeviceModel of the device has to say.
func (s *scope) describeConformity() {
	v := s.conformity
	if v == nil {
		return
	}
	switch {
	case v.Refuses():
		s.device.Status.CheckedGeneration, s.device.Status.CheckedModel = 0, ""
	case v.NotReady == "":
		s.device.Status.CheckedGeneration, s.device.Status.CheckedModel = s.device.Generation, v.Of
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
