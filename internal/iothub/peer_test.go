package iothub

import (
	"context"
	"crypto/tls"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"
)

const (
	testHost = "factory.azure-devices.net"
	testKey  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=" // bytes 0 to 31
	testETag = "AAAAAAAAAAU="
	twinBody = `{"deviceId":"dev1","etag":"AAAAAAAAAAY=","deviceEtag":"NjEy","version":7,` +
		`"properties":{"desired":{"a":1,"$metadata":{"$lastUpdated":"2021-07-07T20:45:24.2374163Z"},"$version":5},"reported":{"$version":2}}}`
	digitalTwinBody = `{"$dtId":"dev1","$metadata":{"$model":""}}`
)

func connectionString(key string) string {
	return "HostName=" + testHost + ";SharedAccessKeyName=service;SharedAccessKey=" + key
}

// received is a request as the peer saw it.
type received struct {
	method, uri, host, proto string
	header                   http.Header
	transferEncoding         []string
	contentLength            int64
	body                     string
}

// peer is a hub that answers by script: every request takes the next answer, and the last answer repeats.
type peer struct {
	*httptest.Server

	mu          sync.Mutex
	answers     []http.HandlerFunc
	requests    []received
	connections int
}

func newPeer(t *testing.T, answers ...http.HandlerFunc) *peer {
	t.Helper()
	p := &peer{answers: answers}
	p.Server = httptest.NewUnstartedServer(p)
	p.EnableHTTP2 = true // offered, and not to be taken
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.Config.ConnState = func(_ net.Conn, s http.ConnState) {
		if s == http.StateNew {
			p.mu.Lock()
			defer p.mu.Unlock()
			p.connections++
		}
	}
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *peer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	p.mu.Lock()
	p.requests = append(p.requests, received{
		r.Method, r.RequestURI, r.Host, r.Proto, r.Header.Clone(), r.TransferEncoding, r.ContentLength, string(body),
	})
	next := p.answers[0]
	if len(p.answers) > 1 {
		p.answers = p.answers[1:]
	}
	p.mu.Unlock()
	next(w, r)
}

func (p *peer) log() []received {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]received(nil), p.requests...)
}

func (p *peer) accepted() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.connections
}

// options talk to the peer as to a hub behind a private endpoint.
func (p *peer) options(t *testing.T) Options {
	t.Helper()
	cs, err := ParseConnectionString(connectionString(testKey))
	if err != nil {
		t.Fatal(err)
	}
	return Options{
		HostName: testHost, Endpoint: p.URL, ConnectionString: cs,
		CABundle:            pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}),
		AllowedHostSuffixes: []string{".azure-devices.net", "127.0.0.1"},
		Timeout:             20 * time.Second,
	}
}

func (p *peer) client(t *testing.T, change ...func(*Options)) *Client {
	t.Helper()
	o := p.options(t)
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// answer is a whole answer. Header is name, value, name, value...
func answer(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json; charset=utf-8")
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

// written is raw bytes and then the end of the connection, by reset if wanted.
func written(raw string, reset bool) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		_, _ = io.WriteString(conn, raw)
		tcp := conn.(*tls.Conn).NetConn().(*net.TCPConn)
		if reset {
			_ = tcp.SetLinger(0)
		}
		_ = tcp.Close()
	}
}

func whole(body string) string {
	return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s", len(body), body)
}

var testInvocation = Invocation{
	DeviceID: "dev1", Component: "c", Command: "reboot", Payload: []byte(`{"delay":5}`), Connect: 10 * time.Second, Response: 30 * time.Second,
}

// calls are all operations, each as one call that succeeds on the answers in goodAnswers.
var calls = map[Operation]func(context.Context, *Client) error{
	OpGetTwin: func(ctx context.Context, c *Client) error {
		_, err := c.GetTwin(ctx, "dev1")
		return err
	},
	OpPatchTwin: func(ctx context.Context, c *Client) error {
		_, err := c.PatchTwin(ctx, "dev1", []byte(`{"properties":{"desired":{"a":1}}}`), testETag)
		return err
	},
	OpGetDigitalTwin: func(ctx context.Context, c *Client) error {
		_, err := c.GetDigitalTwin(ctx, "dev1")
		return err
	},
	OpPatchDigitalTwin: func(ctx context.Context, c *Client) error {
		_, err := c.PatchDigitalTwin(ctx, "dev1", []byte(`[{"op":"add","path":"/a","value":1}]`), testETag)
		return err
	},
	OpQuery: func(ctx context.Context, c *Client) error {
		_, err := c.Query(ctx, Query{SQL: "SELECT * FROM devices"})
		return err
	},
	OpInvokeCommand: func(ctx context.Context, c *Client) error {
		_, err := c.InvokeCommand(ctx, testInvocation)
		return err
	},
	OpInvokeMethod: func(ctx context.Context, c *Client) error {
		_, err := c.InvokeMethod(ctx, testInvocation)
		return err
	},
}

var goodAnswers = map[Operation]http.HandlerFunc{
	OpGetTwin:          answer(200, twinBody),
	OpPatchTwin:        answer(200, twinBody),
	OpGetDigitalTwin:   answer(200, digitalTwinBody, "ETag", `"AAAAAAAAAAY="`),
	OpPatchDigitalTwin: answer(202, "", "ETag", `"AAAAAAAAAAY="`),
	OpQuery:            answer(200, `[{"deviceId":"dev1"}]`),
	OpInvokeCommand:    answer(200, "{}", "x-ms-command-statuscode", "200"),
	OpInvokeMethod:     answer(200, `{"status":200,"payload":{}}`),
}

// newPlainPeer answers without TLS and returns its URL.
func newPlainPeer(t *testing.T) string {
	t.Helper()
	s := httptest.NewServer(goodAnswers[OpGetTwin])
	t.Cleanup(s.Close)
	return s.URL
}
