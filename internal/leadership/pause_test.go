package leadership

import (
	"context"
	"testing"
	"time"
)

func TestALeaderThatWasPausedPastItsLeaseEnds(t *testing.T) {
	for name, c := range map[string]struct {
		pauses []time.Duration
		ends   bool
	}{
		"it runs all the time":              {[]time.Duration{time.Second, time.Second, time.Second}, false},
		"it is slow, but within its lease":  {[]time.Duration{14 * time.Second, 14 * time.Second}, false},
		"it did not run for a lease's time": {[]time.Duration{time.Second, 16 * time.Second}, true},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, stop := context.WithCancel(t.Context())
			defer stop()
			ticks, ended := make(chan time.Time), make(chan error, 1)
			go func() { ended <- watchPauses(ctx, ticks) }()
			now := time.Now()
			for _, pause := range c.pauses {
				now = now.Add(pause)
				ticks <- now
			}
			if !c.ends {
				stop()
			}
			if err := <-ended; (err != nil) != c.ends {
				t.Errorf("it ended with %v", err)
			}
		})
	}
}
