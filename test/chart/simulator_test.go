package chart_test

import (
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/hack/freeport"
)

// TestTwoCommands does what the notes of a release with a simulator say. There is no kubelet, nor DNS for Services: both programs run here, with the arguments of
// their Deployments, files of the mounted Secret and, for the operator, the rights of its ServiceAccount; addresses are those of this machine.
func TestTwoCommands(t *testing.T) {
	for name, set := range map[string]string{
		"with a ClusterRole":       "simulator.enabled=true,metrics.enabled=false",
		"with Roles in namespaces": "simulator.enabled=true,metrics.enabled=false,watchNamespaces={pnp-simulator}",
	} {
		t.Run(name, func(t *testing.T) { twoCommands(t, set) })
	}
}

func twoCommands(t *testing.T, set string) {
	t.Helper()
	c := newCluster(t)
	notes := c.helm("install", "pnp", chart, "--create-namespace", "--set="+set)
	hub, events := freePort(t), freePort(t)
	c.runSimulator(hub, events)
	making := c.runCertificate()
	log := c.runOperator(c.mountCertificate())

	if !strings.Contains(notes, samplesCommand) {
		t.Fatalf("the notes lack %q: %s", samplesCommand, notes)
	}
	manifests := c.shell("", samplesCommand)
	for from, to := range map[string]string{
		"\nspec:\n  hostName:": "\nspec:\n  endpoint: https://localhost:" + hub + "\n  hostName:",
		"\n  events:\n":        "\n  events:\n    endpoint: localhost:" + events + "\n",
	} {
		if !strings.Contains(manifests, from) {
			t.Fatalf("no %q in %s", from, manifests)
		}
		manifests = strings.Replace(manifests, from, to, 1)
	}
	c.shell(manifests, "kubectl apply -f -")
	eventually(t, "the device's acknowledgement", func() bool {
		device := &v1alpha1.PnPDevice{}
		return c.has(device, "pnp-simulator", "line-0") && apimeta.IsStatusConditionTrue(device.Status.Conditions, v1alpha1.ConditionReady) && device.Status.Summary == "1/1"
	})
	eventually(t, "events", func() bool {
		is := &v1alpha1.IoTHub{}
		return c.has(is, "pnp-simulator", "simulator") && apimeta.IsStatusConditionTrue(is.Status.Conditions, v1alpha1.ConditionEventStreamReady)
	})

	eventually(t, "the webhook's authority", func() bool {
		is := &admissionv1.ValidatingWebhookConfiguration{}
		return c.has(is, "", "pnp-operator") && len(is.Webhooks[0].ClientConfig.CABundle) > 0
	})
	for _, log := range []string{log, making} {
		said, err := os.ReadFile(log)
		c.done(err)
		if strings.Contains(string(said), "forbidden") {
			t.Errorf("a right is missing: the log %s is below", log)
		}
	}

	before := c.secret("pnp-simulator")
	c.helm("upgrade", "pnp", chart, "--set="+set+",simulator.devices=5")
	for key, value := range c.secret("pnp-simulator") {
		if string(before[key]) != string(value) {
			t.Errorf("an upgrade makes another %s: what objects hold of it is wrong then", key)
		}
	}
}

// TestTheSimulatorsImage renders the name of its image, which follows the operator's tag unless it
// has one.
func TestTheSimulatorsImage(t *testing.T) {
	digest := "sha256:" + strings.Repeat("a", 64)
	for name, test := range map[string]struct{ set, operator, simulator string }{
		"the operator's tag is both's":        {"image.tag=v1", "pnp-operator:v1", "iothub-simulator:v1"},
		"each has a tag":                      {"image.tag=v1,simulator.image.tag=v2", "pnp-operator:v1", "iothub-simulator:v2"},
		"the simulator's is elsewhere":        {"image.tag=v1,simulator.image.repository=r.example.com/hub", "pnp-operator:v1", "r.example.com/hub:v1"},
		"the simulator's has a digest":        {"image.tag=v1,simulator.image.digest=" + digest, "pnp-operator:v1", "iothub-simulator@" + digest},
		"the operator's digest is its own":    {"image.tag=v1,image.digest=" + digest, "pnp-operator@" + digest, "iothub-simulator:v1"},
		"the simulator's tag is its own only": {"simulator.image.tag=v2,image.digest=" + digest, "pnp-operator@" + digest, "iothub-simulator:v2"},
	} {
		t.Run(name, func(t *testing.T) {
			rendered := objects(t, template(t, "--set=simulator.enabled=true,"+test.set))
			for deployment, want := range map[string]string{
				"Deployment pnp-system/pnp-operator":     test.operator,
				"Deployment pnp-simulator/pnp-simulator": test.simulator,
				"Job pnp-system/pnp-operator-end-trial":  test.operator,
			} {
				if got := containers(rendered[deployment])[0]["image"]; got != want {
					t.Errorf("%s has the image %v, want %s", deployment, got, want)
				}
			}
		})
	}
}

// samplesCommand prints the objects that the notes have applied.
const samplesCommand = `kubectl get configmap pnp-simulator-samples -n pnp-simulator -o go-template='{{index .data "samples.yaml"}}'`

// shell runs a command line as its reader would.
func (c *cluster) shell(in, line string) string {
	c.t.Helper()
	cmd := exec.CommandContext(c.t.Context(), "bash", "-c", line)
	path, err := filepath.Abs(assets())
	c.done(err)
	cmd.Env, cmd.Stdin = append(os.Environ(), append(c.env, "PATH="+path+":"+os.Getenv("PATH"))...), strings.NewReader(in)
	out, err := cmd.Output()
	if failed, ok := errors.AsType[*exec.ExitError](err); ok {
		c.t.Fatalf("%s: %s", line, failed.Stderr)
	}
	c.done(err)
	return string(out)
}

func (c *cluster) secret(name string) map[string][]byte {
	c.t.Helper()
	secret := &corev1.Secret{}
	if !c.has(secret, "pnp-simulator", name) {
		c.t.Fatal("no Secret ", name)
	}
	return secret.Data
}

// argsOf are those of a Deployment's only container, with some replaced or, if they are new, added.
func (c *cluster) argsOf(namespace, name string, others ...string) []string {
	c.t.Helper()
	deployment := &appsv1.Deployment{}
	if !c.has(deployment, namespace, name) {
		c.t.Fatal("no Deployment ", name)
	}
	args := slices.Clone(deployment.Spec.Template.Spec.Containers[0].Args)
	for _, other := range others {
		flag, _, _ := strings.Cut(other, "=")
		args = append(slices.DeleteFunc(args, func(arg string) bool { return strings.HasPrefix(arg, flag+"=") || arg == flag }), other)
	}
	return args
}

func (c *cluster) runSimulator(hub, events string) {
	c.t.Helper()
	dir := c.t.TempDir()
	for key, value := range c.secret("pnp-simulator") {
		c.done(os.WriteFile(filepath.Join(dir, key), value, 0o600))
	}
	args := c.argsOf("pnp-simulator", "pnp-simulator", "--listen=127.0.0.1:"+hub, "--events-listen=127.0.0.1:"+events, "--mqtt-listen=127.0.0.1:0", "--debug-listen=127.0.0.1:0")
	for i, arg := range args {
		args[i] = strings.Replace(arg, "=/certificates/", "="+dir+"/", 1)
	}
	c.run("./simulator/cmd/iothub-simulator", args...)
}

// kubeconfigOf is that of a ServiceAccount of the operator's namespace.
func (c *cluster) kubeconfigOf(name string) (path string) {
	c.t.Helper()
	account := &corev1.ServiceAccount{}
	if !c.has(account, "pnp-system", name) {
		c.t.Fatal("no ServiceAccount ", name)
	}
	token := &authenticationv1.TokenRequest{}
	c.done(c.SubResource("token").Create(c.t.Context(), account, token))
	path = filepath.Join(c.t.TempDir(), "kubeconfig")
	c.done(clientcmd.WriteToFile(*kubeconfigWith(c.config, token.Status.Token), path))
	return path
}

// runCertificate runs what makes the webhook's certificate, and returns its log.
func (c *cluster) runCertificate() string {
	c.t.Helper()
	const name = "pnp-operator-certificate"
	return c.run(".", c.argsOf("pnp-system", name, "--kubeconfig="+c.kubeconfigOf(name), "--namespace=pnp-system", "--host=localhost")...)
}

// mountCertificate has the certificate in a folder, as the kubelet does.
func (c *cluster) mountCertificate() (dir string) {
	c.t.Helper()
	secret := &corev1.Secret{}
	eventually(c.t, "the webhook's certificate", func() bool { return c.has(secret, "pnp-system", "pnp-operator-webhook-cert") })
	dir = c.t.TempDir()
	for key, value := range secret.Data {
		c.done(os.WriteFile(filepath.Join(dir, key), value, 0o600))
	}
	return dir
}

// runOperator returns its log.
func (c *cluster) runOperator(certificates string) string {
	c.t.Helper()
	path := c.kubeconfigOf("pnp-operator")
	hosts := ".azure-devices.net,localhost,pnp-simulator.pnp-simulator.svc"
	// localhost is the only host beside those that the chart allows.
	allowed := c.argsOf("pnp-system", "pnp-operator")
	if !slices.ContainsFunc(allowed, func(arg string) bool {
		return strings.HasPrefix(arg, "--allowed-hub-suffixes=") && strings.HasSuffix(arg, ",pnp-simulator.pnp-simulator.svc")
	}) {
		c.t.Error("the chart does not allow the simulator's host: ", allowed)
	}
	return c.run(".", c.argsOf("pnp-system", "pnp-operator", "--kubeconfig="+path, "--health-probe-bind-address=127.0.0.1:"+freePort(c.t), "--leader-election-namespace=pnp-system", "--webhook-port="+freePort(c.t), "--webhook-cert-dir="+certificates,
		"--allowed-hub-suffixes="+hosts, "--allowed-event-hub-suffixes="+hosts)...)
}

func kubeconfigWith(config *rest.Config, token string) *clientcmdapi.Config {
	k := clientcmdapi.NewConfig()
	k.Clusters["c"] = &clientcmdapi.Cluster{Server: config.Host, CertificateAuthorityData: config.CAData}
	k.AuthInfos["u"] = &clientcmdapi.AuthInfo{Token: token}
	k.Contexts["x"] = &clientcmdapi.Context{Cluster: "c", AuthInfo: "u"}
	k.CurrentContext = "x"
	return k
}

// run builds a program and runs it until the test ends. It returns the file of its log.
func (c *cluster) run(pkg string, args ...string) string {
	c.t.Helper()
	program := filepath.Join(c.t.TempDir(), "program")
	build := exec.CommandContext(c.t.Context(), "go", "build", "-o", program, pkg)
	build.Dir = "../.."
	if out, err := build.CombinedOutput(); err != nil {
		c.t.Fatalf("%v: %s", err, out)
	}
	log, err := os.Create(program + ".log")
	c.done(err)
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = log, log
	c.done(cmd.Start())
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			c.t.Errorf("%s: %v", pkg, err)
		}
		if c.t.Failed() {
			_, _ = log.Seek(0, io.SeekStart)
			said, _ := io.ReadAll(log)
			c.t.Logf("%s said:\n%s", pkg, said)
		}
		_ = log.Close()
	})
	return log.Name()
}

func freePort(t *testing.T) string {
	t.Helper()
	ports, err := freeport.Ports(1)
	if err != nil {
		t.Fatal(err)
	}
	return ports[0]
}
