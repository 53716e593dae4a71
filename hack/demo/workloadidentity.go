package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// workloadIdentity has a namespace reach the hub with tokens of its ServiceAccount: first without
// the right, then with it.
func (d *demo) workloadIdentity(ctx context.Context, table *tableWatch) error {
	if err := d.Hub.AddDevice(ctx, harness.IdentityDevice, simulator.Spec{Model: simulator.Thermostat}); err != nil {
		return fmt.Errorf("connecting device %q: %w", harness.IdentityDevice, err)
	}
	table.tell(ctx, "another namespace, which is not in this table, reaches the hub without a Secret")
	for _, what := range []string{"namespace", "serviceaccount"} {
		args := map[string][]string{"namespace": {harness.IdentityNamespace}, "serviceaccount": {harness.IdentityAccount, "-n", harness.IdentityNamespace}}[what]
		if _, err := d.Kubectl.Show(ctx, append([]string{"create", what}, args...)...); err != nil {
			return err
		}
	}
	manifests, err := d.identityManifests()
	if err != nil {
		return err
	}
	d.Out.Sayf("An IoTHub with authentication.workloadIdentity: client %s, ServiceAccount %s", harness.IdentityClient, harness.IdentityAccount)
	if _, err := d.Kubectl.ShowInput(ctx, manifests, "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	if err := d.grantFromMessage(ctx); err != nil {
		return err
	}
	if _, err := d.Kubectl.Show(ctx, "wait", "--for=condition=Ready", "pnp", "--all", "-n", harness.IdentityNamespace, "--timeout=40s"); err != nil {
		return err
	}
	if err := d.ExpectAtHub(ctx, time.Second, 19.5, harness.IdentityDevice, harness.TargetProperty); err != nil {
		return err
	}
	counts, err := d.Hub.CallCounts(ctx, harness.IdentityDevice)
	if err != nil {
		return err
	}
	return d.Check("written with a token of Microsoft Entra ID, as a device twin", "1 PatchTwin, 0 PatchDigitalTwin",
		fmt.Sprintf("%d PatchTwin, %d PatchDigitalTwin", counts[simulator.OpPatchTwin], counts[simulator.OpPatchDigitalTwin]),
		counts[simulator.OpPatchTwin] == 1 && counts[simulator.OpPatchDigitalTwin] == 0)
}

// grantFromMessage waits until the IoTHub says what right is missing, and applies the component
// that grants it.
func (d *demo) grantFromMessage(ctx context.Context) error {
	err := d.Expect(ctx, harness.Expectation{
		What: "the IoTHub says what right is missing", Expected: v1alpha1.ReasonAccessDenied + " with the command that grants it", Within: withinEdit,
		Look: func(ctx context.Context) (string, bool, error) {
			text, err := d.Kubectl.Output(ctx, "", "get", "hub", harness.SampleHub, "-n", harness.IdentityNamespace, "-o", `jsonpath={.status.conditions[?(@.type=="Ready")]['reason','message']}`)
			return text, len(harness.Lacking(text, v1alpha1.ReasonAccessDenied, "--resource=serviceaccounts/token", "--resource-name="+harness.IdentityAccount)) == 0, err
		},
	})
	if err != nil {
		return err
	}
	_, err = d.Kubectl.Show(ctx, "apply", "-f", d.Path("config/tenant/workload-identity/role.yaml"), "-n", harness.IdentityNamespace)
	return err
}

func (d *demo) identityManifests() (string, error) {
	ca, err := os.ReadFile(d.File(harness.HubCAFile))
	if err != nil {
		return "", fmt.Errorf("reading the hub's CA: %w", err)
	}
	object := func(kind, name string, spec map[string]any) map[string]any {
		return map[string]any{
			"apiVersion": v1alpha1.GroupVersion.String(), "kind": kind,
			"metadata": map[string]any{"name": name, "namespace": harness.IdentityNamespace}, "spec": spec,
		}
	}
	list, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": []any{
		object("IoTHub", harness.SampleHub, map[string]any{
			"hostName": d.HubEnv["HUB_HOST_NAME"], "endpoint": d.HubEnv["HUB_ENDPOINT"], "caBundle": string(ca),
			"authentication": map[string]any{"workloadIdentity": map[string]any{
				"clientID": harness.IdentityClient, "tenantID": harness.IdentityTenant, "serviceAccountName": harness.IdentityAccount,
			}},
		}),
		object("PnPDevice", harness.IdentityDevice, map[string]any{
			"hubRef": map[string]any{"name": harness.SampleHub}, "properties": map[string]any{harness.TargetProperty: 19.5},
		}),
	}})
	return string(list), err
}
