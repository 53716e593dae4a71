package webhooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"
)

// freePort is one that nobody listens at.
func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	return l.Addr().(*net.TCPAddr).Port
}

// served is a server that listens, with a handler that answers.
func served(t *testing.T) (address string) {
	t.Helper()
	certificate, encoded := newClient(t)
	key, err := x509.MarshalPKCS8PrivateKey(certificate.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	for name, content := range map[string][]byte{"tls.crt": encoded, "tls.key": pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	port := freePort(t)
	s, err := NewServer(port, dir, "")
	if err != nil {
		t.Fatal(err)
	}
	s.Register("/validate", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, r.Proto) }))
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- s.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		s.Farewell()
	})
	started := s.StartedChecker()
	for deadline := time.After(20 * time.Second); started(nil) != nil; {
		select {
		case <-deadline:
			t.Fatal(started(nil))
		case <-time.After(time.Millisecond):
		}
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}

// trusting takes any certificate.
func trusting(protocols ...string) *tls.Config {
	return &tls.Config{InsecureSkipVerify: true, NextProtos: protocols} //nolint:gosec // the server is the test's own
}

func TestReviewsComeByEitherProtocol(t *testing.T) {
	address := served(t)
	for _, c := range []struct {
		protocol string
		http2    bool
	}{{"HTTP/1.1", false}, {"HTTP/2.0", true}} {
		transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: c.http2}
		response, err := (&http.Client{Transport: transport}).Post("https://"+address+"/validate", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(response.Body)
		_ = response.Body.Close()
		transport.CloseIdleConnections()
		if err != nil || response.StatusCode != http.StatusOK || string(body) != c.protocol {
			t.Errorf("%s: HTTP %d %q, %v", c.protocol, response.StatusCode, body, err)
		}
	}
}

// A stranger who reaches the port fills no memory with headers, and with connections no more than a
// bound; and those that an API server has are not taken from it.
func TestConnectionsToThePortAreBounded(t *testing.T) {
	address := served(t)
	transport := &http.Transport{TLSClientConfig: trusting(), ForceAttemptHTTP2: true}
	defer transport.CloseIdleConnections()
	server := &http.Client{Transport: transport}
	ask := func() {
		t.Helper()
		response, err := server.Post("https://"+address+"/validate", "application/json", strings.NewReader("{}"))
		if err != nil {
			t.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
	}
	ask()
	before := inUse()
	line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	for range 3 * maxConnections {
		conn, err := tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", address, trusting("http/1.1"))
		if err != nil {
			continue
		}
		defer func() { _ = conn.Close() }()
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = io.WriteString(conn, "POST /validate HTTP/1.1\r\nHost: a\r\n")
		for left := 1000; err == nil && left > 0; left-- {
			_, err = io.WriteString(conn, line)
		}
	}
	if more := inUse() - before; more > 16<<20 {
		t.Errorf("%d MiB more are in use", more>>20)
	}
	var silent []net.Conn
	for range 2 * maxConnections {
		conn, err := net.Dial("tcp", address)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = conn.Close() }()
		silent = append(silent, conn)
	}
	closed := 0
	for _, conn := range silent {
		_ = conn.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, os.ErrDeadlineExceeded) {
			closed++
		}
	}
	if closed < maxConnections {
		t.Errorf("%d of %d connections were closed, want at least %d", closed, len(silent), maxConnections)
	}
	ask()
}

// inUse is how many bytes of the heap are.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}
