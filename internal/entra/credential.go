package entra

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"golang.org/x/sync/singleflight"
)

// defaultTimeout of an exchange, the assertion included.
const defaultTimeout = 20 * time.Second

// Options say whose tokens are wanted, and where they come from.
type Options struct {
	// ClientID and TenantID of the application or managed identity.
	ClientID, TenantID string
	// Authority is the https://host[:port] that is asked, see AuthorityOf.
	Authority string
	// CABundle holds the PEM certificates to trust instead of the system's. Empty: the system's.
	CABundle []byte
	// Assertion makes what is exchanged. It is called for every exchange.
	Assertion func(context.Context) (string, error)
	// Timeout of an exchange. Zero: 20 s.
	Timeout time.Duration
	// Clock ages the tokens. Nil: time.Now.
	Clock func() time.Time
}

// Credential holds the tokens of one identity, one for each scope. It is safe for concurrent use.
type Credential struct {
	clientID  string
	tenantID  string
	host      string // of the authority
	assertion func(context.Context) (string, error)
	transport *transport
	timeout   time.Duration
	clock     func() time.Time
	exchanges singleflight.Group // by scope

	mu      sync.Mutex
	tokens  map[string]token
	problem map[string]trouble
	issuer  string
}

// trouble is the last failure of a scope, until an exchange succeeds.
type trouble struct {
	err  error
	seen time.Time
}

var _ azcore.TokenCredential = (*Credential)(nil)

// New checks the options and makes a credential; nothing is sent.
func New(o Options) (*Credential, error) {
	host, err := hostOf(o.Authority)
	if err != nil {
		return nil, err
	}
	t, err := newTransport(host, o.CABundle)
	if err != nil {
		return nil, err
	}
	c := &Credential{
		clientID: o.ClientID, tenantID: o.TenantID, host: host, assertion: o.Assertion, transport: t,
		timeout: o.Timeout, clock: o.Clock, tokens: map[string]token{}, problem: map[string]trouble{},
	}
	if c.timeout == 0 {
		c.timeout = defaultTimeout
	}
	if c.clock == nil {
		c.clock = time.Now
	}
	_, err = c.exchanger()
	return c, err
}

// exchanger makes what exchanges one assertion. It has a cache of its own, by a clock of its own, which would come between us and a new token: so each is used
// once.
func (c *Credential) exchanger() (*azidentity.ClientAssertionCredential, error) {
	return azidentity.NewClientAssertionCredential(c.tenantID, c.clientID, c.noted, &azidentity.ClientAssertionCredentialOptions{
		ClientOptions: policy.ClientOptions{
			Cloud:     cloud.Configuration{ActiveDirectoryAuthorityHost: "https://" + c.host + "/"},
			Retry:     policy.RetryOptions{MaxRetries: -1}, // one layer retries, and this is not it
			Transport: c.transport,
		},
		// It would ask another host whether the authority is one: that is for the operator's flags to say.
		DisableInstanceDiscovery: true,
	})
}

// now is wall time: the monotonic clock hides a corrected clock, and stands still in a suspended machine.
func (c *Credential) now() time.Time { return c.clock().Round(0) }

// noted keeps the failure of an assertion as it is, and what a good one says of its issuer.
func (c *Credential) noted(ctx context.Context) (string, error) {
	made, err := c.assertion(ctx)
	if err != nil {
		traceOf(ctx).failed(NoAssertion, err)
		return "", err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.issuer = issuerOf(made)
	return made, nil
}

// issuerOf reads who signed an assertion, without believing it.
func issuerOf(assertion string) string {
	parts := strings.Split(assertion, ".")
	if len(parts) != 3 {
		return ""
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return ""
	}
	var claims struct {
		Issuer string `json:"iss"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return ""
	}
	return claims.Issuer
}

// GetToken returns a token for a scope. One that is good for a while yet is returned at once, and renewed in the background when it is time. Those who wait
// for a new one share one exchange and its outcome. The error is an *Error, or that of the context.
func (c *Credential) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if len(o.Scopes) != 1 {
		return azcore.AccessToken{}, fmt.Errorf("a token is for one scope, got %d", len(o.Scopes))
	}
	scope := o.Scopes[0]
	held, rests := c.held(scope)
	now := c.now()
	if held.isFresh(now) || held.isUsable(now) && rests {
		return held.reveal(), nil
	}
	done := c.exchanges.DoChan(scope, func() (any, error) { return nil, c.renew(scope) })
	if held.isUsable(now) {
		return held.reveal(), nil
	}
	select {
	case r := <-done:
		if r.Err != nil {
			return azcore.AccessToken{}, r.Err
		}
		held, _ = c.held(scope)
		return held.reveal(), nil
	case <-ctx.Done():
		return azcore.AccessToken{}, ctx.Err()
	}
}

// Renew has a token of a scope replaced that may have been overtaken, and returns when that is done, or
// has failed. What a hub says of a new token is final, and so that stays.
func (c *Credential) Renew(ctx context.Context, scope string) {
	if age := c.now().Sub(c.acquired(scope)); age >= 0 && age < justAcquired {
		return
	}
	select {
	case <-c.exchanges.DoChan(scope, func() (any, error) { return nil, c.renew(scope) }):
	case <-ctx.Done():
	}
}

// held is the last token, and whether it rests from a failed renewal.
func (c *Credential) held(scope string) (token, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	p, failed := c.problem[scope]
	return c.tokens[scope], failed && c.now().Sub(p.seen) < pause
}

// Problem is why the last exchange failed, nil if it did not, and whether the token from before is good yet.
func (c *Credential) Problem(scope string) (err error, usable bool) { // the error is the answer here
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.problem[scope].err, c.tokens[scope].isUsable(c.now())
}

// acquired is when the last token was.
func (c *Credential) acquired(scope string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.tokens[scope].acquired
}

// renew makes one exchange, whoever waits for it.
func (c *Credential) renew(scope string) error {
	ctx, cancel := context.WithTimeout(context.Background(), c.timeout)
	defer cancel()
	seen := &trace{}
	exchanger, err := c.exchanger()
	if err != nil {
		return err // it was made before, of the same
	}
	got, err := exchanger.GetToken(context.WithValue(ctx, traceKey{}, seen), policy.TokenRequestOptions{Scopes: []string{scope}})
	c.mu.Lock()
	defer c.mu.Unlock()
	if err != nil {
		failure := seen.failure()
		failure.Issuer = c.issuer
		c.problem[scope] = trouble{failure, c.now()}
		return failure
	}
	c.tokens[scope] = newToken(got, c.now())
	delete(c.problem, scope)
	return nil
}

// failure is what the exchange met last: its own failure, or an answer that brought no token.
func (t *trace) failure() *Error {
	switch {
	case t.err != nil:
		return &Error{Kind: t.kind, Err: t.err}
	case t.status != 0:
		return judge(t.status, t.body)
	}
	return &Error{Kind: Unreachable, Err: errors.New("nothing was sent")}
}

// String names no secret.
func (c *Credential) String() string { return "entra.Credential" }

// GoString is String.
func (c *Credential) GoString() string { return c.String() }
