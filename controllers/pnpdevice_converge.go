package controllers

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// maxRounds of read, diff and write within one pass while others write to the same twin.
	maxRounds = 3
	// Three corrections of one leaf within an hour are a fight.
	fightCorrections = 3
	fightWindow      = time.Hour
)

var errContended = errors.New("the twin changed during every attempt to write it")

// converge diffs and writes until the hub holds the declaration. A leaf that is new to this object is recorded in status in
// one pass and written in the next, so that a crash in between orphans nothing; what keeps it from being written comes before
// that, so that what is recorded is sent.
func (r *PnPDeviceReconciler) converge(ctx context.Context, s *scope) error {
	for range maxRounds {
		if s.observes() || s.device.Spec.Suspend {
			s.resent = s.observes()
			return nil
		}
		changes, released, err := r.plan(ctx, s)
		if err != nil {
			return err
		}
		if len(changes) == 0 {
			r.release(s, released)
			s.resent = true
			s.memory.Unblocked()
			return nil
		}
		if s.hub.Spec.Suspend {
			return stalled(v1alpha1.ReasonHubSuspended, s.hubSuspendedText(changes), 0)
		}
		if s.needsRead(changes) {
			if err := r.lookAtModel(ctx, s); err != nil {
				return err
			}
			continue
		}
		allowed, err := r.braked(ctx, s, changes)
		if err != nil {
			return err
		}
		if s.claim(allowed) {
			return nil
		}
		if err := r.write(ctx, s, allowed); err != nil {
			return err
		}
	}
	if s.hasConverged() {
		return nil
	}
	return errContended
}

// hasConverged reports whether nothing is left to write or to remove but what is left to other
// writers.
func (s *scope) hasConverged() bool {
	return len(twin.Diff(s.declared, s.owned, s.twin)) == len(s.conflicts) && len(s.departing()) == 0
}

// plan is what is to be written, and what is let go of when that is done.
func (r *PnPDeviceReconciler) plan(ctx context.Context, s *scope) (changes []twin.Change, released []twin.Leaf, err error) {
	removals, released, err := r.depart(ctx, s) // first: it may read
	if err != nil {
		return nil, nil, err
	}
	changes = append(s.contested(twin.Diff(s.declared, s.owned, s.twin)), s.resends()...)
	return append(changes, removals...), released, nil
}

// depart says what becomes of the leaves that left the declaration. Nothing is removed or let go without a read in this very
// pass.
func (r *PnPDeviceReconciler) depart(ctx context.Context, s *scope) (removals []twin.Change, released []twin.Leaf, err error) {
	if len(s.departing()) == 0 {
		return nil, nil, nil
	}
	if _, read := s.reading(); !read {
		if err := r.lookAtModel(ctx, s); err != nil {
			return nil, nil, err
		}
	}
	reading, _ := s.reading()
	removals, released = reading.Depart(s.owned, s.declared)
	return removals, released, nil
}

// needsRead reports whether changes have to wait for a look at the device: at its model, or at what they are merged into.
func (s *scope) needsRead(changes []twin.Change) bool {
	return s.device.Spec.ModelID != "" && s.memory.ModelInDoubt() || s.mergesUnseen(changes)
}

// mergesUnseen reports whether an object is to be merged into a value that status has no room for. Only a read tells which of
// the keys there have to go.
func (s *scope) mergesUnseen(changes []twin.Change) bool {
	return s.dialect() == twin.DeviceTwin && slices.ContainsFunc(changes, func(c twin.Change) bool {
		_, isObject := c.Value.(map[string]any)
		return isObject && c.Was != nil && isOmitted(c.Was.Value)
	})
}

func isOmitted(v any) bool {
	_, is := v.(twin.Omitted)
	return is
}

// lookAtModel reads the twin once more before a write: the device may have come back as one of another model.
func (r *PnPDeviceReconciler) lookAtModel(ctx context.Context, s *scope) error {
	if err := r.read(ctx, s); err != nil {
		return err
	}
	return r.checkModel(ctx, s)
}

// contested takes out the leaves that another writer fights for, and remembers them.
func (s *scope) contested(changes []twin.Change) []twin.Change {
	clear(s.conflicts)
	kept := changes[:0:0]
	for _, c := range changes {
		configuration := ""
		if c.Was != nil {
			configuration = c.Was.By
		}
		if c.Cause != twin.Removed && (configuration != "" || s.isFight(c)) {
			s.conflicts[c.Leaf] = configuration
			continue
		}
		kept = append(kept, c)
	}
	return kept
}

func (s *scope) isFight(c twin.Change) bool {
	return c.Cause == twin.Drifted && len(s.correctionsOf(c.Leaf)) >= fightCorrections
}

// correctionsOf are the times within an hour at which a leaf was put back, oldest first: what status says, or what memory
// knows, if that is more. Status may lack corrections as long as the API server refuses it, or does not answer.
func (s *scope) correctionsOf(leaf twin.Leaf) []time.Time {
	recorded := recentCorrections(s.entries[leaf], s.now)
	if s.memory == nil {
		return recorded
	}
	if known := s.memory.Corrections(leaf, s.now.Add(-fightWindow)); len(known) > len(recorded) {
		return known
	}
	return recorded
}

func recentCorrections(p v1alpha1.PropertyStatus, now time.Time) []time.Time {
	var recent []time.Time
	for _, at := range p.CorrectedAt {
		if now.Sub(at.Time) < fightWindow {
			recent = append(recent, at.Time)
		}
	}
	return recent
}

// conflictRetry returns when the first contested leaf may be corrected again, and whether that is now.
func (s *scope) conflictRetry() (in time.Duration, due bool) {
	for _, p := range s.entries {
		if p.State != stateOf(twin.StateDrifted) || !p.Owned || len(p.CorrectedAt) < fightCorrections {
			continue
		}
		until := p.CorrectedAt[0].Add(fightWindow).Sub(s.now)
		if until <= 0 {
			return 0, true
		}
		in = sooner(in, until)
	}
	return in, false
}

// sooner is the smaller of two delays, where 0 is none.
func sooner(a, b time.Duration) time.Duration {
	if a == 0 || b != 0 && b < a {
		return b
	}
	return a
}

// resends are the unanswered and refused values that someone asked to write once more: an equal
// value is otherwise never sent.
func (s *scope) resends() []twin.Change {
	if !s.resendRequested() {
		return nil
	}
	var changes []twin.Change
	for _, leaf := range s.unanswered() {
		changes = append(changes, twin.Change{Leaf: leaf, Cause: twin.Edited, Value: s.declared[leaf], Was: s.twin.Properties[leaf].Desired})
	}
	return changes
}

// unanswered are the declared values that the hub holds and that status shows as Applied or
// Rejected.
func (s *scope) unanswered() []twin.Leaf {
	var leaves []twin.Leaf
	for leaf, value := range s.declared {
		state := s.entries[leaf].State
		isUnanswered := state == stateOf(twin.StateApplied) || state == stateOf(twin.StateRejected)
		if isUnanswered && s.twin.Holds(leaf, value) {
			leaves = append(leaves, leaf)
		}
	}
	return leaves
}

// braked takes removals out of the changes while the hub's removals are halted. If nothing is left, the error is the verdict.
func (r *PnPDeviceReconciler) braked(ctx context.Context, s *scope, changes []twin.Change) ([]twin.Change, error) {
	removals := removalsOf(changes)
	s.counted = nil
	if len(removals) == 0 {
		return changes, nil
	}
	asked := removing{
		object: s.device.UID, member: memberOf(s.device.UID, s.device.Generation), leaves: leavesOf(removals), unrecorded: s.hubGone,
	}
	permit, err := r.Brake.allow(ctx, r, s.hub, asked, time.Now())
	if err != nil {
		return nil, err
	}
	s.counted = permit.counted
	switch {
	case permit.allowed && s.hubGone && r.hasSessionEnded(s):
		return nil, r.putOff(s, waitCache.most)
	case permit.allowed:
		return changes, nil
	case permit.news:
		r.Wakes.hub(ctx, client.ObjectKeyFromObject(s.hub))
	}
	kept := slices.DeleteFunc(slices.Clone(changes), isRemoval)
	if len(kept) == 0 {
		return nil, stalled(v1alpha1.ReasonMassRemoval, massRemovalText(s), 0)
	}
	return kept, nil
}

// hasSessionEnded reports whether the session of an IoTHub that is gone has ended during the pass.
// What the brake counted of that hub is forgotten then, so that it does not stop what is under way.
func (r *PnPDeviceReconciler) hasSessionEnded(s *scope) bool {
	session, _ := r.Hubs.ForClearing(client.ObjectKeyFromObject(s.hub))
	return session != s.session
}

// uncount takes back from the brake what it counted for this round, if a failure means that none of
// it was removed.
func (r *PnPDeviceReconciler) uncount(s *scope, failure error) {
	if failure == nil || !iothub.DidNothing(failure) {
		return
	}
	r.Brake.takeBack(client.ObjectKeyFromObject(s.hub), s.device.UID, s.counted)
	s.counted = nil
}

func isRemoval(c twin.Change) bool { return c.Cause == twin.Removed }

func removalsOf(changes []twin.Change) []twin.Change {
	return slices.DeleteFunc(slices.Clone(changes), func(c twin.Change) bool { return !isRemoval(c) })
}

// write sends one patch. A stale etag, or a patch that no longer fits, is answered by a read; the caller diffs again. An operator that is told to stop begins
// no write, and lets one that has begun come to its end.
func (r *PnPDeviceReconciler) write(ctx context.Context, s *scope, changes []twin.Change) error {
	if err := ctx.Err(); err != nil {
		r.uncount(s, err)
		return err
	}
	if !r.mayHold(s) {
		return r.putOff(s, hubs.Jittered(waitLarge.most))
	}
	if holds, err := r.stillHolds(ctx, s); err != nil || !holds {
		return cmp.Or(err, r.putOff(s, soon))
	}
	send, err := r.rendered(context.WithoutCancel(ctx), s, changes)
	conflict, isConflict := errors.AsType[*twin.KindConflictError](err)
	switch first := inTheWay(changes); {
	case isConflict && len(first) > 0:
		return r.write(ctx, s, first)
	case isConflict:
		r.uncount(s, err)
		return s.unrenderable(conflict)
	case err != nil:
		r.uncount(s, err)
		return err
	}
	return r.send(context.WithoutCancel(ctx), s, changes, send)
}

// send has the hub take one rendered patch.
func (r *PnPDeviceReconciler) send(ctx context.Context, s *scope, changes []twin.Change, send func() (hubs.Answer, error)) error {
	answer, err := s.memory.Write(changes, s.twin, send)
	r.uncount(s, err)
	switch {
	case err != nil:
		return r.notWritten(ctx, s, err)
	case answer.Twin == nil:
		r.accepted(ctx, s, changes)
		return r.read(ctx, s)
	case answer.IsWhole:
		r.wakeCommands(ctx, s)
	}
	s.settle(answer.Twin)
	r.accepted(ctx, s, changes)
	return nil
}

// putOff leaves a write to a later pass.
func (r *PnPDeviceReconciler) putOff(s *scope, after time.Duration) error {
	h := unchanged(s.device)
	h.after = after
	r.uncount(s, h)
	return h
}

// notWritten is what follows from a write that failed.
func (r *PnPDeviceReconciler) notWritten(ctx context.Context, s *scope, err error) error {
	switch {
	case !iothub.DidNothing(err):
		s.isUnconfirmed = true
	case iothub.IsPreconditionFailed(err):
		return r.read(ctx, s)
	case iothub.IsInvalidPatch(err) && !s.rerendered:
		s.rerendered = true
		return r.read(ctx, s)
	case iothub.ClassOf(err) == iothub.Terminal:
		return r.explain(ctx, s, err)
	}
	return r.refused(ctx, s, err)
}

// inTheWay are the removals among other changes: what is ours may be what keeps the rest from being
// rendered.
func inTheWay(changes []twin.Change) []twin.Change {
	if removals := removalsOf(changes); len(removals) < len(changes) {
		return removals
	}
	return nil
}

// rendered returns a function that sends the changes in the object's dialect. A digital-twin patch has
// no answer but an etag: one step further means that nothing but our change happened; otherwise the
// twin has to be read.
func (r *PnPDeviceReconciler) rendered(ctx context.Context, s *scope, changes []twin.Change) (send func() (hubs.Answer, error), err error) {
	id, hub := s.device.DeviceID(), r.asking(ctx, s)
	if s.dialect() == twin.DeviceTwin {
		body, err := twin.RenderDeviceTwin(changes, s.twin)
		return func() (hubs.Answer, error) {
			t, err := hub.PatchTwin(ctx, id, body, s.twin.ETag)
			return hubs.Answer{Twin: t, IsWhole: true}, err
		}, err
	}
	body, err := twin.RenderDigitalTwin(changes, s.twin)
	return func() (hubs.Answer, error) {
		etag, err := hub.PatchDigitalTwin(ctx, id, body, s.twin.ETag)
		if err != nil || !twin.Follows(s.twin.ETag, etag) {
			return hubs.Answer{}, err
		}
		return hubs.Answer{Twin: s.twin.Apply(changes, etag, s.nextVersion())}, nil
	}, err
}

// unrenderable is the verdict on a name that is a component on one side and a property on the other.
func (s *scope) unrenderable(conflict *twin.KindConflictError) error {
	s.isUnconfirmed = true
	s.memory.Blocked(nil)
	text := conflict.Error()
	if !conflict.Component && s.twin.LacksMarker(conflict.Name) {
		text += ", since the hub holds " + unmarkedText(conflict.Name)
	}
	if s.dialect() == twin.DigitalTwin {
		text += ": if that is meant, set twinAPI: DeviceTwin"
	}
	return notConformant(text)
}

// accepted takes note of what the hub took, and tells of it.
func (r *PnPDeviceReconciler) accepted(ctx context.Context, s *scope, changes []twin.Change) {
	r.stopwatches.patched(s.device, changes, time.Now())
	if !s.device.DeletionTimestamp.IsZero() { // all that it owns is removed in one patch, or nothing
		r.clearing.settle(s.device)
	}
	for _, c := range changes {
		s.mustTell = s.mustTell || c.Cause == twin.Removed || c.Cause == twin.Drifted
		if c.Cause == twin.Removed {
			continue
		}
		s.written[c.Leaf] = true
		if s.corrected[c.Leaf] = c.Cause == twin.Drifted; s.corrected[c.Leaf] {
			s.memory.Corrected(c.Leaf, s.correctionsOf(c.Leaf), s.now.Truncate(time.Second))
		}
	}
	s.resent, s.wrote = true, true
	s.memory.Unblocked()
	r.tell(ctx, s, changes)
}

func (r *PnPDeviceReconciler) tell(ctx context.Context, s *scope, changes []twin.Change) {
	log.FromContext(ctx).Info("Patched the twin", "deviceID", s.device.DeviceID(), "leaves", listed("", leavesOf(changes)), "desiredVersion", s.twin.DesiredVersion)
	for _, c := range changes {
		if c.Cause == twin.Drifted {
			driftCorrected.Inc()
			announceCorrection(r.Recorder, s.device, c)
		}
	}
}

// explain names what makes the hub refuse a digital-twin patch for good, if the twin shows it.
func (r *PnPDeviceReconciler) explain(ctx context.Context, s *scope, refusal error) error {
	s.isUnconfirmed = true
	s.memory.Blocked(nil)
	if s.dialect() == twin.DigitalTwin && s.hub.Spec.Authentication.WorkloadIdentity != nil && iothub.RefusesCredential(refusal) {
		return hubRefused("The hub takes no tokens of Microsoft Entra ID for digital twins: do without twinAPI: DigitalTwin on the PnPDevice and its IoTHub")
	}
	if iothub.IsNotFound(refusal) {
		return cmp.Or(r.read(ctx, s), refusal)
	}
	if s.dialect() == twin.DeviceTwin || iothub.IsUnauthorized(refusal) {
		return r.refused(ctx, s, refusal)
	}
	if !s.wasRead {
		if err := r.read(ctx, s); err != nil {
			return err
		}
	}
	names := twin.NonConformant(s.twin)
	if len(names) == 0 {
		return refusal
	}
	s.memory.Blocked(names)
	return notConformant("The hub refuses every digital-twin patch while the twin holds what a digital twin cannot: " +
		strings.Join(names, ", ") + ". Remove that, or set twinAPI: DeviceTwin on the PnPDevice or its IoTHub")
}

// release lets go of what left the declaration and is not the object's to remove: the hub holds someone else's value, or
// nothing.
func (r *PnPDeviceReconciler) release(s *scope, foreign []twin.Leaf) {
	for _, leaf := range foreign {
		delete(s.owned.Lost, leaf)
		if held := s.twin.Properties[leaf].Desired; held != nil {
			announceRelease(r.Recorder, s.device, leaf, held)
		}
	}
}

func leavesOf(changes []twin.Change) []twin.Leaf {
	leaves := make([]twin.Leaf, len(changes))
	for i, c := range changes {
		leaves[i] = c.Leaf
	}
	return leaves
}

// listed names up to three leaves.
func listed(prefix string, leaves []twin.Leaf) string {
	const most = 3
	names := make([]string, 0, most)
	for i, leaf := range leaves {
		if i == most {
			return prefix + strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(leaves)-most)
		}
		names = append(names, leaf.String())
	}
	return prefix + strings.Join(names, ", ")
}
