// Package leadership keeps a replica from acting that led once, and that another one may have
// followed: it watches when the lease was renewed, and ends a process that was paused past it.
package leadership

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// LeaseName is the name of the lease that the leader holds.
const LeaseName = "pnp-operator.iot.pnp-operator.io"

// LeaseDuration is how long a leader that does not renew its lease is left alone by the others.
const LeaseDuration = 15 * time.Second

// actFor is how long after it began to renew its lease a leader may write to a hub. Others leave it
// alone for longer, by what the network may take.
const actFor = LeaseDuration - 5*time.Second

// Watch knows when the lease was renewed last, by the clock that a changed date does not move.
type Watch struct {
	// IsExempt reports whether a former leader may still write what a request to the API server
	// writes.
	IsExempt func(context.Context) bool

	renewed  atomic.Pointer[time.Time]
	stopping atomic.Bool
}

// Stop has a process that never led take no lease any more. controller-runtime goes on with the
// election until everything else has ended, so a replica that is stopped with the leader would take
// what the leader gives up: for as long as it still ends nobody acts, and once its rights are gone it
// cannot give the lease up. A lease that the process holds is renewed and given up as before.
func (w *Watch) Stop() { w.stopping.Store(true) }

// Err keeps a former leader from acting: the process may have been stopped between a decision and
// its request, and another replica may lead since.
func (w *Watch) Err() error {
	renewed := w.renewed.Load()
	if renewed == nil || time.Since(*renewed) > actFor {
		return fmt.Errorf("not sent: the lease was not renewed for %s", actFor)
	}
	return nil
}

// isOver reports whether this process led, and another replica may lead since.
func (w *Watch) isOver() bool { return w.renewed.Load() != nil && w.Err() != nil }

// Observe notes the requests that renew the lease, each as of when it was sent, and refuses those
// that would take it after Stop.
func (w *Watch) Observe(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if w.stopping.Load() && w.renewed.Load() == nil && writesLease(r) {
			closeBody(r)
			return nil, errors.New("not written: this replica is stopping, and takes no lease")
		}
		began := time.Now()
		answer, err := next.RoundTrip(r)
		if err == nil && answer.StatusCode < http.StatusMultipleChoices && writesLease(r) {
			w.renewed.Store(&began)
		}
		return answer, err
	})
}

// Guard keeps a former leader from writing to the API server while it ends, but for exempt
// requests, such as the outcomes of its own commands, which nobody else knows. Its memory of a
// device is of before its pause: written into a status that it read after that, it would replace
// what its successor found out, and the resourceVersion fits. The lease may be another replica's,
// too: client-go releases one that it believes to hold by what it saw before, so that two lead at
// once.
func (w *Watch) Guard(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		if w.isOver() && writes(r) && !w.IsExempt(r.Context()) {
			closeBody(r)
			return nil, fmt.Errorf("not written: the lease was not renewed for %s, and another replica may lead", actFor)
		}
		return next.RoundTrip(r)
	})
}

// closeBody does what a transport owes a request that it does not send.
func closeBody(r *http.Request) {
	if r.Body != nil {
		_ = r.Body.Close()
	}
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
