package controllers

import (
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// wakeBurst is how many of those that fail at a hub one success wakes. Each that succeeds wakes as
// many: ten thousand are awake within a few round trips of a hub that is well, and none is of one
// that goes on to fail.
const wakeBurst = 8

// failingObjects are the objects that fail, by name. They are the back-off of all controllers: the next try
// comes after as long again as an object has failed, see waitRow. An event that wakes it
// meanwhile has it tried, and does not make its wait longer. The zero value is ready to use.
type failingObjects struct {
	mu      sync.Mutex
	objects map[string]*failure
	// at are those that fail at a hub.
	at map[trouble]map[string]*failure
}

// trouble is where objects fail: in one class of requests to one destination, see iothub.Destination.
type trouble struct {
	destination string
	class       budget.Class
	// row of those that fail there alike: devices that a hub does not know say nothing of the hub.
	row *waits.Row
}

// isNowhere is true of what has failed at no hub.
func (t trouble) isNowhere() bool { return t.destination == "" }

// cause is why an object fails.
type cause struct {
	row *waits.Row
	// object that fails: one of the same name that another took the place of failed for itself.
	object types.UID
	// at is the hub that fails, zero if it is none.
	at trouble
	// about is what begins the back-off anew once it is another: what a person asked for, for example.
	about string
	// wake has the object tried again, nil: no success of others does.
	wake func()
}

type failure struct {
	cause

	since time.Time // of the first failed try
	anew  time.Time // that the back-off counts from
	tried time.Time // the last failed try
	until time.Time // of the next one
	woken time.Time // by a success of others, zero: never
	noted bool      // the last failure is in here already, see backoff.When
}

// fails notes that a try of an object failed, and returns how long the next one waits.
func (f *failingObjects) fails(object string, why cause, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.objects[object]
	if one != nil && one.object != why.object {
		f.leave(object, one)
		one = nil
	}
	if one == nil {
		one = &failure{cause: why, since: now, anew: now}
		lazymap.Put(&f.objects, object, one)
	}
	if one.about != why.about {
		one.anew, one.woken = now, time.Time{}
	}
	f.leave(object, one)
	why.at.row = why.row
	one.cause, one.tried, one.noted = why, now, true
	f.join(object, one)
	wait := f.wait(one, now)
	one.until = now.Add(wait)
	return wait
}

func (f *failingObjects) wait(one *failure, now time.Time) time.Duration {
	return one.row.Among(len(f.at[one.at]), now.Sub(one.anew))
}

func (f *failingObjects) join(object string, one *failure) {
	if one.at.isNowhere() {
		return
	}
	if f.at[one.at] == nil {
		lazymap.Put(&f.at, one.at, map[string]*failure{})
	}
	f.at[one.at][object] = one
}

func (f *failingObjects) leave(object string, one *failure) {
	delete(f.at[one.at], object)
	if len(f.at[one.at]) == 0 {
		delete(f.at, one.at)
	}
}

// over forgets that an object failed.
func (f *failingObjects) over(object string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if one := f.objects[object]; one != nil {
		f.leave(object, one)
		delete(f.objects, object)
	}
}

// of is what is known of an object that fails, false if it does not.
func (f *failingObjects) of(object string) (one failure, fails bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	known := f.objects[object]
	if known == nil {
		return failure{}, false
	}
	return *known, true
}

// left is how long an object waits for its next try, 0 if it is due: also where it is about something
// else than the last one.
func (f *failingObjects) left(object, about string, now time.Time) time.Duration {
	one, fails := f.of(object)
	if !fails || one.about != about {
		return 0
	}
	return min(max(0, one.until.Sub(now)), one.until.Sub(one.tried)) // whatever became of the clock
}

// hold is how long an event of a device keeps from having an object tried that fails at a hub: once in a
// while is enough, and where the hub is what fails, a few of many tell whether it is well.
func (f *failingObjects) hold(object string, now time.Time) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	one := f.objects[object]
	if one == nil || one.at.isNowhere() || now.Before(one.tried) {
		return 0
	}
	held := waits.Event.Most
	if one.row.Shared {
		held = waits.Event.Among(len(f.at[one.at]), 0)
	}
	return max(0, one.tried.Add(held).Sub(now))
}

// taken notes that one of the hub's requests was made for an object, or for nobody who fails, and
// succeeded: those that fail there are to be tried. It returns what wakes them. One that failed there
// itself shows more than others do, of which each is woken once in as long as its back-off lasts.
func (f *failingObjects) taken(where trouble, object string, now time.Time) (wakes []func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	var recovered *waits.Row
	if one := f.objects[object]; one != nil && one.at.destination == where.destination && one.at.class == where.class {
		recovered = one.row
		f.leave(object, one)
		one.at = trouble{}
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
			if one.wake != nil && !one.woken.After(one.tried) && (recovered == row || f.mayWake(one, now)) {
				one.woken = now
				wakes = append(wakes, one.wake)
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
func (f *failingObjects) mayWake(one *failure, now time.Time) bool {
	rests := now.Sub(one.woken)
	return one.woken.IsZero() || rests < 0 || rests >= f.wait(one, now)
}

// backoff has one controller's objects tried again as failures say.
type backoff struct {
	*failingObjects

	row *waits.Row
	// kind tells the names of these objects from those of others.
	kind string
}

var _ workqueue.TypedRateLimiter[reconcile.Request] = backoff{}

func newBackoff(row *waits.Row) backoff { return backoff{&failingObjects{}, row, ""} }

func (b backoff) nameOf(item reconcile.Request) string { return item.String() + b.kind }

// When returns the delay of the next try of an item that failed. A failure that was not noted is of the
// row of the back-off.
func (b backoff) When(item reconcile.Request) time.Duration {
	now, name := time.Now(), b.nameOf(item)
	wait, noted := b.take(name, now)
	if !noted {
		before, _ := b.of(name)
		b.fails(name, cause{row: b.row, object: before.object, about: before.about}, now)
		wait, _ = b.take(name, now)
	}
	return session.Jittered(wait)
}

// take returns how long an object waits whose last failure was noted, once.
func (f *failingObjects) take(object string, now time.Time) (wait time.Duration, noted bool) {
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
func (b backoff) Forget(item reconcile.Request) { b.over(b.nameOf(item)) }

// NumRequeues is for metrics of others: tries are not counted.
func (backoff) NumRequeues(reconcile.Request) int { return 0 }

// lasting is a backoff that outlasts passes which end in the middle, to be called later: a controller
// forgets the failures of an item after any pass that did not fail.
type lasting struct{ backoff }

func newLasting(row *waits.Row) *lasting { return &lasting{newBackoff(row)} }

// Forget keeps the failures.
func (*lasting) Forget(reconcile.Request) {}

// ended forgets the failures of an item whose pass came to its end.
func (l *lasting) ended(item reconcile.Request) {
	if l != nil {
		l.over(l.nameOf(item))
	}
}
