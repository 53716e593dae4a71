package budget

import "time"

const (
	// share of the rate that each priority but the highest keeps, whatever those above it do.
	share = 0.1
	// shareBurst is how much of its share a priority can save.
	shareBurst = 1
	// MaxWait is how long a wait for a token is at most: rates change meanwhile.
	MaxWait = time.Minute
	minWait = 5 * time.Millisecond
)

// reserve is the part of a full bucket that a priority leaves to those above it.
var reserve = [priorities]float64{PrioritySweep: 3. / 8, PriorityFollowUp: 2. / 8, PriorityCommand: 1. / 8, PriorityEdit: 0}

// class is the tokens of one class, and who waits for them.
type class struct {
	limit  float64 // tokens a second as the limits say
	pace   pace
	main   bucket
	shares [priorities]bucket
	lines  [priorities]line

	taken, given, waits [priorities]uint64 // counted since the start
	throttled           uint64
	// spent is how many tokens were taken since the start and not given back.
	spent float64
}

// set puts limits in force.
func (c *class) set(now time.Time, perSecond, burst float64) {
	c.advance(now)
	fresh := c.limit == 0
	c.limit = perSecond
	c.main.burst = burst
	c.apply()
	if fresh {
		c.main.tokens = burst
		for p := range c.shares {
			c.shares[p].tokens = shareBurst
		}
	}
}

// apply sets the rates to what the limit and the hub's answers allow.
func (c *class) apply() {
	rate := c.limit * c.pace.factor()
	c.main.resize(rate, c.main.burst)
	for p := range c.shares {
		c.shares[p].resize(rate*share, shareBurst)
	}
}

func (c *class) advance(now time.Time) {
	c.main.advance(now)
	for p := range c.shares {
		c.shares[p].advance(now)
	}
}

// take lets a request through, or tells it how long to wait, and since when it has been waiting.
func (c *class) take(now time.Time, r Request, random float64) (wait time.Duration, since time.Time, ok bool) {
	c.advance(now)
	since = c.move(now, r)
	line := &c.lines[r.Priority]
	line.expire(now)
	ahead, size := line.ahead(r.Key), float64(r.Size)
	if c.admits(r, ahead) {
		line.leave(r.Key)
		c.main.tokens -= size
		c.spent += size
		c.taken[r.Priority]++
		return 0, now, true
	}
	wait = spread(c.expected(r, ahead), random)
	c.waits[r.Priority]++
	return wait, line.hold(r.Key, size, since, now.Add(wait+grace)).since, false
}

// move takes somebody who waits with another priority out of that line, and returns since when.
func (c *class) move(now time.Time, r Request) (since time.Time) {
	since = now
	for p := range c.lines {
		if Priority(p) == r.Priority {
			continue
		}
		if old := c.lines[p].leave(r.Key); old != nil {
			since = old.since
		}
	}
	return since
}

// admits reports whether there are tokens for a request beyond what those ahead of it and those above it are entitled to. A full bucket is nobody's: they
// did not come. The share of a priority is for those who were turned away before; what it lets through is owed to the bucket.
func (c *class) admits(r Request, ahead float64) bool {
	size, own := float64(r.Size), &c.shares[r.Priority]
	if c.main.tokens >= min(size+ahead+reserve[r.Priority]*c.main.burst, c.main.burst) {
		own.tokens -= min(size, max(0, own.tokens)) // a share is what is got in all
		return true
	}
	_, waits := c.lines[r.Priority].places[r.Key]
	if r.Priority == PriorityEdit || !waits && ahead > 0 || own.tokens < shareBurst {
		return false
	}
	own.tokens -= size
	return true
}

// expected is how long a request waits if everybody before it, in its own line and in those above, is served first; or, if that is sooner, by its share.
func (c *class) expected(r Request, ahead float64) time.Duration {
	before := ahead + float64(r.Size)
	above := reserve[r.Priority] * c.main.burst
	for p := r.Priority + 1; p < priorities; p++ {
		above += c.lines[p].waiting
	}
	d := c.main.until(above + before)
	if r.Priority != PriorityEdit {
		d = min(d, c.shares[r.Priority].until(ahead+shareBurst))
	}
	return max(d, minWait)
}

// spread keeps those who wait from coming back in step: a little later than expected, and those beyond the longest wait all over its second half.
func spread(d time.Duration, random float64) time.Duration {
	if d > MaxWait {
		return MaxWait/2 + time.Duration(random*float64(MaxWait/2))
	}
	return d + time.Duration(random*float64(d/10+minWait))
}

// giveBack returns the tokens of a call that was not made.
func (c *class) giveBack(now time.Time, r Request) {
	c.advance(now)
	c.main.tokens = min(c.main.burst, c.main.tokens+float64(r.Size))
	c.spent -= float64(r.Size)
	c.given[r.Priority]++
}
