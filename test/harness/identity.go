package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
)

// The identity of the namespace office, which has no Secret.
const (
	IdentityNamespace = "office"
	IdentityAccount   = "iot"
	IdentityTenant    = "22222222-2222-2222-2222-222222222222"
	IdentityClient    = "11111111-1111-1111-1111-111111111111"
	IdentityDevice    = "office-thermostat"
)

// PublishKeys lets the simulated Microsoft Entra ID know the cluster: its issuer, and the keys that
// it signs tokens of ServiceAccounts with.
func (d *Testbed) PublishKeys(ctx context.Context) error {
	document, err := d.Kubectl.Output(ctx, "", "get", "--raw", "/.well-known/openid-configuration")
	if err != nil {
		return err
	}
	var discovery struct {
		Issuer string `json:"issuer"`
	}
	if err := json.Unmarshal([]byte(document), &discovery); err != nil {
		return fmt.Errorf("decoding the cluster's openid-configuration: %w", err)
	}
	d.issuer = discovery.Issuer
	keys, err := d.Kubectl.Output(ctx, "", "get", "--raw", "/openid/v1/jwks")
	if err != nil {
		return err
	}
	return os.WriteFile(d.File(KeysFile), []byte(keys), 0o600)
}

// application is the identity, with a federated credential for the ServiceAccount.
func (d *Testbed) application() string {
	return strings.Join([]string{IdentityTenant, IdentityClient, d.issuer, "system:serviceaccount:" + IdentityNamespace + ":" + IdentityAccount}, ",")
}
