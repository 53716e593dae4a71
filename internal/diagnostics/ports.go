package diagnostics

import (
	"context"
	"net"
	"net/http"

	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/pnp-operator/pnp-operator/internal/ports"
)

// maxConnections are open to each port at a time. One more takes the place of the oldest: whoever
// keeps silent keeps no probe out, and a scrape or a probe is over at once.
const maxConnections = 16

// Probes are the checks that the kubelet asks for.
type Probes struct {
	Healthz, Readyz map[string]healthz.Checker
}

// Server listens, and serves /healthz and /readyz once it is started, on all replicas. It is nil if
// the address is 0 or "".
func (p Probes) Server(ctx context.Context, address string) (*manager.Server, error) {
	listener, err := listen(ctx, address)
	if listener == nil || err != nil {
		return nil, err
	}
	handlers := map[string]http.Handler{}
	for path, checks := range map[string]map[string]healthz.Checker{"/healthz": p.Healthz, "/readyz": p.Readyz} {
		handler := http.StripPrefix(path, &healthz.Handler{Checks: checks})
		handlers[path], handlers[path+"/"] = handler, handler
	}
	return ports.NewServer(ctx, "health probe", listener, muxOf(handlers)), nil
}

// listen returns nil if there is nothing to listen at.
func listen(ctx context.Context, address string) (net.Listener, error) {
	if address == "" || address == "0" {
		return nil, nil
	}
	return ports.Listen(ctx, address, maxConnections, ports.TakesOldest)
}
