package main

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"reflect"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pnp-operator/pnp-operator/internal/diagnostics"
)

func TestWatchedNamespaces(t *testing.T) {
	for text, want := range map[string]map[string]cache.Config{
		"": nil, " , ": nil, "a": {"a": {}}, "a, b,": {"a": {}, "b": {}},
	} {
		if got := watched(options{watchNamespaces: text}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// filling are caches that are filled once the channel is closed.
type filling struct {
	cache.Cache
	filled chan struct{}
}

func (f filling) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-f.filled:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestOperatorIsReadyOnceItsCachesAreFilled(t *testing.T) {
	caches := filling{filled: make(chan struct{})}
	ready, request := cachesFilled(caches), httptest.NewRequest(http.MethodGet, "/readyz", nil)
	if err := ready(request); err == nil {
		t.Error("ready with empty caches")
	}
	close(caches.filled)
	if err := ready(request); err != nil {
		t.Errorf("not ready with filled caches: %v", err)
	}
}

// freeAddress is one that nobody listens at.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().String()
}

// The kubelet and Prometheus are answered while there is no API server, and so by replicas that do
// not lead.
func TestManagerServesPortsBeforeItLeads(t *testing.T) {
	off := metricsserver.Options{BindAddress: "0"}
	mgr, err := manager.New(&rest.Config{Host: "http://127.0.0.1:1"}, manager.Options{
		Metrics: off, HealthProbeBindAddress: "0", LeaderElection: true, LeaderElectionID: "a", LeaderElectionNamespace: "b",
	})
	if err != nil {
		t.Fatal(err)
	}
	o := options{metricsAddress: freeAddress(t), probeAddress: freeAddress(t)}
	ctx, stop := context.WithCancel(t.Context())
	notYet := func(*http.Request) error { return errors.New("not yet") }
	probes := diagnostics.Probes{Healthz: map[string]healthz.Checker{"ping": healthz.Ping}, Readyz: map[string]healthz.Checker{"caches": notYet}}
	if err := o.addPorts(ctx, mgr, probes); err != nil {
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- mgr.Start(ctx) }()
	client := &http.Client{Timeout: 20 * time.Second}
	defer client.CloseIdleConnections()
	for url, want := range map[string]int{
		"http://" + o.metricsAddress + "/metrics": http.StatusOK, "http://" + o.probeAddress + "/healthz": http.StatusOK,
		"http://" + o.probeAddress + "/readyz": http.StatusInternalServerError,
	} {
		response, err := client.Get(url)
		if err != nil {
			t.Fatal(err)
		}
		if _ = response.Body.Close(); response.StatusCode != want {
			t.Errorf("%s: %d, want %d", url, response.StatusCode, want)
		}
	}
	stop()
	if err := <-ended; err != nil {
		t.Error(err)
	}
}
