package iothub

import (
	"crypto/subtle"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// secret holds bytes that must not be printed. They live in a closure: no formatter, encoder or reflective printer can
// reach them, whatever struct the secret is part of.
type secret struct{ reveal func() []byte }

func newSecret(value []byte) secret {
	return secret{reveal: func() []byte { return value }}
}

// bytes is the value, nil for the zero secret. Callers must not change it.
func (s secret) bytes() []byte {
	if s.reveal == nil {
		return nil
	}
	return s.reveal()
}

func (s secret) equal(other secret) bool {
	return subtle.ConstantTimeCompare(s.bytes(), other.bytes()) == 1
}

func (secret) String() string   { return redact.Placeholder }
func (secret) GoString() string { return redact.Placeholder }
