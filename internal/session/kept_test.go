package session

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// closing is a hub whose client may be closed.
type closing struct {
	Hub

	is bool
}

func (c *closing) Close() { c.is = true }

func TestASessionThatIsKept(t *testing.T) {
	hub := types.NamespacedName{Namespace: "factory", Name: "hub"}
	idle := func(ctx context.Context) { <-ctx.Done() }
	const during = time.Minute
	tests := map[string]struct {
		then        func(r *Registry)
		after       time.Duration
		kept, ended bool
	}{
		"is there for clearing":                 {func(*Registry) {}, during - 1, true, false},
		"ends with its time":                    {func(*Registry) {}, during + 1, false, true},
		"is kept no longer for being kept anew": {func(r *Registry) { time.Sleep(during / 2); r.Keep(hub, during, func() {}) }, during, false, true},
		"ends when it is dropped":               {func(r *Registry) { r.Drop(hub) }, during + 1, false, false},
		"ends with another session": {func(r *Registry) {
			r.Put(context.Background(), hub, NewSession(&closed{}, "h", "2"), idle)
			r.Drop(hub)
		}, during + 1, false, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, client, ended := &Registry{}, &closing{}, false
				s := NewSession(client, "h", "1")
				r.Put(context.Background(), hub, s, idle)
				r.Keep(hub, during, func() { ended = true })
				<-s.done
				test.then(r)
				time.Sleep(test.after)
				synctest.Wait()
				if r.Get(hub) != nil {
					t.Error("it can still write values")
				}
				if got, until := r.ForClearing(hub); (got == s) != test.kept || test.kept == until.IsZero() {
					t.Errorf("for clearing: %v until %v, want it to be there: %v", got, until, test.kept)
				}
				if client.is == test.kept {
					t.Errorf("its client is closed: %v", client.is)
				}
				if ended != test.ended {
					t.Errorf("told of its end: %v, want %v", ended, test.ended)
				}
				r.Drop(hub)
			})
		})
	}
}

func TestASessionAfterOneThatIsKeptKnowsItsDevices(t *testing.T) {
	hub, idle := types.NamespacedName{Name: "hub"}, func(context.Context) {}
	r := &Registry{}
	first, second := NewSession(&closed{}, "h", "1"), NewSession(&closed{}, "h", "2")
	r.Put(context.Background(), hub, first, idle)
	r.Keep(hub, time.Hour, func() {})
	first.Device("d").Doubt()
	r.Put(context.Background(), hub, second, idle)
	if !second.Device("d").Doubtful() {
		t.Error("what was known of the device is lost")
	}
	if s, until := r.ForClearing(hub); s != second || !until.IsZero() {
		t.Errorf("for clearing: %v until %v", s, until)
	}
	r.Drop(hub)
}
