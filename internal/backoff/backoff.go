// Package backoff keeps the objects that fail, each with the hub at which it does, and says when
// each is tried again: by time, or because another object succeeds there.
package backoff

import (
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// wakeBurst is how many of those that fail at a hub one success wakes. Each that succeeds wakes as
// many: ten thousand are awake within a few round trips of a hub that is well, and none is of one
// that goes on to fail.
const wakeBurst = 8

// Failures are the objects that fail, by name. They are the back-off of all controllers: the next
// try comes after as long again as an object has failed, see waits.Row. An event that wakes it
// meanwhile has it tried, and does not make its wait longer. The zero value is ready to use.
type Failures struct {
	mu      sync.Mutex
	objects map[string]*Failure
	// at are those that fail at a hub.
	at map[Trouble]map[string]*Failure
}

// Trouble is where objects fail: in one class of requests to one destination, see
// iothub.Destination.
type Trouble struct {
	Destination string
	Class       budget.Class
	// row of those that fail there alike: devices that a hub does not know say nothing of the hub.
	row *waits.Row
}

// isNowhere is true of what has failed at no hub.
func (t Trouble) isNowhere() bool { return t.Destination == "" }

// Cause is why an object fails.
type Cause struct {
	Row *waits.Row
	// Object that fails: one of the same name that another took the place of failed for itself.
	Object types.UID
	// At is the hub that fails, zero if it is none.
	At Trouble
	// About is what begins the back-off anew once it is another: what a person asked for, for
	// example.
	About string
	// Wake has the object tried again, nil: no success of others does.
	Wake func()
}

// Failure is an object that fails, and since when.
type Failure struct {
	Cause

	Since time.Time // of the first failed try
	anew  time.Time // that the back-off counts from
	tried time.Time // the last failed try
	until time.Time // of the next one
	woken time.Time // by a success of others, zero: never
	noted bool      // the last failure is in here already, see backoff.When
}

// Fails notes that a try of an object failed, and returns how long the next one waits.
func (f *Failures) Fails(object string, why Cause, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.objects[object]
	if one != nil && one.Object != why.Object {
		f.leave(object, one)
		one = nil
	}
	if one == nil {
		one = &Failure{Cause: why, Since: now, anew: now}
		lazymap.Put(&f.objects, object, one)
	}
	if one.About != why.About {
		one.anew, one.woken = now, time.Time{}
	}
	f.leave(object, one)
	why.At.row = why.Row
	one.Cause, one.tried, one.noted = why, now, true
	f.join(object, one)
	wait := f.wait(one, now)
	one.until = now.Add(wait)
	return wait
}

func (f *Failures) wait(one *Failure, now time.Time) time.Duration {
	return one.Row.Among(len(f.at[one.At]), now.Sub(one.anew))
}

func (f *Failures) join(object string, one *Failure) {
	if one.At.isNowhere() {
		return
	}
	if f.at[one.At] == nil {
		lazymap.Put(&f.at, one.At, map[string]*Failure{})
	}
	f.at[one.At][object] = one
}

func (f *Failures) leave(object string, one *Failure) {
	delete(f.at[one.At], object)
	if len(f.at[one.At]) == 0 {
		delete(f.at, one.At)
	}
}

// Over forgets that an object failed.
func (f *Failures) Over(object string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.objects[object]; one != nil {
		f.leave(object, one)
		delete(f.objects, object)
	}
}

// Of is what is known of an object that fails, false if it does not.
func (f *Failures) Of(object string) (one Failure, fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.objects[object]
	if known == nil {
		return Failure{}, false
	}
	return *known, true
}

// Left is how long an object waits for its next try, 0 if it is due: also where it is about
// something else than the last one.
func (f *Failures) Left(object, about string, now time.Time) time.Duration {
	one, fails := f.Of(object)
	if !fails || one.About != about {
		return 0
	}
	return min(max(0, one.until.Sub(now)), one.until.Sub(one.tried)) // whatever became of the clock
}

// Hold is how long an event of a device keeps from having an object tried that fails at a hub: once
// in a while is enough, and where the hub is what fails, a few of many tell whether it is well.
func (f *Failures) Hold(object string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.objects[object]
	if one == nil || one.At.isNowhere() || now.Before(one.tried) {
		return 0
	}
	held := waits.Event.Most
	if one.Row.Shared {
		held = waits.Event.Among(len(f.at[one.At]), 0)
	}
	return max(0, one.tried.Add(held).Sub(now))
}

// Taken notes that one of the hub's requests was made for an object, or for nobody who fails, and
// succeeded: those that fail there are to be tried. It returns what wakes them. One that failed
// there itself shows more than others do, of which each is woken once in as long as its back-off
// lasts.
func (f *Failures) Taken(where Trouble, object string, now time.Time) (wakes []func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var recovered *waits.Row
	if one := f.objects[object]; one != nil && one.At.Destination == where.Destination && one.At.Class == where.Class {
		recovered = one.Row
		f.leave(object, one)
		one.At = Trouble{}
	}
	for _, row := range endedByOthers() {
		if !row.Shared && row != recovered {
			continue
		}
		where.row = row
		for _, one := range f.at[where] {
			if len(wakes) == wakeBurst {
				return wakes
			}
			if one.Wake != nil && !one.woken.After(one.tried) && (recovered == row || f.mayWake(one, now)) {
				one.woken = now
				wakes = append(wakes, one.Wake)
			}
		}
	}
	return wakes
}

// endedByOthers are the rows of what a success of another object can end.
var endedByOthers = sync.OnceValue(func() (rows []*waits.Row) {
	for _, row := range waits.Register {
		if row.Shared || row.Alike {
			rows = append(rows, row)
		}
	}
	return rows
})

// mayWake reports whether an object was not woken lately.
func (f *Failures) mayWake(one *Failure, now time.Time) bool {
	rests := now.Sub(one.woken)
	return one.woken.IsZero() || rests < 0 || rests >= f.wait(one, now)
}

// Limiter has one controller's objects tried again as failures say.
type Limiter struct {
	*Failures

	row *waits.Row
	// kind tells the names of these objects from those of others.
	kind string
}

var _ workqueue.TypedRateLimiter[reconcile.Request] = Limiter{}

// New returns the back-off of a controller, by a row of the register of waits.
func New(row *waits.Row) Limiter { return Limiter{&Failures{}, row, ""} }

func (b Limiter) nameOf(item reconcile.Request) string { return item.String() + b.kind }

// When returns the delay of the next try of an item that failed. A failure that was not noted is of
// the row of the back-off.
func (b Limiter) When(item reconcile.Request) time.Duration {
	now, name := time.Now(), b.nameOf(item)
	wait, noted := b.take(name, now)
	if !noted {
		before, _ := b.Of(name)
		b.Fails(name, Cause{Row: b.row, Object: before.Object, About: before.About}, now)
		wait, _ = b.take(name, now)
	}
	return session.Jittered(wait)
}

// take returns how long an object waits whose last failure was noted, once.
func (f *Failures) take(object string, now time.Time) (wait time.Duration, noted bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.objects[object]
	if one == nil || !one.noted {
		return 0, false
	}
	one.noted = false
	return max(0, one.until.Sub(now)), true
}

// Forget ends the failures of an item.
func (b Limiter) Forget(item reconcile.Request) { b.Over(b.nameOf(item)) }

// NumRequeues is for metrics of others: tries are not counted.
func (Limiter) NumRequeues(reconcile.Request) int { return 0 }

// Lasting is a backoff that outlasts passes which end in the middle, to be called later: a
// controller forgets the failures of an item after any pass that did not fail.
type Lasting struct{ Limiter }

// NewLasting returns the back-off of a controller whose failures are among others. The name of a
// kind tells its objects from those of others.
func NewLasting(among *Failures, row *waits.Row, kind string) *Lasting {
	return &Lasting{Limiter{among, row, kind}}
}

// Forget keeps the failures.
func (*Lasting) Forget(reconcile.Request) {}

// Ended forgets the failures of an item whose pass came to its end.
func (l *Lasting) Ended(item reconcile.Request) {
	if l != nil {
		l.Over(l.nameOf(item))
	}
}

// About is what begins a back-off anew: an edit, or a person who asks for a try.
func About(o client.Object) string {
	return fmt.Sprintf("%d %s", o.GetGeneration(), o.GetAnnotations()[v1alpha1.AnnotationReconcileRequestedAt])
}
