package session

import (
	"errors"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Pass is a reconciler's handle on the memory of a device, for one pass over the object that has the
// device. There is one at a time, and it is not safe for concurrent use. Its methods keep the order in
// which memory has to hear of things: Begin; Read and Write as often as it takes, each followed by Keep
// or Settle; Stored once status says so; End. Facts come from the Device.
type Pass struct {
	*Device

	session  *Session // that calls go through, nil if there is none
	deviceID string
	uid      types.UID // of the object
	isBegun  bool
}

// PassOver returns the handle of a pass over an object that declares a device of the session's hub.
func (s *Session) PassOver(deviceID string, object types.UID) *Pass {
	return &Pass{Device: s.Device(deviceID), session: s, deviceID: deviceID, uid: object}
}

// Begin starts from what is known now: events that arrive before End are folded into what the pass
// makes of the twin. Memory forgets the writes of another object.
func (p *Pass) Begin() {
	p.belongs(p.uid)
	p.beginPass()
	p.isBegun = true
}

// Read asks the hub for the twin, and keeps it until status has it. After an error the twin is in
// doubt: it is read before status is believed again.
func (p *Pass) Read(ask func() (*twin.Twin, error)) (*twin.Twin, error) {
	token := p.beginRead()
	t, err := ask()
	if err != nil {
		p.failed(err)
		if iothub.IsNotFound(err) {
			p.denied()
		}
		return nil, err
	}
	p.observe(t, token)
	return t, nil
}

// Answer is what the hub said to a write that it took.
type Answer struct {
	// Twin as it is now, nil if the answer does not tell: it has to be read.
	Twin *twin.Twin
	// IsWhole is true if the hub sent that twin. It follows from the changes otherwise.
	IsWhole bool
}

// Write sends changes of a twin. From before that until Settle, or until the write certainly did
// nothing, memory knows what it may have done; if that is open in the end, the twin is in doubt.
func (p *Pass) Write(changes []twin.Change, over *twin.Twin, send func() (Answer, error)) (Answer, error) {
	token, notMade := p.beginRead(), p.expectEvent()
	attempt := p.sending(changes, over)
	answer, err := send()
	if err != nil {
		notMade()
		p.refused(attempt, err)
		return Answer{}, err
	}
	p.settleTaken(attempt)
	switch {
	case answer.Twin == nil:
	case answer.IsWhole:
		p.observe(answer.Twin, token)
	default:
		p.accepted(answer.Twin)
	}
	return answer, nil
}

// refused takes note of a write that failed.
func (p *Pass) refused(attempt *Attempt, err error) {
	if iothub.DidNothing(err) {
		p.notMade(attempt)
		return
	}
	p.failed(err)
}

// expectEvent expects the event of a write. The returned function says that it was not made.
func (p *Pass) expectEvent() (notMade func()) {
	if p.session == nil {
		return func() {}
	}
	return p.session.writing(p.deviceID, time.Now())
}

// failed raises the doubt that a call leaves which failed, or which has to wait for its turn.
func (p *Pass) failed(err error) {
	if _, waits := errors.AsType[*budget.WaitError](err); waits {
		p.Doubt()
		return
	}
	p.missRead()
}

// Keep keeps what the object owns of a twin until status has it; nil: status has it.
func (p *Pass) Keep(owned *twin.Saved) { p.save(owned) }

// Settle says that what was kept last was computed from a read, or from the answer to a write: that
// shows what became of every write.
func (p *Pass) Settle() { p.settleAttempts() }

// Stored is what the status of the object says once it is written, or says already.
type Stored struct {
	Shown Shown
	// Withheld are the values that status records as about to be sent, and that certainly were not.
	Withheld map[twin.Leaf]twin.Sent
	// Twin that status is about, nil if the pass did not get as far.
	Twin *twin.Twin
	// IsPartial is true if status does not show all of what the pass made of the twin.
	IsPartial bool
}

// Stored has memory forget what status holds.
func (p *Pass) Stored(is Stored) {
	p.shows(p.uid, is.Shown)
	p.withhold(is.Withheld)
	if is.Twin == nil {
		return
	}
	if saved := p.Unsaved(); saved != nil && saved.IsOther { // status is about this twin now
		p.save(&twin.Saved{Ownership: saved.Ownership, Of: saved.Of, Base: saved.Base})
	}
	if !is.IsPartial {
		p.persisted(is.Twin)
	}
}

// End ends the pass, and may be called again. It reports whether the pass left behind what arrived
// meanwhile: nothing else tells of that.
func (p *Pass) End() (again bool) {
	again = p.isBegun && p.endPass()
	p.isBegun = false
	p.shed()
	return again
}
