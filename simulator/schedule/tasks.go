// Package schedule keeps what is to be done later in the order in which it is due.
package schedule

import (
	"container/heap"
	"time"
)

// Tasks are run by their owner, who guards them. The zero value has none.
type Tasks struct {
	waiting taskHeap
	added   int
}

// At adds a task that comes after all that are due no later.
func (t *Tasks) At(due time.Time, run func()) {
	t.added++
	heap.Push(&t.waiting, task{due, t.added, run})
}

// Next takes out a task that is due, or returns how long the first one waits; 0 means that there is
// none.
func (t *Tasks) Next() (run func(), wait time.Duration) {
	if len(t.waiting) == 0 {
		return nil, 0
	}
	if wait := time.Until(t.waiting[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&t.waiting).(task).run, 0
}

type task struct {
	due time.Time
	seq int
	run func()
}

// taskHeap orders tasks by time, then by arrival.
type taskHeap []task

func (h taskHeap) Len() int      { return len(h) }
func (h taskHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h *taskHeap) Push(x any)   { *h = append(*h, x.(task)) }

func (h taskHeap) Less(i, j int) bool {
	if h[i].due.Equal(h[j].due) {
		return h[i].seq < h[j].seq
	}
	return h[i].due.Before(h[j].due)
}

func (h *taskHeap) Pop() any {
	last := len(*h) - 1
	t := (*h)[last]
	(*h)[last] = task{}
	*h = (*h)[:last]
	return t
}
