package budget

import "time"

// bucket holds tokens up to burst and gains rate of them a second. It can go below zero: what was let through on other grounds is paid later. x/time/rate
// does not say how many tokens a reservation leaves, takes nothing above its burst, and gives nothing back.
type bucket struct {
	tokens, rate, burst float64
	at                  time.Time
}

// advance takes the time that passed into account, at the rate until now. A clock that goes back adds nothing, and nothing twice.
func (b *bucket) advance(now time.Time) {
	if passed := now.Sub(b.at); passed > 0 {
		b.tokens = min(b.burst, b.tokens+b.rate*passed.Seconds())
		b.at = now
	}
}

// until is how long the bucket takes to hold want, which may be more than its burst: tokens are taken meanwhile.
func (b *bucket) until(want float64) time.Duration {
	return max(0, time.Duration((want-b.tokens)/b.rate*float64(time.Second)))
}

// resize changes rate and burst from now on; what is in it stays, up to the burst.
func (b *bucket) resize(rate, burst float64) {
	b.rate, b.burst = rate, burst
	b.tokens = min(b.tokens, burst)
}
