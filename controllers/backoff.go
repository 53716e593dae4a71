package controllers

import (
	"time"

	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

const (
	backoffBase = 500 * time.Millisecond
	backoffMax  = 5 * time.Minute
)

// backoff is client-go's exponential limiter with jitter: thousands of devices of one failing hub must not come back in step.
type backoff struct {
	workqueue.TypedRateLimiter[reconcile.Request]
}

func newBackoff() backoff {
	return backoff{workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffBase, backoffMax)}
}

// When returns the delay of the next try of a failed item.
func (b backoff) When(item reconcile.Request) time.Duration {
	return jittered(b.TypedRateLimiter.When(item))
}

// lasting is a backoff that outlasts passes which end in the middle, to be called later: a controller
// forgets the failures of an item after any pass that did not fail.
type lasting struct{ backoff }

func newLasting() *lasting { return &lasting{newBackoff()} }

// Forget keeps the failures.
func (*lasting) Forget(reconcile.Request) {}

// over forgets the failures of an item whose pass came to its end.
func (l *lasting) over(item reconcile.Request) {
	if l != nil {
		l.backoff.Forget(item)
	}
}
