package simulator_test

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator"
	clocktesting "k8s.io/utils/clock/testing"
)

// client talks to a simulator over TLS and signs its requests itself.
type client struct {
	t      testing.TB
	sim    *simulator.Simulator
	clock  *clocktesting.FakeClock
	http   *http.Client
	policy string
}

func start(t testing.TB) *client {
	t.Helper()
	return startWith(t, simulator.Options{})
}

// startWith adds what every test wants to the options.
func startWith(t testing.TB, o simulator.Options) *client {
	t.Helper()
	c := clocktesting.NewFakeClock(time.Date(2026, 1, 2, 4, 1, 0, 123456700, time.UTC))
	o.Clock, o.Seed, o.AckDelay, o.DebugListen = c.Now, 1, -1, "127.0.0.1:0"
	sim, err := simulator.Start(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = sim.Close() })
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(sim.CAPEM())
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}}
	t.Cleanup(transport.CloseIdleConnections)
	return &client{t, sim, c, &http.Client{Transport: transport}, "iothubowner"}
}

// key reads the connection string as an SDK does.
func (c *client) key(policy string) string {
	for part := range strings.SplitSeq(c.sim.ConnectionString(policy), ";") {
		if value, ok := strings.CutPrefix(part, "SharedAccessKey="); ok {
			return value
		}
	}
	return ""
}

func (c *client) token(policy string) string {
	return sign("factory.azure-devices.net", policy, c.key(policy), c.clock.Now().Add(time.Hour))
}

func sign(resource, policy, key string, expiry time.Time) string {
	raw, _ := base64.StdEncoding.DecodeString(key)
	mac := hmac.New(sha256.New, raw)
	_, _ = fmt.Fprintf(mac, "%s\n%d", url.QueryEscape(resource), expiry.Unix())
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s", url.QueryEscape(resource),
		url.QueryEscape(base64.StdEncoding.EncodeToString(mac.Sum(nil))), expiry.Unix(), policy)
}

// answer is a response, read.
type answer struct {
	t      testing.TB
	status int
	header http.Header
	body   string
}

// request sends a request; headers come in pairs and override the usual ones.
func (c *client) request(ctx context.Context, method, path, body string, headers ...string) (*http.Response, error) {
	c.t.Helper()
	if !strings.Contains(path, "api-version=") {
		path += map[bool]string{true: "&", false: "?"}[strings.Contains(path, "?")] + "api-version=2021-04-12"
	}
	r, err := http.NewRequestWithContext(ctx, method, c.sim.Endpoint()+path, strings.NewReader(body))
	if err != nil {
		c.t.Fatal(err)
	}
	r.Header.Set("Authorization", c.token(c.policy))
	r.Header.Set("Content-Type", "application/json; charset=utf-8")
	for i := 0; i < len(headers); i += 2 {
		r.Header.Set(headers[i], headers[i+1])
	}
	return c.http.Do(r)
}

// failure is why a request got no answer, nil if it got one.
func (c *client) failure(ctx context.Context, method, path, body string) error {
	c.t.Helper()
	resp, err := c.request(ctx, method, path, body)
	if err == nil {
		_ = resp.Body.Close()
	}
	return err
}

func (c *client) do(method, path, body string, headers ...string) answer {
	c.t.Helper()
	resp, err := c.request(c.t.Context(), method, path, body, headers...)
	if err != nil {
		c.t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	data, err := io.ReadAll(resp.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	return answer{c.t, resp.StatusCode, resp.Header, string(data)}
}

func (a answer) want(status int) answer {
	a.t.Helper()
	if a.status != status {
		a.t.Fatalf("status %d, want %d: %s", a.status, status, a.body)
	}
	return a
}

// wantError checks status, header and the E1 envelope.
func (a answer) wantError(status int, code, message string) {
	a.t.Helper()
	a.want(status)
	if got := a.header.Get("iothub-errorcode"); got != code {
		a.t.Errorf("iothub-errorcode %q, want %q", got, code)
	}
	var e1 struct{ Message, ExceptionMessage string }
	a.decode(&e1)
	if want := "ErrorCode:" + code + ";" + message; e1.Message != want {
		a.t.Errorf("message %q, want %q", e1.Message, want)
	}
	if !strings.HasPrefix(e1.ExceptionMessage, "Tracking ID:") || !strings.HasSuffix(e1.ExceptionMessage, "-TimeStamp:01/02/2026 04:01:00") {
		a.t.Errorf("exception message %q", e1.ExceptionMessage)
	}
}

func (a answer) decode(v any) {
	a.t.Helper()
	if err := json.Unmarshal([]byte(a.body), v); err != nil {
		a.t.Fatalf("%v in %s", err, a.body)
	}
}

func (a answer) wantJSON(want string) {
	a.t.Helper()
	wantJSON(a.t, a.body, want)
}

func wantJSON(t testing.TB, got, want string) {
	t.Helper()
	var g, w any
	if err := json.Unmarshal([]byte(got), &g); err != nil {
		t.Fatalf("%v in %s", err, got)
	}
	if err := json.Unmarshal([]byte(want), &w); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(w, g); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
}

func (c *client) must(err error) {
	c.t.Helper()
	if err != nil {
		c.t.Fatal(err)
	}
}

// debug calls the debug API.
func (c *client) debug(method, path, body string) answer {
	c.t.Helper()
	r, err := http.NewRequestWithContext(c.t.Context(), method, c.sim.DebugURL()+path, strings.NewReader(body))
	c.must(err)
	resp, err := http.DefaultClient.Do(r)
	c.must(err)
	defer func() { _ = resp.Body.Close() }()
	read, err := io.ReadAll(resp.Body)
	c.must(err)
	return answer{t: c.t, status: resp.StatusCode, header: resp.Header, body: string(read)}
}

// messagesToday is what the hub has counted.
func (c *client) messagesToday() int64 {
	c.t.Helper()
	var s simulator.Settings
	c.debug("GET", "/settings", "").want(200).decode(&s)
	return s.MessagesToday
}
