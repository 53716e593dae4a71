package ledger

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func TestARunStaysARunWhenTheRecordIsPutBack(t *testing.T) {
	now := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	key := Key{Name: "c", Spec: "s"}
	open := func(request string, at time.Duration) Entry {
		return Entry{Request: request, At: now.Add(at), Until: now.Add(time.Minute), NotAfter: now.Add(time.Hour)}
	}
	released := func(e Entry) Entry { e.Released = true; return e }
	ended := func(e Entry, as v1alpha1.CommandOutcome) Entry { e.Outcome = &Outcome{Outcome: as}; return e }
	first, second := open("r1", 0), open("r2", time.Second)
	over := first
	over.NotAfter, over.Until = now.Add(-time.Hour), now.Add(-time.Hour)
	none := Entry{}
	for name, c := range map[string]struct{ before, read, want Entry }{
		"to before the claim":                                  {first, none, first},
		"to before the outcome":                                {ended(first, v1alpha1.CommandSucceeded), first, ended(first, v1alpha1.CommandSucceeded)},
		"to before the outcome was known":                      {ended(first, v1alpha1.CommandFailed), ended(first, v1alpha1.CommandUnknown), ended(first, v1alpha1.CommandFailed)},
		"to before the release":                                {released(first), first, released(first)},
		"to the attempt before, which was released":            {ended(second, v1alpha1.CommandSucceeded), released(first), ended(second, v1alpha1.CommandSucceeded)},
		"to the attempt before, and this one is open":          {second, released(first), second},
		"to an open attempt, after which another was released": {released(second), first, first},
		"nothing was":             {first, first, first},
		"another process went on": {first, ended(second, v1alpha1.CommandSucceeded), ended(second, v1alpha1.CommandSucceeded)},
		"another process, whose clock is behind, went on": {released(second), first, first},
		"another process claimed again":                   {released(first), second, second},
		"another process recorded the outcome":            {first, ended(first, v1alpha1.CommandSucceeded), ended(first, v1alpha1.CommandSucceeded)},
		"nothing was before":                              {none, first, first},
		"what is over is forgotten":                       {over, none, none},
	} {
		t.Run(name, func(t *testing.T) {
			of := func(e Entry) Entries {
				if e.Request == "" {
					return Entries{}
				}
				return Entries{key: e}
			}
			got, read := of(c.read), of(c.read)
			missing := got.Recover(of(c.before), now)
			if diff := cmp.Diff(of(c.want), got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
			if missing != !cmp.Equal(read, got) {
				t.Errorf("something was missing: %t", missing)
			}
		})
	}
}
