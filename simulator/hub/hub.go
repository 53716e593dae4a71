// Package hub is the state of a simulated IoT Hub: identities, device twins and digital twins under the rules of the
// real service, without I/O. Front ends translate protocols into calls of Hub and learn of changes by Subscribe.
//
// The rules are those of Microsoft's documentation ("Understand and use device twins in IoT Hub", "Understand IoT Plug and
// Play digital twins", "Manage IoT Plug and Play digital twins", "Identity registry") and of recorded responses of the
// service in the tests of Microsoft's SDKs.
package hub

import (
	"cmp"
	"context"
	"encoding/base64"
	"encoding/binary"
	"hash/maphash"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	crand "crypto/rand"

	"github.com/pnp-operator/pnp-operator/simulator/query"
)

const shardCount = 64

// Hub is the state store. All methods are safe for concurrent use; each device has its own lock.
type Hub struct {
	clock       func() time.Time
	seed        maphash.Seed
	shards      [shardCount]shard
	ids         idCache
	modules     idCache // keys of modules
	keys        keyMaker
	etags       atomic.Uint64
	generation  atomic.Int64
	seq         atomic.Uint64
	lenient     atomic.Bool
	whole       atomic.Bool
	queryRows   atomic.Int64 // 0: usualRows
	subscribers subscribers
	index       index
	counts      index // of aggregates, while they have a lag of their own
	ghosts      ghosts
	dialect     atomic.Pointer[query.Dialect]
}

type shard struct {
	mu      sync.RWMutex
	devices map[string]*device
}

// device holds the newest state of one device; nil state means that it was deleted.
type device struct {
	mu      sync.Mutex
	dropped bool // no longer in its shard
	state   atomic.Pointer[Twin]
}

type subscribers struct {
	mu   sync.Mutex
	next int
	list atomic.Pointer[map[int]func(Change)]
}

func (s *subscribers) replace(edit func(map[int]func(Change))) {
	next := map[int]func(Change){}
	if old := s.list.Load(); old != nil {
		maps.Copy(next, *old)
	}
	edit(next)
	s.list.Store(&next)
}

func (s *subscribers) tell(c Change) {
	if list := s.list.Load(); list != nil {
		for _, f := range *list {
			f(c)
		}
	}
}

// New returns an empty hub. clock gives the time of every stamp; seed makes generated keys repeatable, 0 makes them
// random.
func New(clock func() time.Time, seed uint64) *Hub {
	h := &Hub{clock: clock, seed: maphash.MakeSeed(), keys: newKeyMaker(seed)}
	for i := range h.shards {
		h.shards[i].devices = map[string]*device{}
	}
	h.etags.Store(612044512)
	return h
}

func (h *Hub) shard(id string) *shard {
	return &h.shards[maphash.String(h.seed, id)%shardCount]
}

func (h *Hub) device(id string) *device {
	s := h.shard(id)
	s.mu.RLock()
	defer s.mu.RUnlock()
	return s.devices[id]
}

func (h *Hub) deviceOrNew(id string) *device {
	if d := h.device(id); d != nil {
		return d
	}
	s := h.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.devices[id] == nil {
		s.devices[id] = &device{}
	}
	return s.devices[id]
}

// Get returns the newest state of a device.
func (h *Hub) Get(id string) (*Twin, error) {
	if d := h.device(id); d != nil {
		if t := d.state.Load(); t != nil {
			return t, nil
		}
	}
	return nil, deviceNotFound(id)
}

// Len returns the number of devices.
func (h *Hub) Len() int { return len(h.IDs()) }

// IDs returns the ids of all devices in ascending order. The slice is shared: do not modify it.
func (h *Hub) IDs() []string { return h.ids.sorted(func() []string { return h.collect(false) }) }

// collect returns the keys of all modules, or of all devices, in ascending order.
func (h *Hub) collect(modules bool) []string {
	var ids []string
	for i := range h.shards {
		s := &h.shards[i]
		s.mu.RLock()
		for id, d := range s.devices {
			if d.state.Load() != nil && isModuleKey(id) == modules {
				ids = append(ids, id)
			}
		}
		s.mu.RUnlock()
	}
	slices.Sort(ids)
	return ids
}

// idsOf keeps the ids of devices, or the keys of modules.
func (h *Hub) idsOf(modules bool) *idCache {
	if modules {
		return &h.modules
	}
	return &h.ids
}

// idCache keeps the sorted ids until a device comes or goes.
type idCache struct {
	mu    sync.Mutex
	dirty atomic.Bool
	ids   []string
}

func (c *idCache) sorted(collect func() []string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.dirty.Swap(false) {
		c.ids = collect()
	}
	return c.ids
}

// update runs one read-modify-write of an existing device under its lock. change receives the newest state and the time of the
// change, which stamps whatever it writes, and returns the next state, nil to delete the device, with what to announce. A change of
// no kind is not announced.
func (h *Hub) update(id string, change func(*Twin, time.Time) (*Twin, Change, error)) (*Twin, error) {
	d := h.device(id)
	if d == nil {
		return nil, deviceNotFound(id)
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	before := d.state.Load()
	if before == nil {
		return nil, deviceNotFound(id)
	}
	at := h.clock()
	after, c, err := change(before, at)
	if err != nil {
		return before, err
	}
	if after != before {
		c.At, c.Before, c.After = at, before, after
		h.commit(d, c)
	}
	return after, nil
}

// create stores a new device and returns it, or nil if the device exists.
func (h *Hub) create(id string, build func(time.Time) *Twin) *Twin {
	for {
		d := h.deviceOrNew(id)
		if t, stale := h.createIn(d, build); !stale {
			return t
		}
	}
}

// createIn reports stale if d has been dropped from its shard: look it up again.
func (h *Hub) createIn(d *device, build func(time.Time) *Twin) (t *Twin, stale bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.dropped || d.state.Load() != nil {
		return nil, d.dropped
	}
	at := h.clock()
	t = build(at)
	h.commit(d, Change{Kind: Created, At: at, After: t})
	return t, false
}

// drop removes the entry of a deleted device unless it was created again in the meantime.
func (h *Hub) drop(id string) {
	d := h.device(id)
	if d == nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.state.Load() != nil || d.dropped {
		return
	}
	d.dropped = true
	s := h.shard(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.devices, id)
}

// commit stores the state after a change and announces it. The caller holds the device's lock.
func (h *Hub) commit(d *device, c Change) {
	d.state.Store(c.After)
	of := cmp.Or(c.After, c.Before).Identity
	c.DeviceID, c.ModuleID = of.DeviceID, of.ModuleID
	if c.Before == nil || c.After == nil {
		h.idsOf(c.ModuleID != "").dirty.Store(true)
	}
	h.index.record(c)
	h.counts.record(c)
	h.ghosts.record(c)
	if c.Kind == "" {
		return
	}
	c.Seq = h.seq.Add(1)
	h.subscribers.tell(c)
}

// Await returns the state of a device as soon as ok accepts it; ok is given nil while the device does not exist.
func (h *Hub) Await(ctx context.Context, id string, ok func(*Twin) bool) (*Twin, error) {
	changed := make(chan struct{}, 1)
	cancel := h.Subscribe(func(c Change) {
		if c.DeviceID == id {
			select {
			case changed <- struct{}{}:
			default:
			}
		}
	})
	defer cancel()
	for {
		t, _ := h.Get(id)
		if ok(t) {
			return t, nil
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return t, ctx.Err()
		}
	}
}

func (h *Hub) nextETag() string { return identityETag(h.etags.Add(1)) }

// nextGeneration returns .NET ticks that never repeat, even while the clock stands still.
func (h *Hub) nextGeneration(at time.Time) string {
	const ticksAtUnixEpoch = 621355968000000000
	now := at.UnixNano()/100 + ticksAtUnixEpoch
	for {
		last := h.generation.Load()
		next := max(now, last+1)
		if h.generation.CompareAndSwap(last, next) {
			return strconv.FormatInt(next, 10)
		}
	}
}

// keyMaker generates symmetric keys: base64 of 32 bytes, 44 characters.
type keyMaker struct {
	mu     *sync.Mutex
	source *rand.ChaCha8
}

func newKeyMaker(seed uint64) keyMaker {
	var s [32]byte
	if seed == 0 {
		_, _ = crand.Read(s[:]) // never fails
	} else {
		binary.LittleEndian.PutUint64(s[:], seed)
	}
	return keyMaker{&sync.Mutex{}, rand.NewChaCha8(s)}
}

func (k keyMaker) key() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	raw := make([]byte, 32)
	_, _ = k.source.Read(raw) // never fails
	return base64.StdEncoding.EncodeToString(raw)
}

// NewKey returns a fresh key, as the hub generates for devices and policies.
func (h *Hub) NewKey() string { return h.keys.key() }
