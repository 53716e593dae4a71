package entra

import (
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
)

const (
	// spare is how long before its expiry a token is given out no more: it has a way to go.
	spare = 10 * time.Second
	// renewBefore is how long before its expiry a token is renewed, as azcore does.
	renewBefore = 5 * time.Minute
	// justAcquired is how old a token may be for a hub's refusal of it to be final.
	justAcquired = time.Minute
	// pause between two tries to renew a token that is still good.
	pause = 10 * time.Second
)

// token lives in a closure, so that nothing that prints structs can reach it.
type token struct {
	reveal                     func() azcore.AccessToken
	acquired, renewal, expires time.Time
}

// newToken plans the renewal: when Microsoft Entra ID says, but well before the expiry, of which a short life has less.
func newToken(t azcore.AccessToken, now time.Time) token {
	life := t.ExpiresOn.Sub(now)
	renewal := t.ExpiresOn.Add(-min(renewBefore, life/4))
	if r := t.RefreshOn; !r.IsZero() && r.Before(renewal) {
		renewal = r
	}
	return token{reveal: func() azcore.AccessToken { return t }, acquired: now, renewal: renewal, expires: t.ExpiresOn.Add(-min(spare, life/10))}
}

func (t token) isFresh(now time.Time) bool { return t.isUsable(now) && now.Before(t.renewal) }

// isUsable is false as well if the clock shows a time before the token was there: it was wrong then, or is now.
func (t token) isUsable(now time.Time) bool {
	return t.reveal != nil && !now.Before(t.acquired) && now.Before(t.expires)
}
