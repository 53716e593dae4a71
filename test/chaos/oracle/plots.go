package oracle

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// Elsewhere is an IoTHub that is not ready.
const Elsewhere = "elsewhere"

// plot is a chain of actions about one device after which an operator that takes what was wanted, or tried, for what the hub holds removes another writer's value,
// or leaves one of its own behind. Everything else goes on meanwhile. Each action waits for what the ones before it are to come to, so that a slow machine does
// not spoil it.
type plot struct {
	*generator
	d       *device
	actions []Action
	await   string
	wait    time.Duration
}

// between draws a time.
func (g *generator) between(from, to time.Duration) time.Duration {
	return from + time.Duration(g.r.Int64N(int64(to-from)))
}

// isPlottable tells the devices that a plot may be about.
func isPlottable(d *device) bool {
	return d.declared && d.atHub && !d.busy && !d.suspend && d.management == v1alpha1.ManagementEnforce && len(d.leaves()) > 0
}

// drawPlot begins one.
func (g *generator) drawPlot() (Action, bool) {
	d := g.any(isPlottable)
	if d == nil {
		return Action{}, false
	}
	p := &plot{generator: g, d: d}
	switch { // a copy of a device that may vanish could be one of an earlier device
	case d.mayVanish && g.oneIn(2):
		p.createdAnew()
	case !d.mayVanish && d.online && g.oneIn(8):
		p.failsOver()
	case g.oneIn(8):
		p.putBack()
	default:
		p.takenBack()
	}
	const usual = 5 * time.Second // all that is awaited
	d.busyUntil = g.now + usual
	for _, a := range p.actions {
		d.busyUntil += a.Wait
	}
	g.plot = p.actions[1:]
	return p.actions[0], true
}

// seen has the next action wait until status speaks of the declaration, written until the operator has written, and after for a time.
func (p *plot) seen() *plot    { p.await = Seen; return p }
func (p *plot) written() *plot { p.await = Written; return p }
func (p *plot) after(from, to time.Duration) *plot {
	p.wait = p.between(from, to)
	return p
}

func (p *plot) act(a Action) {
	a.Device, a.Plot, a.Await, a.Wait = p.d.name, true, p.await, p.wait
	p.await, p.wait = "", 0
	p.actions = append(p.actions, a)
}

// edit applies the declaration as it is now.
func (p *plot) edit() { p.act(p.generator.edit(Edit, p.d)) }

// foreign has another writer set a property.
func (p *plot) foreign(leaf Leaf, value any) {
	p.act(Action{Kind: Foreign, Patch: patchOf(leaf, value)})
}

// A stop keeps writes from the hub.
const (
	hubSuspended    = "hub suspended"
	deviceSuspended = "device suspended"
	refused         = "writes refused"
	lost            = "answers lost"
	observed        = "only observed"
	isAway          = "at another hub"
	none            = "nothing"
)

// stop has one begin, or end.
func (p *plot) stop(stop string, begins bool) {
	switch stop {
	case hubSuspended:
		p.act(Action{Kind: map[bool]Kind{true: SuspendHub, false: ResumeHub}[begins]})
	case deviceSuspended:
		p.d.suspend = begins
	case observed:
		p.d.management = map[bool]v1alpha1.Management{true: v1alpha1.ManagementObserve, false: v1alpha1.ManagementEnforce}[begins]
	case isAway:
		p.d.away = begins
	}
	switch {
	case stop == deviceSuspended || stop == observed || stop == isAway:
		if p.d.declared {
			p.edit()
		}
	case (stop == refused || stop == lost) && !begins:
		p.act(Action{Kind: Mend})
	case stop == refused:
		p.fault(simulator.Fault{Kind: simulator.FaultStatus, Status: pick(p.generator, 503, 503, 429, 412, 500), Count: simulator.Forever})
	case stop == lost:
		p.fault(simulator.Fault{Kind: pick(p.generator, simulator.FaultStatusAfter, simulator.FaultResetAfter), Status: 503, Count: 1 + p.r.IntN(3)})
	}
}

// fault breaks writes to the device alone.
func (p *plot) fault(f simulator.Fault) {
	f.Operation, f.Device = "Patch*", p.d.name
	p.act(Action{Kind: Fault, Fault: &f})
}

// When another writer sets the property that is declared and taken back.
const (
	before     = "before"
	equalThen  = "before, the same value"
	meanwhile  = "meanwhile"
	afterwards = "afterwards, the same value"
	never      = "never"
)

// takenBack declares a value while writes cannot go out, and takes it back before they can.
func (p *plot) takenBack() {
	g := p.generator
	stop := pick(g, hubSuspended, hubSuspended, refused, refused, refused, refused, deviceSuspended, lost, observed, isAway, none)
	when := pick(g, before, before, before, before, meanwhile, equalThen, afterwards, never)
	leaf := p.leaf()
	value := valueFor(g.r, leaf)
	switch when {
	case before:
		p.foreign(leaf, valueFor(g.r, leaf))
	case equalThen:
		p.foreign(leaf, value)
	}
	p.after(0, time.Second).stop(stop, true)
	cleared := g.oneIn(8)
	if cleared {
		p.d.deletionPolicy = v1alpha1.DeletionClear
	}
	p.d.values[leaf] = value
	p.after(0, 500*time.Millisecond).edit()
	if when == meanwhile {
		p.seen().foreign(leaf, valueFor(g.r, leaf))
	}
	if g.oneIn(4) { // changed twice
		value = valueFor(g.r, leaf)
		p.d.values[leaf] = value
		p.seen().edit()
	}
	p.seen().after(0, time.Second).takeBack(leaf, cleared)
	if when == afterwards { // once the operator has heard that it is no longer declared, and not as the next write, which its own could have been
		p.after(lag+time.Second, lag+2*time.Second).foreign(Leaf{"", "owner"}, text(g.r))
		p.foreign(leaf, value)
	}
	p.after(500*time.Millisecond, 1500*time.Millisecond).stop(stop, false)
	if cleared {
		p.d.begin(g.r)
		p.after(time.Second, 2*time.Second).act(p.generator.edit(Create, p.d))
	}
	p.await, p.wait = "", 0
}

// leaf is one that the object declares, or, more often, one that it does not.
func (p *plot) leaf() Leaf {
	if undeclared := p.d.undeclared(); len(undeclared) > 0 && !p.oneIn(4) {
		return pick(p.generator, undeclared...)
	}
	return pick(p.generator, p.d.leaves()...)
}

// takeBack takes a property out of the declaration: alone, for another one, with its component, or with the object.
func (p *plot) takeBack(leaf Leaf, cleared bool) {
	if cleared {
		p.d.declared = false
		p.act(Action{Kind: Delete})
		return
	}
	delete(p.d.values, leaf)
	switch p.r.IntN(4) {
	case 0:
		if others := p.d.undeclared(); len(others) > 0 {
			other := pick(p.generator, others...)
			p.d.values[other] = valueFor(p.r, other)
		}
	case 1:
		for _, l := range p.d.leaves() {
			if l.Component == leaf.Component {
				delete(p.d.values, l)
			}
		}
	}
	p.edit()
}

// createdAnew has the device replaced by one with the same etag, which others have provisioned, and nothing tells of it before the declaration is edited.
func (p *plot) createdAnew() {
	leaf := pick(p.generator, p.d.leaves()...)
	p.events(Stall)
	p.act(Action{Kind: Recreate, Patch: patchOf(leaf, valueFor(p.r, leaf))})
	p.takeBack(leaf, false)
	p.seen().after(time.Second, 3*time.Second).events(Release)
}

// failsOver has the hub lose the newest write, and another writer's takes the same version and etag.
func (p *plot) failsOver() {
	leaf := pick(p.generator, p.d.leaves()...)
	p.act(Action{Kind: Remember})
	p.d.values[leaf] = valueFor(p.r, leaf)
	p.edit()
	p.written().after(500*time.Millisecond, 1500*time.Millisecond).events(Stall)
	p.d.rewound = true
	p.act(Action{Kind: Rewind})
	p.foreign(leaf, valueFor(p.r, leaf))
	p.takeBack(leaf, false)
	p.seen().after(time.Second, 3*time.Second).events(Release)
}

// putBack has a value that others changed put back, the answer lost, and the property taken back right then.
func (p *plot) putBack() {
	leaf := pick(p.generator, p.d.leaves()...)
	p.stop(hubSuspended, true)
	p.after(500*time.Millisecond, time.Second).foreign(leaf, valueFor(p.r, leaf))
	p.after(time.Second, 2*time.Second).events(Stall)
	p.stop(lost, true)
	p.stop(hubSuspended, false)
	delete(p.d.values, leaf)
	p.written().edit()
	p.seen().after(time.Second, 3*time.Second).events(Release)
	p.stop(lost, false)
}

// events has none arrive, or lets them.
func (p *plot) events(what string) { p.act(Action{Kind: Stream, Name: what}) }
