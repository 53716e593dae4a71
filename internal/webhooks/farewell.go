package webhooks

import (
	"context"
	"net/http"
	"sync/atomic"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// farewell is how long a server that is told to end goes on. The API server keeps connections to a pod that is no endpoint any
// more, and writes its next request to one of them whenever that may be.
const farewell = 2 * time.Second

// Server serves the webhooks, and goes on for a moment after its manager has ended.
type Server struct {
	*limitedServer
	parting *partingServer
}

// Farewell returns once the server has ended, if it was started. The manager does not wait for it: the lease would be held
// meanwhile.
func (s *Server) Farewell() {
	if s.parting.started.Load() {
		<-s.parting.ended
	}
}

// partingServer tells each client that its connection ends with the answer, before it closes what nobody used meanwhile.
// Otherwise the connection is closed while the next request is on its way, and the API server lets the object through.
type partingServer struct {
	webhook.Server
	started, parting atomic.Bool
	ended            chan struct{}
}

func newPartingServer(inner webhook.Server) *partingServer {
	return &partingServer{Server: inner, ended: make(chan struct{})}
}

// Start returns with the context, or before if the server fails; the server ends a while after the context.
func (s *partingServer) Start(ctx context.Context) error {
	s.started.Store(true)
	serving, end := context.WithCancel(context.WithoutCancel(ctx))
	failed := make(chan error, 1)
	go func() {
		defer close(s.ended)
		defer end()
		failed <- s.Server.Start(serving)
	}()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
		s.parting.Store(true)
		time.AfterFunc(farewell, end)
		return nil
	}
}

// Register serves a path.
func (s *partingServer) Register(path string, hook http.Handler) {
	s.Server.Register(path, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.parting.Load() {
			w.Header().Set("Connection", "close")
		}
		hook.ServeHTTP(w, r)
	}))
}
