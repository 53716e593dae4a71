package convergence

import (
	"maps"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file has a device become another one under its name: it is created anew, its key is rotated,
// or its hub fails over to an older copy. Records of the one before prove nothing of the other.

// etagGap keeps the etags of two histories apart: counters that are the same by chance are another
// matter.
const etagGap = 1000

// past is a copy of what a hub holds of a device.
type past struct {
	desired          map[string]held
	reported         map[string]answer
	version, changes int64
	updated          time.Time
}

// breaks are the actions after which the twin is another one, beside all others.
func (w *world) breaks() map[string]func(*rapid.T) {
	var copied *past
	all := w.actions()
	all["rotate the key"] = func(*rapid.T) { w.rotate() }
	all["create anew"] = w.recreate
	all["create anew while something leaves"] = func(rt *rapid.T) {
		w.edit(rt)
		w.recreate(rt)
		w.edit(rt)
	}
	all["copy"] = func(*rapid.T) {
		if w.told == w.epoch {
			w.sayf("the hub is copied at version %d", w.version)
			copied = &past{desired: maps.Clone(w.desired), reported: maps.Clone(w.reported), version: w.version, changes: w.changes, updated: w.updated}
		}
	}
	all["fail over"] = func(*rapid.T) {
		if copied != nil && copied.version < w.version && w.told == w.epoch {
			w.failOver(copied)
			copied = nil
		}
	}
	all["other writer"] = func(rt *rapid.T) {
		if w.behind == 0 || w.version < w.behind {
			w.foreign(rt)
		}
	}
	return all
}

// leave has all that the hub holds be of a history that status is not about.
func (w *world) leave() {
	w.epoch++
	for name, h := range w.desired {
		h.isLost = true
		w.desired[name] = h
	}
}

// rotate has another key: the identity is another one, and the twin stays.
func (w *world) rotate() {
	w.sayf("the key is rotated")
	w.identity += "'"
	w.leave()
}

// recreate has the device be created anew, and another writer give it some values of the one
// before: of the same versions, or of others.
func (w *world) recreate(rt *rapid.T) {
	w.identity += "*"
	w.reported = map[string]answer{}
	last := int64(1)
	for _, name := range slices.Sorted(maps.Keys(w.desired)) {
		h := w.desired[name]
		if !rapid.Bool().Draw(rt, "give back "+name) {
			delete(w.desired, name)
			continue
		}
		w.desired[name] = held{value: h.value, version: h.version}
		last = max(last, h.version)
	}
	w.version = last + int64(rapid.IntRange(0, 3).Draw(rt, "writes of others"))
	w.changes = w.version + int64(rapid.IntRange(0, 20).Draw(rt, "other changes"))
	w.writes += etagGap
	w.now = w.now.Add(time.Millisecond)
	w.updated = w.now
	w.sayf("the device is created anew, at version %d: %s", w.version, w.shown(&v1alpha1.PnPDeviceStatus{}))
	w.leave()
}

// failOver has the hub go on from an older copy.
func (w *world) failOver(to *past) {
	w.behind = w.version
	w.desired, w.reported = maps.Clone(to.desired), maps.Clone(to.reported)
	w.version, w.changes, w.updated = to.version, to.changes, to.updated
	w.writes += etagGap
	w.sayf("the hub fails over to version %d: %s", w.version, w.shown(&v1alpha1.PnPDeviceStatus{}))
	w.leave()
}

// TestAnyHistoryOfSeveralDevicesRemovesNothingOfAnother has histories of which the operator sees
// only the ends: whatever is at the hub by chance as it was recorded is not the object's.
func TestAnyHistoryOfSeveralDevicesRemovesNothingOfAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.breaks())
		w.quieten()
		w.judge()
	})
}

// TestADeletionAfterAnyHistoryOfSeveralDevicesRemovesNothingOfAnother is the same for the last
// pass.
func TestADeletionAfterAnyHistoryOfSeveralDevicesRemovesNothingOfAnother(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.breaks())
		w.remove(rt)
		w.quieten()
		if !w.gone {
			w.failf("the object is still there")
		}
	})
}

// TestAnyHistoryWritesNothingToADeviceOfAnotherModel has a device announce one model or another.
func TestAnyHistoryWritesNothingToADeviceOfAnotherModel(t *testing.T) {
	const declared, other = "dtmi:press;1", "dtmi:press;2"
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		w.object.Spec.ModelID, w.model = declared, declared
		actions := w.actions()
		actions["restart before an edit"] = func(rt *rapid.T) {
			w.restart()
			w.change(rt)
			w.pass()
		}
		actions["announce"] = func(rt *rapid.T) {
			w.model = rapid.SampledFrom([]string{declared, other, ""}).Draw(rt, "model")
			w.changes++
			w.unseen["model"] = true
			w.sayf("the device announces %q", w.model)
		}
		rt.Repeat(actions)
		w.quieten()
		w.judge()
	})
}

// TestAStatusOfAnotherDeviceIsReadBeforeItIsBelieved has an object be for another device, or its
// IoTHub for another host, after any history.
func TestAStatusOfAnotherDeviceIsReadBeforeItIsBelieved(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.actions())
		w.quieten()
		edit := rapid.SampledFrom([]func(*State){
			func(s *State) { s.Device.Spec.DeviceID = "another" },
			func(s *State) {
				s.Hub.Spec.HostName, s.Destination = "other.azure-devices.net", "other.azure-devices.net"
			},
		}).Draw(rt, "what is another one")
		s := New(Facts{Device: w.object.DeepCopy(), Now: w.now, Hub: w.hub.DeepCopy(), Destination: testHost, Memory: &twin.Remembered{}})
		edit(s)
		s.Declared = twin.Declaration{speed: num("1")}
		s.Recall(IsOfHost(s.Device, s.Destination))
		if step := s.Next(); step.Do != Read || len(s.Departing()) > 0 {
			w.failf("the first step is %+v, and %v are to be removed", step, s.Departing())
		}
		s.Took(&twin.Twin{ETag: twin.ETagOf(1), Properties: map[twin.Leaf]twin.Property{}})
		for range 3 {
			step := s.Next()
			for _, c := range step.Changes {
				if c.Cause != twin.New {
					w.failf("%s counts as the object's of a device that it never saw: %s", c.Leaf, c.Cause)
				}
			}
			if step.Do == Check {
				s.Conformity = &declaration.Conformity{}
			}
		}
	})
}

// TestConditionsOfAnyHistoryAreOfOneMind has Ready be told by one of Reconciling and Stalled.
func TestConditionsOfAnyHistoryAreOfOneMind(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		actions := w.breaks()
		actions[""] = func(rt *rapid.T) {
			w.check(rt)
			w.checkConditions()
		}
		rt.Repeat(actions)
	})
}

// checkConditions is what holds of the conditions of a status at any time.
func (w *world) checkConditions() {
	o := w.object
	ready := conditions.ReadyOf(o)
	if ready.Reason == "" {
		return
	}
	isReady, reconciles, isStalled := conditions.IsTrue(o, v1alpha1.ConditionReady), conditions.IsTrue(o, v1alpha1.ConditionReconciling), conditions.IsTrue(o, v1alpha1.ConditionStalled)
	isSynced, isAcknowledged := conditions.IsTrue(o, v1alpha1.ConditionSynced), conditions.IsTrue(o, v1alpha1.ConditionAcknowledged)
	st := &o.Status
	for name, is := range map[string]bool{
		"not one of Ready, Reconciling and Stalled is True":    isReady == (reconciles || isStalled) || reconciles && isStalled,
		"it is Ready, and not synced and acknowledged":         isReady && (!isSynced || !isAcknowledged),
		"it is about another generation than its condition":    ready.ObservedGeneration != st.ObservedGeneration,
		"it is about a generation that there is not":           st.ObservedGeneration > o.Generation,
		"more is acknowledged than declared":                   st.Acknowledged > st.Declared,
		"it is acknowledged, and the count is another one":     isAcknowledged && st.Acknowledged != st.Declared,
		"it says nothing of why":                               ready.Message == "",
		"it is suspended, and its condition is of another day": conditions.IsTrue(o, v1alpha1.ConditionSuspended) && !o.Spec.Suspend && st.ObservedGeneration == o.Generation,
	} {
		if is {
			w.failf("%s: %s, %+v", name, st.Summary, st.Conditions)
		}
	}
}
