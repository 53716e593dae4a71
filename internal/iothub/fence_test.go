package iothub

import (
	"errors"
	"slices"
	"testing"
)

func TestAFenceKeepsBackWhatActsAndNothingElse(t *testing.T) {
	paused := errors.New("paused")
	for op, call := range calls {
		for name, passes := range map[string]int{"before it is sent": 0, "once it has its connection": 1} {
			t.Run(op.String()+" "+name, func(t *testing.T) {
				p, g := newPeer(t, goodAnswers[op], goodAnswers[op]), &turnstile{}
				asked, closed := 0, false
				fence := func() error {
					if asked++; closed && asked > passes {
						return paused
					}
					return nil
				}
				c := p.client(t, gated(g), func(o *Options) { o.Fence = fence })
				if err := call(t.Context(), c); err != nil || (asked > 0) != op.acts {
					t.Errorf("asked %d times, and the call failed with %v", asked, err)
				}
				asked, closed = 0, true
				err := call(t.Context(), c)
				if !op.acts {
					if err != nil {
						t.Errorf("a call that changes nothing failed with %v", err)
					}
					return
				}
				failure, ok := errors.AsType[*Error](err)
				if !ok || !errors.Is(err, paused) || failure.Sent {
					t.Errorf("got %v, which says that it was not sent: %t", err, ok && !failure.Sent)
				}
				whole := slices.DeleteFunc(p.log(), func(r received) bool { return len(r.body) == 0 })
				if len(whole) != 1 {
					t.Errorf("the hub has seen %d bodies, want that of the first request", len(whole))
				}
				if len(g.entered) != 1+passes || len(g.left) != len(g.entered) {
					t.Errorf("it entered the gate %d times, and left it %d times", len(g.entered), len(g.left))
				}
			})
		}
	}
}
