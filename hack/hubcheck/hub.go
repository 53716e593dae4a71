package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	apiVersion   = "2021-04-12"
	callTime     = 90 * time.Second // the hub holds a request back for up to 60 s
	largestReply = 8 << 20
)

// hub asks one hub by plain HTTP: raw answers matter here.
type hub struct {
	hostName, base string
	policy         string
	key            []byte
	http           *http.Client
	meter          *meter
}

// newHub is for a connection string that was checked.
func newHub(connectionString, endpoint string, roots *x509.CertPool, m *meter) (*hub, error) {
	key, err := base64.StdEncoding.DecodeString(fieldOf(connectionString, "SharedAccessKey"))
	if err != nil {
		return nil, errors.New("SharedAccessKey is not base64")
	}
	h := &hub{hostName: fieldOf(connectionString, "HostName"), policy: fieldOf(connectionString, "SharedAccessKeyName"), key: key, meter: m}
	h.base = "https://" + h.hostName
	if endpoint != "" {
		h.base = strings.TrimSuffix(endpoint, "/")
	}
	h.http = &http.Client{
		Timeout:       callTime,
		Transport:     &http.Transport{Proxy: http.ProxyFromEnvironment, TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return h, nil
}

// token signs for the hub, for an hour.
func (h *hub) token(now time.Time) string {
	resource := url.QueryEscape(h.hostName)
	expiry := now.Add(time.Hour).Unix()
	mac := hmac.New(sha256.New, h.key)
	_, _ = fmt.Fprintf(mac, "%s\n%d", resource, expiry) // a hash takes everything
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", resource,
		url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), expiry, url.QueryEscape(h.policy))
}

// ask makes one call, without a second try, and counts what it costs. Headers are pairs of name and value.
func (h *hub) ask(ctx context.Context, method, path, body string, headers ...string) (answer, error) {
	bare, query, _ := strings.Cut(path, "?")
	billedRequest, billedAnswer := billed(method, bare)
	if billedRequest || billedAnswer {
		if err := h.meter.room(len(body)); err != nil {
			return answer{}, err
		}
	}
	values, _ := url.ParseQuery(query)
	values.Set("api-version", apiVersion)
	request, err := http.NewRequestWithContext(ctx, method, h.base+bare+"?"+values.Encode(), strings.NewReader(body))
	if err != nil {
		return answer{}, err
	}
	request.Host = h.hostName
	request.Header.Set("Authorization", h.token(time.Now()))
	request.Header.Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i+1 < len(headers); i += 2 {
		request.Header.Set(headers[i], headers[i+1])
	}
	if billedRequest {
		h.meter.spend(len(body))
	}
	a, err := h.send(request)
	if err == nil && billedAnswer {
		h.meter.spend(len(a.body))
	}
	return a, err
}

func (h *hub) send(request *http.Request) (answer, error) {
	began := time.Now()
	response, err := h.http.Do(request)
	if err != nil {
		return answer{}, fmt.Errorf("asking the hub: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	raw, err := io.ReadAll(io.LimitReader(response.Body, largestReply))
	if err != nil {
		return answer{}, fmt.Errorf("reading the hub's answer: %w", err)
	}
	return answer{response.StatusCode, response.Header, raw, time.Since(began)}, nil
}

// anyETag lets a write be unconditional, as an update.
var anyETag = []string{"If-Match", `"*"`}
