package amqp

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"time"
)

// expiryOfJWT reads the expiry of a token that was verified (RFC 7519, 4.1.4); zero, if it does not say.
func expiryOfJWT(token string) time.Time {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return time.Time{}
	}
	raw, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		return time.Time{}
	}
	var claims struct {
		Expiry json.Number `json:"exp"`
	}
	if json.Unmarshal(raw, &claims) != nil {
		return time.Time{}
	}
	seconds, err := claims.Expiry.Int64()
	if err != nil {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
