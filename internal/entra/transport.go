package entra

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

const (
	dialTimeout        = 10 * time.Second
	idleConnTimeout    = time.Minute
	maxResponseHeaders = 64 << 10 // bytes
	maxResponseBody    = 1 << 20  // bytes; an answer with a token has a few KB
)

// transport sends requests to one authority, each once, and follows no redirect.
type transport struct {
	host string
	http *http.Transport
}

func newTransport(host string, caBundle []byte) (*transport, error) {
	var roots *x509.CertPool // the system's
	if len(caBundle) > 0 {
		roots = x509.NewCertPool()
		if !roots.AppendCertsFromPEM(caBundle) {
			return nil, errors.New("the CA bundle of the authority holds no PEM certificate")
		}
	}
	return &transport{host: host, http: &http.Transport{
		Proxy:                  http.ProxyFromEnvironment,
		DialContext:            (&net.Dialer{Timeout: dialTimeout}).DialContext,
		TLSClientConfig:        &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: roots},
		TLSHandshakeTimeout:    dialTimeout,
		IdleConnTimeout:        idleConnTimeout,
		MaxResponseHeaderBytes: maxResponseHeaders,
	}}, nil
}

// Do implements azcore's policy.Transporter. The library above asks the authority where its token endpoint is, and believes the answer: we do not.
func (t *transport) Do(r *http.Request) (*http.Response, error) {
	seen := traceOf(r.Context())
	if r.URL.Scheme != "https" || !strings.EqualFold(r.URL.Host, t.host) {
		seen.failed(Unreadable, fmt.Errorf("the authority %s points to another host, %q", t.host, r.URL.Host))
		return nil, seen.err
	}
	response, err := t.http.RoundTrip(r)
	if err != nil {
		seen.failed(Unreachable, err)
		return nil, err
	}
	body, err := io.ReadAll(io.LimitReader(response.Body, maxResponseBody))
	_ = response.Body.Close()
	if err != nil {
		seen.failed(Unreachable, err)
		return nil, err
	}
	seen.answered(response.StatusCode, body)
	response.Body = io.NopCloser(bytes.NewReader(body))
	return response, nil
}

// trace is what one exchange met. The library above turns errors into text.
type trace struct {
	kind   Kind
	err    error
	status int
	body   []byte
}

type traceKey struct{}

func traceOf(ctx context.Context) *trace {
	if t, ok := ctx.Value(traceKey{}).(*trace); ok {
		return t
	}
	return &trace{}
}

func (t *trace) failed(kind Kind, err error) { t.kind, t.err = kind, err }

func (t *trace) answered(status int, body []byte) { t.status, t.body = status, body }
