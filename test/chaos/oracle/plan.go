package oracle

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Options of a run. They fix all its actions.
type Options struct {
	Seed     uint64
	Devices  int
	Replicas int
	Duration time.Duration
	Hub      string // name of the IoTHub
}

// Plan is what happens in a run: devices are declared, then there are two stormy parts, each followed by Settle. In the first one the operator is
// disturbed beside the actions; in the second it is left running, and shows whether it grows.
type Plan struct {
	Begin, First, Between, Second, End []Action
}

// New plans a run.
func New(o Options) Plan {
	g := &generator{Options: o, r: rand.New(rand.NewPCG(o.Seed, 1))}
	for i := range o.Devices {
		g.devices = append(g.devices, &device{name: fmt.Sprintf("device-%04d", i), atHub: true, online: true, mayVanish: MayVanish(i)})
	}
	p := Plan{Begin: g.begin()}
	p.First = g.storm(o.Duration*2/3, true)
	p.Between = g.settle()
	// A leader that finds no API server gives up its lease and ends, and there is nothing left to compare with.
	g.calm = true
	p.Second = g.storm(o.Duration/3, o.Replicas == 1)
	p.End = g.settle()
	return p
}

// MayVanish tells the devices that may be deleted at the hub. They are given no commands: the record of those that ran would go with them.
func MayVanish(i int) bool { return i%4 == 3 }

// generator draws actions and keeps track of what they come to.
type generator struct {
	Options
	r            *rand.Rand
	devices      []*device
	commands     int
	hubSuspended bool
	stalled      bool
	offset       time.Duration // of the hub's clock
	calm         bool          // the operator is left running
	serverDown   bool
	outage       int // actions until the API server comes back
	now          time.Duration
	plot         []Action // what follows the first action of one that was just drawn
}

// mean is the average pause: each device has something happen to it, or to its object, every three seconds.
func (g *generator) mean() time.Duration {
	return min(max(3*time.Second/time.Duration(g.Devices), 20*time.Millisecond), 250*time.Millisecond)
}

// begin declares the devices. Other writers were there before, under names that the object declares and under others that it may declare later. Objects that are
// declared are left out: a device that answered to another one first goes on to report the keys of both.
func (g *generator) begin() []Action {
	var actions []Action
	for _, d := range g.devices {
		d.begin(g.r)
		for _, leaf := range declarable {
			value := valueFor(g.r, leaf)
			_, isObject := value.(map[string]any)
			if g.oneIn(3) && (d.values[leaf] == nil || !isObject) {
				actions = append(actions, Action{Kind: Foreign, Device: d.name, Patch: patchOf(leaf, value)})
			}
		}
		actions = append(actions, g.edit(Create, d))
	}
	return actions
}

// storm draws actions until their pauses add up to the duration.
func (g *generator) storm(duration time.Duration, servers bool) []Action {
	var actions []Action
	for g.now = 0; g.now < duration; {
		pause := time.Duration(g.r.Int64N(int64(2 * g.mean())))
		g.now += pause
		for _, d := range g.devices {
			d.busy = d.busyUntil > g.now
		}
		a := g.next(servers)
		a.Pause = pause
		actions = append(append(actions, a), g.plot...)
		g.plot = nil
	}
	if g.serverDown {
		g.serverDown = false
		actions = append(actions, Action{Kind: ServerUp})
	}
	return actions
}

// settle ends what keeps objects from converging, and leaves what they have to report: devices that are offline, gone, or of another opinion.
func (g *generator) settle() []Action {
	actions := []Action{{Kind: ClearFaults}}
	g.offset, g.stalled = 0, false
	if g.hubSuspended {
		g.hubSuspended = false
		actions = append(actions, Action{Kind: ResumeHub})
	}
	for _, d := range g.devices {
		d.busy, d.busyUntil = false, 0
		if d.declared && (d.suspend || d.away) {
			d.suspend, d.away = false, false
			actions = append(actions, g.edit(Edit, d))
		}
		// Nothing tells of a failover but the next event of the device: who knows of it asks for a read.
		if d.declared && d.rewound {
			actions = append(actions, g.request(Refresh, d))
		}
		d.rewound = false
	}
	return actions
}

// next draws one action that makes sense now.
func (g *generator) next(servers bool) Action {
	if g.serverDown {
		if g.outage--; g.outage < 0 {
			g.serverDown = false
			return Action{Kind: ServerUp}
		}
	}
	for {
		if a, ok := g.draw(servers); ok {
			return a
		}
	}
}

// chance is how often something happens, in a thousand.
type chance struct {
	weight int
	users  bool // it needs the API server
	draw   func(*generator) (Action, bool)
}

var chances = []chance{
	{280, true, (*generator).drawEdit},
	{25, true, (*generator).drawDeletion},
	{25, true, (*generator).drawCreation},
	{20, true, (*generator).drawRequest},
	{100, true, (*generator).drawCommand},
	{8, true, (*generator).drawHubSuspension},
	{40, true, (*generator).drawConfirmation},
	{140, true, (*generator).drawPlot},
	{150, false, (*generator).drawForeign},
	{90, false, (*generator).drawReport},
	{70, false, (*generator).drawBehaviour},
	{60, false, (*generator).drawConnection},
	{15, false, (*generator).drawExistence},
	{15, false, (*generator).drawIdentity},
	{70, false, (*generator).drawFault},
	{60, false, (*generator).drawEventFault},
	{30, false, (*generator).drawStream},
	{8, false, (*generator).drawClock},
	{6, false, (*generator).drawIndexLag},
}

func (g *generator) draw(servers bool) (Action, bool) {
	const serverChance = 3 // in a thousand
	if servers && !g.serverDown && g.r.IntN(1000) < serverChance {
		g.serverDown, g.outage = true, g.r.IntN(8)
		return Action{Kind: ServerDown}, true
	}
	total := 0
	for _, c := range chances {
		total += c.weight
	}
	n := g.r.IntN(total)
	i := slices.IndexFunc(chances, func(c chance) bool { n -= c.weight; return n < 0 })
	if chances[i].users && g.serverDown {
		return Action{}, false
	}
	return chances[i].draw(g)
}

func (g *generator) any(ok func(*device) bool) *device {
	d := g.devices[g.r.IntN(len(g.devices))]
	if !ok(d) {
		return nil
	}
	return d
}

func (g *generator) oneIn(n int) bool { return g.r.IntN(n) == 0 }

func pick[T any](g *generator, from ...T) T { return from[g.r.IntN(len(from))] }
