package watch_test

import (
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/watch"
)

// door is what a stream finds where an event hub should answer on port 443.
func door(t *testing.T, answer http.HandlerFunc) func(*watch.Stream) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return func(w *watch.Stream) {
		text := fmt.Sprintf("Endpoint=sb://example.com;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0;EntityPath=%s", hubName)
		config, err := watch.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		config.ConsumerGroup, config.Instance, config.WebSocket = group, "test", true
		config.Endpoint, config.CABundle = server.Listener.Addr().String(), authority
		w.Config = config
	}
}

// What answers in an event hub's place on port 443 may not fill the memory before the first frame.
func TestHeadersOfAHandshakeAreBounded(t *testing.T) {
	var tries atomic.Int32
	before := allocated()
	w := newSite(t).stream(t, &store{}, quickly, door(t, func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\n")
		part := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
		for left := 9000; err == nil && left > 0; left-- {
			_, err = io.WriteString(conn, part)
		}
	}))
	eventually(t, "a third try", func() bool { return tries.Load() > 2 })
	w.stop()
	if each := (allocated() - before) / uint64(tries.Load()); each > 4<<20 { //nolint:gosec // not below zero
		t.Errorf("%d bytes were allocated for each try", each)
	}
}

// allocated is how many bytes this process ever allocated, the peer's included.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// A connection that is refused is not kept.
func TestHandshakesThatFailLeaveNothingBehind(t *testing.T) {
	var tries atomic.Int32
	w := newSite(t).stream(t, &store{}, quickly, door(t, func(w http.ResponseWriter, _ *http.Request) {
		tries.Add(1)
		w.WriteHeader(http.StatusServiceUnavailable)
	}))
	eventually(t, "tries", func() bool { return tries.Load() > 20 })
	w.stop()
	deadline := time.After(10 * time.Second)
	for {
		buffer := make([]byte, 4<<20)
		left := strings.Count(string(buffer[:runtime.Stack(buffer, true)]), "net/http.(*persistConn).readLoop(")
		if left == 0 {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("%d connections are open 10 s after the last of %d tries", left, tries.Load())
		case <-time.After(5 * time.Millisecond):
		}
	}
}
