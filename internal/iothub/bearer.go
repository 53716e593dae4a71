package iothub

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
	"github.com/pnp-operator/pnp-operator/internal/entra"
)

// tokenPatience is how long a command waits for a token: it may be sent for a short while only after it was claimed.
const tokenPatience = time.Second

// bearerPolicy attaches a token of Microsoft Entra ID to every request for an allowed host, and lets no other request pass. Unlike azcore's policy of that
// name it sends nothing again.
type bearerPolicy struct {
	allowed    allowlist.List
	credential azcore.TokenCredential
	scope      string
}

func (p *bearerPolicy) Do(req *policy.Request) (*http.Response, error) {
	if err := p.allowed.CheckURL(req.Raw().URL); err != nil {
		return nil, err
	}
	token, err := p.token(req.Raw().Context())
	if err != nil {
		return nil, err
	}
	req.Raw().Header.Set("Authorization", "Bearer "+token)
	return req.Next()
}

// renewer is a credential that can be asked for a new token before it is time for one.
type renewer interface {
	// Renew returns when there is one, or none is to be had: then the token that there is stays.
	Renew(ctx context.Context, scope string)
}

func (p *bearerPolicy) token(ctx context.Context) (string, error) {
	if r, ok := p.credential.(renewer); ok && isAnew(ctx) {
		r.Renew(ctx, p.scope)
	}
	waiting := ctx
	if ctx.Value(impatient{}) != nil {
		bounded, cancel := context.WithTimeout(ctx, tokenPatience)
		defer cancel()
		waiting = bounded
	}
	token, err := p.credential.GetToken(waiting, policy.TokenRequestOptions{Scopes: []string{p.scope}})
	if errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil && !isType[*entra.Error](err) {
		return "", &entra.Error{Kind: entra.Unreachable, Err: err} // nothing was sent, unlike after a time-out of the call
	}
	return token.Token, err
}

// impatient marks the context of a call that does not wait long for a token.
type impatient struct{}
