package simulator

import (
	"sync/atomic"
	"time"
)

// movable is a clock that is ahead of another one by an offset.
func movable(clock func() time.Time, offset *atomic.Int64) func() time.Time {
	return func() time.Time { return clock().Add(time.Duration(offset.Load())) }
}

// ClockOffset returns how far the hub's clock is ahead of the one that it was started with.
func (s *Simulator) ClockOffset() time.Duration { return time.Duration(s.offset.Load()) }

// SetClockOffset lets the hub's clock jump so that it is that far ahead, or behind if that is negative. Stamps of earlier writes stay.
func (s *Simulator) SetClockOffset(ahead time.Duration) { s.offset.Store(int64(ahead)) }
