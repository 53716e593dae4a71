package iothub

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"strings"
	"sync/atomic"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/runtime"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/streaming"
	"github.com/google/uuid"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
)

const (
	apiVersion     = "2021-04-12"
	moduleName     = "iothub"
	moduleVersion  = "v1alpha1"
	applicationID  = "pnp-operator"
	contentType    = "application/json; charset=utf-8"
	defaultTimeout = 75 * time.Second // the hub queues a throttled request for up to 60 s
)

// Names of headers that are the hub's own.
const (
	headerRequestID    = "Request-Id"
	headerHubRequestID = "X-Ms-Request-Id"
	headerErrorCode    = "Iothub-Errorcode"
	headerMaxItems     = "X-Ms-Max-Item-Count"
	headerContinuation = "X-Ms-Continuation"
)

// Options say which hub to talk to, and how. They may be printed: the key in ConnectionString is not.
type Options struct {
	// HostName of the hub, such as factory.azure-devices.net: the resource of every token and the Host of every request.
	HostName string
	// Endpoint is the https://host:port to dial instead (private link, simulator). Empty: HostName, port 443.
	Endpoint string
	// CABundle holds the PEM certificates to trust instead of the system's. Empty: the system's.
	CABundle []byte
	// ConnectionString is the credential, unless Credential is set. It must be for HostName.
	ConnectionString ConnectionString
	// Credential gives tokens of Microsoft Entra ID for Scope.
	Credential azcore.TokenCredential
	// Scope that tokens are asked for, see entra.HubScope.
	Scope string
	// AllowedHostSuffixes name the hosts that a token may be sent to, see allowlist.List. Empty: none.
	AllowedHostSuffixes []string
	// Tenant whose share of what is held of large answers is taken.
	Tenant string
	// Timeout of a call, including reading the answer. Zero: 75 s, longer than the hub holds back a throttled request.
	Timeout time.Duration
	// Clock dates the tokens. Nil: time.Now.
	Clock func() time.Time
	// Gate lets each request through. Nil: all pass.
	Gate Gate
	// Fence is asked before a request that acts, a write or a command, and again when its body is
	// about to go out. Its error keeps it back: the process may have been stopped since it decided
	// to send. Nil: none is kept back.
	Fence func() error
	// Observe is called once after each HTTP exchange: statusCode is 0 if none arrived, code is "" on success and the
	// Error's otherwise. The hub chooses codes: bound them before they become metric labels. Nil: not called.
	Observe func(op Operation, statusCode int, code string, d time.Duration)
}

// Gate decides when a hub may be asked. Every request passes it by itself.
type Gate interface {
	// Enter is asked before a request of an operation is sent, with the size of its body. Its error is the call's: nothing is sent then.
	Enter(ctx context.Context, op Operation, bytes int) error
	// Leave is told of each exchange that Enter let through, with the same context.
	Leave(ctx context.Context, op Operation, e Exchange)
}

// Exchange is a request that the gate let through, and what became of it.
type Exchange struct {
	Began time.Time
	// Sizes of the bodies of request and answer.
	Asked, Answered int
	// Failure, nil if there was none. Without Sent in it, nothing reached the hub.
	Failure *Error
}

// openGate lets everything pass.
type openGate struct{}

func (openGate) Enter(context.Context, Operation, int) error { return nil }
func (openGate) Leave(context.Context, Operation, Exchange)  {}

// Client asks one hub. It is safe for concurrent use; Close it when the hub is no longer needed.
type Client struct {
	hostName  string
	base      string // scheme, host and port of every request
	timeout   time.Duration
	gate      Gate
	fence     func() error
	observe   func(op Operation, statusCode int, code string, d time.Duration)
	tenant    string
	pipeline  runtime.Pipeline
	transport *transport
	held      *atomic.Int64 // bytes of answers
}

// New checks the options and makes a client; nothing is sent. Its errors are *ConfigError and *allowlist.Error, both
// Terminal.
func New(o Options) (*Client, error) {
	if err := o.validate(); err != nil {
		return nil, err
	}
	t, err := newTransport(o.CABundle)
	if err != nil {
		return nil, err
	}
	c := &Client{tenant: o.Tenant, held: &atomic.Int64{}, hostName: o.HostName, base: o.base(), timeout: o.Timeout, gate: o.Gate, fence: o.Fence, observe: o.Observe, transport: t}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.gate == nil {
		c.gate = openGate{}
	}
	c.pipeline = newPipeline(o, t)
	return c, nil
}

// Allowed returns the hosts that a token for a hub may be sent to.
func Allowed(suffixes []string) allowlist.List {
	return allowlist.List{Entries: suffixes, Flag: "--allowed-hub-suffixes"}
}

func (o Options) allowed() allowlist.List { return Allowed(o.AllowedHostSuffixes) }

func (o Options) validate() error {
	if err := o.allowed().Check(o.HostName, o.Endpoint); err != nil {
		return err
	}
	if o.Timeout < 0 {
		return &ConfigError{Field: "timeout", Problem: "is negative"}
	}
	if o.Credential != nil {
		return o.validateScope()
	}
	if len(o.ConnectionString.key.bytes()) == 0 {
		return &ConfigError{Field: "connection string", Problem: "is missing"}
	}
	if !strings.EqualFold(o.ConnectionString.HostName, o.HostName) {
		return &ConfigError{Field: "connection string", Problem: fmt.Sprintf("is for %q, not for %q", o.ConnectionString.HostName, o.HostName)}
	}
	return nil
}

func (o Options) validateScope() error {
	if o.Scope == "" {
		return &ConfigError{Field: "scope", Problem: "is missing"}
	}
	if len(o.ConnectionString.key.bytes()) > 0 {
		return &ConfigError{Field: "connection string", Problem: "is set beside another credential"}
	}
	return nil
}

// base is built from the parts that the list of allowed hosts has seen, so nothing else of the endpoint gets into a request.
func (o Options) base() string {
	u := &url.URL{Scheme: "https", Host: hostHeader(o.HostName)}
	if o.Endpoint != "" {
		if parsed, err := url.Parse(o.Endpoint); err == nil {
			u.Host = parsed.Host
		}
	}
	return u.String()
}

// hostHeader puts an IPv6 address in brackets.
func hostHeader(host string) string {
	if strings.Contains(host, ":") {
		return "[" + host + "]"
	}
	return host
}

// newPipeline has no retries: MaxRetries 0 would mean three.
func newPipeline(o Options, t *transport) runtime.Pipeline {
	return runtime.NewPipeline(moduleName, moduleVersion,
		runtime.PipelineOptions{PerRetry: []policy.Policy{o.authorization()}},
		&policy.ClientOptions{
			Retry:     policy.RetryOptions{MaxRetries: -1},
			Telemetry: policy.TelemetryOptions{ApplicationID: applicationID},
			Transport: t,
		})
}

// authorization is the policy that attaches tokens.
func (o Options) authorization() policy.Policy {
	if o.Credential != nil {
		return &bearerPolicy{allowed: o.allowed(), credential: o.Credential, scope: o.Scope}
	}
	now := o.Clock
	if now == nil {
		now = time.Now
	}
	return &sasPolicy{allowed: o.allowed(), tokens: tokenSource{
		hostName: o.HostName, policy: o.ConnectionString.SharedAccessKeyName, key: o.ConnectionString.key, now: now,
	}}
}

// Close ends idle connections. Calls under way are not disturbed.
func (c *Client) Close() { c.transport.http.CloseIdleConnections() }

// String names the hub.
func (c *Client) String() string { return "iothub.Client(" + c.hostName + ")" }

// GoString is String.
func (c *Client) GoString() string { return c.String() }

// call is one question to the hub.
type call struct {
	op       Operation
	deviceID string // "" where the call is not about a device
	method   string
	path     string // escaped
	query    url.Values
	timeout  time.Duration // 0: the client's
	hurried  bool          // it waits for a token no longer than tokenPatience
	header   http.Header
	body     []byte
	// decode takes the whole body of a 2xx answer. Its error makes the answer unreadable.
	decode func(header http.Header, body []byte) error
}

// more is the rest of the query string.
func (q call) more() string {
	if len(q.query) == 0 {
		return ""
	}
	return "&" + q.query.Encode()
}

// do asks once, if the gate lets it. All its errors but the gate's are *Error.
func (c *Client) do(ctx context.Context, q call) error {
	if err := ctx.Err(); err != nil {
		return transportError(q, "", nil, err)
	}
	if err := c.fenced(q); err != nil {
		return transportError(q, "", nil, err)
	}
	if err := c.gate.Enter(ctx, q.op, len(q.body)); err != nil {
		return err
	}
	began := time.Now()
	size, failure := c.exchange(ctx, q)
	c.gate.Leave(ctx, q.op, Exchange{Began: began, Asked: len(q.body), Answered: size, Failure: failure})
	if failure == nil {
		return nil // not a typed nil
	}
	return failure
}

// fenced asks the fence about a call.
func (c *Client) fenced(q call) error {
	if c.fence == nil || !q.op.acts {
		return nil
	}
	return c.fence()
}

// exchange sends one request and returns the size of the answer.
func (c *Client) exchange(ctx context.Context, q call) (size int, failure *Error) {
	if q.timeout == 0 {
		q.timeout = c.timeout
	}
	bounded, cancel := context.WithTimeout(ctx, q.timeout)
	defer cancel()
	if q.hurried {
		bounded = context.WithValue(bounded, impatient{}, true)
	}
	ofAnswer := &room{tenant: c.tenant, ofHub: c.held, isOfCommand: q.op.invokes()}
	defer ofAnswer.leave()
	bounded = context.WithValue(bounded, roomKey{}, ofAnswer)
	bounded = context.WithValue(bounded, fenceKey{}, func() error { return c.fenced(q) })
	requestID := uuid.NewString()
	var sent atomic.Bool
	req, err := c.newRequest(context.WithValue(bounded, sentKey{}, &sent), q, requestID)
	if err != nil {
		return 0, transportError(q, requestID, nil, err)
	}
	start := time.Now()
	resp, err := c.pipeline.Do(req) //nolint:bodyclose // azcore's bodyDownloadPolicy has read and closed it, even where it failed
	if err != nil {
		err = q.reason(ctx, bounded, err)
	}
	body, failure := outcome(q, requestID, resp, err)
	if failure != nil {
		failure.Sent = sent.Load()
	}
	c.observed(q, start, resp, failure)
	return len(body), failure
}

// reason prefers an end that we set to what the transport made of it.
func (q call) reason(ctx, bounded context.Context, err error) error {
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case bounded.Err() != nil:
		return fmt.Errorf("no whole answer within %s: %w", q.timeout, bounded.Err())
	default:
		return err
	}
}

// outcome judges an exchange: err is the pipeline's, and resp may be set beside it if the answer could not be read.
func outcome(q call, requestID string, resp *http.Response, err error) (body []byte, failure *Error) {
	if err != nil {
		return nil, transportError(q, requestID, resp, err)
	}
	body, err = runtime.Payload(resp)
	if err != nil {
		return nil, transportError(q, requestID, resp, err)
	}
	if resp.StatusCode < http.StatusOK || resp.StatusCode >= http.StatusMultipleChoices {
		return body, responseError(q, requestID, resp, body)
	}
	if err := decodeWithin(body, func() error { return q.decode(resp.Header, body) }); err != nil {
		return body, unreadable(q, requestID, resp, err)
	}
	return body, nil
}

// observed reports an exchange to the metrics hook. Where nothing was sent there was none.
func (c *Client) observed(q call, start time.Time, resp *http.Response, failure *Error) {
	status, code := 0, ""
	if resp != nil {
		status = resp.StatusCode
	}
	if failure != nil {
		code = failure.Code
	}
	if c.observe != nil && code != CodeHostNotAllowed && code != CodeNoToken && code != CodeIdentityRefused {
		c.observe(q.op, status, code, time.Since(start))
	}
}

func (c *Client) newRequest(ctx context.Context, q call, requestID string) (*policy.Request, error) {
	req, err := runtime.NewRequest(ctx, q.method, c.base+q.path+"?api-version="+apiVersion+q.more())
	if err != nil {
		return nil, errors.New("request could not be made")
	}
	raw := req.Raw()
	raw.Host = hostHeader(c.hostName)
	raw.Header.Set("Accept", "application/json")
	raw.Header.Set(headerRequestID, requestID)
	maps.Copy(raw.Header, q.header)
	if q.body == nil {
		return req, nil
	}
	return req, req.SetBody(streaming.NopCloser(bytes.NewReader(q.body)), contentType)
}
