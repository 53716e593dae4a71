package leadership

import (
	"errors"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pnp-operator/pnp-operator/controllers/command"
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
				l := &Watch{IsExempt: command.IsOutcome}
				if l.Err() == nil {
					t.Fatal("it acts before it leads")
				}
				r, err := http.NewRequestWithContext(t.Context(), c.method, "https://api"+c.path, nil)
				if err != nil {
					t.Fatal(err)
				}
				server := l.Observe(roundTripper(func(*http.Request) (*http.Response, error) {
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

// A former leader writes nothing: neither to the lease, which another replica may have, nor what it
// remembers into a status that its successor has written since.
func TestAFormerLeaderWritesNothing(t *testing.T) {
	const (
		apis   = "https://api/apis"
		lease  = apis + "/coordination.k8s.io/v1/namespaces/pnp-system/leases/pnp"
		status = apis + "/iot.pnp-operator.io/v1alpha1/namespaces/factory/pnpdevices/press/status"
		// outcome is the method of a request that records what became of a command.
		outcome = "outcome"
		review  = apis + "/authentication.k8s.io/v1/tokenreviews"
	)
	for name, c := range map[string]struct {
		led    bool
		paused time.Duration
		method string
		url    string
		asked  bool // the API server
	}{
		"a replica that never led writes":      {false, time.Hour, http.MethodPut, lease, true},
		"a leader renews its lease":            {true, actFor - time.Second, http.MethodPut, lease, true},
		"a leader writes a status":             {true, actFor - time.Second, http.MethodPatch, status, true},
		"after a pause no lease is updated":    {true, actFor + time.Second, http.MethodPut, lease, false},
		"after a pause no lease is patched":    {true, actFor + time.Second, http.MethodPatch, lease, false},
		"after a pause no status is patched":   {true, actFor + time.Second, http.MethodPatch, status, false},
		"after a pause nothing is deleted":     {true, actFor + time.Second, http.MethodDelete, lease, false},
		"after a pause objects are read":       {true, actFor + time.Second, http.MethodGet, status, true},
		"after a pause an outcome is recorded": {true, actFor + time.Second, outcome, status, true},
		"after a pause a reader is asked for":  {true, actFor + time.Second, http.MethodPost, review, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, asked := &Watch{IsExempt: command.IsOutcome}, 0
				server := l.Guard(l.Observe(roundTripper(func(*http.Request) (*http.Response, error) {
					asked++
					return &http.Response{StatusCode: http.StatusOK}, nil
				})))
				ask := func(method, url string) error {
					ctx := t.Context()
					if method == outcome {
						ctx, method = command.AsOutcome(ctx), http.MethodPatch
					}
					r, err := http.NewRequestWithContext(ctx, method, url, nil)
					if err != nil {
						t.Fatal(err)
					}
					_, err = server.RoundTrip(r) //nolint:bodyclose // it has none
					return err
				}
				if c.led {
					if err := ask(http.MethodPut, lease); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(c.paused)
				before := asked
				if err := ask(c.method, c.url); (asked > before) != c.asked || (err == nil) != c.asked {
					t.Errorf("the API server was asked %d times, error %v", asked-before, err)
				}
			})
		})
	}
}

// A replica that is stopped with the leader sees the lease free before it has ended itself.
func TestAReplicaThatStopsTakesNoLease(t *testing.T) {
	const leases = "https://api/apis/coordination.k8s.io/v1/namespaces/pnp-system/leases"
	for name, c := range map[string]struct {
		led, stops  bool
		method, url string
		asked       bool // the API server
	}{
		"one that goes on takes a lease that is free": {false, false, http.MethodPut, leases + "/pnp", true},
		"one that goes on makes a lease":              {false, false, http.MethodPost, leases, true},
		"one that stops takes none":                   {false, true, http.MethodPut, leases + "/pnp", false},
		"one that stops makes none":                   {false, true, http.MethodPost, leases, false},
		"one that stops looks at the lease":           {false, true, http.MethodGet, leases + "/pnp", true},
		"a leader that stops gives its lease up":      {true, true, http.MethodPut, leases + "/pnp", true},
	} {
		t.Run(name, func(t *testing.T) {
			l, asked := &Watch{IsExempt: command.IsOutcome}, 0
			server := l.Observe(roundTripper(func(*http.Request) (*http.Response, error) {
				asked++
				return &http.Response{StatusCode: http.StatusOK}, nil
			}))
			ask := func(method, url string) error {
				r, err := http.NewRequestWithContext(t.Context(), method, url, nil)
				if err != nil {
					t.Fatal(err)
				}
				_, err = server.RoundTrip(r) //nolint:bodyclose // it has none
				return err
			}
			if c.led {
				if err := ask(http.MethodPut, leases+"/pnp"); err != nil {
					t.Fatal(err)
				}
			}
			if c.stops {
				l.Stop()
			}
			before := asked
			if err := ask(c.method, c.url); (asked > before) != c.asked || (err == nil) != c.asked {
				t.Errorf("the API server was asked %d times, error %v", asked-before, err)
			}
		})
	}
}
