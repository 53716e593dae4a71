package webhooks

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// plainServer serves until its context ends.
type plainServer struct {
	webhook.Server
	mux *http.ServeMux
}

func (s plainServer) Register(path string, hook http.Handler) { s.mux.Handle(path, hook) }

func (plainServer) Start(ctx context.Context) error {
	<-ctx.Done()
	return nil
}

func TestAServerThatEndsSaysSoBeforeItClosesConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		plain := plainServer{mux: http.NewServeMux()}
		parting := newPartingServer(plain)
		s := &Server{limited(parting), parting}
		s.Register("/validate", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("judged")) }))
		said := func() string {
			answer := httptest.NewRecorder()
			plain.mux.ServeHTTP(answer, httptest.NewRequest(http.MethodPost, "/validate", strings.NewReader("{}")))
			if answer.Body.String() != "judged" {
				t.Errorf("the answer is %q", answer.Body)
			}
			return answer.Header().Get("Connection")
		}
		ctx, stop := context.WithCancel(t.Context())
		returned := make(chan error, 1)
		go func() { returned <- s.Start(ctx) }()
		synctest.Wait()
		if got := said(); got != "" {
			t.Errorf("it says Connection: %s before it is told to end", got)
		}
		told := time.Now()
		stop()
		synctest.Wait()
		if got := said(); got != "close" {
			t.Errorf("it says Connection: %q once it is told to end", got)
		}
		if err := <-returned; err != nil || time.Since(told) > 0 {
			t.Errorf("its manager waited for %s: %v", time.Since(told), err)
		}
		if s.Farewell(); time.Since(told) != farewell {
			t.Errorf("it ended after %s, want %s", time.Since(told), farewell)
		}
	})
}

func TestAServerThatFailsSaysSoToItsManager(t *testing.T) {
	parting := newPartingServer(brokenServer{})
	s := &Server{limited(parting), parting}
	s.Farewell() // which has nothing to wait for
	if err := s.Start(t.Context()); err == nil || err.Error() != "the port is taken" {
		t.Error(err)
	}
	s.Farewell()
}

type brokenServer struct{ webhook.Server }

func (brokenServer) Start(context.Context) error { return errors.New("the port is taken") }
