package halt

import (
	"context"
	"errors"
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/entra"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

func TestFailuresOfEntraIDInWords(t *testing.T) {
	for want, e := range map[string]*entra.Error{
		"no whole answer in time":                                                              {Kind: entra.Unreachable, Err: context.DeadlineExceeded},
		"no connection, or it broke before the whole answer was there":                         {Kind: entra.Unreachable, Err: errors.New("reset")},
		"the answer is not one of Microsoft Entra ID, but perhaps of a proxy (HTTP 200)":       {Kind: entra.Unreadable, Status: 200},
		"the answer is not one of Microsoft Entra ID, but perhaps of a proxy":                  {Kind: entra.Unreadable, Err: errors.New("another host")},
		"it fails or is busy (HTTP 503)":                                                       {Kind: entra.Failing, Status: 503},
		"the API server made no token of the ServiceAccount":                                   {Kind: entra.NoAssertion, Err: errors.New("etcd")},
		`it cannot reach the cluster's issuer "https://i" (AADSTS90061): are its ` + wellKnown: {Kind: entra.IssuerUnreachable, Code: "AADSTS90061", Issuer: "https://i"},
	} {
		if got := entraText(e); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
		if v := VerdictOn(&iothub.Error{Code: iothub.CodeNoToken, Err: e}); v.Reason != v1alpha1.ReasonEntraUnavailable || v.Stalled {
			t.Errorf("%+v", v)
		}
	}
}

const wellKnown = "/.well-known/openid-configuration and /openid/v1/jwks public?"
