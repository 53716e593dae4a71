package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
)

// allowedHubSuffixes lets the operator talk to the simulator beside real hubs.
const (
	allowedHubSuffixes      = ".azure-devices.net,localhost"
	allowedEventHubSuffixes = ".servicebus.windows.net,localhost"
)

// StartControlPlane starts etcd, the API server and the controller manager, which go on until
// TearDown.
func (d *Testbed) StartControlPlane(ctx context.Context) error {
	args := []string{"up", "-assets", d.Assets, d.File(ControlPlaneFolder)}
	cmd := NewCommand(ctx, d.Path("bin/k8s/controlplane"), args...)
	return RunWatched(ctx, d.Out, cmd, "controlplane up")
}

// Install is how the operator comes into the cluster: by kustomize, or as a release of the chart.
func (d *Testbed) Install(ctx context.Context) error {
	if d.Release {
		return d.installRelease(ctx)
	}
	return d.installManifests(ctx)
}

// installManifests applies config/default without its Deployments: there is no kubelet here that could run them. The webhook follows with the operator.
func (d *Testbed) installManifests(ctx context.Context) error {
	overlay := kustomization{
		Resources: []string{d.Path("config/default")},
		Patches: []patch{
			without("apps/v1", "Deployment"), without("v1", "Service"), without("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
		},
	}
	if err := overlay.writeTo(d.File("install")); err != nil {
		return err
	}
	cmd := NewCommand(ctx, d.Path("bin/tools/kustomize"), "build", d.File("install"))
	cmd.Stderr = d.Out
	manifests, err := cmd.Output()
	if err := CauseOf(ctx, err); err != nil {
		return fmt.Errorf("rendering config/default: %w", err)
	}
	d.Out.Sayf("$ kustomize build %s | kubectl apply --server-side -f -", d.File("install"))
	if _, err := d.Kubectl.ShowInput(ctx, string(manifests), "apply", "--server-side", "-f", "-"); err != nil {
		return err
	}
	return d.Kubectl.Established(ctx, "crd/iothubs.iot.pnp-operator.io", "crd/pnpdevices.iot.pnp-operator.io",
		"crd/devicecommands.iot.pnp-operator.io", "crd/devicemodels.iot.pnp-operator.io")
}

// Identify writes the operator's own kubeconfig and checks that it is not an administrator's.
func (d *Testbed) Identify(ctx context.Context) error {
	token, err := d.Kubectl.Output(ctx, "", "create", "token", operatorAccount, "-n", OperatorNamespace, "--duration=168h")
	if err != nil {
		return err
	}
	if err := d.writeKubeconfig(ctx, operatorKubeconfig, strings.TrimSpace(token)); err != nil {
		return err
	}
	operator := d.Kubectl
	operator.Kubeconfig = d.File(operatorKubeconfig)
	d.Out.Sayf("As ServiceAccount %s/%s, which the operator runs as:", OperatorNamespace, operatorAccount)
	for _, right := range []struct {
		words []string
		want  string
	}{
		{[]string{"list", "pnpdevices.iot.pnp-operator.io", "--all-namespaces"}, "yes"},
		{[]string{"patch", "pnpdevices.iot.pnp-operator.io/status", "--all-namespaces"}, "yes"},
		{[]string{"delete", "namespaces"}, "no"},
		{[]string{"create", "secrets", "--all-namespaces"}, "no"},
		{[]string{"get", "secrets", "--all-namespaces"}, "no"},
		{[]string{"list", "secrets", "--all-namespaces"}, "no"},
		{[]string{"get", "secrets", "-n", OperatorNamespace}, "no"},
		{[]string{"update", "validatingwebhookconfigurations/pnp-operator"}, "no"},
		{[]string{"patch", "validatingwebhookconfigurations/pnp-operator"}, "no"},
		{[]string{"create", "serviceaccounts/token", "--all-namespaces"}, "no"},
		{[]string{"delete", "pnpdevices.iot.pnp-operator.io", "--all-namespaces"}, "no"},
	} {
		answer, err := operator.can(ctx, right.words...)
		if err != nil {
			return err
		}
		if answer != right.want {
			return miss{"the operator's rights: can-i " + strings.Join(right.words, " "), right.want, answer}
		}
	}
	d.Out.Passf("the operator has its own rights and no more")
	return nil
}

// writeKubeconfig writes the administrator's kubeconfig with a token for its certificate.
func (d *Testbed) writeKubeconfig(ctx context.Context, name, token string) error {
	out, err := d.Kubectl.Output(ctx, "", "config", "view", "--raw", "--flatten", "--minify", "-o", "json")
	if err != nil {
		return err
	}
	data, err := withToken(out, token)
	if err != nil {
		return err
	}
	if err := os.WriteFile(d.File(name), data, 0o600); err != nil {
		return fmt.Errorf("writing %q: %w", name, err)
	}
	return nil
}

// withToken returns a kubeconfig, in JSON, whose only user shows the token and nothing else.
func withToken(kubeconfig, token string) ([]byte, error) {
	var config map[string]any
	if err := json.Unmarshal([]byte(kubeconfig), &config); err != nil {
		return nil, fmt.Errorf("decoding the administrator's kubeconfig: %w", err)
	}
	contexts, _ := config["contexts"].([]any)
	if len(contexts) != 1 {
		return nil, fmt.Errorf("the administrator's kubeconfig has %d contexts instead of 1", len(contexts))
	}
	first, _ := contexts[0].(map[string]any)
	inner, ok := first["context"].(map[string]any)
	if !ok {
		return nil, fmt.Errorf("the administrator's kubeconfig has no context in %v", first["name"])
	}
	inner["user"] = operatorAccount
	config["users"] = []any{map[string]any{"name": operatorAccount, "user": map[string]any{"token": token}}}
	return json.MarshalIndent(config, "", "  ")
}

// startOperator starts the operator with its own kubeconfig and waits until it is ready.
func (d *Testbed) startOperator(ctx context.Context) error {
	if d.Release {
		return d.startRelease(ctx)
	}
	d.Out.Sayf("$ manager --allowed-hub-suffixes=%s --allowed-event-hub-suffixes=%s    log: %s", allowedHubSuffixes, allowedEventHubSuffixes, d.Manager().LogFile())
	flags, probes, err := d.WebhookFlags(ctx)
	if err != nil {
		return err
	}
	ended, err := d.LaunchOperator(ctx, d.Manager(), probes, flags...)
	if err != nil {
		return err
	}
	d.supervise(d.Manager(), ended)
	d.Out.Passf("the operator runs, pid %d", d.Manager().Pid())
	return nil
}

// WebhookFlags leads the API server to an operator that is about to start and gives it a
// certificate. It returns the flags for that, and where the operator shall answer probes.
func (d *Testbed) WebhookFlags(ctx context.Context) (flags []string, probes string, err error) {
	ports, err := freeport.Ports(2)
	if err != nil {
		return nil, "", err
	}
	if err := d.LeadToWebhook(ctx, ports[0]); err != nil {
		return nil, "", err
	}
	flags = []string{"--webhook-port=" + ports[0], "--webhook-cert-dir=" + d.File(CertificateFolder)}
	return flags, "127.0.0.1:" + ports[1], d.Certify(ctx, "certificate")
}

// LeadToWebhook applies config/webhook for an operator that is a process here instead of behind a
// Service.
func (d *Testbed) LeadToWebhook(ctx context.Context, port string) error {
	steps, err := webhookSteps(port)
	if err != nil {
		return err
	}
	overlay := kustomization{
		Resources: []string{d.Path("config/webhook")},
		Patches:   []patch{without("v1", "Service"), without("apps/v1", "Deployment"), {Target: Target{Kind: "ValidatingWebhookConfiguration"}, Patch: steps}},
	}
	if err := overlay.writeTo(d.File("webhook")); err != nil {
		return err
	}
	_, err = d.Kubectl.Show(ctx, "apply", "--server-side", "-k", d.File("webhook"))
	return err
}

// webhookSteps are a JSON Patch that leads the API server to a port of this machine instead of the Service.
func webhookSteps(port string) (string, error) {
	var steps []Operation
	for i, kind := range []string{"devicecommand", "devicemodel", "pnpdevice"} {
		at := fmt.Sprintf("/webhooks/%d", i)
		steps = append(steps,
			Operation{Op: "test", Path: at + "/name", Value: kind + "s.iot.pnp-operator.io"},
			Operation{Op: "remove", Path: at + "/clientConfig/service"},
			Operation{Op: "add", Path: at + "/clientConfig/url", Value: fmt.Sprintf("https://localhost:%s/validate-iot-pnp-operator-io-v1alpha1-%s", port, kind)},
		)
	}
	raw, err := json.Marshal(steps)
	return string(raw), err
}

// LaunchOperator is startOperator for one that may end, or is one of several. It answers probes at
// an address.
func (d *Testbed) LaunchOperator(ctx context.Context, p Process, probes string, more ...string) (<-chan error, error) {
	args := append([]string{"--kubeconfig=" + d.File(operatorKubeconfig), "--allowed-hub-suffixes=" + allowedHubSuffixes,
		"--allowed-event-hub-suffixes=" + allowedEventHubSuffixes, "--health-probe-bind-address=" + probes,
		"--entra-authority=" + d.HubEnv["ENTRA_AUTHORITY"], "--entra-ca-file=" + d.HubEnv["ENTRA_CA_FILE"]}, more...)
	return d.launch(ctx, p, probes, args)
}

// launch starts an operator and waits until it is ready.
func (d *Testbed) launch(ctx context.Context, p Process, probes string, args []string) (<-chan error, error) {
	client := &http.Client{Timeout: time.Second}
	isReady := func() error { return Probe(ctx, client, "http://"+probes+"/readyz") }
	return p.begin(ctx, time.Minute, isReady, d.Path("bin/manager"), args...)
}

// Probe asks a URL, and returns an error unless the answer is 200.
func Probe(ctx context.Context, client *http.Client, url string) error {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	response, err := client.Do(request)
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", url, response.Status)
	}
	return nil
}
