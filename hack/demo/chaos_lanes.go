package main

import (
	"context"
	"fmt"
	"sync"
	"time"
)

// lanes do what users do to Kubernetes objects: in order for each object, and without holding up what else happens, whatever an object waits for.
type lanes struct {
	ctx    context.Context
	failed context.CancelCauseFunc

	mu      sync.Mutex
	queues  map[string][]task
	pending int
}

type task struct {
	what string
	do   func(context.Context) error
}

func newLanes(ctx context.Context, failed context.CancelCauseFunc) *lanes {
	return &lanes{ctx: ctx, failed: failed, queues: map[string][]task{}}
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
		if err := next.do(l.ctx); err != nil {
			l.failed(fmt.Errorf("%s %s: %w", next.what, object, err))
		}
		l.mu.Lock()
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

func (l *lanes) left() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.pending
}

// drain waits until all tasks are done. meanwhile is called again and again, unless it is nil.
func (l *lanes) drain(ctx context.Context, meanwhile func(context.Context) error) error {
	const within = 5 * time.Minute
	late := func() error {
		return miss{"edits of users that are still under way", "none within " + within.String(), fmt.Sprint(l.left())}
	}
	return pollEvery(ctx, 500*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		if meanwhile != nil {
			if err := meanwhile(ctx); err != nil {
				return false, err
			}
		}
		return l.left() == 0, nil
	})
}
