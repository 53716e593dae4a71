package eventstream_test

import (
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// libraryGoroutines are the stacks of those that Microsoft's client started and that still run.
func libraryGoroutines() []string {
	buffer := make([]byte, 1<<20)
	n := runtime.Stack(buffer, true)
	for ; n == len(buffer); n = runtime.Stack(buffer, true) {
		buffer = make([]byte, 2*len(buffer))
	}
	var found []string
	for stack := range strings.SplitSeq(string(buffer[:n]), "\n\n") {
		if strings.Contains(stack, "github.com/Azure/") {
			found = append(found, stack)
		}
	}
	return found
}

// leavesNothing fails if goroutines of the client go on after every stream has ended.
func leavesNothing(t *testing.T) {
	t.Helper()
	deadline := time.After(10 * time.Second)
	for {
		left := libraryGoroutines()
		if len(left) == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d goroutines go on after 10 s, among them\n%s", len(left), left[0])
		case <-time.After(5 * time.Millisecond):
		}
	}
}

func quickly(w *eventstream.Stream) { w.Timing.Retry = 5 * time.Millisecond }

func TestStreamsThatEndLeaveNoGoroutineBehind(t *testing.T) {
	for name, run := range map[string]func(t *testing.T, s *site){
		"stopped while it reads": func(t *testing.T, s *site) {
			w := s.stream(t, &store{})
			w.reaches(t, eventstream.Reading)
			w.stop()
		},
		"stopped while it opens": func(t *testing.T, s *site) {
			opens := make(chan struct{}, 1)
			w := s.stream(t, &store{}, func(w *eventstream.Stream) { w.Claim = func() bool { opens <- struct{}{}; return true } })
			<-opens
			w.stop()
		},
		"cut while it opens": func(t *testing.T, s *site) {
			var n atomic.Int64
			w := s.stream(t, &store{}, quickly, func(w *eventstream.Stream) {
				w.Claim = func() bool {
					if n.Add(1) <= 10 {
						s.server.Cut()
					}
					return true
				}
			})
			w.reaches(t, eventstream.Reading)
			w.stop()
		},
		"turned away": func(t *testing.T, s *site) {
			s.server.RefuseAttach(30, "com.microsoft:server-busy", "busy")
			w := s.stream(t, &store{}, quickly)
			w.reaches(t, eventstream.Reading)
			w.stop()
		},
		"without an answer": func(t *testing.T, s *site) {
			s.server.IgnorePartitionReads(true)
			opens := make(chan struct{}, 1)
			w := s.stream(t, &store{}, func(w *eventstream.Stream) { w.Claim = func() bool { opens <- struct{}{}; return true } })
			<-opens
			w.stop()
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			for range 3 {
				run(t, s)
			}
			leavesNothing(t)
		})
	}
}
