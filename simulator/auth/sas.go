// Package auth checks the shared access signatures that callers of the simulated hub send ("Control access to IoT Hub by
// using shared access signatures").
package auth

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// Scheme is what shared access signatures begin with.
const Scheme = "SharedAccessSignature "

// Token is a parsed shared access signature.
type Token struct {
	Resource  string // sr, decoded
	Policy    string // skn; empty in a device's token
	Expiry    int64  // se, Unix seconds
	signed    string // sr exactly as sent
	expiry    string // se exactly as sent
	signature []byte
}

// Parse reads "SharedAccessSignature sr=…&sig=…&se=…[&skn=…]"; the fields may come in any order.
func Parse(s string) (Token, error) {
	rest, ok := strings.CutPrefix(s, Scheme)
	if !ok {
		return Token{}, errors.New("not a SharedAccessSignature")
	}
	fields, err := split(rest)
	if err != nil {
		return Token{}, err
	}
	t := Token{signed: fields["sr"], expiry: fields["se"]}
	if t.Resource, err = url.QueryUnescape(t.signed); err != nil || t.Resource == "" {
		return Token{}, errors.New("sr is missing or malformed")
	}
	if t.Expiry, err = strconv.ParseInt(t.expiry, 10, 64); err != nil {
		return Token{}, errors.New("se is missing or malformed")
	}
	if t.Policy, err = url.QueryUnescape(fields["skn"]); err != nil {
		return Token{}, errors.New("skn is malformed")
	}
	t.signature, err = signature(fields["sig"])
	return t, err
}

func split(s string) (map[string]string, error) {
	fields := map[string]string{}
	for part := range strings.SplitSeq(s, "&") {
		name, value, ok := strings.Cut(strings.TrimSpace(part), "=")
		if _, twice := fields[name]; !ok || twice {
			return nil, errors.New("malformed or repeated field")
		}
		fields[name] = value
	}
	return fields, nil
}

func signature(escaped string) ([]byte, error) {
	plain, err := url.PathUnescape(escaped) // a literal + is part of base64, not a space
	if err != nil {
		return nil, errors.New("sig is malformed")
	}
	sig, err := base64.StdEncoding.DecodeString(plain)
	if err != nil || len(sig) == 0 {
		return nil, errors.New("sig is missing or malformed")
	}
	return sig, nil
}

// Verify checks signature and expiry. key is in base64, as connection strings carry it.
func (t Token) Verify(key string, now time.Time) error {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return errors.New("the key is not base64")
	}
	if !hmac.Equal(t.signature, sign(raw, t.signed, t.expiry)) {
		return errors.New("the signature does not match")
	}
	if now.Unix() >= t.Expiry {
		return errors.New("the token has expired")
	}
	return nil
}

// Covers reports whether the token's resource is the given one or a prefix of it by whole segments. Host names have no
// case, device ids do.
func (t Token) Covers(resource string) bool {
	have, want := strings.Split(strings.TrimSuffix(t.Resource, "/"), "/"), strings.Split(resource, "/")
	if len(have) > len(want) || !strings.EqualFold(have[0], want[0]) {
		return false
	}
	for i := range have[1:] {
		if have[i+1] != want[i+1] {
			return false
		}
	}
	return true
}

// Sign makes a token; an empty policy makes a device's.
func Sign(resource, policy, key string, expiry time.Time) (string, error) {
	raw, err := base64.StdEncoding.DecodeString(key)
	if err != nil {
		return "", fmt.Errorf("key: %w", err)
	}
	sr, se := url.QueryEscape(resource), strconv.FormatInt(expiry.Unix(), 10)
	sig := url.QueryEscape(base64.StdEncoding.EncodeToString(sign(raw, sr, se)))
	token := Scheme + "sr=" + sr + "&sig=" + sig + "&se=" + se
	if policy != "" {
		token += "&skn=" + url.QueryEscape(policy)
	}
	return token, nil
}

func sign(key []byte, sr, se string) []byte {
	mac := hmac.New(sha256.New, key)
	mac.Write([]byte(sr + "\n" + se))
	return mac.Sum(nil)
}

// SignedWithText reports whether the token was signed with a key taken as text, as Event Hubs clients sign: they do not
// decode its base64.
func (t Token) SignedWithText(key string) bool {
	return hmac.Equal(t.signature, sign([]byte(key), t.signed, t.expiry))
}
