package entra

import (
	"crypto/ecdsa"
	"errors"
	"slices"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
)

// rights of the roles that Azure has for hubs and event hubs. Owner and Contributor have no data actions.
var rights = map[string]auth.Right{
	"IoT Hub Data Contributor":       auth.RegistryRead | auth.RegistryWrite | auth.ServiceConnect,
	"IoT Hub Registry Contributor":   auth.RegistryRead | auth.RegistryWrite,
	"Azure Event Hubs Data Receiver": auth.Listen,
	"Azure Event Hubs Data Sender":   auth.Send,
	"Azure Event Hubs Data Owner":    auth.Listen | auth.Send,
}

// Principal is who a token is about.
type Principal struct {
	ClientID string
	// Rights that its roles grant now, whenever the token was issued.
	Rights  auth.Right
	Expires time.Time
}

// Verify checks a token for a resource: signature, audience, times, and that its application is there.
func (a *Authority) Verify(token, resource string) (Principal, error) {
	claims := &accessClaims{}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"ES256"}), jwt.WithTimeFunc(a.clock), jwt.WithExpirationRequired(), jwt.WithAudience(resource)).
		ParseWithClaims(token, claims, func(*jwt.Token) (any, error) { return a.key.Public().(*ecdsa.PublicKey), nil })
	if err != nil {
		return Principal{}, err
	}
	app, ok := a.application(claims.ClientID)
	if !ok {
		return Principal{}, errors.New("the application of the token is gone")
	}
	p := Principal{ClientID: app.ClientID, Expires: claims.ExpiresAt.Time}
	for role, grants := range rights {
		if slices.Contains(app.Roles, role) {
			p.Rights |= grants
		}
	}
	return p, nil
}
