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

func newBackoff() workqueue.TypedRateLimiter[reconcile.Request] {
	return backoff{workqueue.NewTypedItemExponentialFailureRateLimiter[reconcile.Request](backoffBase, backoffMax)}
}

// When returns the delay of the next try of a failed item.
func (b backoff) When(item reconcile.Request) time.Duration {
	return jittered(b.TypedRateLimiter.When(item))
}
