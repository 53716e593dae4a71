package chaos

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/simulator"
)

// Elsewhere is an IoTHub that is not ready.
const Elsewhere = "elsewhere"

// A plot is a chain of actions about one device after which an operator that takes what was wanted, or tried, for what the hub holds removes another writer's
// value, or leaves one of its own behind. Everything else goes on meanwhile.

// scene is an action of a plot that is due. What it comes to is decided then; users need the API server for it.
type scene struct {
	due   time.Duration
	users bool
	play  func() []Action
}

// scenes plays what is due up to a time.
func (g *generator) scenes(until time.Duration) []Action {
	var actions []Action
	for {
		i := slices.IndexFunc(g.plots, func(s scene) bool { return s.due <= until && !(s.users && g.serverDown) })
		if i < 0 {
			return actions
		}
		s := g.plots[i]
		g.plots = slices.Delete(g.plots, i, i+1)
		pause := max(0, s.due-g.now)
		g.now += pause
		for _, a := range s.play() {
			a.Pause = pause
			pause = 0
			actions = append(actions, a)
		}
		g.now -= pause // nothing was to be done after all
	}
}

// plot is what one is made of: scenes of a device, one after the other.
type plot struct {
	*generator
	d  *device
	at time.Duration
}

// between draws a time.
func (g *generator) between(from, to time.Duration) time.Duration {
	return from + time.Duration(g.r.Int64N(int64(to-from)))
}

// after adds a scene.
func (p *plot) after(pause time.Duration, users bool, play func() []Action) {
	p.at += pause
	p.plots = append(p.plots, scene{p.at, users, play})
	slices.SortStableFunc(p.plots, func(a, b scene) int { return int(a.due - b.due) })
}

// edit changes the declaration.
func (p *plot) edit(pause time.Duration, change func(d *device)) {
	p.after(pause, true, func() []Action {
		change(p.d)
		return []Action{p.generator.edit(Edit, p.d)}
	})
}

// foreign has another writer set a property.
func (p *plot) foreign(pause time.Duration, leaf Leaf, value any) {
	p.act(pause, Action{Kind: Foreign, Device: p.d.name, Patch: patchOf(leaf, value)})
}

func (p *plot) act(pause time.Duration, a Action) {
	p.after(pause, false, func() []Action { return []Action{a} })
}

// end lets others edit the device again.
func (p *plot) end(pause time.Duration) {
	p.after(pause, false, func() []Action {
		p.d.busy = false
		return nil
	})
}

// drawPlot begins one. Its first scene is due at once, and there is nothing to do beside that.
func (g *generator) drawPlot() (Action, bool) {
	d := g.any(func(d *device) bool {
		return d.declared && d.atHub && d.online && !d.busy && !d.suspend && d.management == v1alpha1.ManagementEnforce && len(d.leaves()) > 0
	})
	if d == nil {
		return Action{}, false
	}
	d.busy = true
	p := &plot{g, d, g.now}
	play := pick(g, (*plot).takenBack, (*plot).takenBack, (*plot).takenBack, (*plot).takenBack, (*plot).failsOver, (*plot).putBack)
	if d.mayVanish && g.oneIn(3) {
		play = (*plot).createdAnew
	}
	play(p)
	return Action{}, false
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

// begin has a stop begin.
func (p *plot) begin(stop string, pause time.Duration) {
	switch stop {
	case hubSuspended:
		p.after(pause, true, func() []Action { return p.suspendHub(true) })
	case deviceSuspended:
		p.edit(pause, func(d *device) { d.suspend = true })
	case observed:
		p.edit(pause, func(d *device) { d.management = v1alpha1.ManagementObserve })
	case isAway:
		p.edit(pause, func(d *device) { d.away = true })
	case refused:
		p.fault(pause, simulator.Fault{Kind: simulator.FaultStatus, Status: pick(p.generator, 503, 503, 429, 412, 500), Count: simulator.Forever})
	case lost:
		p.fault(pause, simulator.Fault{Kind: pick(p.generator, simulator.FaultStatusAfter, simulator.FaultResetAfter), Status: 503, Count: 1 + p.r.IntN(3)})
	}
}

// lift ends a stop.
func (p *plot) lift(stop string, pause time.Duration) {
	switch stop {
	case hubSuspended:
		p.after(pause, true, func() []Action { return p.suspendHub(false) })
	case deviceSuspended:
		p.editIfDeclared(pause, func(d *device) { d.suspend = false })
	case observed:
		p.editIfDeclared(pause, func(d *device) { d.management = v1alpha1.ManagementEnforce })
	case isAway:
		p.editIfDeclared(pause, func(d *device) { d.away = false })
	case refused, lost:
		p.act(pause, Action{Kind: Mend, Device: p.d.name})
	}
}

func (p *plot) editIfDeclared(pause time.Duration, change func(d *device)) {
	p.after(pause, true, func() []Action {
		if !p.d.declared {
			return nil
		}
		change(p.d)
		return []Action{p.generator.edit(Edit, p.d)}
	})
}

// fault breaks writes to the device alone.
func (p *plot) fault(pause time.Duration, f simulator.Fault) {
	f.Operation, f.Device = "Patch*", p.d.name
	p.act(pause, Action{Kind: Fault, Device: p.d.name, Fault: &f})
}

// suspendHub does so unless it is as wanted by now.
func (g *generator) suspendHub(suspended bool) []Action {
	if g.hubSuspended == suspended {
		return nil
	}
	a, _ := g.drawHubSuspension()
	return []Action{a}
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
	stop := pick(g, hubSuspended, hubSuspended, deviceSuspended, refused, refused, refused, lost, observed, isAway, none)
	when := pick(g, before, before, before, meanwhile, equalThen, afterwards, never)
	leaf := p.leaf()
	value := valueFor(g.r, leaf)
	switch when {
	case before:
		p.foreign(0, leaf, valueFor(g.r, leaf))
	case equalThen:
		p.foreign(0, leaf, value)
	}
	p.begin(stop, g.between(0, 500*time.Millisecond))
	cleared := g.oneIn(8)
	p.edit(g.between(300*time.Millisecond, 900*time.Millisecond), func(d *device) {
		d.values[leaf] = value
		if cleared {
			d.deletionPolicy = v1alpha1.DeletionClear
		}
	})
	if when == meanwhile {
		p.foreign(g.between(500*time.Millisecond, 1500*time.Millisecond), leaf, valueFor(g.r, leaf))
	}
	if g.oneIn(4) { // changed twice
		value = valueFor(g.r, leaf)
		p.edit(g.between(500*time.Millisecond, time.Second), func(d *device) { d.values[leaf] = value })
	}
	p.takeBack(leaf, cleared)
	if when == afterwards { // once the operator has heard that it is no longer declared
		p.foreign(lag+time.Second, leaf, value)
	}
	p.lift(stop, g.between(500*time.Millisecond, 1500*time.Millisecond))
	if cleared {
		p.createAgain()
	}
	p.end(g.between(time.Second, 2*time.Second))
}

// leaf is one that the object declares, or, as often, one that it does not.
func (p *plot) leaf() Leaf {
	leaves := p.d.leaves()
	if p.oneIn(2) {
		if undeclared := p.d.undeclared(); len(undeclared) > 0 {
			leaves = undeclared
		}
	}
	return pick(p.generator, leaves...)
}

// takeBack takes a property out of the declaration: alone, for another one, with its component, or with the object.
func (p *plot) takeBack(leaf Leaf, cleared bool) {
	pause := p.between(time.Second, 2500*time.Millisecond)
	if cleared {
		p.after(pause, true, func() []Action {
			p.d.declared = false
			return []Action{{Kind: Delete, Device: p.d.name}}
		})
		return
	}
	p.edit(pause, func(d *device) {
		delete(d.values, leaf)
		switch p.r.IntN(4) {
		case 0:
			if others := d.undeclared(); len(others) > 0 {
				other := pick(p.generator, others...)
				d.values[other] = valueFor(p.r, other)
			}
		case 1:
			for _, l := range d.leaves() {
				if l.Component == leaf.Component {
					delete(d.values, l)
				}
			}
		}
	})
}

// createAgain makes another object for the device.
func (p *plot) createAgain() {
	p.after(p.between(time.Second, 3*time.Second), true, func() []Action {
		p.d.begin(p.r)
		return []Action{p.generator.edit(Create, p.d)}
	})
}

// createdAnew has the device replaced by one with the same etag, which others have provisioned, and nothing tells of it before the declaration is edited.
func (p *plot) createdAnew() {
	g := p.generator
	leaf := pick(g, p.d.leaves()...)
	p.holdEvents(0)
	p.after(g.between(100*time.Millisecond, 300*time.Millisecond), false, func() []Action {
		p.d.rewound = false
		return []Action{{Kind: Recreate, Device: p.d.name, Patch: patchOf(leaf, valueFor(g.r, leaf))}}
	})
	p.takeBack(leaf, false)
	p.letEvents(g.between(2*time.Second, 4*time.Second))
	p.end(time.Second)
}

// failsOver has the hub lose the newest write, and another writer's takes the same version and etag.
func (p *plot) failsOver() {
	g := p.generator
	leaf := pick(g, p.d.leaves()...)
	p.act(0, Action{Kind: Remember, Device: p.d.name})
	p.edit(g.between(100*time.Millisecond, 300*time.Millisecond), func(d *device) { d.values[leaf] = valueFor(g.r, leaf) })
	p.holdEvents(g.between(1500*time.Millisecond, 2500*time.Millisecond))
	p.after(100*time.Millisecond, false, func() []Action {
		p.d.rewound = true
		return []Action{{Kind: Rewind, Device: p.d.name}}
	})
	p.foreign(50*time.Millisecond, leaf, valueFor(g.r, leaf))
	p.takeBack(leaf, false)
	p.letEvents(g.between(2*time.Second, 4*time.Second))
	p.end(time.Second)
}

// putBack has a value that others changed put back, the answer lost, and the property taken back right then.
func (p *plot) putBack() {
	g := p.generator
	leaf := pick(g, p.d.leaves()...)
	p.begin(hubSuspended, 0)
	p.foreign(g.between(500*time.Millisecond, time.Second), leaf, valueFor(g.r, leaf))
	p.holdEvents(g.between(time.Second, 1500*time.Millisecond))
	p.begin(lost, 0)
	p.lift(hubSuspended, 50*time.Millisecond)
	p.edit(g.between(150*time.Millisecond, time.Second), func(d *device) { delete(d.values, leaf) })
	p.letEvents(g.between(2*time.Second, 4*time.Second))
	p.lift(lost, 0)
	p.end(time.Second)
}

// holdEvents has no event arrive, unless that is so already.
func (p *plot) holdEvents(pause time.Duration) { p.stall(pause, true) }

func (p *plot) letEvents(pause time.Duration) { p.stall(pause, false) }

func (p *plot) stall(pause time.Duration, stalled bool) {
	p.after(pause, false, func() []Action {
		if p.stalled == stalled {
			return nil
		}
		p.stalled = stalled
		return []Action{{Kind: Stream, Name: map[bool]string{true: Stall, false: Release}[stalled]}}
	})
}
