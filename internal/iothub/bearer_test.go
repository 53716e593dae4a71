package iothub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/pnp-operator/pnp-operator/internal/entra"
)

const testToken = "eyJ0eXAi.secretsecret.secretsecret"

// tokens gives what its function returns, and counts.
type tokens struct {
	give  func(context.Context) (azcore.AccessToken, error)
	asked int
	scope []string
}

func (c *tokens) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	c.asked++
	c.scope = o.Scopes
	return c.give(ctx)
}

func giving(token string, err error) *tokens {
	return &tokens{give: func(context.Context) (azcore.AccessToken, error) { return azcore.AccessToken{Token: token}, err }}
}

func bearing(c azcore.TokenCredential) func(*Options) {
	return func(o *Options) {
		o.ConnectionString, o.Credential, o.Scope = ConnectionString{}, c, "https://iothubs.azure.net/.default"
	}
}

func TestEveryCallBearsAToken(t *testing.T) {
	for op, call := range calls {
		t.Run(op.String(), func(t *testing.T) {
			p, c := newPeer(t, goodAnswers[op]), giving(testToken, nil)
			if err := call(t.Context(), p.client(t, bearing(c))); err != nil {
				t.Fatal(err)
			}
			if got := p.log()[0].header.Get("Authorization"); got != "Bearer "+testToken {
				t.Errorf("Authorization %q", got)
			}
			if len(c.scope) != 1 || c.scope[0] != "https://iothubs.azure.net/.default" {
				t.Errorf("scope %v", c.scope)
			}
		})
	}
}

// renewed are tokens that can be asked for anew.
type renewed struct {
	*tokens

	times int
}

func (r *renewed) Renew(context.Context, string) { r.times++ }

func TestACallMayHaveANewBearerToken(t *testing.T) {
	p, c := newPeer(t, goodAnswers[OpGetTwin]), &renewed{tokens: giving(testToken, nil)}
	client := p.client(t, bearing(c))
	for want, ctx := range []context.Context{t.Context(), Anew(t.Context()), t.Context()} {
		if err := calls[OpGetTwin](ctx, client); err != nil {
			t.Fatal(err)
		}
		if c.times != min(want, 1) || c.asked != want+1 {
			t.Errorf("call %d: renewed %d times, asked for %d", want, c.times, c.asked)
		}
	}
}

func TestNoBearerTokenGoesToAHostThatIsNotAllowed(t *testing.T) {
	p, c := newPeer(t, goodAnswers[OpGetTwin]), giving(testToken, nil)
	client := p.client(t, bearing(c))
	client.base = "https://localhost:1" // as after a mistake of ours: New refuses it
	if err := calls[OpGetTwin](t.Context(), client); CodeOf(err) != CodeHostNotAllowed {
		t.Error(err)
	}
	if c.asked != 0 || len(p.log()) != 0 {
		t.Errorf("a token was asked for %d times, and sent %d times", c.asked, len(p.log()))
	}
}

func TestARefusedBearerTokenIsNotSentAgain(t *testing.T) {
	challenge := `Bearer error="insufficient_claims", claims="eyJhY2Nlc3NfdG9rZW4iOnsibmJmIjp7ImVzc2VudGlhbCI6dHJ1ZX19fQ=="`
	p, c := newPeer(t, answer(http.StatusUnauthorized, "{}", "WWW-Authenticate", challenge)), giving(testToken, nil)
	err := calls[OpGetTwin](t.Context(), p.client(t, bearing(c)))
	if !IsUnauthorized(err) || !RefusesCredential(err) || len(p.log()) != 1 {
		t.Errorf("%v after %d requests", err, len(p.log()))
	}
}

func TestWithoutATokenNothingIsSent(t *testing.T) {
	for name, test := range map[string]struct {
		err          error
		code         string
		class        Class
		unauthorized bool
	}{
		"refused":       {&entra.Error{Kind: entra.NotFederated, Code: "AADSTS700213"}, CodeIdentityRefused, Terminal, true},
		"failing":       {&entra.Error{Kind: entra.Failing, Status: 503}, CodeNoToken, Transient, false},
		"too late":      {&entra.Error{Kind: entra.Unreachable, Err: context.DeadlineExceeded}, CodeNoToken, Transient, false},
		"no assertion":  {&entra.Error{Kind: entra.NoAssertion, Err: errors.New("forbidden")}, CodeNoToken, Transient, false},
		"the caller's":  {context.Canceled, CodeCanceled, Transient, false},
		"anything else": {errors.New("boom"), CodeConnection, Transient, false},
	} {
		t.Run(name, func(t *testing.T) {
			exchanges := 0
			p := newPeer(t, goodAnswers[OpGetTwin])
			err := calls[OpGetTwin](t.Context(), p.client(t, bearing(giving("", test.err)), func(o *Options) {
				o.Observe = func(Operation, int, string, time.Duration) { exchanges++ }
			}))
			if CodeOf(err) != test.code || ClassOf(err) != test.class || IsUnauthorized(err) != test.unauthorized || RefusesCredential(err) {
				t.Errorf("%v: code %s, class %s", err, CodeOf(err), ClassOf(err))
			}
			if !errors.Is(err, test.err) || len(p.log()) != 0 {
				t.Errorf("%v after %d requests", err, len(p.log()))
			}
			if isEntra := errors.As(test.err, new(*entra.Error)); isEntra && exchanges != 0 {
				t.Error("counted as an exchange with the hub")
			}
		})
	}
}

// A command may be sent for a few seconds only after it was claimed.
func TestACommandDoesNotWaitLongForAToken(t *testing.T) {
	hanging := &tokens{give: func(ctx context.Context) (azcore.AccessToken, error) {
		<-ctx.Done()
		return azcore.AccessToken{}, ctx.Err()
	}}
	for _, op := range []Operation{OpInvokeMethod, OpInvokeCommand} {
		p := newPeer(t, goodAnswers[op])
		if err := calls[op](t.Context(), p.client(t, bearing(hanging))); CodeOf(err) != CodeNoToken || len(p.log()) != 0 {
			t.Errorf("%s: %v after %d requests", op, err, len(p.log()))
		}
	}
	p := newPeer(t, goodAnswers[OpGetTwin])
	err := calls[OpGetTwin](t.Context(), p.client(t, bearing(hanging), func(o *Options) { o.Timeout = 2 * tokenPatience }))
	if CodeOf(err) != CodeTimeout {
		t.Errorf("another call waits as long as it may: %v", err)
	}
}

func TestBearerTokensAreNeverPrinted(t *testing.T) {
	p := newPeer(t, echo)
	c := p.client(t, bearing(giving(testToken, nil)))
	err := calls[OpGetTwin](t.Context(), c)
	for where, text := range printed(err) {
		if strings.Contains(text, "secretsecret") {
			t.Errorf("%s: %s", where, text)
		}
	}
	if text := fmt.Sprintf("%v %+v %#v", c, c, c); strings.Contains(text, "secretsecret") {
		t.Error(text)
	}
}

func TestOneCredentialIsEnough(t *testing.T) {
	p := newPeer(t, goodAnswers[OpGetTwin])
	for name, edit := range map[string]func(*Options){
		"two": func(o *Options) { o.Credential, o.Scope = giving(testToken, nil), "x" },
		"no scope": func(o *Options) {
			o.ConnectionString, o.Credential = ConnectionString{}, giving(testToken, nil)
		},
	} {
		o := p.options(t)
		edit(&o)
		if _, err := New(o); !isType[*ConfigError](err) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
