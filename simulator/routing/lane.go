package routing

import (
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/schedule"
)

// entry is one thing that a lane has to deal with, in order: a change, a ready message or a request to flush.
type entry struct {
	change    hub.Change
	routes    Routes
	telemetry *event
	flushed   chan struct{}
	rules     int // how many faults had been added by then: later ones do not hit it
}

// lane makes and delivers the events of some devices, one after the other. Its queue has no end: what fills it runs inside
// commits of the hub and must not wait.
type lane struct {
	router *Router
	wake   chan struct{}
	done   chan struct{}

	mu    sync.Mutex
	queue []entry

	// The rest belongs to the lane's goroutine.
	tasks  schedule.Tasks
	last   time.Time          // when the last message that waits is due
	held   map[string]hold    // devices of which messages wait
	open   map[string]*entry  // devices whose changes are being merged
	series map[string]*series // devices of which a series is being retransmitted
}

// hold is what waits of one device.
type hold struct {
	messages int
	last     time.Time // when the last one is due
}

func startLane(r *Router) *lane {
	l := &lane{
		router: r, wake: make(chan struct{}, 1), done: make(chan struct{}),
		held: map[string]hold{}, open: map[string]*entry{}, series: map[string]*series{},
	}
	go l.loop()
	return l
}

func (l *lane) push(e entry) {
	e.rules = l.router.faults.added()
	l.mu.Lock()
	l.queue = append(l.queue, e)
	l.mu.Unlock()
	select {
	case l.wake <- struct{}{}:
	default:
	}
}

func (l *lane) take() []entry {
	l.mu.Lock()
	defer l.mu.Unlock()
	batch := l.queue
	l.queue = nil
	return batch
}

// loop holds a timer only while something waits.
func (l *lane) loop() {
	defer close(l.done)
	for {
		for _, e := range l.take() {
			l.process(e)
		}
		if !l.sleep(l.runDue()) {
			return
		}
	}
}

// sleep reports false when the lane is to stop; 0 is no end.
func (l *lane) sleep(wait time.Duration) bool {
	var due <-chan time.Time
	if wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		due = timer.C
	}
	select {
	case <-l.router.closed:
		return false
	case <-l.wake:
	case <-due:
	}
	return true
}

func (l *lane) process(e entry) {
	switch {
	case e.flushed != nil:
		l.flush(e.flushed)
	case e.telemetry != nil:
		l.closeWindow(e.telemetry.device)
		l.deliver(*e.telemetry, e.rules)
	default:
		l.change(e)
	}
}

// flush closes the channel once everything before it is appended.
func (l *lane) flush(flushed chan struct{}) {
	for device := range l.open {
		l.closeWindow(device)
	}
	l.at(l.last, func() { close(flushed) })
}

// announce makes and delivers the events of a change.
func (l *lane) announce(e entry) {
	for _, made := range l.router.render(e.change, e.routes) {
		l.deliver(made, e.rules)
	}
}

// deliver appends an event as the faults in force let it.
func (l *lane) deliver(e event, rules int) {
	delay, fault := l.router.faults.strike(e.source, e.device, rules)
	for _, out := range l.retransmit(e.device, l.outcome(e, fault)) {
		l.append(out, delay)
	}
}

// append waits for a delay, and for what waits of the device already.
func (l *lane) append(e event, delay time.Duration) {
	h := l.held[e.device]
	if delay == 0 && h.messages == 0 {
		l.router.append(e)
		return
	}
	h.messages++
	if due := time.Now().Add(delay); due.After(h.last) {
		h.last = due
	}
	l.held[e.device] = h
	if h.last.After(l.last) {
		l.last = h.last
	}
	l.at(h.last, func() { l.release(e) })
}

func (l *lane) release(e event) {
	l.router.append(e)
	h := l.held[e.device]
	h.messages--
	if h.messages == 0 {
		delete(l.held, e.device)
		return
	}
	l.held[e.device] = h
}

// at runs f when it is due, after everything that is due no later.
func (l *lane) at(due time.Time, f func()) { l.tasks.At(due, f) }

// runDue runs the tasks that are due and returns how long the next one waits, 0 if there is none.
func (l *lane) runDue() time.Duration {
	for {
		run, wait := l.tasks.Next()
		if run == nil {
			return wait
		}
		run()
	}
}
