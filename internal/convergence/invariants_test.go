package convergence

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file has what a world holds against each single write and each status, whatever came before.

// allow fails a test whose operator makes a write that it must not make.
func (w *world) allow(s *State, changes []twin.Change) {
	spec := &w.object.Spec
	for name, is := range map[string]bool{
		"the IoTHub is suspended":                    w.hub.Spec.Suspend,
		"the object is suspended":                    spec.Suspend && !s.IsLeaving,
		"the object only observes":                   spec.Management == v1alpha1.ManagementObserve && !s.IsLeaving,
		"the model forbids the declaration":          w.isForbidden && !s.IsLeaving,
		"the device is of another model":             spec.ModelID != "" && !s.IsLeaving && s.Twin.ModelID != spec.ModelID,
		"nobody looked at the model since a restart": spec.ModelID != "" && s.Memory.IsModelInDoubt,
		"what became of the write before is open":    w.isInDoubt,
		"there is nothing to write":                  len(changes) == 0,
	} {
		if is {
			w.failf("%s, and the operator writes %v", name, LeavesOf(changes))
		}
	}
	for _, c := range changes {
		w.allowChange(s, c)
	}
}

// allowChange is about one leaf of a write.
func (w *world) allowChange(s *State, c twin.Change) {
	isRemoval := c.Value == nil
	switch held := s.Twin.Properties[c.Leaf].Desired; {
	case isRemoval != (c.Cause == twin.Removed):
		w.failf("%s is written to %v, being %s", c.Leaf, c.Value, c.Cause)
	case isRemoval && !w.isRead:
		w.failf("%s is removed, and the twin was not read in this pass", c.Leaf)
	case isRemoval && !slices.Contains(w.permitted, c.Leaf):
		w.failf("%s is removed without a permit", c.Leaf)
	case isRemoval && held == nil:
		w.failf("%s is removed, and is not there", c.Leaf)
	case !isRemoval && held != nil && twin.Equal(held.Value, c.Value) && !s.resendRequested():
		w.failf("%s is written to what it is, and nobody asked for that", c.Leaf)
	case !isRemoval && held != nil && twin.Equal(held.Value, c.Value) && w.handled == s.annotation(v1alpha1.AnnotationResendRequestedAt):
		w.failf("%s is sent again once more for request %q", c.Leaf, w.handled)
	case c.Cause == twin.New && !twin.IsRecorded(SentOf(&w.object.Status), c.Leaf, twin.Sent{Value: c.Value, Version: s.Twin.DesiredVersion + 1}):
		w.failf("%s is new, and no status records that it is sent", c.Leaf)
	case c.Cause == twin.Drifted && len(w.recent(c.Leaf.Name)) >= FightCorrections:
		w.failf("%s is put back once more, after %v", c.Leaf, w.corrected[c.Leaf.Name])
	}
}

// recent are the corrections of a leaf that count.
func (w *world) recent(name string) (times []string) {
	for _, at := range w.corrected[name] {
		if w.now.Sub(at) < FightWindow {
			times = append(times, at.String())
		}
	}
	return times
}

// count takes note of what was put back, and sent again, as far as the operator knows of it.
func (w *world) count(changes []twin.Change) {
	w.handled = w.object.Annotations[v1alpha1.AnnotationResendRequestedAt]
	for _, c := range changes {
		if c.Cause == twin.Drifted {
			w.corrected[c.Leaf.Name] = append(w.corrected[c.Leaf.Name], w.now)
		}
	}
}

// doubt takes note of a write of which nobody knows what became. One that only repeats what the hub
// holds leaves no doubt of that.
func (w *world) doubt(s *State, changes []twin.Change) {
	w.isInDoubt = slices.ContainsFunc(changes, func(c twin.Change) bool {
		return c.Value == nil || !s.Twin.Holds(c.Leaf, c.Value)
	})
	s.Memory.IsDoubtful = true
	s.NotWritten(Failure{})
}

// judgeDoubt fails a test whose status says that all is well while it is open what a write came to.
func (w *world) judgeDoubt(s *State) {
	is := s.Device.Status.Twin
	if w.isInDoubt && !is.Unconfirmed && conditions.IsTrue(s.Device, v1alpha1.ConditionSynced) {
		w.failf("the answer to a write was lost, and status is sure of %+v", is)
	}
}

// see takes note of what a status that was stored is made of.
func (w *world) see(s *State) {
	if isOfThis := w.isRead || w.told == w.epoch; s.Twin != nil && isOfThis && s.Twin.Version == w.changes {
		clear(w.unseen)
		w.told, w.behind, w.isUntold = w.epoch, 0, false
	}
}

// judgeHeld says whether the hub holds what is declared, but for what others fight for.
func (w *world) judgeHeld() {
	status := EntriesOf(&w.object.Status)
	if w.object.Spec.Management == v1alpha1.ManagementObserve {
		return
	}
	for name, value := range w.declared() {
		p := status[twin.Leaf{Name: name}]
		isFight := len(p.CorrectedAt) >= FightCorrections && p.State == StateOf(twin.StateDrifted)
		if h := w.desired[name]; h.value != value && !isFight {
			w.failf("all is quiet, and the hub holds %s = %d, declared is %d", name, h.value, value)
		}
	}
}

// change has one of the declared values be another one, and reports which; there may be none.
func (w *world) change(rt *rapid.T) (name string, is bool) {
	all := w.declared()
	if len(all) == 0 {
		return "", false
	}
	name = rapid.SampledFrom(slices.Sorted(maps.Keys(all))).Draw(rt, "declared property")
	all[name] = all[name]%3 + 1
	w.declare(all)
	return name, true
}

// crash has a process end over a write whose answer it does not get. Somebody may edit the
// declaration after that, or take the last edit back: that is what status had the hub hold.
func (w *world) crash(rt *rapid.T) {
	before := w.declared()
	if _, is := w.change(rt); !is {
		w.edit(rt)
	}
	w.losesAnswer = true
	w.pass()
	w.losesAnswer = false
	w.restart()
	switch rapid.SampledFrom([]string{"nothing", "edit", "take back"}).Draw(rt, "after that") {
	case "edit":
		w.edit(rt)
	case "take back":
		w.declare(before)
	}
	w.pass()
}

// fight has another writer change a declared value, and the operator hear of it, some times.
func (w *world) fight(rt *rapid.T) {
	all := w.declared()
	for range rapid.IntRange(1, FightCorrections+1).Draw(rt, "times") {
		for _, name := range slices.Sorted(maps.Keys(all))[:min(1, len(all))] {
			value := all[name]%3 + 1
			w.sayf("another writer fights: %s = %d", name, value)
			w.write(map[string]*int{name: &value}, false)
		}
		w.tells()
		w.pass()
	}
}

// judgeClaim fails a test whose operator records in status what it would not send.
func (w *world) judgeClaim(step Step) {
	isHeldBack := w.hub.Spec.Suspend || w.object.Spec.Suspend || w.isForbidden || w.object.Spec.Management == v1alpha1.ManagementObserve
	if step.Do == Claim && isHeldBack {
		w.failf("values are recorded that are not to be sent")
	}
}

// observe has an object only observe from now on, or manage its device again. Its values at the hub
// may be let go of meanwhile.
func (w *world) observe() {
	spec := &w.object.Spec
	if spec.Management == v1alpha1.ManagementObserve {
		spec.Management = v1alpha1.ManagementEnforce
	} else {
		spec.Management = v1alpha1.ManagementObserve
	}
	w.object.Generation++
	for name, h := range w.desired {
		h.isLost = true
		w.desired[name] = h
	}
	w.sayf("management: %s", spec.Management)
}

// TestAnyHistoryWritesNothingWhileItObserves has an object observe now and then: it owns something
// then.
func TestAnyHistoryWritesNothingWhileItObserves(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		actions := w.actions()
		actions["observe"] = func(*rapid.T) { w.observe() }
		rt.Repeat(actions)
		if w.object.Spec.Management == v1alpha1.ManagementObserve {
			w.observe()
		}
		w.quieten()
		w.judge()
	})
}
