package halt

import (
	"fmt"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/entra"
)

// entraText names a failure of Microsoft Entra ID by its kind.
func entraText(e *entra.Error) string {
	switch {
	case e.Kind == entra.Unreadable:
		return "the answer is not one of Microsoft Entra ID, but perhaps of a proxy" + ofStatus(e)
	case e.Kind == entra.NoAssertion:
		return "the API server made no token of the ServiceAccount"
	case e.Kind == entra.IssuerUnreachable:
		return fmt.Sprintf("it cannot reach the cluster's issuer %q (%s): are its /.well-known/openid-configuration and /openid/v1/jwks public?", e.Issuer, e.Code)
	case e.Err != nil:
		return failureOf(e.Err)
	}
	return strings.TrimSpace("it fails or is busy" + ofStatus(e))
}

func ofStatus(e *entra.Error) string {
	if e.Status == 0 {
		return ""
	}
	return fmt.Sprintf(" (HTTP %d)", e.Status)
}
