package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// The identity of the namespace office, which has no Secret.
const (
	identityNamespace = "office"
	identityAccount   = "iot"
	identityTenant    = "22222222-2222-2222-2222-222222222222"
	identityClient    = "11111111-1111-1111-1111-111111111111"
	identityDevice    = "office-thermostat"
)

// publishKeys lets the simulated Microsoft Entra ID know the cluster: its issuer, and the keys that it signs tokens of ServiceAccounts with.
func (d *demo) publishKeys(ctx context.Context) error {
	document, err := d.kubectl.output(ctx, "", "get", "--raw", "/.well-known/openid-configuration")
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
	keys, err := d.kubectl.output(ctx, "", "get", "--raw", "/openid/v1/jwks")
	if err != nil {
		return err
	}
	return os.WriteFile(d.file(keysFile), []byte(keys), 0o600)
}

// application is the identity, with a federated credential for the ServiceAccount.
func (d *demo) application() string {
	return strings.Join([]string{identityTenant, identityClient, d.issuer, "system:serviceaccount:" + identityNamespace + ":" + identityAccount}, ",")
}

// workloadIdentity has a namespace reach the hub with tokens of its ServiceAccount: first without the right, then with it.
func (d *demo) workloadIdentity(ctx context.Context, table *tableWatch) error {
	if err := d.hub.AddDevice(ctx, identityDevice, simulator.Spec{Model: simulator.Thermostat}); err != nil {
		return fmt.Errorf("connecting device %q: %w", identityDevice, err)
	}
	table.tell(ctx, "another namespace, which is not in this table, reaches the hub without a Secret")
	for _, what := range []string{"namespace", "serviceaccount"} {
		args := map[string][]string{"namespace": {identityNamespace}, "serviceaccount": {identityAccount, "-n", identityNamespace}}[what]
		if _, err := d.kubectl.show(ctx, append([]string{"create", what}, args...)...); err != nil {
			return err
		}
	}
	manifests, err := d.identityManifests()
	if err != nil {
		return err
	}
	d.out.sayf("An IoTHub with authentication.workloadIdentity: client %s, ServiceAccount %s", identityClient, identityAccount)
	if _, err := d.kubectl.showInput(ctx, manifests, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	if err := d.grantFromMessage(ctx); err != nil {
		return err
	}
	if _, err := d.kubectl.show(ctx, "wait", "--for=condition=Ready", "pnp", "--all", "-n", identityNamespace, "--timeout=40s"); err != nil {
		return err
	}
	if err := d.expectAtHub(ctx, time.Second, 19.5, identityDevice, targetProperty); err != nil {
		return err
	}
	counts, err := d.hub.CallCounts(ctx, identityDevice)
	if err != nil {
		return err
	}
	return d.check("written with a token of Microsoft Entra ID, as a device twin", "1 PatchTwin, 0 PatchDigitalTwin",
		fmt.Sprintf("%d PatchTwin, %d PatchDigitalTwin", counts[simulator.OpPatchTwin], counts[simulator.OpPatchDigitalTwin]),
		counts[simulator.OpPatchTwin] == 1 && counts[simulator.OpPatchDigitalTwin] == 0)
}

// grantFromMessage waits until the IoTHub says what right is missing, and applies the component that grants it.
func (d *demo) grantFromMessage(ctx context.Context) error {
	err := d.expect(ctx, expectation{
		what: "the IoTHub says what right is missing", expected: v1alpha1.ReasonAccessDenied + " with the command that grants it", within: withinEdit,
		look: func(ctx context.Context) (string, bool, error) {
			text, err := d.kubectl.output(ctx, "", "get", "hub", sampleHub, "-n", identityNamespace, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]['reason','message']}`)
			return text, len(missing(text, v1alpha1.ReasonAccessDenied, "--resource=serviceaccounts/token", "--resource-name="+identityAccount)) == 0, err
		},
	})
	if err != nil {
		return err
	}
	_, err = d.kubectl.show(ctx, "apply", "-f", d.path("config/tenant/workload-identity/role.yaml"), "-n", identityNamespace)
	return err
}

func (d *demo) identityManifests() (string, error) {
	ca, err := os.ReadFile(d.file(hubCAFile))
	if err != nil {
		return "", fmt.Errorf("reading the hub's CA: %w", err)
	}
	object := func(kind, name string, spec map[string]any) map[string]any {
		return map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind,
			"metadata": map[string]any{"name": name, "namespace": identityNamespace}, "spec": spec,
		}
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{
		object("IoTHub", sampleHub, map[string]any{
			"hostName": d.hubEnv["HUB_HOST_NAME"], "endpoint": d.hubEnv["HUB_ENDPOINT"], "caBundle": string(ca),
			"authentication": map[string]any{"workloadIdentity": map[string]any{
				"clientID": identityClient, "tenantID": identityTenant, "serviceAccountName": identityAccount,
			}},
		}),
		object("PnPDevice", identityDevice, map[string]any{
			"hubRef": map[string]any{"name": sampleHub}, "properties": map[string]any{targetProperty: 19.5},
		}),
	}})
	return string(list), err
}
