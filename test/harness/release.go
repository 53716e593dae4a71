package harness

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

// MonitoringNamespace has the ServiceAccount that a release lets read the operator's metrics.
const (
	MonitoringNamespace = "monitoring"
	ScraperAccount      = "prometheus"
)

// installRelease installs the chart as a user would. Values tell what this machine has in place of
// pods, Services and a node's addresses.
func (d *Testbed) installRelease(ctx context.Context) error {
	port, err := d.writeValues()
	if err != nil {
		return err
	}
	for _, name := range []string{Namespace, MonitoringNamespace} {
		if _, err := d.Kubectl.Show(ctx, "create", "namespace", name); err != nil {
			return err
		}
	}
	if _, err := d.Kubectl.Show(ctx, "create", "serviceaccount", ScraperAccount, "-n", MonitoringNamespace); err != nil {
		return err
	}
	if err := d.helm(ctx, "install", "pnp", d.Path("charts/pnp-operator"), "--namespace", OperatorNamespace, "--create-namespace", "--values", d.File("values.json")); err != nil {
		return err
	}
	steps, err := webhookSteps(port)
	if err != nil {
		return err
	}
	_, err = d.Kubectl.Show(ctx, "patch", "validatingwebhookconfiguration", "pnp-operator", "--type=json", "--patch="+steps)
	return err
}

// writeValues writes the values of the release and returns the webhook's port.
func (d *Testbed) writeValues() (webhook string, err error) {
	ports, err := freeport.Ports(3) // webhook, metrics, probes
	if err != nil {
		return "", err
	}
	d.Metrics, d.probes = "127.0.0.1:"+ports[1], "127.0.0.1:"+ports[2]
	values, err := json.Marshal(map[string]any{
		"tenants":                 []any{map[string]any{"namespace": Namespace, "secretNames": []string{sampleSecret}}},
		"allowedHubSuffixes":      strings.Split(allowedHubSuffixes, ","),
		"allowedEventHubSuffixes": strings.Split(allowedEventHubSuffixes, ","),
		"webhook":                 map[string]any{"port": number(ports[0])},
		"metrics":                 map[string]any{"port": number(ports[1]), "readers": []any{map[string]any{"namespace": MonitoringNamespace, "name": ScraperAccount}}},
		"extraArgs": []string{
			"--kubeconfig=" + d.File(operatorKubeconfig), "--health-probe-bind-address=" + d.probes, "--metrics-bind-address=" + d.Metrics,
			"--webhook-cert-dir=" + d.File(CertificateFolder), "--leader-election-namespace=" + OperatorNamespace,
		},
	})
	if err != nil {
		return "", err
	}
	return ports[0], os.WriteFile(d.File("values.json"), values, 0o600)
}

// number is a port as values have it.
func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

func (d *Testbed) helm(ctx context.Context, args ...string) error {
	words := slices.Concat(d.Kubectl.Under, []string{d.Path("bin/tools/helm")}, args)
	cmd := NewCommand(ctx, words[0], words[1:]...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+d.Kubectl.Kubeconfig, "HELM_CACHE_HOME="+d.File("helm"), "HELM_CONFIG_HOME="+d.File("helm"), "HELM_DATA_HOME="+d.File("helm"))
	return RunWatched(ctx, d.Out, cmd, CommandLine(append([]string{"helm"}, args...)...))
}

// startRelease runs what the release's Deployments would: their arguments, as their
// ServiceAccounts.
func (d *Testbed) startRelease(ctx context.Context) error {
	args, err := d.argsOf(ctx, certificateAccount)
	if err != nil {
		return err
	}
	if err := d.Certify(ctx, args...); err != nil {
		return err
	}
	if args, err = d.argsOf(ctx, operatorAccount); err != nil {
		return err
	}
	d.Out.Sayf("$ manager %s    log: %s", CommandLine(args...), d.Manager().LogFile())
	ended, err := d.launch(ctx, d.Manager(), d.probes, args)
	if err != nil {
		return err
	}
	d.supervise(d.Manager(), ended)
	d.Out.Passf("the operator runs with the arguments of the release's Deployment, pid %d", d.Manager().Pid())
	return nil
}

// argsOf are the arguments of a Deployment that has the name of its ServiceAccount.
func (d *Testbed) argsOf(ctx context.Context, account string) ([]string, error) {
	var deployment appsv1.Deployment
	if err := d.Kubectl.Get(ctx, &deployment, "deployment", account, "-n", OperatorNamespace); err != nil {
		return nil, err
	}
	pod := deployment.Spec.Template.Spec
	if len(pod.Containers) != 1 || pod.ServiceAccountName != account {
		return nil, miss{"Deployment " + account, "one container, as that ServiceAccount", fmt.Sprintf("%d, as %q", len(pod.Containers), pod.ServiceAccountName)}
	}
	return pod.Containers[0].Args, nil
}
