package harness

import (
	"errors"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func TestAFailureSaysWhatWasExpectedAndWhatCame(t *testing.T) {
	var out strings.Builder
	d := NewTestbed(Clone{}, t.TempDir(), NewReport("demo", &out))
	if err := d.Check("one thing", "1", "1", true); err != nil {
		t.Error(err)
	}
	d.Out.Fail(d.Check("another thing", "1 PATCH", "2 PATCH", false), "the log")
	if err := d.Out.Finish(); !errors.Is(err, ErrShown) {
		t.Errorf("finish returns %v", err)
	}
	if absent := Lacking(out.String(), "ok: one thing: 1\n", "FAILED: another thing\n", "expected: 1 PATCH", "got:      2 PATCH", "the log",
		"demo: 1 steps passed, 1 failed in 0 s\n"); len(absent) > 0 {
		t.Errorf("no %q in:\n%s", absent, out.String())
	}
}

func TestOnlyTheSweepsQueriesAreTheSweeps(t *testing.T) {
	for name, test := range map[string]struct {
		call simulator.Call
		want bool
	}{
		"the sweep":       {simulator.Call{Operation: simulator.OpQuery, Body: `{"query":"SELECT etag FROM devices WHERE deviceId IN ['a']"}`}, true},
		"the first probe": {simulator.Call{Operation: simulator.OpQuery, Body: `{"query":"SELECT deviceId FROM devices"}`}, false},
		"a read":          {simulator.Call{Operation: simulator.OpGetTwin}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := isSweep(test.call); got != test.want {
				t.Errorf("got %v", got)
			}
		})
	}
}
