package hostile

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"time"

	"k8s.io/client-go/util/cert"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
)

// impostorCAFile has the certificate that the impostor's is checked against.
const impostorCAFile = "impostor-ca.pem"

// impostor is a server of the attacker's that plays a hub, a models repository, or nobody.
type impostor struct {
	address string
	ca      string
	server  *http.Server
	silent  *silence

	mu     sync.Mutex
	answer http.HandlerFunc // nil: not found
	ended  chan struct{}    // closed when answers under way have to end
	asked  int
}

// newImpostor starts it at a loopback address, and writes its certificate to a file.
func newImpostor(caFile string) (*impostor, error) {
	addresses, err := freeport.Addresses(2)
	if err != nil {
		return nil, err
	}
	certificate, key, err := cert.GenerateSelfSignedCertKey("localhost", []net.IP{net.IPv4(127, 0, 0, 1)}, nil)
	if err != nil {
		return nil, err
	}
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return nil, err
	}
	if err := os.WriteFile(caFile, certificate, 0o600); err != nil {
		return nil, err
	}
	i := &impostor{address: portOf(addresses[0]), ca: string(certificate), ended: make(chan struct{})}
	if i.silent, err = newSilence(addresses[1]); err != nil {
		return nil, err
	}
	listener, err := tls.Listen("tcp", addresses[0], &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12})
	if err != nil {
		return nil, err
	}
	i.server = &http.Server{Handler: i, ReadHeaderTimeout: time.Minute, ErrorLog: log.New(io.Discard, "", 0)} // a peer that gives up is no error here
	go func() { _ = i.server.Serve(listener) }()                                                              // until this process ends
	return i, nil
}

// portOf is a loopback address by the name that certificates have.
func portOf(address string) string {
	_, port, _ := net.SplitHostPort(address)
	return "localhost:" + port
}

func (i *impostor) url() string { return "https://" + i.address }

// allowed is what the operator is started with, so that the impostor is a repository like any other.
func (i *impostor) allowed() string { return "localhost" }

// ServeHTTP plays what play said last.
func (i *impostor) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	i.mu.Lock()
	i.asked++
	answer, ended := i.answer, i.ended
	i.mu.Unlock()
	if answer == nil {
		http.NotFound(w, r)
		return
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	go func() {
		select {
		case <-ended:
			cancel()
		case <-ctx.Done():
		}
	}()
	answer(w, r.WithContext(ctx))
}

// play answers every request in a way from now on.
func (i *impostor) play(answer http.HandlerFunc) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.answer = answer
}

// requests is how many there were.
func (i *impostor) requests() int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.asked
}

// reset ends all answers, and plays nobody.
func (i *impostor) reset() {
	i.mu.Lock()
	defer i.mu.Unlock()
	close(i.ended)
	i.ended, i.answer, i.asked = make(chan struct{}), nil, 0
	i.silent.hangUp()
}

// drip sends an answer so slowly that it never ends in time.
func drip(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	w.Header().Set("Content-Type", "application/json")
	for {
		if _, err := io.WriteString(w, " "); err != nil || http.NewResponseController(w).Flush() != nil {
			return
		}
		select {
		case <-r.Context().Done():
			return
		case <-tick.C:
		}
	}
}

// hubWith plays a hub whose twins are empty, with an answer of its own to queries.
func hubWith(query http.HandlerFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		path := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
		switch {
		case r.URL.Path == "/devices/query":
			query(w, r)
		case len(path) > 1 && (path[0] == "twins" || path[0] == "digitaltwins"):
			_, _ = io.WriteString(w, emptyTwin(path[1]))
		default:
			http.NotFound(w, r)
		}
	}
}

func emptyTwin(device string) string {
	section := `{"$metadata":{"$lastUpdated":"2026-01-01T00:00:00Z"},"$version":1}`
	return fmt.Sprintf(`{"deviceId":%q,"etag":"AAAAAAAAAAE=","deviceEtag":"MTIz","version":2,"connectionState":"Connected","status":"enabled","properties":{"desired":%s,"reported":%s}}`,
		device, section, section)
}

// noRows answers a query with nothing.
func noRows(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }

// endlessPages answers each query with rows that nobody asked for, and another page to come. The queries that try a credential are answered well.
func endlessPages(w http.ResponseWriter, r *http.Request) {
	sql, _ := io.ReadAll(r.Body)
	if !strings.Contains(string(sql), "WHERE deviceId IN") {
		noRows(w, r)
		return
	}
	page := r.Header.Get("X-Ms-Continuation")
	rows := make([]map[string]any, 1000)
	for i := range rows {
		rows[i] = map[string]any{
			"deviceId": fmt.Sprintf("x%s-%d", page, i), "etag": "AAAA", "deviceEtag": "a", "version": 1, "connectionState": "Connected", "pad": strings.Repeat("y", 2000),
		}
	}
	w.Header().Set("X-Ms-Continuation", nextPage(page))
	_ = json.NewEncoder(w).Encode(rows) //nolint:errchkjson // the peer may have gone
}

func nextPage(page string) string {
	n := 0
	_, _ = fmt.Sscan(page, &n) // the first one has no number
	return fmt.Sprint(n + 1)
}

// silence is an address that accepts connections and says nothing.
type silence struct {
	address string
	mu      sync.Mutex
	open    []net.Conn
}

func newSilence(address string) (*silence, error) {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		return nil, err
	}
	s := &silence{address: portOf(address)}
	go func() {
		for {
			c, err := listener.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			s.open = append(s.open, c)
			s.mu.Unlock()
		}
	}()
	return s, nil
}

// hangUp closes the connections that there are.
func (s *silence) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, c := range s.open {
		_ = c.Close() // the peer may have done so
	}
	s.open = nil
}
