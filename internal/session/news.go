package session

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Bounds of the events that are kept while a pass over their device is under way: their number, and
// what they take of memory together, in bytes, roughly. A pass lasts as long as the hub takes to
// answer.
const (
	maxArrivals     = 32
	maxArrivalBytes = 1 << 20
)

// Place is where in the stream an event stands, and when it was handled here.
type Place struct {
	Partition      string
	SequenceNumber int64
	EnqueuedTime   time.Time
	Handled        time.Time
}

// News is what an event means for the object of its device.
type News int

const (
	// Nothing new.
	Nothing News = iota
	// FromDevice is something the device did: it may wait for others to be shown with it.
	FromDevice
	// Urgent is something that the operator may have to act on: a change of what the hub asks for, or a doubt.
	Urgent
)

// Belief is what Kubernetes says of a declared device.
type Belief struct {
	// Twin as far as status knows it, nil before the first read.
	Twin *twin.Twin
	// MirrorsAll is true if status shows what was not declared, too.
	MirrorsAll bool
	// StateSeen is when the connection state that status has was seen first.
	StateSeen time.Time
}

// pass is one reconciliation under way. It starts from a twin; events that arrive before its outcome is known are kept,
// to be folded into that outcome.
type pass struct {
	began      twin.Position
	arrivals   []*twin.Notification
	room       int  // bytes that arrivals have left of maxArrivalBytes
	overflow   bool // there were more than may be kept: none are
	connection *connection
	first      *Place // of what arrived and is not in the twin that the pass began with
	stored     bool   // status holds what the pass made of the twin
	doubted    bool   // what arrived could not be folded into what the pass made
}

// restart has the pass go on from a twin that was just read. What arrived before it and is in it is forgotten.
func (p *pass) restart(from twin.Position) {
	if p == nil {
		return
	}
	p.began = from
	p.arrivals = slices.DeleteFunc(p.arrivals, func(n *twin.Notification) bool { return from.Order(n) == twin.Old })
}

// connection is what an event said of it.
type connection struct {
	state string
	since time.Time
}

func (c *connection) on(t *twin.Twin) *twin.Twin {
	next := *t
	next.ConnectionState, next.ConnectionStateSince = c.state, c.since
	if c.state == "Connected" && !c.since.Before(t.StatusSince.Truncate(time.Second)) { // no hub lets a device in that is disabled
		next.Status, next.StatusReason, next.StatusSince = "enabled", "", time.Time{}
	}
	return &next
}

// beginPass says that a pass starts from what is known now.
func (d *Device) beginPass() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pass = &pass{began: d.known, room: maxArrivalBytes}
}

func (d *Device) inPass() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.pass != nil
}

// endPass says that the pass is over. It reports whether the pass left behind what arrived meanwhile: nothing else tells of that.
func (d *Device) endPass() (again bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if p := d.pass; p != nil {
		again = p.doubted || p.stored && d.unpersisted != nil
	}
	d.pass = nil
	return again
}

// doubt is for what arrived during a pass and cannot be folded into its outcome. d.pass is not nil.
func (d *Device) doubt() {
	d.pressing = true
	d.raise()
	d.pass.doubted = true
}

// Fold takes a change of the twin into what is known. believed is asked only if memory holds nothing newer.
func (d *Device) Fold(n *twin.Notification, at Place, believed func() Belief) News {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.arrived(n)
	switch {
	case d.unread:
		return d.hold(at, Urgent) // its read waits for the hub, which may be well again
	case d.doubtful():
		return d.hold(at, Nothing) // its read is due, and will show this too
	}
	belief := believed()
	base := d.base(belief)
	if base == nil {
		return d.suspect(at)
	}
	switch d.known.Order(n) {
	case twin.Old:
		d.known.Version, d.seen = max(d.known.Version, n.Version), max(d.seen, n.Version)
		return Nothing
	case twin.Gap:
		return d.suspect(at)
	}
	next, err := base.Fold(n)
	if err != nil {
		return d.suspect(at)
	}
	d.known, d.seen, d.etag = d.known.After(n), n.Version, next.ETag
	return d.learn(base, next, n, at, belief.MirrorsAll)
}

// learn keeps the folded twin if status has to say something of it. What nobody declared, and tags, move the counters only,
// unless it may be what kept the hub from taking a write.
func (d *Device) learn(base, next *twin.Twin, n *twin.Notification, at Place, mirrorsAll bool) News {
	moved := next.ETag != base.ETag || next.DesiredVersion != base.DesiredVersion
	leaves := n.Leaves(base)
	isFollowed := slices.ContainsFunc(leaves, func(leaf twin.Leaf) bool {
		_, ok := base.Properties[leaf]
		return ok
	}) || base.MarkersDiffer(next)
	switch {
	case mirrorsAll && n.Reported != nil && base.Partial && !isFollowed:
		return d.suspect(at) // status is to show a property that it knows nothing of
	case !isFollowed && !d.mayUnblock(moved, leaves):
		if d.unpersisted != nil {
			d.unpersisted = next
		}
		return Nothing
	}
	d.unpersisted = next
	if moved || !isFollowed {
		return d.hold(at, Urgent)
	}
	return d.hold(at, FromDevice)
}

// mayUnblock reports whether a change may have taken away what makes the hub refuse to be written: it is one of what the hub
// asks for, which leaves room, or of what is to blame.
func (d *Device) mayUnblock(moved bool, leaves []twin.Leaf) bool {
	return d.blocked && (moved || slices.ContainsFunc(leaves, func(leaf twin.Leaf) bool {
		return slices.Contains(d.blame, leaf.String()) || slices.Contains(d.blame, leaf.Name) || slices.Contains(d.blame, leaf.Component)
	}))
}

// base is the newest twin known, with the newest counters: status does not follow those that concern nobody.
func (d *Device) base(belief Belief) *twin.Twin {
	if d.unpersisted != nil {
		return d.unpersisted
	}
	if belief.Twin == nil {
		return nil
	}
	if d.known.Version == 0 {
		d.known, d.deviceETag, d.model = belief.Twin.Position(), belief.Twin.DeviceETag, belief.Twin.ModelID
		d.etag = belief.Twin.ETag
	}
	return d.newer(belief.Twin)
}

// Suspect raises a doubt because of an event.
func (d *Device) Suspect(at Place) News {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.suspect(at)
}

func (d *Device) suspect(at Place) News {
	d.pressing = d.pressing || at.Partition != ""
	d.raise()
	return d.hold(at, Urgent)
}

// Unheard raises a doubt because an event did not come that somebody waits for.
func (d *Device) Unheard() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.pressing = true
	d.raise()
	d.hold(Place{}, Urgent)
}

// Connection takes a connection event into what is known: since when the device is connected or not. Sequence numbers
// compare as text; after a restart the time that status knows stands in for them.
func (d *Device) Connection(state, sequence string, since time.Time, at Place, believed func() Belief) News {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.connection != "" && sequence <= d.connection {
		return Nothing
	}
	first := d.connection == ""
	d.connection = sequence
	d.presence = presence{changed: since, offline: state == "Disconnected"}
	d.doubtModel()
	c := &connection{state, since}
	if d.pass != nil {
		d.pass.connection = c
	}
	belief := believed()
	base := d.base(belief)
	switch {
	case base == nil:
		return d.suspect(at)
	case first && !since.After(base.ConnectionStateSince):
		return Nothing
	case base.ConnectionState == state && base.ConnectionStateSince.Equal(since):
		return Nothing
	}
	d.unpersisted = c.on(base)
	isFirstAfterRead := first && base.ConnectionState != state && d.wasReadAfter(since, base, belief)
	if isFirstAfterRead || state == "Connected" && neverConnected(base) {
		return d.suspect(at)
	}
	return d.hold(at, FromDevice)
}

// wasReadAfter reports whether the connection state is known from a read, which does not say since
// when, after an event that may have been told before: it may be a later state than the event's, or
// the hub may have been late. Events tell whole seconds.
func (d *Device) wasReadAfter(event time.Time, base *twin.Twin, belief Belief) bool {
	return base.ConnectionStateSince.IsZero() && (event.Before(d.looked.Truncate(time.Second)) || event.Before(belief.StateSeen))
}

// neverConnected reports whether a device that connects has announced its model just now: no event
// tells which.
func neverConnected(t *twin.Twin) bool {
	return t.ModelID == "" && t.ConnectionState != "Connected" && t.ConnectionStateSince.IsZero()
}

// hold keeps the checkpoint before an event until its effect is in status. A doubt that comes from no event stands in
// the checkpoint by itself, and covers any event.
func (d *Device) hold(at Place, news News) News {
	if d.held == nil || at.Partition == "" {
		d.held = &at
	}
	if d.pass != nil && d.pass.first == nil {
		d.pass.first = &at
	}
	return news
}

// release lets the checkpoint go on, up to what arrived during the pass.
func (d *Device) release() {
	d.held = nil
	if d.pass != nil && d.unpersisted != nil {
		d.held = d.pass.first
	}
}

// Outstanding returns the first event whose effect is not in status.
func (d *Device) Outstanding() (Place, bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.held == nil {
		return Place{}, false
	}
	return *d.held, true
}

func (d *Device) arrived(n *twin.Notification) {
	p := d.pass
	if p == nil || p.overflow {
		return
	}
	if p.room = n.Without(p.room); p.room < 0 || len(p.arrivals) == maxArrivals {
		p.overflow, p.arrivals = true, nil
		return
	}
	p.arrivals = append(p.arrivals, n)
}

// replay folds what arrived during the pass into its outcome. Where that fails, one more read tells.
func (d *Device) replay(t *twin.Twin) *twin.Twin {
	if d.pass == nil {
		return t
	}
	if d.pass.connection != nil {
		t = d.pass.connection.on(t)
	}
	if d.pass.overflow {
		d.doubt()
		return t
	}
	for _, n := range d.pass.arrivals {
		switch d.known.Order(n) {
		case twin.Old:
			continue
		case twin.Gap:
			d.doubt()
			return t
		}
		next, err := t.Fold(n)
		if err != nil {
			d.doubt()
			return t
		}
		t, d.known = next, d.known.After(n)
	}
	return t
}

// Quiet asks not to show what the device alone does before then.
func (d *Device) Quiet(until time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.quietUntil = until
}

// QuietFor returns how long what the device alone does has to wait.
func (d *Device) QuietFor(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	return max(0, d.quietUntil.Sub(now))
}

// Awaits says whether the device owes an answer to a write.
func (d *Device) Awaits(answer bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.awaited = answer
}

// tellAfter is when to have an object look at what its device did: at once if it may be an answer that is waited for.
func (d *Device) tellAfter(now time.Time) time.Duration {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.awaited {
		return 0
	}
	return max(0, d.quietUntil.Sub(now))
}
