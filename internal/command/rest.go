package command

import (
	"time"

	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

const (
	// RestOffline is how long a command rests after an attempt whose device was offline: such
	// attempts count as messages of the hub.
	RestOffline = 15 * time.Minute
	// RestAbsent is how long it rests if the hub does not know the device, or has disabled it.
	RestAbsent = 5 * time.Minute
	// RestLeast is how long a command rests that the hub refused for now.
	RestLeast = 2 * time.Second
	// RestMost is how long that is at most, if the hub goes on to refuse it.
	RestMost = 30 * time.Second
	// SettleFor is how long a device that has just come back is given to take commands. It connects
	// first and registers for commands later; an attempt in between would be refused while its
	// events arrive, and count as Unknown.
	SettleFor = 2 * time.Second
	// tellsWithin is how late an event may tell of what happened. All events of an attempt's time
	// are heard once those are that the hub held so long after it.
	tellsWithin = 3 * time.Second
	// claimsWithin is how much later than on record an attempt may have begun: it is claimed first.
	claimsWithin = 5 * time.Second
)

// Rest is a command that is left alone for a while after an attempt that did not reach its device.
type Rest struct {
	// RequestID of the attempt.
	RequestID string
	// Record is what the ledger knows the command by, until NotAfter.
	Record   ledger.Key
	NotAfter time.Time
	// Reason and Message are what status says meanwhile.
	Reason, Message string
	// Awaits is what ends the rest, beside time.
	Awaits Awaited
	// At is where the device is listened for; zero: nothing that it does ends the rest.
	At Site
	// Began is when the attempt had ended, Until how long the rest is at most.
	Began, Until time.Time
	// Refused is since when the hub has refused the command for now, zero: it waits for its device.
	Refused time.Time
	// Over is true once the device's events say that it is there.
	Over bool
}

// Facts are what is known of a device and its hub when a rest is looked at.
type Facts struct {
	// Asked is when the last read of the device began, zero: there was none. Connected and Enabled
	// are what it showed.
	Asked              time.Time
	Connected, Enabled bool
	// HearsEvents is true if the hub's events are read, MayTell if they may yet tell of the
	// attempt.
	HearsEvents, MayTell bool
}

// Left returns how long a command has to rest yet. While events of the time of its last attempt may
// come, it goes on. A read that shows that the device is back ends it where no events tell.
func (r Rest) Left(facts Facts, now time.Time) time.Duration {
	wait := r.Until.Sub(now)
	at, isBack := r.endsAt(facts)
	switch {
	case r.Over:
		return 0
	case isBack && (!r.mayHaveRun() || !facts.HearsEvents):
		return max(0, min(wait, at.Sub(now)))
	case wait > 0:
		return wait
	case facts.MayTell:
		return RestMost
	}
	return 0
}

// endsAt returns when a rest ends because of what a read showed of the device, false if it does
// not. That read began after the attempt had ended.
func (r Rest) endsAt(seen Facts) (time.Time, bool) {
	isBack := false
	switch r.Awaits {
	case AwaitsConnection:
		isBack = seen.Connected
	case AwaitsEnabling:
		isBack = seen.Enabled
	case AwaitsIdentity:
		isBack = true
	case AwaitsNothing:
	}
	return seen.Asked.Add(SettleFor), isBack && seen.Asked.After(r.Began)
}

// mayHaveRun reports whether events may tell that the device was given the command after all. Of an
// unknown or a disabled one the hub says for certain that it was not asked.
func (r Rest) mayHaveRun() bool { return r.Awaits == AwaitsConnection }

// endedBy returns when the attempt had ended at the latest that a rest on record is after.
func (r Rest) endedBy(w Window) time.Time {
	if w.Until.IsZero() {
		return time.Now()
	}
	return r.Began.Add(claimsWithin + w.Until.Sub(w.From))
}

// begin sets when a rest begins and ends, given the one before.
func (r *Rest) begin(before *rest, now time.Time) {
	r.Began = now
	switch r.Awaits {
	case AwaitsConnection:
		r.Until = now.Add(RestOffline)
	case AwaitsEnabling, AwaitsIdentity:
		r.Until = now.Add(RestAbsent)
	case AwaitsNothing:
		r.At, r.Refused = Site{}, now
		if before != nil {
			r.Refused = before.refusedSince(now)
		}
		r.Until = now.Add(min(max(now.Sub(r.Refused), RestLeast), RestMost))
	}
}

// refusedSince returns since when the hub has refused a command for now, given the rest before.
// Once that has been over for a while, it is another incident.
func (r Rest) refusedSince(now time.Time) time.Time {
	if r.Refused.IsZero() || now.Sub(r.Until) > RestMost {
		return now
	}
	return r.Refused
}

// rest is a Rest with what is heard meanwhile. It is guarded by the registry.
type rest struct {
	Rest

	device  string    // that is listened for
	hearing *hearing  // nil: nothing is listened for
	ended   time.Time // when the attempt had ended, by the clock of the process that made it
	// isHeard is true once all events of the attempt's time are handled: what is lost after that
	// does not matter.
	isHeard  bool
	woken    bool // the device's events said that it is there
	recalled bool // it waits since before the stream began to be read
	// doubted is true if the events said that the device was there during the attempt; by is the
	// one that did, until that is on record.
	doubted bool
	by      *Origin
	expires bool // its end is looked after, though its object is gone
}

// listens reports whether an event of the device matters.
func (r *rest) listens() bool { return r.hearing != nil && !r.doubted }

// isDeaf reports whether an event that was lost may have told that the device was given the
// command.
func (r *rest) isDeaf() bool { return r.hearing.deaf && r.mayHaveRun() }

// hear takes one event. It reports whether the command is to be looked at: at once if the event
// casts doubt on the attempt, and else once the device has settled.
func (r *rest) hear(sign Sign, at time.Time, from Origin) (isNews bool) {
	r.hearing.hear(sign, at) // once more, if its command is under way: that changes nothing
	switch {
	case r.hearing.stirred && r.mayHaveRun():
		r.doubted, r.by = true, &from
		return true
	case sign != Went:
		return r.wake()
	}
	return false
}

// wake notes that the device is there. It reports false if that is known, or not to be believed.
func (r *rest) wake() bool {
	if r.isDeaf() || r.woken {
		return false
	}
	r.woken = true
	return true
}

// caughtUp notes that all is handled that the hub held at a time, by our clock. It wakes those that
// were recalled: all that the hub knew of them is heard.
func (r *rest) caughtUp(at time.Time) (isNews bool) {
	r.isHeard = r.isHeard || r.ended.Add(tellsWithin).Before(at)
	return r.recalled && r.wake()
}

// settle ends the listening.
func (r *rest) settle() { r.hearing, r.doubted, r.by = nil, false, nil }

// deafen notes that events were lost: nobody can say any more that nothing was heard, unless all
// events of the attempt's time were handled before.
func (r *rest) deafen() { r.hearing.deaf = r.hearing.deaf || !r.isHeard }

// moveTo has the rest go on at another site. As after a recall, it is woken once all is handled
// that the hub held meanwhile. Events that were heard, or lost, still count.
func (r *rest) moveTo(at Site) {
	r.At, r.woken, r.recalled = at, false, true
}
