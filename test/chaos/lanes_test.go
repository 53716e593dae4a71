package chaos

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// attempt is a task that is being tried, and why it did not succeed so far.
type attempt struct {
	mu    sync.Mutex
	what  string
	since time.Time
	last  error
}

type attemptKey struct{}

// noteTry keeps why the task that a context is for did not succeed.
func noteTry(ctx context.Context, err error) {
	if a, ok := ctx.Value(attemptKey{}).(*attempt); ok {
		a.mu.Lock()
		defer a.mu.Unlock()
		a.last = err
	}
}

func (a *attempt) String() string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return fmt.Sprintf("%s, for %s: %v", a.what, rounded(time.Since(a.since)), a.last)
}

// lanes do what users do to Kubernetes objects: in order for each object, and without holding up what else happens, whatever an object waits for.
type lanes struct {
	ctx    context.Context
	failed context.CancelCauseFunc

	mu      sync.Mutex
	queues  map[string][]task
	trying  map[string]*attempt
	pending int
}

type task struct {
	what string
	do   func(context.Context) error
}

func newLanes(ctx context.Context, failed context.CancelCauseFunc) *lanes {
	return &lanes{ctx: ctx, failed: failed, queues: map[string][]task{}, trying: map[string]*attempt{}}
}

// add has a task done after those of the same object.
func (l *lanes) add(object, what string, do func(context.Context) error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.pending++
	queue, runs := l.queues[object]
	l.queues[object] = append(queue, task{what, do})
	if !runs {
		go l.run(object)
	}
}

func (l *lanes) run(object string) {
	for {
		next, ok := l.next(object)
		if !ok {
			return
		}
		now := &attempt{what: next.what + " " + object, since: time.Now()}
		l.mu.Lock()
		l.trying[object] = now
		l.mu.Unlock()
		if err := next.do(context.WithValue(l.ctx, attemptKey{}, now)); err != nil {
			l.failed(fmt.Errorf("%s: %w", now.what, err))
		}
		l.mu.Lock()
		delete(l.trying, object)
		l.pending--
		l.mu.Unlock()
	}
}

func (l *lanes) next(object string) (task, bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	queue := l.queues[object]
	if len(queue) == 0 {
		delete(l.queues, object)
		return task{}, false
	}
	l.queues[object] = queue[1:]
	return queue[0], true
}

// length is how many tasks of an object have not begun.
func (l *lanes) length(object string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.queues[object])
}

// left says how many tasks there are, and what those are at that are being tried.
func (l *lanes) left() (int, []string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var tries []string
	for _, object := range slices.Sorted(maps.Keys(l.trying)) {
		tries = append(tries, l.trying[object].String())
	}
	return l.pending, tries
}

// drain waits until all tasks are done. meanwhile is called again and again.
func (l *lanes) drain(ctx context.Context, meanwhile func(context.Context, []string) error) error {
	late := func() error {
		count, tries := l.left()
		return harness.Missed("edits of users that are still under way once everything works again", "none within "+quietWithin.String(), fmt.Sprintf("%d: %s", count, listedLines(tries)))
	}
	return harness.PollEvery(ctx, 500*time.Millisecond, quietWithin, late, func(ctx context.Context) (bool, error) {
		count, tries := l.left()
		if count == 0 {
			return true, nil
		}
		return false, meanwhile(ctx, tries)
	})
}
