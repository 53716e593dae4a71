package session

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Device is what memory holds of one device beyond its PnPDevice's status: only what is newer, and what
// is due. It is safe for concurrent use: events and sweeps come while a pass is under way. The
// reconciler of the object that has the device goes through a Pass.
type Device struct {
	mu sync.Mutex // guards all that follows

	knowledge
	outbox
	schedule
	pass *pass // under way, nil if none
}

// knowledge is what is known of a device, and how sure that is. Events, sweeps and passes add to it.
type knowledge struct {
	known      twin.Position // counters of the newest state known, zero if nothing was seen since the start
	etag       string        // of that state
	deviceETag string        // identity that they belong to
	model      string        // announced when it was last seen
	seen       int64         // newest version that a read, an event or a query showed since the start

	raised       int        // counts doubts of either kind
	doubted      int        // the newest doubt of the twin: it has to be read before status is believed
	modelDoubted int        // the newest doubt of the model: it has to be looked at before the next write
	settled      int        // the newest doubt that a read began after
	looked       time.Time  // when the hub was read last, zero: not since the start
	asked        time.Time  // when the newest read began
	sighting     Sighting   // what the newest read that was answered showed
	absent       bool       // the hub did not know the device when it was read last
	pressing     bool       // a doubt has more behind it than a sweep or a resync
	unread       bool       // a call failed, and the next read waits for that
	blocked      bool       // the hub refuses to be written
	blame        []string   // names in the twin that make it do so, if they are known
	foreign      string     // model that the newest message of another model named
	unpersisted  *twin.Twin // seen at the hub, not in status yet, see shed
	held         *Place     // first event whose effect is not in status
	connection   string     // sequence number of the last connection event
	presence     presence
	interest     Interest
}

// outbox is what an object sent and what is the object's, as far as status does not say so. Passes
// over that object alone change it. An operator that stops, and a session that takes over, read it.
type outbox struct {
	object      types.UID                 // that declares the device
	unshown     bool                      // status does not show a write that the hub took
	attempts    []*Attempt                // writes whose outcome is not settled, oldest first
	unsaved     *twin.Saved               // what is the object's, where status does not have it
	corrections map[twin.Leaf][]time.Time // when leaves were put back, oldest first
	// withheld are the attempts that this process recorded in status and certainly did not make.
	withheld map[twin.Leaf]twin.Sent
	// resolved are the attempts of this process whose outcome is known, until status says so.
	resolved map[twin.Leaf]twin.Sent
	shown    Shown // what status says of the twin, as it was written or believed last
}

// schedule is when the hub is to be asked again, and when status may be written. Passes set it; events
// and sweeps go by it.
type schedule struct {
	deferred   bool // the pass that read the twin had no token to write it
	awaited    bool // the device owes an answer to a write
	quietUntil time.Time
	followUps  followUps
}

// Doubt asks for a read before status is believed again. It is as pressing as the doubt before it, if there is one.
func (d *Device) Doubt() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.distrust()
}

func (d *Device) distrust() {
	d.pressing = d.pressing || !d.doubtful()
	d.raise()
}

// maxKept is what a twin may take of memory from one pass to the next, in bytes, roughly. Hubs let a device have no such twin;
// what stands in for a hub may send one for each device.
const maxKept = 1 << 20

// IsLarge reports whether a twin is too large to be kept while anything is waited for.
func IsLarge(t *twin.Twin) bool { return t.Exceeds(maxKept) }

// shed is called once a pass is over: a twin that is not in status yet and that is too large to be kept goes, and the next
// pass reads it again. What the object owns is kept, and so is what status records of the next write: the pass that reads
// writes as well.
func (d *Device) shed() {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unpersisted != nil && IsLarge(d.unpersisted) {
		d.unpersisted = nil
		d.distrust()
	}
}

// raise makes the twin doubtful.
func (d *Device) raise() {
	d.raised++
	d.doubted = d.raised
}

// doubtModel makes the model doubtful.
func (d *Device) doubtModel() {
	d.raised++
	d.modelDoubted = d.raised
}

// desiredVersion is the newest one known, 0 if memory knows of none.
func (d *Device) desiredVersion() int64 {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.known.DesiredVersion
}

// OnlySwept reports whether the device is to be read for no other reason than a sweep, or a resync.
func (d *Device) OnlySwept() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doubtful() && !d.pressing
}

// Defer says that the pass which read the twin could not write it for want of a token: the next one need not read it again.
func (d *Device) Defer() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.deferred = true
}

// Resume reports whether an earlier pass was deferred, and its read still holds. It is answered once.
func (d *Device) Resume() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	holds := d.deferred && !d.doubtful() && d.unpersisted != nil && !d.unpersisted.Partial
	d.deferred = false
	return holds
}

// Doubtful reports whether status must not be believed without a read.
func (d *Device) Doubtful() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.doubtful()
}

func (d *Device) doubtful() bool { return d.doubted > d.settled }

// ModelInDoubt reports whether the device may have another model than it was last seen with. A
// doubt from before a start is not remembered: the first look after it ends that.
func (d *Device) ModelInDoubt() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.modelUnknown()
}

func (d *Device) modelUnknown() bool { return d.looked.IsZero() || d.modelDoubted > d.settled }

// beginRead returns the token that observe takes: a doubt raised while the read is under way
// outlives it.
func (d *Device) beginRead() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.asked = time.Now()
	return d.raised
}

// Doubts counts the doubts so far.
func (d *Device) Doubts() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.raised
}

// Sighting is what a read showed of a device.
type Sighting struct {
	// Asked is when the read began: what it shows is no older. Zero: there was none.
	Asked              time.Time
	Connected, Enabled bool
}

// Sighting is that of the newest read.
func (d *Device) Sighting() Sighting {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sighting
}

// observe keeps a twin that the hub returned until it is in status, with the events that arrived meanwhile folded in. It adds to the twin,
// which nobody else has yet, what an event told and no read does.
func (d *Device) observe(t *twin.Twin, token int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.settled, d.looked, d.absent, d.unread = token, time.Now(), false, false
	d.sighting = Sighting{Asked: d.asked, Connected: t.ConnectionState == "Connected", Enabled: t.Status != "disabled"}
	d.pressing = d.pressing && d.doubtful()
	if d.presence.read(d.awaited, t.ConnectionState == "Disconnected", t.ReportedVersion) {
		d.prove()
	}
	d.known, d.deviceETag, d.model, d.seen = t.Position(), t.DeviceETag, t.ModelID, t.Version
	d.pass.restart(d.known)
	if known := d.unpersisted; known != nil && known.ConnectionState == t.ConnectionState && t.ConnectionStateSince.IsZero() {
		t.ConnectionStateSince = known.ConnectionStateSince // a read does not say since when
	}
	d.followUps = d.followUps.answered()
	d.unpersisted = d.replay(t)
	d.etag = d.unpersisted.ETag
}

// missRead says that a call of a pass failed, and that the twin is to be read before status is believed
// again: once the back-off lets it, or the device does something.
func (d *Device) missRead() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.distrust()
	d.unread = true
}

// denied says that the hub was asked and does not know the device. The doubt lasts.
func (d *Device) denied() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.absent = true
}

// Deleted says that an event told that the device is gone, or with false, that it is there again. Either is confirmed by a
// read, which a suspended object does not get.
func (d *Device) Deleted(is bool, at Place) News {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.absent = is
	return d.suspect(at)
}

// IsAbsent reports whether the hub did not know the device when it spoke of it last.
func (d *Device) IsAbsent() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.absent
}

// ReadSince reports whether the hub has returned the twin since a time.
func (d *Device) ReadSince(t time.Time) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return !d.looked.IsZero() && !d.looked.Before(t)
}

// accepted keeps a twin that follows from a write whose answer says no more than that it was accepted.
func (d *Device) accepted(t *twin.Twin) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.pass != nil {
		d.known = d.pass.began
	}
	if d.known.Version == 0 { // nothing was seen since the start
		d.known = t.Position()
	}
	d.known.DesiredVersion, d.known.DesiredUpdated = t.DesiredVersion, t.DesiredUpdated
	if t.ReportedUpdated.IsZero() { // it follows from what status says
		t.ReportedUpdated = d.known.ReportedUpdated
	}
	d.unpersisted = d.replay(t)
	d.etag = d.unpersisted.ETag
}

// Newer is the twin that status tells of, with the counters of the newest state known: status does not follow writes that
// concern nothing that it shows.
func (d *Device) Newer(told *twin.Twin) *twin.Twin {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.newer(told)
}

func (d *Device) newer(told *twin.Twin) *twin.Twin {
	return (&twin.Remembered{ETag: d.etag, Position: d.known}).Newer(told)
}

// hasSeen reports whether memory knows of a write as late as an etag's.
func (d *Device) hasSeen(etag string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.etag != "" && !aheadOf(etag, d.etag)
}

// Blocked says that the hub refuses to be written, and which names in the twin are to blame, if that is known.
func (d *Device) Blocked(names []string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked, d.blame = true, names
}

// Unblocked says that nothing is left to write that the hub refuses.
func (d *Device) Unblocked() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.blocked, d.blame = false, nil
}

// Unpersisted returns the newest twin that is not in status yet, or nil.
func (d *Device) Unpersisted() *twin.Twin {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.unpersisted
}

// persisted says that status holds t, which is not nil. Events that arrived since the pass began
// are still outstanding.
func (d *Device) persisted(t *twin.Twin) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.unpersisted == t {
		d.unpersisted = nil
	}
	d.unshown, d.unsaved = false, nil
	if d.pass != nil {
		d.pass.stored = true
	}
	if !d.doubtful() {
		d.release()
	}
}

// Unshown says that status is to show a write later. Until then the device stands in the checkpoint: should this process end,
// status does not say what the hub holds.
func (d *Device) Unshown() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.unshown = true
	d.hold(Place{}, Nothing)
}

// isUnshown reports whether memory alone knows what became of a write, or of a value that was found
// equal, and of which object.
func (d *Device) isUnshown() (object types.UID, is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.object, d.unshown || d.unsaved != nil || len(d.attempts) > 0
}

// Shown is which state of a twin status is about.
type Shown struct {
	// Hub that the twin was read at.
	Hub                     string
	Version, DesiredVersion int64
}

// shows says what the status of an object is about at the end of a pass.
func (d *Device) shows(object types.UID, is Shown) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.object == object {
		d.shown = is
	}
}

// IsBehind reports whether status is about an earlier state of the twin than it was at the end of
// the last pass: somebody has put it back.
func (d *Device) IsBehind(object types.UID, is Shown) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.object == object && is.Hub == d.shown.Hub && (is.Version < d.shown.Version || is.DesiredVersion < d.shown.DesiredVersion)
}

// Row is one device in the answer of a sweep query.
type Row struct {
	DeviceID        string `json:"deviceId"`
	ETag            string `json:"etag"`
	DeviceETag      string `json:"deviceEtag"`
	Version         int64  `json:"version"`
	ConnectionState string `json:"connectionState"`
}

// compare says whether the row shows something that memory has not seen. A device absent in memory is seeded from the
// row: for later rows only, since events up to the row may still be on their way.
func (d *Device) compare(r Row) (changed bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.deviceETag == "" {
		d.deviceETag = r.DeviceETag
	}
	if d.seen == 0 {
		d.seen = r.Version
	}
	return r.DeviceETag != d.deviceETag || r.Version > d.seen
}

// busy reports whether the reconciler has this device in hand: something is not in status yet, or follow-up reads are due.
func (d *Device) busy() bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	_, due := d.followUps.next(time.Time{})
	return d.unpersisted != nil || due
}

// older reports whether the row is behind memory.
func (d *Device) older(r Row) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return r.DeviceETag == d.deviceETag && r.Version < d.seen
}
