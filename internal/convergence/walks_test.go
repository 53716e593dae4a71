package convergence

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// This file walks through single histories that are told among the people who run the operator.

// walk is a world with a test that looks at it.
type walk struct {
	*world
	t *testing.T
}

func newWalk(t *testing.T) *walk {
	t.Helper()
	return &walk{newWorld(t.Fatalf), t}
}

// settled is a walk whose device holds, and has acknowledged, speed of a value.
func settled(t *testing.T, value int) *walk {
	t.Helper()
	w := newWalk(t)
	w.declare(map[string]int{"speed": value})
	w.passes(2)
	w.answers("speed", 200)
	w.tells()
	w.pass()
	w.says(v1alpha1.ReasonDeviceAcknowledged)
	return w
}

func (w *walk) passes(n int) {
	for range n {
		w.pass()
		w.check(nil)
		w.checkConditions()
	}
}

// says checks the reason of Ready.
func (w *walk) says(reason string) {
	w.t.Helper()
	if got := conditions.ReadyOf(w.object); got.Reason != reason {
		w.failf("Ready is %s (%s), want %s", got.Reason, got.Message, reason)
	}
}

// holds checks what the hub holds of a name, 0 for nothing.
func (w *walk) holds(name string, value int) {
	w.t.Helper()
	if got := w.desired[name].value; got != value {
		w.failf("the hub holds %s = %d, want %d", name, got, value)
	}
}

// another has another writer set a value; nil removes.
func (w *walk) another(name string, value int) {
	w.sayf("another writer: %s = %d", name, value)
	w.write(map[string]*int{name: &value}, false)
}

func (w *walk) entry(name string) v1alpha1.PropertyStatus {
	return EntriesOf(&w.object.Status)[twin.Leaf{Name: name}]
}

func TestANewValueIsRecordedWrittenAndAcknowledged(t *testing.T) {
	w := newWalk(t)
	w.declare(map[string]int{"speed": 1})
	w.passes(1)
	w.says(v1alpha1.ReasonProgressing)
	w.holds("speed", 0)
	if p := w.entry("speed"); p.Sent == nil || p.Owned {
		t.Errorf("before it is sent, status says %+v", p)
	}
	w.passes(1)
	w.says(v1alpha1.ReasonAwaitingAcknowledgement)
	w.holds("speed", 1)
	if p := w.entry("speed"); p.Sent != nil || !p.Owned || p.State != StateOf(twin.StateApplied) {
		t.Errorf("after it was sent, status says %+v", p)
	}
	for _, c := range []struct {
		code   int64
		reason string
	}{
		{202, v1alpha1.ReasonAwaitingAcknowledgement},
		{400, v1alpha1.ReasonRejected},
		{200, v1alpha1.ReasonDeviceAcknowledged},
	} {
		w.answers("speed", c.code)
		w.tells()
		w.passes(1)
		w.says(c.reason)
	}
}

func TestAnEditThatIsTakenBackAfterACrashIsWrittenBack(t *testing.T) {
	w := settled(t, 1)
	w.losesAnswer = true
	w.declare(map[string]int{"speed": 2})
	w.passes(1)
	w.holds("speed", 2)
	w.restart()
	w.declare(map[string]int{"speed": 1}) // that is what status has the hub hold
	w.passes(2)
	w.holds("speed", 1)
}

func TestAWriteThatWasLostOnItsWayIsMadeAgain(t *testing.T) {
	for name, isNewProcess := range map[string]bool{"by the same process": false, "by another one": true} {
		t.Run(name, func(t *testing.T) {
			w := settled(t, 1)
			w.losesRequest = true
			w.declare(map[string]int{"speed": 2, "level": 3})
			w.passes(2)
			w.holds("speed", 1)
			if isNewProcess {
				w.restart()
			}
			w.passes(3)
			w.holds("speed", 2)
			w.holds("level", 3)
		})
	}
}

func TestAValueWhoseAnswerWasLostIsRemovedWhenNobodyDeclaresIt(t *testing.T) {
	for name, isNewProcess := range map[string]bool{"by the same process": false, "by another one": true} {
		t.Run(name, func(t *testing.T) {
			w := newWalk(t)
			w.declare(map[string]int{"speed": 1})
			w.passes(1)
			w.losesAnswer = true
			w.passes(1)
			w.holds("speed", 1)
			if isNewProcess {
				w.restart()
			}
			w.declare(map[string]int{})
			w.passes(2)
			w.holds("speed", 0)
		})
	}
}

func TestAnotherWritersValueOfTheVersionBeforeIsLeftAlone(t *testing.T) {
	w := newWalk(t)
	w.declare(map[string]int{"speed": 1})
	w.passes(1) // it is recorded for version 2
	w.another("label", 1)
	w.another("speed", 1) // of version 3
	w.declare(map[string]int{})
	w.restart()
	w.passes(3)
	w.holds("speed", 1)
	if got := w.entry("speed"); got.Owned || got.Sent != nil {
		t.Errorf("status says %+v", got)
	}
}

func TestAFightEndsAndIsTakenUpAfterAnHour(t *testing.T) {
	w := settled(t, 1)
	for range FightCorrections {
		w.another("speed", 2)
		w.tells()
		w.passes(1)
		w.holds("speed", 1)
	}
	w.another("speed", 2)
	w.tells()
	w.passes(3)
	w.says(v1alpha1.ReasonOwnershipConflict)
	w.holds("speed", 2)
	w.restart() // the times are in status
	w.passes(2)
	w.says(v1alpha1.ReasonOwnershipConflict)
	w.holds("speed", 2)
	w.now = w.now.Add(FightWindow)
	w.passes(1)
	w.holds("speed", 1)
}

func TestAFightEndsWithAnEdit(t *testing.T) {
	w := settled(t, 1)
	for range FightCorrections + 1 {
		w.another("speed", 2)
		w.tells()
		w.passes(1)
	}
	w.holds("speed", 2)
	w.declare(map[string]int{"speed": 2})
	w.passes(1)
	w.says(v1alpha1.ReasonAwaitingAcknowledgement)
	if got := w.entry("speed"); !got.Owned || got.State != StateOf(twin.StateApplied) {
		t.Errorf("status says %+v", got)
	}
}

func TestAFightIsKnownToMemoryWhileTheStatusIsRefused(t *testing.T) {
	w := settled(t, 1)
	for range FightCorrections {
		w.another("speed", 2)
		w.tells()
		w.refusesStatus = true
		w.passes(1)
		w.holds("speed", 1)
	}
	w.another("speed", 2)
	w.tells()
	w.passes(1)
	w.holds("speed", 2)
	w.says(v1alpha1.ReasonOwnershipConflict)
}

func TestRemovalsWaitForAPermitAndEditsDoNot(t *testing.T) {
	w := settled(t, 1)
	w.declare(map[string]int{"speed": 1, "level": 1})
	w.passes(2)
	w.isBraked = true
	w.declare(map[string]int{"level": 2})
	w.passes(2)
	w.holds("speed", 1)
	w.holds("level", 2)
	w.says(v1alpha1.ReasonMassRemoval)
	w.isBraked = false
	w.passes(1)
	w.holds("speed", 0)
	w.holds("level", 2)
}

func TestASuspendedHubIsNotWrittenAndRecordsNothing(t *testing.T) {
	w := settled(t, 1)
	w.hub.Spec.Suspend = true
	w.declare(map[string]int{"speed": 2, "level": 1})
	w.passes(3)
	w.holds("speed", 1)
	w.says(v1alpha1.ReasonHubSuspended)
	if got := w.entry("level"); got.Sent != nil {
		t.Errorf("recorded is %+v", got)
	}
	w.hub.Spec.Suspend = false
	w.passes(2)
	w.holds("speed", 2)
	w.holds("level", 1)
}

func TestASuspendedObjectGoesOnWhereItStopped(t *testing.T) {
	w := settled(t, 1)
	w.object.Spec.Suspend = true
	w.declare(map[string]int{"speed": 2})
	w.passes(2)
	w.holds("speed", 1)
	w.says(v1alpha1.ReasonSuspended)
	w.another("speed", 3)
	w.passes(1)
	w.holds("speed", 3)
	w.object.Spec.Suspend = false
	w.object.Generation++
	w.passes(2)
	w.holds("speed", 2)
	if conditions.IsTrue(w.object, v1alpha1.ConditionSuspended) {
		t.Error("it is suspended yet")
	}
}

func TestADeviceThatWasCreatedAnewIsWrittenAnew(t *testing.T) {
	w := settled(t, 1)
	w.declare(map[string]int{"speed": 1, "level": 1})
	w.passes(2)
	kept := w.desired["level"]
	w.identity, w.version, w.changes, w.writes = "anew", kept.version, 4, 9
	w.desired = map[string]held{"level": {value: kept.value, version: kept.version}} // by another writer, by chance
	w.reported, w.updated = map[string]answer{}, w.now.Add(time.Minute)
	w.epoch++
	w.declare(map[string]int{"speed": 1})
	w.memory.IsDoubtful = true
	w.passes(4)
	w.holds("speed", 1)
	w.holds("level", 1)
	if got := w.entry("level"); got.Owned {
		t.Errorf("status says %+v", got)
	}
}

func TestADeletedObjectTakesItsValuesAndLeavesTheRest(t *testing.T) {
	w := settled(t, 1)
	w.another("label", 2)
	at := metav1.NewTime(w.now)
	w.object.DeletionTimestamp = &at
	w.object.Generation++
	w.isBraked = true
	w.pass()
	w.holds("speed", 1)
	if w.gone || conditions.ReadyOf(w.object).Status == metav1.ConditionTrue {
		t.Errorf("gone: %t, %+v", w.gone, conditions.ReadyOf(w.object))
	}
	w.isBraked = false
	for range 3 {
		w.pass()
	}
	w.holds("speed", 0)
	w.holds("label", 2)
	if !w.gone {
		t.Error("the object is still there")
	}
}

func TestAResendIsMadeOncePerRequest(t *testing.T) {
	w := newWalk(t)
	w.declare(map[string]int{"speed": 1})
	w.passes(2)
	for _, request := range []string{"a", "b"} {
		before := w.desired["speed"].version
		w.object.Annotations = map[string]string{v1alpha1.AnnotationResendRequestedAt: request}
		w.passes(3)
		if got := w.desired["speed"].version; got != before+1 {
			t.Errorf("request %s: the hub is at version %d, after %d", request, got, before)
		}
		if got := w.object.Status.LastHandledResendAt; got != request {
			t.Errorf("request %s: status echoes %q", request, got)
		}
	}
}

func TestAReadIsMadeOncePerRequest(t *testing.T) {
	w := settled(t, 1)
	for _, request := range []string{"a", "b"} {
		w.object.Annotations = map[string]string{v1alpha1.AnnotationReconcileRequestedAt: request}
		w.passes(1)
		if !w.isRead || w.object.Status.LastHandledReconcileAt != request {
			t.Errorf("request %s: read: %t, status echoes %q", request, w.isRead, w.object.Status.LastHandledReconcileAt)
		}
		if w.passes(1); w.isRead {
			t.Errorf("request %s: it is read once more", request)
		}
	}
}

func TestOneThatObservesTellsOfADriftAndOwnsNothing(t *testing.T) {
	w := newWalk(t)
	w.object.Spec.Management = v1alpha1.ManagementObserve
	w.another("speed", 1)
	w.declare(map[string]int{"speed": 1})
	w.memory.IsDoubtful = true
	w.passes(1)
	w.says(v1alpha1.ReasonAwaitingAcknowledgement)
	w.another("speed", 2)
	w.tells()
	w.passes(2)
	w.says(v1alpha1.ReasonDrifted)
	w.holds("speed", 2)
	if got := w.entry("speed"); got.Owned || got.Sent != nil {
		t.Errorf("status says %+v", got)
	}
	w.declare(map[string]int{})
	w.passes(2)
	w.holds("speed", 2)
}

func TestADeviceOfAnotherModelIsLeftAlone(t *testing.T) {
	w := newWalk(t)
	w.object.Spec.ModelID = "dtmi:press;1"
	w.declare(map[string]int{"speed": 1})
	w.passes(2)
	w.says(v1alpha1.ReasonModelMismatch)
	w.holds("speed", 0)
	w.model = "dtmi:press;1"
	w.changes++
	w.passes(3)
	w.holds("speed", 1)
	w.says(v1alpha1.ReasonAwaitingAcknowledgement)
	w.model = "dtmi:press;2"
	w.changes++
	w.restart()
	w.declare(map[string]int{"speed": 2})
	w.passes(2)
	w.says(v1alpha1.ReasonModelMismatch)
	w.holds("speed", 1)
}

func TestADoubtIsOnRecordBeforeStatusTellsOfTheFailure(t *testing.T) {
	w := settled(t, 1)
	w.refusesWrite = true
	w.declare(map[string]int{"speed": 2})
	w.pass()
	w.losesAnswer = true
	w.pass()
	if !w.object.Status.Twin.Unconfirmed {
		t.Error("the status is believed after a write whose answer was lost")
	}
	w.restart()
	w.declare(map[string]int{"speed": 1})
	w.passes(4)
	w.holds("speed", 1)
}

func TestASuspendedObjectDoesNotSayThatAnOpenWriteWasNotMade(t *testing.T) {
	w := settled(t, 1)
	w.losesAnswer = true
	w.declare(map[string]int{"speed": 2})
	w.pass()
	w.holds("speed", 2)
	w.object.Spec.Suspend = true
	w.declare(map[string]int{"speed": 1})
	w.pass()
	w.says(v1alpha1.ReasonSuspended)
	w.tells()
	w.pass()
	w.says(v1alpha1.ReasonSuspended)
	w.object.Spec.Suspend = false
	w.passes(4)
	w.holds("speed", 1)
}

func TestASuspensionKeepsTheRecordOfAnOpenWrite(t *testing.T) {
	w := newWalk(t)
	w.declare(map[string]int{"speed": 1})
	w.another("speed", 2)
	w.tells()
	w.pass()
	w.losesAnswer = true
	w.pass()
	w.holds("speed", 1)
	w.object.Spec.Suspend = true
	w.declare(map[string]int{"speed": 2})
	w.pass()
	w.restart()
	w.object.Spec.Suspend = false
	w.declare(map[string]int{})
	w.passes(4)
	if _, is := w.desired["speed"]; is {
		t.Errorf("the hub still holds %+v", w.desired["speed"])
	}
}
