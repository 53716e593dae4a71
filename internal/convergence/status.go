package convergence

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
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// MaxAckDescription is what status has of the text of an acknowledgement, in bytes.
	MaxAckDescription = 512
	// maxStatusReason is the same of why a device was disabled.
	maxStatusReason = 512
	// twinDisabled is how a twin says that the hub lets its device in no more.
	twinDisabled = "disabled"
)

// Outlook is what follows from a status.
type Outlook struct {
	// In is when the next pass is due, 0 if only when woken.
	In time.Duration
	// FollowUps is true if memory is to be told what is wanted of reads after a write.
	FollowUps bool
	// Awaits is true if the device owes an answer, and Want what reads that asks for.
	Awaits bool
	Want   FollowUp
}

// FollowUp is what a pass wants of the reads after a write.
type FollowUp int

const (
	// AsBefore leaves them as they are.
	AsBefore FollowUp = iota
	// Never wants none.
	Never
	// Unless wants them from now, unless they are wanted already.
	Unless
	// Anew wants them from now.
	Anew
	// Once wants one that says why the device is offline.
	Once
)

// Summarise computes the whole status from what the pass found.
func (s *State) Summarise(h *Halt) Outlook {
	s.Show()
	return s.Conclude(h)
}

// Show has status say what is known of the twin and its properties. Conclude has to follow: between
// the two the pass finds out whether a device is there that the hub calls disconnected, see
// OwesWhileOffline.
func (s *State) Show() {
	s.previous = s.Device.Status                                  // a shallow copy: what becomes of twin and properties are new values
	if s.Declared == nil && s.Device.DeletionTimestamp.IsZero() { // what does not decode counts as nothing
		s.Declared, _ = declaration.Of(&s.Device.Spec)
	}
	s.Describe()
	s.keepVersion(&s.previous)
}

// Conclude has the conditions say what the pass came to.
func (s *State) Conclude(h *Halt) Outlook {
	st := &s.Device.Status
	if v, isNew := s.conclusion(h); isNew {
		s.IsUnconfirmed = s.IsUnconfirmed || s.isUnseen()
		s.describeSuspension()
		conditions.SetVerdict(s.Device, v)
		s.setDetails(v)
		s.unsettleConformity(v)
		st.ObservedGeneration = s.Device.Generation
		st.Twin.Unconfirmed = s.unconfirmed(&s.previous)
	} else if s.previous.Twin != nil {
		st.Twin.Unconfirmed = s.previous.Twin.Unconfirmed || s.IsUnconfirmed
	}
	return s.outlook(h, &s.previous)
}

// Describe writes what is known of the twin and its properties, and which requests were met: a
// resend is known to have arrived by what status said before.
func (s *State) Describe() {
	st := &s.Device.Status
	s.identify()
	s.echo()
	if s.Twin != nil {
		st.ModelID = s.Twin.ModelID
		s.describeConnection()
		s.describeProperties()
	}
	if s.Gone || s.isElsewhere() {
		s.describeAbsence()
	}
	s.describeConformity()
	st.Declared = int32(len(s.Declared)) //nolint:gosec // bounded by the size of an object
	st.Acknowledged = min(st.Declared, s.acknowledged())
	st.Summary = fmt.Sprintf("%d/%d", st.Acknowledged, st.Declared)
}

// acknowledged counts the declared values that the device acknowledged. A pass that did not get as
// far as the twin knows no more than status did, and of another generation what has the same value.
func (s *State) acknowledged() (n int32) {
	st := &s.Device.Status
	switch {
	case s.isElsewhere():
		return 0
	case s.Twin == nil && !s.Gone && st.ObservedGeneration == s.Device.Generation:
		return st.Acknowledged
	}
	for leaf, p := range PropertiesOf(st) {
		value, ok := s.Declared[leaf]
		if ok && p.State == StateOf(twin.StateAcknowledged) && (s.Twin != nil || twin.Equal(value, FactOf(p.Desired))) {
			n++
		}
	}
	return n
}

// identify says which twin the status is about. The etag is there once it has been read: until then
// status stays about the twin that was read before, at another hub for example, since what the
// object owns there is not gone.
func (s *State) identify() {
	st := &s.Device.Status
	id := s.Device.DeviceID()
	host := s.Destination
	if host == "" && s.Hub != nil {
		host = s.Hub.Spec.HostName
	}
	if t := s.Twin; t != nil {
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

// desiredUpdated keeps the time that is known of the section: a digital-twin patch answers without
// one, and what is believed has none.
func (s *State) desiredUpdated(known *v1alpha1.TwinReference) string {
	switch {
	case !s.Twin.DesiredUpdated.IsZero():
		return s.Twin.DesiredUpdated.UTC().Format(time.RFC3339Nano)
	case known != nil && known.Etag == s.Twin.ETag && known.DeviceEtag == s.Twin.DeviceETag:
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

// isElsewhere reports whether status is about the twin of another hub than the one that the
// declaration is for now, or about the device as it was before another object had it.
func (s *State) isElsewhere() bool {
	is := s.Device.Status.Twin
	return s.Lost || s.Twin == nil && s.Hub != nil && is != nil && is.Etag != "" && is.HostName() != s.Hub.Spec.HostName
}

// unconfirmed reports whether the next pass has to read before it believes status: a call left open
// what the hub holds, or status is about another hub than the declaration, or from before another
// object had the device.
func (s *State) unconfirmed(previous *v1alpha1.PnPDeviceStatus) bool {
	is := s.Device.Status.Twin
	isNowhere := s.Twin == nil && is.Etag != "" && s.Hub == nil
	wasUnconfirmed := previous.Twin != nil && previous.Twin.Unconfirmed && !s.WasRead && !s.Wrote
	return s.IsUnconfirmed || isNowhere || is.Etag != "" && s.isElsewhere() || wasUnconfirmed
}

// keepVersion drops a change of the twin's counters alone: what a device reports beside its
// declaration costs no write, and neither does another writer of tags, or of what nobody declared.
// Memory has the newest ones; after a start an etag that is older than the hub's costs a read. The
// news of a read is on record: no start need find it again. So is a twin that counts as another
// one: it would be found to be another one for ever.
func (s *State) keepVersion(previous *v1alpha1.PnPDeviceStatus) {
	st := &s.Device.Status
	if previous.Twin == nil || st.Twin == nil || s.isInherited {
		return
	}
	was, is := *previous.Twin, *st.Twin
	isToldByEvents := !s.WasRead && !s.Wrote && was.Etag != ""
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
	return conditions.IsSame(a.Properties, b.Properties) && conditions.IsSame(a.Components, b.Components)
}

// describeAbsence takes back what status says of a device that the hub does not know, or has not
// been asked for yet. Values that the object owned stay on record, should the hub be mistaken: that
// comes to nothing once the device is another one.
func (s *State) describeAbsence() {
	st := &s.Device.Status
	st.ConnectionState, st.ConnectionStateSince, st.ConnectionStateSeenTime = "", nil, nil
	st.DeviceStatus, st.DeviceStatusReason, st.DeviceStatusSince = "", "", nil
	if s.isElsewhere() { // the properties are those at the other hub, or of before
		return
	}
	all := EntriesOf(st)
	maps.DeleteFunc(all, func(_ twin.Leaf, p v1alpha1.PropertyStatus) bool { return p.State == StateOf(twin.StateReported) })
	for leaf, p := range all {
		p.Reported, p.AckVersion, p.AckCode, p.AckDescription = nil, 0, 0, ""
		if p.State != StateOf(twin.StateDrifted) {
			p.State = StateOf(twin.StatePending)
		}
		s.transition(&p, s.Entries[leaf], false)
		all[leaf] = p
	}
	all.writeTo(st, &twin.Twin{})
	st.NotShown = 0
}

func (s *State) describeConnection() {
	st := &s.Device.Status
	wasDisabled := st.DeviceStatus == Disabled
	s.describeEnablement()
	if since := s.Twin.ConnectionStateSince; !since.IsZero() && !since.Equal(timeOf(st.ConnectionStateSince)) {
		at := metav1.NewTime(since)
		st.ConnectionStateSince = &at
	}
	isOther := st.ConnectionState != s.Twin.ConnectionState
	if isOther && s.Twin.ConnectionStateSince.IsZero() {
		st.ConnectionStateSince = nil // a read shows the state, not since when
	}
	if isEnabled := wasDisabled && st.DeviceStatus != Disabled; isOther || isEnabled { // the device has all its time to answer
		seen := metav1.NewTime(s.Now.Truncate(time.Second))
		st.ConnectionState, st.ConnectionStateSeenTime = s.Twin.ConnectionState, &seen
	}
}

// describeEnablement says whether the hub has the device disabled, and what the one who did that
// gave as a reason.
func (s *State) describeEnablement() {
	st := &s.Device.Status
	st.DeviceStatus, st.DeviceStatusReason, st.DeviceStatusSince = "", "", nil
	if s.Twin.Status != twinDisabled {
		return
	}
	st.DeviceStatus, st.DeviceStatusReason = Disabled, storable.Text(s.Twin.StatusReason, maxStatusReason)
	if since := s.Twin.StatusSince; !since.IsZero() {
		at := metav1.NewTime(since.Truncate(time.Second))
		st.DeviceStatusSince = &at
	}
}

func (s *State) describeProperties() {
	all := Entries{}
	for leaf := range s.Declared {
		all[leaf] = s.entry(leaf)
	}
	if !s.Observes() {
		for _, leaf := range s.Departing() {
			all[leaf] = s.departingEntry(leaf)
		}
	}
	room := all.fit()
	if s.Device.Spec.Reported != v1alpha1.ReportedAll || !s.Twin.Partial { // a partial twin has no more than status shows
		s.Device.Status.NotShown = 0
	}
	if s.Device.Spec.Reported == v1alpha1.ReportedAll {
		s.describeReported(all, &room)
	}
	all.writeTo(&s.Device.Status, s.Twin)
	s.Device.Status.Mirrored = s.mirrored()
}

// describeReported adds what the device reports beside the declaration, as far as there is room, in
// the order of leaves: the same twin always gives the same status.
func (s *State) describeReported(all Entries, room *room) {
	for _, leaf := range slices.SortedFunc(maps.Keys(s.Twin.Properties), twin.CompareLeaves) {
		reported := s.Twin.Properties[leaf].Reported
		if _, done := all[leaf]; done || reported == nil || reported.Value == nil {
			continue
		}
		entry := s.reportedEntry(leaf, reported)
		if !room.admits(leaf, &entry) {
			s.Device.Status.NotShown++
			continue
		}
		all[leaf] = entry
	}
}

// mirrored is what status shows now of what the device reports. A partial twin has no more than
// status had.
func (s *State) mirrored() v1alpha1.ReportedScope {
	is := s.Device.Spec.Reported
	if was := s.Device.Status.Mirrored; s.Twin.Partial && breadth(was) < breadth(is) {
		is = was
	}
	if is == v1alpha1.ReportedDeclared {
		return ""
	}
	return is
}

// departingEntry describes a leaf that left the declaration, and that is not removed or let go of
// yet.
func (s *State) departingEntry(leaf twin.Leaf) v1alpha1.PropertyStatus {
	e, previous, held := s.Entries[leaf], s.Entries[leaf], s.Twin.Properties[leaf].Desired
	e.Name = leaf.Name
	owned, isOurs := s.Owned.Held[leaf]
	_, isLost := s.Owned.Lost[leaf]
	s.holds(&e, held, owned.SetVersion)
	e.Owned, e.Sent = isOurs || isLost, s.recordedSent(leaf)
	switch {
	case isLost:
		e.State = StateOf(twin.StateDrifted)
	case !isOurs || e.State == "" || e.State == StateOf(twin.StateDrifted):
		e.State = StateOf(twin.StatePending)
	}
	s.transition(&e, previous, false)
	return e
}

// holds says what the hub holds. set is the version that an answer has to reach, 0 where the value
// is not the declared one.
func (s *State) holds(e *v1alpha1.PropertyStatus, held *twin.Desired, set int64) {
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

// recordedSent is what status records of a first write whose outcome is not known. It ends with a
// read: a value that is still to be sent is recorded anew, with the version that it makes then.
func (s *State) recordedSent(leaf twin.Leaf) *v1alpha1.SentValue {
	sent, ok := s.sent[leaf]
	if owned, held := s.Owned.Held[leaf]; !ok || held && (!s.isCarried || sent.Version <= owned.Version) {
		return nil
	}
	declared, isDeclared := s.Declared[leaf]
	isNext := isDeclared && sent.Version == s.nextVersion() && twin.Equal(sent.Value, declared)
	if _, read := s.reading(); !isNext && (read || s.isWithheld(leaf)) {
		return nil
	}
	return &v1alpha1.SentValue{Value: *JSONOf(sent.Value), Version: sent.Version}
}

func (s *State) reportedEntry(leaf twin.Leaf, r *twin.Reported) v1alpha1.PropertyStatus {
	previous := s.Entries[leaf]
	e := v1alpha1.PropertyStatus{Name: leaf.Name, State: StateOf(twin.StateReported), Reported: sameJSON(previous.Reported, r.Value)}
	s.transition(&e, previous, false)
	return e
}

// entry says how far one declared leaf has come.
func (s *State) entry(leaf twin.Leaf) v1alpha1.PropertyStatus {
	previous, value, p := s.Entries[leaf], s.Declared[leaf], s.Twin.Properties[leaf]
	e := v1alpha1.PropertyStatus{Name: leaf.Name, CorrectedAt: s.corrections(leaf, previous)}
	s.mirror(&e, previous, p.Reported)
	_, isOurs := s.Owned.Held[leaf]
	_, isLost := s.Owned.Lost[leaf]
	_, isContested := s.Conflicts[leaf]
	e.Desired, e.State = previous.Desired, StateOf(twin.StatePending)
	switch {
	case s.Twin.Holds(leaf, value):
		version := s.setVersion(leaf, *p.Desired)
		s.holds(&e, p.Desired, version)
		e.State = StateOf(twin.Judge(value, s.heard(leaf, value, p), version, s.Twin.AckLimit()))
	case s.Observes() || isContested || isLost:
		s.holds(&e, p.Desired, s.Owned.Held[leaf].SetVersion)
		e.State = StateOf(twin.StateDrifted)
		if isOurs { // told from a lost value by that
			e.HeldVersion = p.Desired.Version
		}
	default:
		s.holds(&e, p.Desired, s.Owned.Held[leaf].SetVersion)
		e.Sent = s.recordedSent(leaf)
	}
	e.Owned = isOurs || isLost && e.State == StateOf(twin.StateDrifted)
	s.transition(&e, previous, s.Written[leaf] || isOurs && previous.DesiredVersion != e.DesiredVersion)
	return e
}

// setVersion is the version that an answer has to reach. Where the value is not the object's, as in
// Observe mode, it is the one that status knows, as long as no other value was seen.
func (s *State) setVersion(leaf twin.Leaf, held twin.Desired) int64 {
	if owned, ok := s.Owned.Held[leaf]; ok {
		return owned.SetVersion
	}
	if previous := s.Entries[leaf]; s.Entries.isKnown(leaf) && s.isSame(leaf, FactOf(previous.Desired), held.Value) {
		return previous.DesiredVersion
	}
	return held.Version
}

// mirror writes what the device reported.
func (s *State) mirror(e *v1alpha1.PropertyStatus, previous v1alpha1.PropertyStatus, r *twin.Reported) {
	if r == nil {
		return
	}
	if s.Device.Spec.Reported != v1alpha1.ReportedNone {
		e.Reported = sameJSON(previous.Reported, r.Value)
	}
	if r.Ack != nil {
		e.AckVersion, e.AckCode, e.AckDescription = r.Ack.Version, r.Ack.Code, storable.Text(r.Ack.Description, MaxAckDescription)
	}
}

// sameJSON keeps the stored form of a value that did not change, unless a status may not have it:
// the API server writes 42.0 as 42.
func sameJSON(previous *apiextensionsv1.JSON, v any) *apiextensionsv1.JSON {
	is := JSONOf(v)
	if previous == nil || is == nil {
		return is
	}
	isSameForm := storable.IsForm(previous.Raw) == storable.IsForm(is.Raw)
	if isSameForm && (bytes.Equal(previous.Raw, is.Raw) || twin.Equal(FactOf(previous), v)) {
		return previous
	}
	return is
}

// corrections keeps the last times at which the leaf was put back: those of status, or of memory,
// which knows more of them where a status write was refused.
func (s *State) corrections(leaf twin.Leaf, previous v1alpha1.PropertyStatus) []metav1.Time {
	times := s.CorrectionsOf(leaf)
	if len(times) <= len(recentCorrections(previous, s.Now)) && !s.corrected[leaf] {
		return previous.CorrectedAt
	}
	recorded := make([]metav1.Time, 0, FightCorrections)
	for _, at := range times[max(0, len(times)-FightCorrections):] {
		recorded = append(recorded, metav1.NewTime(at))
	}
	return recorded
}

// transition keeps the time of the last change of state. A write begins anew: the device owes
// another answer.
func (s *State) transition(e *v1alpha1.PropertyStatus, previous v1alpha1.PropertyStatus, written bool) {
	e.LastTransitionTime = previous.LastTransitionTime
	if previous.State != e.State || written {
		e.LastTransitionTime = metav1.NewTime(s.Now.Truncate(time.Second))
	}
}

// echo says that the requests in the annotations were heard.
func (s *State) echo() {
	if s.WasRead && s.readRequested() {
		s.Device.Status.LastHandledReconcileAt = s.annotation(v1alpha1.AnnotationReconcileRequestedAt)
	}
	if s.resent {
		s.Device.Status.LastHandledResendAt = s.annotation(v1alpha1.AnnotationResendRequestedAt)
	}
}

// setDetails writes Synced and Acknowledged, with the text of Ready where they are not True.
func (s *State) setDetails(v conditions.Verdict) {
	synced, acknowledged := s.detail()
	switch {
	case s.isBeingDeleted():
		synced, acknowledged = false, false
	case s.Gone, s.Twin == nil && s.wasGoneThere() && !s.isElsewhere(): // whatever else keeps the object from being Ready
		synced, acknowledged = false, false
		v = conditions.Verdict{Reason: v1alpha1.ReasonDeviceNotFound, Message: NotFoundText}
	case s.Twin == nil:
		synced = synced && s.wasKnown(v1alpha1.ConditionSynced)
		acknowledged = acknowledged && s.wasKnown(v1alpha1.ConditionAcknowledged)
	}
	s.setDetail(v1alpha1.ConditionSynced, synced, v1alpha1.ReasonApplied, "The hub holds every declared value", v)
	s.setDetail(v1alpha1.ConditionAcknowledged, acknowledged, v1alpha1.ReasonDeviceAcknowledged, "The device acknowledged every declared value", v)
}

// wasKnown reports whether a condition was true of this declaration when the hub spoke last, as far
// as the states of properties do not tell: of another generation they tell it of what has the same
// value.
func (s *State) wasKnown(kind string) bool {
	was := apimeta.FindStatusCondition(s.Device.Status.Conditions, kind)
	switch {
	case was == nil || s.isElsewhere():
		return false
	case was.ObservedGeneration == s.Device.Generation:
		return was.Status == metav1.ConditionTrue
	}
	known := EntriesOf(&s.Device.Status)
	for leaf, value := range s.Declared {
		if p, ok := known[leaf]; !ok || p.Desired == nil || !twin.Equal(value, FactOf(p.Desired)) {
			return false
		}
	}
	return true
}

func (s *State) setDetail(kind string, on bool, reason, message string, v conditions.Verdict) {
	if !on {
		reason, message = v.Reason, v.Message
		if v.Ready {
			reason, message = v1alpha1.ReasonAwaitingAcknowledgement, "The device has not acknowledged every declared value"
		}
	}
	conditions.Set(s.Device, kind, on, reason, message)
}

// unsettleConformity has ConformsToModel say no more of an earlier generation, or of a DeviceModel
// that is another one by now, where the pass did not check.
func (s *State) unsettleConformity(v conditions.Verdict) {
	was := apimeta.FindStatusCondition(s.Device.Status.Conditions, v1alpha1.ConditionConformsToModel)
	if s.Conformity != nil || was == nil {
		return
	}
	checked, is := s.Device.Status.CheckedModel, s.modelNow()
	isOfNow := was.ObservedGeneration == s.Device.Generation && (checked == "" || is.Of == "" || checked == is.Of)
	switch {
	case is.Of != "" && is.Model == "" && is.NotReady == "": // there is none any more
		apimeta.RemoveStatusCondition(s.Device.GetConditions(), v1alpha1.ConditionConformsToModel)
	case v.Ready, isOfNow && was.Status != metav1.ConditionUnknown:
	default:
		conditions.SetStatus(s.Device, v1alpha1.ConditionConformsToModel, metav1.ConditionUnknown, v.Reason, v.Message)
	}
}

func (s *State) detail() (synced, acknowledged bool) {
	synced, acknowledged = true, true
	for leaf, p := range PropertiesOf(&s.Device.Status) {
		_, declared := s.Declared[leaf]
		switch {
		case !declared && (p.Owned || p.Sent != nil): // still to be removed, or to be let go
			synced = false
		case !declared:
		case p.State == StateOf(twin.StatePending) || p.State == StateOf(twin.StateDrifted):
			synced, acknowledged = false, false
		case p.State != StateOf(twin.StateAcknowledged):
			acknowledged = false
		}
	}
	return synced, acknowledged
}

// outlook says when the next pass is due, and what reads are wanted until then.
func (s *State) outlook(h *Halt, previous *v1alpha1.PnPDeviceStatus) (o Outlook) {
	if h != nil {
		o.In = h.After
	}
	if s.Claiming {
		return Outlook{In: Soon}
	}
	if s.Memory != nil && s.Twin != nil && !s.Device.Spec.Suspend {
		s.followUp(&o, previous)
		if deadline, ok := s.deadline(); ok && deadline > 0 {
			o.In = Sooner(o.In, deadline)
		}
		if s.waitsForDisabled() {
			o.In = Sooner(o.In, RetryTerminal)
		}
	}
	retry, _ := EntriesOf(&s.Device.Status).conflictRetry(s.Now)
	o.In = Sooner(o.In, retry)
	return o
}

// followUp wants reads after a write, and while an answer of the device is missing.
func (s *State) followUp(o *Outlook, previous *v1alpha1.PnPDeviceStatus) {
	moved, before := len(s.Written) > 0, EntriesOf(previous)
	for leaf, p := range PropertiesOf(&s.Device.Status) {
		if !isUnanswered(p.State) {
			continue
		}
		o.Awaits = true
		moved = moved || p.State == StateOf(twin.StateInProgress) && before[leaf].State != p.State
	}
	o.FollowUps = true
	switch {
	case s.EventsTrusted:
		o.Want = s.whyOffline(o.Awaits, previous)
	case !o.Awaits:
		o.Want = Never
	case moved:
		o.Want = Anew
	case !IsUnreachable(&s.Device.Status) && s.Device.Spec.ReadyWhen != v1alpha1.ReadyWhenApplied:
		o.Want = Unless
	}
}

// whyOffline wants one read once a device that owes an answer has gone offline, or was written to
// while it was: no event tells that it was disabled. All else events tell.
func (s *State) whyOffline(waits bool, previous *v1alpha1.PnPDeviceStatus) FollowUp {
	isNews := len(s.Written) > 0 || !IsUnreachable(previous)
	switch {
	case !waits, !IsUnreachable(&s.Device.Status), s.Device.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied:
		return Never
	case isNews && !s.Memory.ReadSince(s.Now):
		return Once
	}
	return AsBefore
}

// describeConformity says what the DeviceModel of the device has to say.
func (s *State) describeConformity() {
	v := s.Conformity
	if v == nil {
		return
	}
	switch {
	case v.Refuses():
		s.Device.Status.CheckedGeneration, s.Device.Status.CheckedModel = 0, ""
	case v.NotReady == "":
		s.Device.Status.CheckedGeneration, s.Device.Status.CheckedModel = s.Device.Generation, v.Of
	}
	switch {
	case v.Model == "":
		apimeta.RemoveStatusCondition(s.Device.GetConditions(), v1alpha1.ConditionConformsToModel)
	case v.NotReady != "":
		conditions.SetStatus(s.Device, v1alpha1.ConditionConformsToModel, metav1.ConditionUnknown, v1alpha1.ReasonModelNotReady, NotReadyText(*v))
	case len(v.Violations) > 0:
		conditions.Set(s.Device, v1alpha1.ConditionConformsToModel, false, v1alpha1.ReasonModelViolation, v.Text())
	default:
		conditions.Set(s.Device, v1alpha1.ConditionConformsToModel, true, v1alpha1.ReasonConforms, fmt.Sprintf("Checked against DeviceModel %q", v.Model))
	}
}
