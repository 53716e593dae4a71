package oracle

import (
	"encoding/json"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func isAtHub(d *device) bool { return d.atHub }

func isFreeAtHub(d *device) bool { return d.atHub && !d.busy }

// patchOf puts a value, nil to remove it, into a merge patch of a twin's section.
func patchOf(leaf Leaf, value any) json.RawMessage {
	if leaf.Component == "" {
		return raw(map[string]any{leaf.Name: value})
	}
	return raw(map[string]any{leaf.Component: map[string]any{"__t": "c", leaf.Name: value}})
}

// drawForeign has someone else write: properties of their own, those of an object, or those that one may declare.
func (g *generator) drawForeign() (Action, bool) {
	d := g.any(isAtHub)
	if d == nil {
		return Action{}, false
	}
	a := Action{Kind: Foreign, Device: d.name}
	leaf := pick(g, foreign...)
	if !g.oneIn(4) {
		leaf = pick(g, declarable...)
		if leaves := d.leaves(); d.declared && len(leaves) > 0 && g.oneIn(2) {
			leaf = pick(g, leaves...)
		}
		if g.oneIn(20) {
			a.By = "night"
		}
	}
	a.Patch = patchOf(leaf, g.foreignValue(d, leaf))
	return a, true
}

// foreignValue is another value, none, the same one, or a part of an object.
func (g *generator) foreignValue(d *device, leaf Leaf) any {
	value := valueFor(g.r, leaf)
	switch n := g.r.IntN(10); {
	case n < 2:
		return nil
	case n < 4 && d.values[leaf] != nil:
		return d.values[leaf]
	case n < 6:
		if _, isObject := value.(map[string]any); isObject {
			return map[string]any{"low": 90 + g.r.IntN(9)}
		}
	}
	return value
}

// drawReport has the device report of its own accord: what nobody declared, or an answer that is none.
func (g *generator) drawReport() (Action, bool) {
	d := g.any(isAtHub)
	if d == nil {
		return Action{}, false
	}
	leaf, value := Leaf{pick(g, "", "pump", "visitor"), pick(g, "reading", "uptime")}, any(g.r.IntN(10_000))
	if leaves := d.leaves(); g.oneIn(3) && len(leaves) > 0 {
		leaf = pick(g, leaves...)
		value = g.answer(valueFor(g.r, leaf))
	}
	return Action{Kind: Report, Device: d.name, Patch: patchOf(leaf, value)}, true
}

func (g *generator) answer(value any) any {
	return pick(g, nil, value,
		any(map[string]any{"value": value, "ac": 200, "av": 1, "ad": "of old"}),
		any(map[string]any{"value": value, "ac": 200, "av": 1_000_000, "ad": "from the future"}),
		any(map[string]any{"value": value, "ac": 203, "av": 0, "ad": "default"}),
		any(map[string]any{"value": value, "ac": "200", "av": 2}),
		any(map[string]any{"value": value, "av": 2}))
}

func (g *generator) drawBehaviour() (Action, bool) {
	d := g.any(isAtHub)
	if d == nil {
		return Action{}, false
	}
	b := pick(g, simulator.Acknowledge(), simulator.Acknowledge(), simulator.Acknowledge(), simulator.Acknowledge(),
		simulator.Delay(time.Duration(g.r.IntN(3000))*time.Millisecond), simulator.Reject(400, "out of range"), simulator.Ignore(),
		simulator.Adjust("30"), simulator.PlainValue(), simulator.Float32())
	a := Action{Kind: Behave, Device: d.name, Behaviour: &b}
	if g.oneIn(2) {
		a.Property = pick(g, declarable...).String()
	}
	return a, true
}

func (g *generator) drawConnection() (Action, bool) {
	d := g.any(isFreeAtHub)
	if d == nil {
		return Action{}, false
	}
	d.online = !d.online
	if d.online {
		return Action{Kind: Online, Device: d.name}, true
	}
	return Action{Kind: Offline, Device: d.name}, true
}

// drawExistence has a device disappear at the hub, or come back as a new one.
func (g *generator) drawExistence() (Action, bool) {
	d := g.any(func(d *device) bool { return d.mayVanish && !d.busy })
	if d == nil {
		return Action{}, false
	}
	d.atHub = !d.atHub
	d.online, d.rewound = d.atHub, false
	if d.atHub {
		return Action{Kind: Return, Device: d.name}, true
	}
	return Action{Kind: Vanish, Device: d.name}, true
}

func (g *generator) drawIdentity() (Action, bool) {
	d := g.any(isFreeAtHub)
	if d == nil {
		return Action{}, false
	}
	if g.oneIn(2) {
		return Action{Kind: Rekey, Device: d.name}, true
	}
	return Action{Kind: Tag, Device: d.name, Patch: raw(map[string]any{"line": g.r.IntN(9)})}, true
}

// drawFault breaks some calls of the hub.
func (g *generator) drawFault() (Action, bool) {
	f := pick(g, simulator.Throttled(), simulator.ServerError(), simulator.Unavailable(), simulator.GatewayTimeout(),
		simulator.Slow(time.Duration(50+g.r.IntN(1500))*time.Millisecond), simulator.Broken(simulator.FaultResetBefore),
		simulator.Broken(simulator.FaultResetAfter), simulator.Broken(simulator.FaultResetAfter), simulator.Broken(simulator.FaultHalfBody),
		simulator.Broken(simulator.FaultInvalidJSON), simulator.Fault{Kind: simulator.FaultStatusAfter, Status: pick(g, 404, 500, 503, 504)})
	f.Operation = pick(g, "", "", simulator.OpGetTwin, simulator.OpPatchTwin, simulator.OpPatchDigitalTwin, "Patch*", simulator.OpQuery, "Invoke*")
	if f.Kind == simulator.FaultStatusAfter && f.Status == 404 { // seen of hubs whose device ran the command
		f.Operation, f.Code, f.Number, f.Message, f.Envelope = "Invoke*", "DeviceNotOnline", 404103, "Device unavailable", simulator.EnvelopeE3
	}
	f.Count = 1 + g.r.IntN(12)
	f.Probability = pick(g, 0, 0.2, 0.5)
	f.Seed = g.r.Uint64()
	return Action{Kind: Fault, Fault: &f}, true
}

// drawEventFault lets events go wrong. They are lost only while the operator is left running: one that starts anew, and has heard nothing, finds a
// report that was lost with its daily comparison at the earliest.
func (g *generator) drawEventFault() (Action, bool) {
	f := simulator.EventFault{
		Kind: pick(g, simulator.EventLose, simulator.EventLose, simulator.EventDuplicate, simulator.EventReorder, simulator.EventCoalesce,
			simulator.EventDelay, simulator.EventPoison, simulator.EventUnknownSchema),
		Count: 1 + g.r.IntN(12), Probability: pick(g, 0, 0.2, 0.5), Seed: g.r.Uint64(),
	}
	if lost := f.Kind == simulator.EventLose || f.Kind == simulator.EventUnknownSchema; lost && !g.calm {
		return Action{}, false
	}
	switch f.Kind {
	case simulator.EventDelay, simulator.EventCoalesce:
		f.Delay = time.Duration(20+g.r.IntN(1500)) * time.Millisecond
	case simulator.EventReorder:
		f.Series = 2 + g.r.IntN(3)
	}
	if f.Kind != simulator.EventCoalesce {
		f.Source = pick(g, "", simulator.SourceTwinChanges, simulator.SourceTwinChanges, simulator.SourceConnectionState, simulator.SourceLifecycle)
	}
	return Action{Kind: EventFault, EventFault: &f}, true
}

// What happens to the connections of the event hub.
const (
	Cut          = "cut"
	Truncate     = "truncate"
	Close        = "close"
	Steal        = "steal"
	RefuseLinks  = "refuse links"
	RefuseTokens = "refuse tokens"
	Stall        = "stall"
	Release      = "release"
)

func (g *generator) drawStream() (Action, bool) {
	if g.stalled {
		g.stalled = false
		return Action{Kind: Stream, Name: Release}, true
	}
	a := Action{Kind: Stream, Name: pick(g, Cut, Truncate, Close, Steal, RefuseLinks, RefuseTokens, Stall)}
	g.stalled = a.Name == Stall
	return a, true
}

// drawClock lets the hub's clock jump, and later back. A token is good for an hour: a jump beyond that refuses all of them until the clock is back,
// and ends the session, with all that memory knows.
func (g *generator) drawClock() (Action, bool) {
	if g.offset != 0 {
		g.offset = 0
	} else {
		g.offset = pick(g, -10*time.Minute, -3*time.Second, 2*time.Second, time.Minute, 20*time.Minute, 2*time.Hour)
		if g.calm {
			g.offset = min(g.offset, 20*time.Minute)
		}
	}
	return Action{Kind: ClockJump, Offset: g.offset}, true
}

func (g *generator) drawIndexLag() (Action, bool) {
	return Action{Kind: IndexLag, Offset: pick(g, 0, 2*time.Second, 10*time.Second)}, true
}
