package main

import (
	"errors"
	"io"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func TestAFailureSaysWhatWasExpectedAndWhatCame(t *testing.T) {
	var out strings.Builder
	d := newDemo(clone{}, t.TempDir(), newReport("demo", &out))
	if err := d.check("one thing", "1", "1", true); err != nil {
		t.Error(err)
	}
	d.out.fail(d.check("another thing", "1 PATCH", "2 PATCH", false), "the log")
	if err := d.out.finish(); !errors.Is(err, errShown) {
		t.Errorf("finish returns %v", err)
	}
	if absent := missing(out.String(), "ok: one thing: 1\n", "FAILED: another thing\n", "expected: 1 PATCH", "got:      2 PATCH", "the log",
		"demo: 1 steps passed, 1 failed in 0 s\n"); len(absent) > 0 {
		t.Errorf("no %q in:\n%s", absent, out.String())
	}
}

func TestATableThatOnlyAgedIsNotNews(t *testing.T) {
	before := "NAME   ACKED   STATUS            AGE\na      1/1     all is well       9s\n"
	aged := "NAME   ACKED   STATUS            AGE\na      1/1     all is well       10s\n"
	changed := "NAME   ACKED   STATUS            AGE\na      0/1     all is well       10s\n"
	if withoutAges(before) != withoutAges(aged) {
		t.Errorf("%q is news after %q", aged, before)
	}
	if withoutAges(aged) == withoutAges(changed) {
		t.Errorf("%q is no news after %q", changed, aged)
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

func TestAnUnusableCommandLineIsAnswered(t *testing.T) {
	for name, args := range map[string][]string{"no command": nil, "an unknown one": {"sideways"}, "two": {"up", "down"}} {
		t.Run(name, func(t *testing.T) {
			var stderr strings.Builder
			if err := execute(t.Context(), args, io.Discard, &stderr); !errors.Is(err, errUsage) || !strings.Contains(stderr.String(), "usage: demo") {
				t.Errorf("error is %v, printed %q", err, stderr.String())
			}
		})
	}
}
