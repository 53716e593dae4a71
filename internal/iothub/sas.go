package iothub

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
)

const (
	tokenLifetime = time.Hour
	tokenRenewal  = tokenLifetime * 8 / 10
)

type anewKey struct{}

// Anew is a context whose calls have new tokens: a hub that refuses one may find the one that there was
// too old, or dated by a clock that was wrong.
func Anew(ctx context.Context) context.Context { return context.WithValue(ctx, anewKey{}, true) }

func isAnew(ctx context.Context) bool { return ctx.Value(anewKey{}) != nil }

// sasPolicy attaches a SAS token to every request for an allowed host, and lets no other request pass.
type sasPolicy struct {
	allowed allowlist.List
	tokens  tokenSource
}

func (p *sasPolicy) Do(req *policy.Request) (*http.Response, error) {
	if err := p.allowed.CheckURL(req.Raw().URL); err != nil {
		return nil, err
	}
	if isAnew(req.Raw().Context()) {
		p.tokens.drop()
	}
	req.Raw().Header.Set("Authorization", p.tokens.token())
	return req.Next()
}

// tokenSource makes SAS tokens for one hub and keeps the last one. It is safe for concurrent use.
type tokenSource struct {
	hostName, policy string
	key              secret
	now              func() time.Time

	mu     sync.Mutex
	cached secret
	issued time.Time
}

// drop has the next token be a new one.
func (s *tokenSource) drop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.cached = secret{}
}

// token returns the cached token until 80 % of its life is over, or the clock shows a time before it was made.
func (s *tokenSource) token() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.now().Round(0) // wall time: the monotonic clock hides a corrected clock, and stands still in a suspended VM
	if age := now.Sub(s.issued); s.cached.reveal == nil || age < 0 || age >= tokenRenewal {
		s.cached, s.issued = newSecret([]byte(s.sign(now.Add(tokenLifetime)))), now
	}
	return string(s.cached.bytes())
}

// sign makes a service token: HMAC-SHA256 over the escaped host, a newline and the expiry in Unix seconds. See "Control
// access to IoT Hub by using shared access signatures".
func (s *tokenSource) sign(expiry time.Time) string {
	resource := escape(s.hostName)
	mac := hmac.New(sha256.New, s.key.bytes())
	_, _ = fmt.Fprintf(mac, "%s\n%d", resource, expiry.Unix()) // a hash takes everything
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	return fmt.Sprintf("SharedAccessSignature sr=%s&sig=%s&se=%d&skn=%s",
		resource, escape(signature), expiry.Unix(), escape(s.policy))
}
