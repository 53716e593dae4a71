package budget

import (
	"slices"
	"time"
)

const (
	// slowest is how far refusals reduce a rate.
	slowest = 1. / 16
	// slowestByLatency is how far slow answers alone reduce it: they may have another cause.
	slowestByLatency = 1. / 4
	// restoreIn is how long a rate takes to come back from nothing while calls succeed.
	restoreIn = 2 * time.Minute
	// restoreStep bounds what one success brings back: it proves nothing about a long silence.
	restoreStep = 10 * time.Second
	// window is how many answers a median is of.
	window = 15
	// slowTimes the usual latency, and slowBy more than it, is a hub that holds requests back before it refuses them.
	slowTimes = 4
	slowBy    = 500 * time.Millisecond
	// forget is how much the usual latency rises in a minute without a better one.
	forget = 0.1
)

// pace is how much of its limit a class may use, by what the hub answers: halved at once, restored bit by bit. The zero value uses all of it.
type pace struct {
	lost     float64 // 0: nothing; factor is 1 - lost
	cut      time.Time
	restored time.Time
	refused  time.Time // the last time
	recent   []time.Duration
	usual    time.Duration
	judged   time.Time
}

func (p *pace) factor() float64 { return 1 - p.lost }

// refuse halves the rate. Calls that began before the last cut say nothing about the rate since.
func (p *pace) refuse(now, began time.Time) (cut bool) {
	p.refused = now
	if began.Before(p.cut) {
		return false
	}
	p.reduce(now, p.factor()/2, slowest)
	p.cut = now
	return true
}

func (p *pace) reduce(now time.Time, to, least float64) {
	p.lost = 1 - max(to, min(least, p.factor()))
	p.restored = now
}

// succeed brings back a part of what was lost.
func (p *pace) succeed(now, began time.Time) {
	if began.Before(p.cut) {
		return
	}
	passed := min(now.Sub(p.restored), restoreStep)
	p.restored = now
	p.lost = max(0, p.lost-max(0, passed.Seconds())/restoreIn.Seconds())
}

// time judges how long answers take, a window of them at a time.
func (p *pace) time(now time.Time, took time.Duration) (cut bool) {
	if p.recent = append(p.recent, took); len(p.recent) < window {
		return false
	}
	slices.Sort(p.recent)
	median := p.recent[window/2]
	p.recent = p.recent[:0]
	p.usual += time.Duration(float64(p.usual) * forget * min(1, now.Sub(p.judged).Minutes()))
	p.judged = now
	if p.usual == 0 || median < p.usual {
		p.usual = median
	}
	if median <= slowTimes*p.usual || median <= p.usual+slowBy {
		return false
	}
	p.reduce(now, p.factor()*3/4, slowestByLatency)
	return true
}
