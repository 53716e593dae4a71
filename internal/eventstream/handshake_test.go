package eventstream_test

import (
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// door is what a stream finds where an event hub should answer on port 443.
func door(t *testing.T, answer http.HandlerFunc) func(*eventstream.Stream) {
	t.Helper()
	server := httptest.NewTLSServer(answer)
	t.Cleanup(server.Close)
	at := leadsTo(t, server, server.Listener.Addr().String())
	return func(w *eventstream.Stream) {
		at(w)
		w.Config.WebSocket = true
	}
}

// leadsTo has a stream dial an address, and trust the certificate of a server.
func leadsTo(t *testing.T, server *httptest.Server, address string) func(*eventstream.Stream) {
	t.Helper()
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	return func(w *eventstream.Stream) {
		text := fmt.Sprintf("Endpoint=sb://example.com;SharedAccessKeyName=a;SharedAccessKey=c2VjcmV0;EntityPath=%s", hubName)
		config, err := eventstream.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		config.ConsumerGroup, config.Instance = group, "test"
		config.Endpoint, config.CABundle = address, authority
		w.Config = config
	}
}

// A server in an event hub's place on port 443 may not fill the memory before the first frame.
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
	if each := (allocated() - before) / uint64(tries.Load()); each > 4<<20 {
		t.Errorf("%d bytes were allocated for each try", each)
	}
}

// allocated is how many bytes this process ever allocated, the peer's included.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// A few bytes would have the library end the process: they end the connection.
func TestAnImpostorThatSendsWhatTheLibraryCannotReadIsLeft(t *testing.T) {
	key := wire.Described{Descriptor: uint64(0x99), Value: []any{nil}} // Go cannot hash it
	text := wire.AppendFrame([]byte(wire.HeaderSASL), 0, wire.FrameSASL, wire.SASLMechanisms, []wire.Symbol{"ANONYMOUS"})
	text = wire.AppendFrame(text, 0, wire.FrameSASL, wire.SASLOutcome, uint8(0))
	text = append(text, wire.HeaderAMQP...)
	text = wire.AppendFrame(text, 0, 0, wire.Open, "impostor", nil, uint32(1<<16), nil, nil, nil, nil, nil, nil,
		wire.Map{wire.Symbol("product"), wire.Map{key, nil}})
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	i := &impostor{text: string(text)}
	w := newSite(t).stream(t, &store{}, quickly, leadsTo(t, server, i.serveTLS(t, server.TLS)))
	eventually(t, "a second try", func() bool { return i.connections.Load() > 1 })
	w.stop()
	if w.sink.has(eventstream.Reading) {
		t.Error("it was read")
	}
}

// Frames of any size that an event hub sends are read behind TLS, where they are screened.
func TestEventsAreReadBehindTLS(t *testing.T) {
	s := newSite(t)
	server := httptest.NewTLSServer(nil)
	t.Cleanup(server.Close)
	policy, _ := s.policies.Get("service")
	text := fmt.Sprintf("Endpoint=sb://example.com;SharedAccessKeyName=%s;SharedAccessKey=%s;EntityPath=%s", policy.Name, policy.Key, hubName)
	w := s.stream(t, &store{}, leadsTo(t, server, behindTLS(t, server.TLS, s.address)), func(w *eventstream.Stream) {
		config, err := eventstream.ParseConnectionString(text)
		if err != nil {
			t.Fatal(err)
		}
		w.Config.ConnectionString = config.ConnectionString
	})
	w.reaches(t, eventstream.Reading)
	s.send(0, 100, 300)
	s.log.Append(1, eventhub.Message{
		Annotations: map[string]any{"iothub-connection-device-id": "d", "iothub-message-source": "Telemetry"}, Body: make([]byte, 250<<10),
	})
	eventually(t, "events", func() bool { return w.sink.handled() == 201 })
}

// serveTLS is serve behind TLS.
func (i *impostor) serveTLS(t *testing.T, config *tls.Config) (address string) {
	t.Helper()
	return behindTLS(t, config, i.serve(t))
}

// behindTLS hands what comes by TLS on to an address.
func behindTLS(t *testing.T, config *tls.Config, inner string) (address string) {
	t.Helper()
	own := &tls.Config{Certificates: config.Certificates, MinVersion: tls.VersionTLS12}
	return accepting(t, func(near net.Conn) { handOn(tls.Server(near, own), inner, func() {}) })
}

// accepting listens, and calls a function for each connection.
func accepting(t *testing.T, each func(net.Conn)) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			each(conn)
		}
	}()
	return l.Addr().String()
}

// handOn hands a connection on to an address, and calls a function once the near side has ended.
func handOn(near net.Conn, inner string, ended func()) {
	far, err := net.Dial("tcp", inner)
	if err != nil {
		_ = near.Close()
		return
	}
	go func() { _, _ = io.Copy(far, near); ended(); _ = far.Close() }()
	go func() { _, _ = io.Copy(near, far); _ = near.Close() }()
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
