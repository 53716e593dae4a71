package command

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// afterStart is an operator that has just started, a command for a device that has to be looked at
// first, and one pass over it.
func afterStart(t *testing.T, answer func() (*twin.Twin, error)) (f *factory, p *process, look func() error) {
	t.Helper()
	f = newFactory(t, func(*v1alpha1.DeviceCommandSpec) {})
	f.answer, f.twin = okAnswer, answer
	f.place(situation{device: model(modelA, modelA)}, metav1.Condition{})
	p = f.start(crash{never, false})
	look = func() error {
		_, err := p.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "factory", Name: "c"}})
		return err
	}
	return f, p, look
}

func TestNoWorkerWaitsForASlowHub(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, p, look := afterStart(t, func() (*twin.Twin, error) {
			time.Sleep(75 * time.Second)
			return &twin.Twin{ModelID: modelA}, nil
		})
		defer p.stop()
		began := time.Now()
		if err := look(); err != nil || time.Since(began) > 0 {
			t.Errorf("a pass took %s: %v", time.Since(began), err)
		}
		p.run(74 * time.Second)
		if f.deliveries() > 0 {
			t.Error("sent to a device of which nobody knows what it is")
		}
		p.run(3 * time.Second)
		if c := f.stored(); f.deliveries() != 1 || f.reads != 1 || c.Status.Outcome != v1alpha1.CommandSucceeded {
			t.Errorf("%d deliveries after %d reads, outcome %q", f.deliveries(), f.reads, c.Status.Outcome)
		}
	})
}

// A twin that is read beside a pass is as good as one that the pass itself reads.
func TestAModelIsLookedAtAnewAfterADoubt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		there := modelA
		f, p, look := afterStart(t, func() (*twin.Twin, error) { return &twin.Twin{ModelID: there}, nil })
		defer p.stop()
		if err := look(); err != nil {
			t.Fatal(err)
		}
		<-p.r.Flights.wakes // it was read
		there = modelB
		p.r.Hubs.Get(client.ObjectKey{Namespace: "factory", Name: "hub"}).Device("d").Doubt()
		p.run(10 * time.Second)
		if c := f.stored(); f.deliveries() > 0 || f.reads != 2 || conditions.ReadyOf(c).Reason != v1alpha1.ReasonModelMismatch {
			t.Errorf("%d deliveries after %d reads, %s", f.deliveries(), f.reads, conditions.ReadyOf(c).Reason)
		}
	})
}

func TestAModelThatWasLookedAtLongAgoIsLookedAtAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f, p, look := afterStart(t, func() (*twin.Twin, error) { return &twin.Twin{ModelID: modelA}, nil })
		defer p.stop()
		if err := look(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(lookHolds + time.Second)
		p.run(10 * time.Second)
		if f.deliveries() != 1 || f.reads != 2 {
			t.Errorf("%d deliveries after %d reads", f.deliveries(), f.reads)
		}
	})
}

// A pass that ends while the device is being looked at does not forget that looks fail.
func TestLooksThatFailAreFurtherAndFurtherApart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		_, p, look := afterStart(t, func() (*twin.Twin, error) { return nil, errors.New("503") })
		defer p.stop()
		p.r.retries = backoff.NewLasting(&backoff.Failures{}, waits.APIServer, "")
		request := ctrl.Request{NamespacedName: client.ObjectKey{Namespace: "factory", Name: "c"}}
		var last time.Duration
		for range 5 {
			if err := look(); err != nil {
				t.Fatal(err)
			}
			p.r.retries.Forget(request) // as the controller does
			synctest.Wait()
			if err := look(); err == nil {
				t.Error("the look failed")
			}
			next := p.r.retries.When(request)
			if next <= last*3/2 {
				t.Errorf("a look is tried again in %v, after %v", next, last)
			}
			last = next
			time.Sleep(next * 2)
		}
	})
}

// slowHub answers when it is told to.
type slowHub struct {
	session.Hub

	asked  chan string
	answer chan struct{}
}

func (h slowHub) GetTwin(ctx context.Context, deviceID string) (*twin.Twin, error) {
	if ctx.Err() != nil {
		return nil, ctx.Err()
	}
	h.asked <- deviceID
	select {
	case <-h.answer:
		return &twin.Twin{}, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func TestLooksAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		defer stop()
		woken := 0
		l := newLooks(ctx, func(types.NamespacedName) { woken++ })
		slow := slowHub{asked: make(chan string, 100), answer: make(chan struct{})}
		begin := func(host string, n int) (all []*look) {
			at := session.NewSession(slow, host, "")
			for i := range n {
				one := newLook(types.NamespacedName{Namespace: host, Name: fmt.Sprint(i)}, at, "d")
				l.Begin(one)
				all = append(all, one)
			}
			synctest.Wait()
			return all
		}
		all := begin("a", 100)
		if n := len(slow.asked); n != maxLooks/2 {
			t.Errorf("%d calls of one hub at a time", n)
		}
		if begin("b", 1); len(slow.asked) != maxLooks/2+1 {
			t.Error("another hub has to wait for the slow one")
		}
		time.Sleep(time.Hour)
		last := all[99]
		if h := lookingSince(l.Lined(last, time.Now())); h.KeepStatus || h.Reason != v1alpha1.ReasonHubSlow {
			t.Errorf("nobody is told that the hub is slow: %+v", h)
		}
		if h := lookingSince(l.Lined(all[0], time.Now())); !h.KeepStatus {
			t.Errorf("it waits for no other: %+v", h)
		}
		for _, one := range slices.Backward(all[1:]) {
			l.Forget(one.Object)
		}
		synctest.Wait()
		if len(slow.asked) != maxLooks/2+1 {
			t.Error("what nobody wants to know any more was asked")
		}
		close(slow.answer)
		synctest.Wait()
		if of, _ := l.take(all[0].Object, all[0].session, "d"); of == nil || of.err != nil || woken != 2 {
			t.Errorf("%+v, %d wakes", of, woken)
		}
		if before := len(slow.asked); len(begin("a", maxLooks/2)) != len(slow.asked)-before {
			t.Error("not all places are free")
		}
	})
}
