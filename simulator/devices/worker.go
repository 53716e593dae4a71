package devices

import (
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/schedule"
)

// worker runs tasks when they are due, one at a time and in order. All tasks of a device go to the same worker.
type worker struct {
	mu    sync.Mutex
	tasks schedule.Tasks
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}
}

func startWorker() *worker {
	w := &worker{wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{})}
	go w.loop()
	return w
}

func (w *worker) after(delay time.Duration, run func()) {
	w.mu.Lock()
	w.tasks.At(time.Now().Add(delay), run)
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
	return w.tasks.Next()
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
