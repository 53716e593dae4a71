package main

import (
	"context"
	"fmt"
	"time"
)

// lease is how long a leader that does not renew it is left alone by the others: controller-runtime's default.
const lease = 15 * time.Second

// endAfterPause ends a leader that did not run for longer than its lease, in a paused container for one. It would see by itself that another one leads, and go on
// for ten seconds after that: client-go tries to renew the lease all that time. Nothing that it does then comes to harm, since every write names the version
// that it is about; but commands that it claims would end as Unknown.
func endAfterPause(ctx context.Context) error {
	ticker := time.NewTicker(time.Second)
	defer ticker.Stop()
	return watchPauses(ctx, ticker.C)
}

// watchPauses fails once two ticks are a lease's time apart. A tick tells when it was due, so the first one after a pause does not show it, but the next one does.
func watchPauses(ctx context.Context, ticks <-chan time.Time) error {
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticks:
			if paused := now.Sub(last); paused > lease {
				return fmt.Errorf("paused for %s, which is longer than the lease of %s: another replica may lead", paused.Round(time.Second), lease)
			}
			last = now
		}
	}
}
