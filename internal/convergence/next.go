package convergence

import (
	"errors"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// maxRounds of read, diff and write within one pass while others write to the same twin.
const maxRounds = 3

// Do is what a step asks for.
type Do int

const (
	// Done means that the pass is over: nothing is left to do.
	Done Do = iota
	// End means that the pass is over, with the verdict of Step.Halt.
	End
	// Fail means that the pass is over, with the failure of its last call.
	Fail
	// Contended means that the pass is over: others changed the twin each time that it was to be
	// written.
	Contended
	// Claim means that the pass is over for now: status has to record what the next pass writes.
	Claim
	// Read asks the hub for the twin: Took or NotRead follows.
	Read
	// Check asks the DeviceModel of the device what it says to Declared: Checked follows.
	Check
	// Permit asks whether Step.Changes, which are removals, may be made: Permitted or Withheld
	// follows.
	Permit
	// Write has the hub take Step.Changes: Rendered, and then Accepted or NotWritten follow.
	Write
)

// Step is the next thing to do.
type Step struct {
	Do      Do
	Changes []twin.Change
	// Released are the leaves that a pass which is Done lets go of: what the hub holds of them is
	// another writer's, or nothing.
	Released []twin.Leaf
	// Halt is what a pass that Ends says.
	Halt *Halt
	// IsSettled is true of a Done pass that left nothing to write.
	IsSettled bool
	// IsBlocked is true if the hub refuses to be written, for what Blame names, if that is known.
	IsBlocked bool
	Blame     []string
}

// progress is how far a pass has come. The zero value has it begin.
type progress struct {
	isKnown   bool // the twin is settled
	mustMatch bool // the model of the device is to be compared with the declared one
	mustRead  bool // before anything else
	round     int
	// isPermitted says that removals may be made in this round, and isWithheld that they may not,
	// for a reason that withheldText tells.
	isPermitted, isWithheld bool
	withheldText            string
	// end is how the pass ends, nil as long as that is not decided.
	end *Step
	// failure of the last write, nil if it did not fail; isExplained is true once the twin was read
	// for it.
	failure     *Failure
	isExplained bool
	// isRerendered is true once a patch was rendered anew because the hub found it invalid.
	isRerendered bool
	// clearsPlainly has a deletion go through the device twin, where the digital twin cannot be
	// patched.
	clearsPlainly bool
}

// Next returns the next thing to do about a device. Deletion is the same with an empty declaration,
// and suspension and Observe end where something would be written.
func (s *State) Next() Step {
	step := s.next()
	if step.Do == End && step.Halt.Because == Dialect && s.IsLeaving && !s.progress.clearsPlainly {
		s.progress = progress{isKnown: true, isRerendered: s.progress.isRerendered, clearsPlainly: true}
		step = s.next()
	}
	return step
}

func (s *State) next() Step {
	p := &s.progress
	switch {
	case p.mustRead:
		return Step{Do: Read}
	case p.end != nil:
		return *p.end
	case p.failure != nil:
		return s.failed()
	}
	if !p.isKnown {
		if step, isOver := s.know(); isOver {
			return step
		}
	}
	if h := s.disagreement(); h != nil {
		return Step{Do: End, Halt: h}
	}
	if !s.IsLeaving && s.Conformity == nil {
		return Step{Do: Check}
	}
	return s.converge()
}

// disagreement is the verdict on a device that the declaration is not for, or on a declaration that
// is not for the device; nil: as far as is known they agree.
func (s *State) disagreement() *Halt {
	if s.progress.mustMatch {
		if h := s.otherModel(); h != nil {
			return h
		}
	}
	if s.IsLeaving || s.Conformity == nil {
		return nil
	}
	return s.nonConformity()
}

// know settles what is known of the twin: what memory holds and status does not, what status holds,
// or one read. A suspended pass makes do with the former.
func (s *State) know() (step Step, isOver bool) {
	p := &s.progress
	if s.IsLeaving {
		return Step{Do: Read}, true
	}
	p.mustMatch = true
	if s.Device.Spec.Suspend {
		p.isKnown = true
		if h := s.rest(); h != nil {
			p.end = &Step{Do: End, Halt: h}
			return *p.end, true
		}
		return Step{}, false
	}
	t := s.believed()
	if t == nil {
		return Step{Do: Read}, true
	}
	p.isKnown, s.WasRead = true, s.Resumes
	s.adopt(t)
	return Step{}, false
}

// converge diffs and writes until the hub holds the declaration. A leaf that is new to this object
// is recorded in status in one pass and written in the next, so that a crash in between orphans
// nothing; what keeps it from being written comes before that, so that what is recorded is sent.
func (s *State) converge() Step {
	p := &s.progress
	if p.round == maxRounds {
		if s.hasConverged() {
			return Step{Do: Done}
		}
		return Step{Do: Contended}
	}
	if s.Observes() || s.Device.Spec.Suspend {
		s.resent = s.Observes()
		return Step{Do: Done}
	}
	if _, read := s.reading(); !read && len(s.Departing()) > 0 {
		return s.look()
	}
	changes, released := s.plan()
	switch {
	case len(changes) == 0:
		s.release(released)
		s.resent = true
		return Step{Do: Done, Released: released, IsSettled: true}
	case s.Hub.Spec.Suspend:
		return Step{Do: End, Halt: stalled(v1alpha1.ReasonHubSuspended, s.hubSuspendedText(changes), 0)}
	case s.needsRead(changes):
		s.endRound()
		return s.look()
	}
	return s.write(changes)
}

// look has the twin read once more before a write, and the model compared: the device may have come
// back as one of another model.
func (s *State) look() Step {
	s.progress.mustRead, s.progress.mustMatch = true, true
	return Step{Do: Read}
}

// write has the changes written, as far as they may be: removals with a permit, new leaves once
// status records them.
func (s *State) write(changes []twin.Change) Step {
	p := &s.progress
	if removals := removalsOf(changes); len(removals) > 0 {
		switch {
		case p.isWithheld:
			changes = withoutRemovals(changes)
		case !p.isPermitted:
			return Step{Do: Permit, Changes: removals}
		}
	}
	switch {
	case len(changes) == 0:
		return Step{Do: End, Halt: stalled(v1alpha1.ReasonMassRemoval, p.withheldText, 0)}
	case s.claim(changes):
		return Step{Do: Claim}
	}
	return Step{Do: Write, Changes: changes}
}

// endRound has the next one begin anew.
func (s *State) endRound() {
	p := &s.progress
	p.round++
	p.isPermitted, p.isWithheld, p.withheldText = false, false, ""
}

// release lets go of leaves.
func (s *State) release(leaves []twin.Leaf) {
	for _, leaf := range leaves {
		delete(s.Owned.Lost, leaf)
	}
}

// Took takes the twin that a read returned.
func (s *State) Took(t *twin.Twin) {
	s.progress.isKnown, s.progress.mustRead = true, false
	s.WasRead, s.Gone = true, false
	s.settle(t)
}

// NotRead takes note of a read that failed; isGone is true if the hub does not know the device.
func (s *State) NotRead(isGone bool) {
	s.IsUnconfirmed = true
	if s.Gone = isGone; isGone {
		s.Twin = nil // what was believed of it is over
	}
	s.WasRead = isGone
}

// Permitted says that the removals of this round may be made.
func (s *State) Permitted() { s.progress.isPermitted = true }

// NotPermitted says that they may not, and why.
func (s *State) NotPermitted(text string) {
	s.progress.isWithheld, s.progress.withheldText = true, text
}

// Patch is what a write sends.
type Patch struct {
	// Changes that the body has.
	Changes []twin.Change
	Dialect twin.Dialect
	Body    []byte
	// ETag that the twin has to have.
	ETag string
}

// Render returns a patch of changes, or of the removals among them where those are in the way of
// the rest. It is false if there is none: Next says what follows.
func (s *State) Render(changes []twin.Change) (Patch, bool, error) {
	p := Patch{Changes: changes, Dialect: s.Dialect(), ETag: s.Twin.ETag}
	render := twin.RenderDigitalTwin
	if p.Dialect == twin.DeviceTwin {
		render = twin.RenderDeviceTwin
	}
	body, err := render(changes, s.Twin)
	conflict, isConflict := errors.AsType[*twin.KindConflictError](err)
	switch first := inTheWay(changes); {
	case isConflict && len(first) > 0:
		return s.Render(first)
	case isConflict:
		s.progress.end = &Step{Do: End, Halt: s.unrenderable(conflict), IsBlocked: true}
		return Patch{}, false, nil
	}
	p.Body = body
	return p, err == nil, err
}

// Applied returns the twin that follows from a patch, if its answer, an etag, is one step further:
// then nothing but that happened. nil: the twin has to be read.
func (s *State) Applied(changes []twin.Change, etag string) *twin.Twin {
	if !twin.Follows(s.Twin.ETag, etag) {
		return nil
	}
	return s.Twin.Apply(changes, etag, s.nextVersion())
}

// unrenderable is the verdict on a name that is a component on one side and a property on the
// other.
func (s *State) unrenderable(conflict *twin.KindConflictError) *Halt {
	s.IsUnconfirmed = true
	text := conflict.Error()
	if !conflict.Component && s.Twin.LacksMarker(conflict.Name) {
		text += ", since the hub holds " + UnmarkedText(conflict.Name)
	}
	if s.Dialect() == twin.DigitalTwin {
		text += ": if that is meant, set twinAPI: DeviceTwin"
	}
	return notConformant(text)
}

// Accepted takes note of changes that the hub took. now is the twin as it is then, nil if the
// answer does not tell: it is read.
func (s *State) Accepted(changes []twin.Change, now *twin.Twin) {
	s.endRound()
	if s.progress.mustRead = now == nil; now != nil {
		s.settle(now)
	}
	for _, c := range changes {
		s.MustTell = s.MustTell || c.Cause == twin.Removed || c.Cause == twin.Drifted
		if c.Cause == twin.Removed {
			continue
		}
		s.Written[c.Leaf] = true
		if s.corrected[c.Leaf] = c.Cause == twin.Drifted; s.corrected[c.Leaf] {
			s.Memory.Correct(c.Leaf, s.CorrectionsOf(c.Leaf), s.Now.Truncate(time.Second))
		}
	}
	s.resent, s.Wrote = true, true
}

// Failure is what is known of a write that failed.
type Failure struct {
	// DidNothing is true if the hub certainly did not take it.
	DidNothing bool
	// IsStale is true if the twin changed since it was read, IsInvalid if the hub found the patch
	// invalid, and IsTerminal if it refuses the request until a person acts.
	IsStale, IsInvalid, IsTerminal bool
	// IsNotFound is true if it does not know the device, IsUnauthorized if it refuses the
	// credential, and RefusesCredential if it takes that, and refuses it for this.
	IsNotFound, IsUnauthorized, RefusesCredential bool
}

// NotWritten takes note of a write that failed.
func (s *State) NotWritten(f Failure) {
	s.endRound()
	s.progress.failure, s.progress.isExplained = &f, false
}

// failed is what follows from a write that failed.
func (s *State) failed() Step {
	p := &s.progress
	switch f := p.failure; {
	case !f.DidNothing:
		s.IsUnconfirmed = true
	case f.IsStale, f.IsInvalid && !p.isRerendered:
		p.isRerendered = p.isRerendered || !f.IsStale
		p.failure, p.mustRead = nil, true
		return Step{Do: Read}
	case f.IsTerminal:
		return s.explain(f)
	}
	return Step{Do: Fail}
}

// explain names what makes the hub refuse a digital-twin patch for good, if the twin shows it.
func (s *State) explain(f *Failure) Step {
	s.IsUnconfirmed = true
	isDigital := s.Dialect() == twin.DigitalTwin
	switch {
	case isDigital && s.Hub.Spec.Authentication.WorkloadIdentity != nil && f.RefusesCredential:
		h := stalled(v1alpha1.ReasonHubRefused,
			"The hub takes no tokens of Microsoft Entra ID for digital twins: do without twinAPI: DigitalTwin on the PnPDevice and its IoTHub", RetryTerminal)
		h.Because = Refusal
		return Step{Do: End, Halt: h, IsBlocked: true}
	case f.IsNotFound && !s.progress.isExplained, !f.IsNotFound && isDigital && !f.IsUnauthorized && !s.WasRead:
		s.progress.isExplained, s.progress.mustRead = true, true
		return Step{Do: Read, IsBlocked: true}
	case f.IsNotFound || !isDigital || f.IsUnauthorized:
		return Step{Do: Fail, IsBlocked: true}
	}
	names := twin.NonConformant(s.Twin)
	if len(names) == 0 {
		return Step{Do: Fail, IsBlocked: true}
	}
	text := "The hub refuses every digital-twin patch while the twin holds what a digital twin cannot: " +
		strings.Join(names, ", ") + ". Remove that, or set twinAPI: DeviceTwin on the PnPDevice or its IoTHub"
	return Step{Do: End, Halt: notConformant(text), IsBlocked: true, Blame: names}
}
