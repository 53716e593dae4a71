package models

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// tooMuch is what a repository may not get through, in bytes: a file and what buffers of both sides hold beside it stay far below.
const tooMuch = 64 << 20

// raw sends text, and then a part again and again until nobody reads any more.
func raw(text, part string, sent *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, text)
		for err == nil && part != "" && sent.Load() < tooMuch {
			var n int
			n, err = io.WriteString(conn, part)
			sent.Add(int64(n))
		}
	}
}

// unpacks is a file that is small to send and large to read.
func unpacks(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Encoding", "gzip")
	z := gzip.NewWriter(w)
	_, _ = z.Write(bytes.Repeat([]byte(" "), 1<<28)) // the reader may hang up
	_ = z.Close()
}

// drips never ends a file, and sends some of it ten times a second.
func drips(w http.ResponseWriter, r *http.Request) {
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
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

// A models repository may answer with anything: it is unavailable then, in time, and in the memory of a file.
func TestWhatAHostileRepositoryServesIsBounded(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	var sent atomic.Int64
	for name, answer := range map[string]http.HandlerFunc{
		"a file that never ends":         raw(ok+"Transfer-Encoding: chunked\r\n\r\n", "10000\r\n"+strings.Repeat("[", 1<<16)+"\r\n", &sent),
		"headers that never end":         raw(ok, "X-A: "+strings.Repeat("a", 1000)+"\r\n", &sent),
		"interim answers that never end": raw("", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", &sent),
		"another protocol":               raw("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", "", &sent),
		"no HTTP":                        raw("SSH-2.0-x\r\n\r\n", "", &sent),
		"a file that was compressed":     unpacks,
		"a file that drips":              drips,
		"a redirect to itself": func(w http.ResponseWriter, r *http.Request) {
			http.Redirect(w, r, r.URL.Path, http.StatusPermanentRedirect)
		},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewUnstartedServer(answer)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			defer server.Close()
			sent.Store(0)
			r := NewRepositories([]string{"127.0.0.1"}, server.Client().Transport)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second) // instead of fetchTime
			defer cancel()
			if _, trouble := r.get(ctx, modelKey{"uid", server.URL, pumpID}); trouble == nil || trouble.Reason != v1alpha1.ReasonRepositoryUnavailable {
				t.Errorf("trouble %+v", trouble)
			}
			if n := sent.Load(); n >= tooMuch {
				t.Errorf("%d bytes were read", n)
			}
		})
	}
}
