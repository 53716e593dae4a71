package amqp

import (
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
)

// Types of tokens.
const (
	tokenSAS = "servicebus.windows.net:sastoken"
	tokenJWT = "jwt"
)

// serviceError is a text that ends as the service ends it.
type serviceError string

func (e serviceError) Error() string { return string(e) }

// Errors of tokens.
const (
	errSignature serviceError = "InvalidSignature: The token has an invalid signature."
	errNoEntra   serviceError = "InvalidToken: Tokens of Microsoft Entra ID are not accepted."
)

// putToken takes a claim on an entity, or a new token for it.
func (c *conn) putToken(r request) []byte {
	token, _ := r.body.(string)
	claim, err := c.server.claimOf(r.text("name"), r.text("type"), token)
	if err == nil {
		err = c.server.faults.putToken()
	}
	if err != nil {
		return r.refusal(http.StatusUnauthorized, &condition{condUnauthorized, err.Error()})
	}
	c.claims[entity(r.text("name"))] = claim
	return r.answer(http.StatusAccepted, "Accepted", "", nil)
}

// entity is the path of an audience such as amqps://host/hub/ConsumerGroups/…, "" for the namespace.
func entity(audience string) string {
	_, path, _ := strings.Cut(bare(audience), "/")
	return path
}

// bare is a resource without its scheme, in lower case: clients sign sb://, amqp://, amqps:// or none.
func bare(uri string) string {
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		uri = rest
	}
	return strings.TrimSuffix(strings.ToLower(uri), "/")
}

// claimOf checks a token for an audience. A shared access signature is known by how it begins: azure-eventhub 5.11 for Python puts
// it with the type jwt.
func (s *Server) claimOf(audience, kind, token string) (claim, error) {
	if strings.HasPrefix(token, auth.Scheme) {
		kind = tokenSAS
	}
	switch kind {
	case tokenJWT:
		return s.claimOfJWT(token)
	case tokenSAS:
		t, err := auth.Parse(token)
		if err != nil {
			return claim{}, fmt.Errorf("MalformedToken: %w", err)
		}
		return s.claimOfSAS(audience, t)
	}
	return claim{}, serviceError("InvalidToken: Tokens of type '" + kind + "' are not accepted.")
}

func (s *Server) claimOfJWT(token string) (claim, error) {
	if s.options.VerifyJWT == nil {
		return claim{}, errNoEntra
	}
	rights, expires, err := s.options.VerifyJWT(token)
	if err != nil {
		return claim{}, fmt.Errorf("InvalidToken: %w", err)
	}
	return claim{listen: rights&auth.Listen != 0, send: rights&auth.Send != 0, expires: expires}, nil
}

// claimOfSAS: the key is taken as text, and the resource may be any part of the audience from the namespace on.
func (s *Server) claimOfSAS(audience string, t auth.Token) (claim, error) {
	policy, ok := s.options.Policies.Get(t.Policy)
	switch {
	case !ok || policy.Disabled || !t.SignedWithText(policy.Key):
		return claim{}, errSignature
	case !strings.HasPrefix(bare(audience)+"/", bare(t.Resource)+"/"):
		return claim{}, serviceError("InvalidAudience: The authorization header contains a token signed for '" + t.Resource + "'.")
	case s.options.Clock().Unix() >= t.Expiry:
		return claim{}, serviceError("ExpiredToken: The token is expired. Expiration time: '" + time.Unix(t.Expiry, 0).UTC().Format(time.RFC1123) + "'.")
	}
	return claim{listen: policy.MayListen(), send: policy.MaySend(), expires: time.Unix(t.Expiry, 0)}, nil
}
