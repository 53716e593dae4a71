package oracle

import (
	"fmt"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func isDeclared(d *device) bool { return d.declared }

func isEditable(d *device) bool { return d.declared && !d.busy }

func (g *generator) edit(kind Kind, d *device) Action {
	return Action{Kind: kind, Device: d.name, Spec: d.spec(g.Hub)}
}

// drawEdit changes one or several things of a declaration at once.
func (g *generator) drawEdit() (Action, bool) {
	d := g.any(isEditable)
	if d == nil {
		return Action{}, false
	}
	for range 1 + g.r.IntN(2) {
		if g.oneIn(4) {
			g.editSettings(d)
		} else {
			g.editValues(d)
		}
	}
	return g.edit(Edit, d), true
}

func (g *generator) editValues(d *device) {
	leaves := d.leaves()
	switch n := g.r.IntN(10); {
	case n < 5 && len(leaves) > 0:
		leaf := pick(g, leaves...)
		d.values[leaf] = valueFor(g.r, leaf)
	case n < 7 && len(leaves) > 0:
		delete(d.values, pick(g, leaves...))
	case n == 7:
		component := pick(g, "", "thermostat1", "thermostat2", "pump")
		for _, leaf := range leaves {
			if leaf.Component == component {
				delete(d.values, leaf)
			}
		}
	default:
		leaf := pick(g, declarable...)
		d.values[leaf] = valueFor(g.r, leaf)
	}
}

func (g *generator) editSettings(d *device) {
	switch g.r.IntN(8) {
	case 0, 1:
		d.twinAPI = pick(g, v1alpha1.TwinAPIDigitalTwin, v1alpha1.TwinAPIDeviceTwin)
	case 2:
		d.management = pick(g, v1alpha1.ManagementEnforce, v1alpha1.ManagementEnforce, v1alpha1.ManagementObserve)
	case 3:
		d.deletionPolicy = pick(g, v1alpha1.DeletionRetain, v1alpha1.DeletionClear)
	case 4:
		d.readyWhen = pick(g, v1alpha1.ReadyWhenAcknowledged, v1alpha1.ReadyWhenReachable, v1alpha1.ReadyWhenApplied)
	case 5:
		d.reported = pick(g, v1alpha1.ReportedDeclared, v1alpha1.ReportedAll, v1alpha1.ReportedNone)
	case 6:
		d.within = pick[int32](g, 5, 600)
	case 7:
		d.suspend = !d.suspend
	}
}

func (g *generator) drawDeletion() (Action, bool) {
	d := g.any(isEditable)
	if d == nil {
		return Action{}, false
	}
	d.declared = false
	return Action{Kind: Delete, Device: d.name}, true
}

func (g *generator) drawCreation() (Action, bool) {
	d := g.any(func(d *device) bool { return !d.declared && !d.busy })
	if d == nil {
		return Action{}, false
	}
	d.begin(g.r)
	return g.edit(Create, d), true
}

func (g *generator) drawRequest() (Action, bool) {
	d := g.any(isDeclared)
	if d == nil {
		return Action{}, false
	}
	return g.request(pick(g, Resend, Refresh), d), true
}

func (g *generator) request(kind Kind, d *device) Action {
	g.commands++ // numbers what has to differ
	return Action{Kind: kind, Device: d.name, Name: fmt.Sprintf("request-%05d", g.commands)}
}

func (g *generator) drawCommand() (Action, bool) {
	d := g.any(func(d *device) bool { return d.declared && !d.mayVanish })
	if d == nil {
		return Action{}, false
	}
	g.commands++
	return Action{Kind: Command, Device: d.name, Name: fmt.Sprintf("command-%05d", g.commands)}, true
}

func (g *generator) drawHubSuspension() (Action, bool) {
	g.hubSuspended = !g.hubSuspended
	if g.hubSuspended {
		return Action{Kind: SuspendHub}, true
	}
	return Action{Kind: ResumeHub}, true
}

func (g *generator) drawConfirmation() (Action, bool) {
	g.commands++
	return Action{Kind: Confirm, Name: fmt.Sprintf("confirm-%05d", g.commands)}, true
}
