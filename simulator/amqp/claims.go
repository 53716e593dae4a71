package amqp

import (
	"math"
	"strings"
	"time"
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
		granted := n.any && (c.listen || c.send) || n.listen && c.listen || !n.listen && c.send
		if granted && !c.expired(now) && covers(entity, n.address) {
			return true
		}
	}
	return false
}

func (c claim) expired(now time.Time) bool { return !c.expires.IsZero() && !now.Before(c.expires) }

// covers: a token is for an entity and what is below it. The address of $management does not name the event hub, its audience
// does.
func covers(entity, address string) bool {
	switch {
	case entity == "" || entity == address || strings.HasPrefix(address, entity+"/"):
		return true
	case address == managementNode:
		hub, rest, _ := strings.Cut(entity, "/")
		return hub != "" && (rest == "" || rest == managementNode)
	}
	return false
}

// nextExpiry is zero if no claim expires.
func (all claims) nextExpiry() time.Time {
	var next time.Time
	for _, c := range all {
		if !c.expires.IsZero() && (next.IsZero() || c.expires.Before(next)) {
			next = c.expires
		}
	}
	return next
}

// untilExpiry is how long the claims need not be looked at.
func (c *conn) untilExpiry() time.Duration {
	const pause = 10 * time.Millisecond // clocks of tests stand still
	at := c.claims.nextExpiry()
	if at.IsZero() {
		return math.MaxInt64
	}
	return max(at.Sub(c.server.options.Clock()), pause)
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
				c.detach(l, &condition{condUnauthorized, "ExpiredToken: The token is expired: put a new one."})
			}
		}
	}
	for entity, claim := range c.claims {
		if claim.expired(now) {
			delete(c.claims, entity)
		}
	}
}
