package amqp

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/simulator/auth"
)

// claims are the tokens that were put on a connection, by the entity they are for. conn.mu guards them.
type claims map[string]claim

type claim struct {
	listen, send bool
	expires      time.Time // zero: unknown
}

// need is what a link needs a claim for.
type need struct {
	address string // in lower case
	listen  bool
	any     bool // either right will do
}

// cover reports whether a claim that has not expired grants a need.
func (all claims) cover(n need, now time.Time) bool {
	for entity, c := range all {
		granted := n.any || n.listen && c.listen || !n.listen && c.send
		if granted && !c.expired(now) && covers(entity, n.address) {
			return true
		}
	}
	return false
}

func (c claim) expired(now time.Time) bool { return !c.expires.IsZero() && !now.Before(c.expires) }

// covers: a token is for an entity and what is below it. That for $management names the event hub before it.
func covers(entity, address string) bool {
	return entity == address || strings.HasPrefix(address, entity+"/") ||
		address == managementNode && strings.HasSuffix(entity, "/"+managementNode)
}

func (all claims) nextExpiry() time.Time {
	var next time.Time
	for _, c := range all {
		if !c.expires.IsZero() && (next.IsZero() || c.expires.Before(next)) {
			next = c.expires
		}
	}
	return next
}

// expireClaims detaches the links whose token has run out and was not renewed.
func (c *conn) expireClaims() {
	now := c.server.options.Clock()
	if next := c.claims.nextExpiry(); next.IsZero() || now.Before(next) {
		return
	}
	for _, s := range c.sessions {
		for _, l := range s.links {
			if l.address != cbsNode && !c.claims.cover(c.needOf(l), now) {
				c.detach(l, &condition{condUnauthorized, "The token is expired: put a new one."})
			}
		}
	}
	for entity, claim := range c.claims {
		if claim.expired(now) {
			delete(c.claims, entity)
		}
	}
}

// entity is the path of an audience such as amqps://host/hub/ConsumerGroups/….
func entity(audience string) string {
	_, path, _ := strings.Cut(bare(audience), "/")
	return path
}

// bare is a resource without its scheme, in lower case: clients sign sb://, amqp://, amqps:// or none.
func bare(uri string) string {
	if _, rest, ok := strings.Cut(uri, "://"); ok {
		uri = rest
	}
	return strings.ToLower(uri)
}

// Types of tokens.
const (
	tokenSAS = "servicebus.windows.net:sastoken"
	tokenJWT = "jwt"
)

// claimOf checks a token for an audience.
func (s *Server) claimOf(audience, kind, token string) (claim, error) {
	switch {
	case kind == tokenJWT && s.options.VerifyJWT != nil:
		return claim{listen: true, send: true}, s.options.VerifyJWT(token)
	case kind != tokenSAS:
		return claim{}, fmt.Errorf("InvalidToken: tokens of type %q are not accepted", kind)
	}
	t, err := auth.Parse(token)
	if err != nil {
		return claim{}, fmt.Errorf("MalformedToken: %w", err)
	}
	return s.claimOfSAS(audience, t)
}

func (s *Server) claimOfSAS(audience string, t auth.Token) (claim, error) {
	policy, ok := s.options.Policies.Get(t.Policy)
	now := s.options.Clock()
	switch {
	case !ok || policy.Disabled:
		return claim{}, errors.New("InvalidSignature: The token has an invalid signature.")
	case !t.SignedWithText(policy.Key):
		return claim{}, errors.New("InvalidSignature: The token has an invalid signature.")
	case !strings.HasPrefix(bare(audience)+"/", strings.TrimSuffix(bare(t.Resource), "/")+"/"):
		return claim{}, fmt.Errorf("InvalidAudience: The authorization header contains a token signed for '%s'.", t.Resource)
	case now.Unix() >= t.Expiry:
		return claim{}, fmt.Errorf("ExpiredToken: The token is expired. Expiration time: '%s'.", time.Unix(t.Expiry, 0).UTC().Format(time.RFC1123))
	}
	may := policy.MayConnect()
	return claim{listen: may, send: may, expires: time.Unix(t.Expiry, 0)}, nil
}
