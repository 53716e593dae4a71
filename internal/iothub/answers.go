package iothub

import (
	"bytes"
	"errors"
	"io"
	"sync"
	"sync/atomic"
)

// Bounds of what answers take of memory. A hub that is none, or one whose devices report all that they
// can, sends as much as it likes, to as many calls as there are.
const (
	maxResponseBody = 8 << 20 // bytes of one answer; a page of 50 twins of 72 KB each fits, with their metadata
	// maxValues is how many JSON values an answer has at most: decoded, each takes some fifty bytes.
	maxValues = 400_000
	// freeBytes of each answer are not counted, and freeOfCommand of one to a command: as much as
	// status holds of it. Many more commands are under way than other calls, each for minutes.
	freeBytes     = 64 << 10
	freeOfCommand = 16 << 10
	// maxHeld bytes of answers are held at a time, maxHeldOfHub of them by one client, and by the clients of a tenant no more than others leave free:
	// half of all by one, a third by each of two.
	maxHeld      = 64 << 20
	maxHeldOfHub = 2 * maxResponseBody
	// largeBytes is from where on answers are decoded one at a time.
	largeBytes = 256 << 10
)

var (
	errBodyTooLarge  = errors.New("answer exceeds 8 MiB")
	errTooManyValues = errors.New("answer exceeds 400,000 JSON values")
	errNoRoom        = errors.New("the operator holds as many bytes of large answers as it may; tried again")
)

// held counts bytes of answers of all clients.
var held = &holdings{of: map[string]int64{}}

// holdings are bytes, by tenant.
type holdings struct {
	mu  sync.Mutex
	all int64
	of  map[string]int64
}

// add counts n bytes more, or less, of a tenant and reports whether it has no more than its share.
func (h *holdings) add(tenant string, n int64) (fits bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.all += n
	if h.of[tenant] += n; h.of[tenant] == 0 {
		delete(h.of, tenant)
	}
	return h.of[tenant] <= maxHeld-h.all
}

// decoding is held while a large answer is decoded. That takes no I/O, so nobody can make it last.
var decoding sync.Mutex

// room is what one answer holds. It is in the context of its request under roomKey.
type room struct {
	tenant string
	ofHub  *atomic.Int64
	// isOfCommand is true of an answer to a command.
	isOfCommand bool
	read        int64
	taken       int64
}

type roomKey struct{}

// take counts what was read of the answer.
func (r *room) take(n int) error {
	r.read += int64(n)
	more := max(0, r.read-r.free()) - r.taken
	if more == 0 {
		return nil
	}
	r.taken += more
	if fits, ofHub := held.add(r.tenant, more), r.ofHub.Add(more); !fits || ofHub > maxHeldOfHub {
		return errNoRoom
	}
	return nil
}

// free is how many bytes are not counted.
func (r *room) free() int64 {
	if r.isOfCommand {
		return freeOfCommand
	}
	return freeBytes
}

// leave gives back what was counted.
func (r *room) leave() {
	held.add(r.tenant, -r.taken)
	r.ofHub.Add(-r.taken)
	r.taken = 0
}

// limitedBody fails, rather than ends, when the answer is larger than it may be.
type limitedBody struct {
	io.ReadCloser
	left int
	room *room // nil: not counted
}

func (b *limitedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errBodyTooLarge
	}
	if b.room != nil {
		if full := b.room.take(n); full != nil {
			return 0, full
		}
	}
	return n, err
}

// decodeWithin decodes a whole answer, if it has no more values than it may.
func decodeWithin(body []byte, decode func() error) error {
	if len(body) < largeBytes {
		return decode()
	}
	if valuesOf(body) > maxValues {
		return errTooManyValues
	}
	decoding.Lock()
	defer decoding.Unlock()
	return decode()
}

// valuesOf is at least how many values a JSON text has: each but the first comes after one of these.
func valuesOf(body []byte) (n int) {
	for _, c := range []byte{',', ':', '[', '{'} {
		n += bytes.Count(body, []byte{c})
	}
	return n
}
