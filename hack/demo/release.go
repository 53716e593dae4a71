package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
)

const (
	monitoring = "monitoring"
	scraper    = "prometheus"
)

// installRelease installs the chart as a user would. What this machine has instead of pods, Services and a node's addresses is told by values.
func (d *demo) installRelease(ctx context.Context) error {
	port, err := d.writeValues()
	if err != nil {
		return err
	}
	for _, name := range []string{namespace, monitoring} {
		if _, err := d.kubectl.show(ctx, "create", "namespace", name); err != nil {
			return err
		}
	}
	if _, err := d.kubectl.show(ctx, "create", "serviceaccount", scraper, "-n", monitoring); err != nil {
		return err
	}
	if err := d.helm(ctx, "install", "pnp", d.path("charts/pnp-operator"), "--namespace", operatorNamespace, "--create-namespace", "--values", d.file("values.json")); err != nil {
		return err
	}
	steps, err := webhookSteps(port)
	if err != nil {
		return err
	}
	_, err = d.kubectl.show(ctx, "patch", "validatingwebhookconfiguration", "pnp-operator", "--type=json", "--patch="+steps)
	return err
}

// writeValues writes the values of the release and returns the webhook's port.
func (d *demo) writeValues() (webhook string, err error) {
	ports, err := freeport.Ports(3) // webhook, metrics, probes
	if err != nil {
		return "", err
	}
	d.metrics, d.probes = "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[2]
	values, err := json.Marshal(map[string]any{
		"tenants":                 []any{map[string]any{"namespace": namespace, "secretNames": []string{sampleSecret}}},
		"allowedHubSuffixes":      strings.Split(allowedHubSuffixes, ","),
		"allowedEventHubSuffixes": strings.Split(allowedEventHubSuffixes, ","),
		"webhook":                 map[string]any{"port": number(ports[0])},
		"metrics":                 map[string]any{"port": number(ports[1]), "readers": []any{map[string]any{"namespace": monitoring, "name": scraper}}},
		"extraArgs": []string{
			"--kubeconfig=" + d.file(operatorKubeconfig), "--health-probe-bind-address=" + d.probes, "--metrics-bind-address=" + d.metrics,
			"--webhook-cert-dir=" + d.file(certificateFolder), "--leader-election-namespace=" + operatorNamespace,
		},
	})
	if err != nil {
		return "", err
	}
	return ports[0], os.WriteFile(d.file("values.json"), values, 0o600)
}

// number is a port as values have it.
func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

func (d *demo) helm(ctx context.Context, args ...string) error {
	words := slices.Concat(d.kubectl.under, []string{d.path("bin/tools/helm")}, args)
	cmd := newCommand(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.kubectl.kubeconfig, "HELM_CACHE_HOME="+d.file("helm"), "HELM_CONFIG_HOME="+d.file("helm"), "HELM_DATA_HOME="+d.file("helm"))
	return watched(ctx, d.out, cmd, commandLine(append([]string{"helm"}, args...)...))
}

// startRelease runs what the release's Deployments would: their arguments, as their ServiceAccounts.
func (d *demo) startRelease(ctx context.Context) error {
	args, err := d.argsOf(ctx, certificateAccount)
	if err != nil {
		return err
	}
	if err := d.certify(ctx, args...); err != nil {
		return err
	}
	if args, err = d.argsOf(ctx, operatorAccount); err != nil {
		return err
	}
	d.out.sayf("$ manager %s    log: %s", commandLine(args...), d.manager().logFile())
	ended, err := d.launch(ctx, d.manager(), d.probes, args)
	if err != nil {
		return err
	}
	d.supervise(d.manager(), ended)
	d.out.passf("the operator runs with the arguments of the release's Deployment, pid %d", d.manager().pid())
	return nil
}

// argsOf are the arguments of a Deployment that has the name of its ServiceAccount.
func (d *demo) argsOf(ctx context.Context, account string) ([]string, error) {
	var deployment appsv1.Deployment
	if err := d.kubectl.get(ctx, &deployment, "deployment", account, "-n", operatorNamespace); err != nil {
		return nil, err
	}
	pod := deployment.Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.ServiceAccountName != account {
		return nil, miss{"Deployment " + account, "one container, as that ServiceAccount", fmt.Sprintf("%d, as %q", len(pod.Containers), pod.ServiceAccountName)}
	}
	return pod.Containers[0].Args, nil
}
