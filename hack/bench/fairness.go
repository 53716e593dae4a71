package main

import (
	"context"
	"fmt"
	"net"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const (
	// tenant is the namespace of who does the worst.
	tenant = "mallory"
	// slowDevices wait for a hub that takes slowAnswer for each.
	slowDevices = 200
	slowAnswer  = time.Minute
	// deadHubs are IoTHubs at a port that says nothing.
	deadHubs = 120
)

// fairness measures edits of the devices of one tenant while another one's hub is slow, and while its IoTHubs point at a port that says nothing.
func (b *bench) fairness(ctx context.Context) error {
	if err := b.settle(ctx, b.size.fewest(), 3); err != nil {
		return err
	}
	idle, err := b.chainOfOperator(ctx, b.size.edits)
	if err != nil {
		return err
	}
	sim, err := simulator.Start(ctx, simulator.Options{HostName: "slow.azure-devices.net"})
	if err != nil {
		return fmt.Errorf("starting a hub of another tenant: %w", err)
	}
	defer func() { _ = sim.Close() }()
	if err := b.admitTenant(ctx, sim); err != nil {
		return err
	}
	if err := b.besideSlowHub(ctx, sim, idle); err != nil {
		return err
	}
	return b.besideDeadHubs(ctx, sim, idle)
}

// admitTenant makes the namespace and the Secret of the other tenant, and lets the operator read it.
func (b *bench) admitTenant(ctx context.Context, sim *simulator.Simulator) error {
	reading := []any{map[string]any{"apiGroups": []any{""}, "resources": []any{"secrets"}, "verbs": []any{"get", "list", "watch"}}}
	operator := []any{map[string]any{"kind": "ServiceAccount", "name": "pnp-operator", "namespace": "pnp-system"}}
	for _, o := range []map[string]any{
		{"apiVersion": "v1", "kind": "Namespace", "metadata": map[string]any{"name": tenant}},
		{"apiVersion": "v1", "kind": "Secret", "metadata": inTenant("hub"), "stringData": map[string]any{"connectionString": sim.ConnectionString("service")}},
		{"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": inTenant("pnp-operator-tenant"), "rules": reading},
		{
			"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding", "metadata": inTenant("pnp-operator-tenant"), "subjects": operator,
			"roleRef": map[string]any{"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "pnp-operator-tenant"},
		},
	} {
		if err := client.IgnoreAlreadyExists(b.client.Create(ctx, &unstructured.Unstructured{Object: o})); err != nil {
			return fmt.Errorf("making the %s of another tenant: %w", o["kind"], err)
		}
	}
	return nil
}

func inTenant(name string) map[string]any {
	return map[string]any{"namespace": tenant, "name": name}
}

func (b *bench) tenantHub(sim *simulator.Simulator, name, endpoint string) *v1alpha1.IoTHub {
	return &v1alpha1.IoTHub{
		ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: name},
		Spec: v1alpha1.IoTHubSpec{
			HostName: sim.HostName(), Endpoint: endpoint, CABundle: string(sim.CAPEM()),
			Authentication: v1alpha1.HubAuthentication{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "hub", Key: "connectionString"}},
		},
	}
}

// besideSlowHub has the operator wait for a hub of another tenant, as far as it does that.
func (b *bench) besideSlowHub(ctx context.Context, sim *simulator.Simulator, idle sample) error {
	sim.Faults().Add(simulator.Fault{Kind: simulator.FaultLatency, Operation: simulator.OpGetTwin, Latency: slowAnswer, Count: simulator.Forever})
	if err := b.client.Create(ctx, b.tenantHub(sim, "slow", sim.Endpoint())); err != nil {
		return fmt.Errorf("making the IoTHub of another tenant: %w", err)
	}
	err := each(ctx, slowDevices, clients, func(ctx context.Context, i int) error {
		return b.client.Create(ctx, &v1alpha1.PnPDevice{
			ObjectMeta: metav1.ObjectMeta{Namespace: tenant, Name: fmt.Sprintf("d-%d", i)},
			Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "slow"}, Properties: encoded(map[string]any{"a": 1})},
		})
	})
	if err != nil {
		return fmt.Errorf("declaring devices of another tenant: %w", err)
	}
	if !pause(ctx, 2*time.Second) { // they are all waiting then
		return context.Cause(ctx)
	}
	if err := b.compareEdits(ctx, idle, fmt.Sprintf("%d devices of another tenant wait for a hub that answers in %s", slowDevices, slowAnswer)); err != nil {
		return err
	}
	for _, o := range []client.Object{&v1alpha1.PnPDevice{}, &v1alpha1.IoTHub{}} {
		if err := b.removeAll(ctx, o, tenant); err != nil {
			return fmt.Errorf("removing what is another tenant's: %w", err)
		}
	}
	return nil
}

// besideDeadHubs has the operator prove credentials at a port that takes connections and says nothing, and then at one that answers.
func (b *bench) besideDeadHubs(ctx context.Context, sim *simulator.Simulator, idle sample) error {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("opening a port that says nothing: %w", err)
	}
	defer func() { _ = silent.Close() }()
	_, port, _ := net.SplitHostPort(silent.Addr().String())
	err = each(ctx, deadHubs, clients, func(ctx context.Context, i int) error {
		return b.client.Create(ctx, b.tenantHub(sim, fmt.Sprintf("dead-%d", i), "https://localhost:"+port))
	})
	if err != nil {
		return fmt.Errorf("making IoTHubs of another tenant: %w", err)
	}
	if err := b.compareEdits(ctx, idle, fmt.Sprintf("%d IoTHubs of another tenant point at a port that says nothing", deadHubs)); err != nil {
		return err
	}
	if err := b.timeNewHub(ctx); err != nil {
		return err
	}
	return b.removeAll(ctx, &v1alpha1.IoTHub{}, tenant)
}

// compareEdits measures edits meanwhile against those before.
func (b *bench) compareEdits(ctx context.Context, idle sample, meanwhile string) error {
	var took sample
	for i := range b.size.edits {
		one, err := b.timedEdit(ctx, b.present.name(i*7%b.present.count))
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	b.Out.Sayf("    %s: p50 %.1f ms, p99 %.1f ms; idle p50 %.1f ms, p99 %.1f ms", meanwhile, took.median(), took.quantile(0.99), idle.median(), idle.quantile(0.99))
	b.out.one("apply to acknowledged in status, p99, while "+meanwhile+" / idle", "ratio", took.quantile(0.99)/idle.quantile(0.99)).atMost(2)
	return nil
}

// timeNewHub makes the IoTHub anew: its credential has to be proved like those of the other tenant.
func (b *bench) timeNewHub(ctx context.Context) error {
	key := client.ObjectKey{Namespace: namespace, Name: hubName}
	if err := b.client.Delete(ctx, &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: hubName}}); err != nil {
		return fmt.Errorf("removing the IoTHub: %w", err)
	}
	if err := b.connectHub(ctx); err != nil {
		return err
	}
	began := time.Now()
	err := b.until(ctx, "IoTHub ready", func() (int, int) {
		var hub v1alpha1.IoTHub
		if err := b.client.Get(ctx, key, &hub); err != nil {
			return 0, 1
		}
		for _, c := range hub.Status.Conditions {
			if c.Type == v1alpha1.ConditionReady && c.Status == metav1.ConditionTrue {
				return 1, 1
			}
		}
		return 0, 1
	})
	b.out.one("a new IoTHub until it is Ready meanwhile", "s", time.Since(began).Seconds()).atMost(2)
	return err
}
