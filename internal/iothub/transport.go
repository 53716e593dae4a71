package iothub

import (
	"crypto/tls"
	"crypto/x509"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

const (
	maxIdleConns       = 64 // per hub; more concurrent calls than this dial anew
	idleConnTimeout    = time.Minute
	dialTimeout        = 10 * time.Second
	dialKeepAlive      = 30 * time.Second
	handshakeTimeout   = 10 * time.Second
	maxResponseHeaders = 64 << 10 // bytes
)

// transport sends each request once. It is HTTP/1.1, as every Microsoft SDK speaks to IoT Hub: over HTTP/2 net/http repeats
// requests on its own, and one dead connection would stall all calls to the hub.
type transport struct{ http *http.Transport }

func newTransport(caBundle []byte) (*transport, error) {
	roots, err := rootPool(caBundle)
	if err != nil {
		return nil, err
	}
	dialer := &net.Dialer{Timeout: dialTimeout, KeepAlive: dialKeepAlive}
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &transport{http: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            dialer.DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots}, // ServerName: the host dialled
		TLSHandshakeTimeout:    handshakeTimeout,
		Protocols:              protocols,
		DisableCompression:     true,
		MaxIdleConns:           maxIdleConns,
		MaxIdleConnsPerHost:    maxIdleConns,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxResponseHeaders,
	}}, nil
}

// rootPool is nil, which means the system's, without a bundle.
func rootPool(caBundle []byte) (*x509.CertPool, error) {
	if len(caBundle) == 0 {
		return nil, nil
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(caBundle) {
		return nil, &ConfigError{Field: "caBundle", Problem: "holds no PEM certificate"}
	}
	return pool, nil
}

// Do implements azcore's policy.Transporter. It works below http.Client, which would follow redirects.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	resp, err := t.http.RoundTrip(fenced(notReplayable(traced(req))))
	if err != nil {
		return nil, &roundTripError{err}
	}
	ofAnswer, _ := req.Context().Value(roomKey{}).(*room)
	resp.Body = &limitedBody{ReadCloser: resp.Body, left: maxResponseBody, room: ofAnswer}
	cleanHead(resp)
	return resp, nil
}

// sentKey is a context's *atomic.Bool that becomes true when the request has a connection to the hub: from then on the hub may have read it. A token that is
// fetched on the way has connections of its own.
type sentKey struct{}

func traced(req *http.Request) *http.Request {
	sent, ok := req.Context().Value(sentKey{}).(*atomic.Bool)
	if !ok {
		return req
	}
	trace := &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { sent.Store(true) }}
	return req.WithContext(httptrace.WithClientTrace(req.Context(), trace))
}

// fenceKey is a context's func() error that is asked before the body of the request is handed on. A
// hub that has the head of a request without its body does nothing: the connection is closed.
type fenceKey struct{}

func fenced(req *http.Request) *http.Request {
	fence, ok := req.Context().Value(fenceKey{}).(func() error)
	if !ok || req.Body == nil {
		return req
	}
	once, again := *req, req.GetBody
	once.Body = &fencedBody{req.Body, req, fence}
	if again != nil {
		once.GetBody = func() (io.ReadCloser, error) {
			body, err := again()
			return &fencedBody{body, req, fence}, err
		}
	}
	return &once
}

type fencedBody struct {
	io.ReadCloser
	of    *http.Request
	fence func() error
}

func (b *fencedBody) Read(p []byte) (int, error) {
	if err := b.fence(); err != nil {
		if sent, ok := b.of.Context().Value(sentKey{}).(*atomic.Bool); ok {
			sent.Store(false)
		}
		return 0, err
	}
	return b.ReadCloser.Read(p)
}

// cleanHead keeps credentials that the peer repeats in a failure from azcore's log, which shows the status line and some
// headers. Those of a success are data: an etag, a continuation.
func cleanHead(resp *http.Response) {
	resp.Status = strconv.Itoa(resp.StatusCode) + " " + http.StatusText(resp.StatusCode)
	if resp.StatusCode < http.StatusMultipleChoices {
		return
	}
	for _, values := range resp.Header {
		for i, v := range values {
			values[i] = redact.Credentials(v)
		}
	}
}

// roundTripError cleans the text of an error, which may quote what the peer sent, or name our own port.
type roundTripError struct{ err error }

func (e *roundTripError) Error() string { return redact.Text(withoutLocalPort(e.err.Error())) }
func (e *roundTripError) Unwrap() error { return e.err }

// notReplayable keeps net/http from sending a GET again after the hub has read it: it repeats a request without body when
// a reused connection breaks before the answer. The empty body and the identity encoding put nothing on the wire.
func notReplayable(req *http.Request) *http.Request {
	if req.Method != http.MethodGet {
		return req // only repeated if nothing of it was written
	}
	once := *req
	once.Body, once.GetBody, once.TransferEncoding = emptyBody{}, nil, []string{"identity"}
	return &once
}

type emptyBody struct{}

func (emptyBody) Read([]byte) (int, error) { return 0, io.EOF }
func (emptyBody) Close() error             { return nil }
