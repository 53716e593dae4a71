package fleet

import (
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// site is a hub with what works on many of its twins.
type site struct {
	hub            *hub.Hub
	configurations *Configurations
	jobs           *Jobs
	exchange       *methods.Exchange
}

func newSite(t *testing.T, devices ...string) site {
	t.Helper()
	h := hub.New(time.Now, 1)
	exchange := methods.New()
	s := site{h, NewConfigurations(h, time.Now, logr.Discard()), NewJobs(h, exchange, time.Now), exchange}
	t.Cleanup(func() {
		exchange.Close()
		s.jobs.Close()
		s.configurations.Close()
	})
	for _, id := range devices {
		must(t, h.CreateDevice(id, hub.WithTags(`{"site":"`+id+`"}`)))
	}
	return s
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func object(t *testing.T, s string) jsontree.Object {
	t.Helper()
	o, err := jsontree.ParseObject([]byte(s))
	must(t, err)
	return o
}

func nameOf(err error) string {
	if refused, ok := errors.AsType[*hub.Error](err); ok {
		return refused.Name
	}
	return ""
}

func (s site) twin(t *testing.T, key string) *hub.Twin {
	t.Helper()
	twin, err := s.hub.Get(key)
	must(t, err)
	return twin
}

func (s site) desired(t *testing.T, key string) string {
	t.Helper()
	return string(jsontree.Append(nil, s.twin(t, key).Desired()))
}

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("waited 20 s for " + what)
		case <-time.After(2 * time.Millisecond):
		}
	}
}
