package leadership

import (
	"context"
	"fmt"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// PausedError says for how long a leader did not run.
type PausedError struct{ time.Duration }

func (e *PausedError) Error() string {
	return fmt.Sprintf("paused for %s, which is longer than the lease of %s: another replica may lead", e.Round(time.Second), LeaseDuration)
}

// EndAfterPause ends a leader that did not run for longer than its lease, in a paused container for
// one. It would see by itself that another one leads, and go on for ten seconds after that:
// client-go tries to renew the lease all that time. Nothing that it does then comes to harm, since
// it sends nothing to a hub, and writes to the API server only what became of its own commands, see
// Watch; but it would look as if it worked. Like any other that ends it waits for those
// that are under way.
func EndAfterPause(end context.CancelCauseFunc) manager.RunnableFunc {
	return func(ctx context.Context) error {
		ticker := time.NewTicker(time.Second)
		defer ticker.Stop()
		if err := watchPauses(ctx, ticker.C); err != nil {
			end(err)
		}
		return nil
	}
}

// watchPauses fails once two ticks are a lease's time apart. A tick tells when it was due, so the first one after a pause does not show it, but the next one does.
func watchPauses(ctx context.Context, ticks <-chan time.Time) error {
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return nil
		case now := <-ticks:
			if paused := now.Sub(last); paused > LeaseDuration {
				return &PausedError{paused}
			}
			last = now
		}
	}
}
