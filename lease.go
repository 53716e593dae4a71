package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"

	"github.com/pnp-operator/pnp-operator/controllers"
)

// actFor is how long after it began to renew its lease a leader may write to a hub. Others leave it
// alone for longer, by what the network may take.
const actFor = lease - 5*time.Second

// leaseWatch knows when the lease was renewed last, by the clock that a changed date does not move.
type leaseWatch struct{ renewed atomic.Pointer[time.Time] }

// Err keeps a former leader from acting: the process may have been stopped between a decision and
// its request, and another replica may lead since.
func (l *leaseWatch) Err() error {
	renewed := l.renewed.Load()
	if renewed == nil || time.Since(*renewed) > actFor {
		return fmt.Errorf("not sent: the lease was not renewed for %s", actFor)
	}
	return nil
}

// isOver reports whether this process led, and another replica may lead since.
func (l *leaseWatch) isOver() bool { return l.renewed.Load() != nil && l.Err() != nil }

// watch notes the requests that renew the lease. One counts from when it was sent.
func (l *leaseWatch) watch(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		began := time.Now()
		answer, err := next.RoundTrip(r)
		if err == nil && answer.StatusCode < http.StatusMultipleChoices && writesLease(r) {
			l.renewed.Store(&began)
		}
		return answer, err
	})
}

// guard keeps a former leader from writing to the API server while it ends, but for the outcomes of its
// own commands, which nobody else knows. Its memory of a device is of before its pause: written into a
// status that it read after that, it would replace what its successor found out, and the
// resourceVersion fits. The lease may be another replica's, too:
// client-go releases one that it believes to hold by what it saw before, so that two lead at once.
func (l *leaseWatch) guard(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if l.isOver() && writes(r) && !controllers.IsOutcome(r.Context()) {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, fmt.Errorf("not written: the lease was not renewed for %s, and another replica may lead", actFor)
		}
		return next.RoundTrip(r)
	})
}

// writes reports whether a request changes an object. Reviews, by which the metrics server asks who
// its client is, change none.
func writes(r *http.Request) bool {
	isReview := strings.HasPrefix(r.URL.Path, "/apis/authentication.k8s.io/") || strings.HasPrefix(r.URL.Path, "/apis/authorization.k8s.io/")
	return r.Method != http.MethodGet && r.Method != http.MethodHead && !isReview
}

func writesLease(r *http.Request) bool {
	return (r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch) &&
		strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/") && strings.Contains(r.URL.Path, "/leases")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
