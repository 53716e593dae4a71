package devices

import (
	"container/heap"
	"sync"
	"time"
)

// worker runs tasks when they are due, one at a time and in order. All tasks of a device go to the same worker.
type worker struct {
	mu    sync.Mutex
	tasks taskHeap
	seq   int
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

type task struct {
	due time.Time
	seq int
	run func()
}

func startWorker() *worker {
	w := &worker{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go w.loop()
	return w
}

func (w *worker) after(delay time.Duration, run func()) {
	w.mu.Lock()
	w.seq++
	heap.Push(&w.tasks, task{time.Now().Add(delay), w.seq, run})
	w.mu.Unlock()
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

func (w *worker) close() {
	close(w.stop)
	<-w.done
}

// loop holds a timer only while a task waits.
func (w *worker) loop() {
	defer close(w.done)
	for {
		run, wait := w.next()
		if run != nil {
			run()
			continue
		}
		if !w.sleep(wait) {
			return
		}
	}
}

// next returns a task that is due, or how long to wait for one; 0 means that there is none.
func (w *worker) next() (run func(), wait time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if len(w.tasks) == 0 {
		return nil, 0
	}
	if wait := time.Until(w.tasks[0].due); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&w.tasks).(task).run, 0
}

// sleep reports false when the worker is to stop.
func (w *worker) sleep(wait time.Duration) bool {
	var due <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-w.stop:
		return false
	case <-w.wake:
	case <-due:
	}
	return true
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
