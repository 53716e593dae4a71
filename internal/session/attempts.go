package session

import (
	"maps"
	"slices"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Attempt is one write that was sent. Memory keeps it until its outcome is settled: by an answer, or by a read.
type Attempt struct {
	twin.Attempt

	// recorded are those of the values that status says are about to be sent.
	recorded map[twin.Leaf]twin.Sent
}

// belongs says which object the device is declared by. The writes of an earlier one are not this one's, and its status may
// be of before the changes that memory followed: the twin is read.
func (d *Device) belongs(object types.UID) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.object != object {
		if d.object != "" {
			d.raise()
		}
		d.outbox = outbox{object: object, unshown: d.unshown}
	}
}

// takeOver moves what another session of the same hub knows of the writes of an object. The
// twin is to be read after that.
func (d *Device) takeOver(from *Device, object types.UID) {
	from.mu.Lock()
	if from.object != object || from.unsaved == nil && len(from.attempts) == 0 {
		from.mu.Unlock()
		return
	}
	attempts, withheld, unsaved := from.attempts, from.withheld, from.unsaved
	from.attempts, from.withheld, from.unsaved, from.unshown = nil, nil, nil, false
	from.mu.Unlock()
	d.mu.Lock()
	defer d.mu.Unlock()
	d.object, d.attempts, d.withheld, d.unsaved = object, attempts, withheld, unsaved
	d.raise()
}

// sending records a write that is about to be sent over a twin, and that makes its next desired version. Should its way into status fail, at
// the hub or at the API server, what it carried is ours all the same. The device's answer may be there before that of the
// hub: it is waited for from now on.
func (d *Device) sending(changes []twin.Change, over *twin.Twin) *Attempt {
	d.mu.Lock()
	defer d.mu.Unlock()
	a := &Attempt{
		Attempt:  twin.Attempt{Version: over.DesiredVersion + 1, ETag: over.ETag, Over: over.Seen(), Values: make(map[twin.Leaf]any, len(changes))},
		recorded: map[twin.Leaf]twin.Sent{},
	}
	for _, c := range changes {
		a.Values[c.Leaf] = c.Value
		if sent, ok := d.withheld[c.Leaf]; ok {
			a.recorded[c.Leaf] = sent
			delete(d.withheld, c.Leaf)
		}
	}
	d.awaited, d.presence.first = true, 0
	d.attempts = append(d.attempts, a)
	return a
}

// settleTaken says that the hub answered that it took the write.
func (d *Device) settleTaken(a *Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	a.Taken = true
}

// notMade says that the write certainly did nothing: it was not sent, or the hub refused it.
func (d *Device) notMade(a *Attempt) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempts = slices.DeleteFunc(d.attempts, func(other *Attempt) bool { return other == a })
	if d.withheld == nil {
		d.withheld = a.recorded
		return
	}
	maps.Copy(d.withheld, a.recorded)
}

// withhold says what status records as about to be sent and what certainly was not sent yet, in place of what it said before.
func (d *Device) withhold(recorded map[twin.Leaf]twin.Sent) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.withheld, d.resolved = recorded, nil
}

// IsWithheld reports whether this process recorded the value in status as about to be sent, and certainly did not send it. Of
// a record of another process nobody knows.
func (d *Device) IsWithheld(leaf twin.Leaf, sent twin.Sent) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return twin.IsRecorded(d.withheld, leaf, sent)
}

// Attempts are the writes whose outcome is not settled.
func (d *Device) Attempts() twin.Attempts {
	d.mu.Lock()
	defer d.mu.Unlock()
	return twin.AttemptsOf(d.writes())
}

// writes are those whose outcome is not settled, oldest first.
func (d *Device) writes() []twin.Attempt {
	writes := make([]twin.Attempt, len(d.attempts))
	for i, a := range d.attempts {
		writes[i] = a.Attempt
	}
	return writes
}

// Unsaved is what the object owns where its status does not have it, nil if status does.
func (d *Device) Unsaved() *twin.Saved {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unsaved
}

// save keeps what the object owns until status has it: that may be refused, and the declaration change meanwhile. nil: status
// has it already. It is not to be changed any more.
func (d *Device) save(owned *twin.Saved) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unsaved = owned
}

// settleAttempts is called once what the object owns was computed from a read or from the answer to the last write.
func (d *Device) settleAttempts() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.resolved = twin.Resolve(d.resolved, d.writes())
	d.attempts = nil
}

// IsResolved reports whether this process sent the value that status records as about to be sent, and
// knows what became of it.
func (d *Device) IsResolved(leaf twin.Leaf, sent twin.Sent) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return twin.IsRecorded(d.resolved, leaf, sent)
}

// ForgetAttempts is for a twin that is another one than status is about: its versions are no proof of
// writes that were made before that. Those that were made over this very twin stay, and so does one
// whose etag it follows.
func (d *Device) ForgetAttempts(now *twin.Twin) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.attempts = slices.DeleteFunc(d.attempts, func(a *Attempt) bool { return !a.MayBeOf(now) })
	d.withheld, d.unsaved = nil, nil
}
