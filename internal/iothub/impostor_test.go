package iothub

import (
	"bytes"
	"compress/gzip"
	"context"
	"io"
	"net/http"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// tooMuch is what an impostor may not get through, in bytes: an answer and what buffers of both sides hold beside it stay far below.
const tooMuch = 64 << 20

// endless begins an answer and then goes on with a part of it until nobody reads any more. sent counts bytes.
func endless(begin, part string, sent *atomic.Int64) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		_, err = io.WriteString(conn, begin)
		for err == nil && sent.Load() < tooMuch {
			var n int
			n, err = io.WriteString(conn, part)
			sent.Add(int64(n))
		}
	}
}

// dripping begins an answer and then sends a part of it ten times a second.
func dripping(begin, part string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		conn, _, err := w.(http.Hijacker).Hijack()
		if err != nil {
			panic(err)
		}
		defer func() { _ = conn.Close() }()
		tick := time.NewTicker(100 * time.Millisecond)
		defer tick.Stop()
		for _, err = io.WriteString(conn, begin); err == nil; _, err = io.WriteString(conn, part) {
			<-tick.C
		}
	}
}

func zipped(n int) string {
	var b bytes.Buffer
	w := gzip.NewWriter(&b)
	_, _ = w.Write([]byte("[" + strings.Repeat(" ", n) + "]"))
	_ = w.Close()
	return b.String()
}

// A hub that is none may answer with anything: a call ends with an error, in time, in the memory of a few answers, after one request.
func TestWhatAnImpostorAnswersIsBounded(t *testing.T) {
	const ok = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
	chunk := strings.Repeat("[", 1<<16)
	var sent atomic.Int64
	for name, answers := range map[string]http.HandlerFunc{
		"a body that never ends":          endless(ok+"Transfer-Encoding: chunked\r\n\r\n", "10000\r\n"+chunk+"\r\n", &sent),
		"a body of no length":             endless(ok+"Connection: close\r\n\r\n", chunk, &sent),
		"headers that never end":          endless(ok, "X-A: "+strings.Repeat("a", 1000)+"\r\n", &sent),
		"a header that never ends":        endless(ok+"X-A: ", strings.Repeat("a", 1000), &sent),
		"a status line that never ends":   endless("HTTP/1.1 200 ", strings.Repeat("O", 1000), &sent),
		"interim answers that never end":  endless("", "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n", &sent),
		"trailers that never end":         endless(ok+"Transfer-Encoding: chunked\r\nTrailer: X-A\r\n\r\n0\r\n", "X-A: "+strings.Repeat("a", 1000)+"\r\n", &sent),
		"chunk extensions that never end": endless(ok+"Transfer-Encoding: chunked\r\n\r\n1;", strings.Repeat("a", 1000), &sent),
		"a body that was compressed":      answer(200, zipped(200<<20), "Content-Encoding", "gzip"),
		"brackets":                        answer(200, strings.Repeat("[", 4_000_000)),
		"a body that drips":               dripping(ok+"Content-Length: 1000000\r\n\r\n", " "),
		"headers that drip":               dripping(ok, "X-A: a\r\n"),
		"interim answers that drip":       dripping("", "HTTP/1.1 102 Processing\r\n\r\n"),
		"another protocol":                written("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n", false),
		"a status that there is not":      answer(999, "{}"),
		"a status of four digits":         written("HTTP/1.1 2000 OK\r\nContent-Length: 2\r\n\r\n{}", false),
		"HTTP/2 that nobody asked for":    written("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", false),
		"two lengths":                     written(ok+"Content-Length: 2\r\nContent-Length: 4\r\n\r\n{}{}", false),
		"a length below zero":             written(ok+"Content-Length: -1\r\n\r\n{}", false),
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, answers)
			c := p.client(t, func(o *Options) { o.Timeout = time.Second })
			sent.Store(0)
			before := allocated()
			began := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
			defer cancel()
			err := calls[OpGetTwin](ctx, c)
			if err == nil || ctx.Err() != nil {
				t.Fatalf("error %v after %s", err, time.Since(began))
			}
			if n := len(p.log()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if n := sent.Load(); n >= tooMuch {
				t.Errorf("%d bytes were read", n)
			}
			if n := allocated() - before; n > tooMuch {
				t.Errorf("%d bytes were allocated", n)
			}
			if text := err.Error(); len(text) > 2000 || strings.ContainsAny(text, "\x00\x1b\r\n") {
				t.Errorf("error text: %.300q", text)
			}
		})
	}
}

// allocated is how many bytes this process ever allocated, the peer's included.
func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}
