package entra

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"math/big"
	"slices"
)

// jwk is one key of a JSON Web Key Set (RFC 7517), as Kubernetes publishes them.
type jwk struct {
	Kind  string `json:"kty"`
	ID    string `json:"kid"`
	N     string `json:"n"`
	E     string `json:"e"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// keyOf finds the public key with an ID in a set.
func keyOf(set []byte, id string) (any, error) {
	var all struct {
		Keys []jwk `json:"keys"`
	}
	if err := json.Unmarshal(set, &all); err != nil {
		return nil, fmt.Errorf("not a key set: %w", err)
	}
	for _, k := range all.Keys {
		if k.ID == id {
			return k.public()
		}
	}
	return nil, fmt.Errorf("no key %q", id)
}

func (k jwk) public() (any, error) {
	switch k.Kind {
	case "RSA":
		n, errN := number(k.N)
		e, errE := number(k.E)
		if err := errors.Join(errN, errE); err != nil || !e.IsInt64() {
			return nil, errors.Join(err, errors.New("not an RSA key"))
		}
		return &rsa.PublicKey{N: n, E: int(e.Int64())}, nil
	case "EC":
		x, errX := base64.RawURLEncoding.DecodeString(k.X)
		y, errY := base64.RawURLEncoding.DecodeString(k.Y)
		if err := errors.Join(errX, errY); err != nil || k.Curve != "P-256" {
			return nil, errors.Join(err, errors.New("not an EC key for ES256"))
		}
		return ecdsa.ParseUncompressedPublicKey(elliptic.P256(), slices.Concat([]byte{4}, x, y))
	}
	return nil, fmt.Errorf("unknown kind of key %q", k.Kind)
}

func number(s string) (*big.Int, error) {
	raw, err := base64.RawURLEncoding.DecodeString(s)
	if err != nil || len(raw) == 0 {
		return nil, fmt.Errorf("not a number: %q", s)
	}
	return new(big.Int).SetBytes(raw), nil
}
