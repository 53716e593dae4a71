package main

import (
	"context"
	"sync"
	"time"
)

// journal keeps what comes in, for who asks later. It is safe for concurrent use.
type journal[T any] struct {
	mu      sync.Mutex
	list    []T
	changed chan struct{} // closed, and replaced, with each entry
}

func newJournal[T any]() *journal[T] { return &journal[T]{changed: make(chan struct{})} }

func (j *journal[T]) add(one T) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.list = append(j.list, one)
	close(j.changed)
	j.changed = make(chan struct{})
}

// mark is where the next entry will be.
func (j *journal[T]) mark() int {
	j.mu.Lock()
	defer j.mu.Unlock()
	return len(j.list)
}

// since returns the entries from a mark on, and a channel that closes when there are more.
func (j *journal[T]) since(mark int) ([]T, <-chan struct{}) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.list[mark:len(j.list):len(j.list)], j.changed
}

// await returns the first entry from a mark on that fits; found is false if none came in time.
func (j *journal[T]) await(ctx context.Context, mark int, within time.Duration, fits func(T) bool) (one T, found bool, err error) {
	late := time.NewTimer(within)
	defer late.Stop()
	for {
		list, changed := j.since(mark)
		for _, one := range list {
			if fits(one) {
				return one, true, nil
			}
		}
		mark += len(list)
		select {
		case <-changed:
		case <-late.C:
			return one, false, nil
		case <-ctx.Done():
			return one, false, context.Cause(ctx)
		}
	}
}
