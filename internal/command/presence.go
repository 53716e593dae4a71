package command

import "time"

// Sign is what an event says of a device's presence.
type Sign int

const (
	// Came means that it connected.
	Came Sign = iota
	// Went means that it disconnected.
	Went
	// Acted means that it sent something.
	Acted
)

// Origin is where an event stands in its stream: what depends on it holds the checkpoint there.
type Origin struct {
	Partition      string
	SequenceNumber int64
	EnqueuedTime   time.Time
}

// Window is when an attempt was under way, by the hub's clock, which dates its events as well: ours
// may differ from it by more than an attempt takes. A hub that does not say when it answered leaves
// it zero; then whatever a device does may have been meanwhile.
type Window struct{ From, Until time.Time }

// WindowOf returns that of an attempt which the hub ended at a time by its clock, and which took a
// while by ours.
func WindowOf(until time.Time, took time.Duration) Window {
	if until.IsZero() {
		return Window{}
	}
	return Window{until.Add(-took), until}
}

// hearing is what the hub's events say of a device since its command was given a place. They arrive
// after what they tell of.
type hearing struct {
	window  *Window   // nil while the hub has not answered
	latest  time.Time // of what was heard until then
	back    bool      // the device connected after the answer
	stirred bool      // the device was there before the answer
	deaf    bool      // events were lost
}

// hear takes one event, and when what it tells happened, by the hub's clock; zero is unknown.
func (h *hearing) hear(sign Sign, at time.Time) {
	switch {
	case at.IsZero():
		h.stirred = true
	case h.window == nil:
		if at.After(h.latest) {
			h.latest = at
		}
	case h.window.Until.IsZero():
		h.stirred = true
	case at.Before(h.window.From):
	case !at.After(h.window.Until):
		h.stirred = true
	case sign == Went && !h.back: // it was there until then
		h.stirred = true
	case sign == Came:
		h.back = true
	}
}

// answered looks at what was heard before the hub said when that was.
func (h *hearing) answered(w Window) {
	h.window = &w
	h.stirred = h.stirred || !h.latest.IsZero() && !h.latest.Before(w.From)
}
