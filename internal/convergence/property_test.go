package convergence

import (
	"testing"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

var settings = []string{"speed", "label", "ratio"}

// actions are what happens to a device between and during passes.
func (w *world) actions() map[string]func(*rapid.T) {
	next := func(is *bool, what string) func(*rapid.T) {
		return func(*rapid.T) {
			w.sayf("%s", what)
			*is = true
		}
	}
	toggle := func(is *bool, what string) func(*rapid.T) {
		return func(*rapid.T) {
			*is = !*is
			w.sayf("%s: %t", what, *is)
		}
	}
	return map[string]func(*rapid.T){
		"edit":            w.edit,
		"edit again":      w.edit,
		"other writer":    w.foreign,
		"pass":            func(*rapid.T) { w.pass() },
		"another pass":    func(*rapid.T) { w.pass() },
		"a third pass":    func(*rapid.T) { w.pass() },
		"event":           func(*rapid.T) { w.tells() },
		"doubt":           func(*rapid.T) { w.sayf("doubt"); w.memory.IsDoubtful = true },
		"device":          w.answer,
		"offline":         toggle(&w.isOffline, "offline"),
		"restart":         func(*rapid.T) { w.restart() },
		"lose request":    next(&w.losesRequest, "the next write is lost"),
		"lose answer":     next(&w.losesAnswer, "the next answer is lost"),
		"refuse write":    next(&w.refusesWrite, "the next write is refused"),
		"refuse read":     next(&w.refusesRead, "the next read fails"),
		"refuse status":   next(&w.refusesStatus, "the next status is refused"),
		"race":            next(&w.isRaced, "the next write meets another writer"),
		"brake":           toggle(&w.isBraked, "removals are halted"),
		"forbid":          toggle(&w.isForbidden, "the model forbids it"),
		"time":            func(*rapid.T) { w.sayf("time passes"); w.now = w.now.Add(FightWindow + time.Minute) },
		"crash":           w.crash,
		"fight":           w.fight,
		"suspend the hub": toggle(&w.hub.Spec.Suspend, "the IoTHub is suspended"),
		"suspend": func(*rapid.T) {
			w.object.Spec.Suspend = !w.object.Spec.Suspend
			w.object.Generation++
			w.sayf("suspended: %t", w.object.Spec.Suspend)
		},
		"ask for a read":   func(rt *rapid.T) { w.request(rt, v1alpha1.AnnotationReconcileRequestedAt) },
		"ask for a resend": func(rt *rapid.T) { w.request(rt, v1alpha1.AnnotationResendRequestedAt) },
		"":                 w.check,
	}
}

func (w *world) edit(rt *rapid.T) {
	all, name := w.declared(), rapid.SampledFrom(settings).Draw(rt, "property")
	if _, is := all[name]; is && rapid.Bool().Draw(rt, "drop") {
		delete(all, name)
	} else {
		all[name] = rapid.IntRange(1, 3).Draw(rt, "value")
	}
	w.declare(all)
}

func (w *world) foreign(rt *rapid.T) {
	name, value := rapid.SampledFrom(settings).Draw(rt, "property"), rapid.IntRange(0, 3).Draw(rt, "value")
	w.sayf("another writer: %s = %d", name, value)
	if value == 0 {
		w.write(map[string]*int{name: nil}, false)
		return
	}
	w.write(map[string]*int{name: &value}, false)
}

func (w *world) answer(rt *rapid.T) {
	w.answers(rapid.SampledFrom(settings).Draw(rt, "property"), rapid.SampledFrom([]int64{200, 202, 203, 400}).Draw(rt, "code"))
}

func (w *world) request(rt *rapid.T, annotation string) {
	if w.object.Annotations == nil {
		w.object.Annotations = map[string]string{}
	}
	w.object.Annotations[annotation] = rapid.StringMatching("[a-c]").Draw(rt, "request")
	w.sayf("asked for: %s", annotation)
}

// check is what holds at any time: what conditions say of this very declaration is so at the hub,
// as far as anybody can know.
func (w *world) check(*rapid.T) {
	isSaid := func(kind string) bool {
		is := apimeta.FindStatusCondition(w.object.Status.Conditions, kind)
		return is != nil && is.Status == metav1.ConditionTrue && is.ObservedGeneration == w.object.Generation
	}
	states := EntriesOf(&w.object.Status)
	for name, value := range w.declared() {
		state := states[twin.Leaf{Name: name}].State
		if isSaid(v1alpha1.ConditionReady) && state != StateOf(twin.StateAcknowledged) {
			w.failf("Ready is True, and %s is %s", name, state)
		}
		if w.unseen[name] || w.told != w.epoch {
			continue // nobody can know
		}
		h, a := w.desired[name], w.reported[name]
		if isSaid(v1alpha1.ConditionSynced) && h.value != value {
			w.failf("Synced is True, and of %s = %d the hub holds %+v", name, value, h)
		}
		if isSaid(v1alpha1.ConditionAcknowledged) && (a.value != value || a.code != 200 && a.code != 203) {
			w.failf("Acknowledged is True, and to %s = %d the device answered %+v", name, value, a)
		}
	}
}

// judge says whether status tells what the twin holds, and whether that is what it should.
func (w *world) judge() {
	status := EntriesOf(&w.object.Status)
	for name, value := range w.declared() {
		h, p := w.desired[name], status[twin.Leaf{Name: name}]
		isFight := len(p.CorrectedAt) >= FightCorrections && p.State == StateOf(twin.StateDrifted)
		if h.value != value && !isFight {
			w.failf("the hub holds %s = %d, declared is %d", name, h.value, value)
		}
		shown := 0
		if p.Desired != nil {
			shown = *w.value(twin.Change{Value: FactOf(p.Desired)})
		}
		if shown != h.value || HeldVersion(&p) != h.version && h.version > 0 {
			w.failf("status says %s = %d of version %d, the hub holds %d of %d", name, shown, HeldVersion(&p), h.value, h.version)
		}
		if !isFight && (!p.Owned || p.Sent != nil || p.State != StateOf(twin.StateAcknowledged)) {
			w.failf("status says of %s: %+v", name, p)
		}
	}
	if s := w.object.Status.Twin; s.Unconfirmed || s.DesiredVersion != w.version {
		w.failf("status is about %+v, the hub is at %d", s, w.version)
	}
	w.judgeLeft()
}

// judgeLeft says whether anything of the operator's is left at the hub that nobody declares.
func (w *world) judgeLeft() {
	for name, h := range w.desired {
		if _, is := w.declared()[name]; !is && h.isOurs && !h.isLost {
			w.failf("the hub still holds %s = %d, which the operator wrote and nobody declares", name, h.value)
		}
	}
}

// TestAnyHistoryEndsInAStatusThatSaysWhatTheTwinHolds makes passes while everything happens in any
// order.
func TestAnyHistoryEndsInAStatusThatSaysWhatTheTwinHolds(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.actions())
		w.quieten()
		w.judge()
	})
}

// TestAnyHistoryEndsWithNothingLeftOfAnObjectThatIsDeleted is the same with a deletion at its end.
func TestAnyHistoryEndsWithNothingLeftOfAnObjectThatIsDeleted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.actions())
		w.remove(rt)
		w.quieten()
		if !w.gone {
			w.failf("the object is still there")
		}
		w.judgeLeft()
	})
}

// remove has the object be deleted, and passes go over it while nothing is quiet yet.
func (w *world) remove(rt *rapid.T) {
	at := metav1.NewTime(w.now)
	w.object.DeletionTimestamp, w.object.Spec.Suspend = &at, false
	w.object.Generation++
	w.sayf("deleted")
	for range rapid.IntRange(0, 3).Draw(rt, "passes before all is quiet") {
		w.pass()
	}
}

// TestAnyHistoryWritesNothingForAnObserver has an object that only observes meet the same.
func TestAnyHistoryWritesNothingForAnObserver(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		w.object.Spec.Management = v1alpha1.ManagementObserve
		actions := w.actions()
		rt.Repeat(actions)
		w.quieten()
		for name, h := range w.desired {
			if h.isOurs {
				w.failf("%s was written", name)
			}
		}
		declared := w.declared()
		for leaf, p := range PropertiesOf(&w.object.Status) {
			if p.Owned {
				w.failf("%s counts as the object's", leaf)
			}
			isDrifted := p.State == StateOf(twin.StateDrifted)
			if want := declared[leaf.Name] != w.desired[leaf.Name].value; isDrifted != want {
				w.failf("%s is %s: %s", leaf, p.State, w.shown(&w.object.Status))
			}
		}
	})
}

// TestNothingIsWrittenWhileSuspended goes on after any history with passes over a suspended object.
func TestNothingIsWrittenWhileSuspended(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.actions())
		w.object.Spec.Suspend = true
		w.object.Generation++
		writes := w.writes
		w.edit(rt)
		for range 3 {
			if step := w.pass(); step.Do != Done && step.Do != End {
				w.failf("the pass ends with %+v", step)
			}
		}
		if w.writes != writes {
			w.failf("the hub was written")
		}
		if !conditions.IsTrue(w.object, v1alpha1.ConditionSuspended) && !w.refusesStatus {
			w.failf("status does not say that it is suspended: %+v", w.object.Status.Conditions)
		}
	})
}

// TestAPassThatChangedNothingSaysTheSame has a status cost nothing where nothing moves.
func TestAPassThatChangedNothingSaysTheSame(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		w := newWorld(rt.Fatalf)
		rt.Repeat(w.actions())
		w.quieten()
		before := w.object.Status.DeepCopy()
		w.now = w.now.Add(time.Minute)
		w.pass()
		if !conditions.IsSame(before, &w.object.Status) {
			w.failf("status was %+v, and is %+v", before, w.object.Status)
		}
	})
}
