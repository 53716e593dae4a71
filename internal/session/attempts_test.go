package session

import (
	"encoding/json"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestAnAttemptIsKeptUntilItIsSettled(t *testing.T) {
	gone := twin.Leaf{Name: "gone"}
	one, two := json.Number("1"), json.Number("2")
	d := &Device{}
	first := d.sending([]twin.Change{{Leaf: target, Value: one}, {Leaf: gone}}, &twin.Twin{DesiredVersion: 4})
	d.sending([]twin.Change{{Leaf: target, Value: two}}, &twin.Twin{DesiredVersion: 4})
	d.settleTaken(first)
	want := twin.Attempts{target: {{Value: one, Version: 5, Taken: true}, {Value: two, Version: 5}}, gone: {{Version: 5, Taken: true}}}
	if diff := cmp.Diff(want, d.Attempts()); diff != "" {
		t.Errorf("Attempts() (-want +got):\n%s", diff)
	}
	d.persisted(&twin.Twin{DesiredVersion: 5})
	if diff := cmp.Diff(want, d.Attempts()); diff != "" {
		t.Errorf("a status does not settle them (-want +got):\n%s", diff)
	}
	d.settleAttempts()
	if got := d.Attempts(); len(got) > 0 {
		t.Errorf("kept after they were settled: %v", got)
	}
}

func TestWhatIsTheObjectsIsKeptUntilStatusHasIt(t *testing.T) {
	d := &Device{}
	owned := &twin.Saved{Ownership: twin.Ownership{Held: map[twin.Leaf]twin.Owned{target: {Value: "on", Version: 3}}}}
	d.save(owned)
	if d.Unsaved() != owned {
		t.Error("it is not kept")
	}
	if d.persisted(&twin.Twin{}); d.Unsaved() != nil {
		t.Error("it is kept although status has it")
	}
}

func TestAnAttemptThatWasNotMadeIsForgottenAndItsRecordWithheld(t *testing.T) {
	sent := twin.Sent{Value: json.Number("1"), Version: 5}
	d := &Device{}
	d.withhold(map[twin.Leaf]twin.Sent{target: sent})
	if !d.IsWithheld(target, sent) || d.IsWithheld(target, twin.Sent{Value: sent.Value, Version: 6}) || d.IsWithheld(twin.Leaf{Name: "other"}, sent) {
		t.Error("what is recorded and not sent is not told from the rest")
	}
	attempt := d.sending([]twin.Change{{Leaf: target, Value: sent.Value}}, &twin.Twin{DesiredVersion: 4})
	if d.IsWithheld(target, sent) {
		t.Error("what is on its way counts as not sent")
	}
	d.notMade(attempt)
	if !d.IsWithheld(target, sent) || len(d.Attempts()) > 0 {
		t.Errorf("an attempt that was not made counts: %v", d.Attempts())
	}
	d.withhold(nil)
	if d.IsWithheld(target, sent) {
		t.Error("status records it no longer")
	}
}

func TestWhatOneObjectSentIsNotAnotherOnes(t *testing.T) {
	d := &Device{}
	d.belongs("a")
	d.sending([]twin.Change{{Leaf: target, Value: json.Number("1")}}, &twin.Twin{DesiredVersion: 4})
	d.save(&twin.Saved{})
	d.withhold(map[twin.Leaf]twin.Sent{target: {Value: "on", Version: 3}})
	if d.belongs("a"); len(d.Attempts()) != 1 || d.Unsaved() == nil {
		t.Error("the object's own is forgotten")
	}
	if d.belongs("b"); len(d.Attempts()) > 0 || d.Unsaved() != nil || d.IsWithheld(target, twin.Sent{Value: "on", Version: 3}) {
		t.Error("another object has it")
	}
}

func TestAttemptsAreNoProofForAnotherDevice(t *testing.T) {
	d := &Device{}
	d.sending([]twin.Change{{Leaf: target, Value: json.Number("1")}}, &twin.Twin{DesiredVersion: 4})
	d.ForgetAttempts(&twin.Twin{})
	if got := d.Attempts(); len(got) > 0 {
		t.Errorf("kept: %v", got)
	}
}
