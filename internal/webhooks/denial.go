package webhooks

import (
	"errors"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// maxDenial is what a refusal says, in bytes: API servers and their clients print it.
const maxDenial = 8 << 10

// denied is the refusal of an object that breaks rules.
func denied(violations ...string) error {
	return errors.New(storable.Text(strings.Join(violations, "; "), maxDenial))
}
