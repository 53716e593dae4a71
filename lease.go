package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
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

// wrap watches the requests that renew the lease. One counts from when it was sent. A former leader
// writes to the lease no more: client-go, when it ends, releases a lease that it believes to hold by
// what it saw before a pause, so that the replica which holds it and the next one lead at once.
func (l *leaseWatch) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		began := time.Now()
		if writesLease(r) && l.isOver() {
			if r.Body != nil {
				_ = r.Body.Close()
			}
			return nil, fmt.Errorf("not written: the lease was not renewed for %s, and may be another replica's", actFor)
		}
		answer, err := next.RoundTrip(r)
		if err == nil && answer.StatusCode < http.StatusMultipleChoices && writesLease(r) {
			l.renewed.Store(&began)
		}
		return answer, err
	})
}

func writesLease(r *http.Request) bool {
	return (r.Method == http.MethodPut || r.Method == http.MethodPost || r.Method == http.MethodPatch) &&
		strings.HasPrefix(r.URL.Path, "/apis/coordination.k8s.io/") && strings.Contains(r.URL.Path, "/leases")
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
