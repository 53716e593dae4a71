package devices

import (
	"errors"
	"fmt"
	"hash/maphash"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

const workerCount = 4

// DefaultAckDelay is how long a device takes to react when New is given 0.
const DefaultAckDelay = 20 * time.Millisecond

// Devices is the virtual devices of one simulator. An idle device costs no goroutine and no timer.
type Devices struct {
	hub         *hub.Hub
	methods     *methods.Exchange
	publisher   Publisher
	log         logr.Logger
	ackDelay    time.Duration
	seed        maphash.Seed
	workers     [workerCount]*worker
	unsubscribe func()

	mu      sync.RWMutex
	devices map[string]*device
}

// New returns no devices yet. ackDelay is how long each takes to react; negative is not at all, 0 is DefaultAckDelay.
// Telemetry goes to p, or nowhere if that is nil; commands come through m.
func New(h *hub.Hub, m *methods.Exchange, ackDelay time.Duration, p Publisher, log logr.Logger) *Devices {
	if ackDelay == 0 {
		ackDelay = DefaultAckDelay
	}
	d := &Devices{
		hub: h, methods: m, publisher: p, log: log, ackDelay: max(ackDelay, 0), seed: maphash.MakeSeed(), devices: map[string]*device{},
	}
	for i := range d.workers {
		d.workers[i] = startWorker()
	}
	d.unsubscribe = h.Subscribe(d.changed)
	return d
}

// Close stops all devices; acknowledgements that are still due are not sent.
func (d *Devices) Close() {
	d.unsubscribe()
	for _, w := range d.workers {
		w.close()
	}
}

// Add runs a virtual device for the identity id, which it creates if the hub lacks it.
func (d *Devices) Add(id string, s Spec) error {
	if err := s.validate(); err != nil {
		return err
	}
	if err := d.hub.CreateDevice(id); err != nil && !exists(err) {
		return err
	}
	dev := &device{id: id, pool: d, worker: d.workers[maphash.String(d.seed, id)%workerCount]}
	dev.behave(s.Behaviour)
	dev.model, dev.telemetry = s.Model, s.Telemetry
	dev.overrides = maps.Clone(s.Properties)
	if !d.insert(id, dev) {
		return fmt.Errorf("a virtual device %q is already running", id)
	}
	if s.Offline {
		return nil
	}
	return dev.connect()
}

func (s Spec) validate() error {
	err := errors.Join(s.Behaviour.validate(), s.Telemetry.validate())
	for _, b := range s.Properties {
		err = errors.Join(err, b.validate())
	}
	return err
}

func exists(err error) bool {
	var refused *hub.Error
	return errors.As(err, &refused) && refused.Name == "DeviceAlreadyExists"
}

func (d *Devices) insert(id string, dev *device) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.devices[id] != nil {
		return false
	}
	d.devices[id] = dev
	return true
}

func (d *Devices) get(id string) *device {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.devices[id]
}

func (d *Devices) with(id string, f func(*device) error) error {
	dev := d.get(id)
	if dev == nil {
		return fmt.Errorf("no virtual device %q", id)
	}
	return f(dev)
}

// Behave changes how a device reacts from now on; GoOffline and GoOnline act at once and leave the rest as it is.
func (d *Devices) Behave(id string, b Behaviour) error {
	if err := b.validate(); err != nil {
		return err
	}
	switch b.Kind {
	case KindGoOffline:
		return d.Offline(id)
	case KindGoOnline:
		return d.Online(id)
	}
	return d.with(id, func(dev *device) error { dev.behave(b); return nil })
}

// BehaveProperty overrides how a device reacts to one property, given by name or component.name.
func (d *Devices) BehaveProperty(id, path string, b Behaviour) error {
	if err := b.validate(); err != nil {
		return err
	}
	return d.with(id, func(dev *device) error { dev.override(path, b); return nil })
}

// Online connects a device: it announces its model, fetches its twin and acknowledges what it has not acknowledged yet.
func (d *Devices) Online(id string) error { return d.with(id, (*device).connect) }

// Offline disconnects a device; acknowledgements that are still due are lost.
func (d *Devices) Offline(id string) error { return d.with(id, (*device).disconnect) }

// Remove disconnects a device and forgets it; the identity stays.
func (d *Devices) Remove(id string) error {
	err := d.with(id, (*device).disconnect)
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.devices, id)
	return err
}

// Info is a virtual device as it is now.
type Info struct {
	ID     string `json:"id"`
	Online bool   `json:"online"`
	Spec
}

// Get returns a virtual device.
func (d *Devices) Get(id string) (Info, bool) {
	dev := d.get(id)
	if dev == nil {
		return Info{}, false
	}
	return dev.info(), true
}

// Len returns the number of virtual devices.
func (d *Devices) Len() int {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return len(d.devices)
}

// changed runs inside a commit of the hub: it only queues.
func (d *Devices) changed(c hub.Change) {
	dev := d.get(c.DeviceID)
	if dev == nil {
		return
	}
	switch {
	case c.After == nil || !c.After.Identity.Connected:
		dev.lost()
	case c.Desired != nil:
		dev.notify(c)
	}
}

// device is one virtual device. Its locks are never held while it calls the hub.
type device struct {
	id        string
	model     string
	telemetry Telemetry
	pool      *Devices
	worker    *worker
	rounds    int          // of telemetry; the worker's
	session   atomic.Int64 // of the connection: odd while connected

	life sync.Mutex // serialises connect and disconnect

	mu        sync.Mutex
	behaviour Behaviour
	overrides map[string]Behaviour
	fetched   int64              // desired version of the twin that the session started with
	latest    map[property]int64 // newest desired version of a property whose completion is due
	answers   map[string]CommandAnswer
	ran       []Ran
	detach    func() // ends that commands come here; nil while they do not
}

func (dev *device) behave(b Behaviour) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	dev.behaviour = b
}

func (dev *device) override(path string, b Behaviour) {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.overrides == nil {
		dev.overrides = map[string]Behaviour{}
	}
	dev.overrides[path] = b
}

func (dev *device) behaviourFor(p property) Behaviour {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if b, ok := dev.overrides[p.String()]; ok {
		return b
	}
	return dev.behaviour
}

func (dev *device) info() Info {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	return Info{dev.id, dev.online(), Spec{
		Model: dev.model, Behaviour: dev.behaviour, Properties: maps.Clone(dev.overrides), Telemetry: dev.telemetry,
		Offline: !dev.online(),
	}}
}

func (dev *device) online() bool { return dev.session.Load()%2 == 1 }

func (dev *device) connect() error {
	dev.life.Lock()
	defer dev.life.Unlock()
	if dev.online() {
		return nil
	}
	if err := dev.pool.hub.SetConnected(dev.id, true, dev.model); err != nil {
		return err
	}
	session := dev.session.Add(1)
	twin, err := dev.pool.hub.Get(dev.id)
	if err != nil {
		dev.lost()
		return err
	}
	dev.mu.Lock()
	dev.fetched, dev.latest = twin.DesiredVersion(), map[property]int64{}
	dev.detach = dev.pool.methods.Attach(dev.id, dev)
	dev.mu.Unlock()
	dev.later(session, dev.pool.ackDelay, func() { dev.startUp(session, twin) })
	dev.startTelemetry(session)
	return nil
}

func (dev *device) disconnect() error {
	dev.life.Lock()
	defer dev.life.Unlock()
	if !dev.online() {
		return nil
	}
	dev.lost()
	return dev.pool.hub.SetConnected(dev.id, false, "")
}

// lost ends the session, if there is one.
func (dev *device) lost() {
	s := dev.session.Load()
	if s%2 == 0 || !dev.session.CompareAndSwap(s, s+1) {
		return
	}
	dev.mu.Lock()
	defer dev.mu.Unlock()
	if dev.detach != nil {
		dev.detach()
		dev.detach = nil
	}
}

// later runs f on the device's worker unless its session has ended by then.
func (dev *device) later(session int64, delay time.Duration, f func()) {
	dev.worker.after(delay, func() {
		if dev.session.Load() == session {
			f()
		}
	})
}

func (dev *device) notify(c hub.Change) {
	if session := dev.session.Load(); session%2 == 1 {
		dev.later(session, dev.pool.ackDelay, func() { dev.desired(session, c) })
	}
}
