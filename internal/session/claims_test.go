package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

func TestWhoReadsAConsumerGroup(t *testing.T) {
	one, two := types.NamespacedName{Namespace: "one", Name: "hub"}, types.NamespacedName{Namespace: "two", Name: "hub"}
	key := StreamKey{Namespace: "ns", EventHub: "h", ConsumerGroup: "g"}
	idle := func(ctx context.Context) { <-ctx.Done() }
	is := func(phase eventstream.Phase) func(*Registry, *Session) {
		return func(_ *Registry, holder *Session) {
			holder.stream.Store(&streamState{eventstream.State{Phase: phase}, time.Now()})
		}
	}
	both := func(acts ...func(*Registry, *Session)) func(*Registry, *Session) {
		return func(r *Registry, s *Session) {
			for _, act := range acts {
				act(r, s)
			}
		}
	}
	later := func(d time.Duration) func(*Registry, *Session) { return func(*Registry, *Session) { time.Sleep(d) } }
	for name, c := range map[string]struct {
		then    func(r *Registry, holder *Session)
		granted bool // to another one
	}{
		"it is read":                              {is(eventstream.Reading), false},
		"it is about to be read":                  {is(eventstream.Connecting), false},
		"its reader lags":                         {is(eventstream.Lagging), false},
		"someone from outside took it":            {is(eventstream.Taken), false},
		"its reader broke off just now":           {both(is(eventstream.Unavailable), later(IdleFor-time.Second)), false},
		"its reader broke off, and stays away":    {both(is(eventstream.Unavailable), later(IdleFor)), true},
		"its reader was refused":                  {is(eventstream.Unauthorized), true},
		"its reader's event hub is gone":          {is(eventstream.HubGone), true},
		"its reader's session has ended":          {func(r *Registry, _ *Session) { r.Drop(one) }, true},
		"its reader has another session":          {func(r *Registry, _ *Session) { r.Put(context.Background(), one, NewSession(&closed{}, "a", "2"), idle) }, true},
		"its reader reads another group now":      {func(r *Registry, s *Session) { r.ClaimStream(one, s, StreamKey{ConsumerGroup: "other"}) }, true},
		"it is read long after its first minutes": {both(is(eventstream.Reading), later(time.Hour)), false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var r Registry
				holder, other := NewSession(&closed{}, "a", ""), NewSession(&closed{}, "b", "")
				r.Put(t.Context(), one, holder, idle)
				r.Put(t.Context(), two, other, idle)
				is(eventstream.Connecting)(&r, holder)
				is(eventstream.Connecting)(&r, other)
				if !r.ClaimStream(one, holder, key) {
					t.Fatal("nobody had it")
				}
				c.then(&r, holder)
				if got := r.ClaimStream(two, other, key); got != c.granted {
					t.Errorf("granted to another one: %t, want %t", got, c.granted)
				}
				if got := r.ClaimStream(one, holder, key); got == c.granted {
					t.Errorf("granted to the first one again: %t", got)
				}
				r.Drop(one)
				r.Drop(two)
			})
		})
	}
}

func TestASessionThatHasEndedClaimsNothing(t *testing.T) {
	var r Registry
	if r.ClaimStream(types.NamespacedName{Name: "hub"}, NewSession(&closed{}, "h", ""), StreamKey{}) {
		t.Error("it keeps others from reading, and reads nothing")
	}
}
