package fleet

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// These are scenarios that broke an earlier draft of the design. Letters and numbers are theirs.

func with(change func(*v1alpha1.DeviceFleetSpec)) *v1alpha1.DeviceFleetSpec {
	spec := enforcing()
	change(spec)
	return spec
}

// rolledOut is a world whose fleet of n devices holds x = 1 everywhere, and to which the hub told
// of connections.
func rolledOut(t *testing.T, n int, spec *v1alpha1.DeviceFleetSpec, values map[string]any) *world {
	t.Helper()
	w := newWorld(t, n, spec, values)
	for _, id := range w.ids() {
		w.log = append(w.log, Presence{DeviceID: id, Connected: true, At: w.now})
	}
	w.settle(48 * time.Hour)
	w.wantRolledOut()
	return w
}

func (w *world) wantStopped(batch string) {
	w.t.Helper()
	if stop := w.fleet.rollout.stopped; stop == nil || stop.Batch != batch {
		w.t.Fatalf("stopped by %+v, want by %s: %s", stop, batch, w.describe())
	}
}

// untilWritten runs until n devices hold x, and nothing answers.
func (w *world) untilWritten(x any, n int) {
	w.t.Helper()
	for range 1000 {
		if w.holding("x", x, "fleet") >= n {
			return
		}
		if !w.deliver() && !w.next() {
			if len(w.requests) == 0 {
				w.pass(time.Second)
				continue
			}
		}
		for len(w.requests) > 0 {
			w.finish(0, endsWell)
		}
	}
	w.t.Fatalf("%d hold it, want %d: %s", w.holding("x", x, "fleet"), n, w.describe())
}

func (w *world) firstWith(x any) *device {
	for _, id := range w.ids() {
		if twin.Equal(w.devices[id].desired["x"].value, x) {
			return w.devices[id]
		}
	}
	w.t.Fatalf("nobody holds %v", x)
	return nil
}

func TestC1AValueThatKillsDevicesStopsAtTheCanary(t *testing.T) {
	w := rolledOut(t, 20, enforcing(), map[string]any{"x": num(1)})
	for _, d := range w.devices {
		d.isDead = true
	}
	w.edit(map[string]any{"x": num(666)})
	w.untilWritten(num(666), 1)
	w.pass(330 * time.Second) // before its time to answer is over
	w.connect(w.firstWith(num(666)), false)
	w.settle(24 * time.Hour)
	w.wantStopped("first")
	if n := w.holding("x", num(666), ""); n != 1 {
		t.Errorf("%d devices got the value", n)
	}
	if got := w.stateOf(w.firstWith(num(666)).id); got != v1alpha1.MemberLost {
		t.Errorf("it counts as %s", got)
	}
}

func TestC1ADeviceThatAnswersAndDiesWithinTheSoakIsAFailure(t *testing.T) {
	spec := with(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.Batches[0].SoakSeconds = 1800 })
	w := rolledOut(t, 20, spec, map[string]any{"x": num(1)})
	w.edit(map[string]any{"x": num(2)})
	w.settle(time.Minute)
	canary := w.firstWith(num(2))
	if got := w.batch("first").State; got != v1alpha1.BatchSoaking {
		t.Fatalf("the batch is %s", got)
	}
	w.connect(canary, false)
	w.settle(24 * time.Hour)
	w.wantStopped("first")
	w.connect(canary, true) // heals, and lifts nothing
	w.settle(24 * time.Hour)
	w.wantStopped("first")
	if got := w.stateOf(canary.id); got != v1alpha1.MemberAcknowledged {
		t.Errorf("it counts as %s", got)
	}
}

func TestC1TheTimeToAnswerEndsForADeviceThatComesAndGoes(t *testing.T) {
	w := rolledOut(t, 20, enforcing(), map[string]any{"x": num(1)})
	for _, d := range w.devices {
		d.code = 0
	}
	w.edit(map[string]any{"x": num(2)})
	w.untilWritten(num(2), 1)
	d := w.firstWith(num(2))
	w.fleet.spec.Rollout.MaxFailures = share("5") // so that Lost alone stops nothing
	for range 4 {
		w.settle(9 * time.Minute)
		w.connect(d, false)
		w.settle(2 * time.Minute)
		w.connect(d, true)
	}
	w.settle(time.Minute)
	if got := w.stateOf(d.id); got != v1alpha1.MemberTimedOut {
		t.Errorf("it counts as %s", got)
	}
}

func TestC2AGateDoesNotOpenOnNothing(t *testing.T) {
	for name, change := range map[string]func(*world, *v1alpha1.DeviceFleetSpec){
		"a ring that no device has": func(_ *world, s *v1alpha1.DeviceFleetSpec) {
			s.Rollout.Batches = []v1alpha1.FleetBatch{{Name: "first", MatchTags: map[string]intstr.IntOrString{"ring": intstr.FromString("O")}}}
		},
		"a ring that is off at night": func(w *world, s *v1alpha1.DeviceFleetSpec) {
			s.Rollout.Batches = []v1alpha1.FleetBatch{{Name: "first", MatchTags: map[string]intstr.IntOrString{"ring": intstr.FromString("0")}}}
			w.setTags(w.devices["d00"], map[string]any{"ring": "0"})
			w.connect(w.devices["d00"], false)
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := rolledOut(t, 5, enforcing(), map[string]any{"x": num(1)})
			w.editSpec(func(s *v1alpha1.DeviceFleetSpec) { change(w, s) })
			w.settle(time.Minute)
			w.edit(map[string]any{"x": num(2)})
			w.settle(time.Hour)
			if got := w.batch("first").State; got != v1alpha1.BatchNoEvidence || w.holding("x", num(2), "") > 0 {
				t.Fatalf("the batch is %s, %d hold the value: %s", got, w.holding("x", num(2), ""), w.describe())
			}
			wanted, _ := w.fleet.Revision()
			w.apply(Approved{Name: wanted + "/first", By: "somebody"})
			w.settle(time.Hour)
			if w.holding("x", num(2), "") < 4 {
				t.Error("an approval does not let it pass")
			}
		})
	}
}

func TestC3AValueThatTheFleetFoundIsNotRemoved(t *testing.T) {
	found := func(t *testing.T, change func(*v1alpha1.DeviceFleetSpec)) *world {
		w := newWorld(t, 4, with(change), map[string]any{"x": num(1), "y": num(2)})
		for _, d := range w.devices {
			w.setDesired(d, "commissioning", map[string]any{"y": num(2)})
		}
		w.settle(time.Hour)
		w.wantRolledOut()
		return w
	}
	clearing := func(s *v1alpha1.DeviceFleetSpec) {
		s.LeavePolicy, s.DeletionPolicy = v1alpha1.DeletionClear, v1alpha1.DeletionClear
	}
	t.Run("by an edit that drops it", func(t *testing.T) {
		w := found(t, clearing)
		w.edit(map[string]any{"x": num(1)})
		w.settle(time.Hour)
		if w.holding("y", num(2), "commissioning") != 4 {
			t.Error(w.describe())
		}
	})
	t.Run("by a device that leaves", func(t *testing.T) {
		w := found(t, clearing)
		w.setTags(w.devices["d01"], map[string]any{"kind": "lamp"})
		w.settle(time.Hour)
		if w.holding("y", num(2), "commissioning") != 4 || w.holding("x", num(1), "") != 3 {
			t.Error(w.describe())
		}
	})
	t.Run("by the deletion of the fleet", func(t *testing.T) {
		w := found(t, clearing)
		w.apply(Ended{})
		w.settle(time.Hour)
		if w.holding("y", num(2), "commissioning") != 4 || w.holding("x", num(1), "") != 0 || w.fleet.members.count() != 0 {
			t.Error(w.describe())
		}
	})
	t.Run("by an exclusion, which leaves alone what is the fleet's, too", func(t *testing.T) {
		w := found(t, clearing)
		w.editSpec(func(s *v1alpha1.DeviceFleetSpec) { s.Selector.Exclude = []string{"d01"} })
		w.settle(time.Hour)
		if w.holding("y", num(2), "commissioning") != 4 || w.holding("x", num(1), "fleet") != 4 {
			t.Error(w.describe())
		}
	})
	t.Run("unless it was taken over", func(t *testing.T) {
		w := found(t, func(s *v1alpha1.DeviceFleetSpec) { s.ExistingValues = v1alpha1.ExistingValuesTakeOver })
		for _, d := range w.devices { // the judge has to know
			h := d.desired["y"]
			h.by = "fleet"
			d.desired["y"] = h
		}
		w.edit(map[string]any{"x": num(1)})
		w.settle(time.Hour)
		if w.holding("y", num(2), "") != 0 {
			t.Error(w.describe())
		}
	})
}

func TestC3AShardThatIsLostCostsRemovalsAndNoValues(t *testing.T) {
	w := rolledOut(t, 10, enforcing(), map[string]any{"x": num(1), "y": num(2)})
	w.edit(map[string]any{"x": num(1)})
	for range 60 { // a part of the members
		if w.holding("y", num(2), "") <= 6 {
			break
		}
		w.settle(time.Second)
	}
	w.setDesired(w.devices["d03"], "somebody", map[string]any{"y": num(2)}) // after our removal, or over our value
	for name := range w.stored {
		if strings.HasPrefix(name, "members") || name == journalName {
			delete(w.stored, name)
		}
	}
	w.checkpoint = len(w.log)
	w.requests = nil
	w.crash(func() bool { return true })
	w.settle(24 * time.Hour)
	if _, m := w.fleet.members.find("d03"); m == nil || w.devices["d03"].desired["y"].by != "somebody" {
		t.Error(w.describe())
	}
	if w.holding("x", num(1), "fleet") != 10 {
		t.Error("a value was lost")
	}
}

func TestC3AnExceptionThatEndsIsReadAndPutRight(t *testing.T) {
	w := rolledOut(t, 4, enforcing(), map[string]any{"x": num(1), "y": num(2)})
	x := []twin.Leaf{{Name: "x"}}
	w.apply(Denied{DeviceID: "d02", Exception: x})
	w.setDesired(w.devices["d02"], "a PnPDevice", map[string]any{"x": num(9)})
	w.settle(time.Hour)
	if w.devices["d02"].desired["x"].by != "a PnPDevice" || w.summary().Excepted != 1 {
		t.Fatal(w.describe())
	}
	w.edit(map[string]any{"y": num(2)}) // drops x, which is the other's there
	w.settle(time.Hour)
	if w.devices["d02"].desired["x"].by != "a PnPDevice" || w.holding("x", num(1), "") != 0 {
		t.Fatal(w.describe())
	}
	w.edit(map[string]any{"x": num(1), "y": num(2)})
	w.settle(time.Hour)
	w.apply(Denied{DeviceID: "d02"})
	w.settle(time.Hour)
	if w.holding("x", num(1), "fleet") != 4 {
		t.Error(w.describe())
	}
}

func TestC4WhatAKilledOperatorWroteIsKnownToTheNext(t *testing.T) {
	w := rolledOut(t, 6, enforcing(), map[string]any{"x": num(1)})
	w.edit(map[string]any{"x": num(2), "z": num(3)})
	w.untilWritten(num(2), 1)
	for range 20 {
		w.next()
		if len(w.requests) > 0 && w.requests[len(w.requests)-1].action.Do == Flush {
			w.finish(len(w.requests)-1, endsWell)
		}
	}
	w.declare(map[string]any{"x": num(4)}) // Git goes on before the start
	w.crash(func() bool { return true })
	w.settle(24 * time.Hour)
	w.wantRolledOut()
	if w.holding("z", num(3), "") != 0 || w.holding("x", num(4), "fleet") != 6 {
		t.Error(w.describe())
	}
}

func TestC5AnEditOfTheSelectorWritesNothingBeforeItsFirstGate(t *testing.T) {
	w := newWorld(t, 40, enforcing(), map[string]any{"x": num(1)})
	for i, id := range w.ids() {
		if i >= 4 {
			w.devices[id].tags["stage"] = "lab"
		}
		w.devices[id].code = 200
	}
	w.spec.Selector.MatchExpressions = []v1alpha1.TagExpression{{Key: "stage", Operator: v1alpha1.TagDoesNotExist}}
	w.fleet = New(w.who(), w.spec, w.declared)
	w.apply(Stream{Healthy: true})
	w.settle(time.Hour)
	w.wantRolledOut()
	for i, id := range w.ids() {
		if i >= 4 {
			w.devices[id].code = 400
		}
	}
	w.editSpec(func(s *v1alpha1.DeviceFleetSpec) { s.Selector.MatchExpressions = nil })
	w.settle(24 * time.Hour)
	w.wantStopped("first")
	if n := w.holding("x", num(1), ""); n != 5 {
		t.Errorf("%d devices were written to, want 4 and the first of the others: %s", n, w.describe())
	}
}

func TestC5FailuresOfThoseThatComeLateStopTheRollout(t *testing.T) {
	w := rolledOut(t, 20, enforcing(), map[string]any{"x": num(1)})
	for i, id := range w.ids() {
		if i%2 == 0 {
			w.connect(w.devices[id], false)
		}
	}
	w.edit(map[string]any{"x": num(2)})
	w.settle(time.Hour)
	if w.fleet.rollout.open == 0 {
		t.Fatal(w.describe())
	}
	wanted, _ := w.fleet.Revision()
	w.apply(Approved{Name: wanted + "/first", By: "somebody"})
	w.settle(time.Hour)
	w.wantRolledOut()
	for i, id := range w.ids() {
		if i%2 == 0 {
			w.devices[id].code = 400
			w.connect(w.devices[id], true)
		}
	}
	w.settle(time.Hour)
	if w.fleet.rollout.stopped == nil {
		t.Fatalf("nothing stops: %s", w.describe())
	}
	if n := w.summary().Devices.Failed; n > 3 {
		t.Errorf("%d failed, want no more than are in flight", n)
	}
}

func TestC6TimedOutIsAVerdictByARead(t *testing.T) {
	t.Run("a lost acknowledgement is found", func(t *testing.T) {
		w := rolledOut(t, 6, enforcing(), map[string]any{"x": num(1)})
		w.edit(map[string]any{"x": num(2)})
		w.untilWritten(num(2), 1)
		w.answer(w.firstWith(num(2)))
		w.read = len(w.log) // the event is lost
		w.settle(24 * time.Hour)
		w.wantRolledOut()
	})
	t.Run("time stands still while the stream does", func(t *testing.T) {
		w := rolledOut(t, 6, enforcing(), map[string]any{"x": num(1)})
		for _, d := range w.devices {
			d.code = 0
		}
		w.edit(map[string]any{"x": num(2)})
		w.untilWritten(num(2), 1)
		w.apply(Stream{Healthy: false})
		w.settle(24 * time.Hour)
		if got := w.summary().Devices; got.Failed != 0 || w.holding("x", num(2), "") != 1 {
			t.Errorf("got %+v", got)
		}
		w.apply(Stream{Healthy: true})
		w.settle(11 * time.Minute)
		w.wantStopped("first")
	})
}

func TestH1AStopIsLiftedByNothingElse(t *testing.T) {
	w := rolledOut(t, 20, enforcing(), map[string]any{"x": num(1)})
	for _, d := range w.devices {
		d.code = 400
	}
	w.edit(map[string]any{"x": num(2)})
	w.settle(time.Hour)
	w.wantStopped("first")
	for _, paused := range []bool{true, false} {
		w.editSpec(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.Paused = paused })
		w.settle(time.Hour)
		w.wantStopped("first")
	}
	w.editSpec(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.MaxFailures = share("10") })
	w.settle(time.Hour)
	w.wantStopped("first")
	_, stable := w.fleet.Revision()
	w.apply(Approved{Name: "first", By: "somebody"})
	w.apply(Approved{Name: stable + "/first", By: "somebody"})
	w.wantStopped("first")
	if last := w.notices[len(w.notices)-1]; last.Reason != v1alpha1.ReasonApprovalVoid {
		t.Errorf("nobody is told: %+v", last)
	}
	for _, d := range w.devices {
		d.code = 200
	}
	w.resends = true
	w.apply(Retry{Value: "now"})
	w.settle(time.Hour)
	w.wantRolledOut()
	w.apply(Retry{Value: "now"})
	if w.fleet.rollout.completedAt.IsZero() {
		t.Error("the same value counts twice")
	}
}

func TestH2BudgetsOfSmallBatches(t *testing.T) {
	t.Run("more to be judged than there are devices", func(t *testing.T) {
		w := rolledOut(t, 6, with(func(s *v1alpha1.DeviceFleetSpec) {
			s.Rollout.Batches = []v1alpha1.FleetBatch{{Name: "first", UpTo: share("1%"), MinJudged: 50, MaxFailures: share("2%")}}
		}), map[string]any{"x": num(1)})
		for _, d := range w.devices {
			d.code = 400
		}
		w.edit(map[string]any{"x": num(2)})
		w.settle(time.Hour)
		w.wantStopped("first")
	})
	t.Run("devices that are away allow no failures", func(t *testing.T) {
		w := rolledOut(t, 100, with(func(s *v1alpha1.DeviceFleetSpec) {
			s.Rollout.Batches, s.Rollout.MaxInFlight = []v1alpha1.FleetBatch{{Name: "all", UpTo: share("100%"), MaxFailures: share("10%")}}, 100
		}), map[string]any{"x": num(1)})
		for i, id := range w.ids() {
			if i >= 40 {
				w.connect(w.devices[id], false)
			} else if i < 5 {
				w.devices[id].code = 400
			}
		}
		w.edit(map[string]any{"x": num(2)})
		w.settle(time.Hour)
		w.wantStopped("all") // 5 of 40, of which 10 % are 4
	})
	t.Run("0% is nobody", func(t *testing.T) {
		if got := (Share{IsPercent: true}).down(1000); got != 0 {
			t.Errorf("got %d", got)
		}
	})
}

func TestH3TheWayBackHasNoBatches(t *testing.T) {
	w := rolledOut(t, 20, with(func(s *v1alpha1.DeviceFleetSpec) {
		s.Rollout.Batches, s.Rollout.MaxFailures = []v1alpha1.FleetBatch{{Name: "half", UpTo: share("50%")}}, share("3")
	}), map[string]any{"x": num(1)})
	for i, id := range w.ids() {
		w.devices[id].code = []int64{200, 400}[i%2]
	}
	w.edit(map[string]any{"x": num(2)})
	w.settle(time.Hour)
	if w.fleet.rollout.stopped == nil {
		t.Fatal(w.describe())
	}
	for _, d := range w.devices {
		d.code = 200
	}
	w.edit(map[string]any{"x": num(1)})
	w.settle(time.Minute)
	w.wantRolledOut()
	if got := w.summary(); got.Rollout.Kind != v1alpha1.RolloutBack || w.holding("x", num(1), "fleet") != 20 {
		t.Error(w.describe())
	}
}

func TestH4ADeviceThatWasAwayForMonthsLeavesNothingBehind(t *testing.T) {
	w := rolledOut(t, 6, with(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.DeferSeconds = 31536000 }), map[string]any{"x": num(1), "z": num(1)})
	w.connect(w.devices["d04"], false)
	for i := range 2 * maxRevisions {
		w.edit(map[string]any{"x": num(100 + i)})
		w.settle(time.Hour)
		wanted, _ := w.fleet.Revision()
		w.apply(Approved{Name: wanted + "/first", By: "somebody"})
		w.settle(time.Hour)
	}
	known := 0
	for _, r := range w.fleet.revisions {
		if r != nil {
			known++
		}
	}
	if known > maxRevisions+2 {
		t.Errorf("%d revisions are kept", known)
	}
	w.connect(w.devices["d04"], true)
	w.settle(time.Hour)
	if w.holding("z", num(1), "") != 0 || w.holding("x", num(100+2*maxRevisions-1), "fleet") != 6 {
		t.Error(w.describe())
	}
}

func TestH7DevicesThatAreAlwaysDisconnectedAreWrittenTo(t *testing.T) {
	t.Run("where nobody tells of connections", func(t *testing.T) {
		w := newWorld(t, 4, enforcing(), map[string]any{"x": num(1)})
		for _, d := range w.devices {
			d.isConnected = false
		}
		w.settle(time.Minute)
		if w.holding("x", num(1), "fleet") == 0 {
			t.Error(w.describe())
		}
	})
	t.Run("where they report while they are", func(t *testing.T) {
		w := rolledOut(t, 4, enforcing(), map[string]any{"x": num(1)})
		for _, d := range w.devices {
			w.connect(d, false)
		}
		w.settle(time.Minute)
		w.edit(map[string]any{"x": num(2)})
		w.settle(time.Minute)
		if w.holding("x", num(2), "") != 0 {
			t.Fatal("Defer writes")
		}
		for _, d := range w.devices {
			w.report(d, map[string]any{"temperature": num(20)})
		}
		w.settle(time.Minute)
		if w.holding("x", num(2), "fleet") == 0 {
			t.Error(w.describe())
		}
	})
}

func TestH8AnswersLeafByLeaf(t *testing.T) {
	w := newWorld(t, 1, with(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.Batches = nil }), map[string]any{"x": num(1)})
	d := w.devices["d00"]
	d.code = 0
	w.settle(time.Minute)
	setX := d.desired["x"].version
	w.edit(map[string]any{"x": num(1), "y": num(2)})
	w.settle(time.Minute)
	envelope := func(value, code int, av int64) map[string]any {
		return map[string]any{"value": num(value), "ac": num(code), "av": num(int(av))}
	}
	if d.desired["y"].version <= setX {
		t.Fatal(w.describe())
	}
	w.report(d, map[string]any{"x": envelope(1, 200, setX), "y": envelope(2, 200, setX)})
	w.settle(time.Second)
	_, m := w.fleet.members.find("d00")
	if m.state == stateAcknowledged {
		t.Fatal("an answer to an older version counts for y")
	}
	first := len(w.log)
	w.report(d, map[string]any{"y": envelope(2, 200, d.desiredVersion)})
	w.settle(time.Second)
	if m.state != stateAcknowledged {
		t.Fatalf("x was answered at its own version: %s", w.describe())
	}
	w.report(d, map[string]any{"x": envelope(1, 500, d.desiredVersion), "y": envelope(2, 500, d.desiredVersion)})
	w.settle(time.Second)
	w.apply(w.log[first]) // told once more
	if m.state != stateRejected {
		t.Error("an answer that came before counts again")
	}
	w.report(d, map[string]any{"x": envelope(1, 200, d.desiredVersion)})
	w.settle(time.Second)
	if m.state != stateRejected {
		t.Error("one leaf heals both")
	}
	w.report(d, map[string]any{"y": envelope(2, 203, d.desiredVersion)})
	w.report(d, map[string]any{"y": envelope(2, 200, d.desiredVersion+5)})
	w.settle(time.Second)
	if m.state == stateAcknowledged {
		t.Error("203, or a version that does not exist, acknowledges")
	}
}

func TestH8AnotherTwinUnderTheSameIDIsReadAnew(t *testing.T) {
	w := rolledOut(t, 3, enforcing(), map[string]any{"x": num(1), "y": num(2)})
	old := w.devices["d01"]
	swapped := w.addDevice("d01") // the event of its lifecycle is lost
	swapped.etag, swapped.desiredVersion = old.etag, old.desiredVersion
	swapped.deviceEtag, swapped.desiredAt = "another", w.now
	w.apply(Doubted{DeviceID: "d01"})
	w.settle(time.Hour)
	if w.holding("x", num(1), "fleet") != 3 || w.holding("y", num(2), "fleet") != 3 {
		t.Error(w.describe())
	}
}

func TestH9DriftByAnotherWriterIsNotFoughtForEver(t *testing.T) {
	for name, by := range map[string]string{"a job": "a job", "a configuration": "configuration adu"} {
		t.Run(name, func(t *testing.T) {
			w := rolledOut(t, 130, with(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.MaxInFlight = 200 }), map[string]any{"x": num(1), "y": num(2)})
			before := w.writes
			for _, id := range w.ids() {
				w.setDesired(w.devices[id], by, map[string]any{"x": num(7)})
			}
			w.settle(time.Minute)
			if len(w.fleet.Halted()) != 1 {
				t.Fatalf("halted %v", w.fleet.Halted())
			}
			put := w.writes - before
			for _, id := range w.ids() {
				w.setDesired(w.devices[id], by, map[string]any{"x": num(8)})
			}
			w.settle(time.Minute)
			if again := w.writes - before - put; again > 0 {
				t.Errorf("%d were put back, then %d", put, again)
			}
			w.setDesired(w.devices["d05"], "somebody", map[string]any{"y": nil})
			w.settle(time.Minute)
			if w.holding("y", num(2), "fleet") != 130 {
				t.Error("other leaves are put back no more")
			}
		})
	}
}

func TestH9LeaversKeepTheirValuesWhereTheyAreTooMany(t *testing.T) {
	w := rolledOut(t, 40, with(func(s *v1alpha1.DeviceFleetSpec) {
		s.LeavePolicy, s.Rollout.MaxInFlight = v1alpha1.DeletionClear, 40
	}), map[string]any{"x": num(1)})
	for i, id := range w.ids() {
		w.settle(10 * time.Minute) // slowly
		if i < 30 {
			w.setTags(w.devices[id], map[string]any{"kind": "lamp"})
		}
	}
	w.settle(time.Hour)
	if got := w.holding("x", num(1), "fleet"); got != 20 || !w.summary().LeavingHalted {
		t.Fatalf("%d hold it, want 20: %s", got, w.describe())
	}
	w.apply(Confirmed{})
	w.settle(time.Hour)
	if got := w.holding("x", num(1), "fleet"); got != 10 || w.summary().Leaving != 0 {
		t.Errorf("%d hold it, want 10", got)
	}
}

func TestH11ADeviceThatGoesAfterItAnsweredStaysAcknowledged(t *testing.T) {
	w := rolledOut(t, 5, enforcing(), map[string]any{"x": num(1)})
	for _, d := range w.devices {
		w.connect(d, false)
	}
	w.settle(time.Hour)
	if got := w.summary().Devices.Acknowledged; got != 5 {
		t.Errorf("%d are acknowledged", got)
	}
}

func TestABatchOnHoldWaitsForAnApproval(t *testing.T) {
	w := rolledOut(t, 20, enforcing(), map[string]any{"x": num(1)})
	w.editSpec(func(s *v1alpha1.DeviceFleetSpec) { s.Rollout.Batches[1].Hold = true })
	w.edit(map[string]any{"x": num(2)})
	wanted, _ := w.fleet.Revision()
	w.apply(Approved{Name: wanted + "/half", By: "too early"})
	w.settle(time.Hour)
	if got := w.batch("half").State; got != v1alpha1.BatchOnHold || w.holding("x", num(2), "") != 1 {
		t.Fatalf("the batch is %s: %s", got, w.describe())
	}
	w.apply(Approved{Name: wanted + "/half", By: "somebody"})
	w.settle(time.Hour)
	w.wantRolledOut()
	if got := w.batch("half").ApprovedBy; got != "somebody" {
		t.Errorf("approved by %q", got)
	}
}

func TestADisconnectBeforeTheWriteIsNoFailure(t *testing.T) {
	w := rolledOut(t, 20, enforcing(), map[string]any{"x": num(1)})
	for _, d := range w.devices {
		d.code = 0
	}
	w.edit(map[string]any{"x": num(2)})
	w.untilWritten(num(2), 1)
	d := w.firstWith(num(2))
	w.settle(time.Second)
	d.isConnected = false
	w.log = append(w.log, Presence{DeviceID: d.id, Connected: false, At: w.now.Add(-time.Minute)})
	w.settle(time.Minute)
	if got := w.stateOf(d.id); got != v1alpha1.MemberOffline || w.fleet.rollout.stopped != nil {
		t.Errorf("it counts as %s: %s", got, w.describe())
	}
}

func TestOrderDiffersAmongFleets(t *testing.T) {
	first := func(salt string) string {
		best, at := "", place{group: ^uint64(0)}
		for i := range 1000 {
			id := fmt.Sprintf("line-3-ctrl-%05d", i)
			if p := placeOf(salt, "", id, false); comparePlaces(p, at) < 0 {
				best, at = id, p
			}
		}
		return best
	}
	if first("n/a") == first("n/b") {
		t.Errorf("got %s and %s", first("n/a"), first("n/b"))
	}
}
