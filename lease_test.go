package main

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"
)

func TestALeaderActsForAsLongAsItsLeaseIsItsOwn(t *testing.T) {
	const path = "/apis/coordination.k8s.io/v1/namespaces/pnp-system/leases"
	for name, c := range map[string]struct {
		method, path string
		code         int
		failure      error
		after        time.Duration // its answer, of the request
		paused       time.Duration
		acts         bool
	}{
		"it was renewed just now":                 {http.MethodPut, path + "/pnp", 200, nil, 0, time.Second, true},
		"it was made just now":                    {http.MethodPost, path, 201, nil, 0, time.Second, true},
		"it was renewed, and the process stopped": {http.MethodPut, path + "/pnp", 200, nil, 0, actFor + time.Second, false},
		"the process stopped before the answer":   {http.MethodPut, path + "/pnp", 200, nil, actFor, time.Second, false},
		"it was looked at":                        {http.MethodGet, path + "/pnp", 200, nil, 0, 0, false},
		"another one has it":                      {http.MethodPut, path + "/pnp", 409, nil, 0, 0, false},
		"the API server cannot be reached":        {http.MethodPut, path + "/pnp", 0, errors.New("gone"), 0, 0, false},
		"an Event was written about it":           {http.MethodPost, "/apis/events.k8s.io/v1/namespaces/leases/events", 201, nil, 0, 0, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := &leaseWatch{}
				if l.Err() == nil {
					t.Fatal("it acts before it leads")
				}
				r, err := http.NewRequestWithContext(t.Context(), c.method, "https://api"+c.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				server := l.wrap(roundTripper(func(*http.Request) (*http.Response, error) {
					time.Sleep(c.after)
					return &http.Response{StatusCode: c.code}, c.failure
				}))
				_, _ = server.RoundTrip(r) //nolint:bodyclose // it has none
				time.Sleep(c.paused)
				if acts := l.Err() == nil; acts != c.acts {
					t.Errorf("it acts: %t, want %t", acts, c.acts)
				}
			})
		})
	}
}
