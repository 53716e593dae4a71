package conditions

import (
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// TestAnyHistoryOfVerdictsIsReadTheSameWay has verdicts follow each other in any order: kstatus
// looks at Reconciling and Stalled first, and one of them may be True at most.
func TestAnyHistoryOfVerdictsIsReadTheSameWay(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		o := &v1alpha1.PnPDevice{}
		for range rapid.IntRange(1, 8).Draw(rt, "verdicts") {
			o.Generation += int64(rapid.IntRange(0, 1).Draw(rt, "edits"))
			v := Verdict{
				Ready: rapid.Bool().Draw(rt, "ready"), Stalled: rapid.Bool().Draw(rt, "stalled"),
				Reason: rapid.SampledFrom([]string{"Waits", "Fails", "Well"}).Draw(rt, "reason"), Message: rapid.String().Draw(rt, "message"),
			}
			SetVerdict(o, v)
			isReady, reconciles, isStalled := IsTrue(o, v1alpha1.ConditionReady), IsTrue(o, v1alpha1.ConditionReconciling), IsTrue(o, v1alpha1.ConditionStalled)
			if isReady != v.Ready || isStalled != (v.Stalled && !v.Ready) || reconciles == (isReady || isStalled) {
				rt.Fatalf("%+v is read as ready: %t, reconciling: %t, stalled: %t", v, isReady, reconciles, isStalled)
			}
			for _, c := range o.Status.Conditions {
				if c.ObservedGeneration != o.Generation || c.Reason != v.Reason || len(c.Message) > MaxMessage || !utf8.ValidString(c.Message) {
					rt.Fatalf("of generation %d: %+v", o.Generation, c)
				}
			}
			if first := apimeta.FindStatusCondition(o.Status.Conditions, v1alpha1.ConditionReady); first.Message != ReadyOf(o).Message {
				rt.Fatalf("Ready is %+v", first)
			}
		}
	})
}

// TestAConditionKeepsItsTimeUntilItsStatusMoves whatever it says beside that.
func TestAConditionKeepsItsTimeUntilItsStatusMoves(t *testing.T) {
	old := metav1.NewTime(time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC))
	for name, c := range map[string]struct {
		set   func(*v1alpha1.IoTHub)
		moves bool
	}{
		"the same again":       {func(o *v1alpha1.IoTHub) { Set(o, "Odd", true, "Because", "so") }, false},
		"another reason":       {func(o *v1alpha1.IoTHub) { Set(o, "Odd", true, "Otherwise", "so") }, false},
		"another message":      {func(o *v1alpha1.IoTHub) { Set(o, "Odd", true, "Because", "thus") }, false},
		"another generation":   {func(o *v1alpha1.IoTHub) { o.Generation++; Set(o, "Odd", true, "Because", "so") }, false},
		"kept while it is on":  {func(o *v1alpha1.IoTHub) { SetOrRemove(o, "Odd", true, "Because", "so") }, false},
		"it is False":          {func(o *v1alpha1.IoTHub) { Set(o, "Odd", false, "Because", "so") }, true},
		"it is not known":      {func(o *v1alpha1.IoTHub) { SetStatus(o, "Odd", metav1.ConditionUnknown, "Because", "so") }, true},
		"it went and was back": {func(o *v1alpha1.IoTHub) { SetOrRemove(o, "Odd", false, "", ""); Set(o, "Odd", true, "Because", "so") }, true},
	} {
		o := &v1alpha1.IoTHub{}
		o.Status.Conditions = []metav1.Condition{{Type: "Odd", Status: metav1.ConditionTrue, Reason: "Because", Message: "so", LastTransitionTime: old}}
		c.set(o)
		is := apimeta.FindStatusCondition(o.Status.Conditions, "Odd")
		if is == nil || is.LastTransitionTime.Equal(&old) == c.moves || is.ObservedGeneration != o.Generation {
			t.Errorf("%s: %+v", name, is)
		}
	}
}

// TestAConditionLeavesTheOthersAlone adds and removes one among some.
func TestAConditionLeavesTheOthersAlone(t *testing.T) {
	o := &v1alpha1.IoTHub{}
	for _, kind := range []string{"First", "Odd", "Last"} {
		Set(o, kind, kind != "Last", "Because", strings.ToLower(kind))
	}
	before := shown(o)
	SetOrRemove(o, "Odd", false, "", "")
	SetOrRemove(o, "Odd", false, "", "") // once more, and it is not there
	if got := shown(o); len(got) != 2 || got["First"] != before["First"] || got["Last"] != before["Last"] {
		t.Errorf("got %v of %v", got, before)
	}
	if IsTrue(o, "Odd") || IsTrue(o, "Last") || !IsTrue(o, "First") {
		t.Errorf("got %v", shown(o))
	}
}

// TestIsSameOfTimesAndPointers: an API server returns times of another zone, and other pointers.
func TestIsSameOfTimesAndPointers(t *testing.T) {
	at := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	status := func(at time.Time, version int64) *v1alpha1.PnPDeviceStatus {
		seen := metav1.NewTime(at)
		return &v1alpha1.PnPDeviceStatus{ConnectionStateSeenTime: &seen, Twin: &v1alpha1.TwinReference{Version: version}}
	}
	for name, c := range map[string]struct {
		a, b any
		want bool
	}{
		"the same instant in another zone": {status(at, 1), status(at.In(time.FixedZone("there", 3600)), 1), true},
		"a second later":                   {status(at, 1), status(at.Add(time.Second), 1), false},
		"another version":                  {status(at, 1), status(at, 2), false},
		"a time and none":                  {status(at, 1), &v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{Version: 1}}, false},
		"an empty status and another one":  {&v1alpha1.PnPDeviceStatus{}, &v1alpha1.PnPDeviceStatus{}, true},
		"no conditions and an empty list":  {&v1alpha1.PnPDeviceStatus{}, &v1alpha1.PnPDeviceStatus{Conditions: []metav1.Condition{}}, true},
	} {
		if got := IsSame(c.a, c.b); got != c.want {
			t.Errorf("%s: %t", name, got)
		}
		if got := IsSame(c.b, c.a); got != c.want {
			t.Errorf("%s, the other way round: %t", name, got)
		}
	}
}
