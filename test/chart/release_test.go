package chart_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// cluster is a real API server, and Helm with its administrator's kubeconfig.
type cluster struct {
	client.Client
	t      *testing.T
	env    []string
	config *rest.Config // of an administrator
}

func assets() string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return "../../bin/k8s"
}

func newCluster(t *testing.T) *cluster {
	t.Helper()
	environment := &envtest.Environment{BinaryAssetsDirectory: assets()}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	user, err := environment.AddUser(envtest.User{Name: "admin", Groups: []string{"system:masters"}}, nil)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := user.KubeConfig()
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(kubeconfig, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, apiextensionsv1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	c, err := client.New(config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	return &cluster{c, t, []string{"KUBECONFIG=" + kubeconfig}, config}
}

func (c *cluster) helm(args ...string) string {
	c.t.Helper()
	return must(c.t, c.env, "helm", append(args, "--namespace", "pnp-system")...)
}

// has reports whether an object exists.
func (c *cluster) has(o client.Object, namespace, name string) bool {
	c.t.Helper()
	err := c.Get(c.t.Context(), client.ObjectKey{Namespace: namespace, Name: name}, o)
	if err != nil && !apierrors.IsNotFound(err) {
		c.t.Fatal(err)
	}
	return err == nil
}

func (c *cluster) create(all ...client.Object) {
	c.t.Helper()
	for _, o := range all {
		if err := c.Create(c.t.Context(), o); err != nil {
			c.t.Fatal(err)
		}
	}
}

// newHub is an IoTHub in namespace factory.
func newHub() *v1alpha1.IoTHub {
	return &v1alpha1.IoTHub{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub"},
		Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net", Authentication: v1alpha1.HubAuthentication{
			ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "hub", Key: "connectionString"},
		}},
	}
}

func (c *cluster) describesDigest() bool {
	c.t.Helper()
	crd := &apiextensionsv1.CustomResourceDefinition{}
	if !c.has(crd, "", "devicemodels.iot.pnp-operator.io") {
		c.t.Fatal("there is no CRD of DeviceModels")
	}
	_, has := crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["status"].Properties["digest"]
	return has
}

// olderChart is the chart before DeviceModels had a digest.
func olderChart(t *testing.T) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "pnp-operator")
	if err := os.CopyFS(dir, os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "files", "crds", "iot.pnp-operator.io_devicemodels.yaml")
	raw, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	older := strings.Replace(string(raw), "\n              digest:\n", "\n              fingerprint:\n", 1)
	if older == string(raw) {
		t.Fatal("the CRD of DeviceModels has no status.digest any more: choose another field")
	}
	if err := os.WriteFile(path, []byte(older), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestReleases installs, upgrades, rolls back and uninstalls. Nothing runs here: there is no kubelet.
func TestReleases(t *testing.T) {
	c := newCluster(t)
	c.create(&corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "factory"}}, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: "office"}})
	c.helm("install", "pnp", olderChart(t), "--create-namespace", "--set=tenants[0].namespace=factory")
	if c.describesDigest() {
		t.Fatal("the older chart is not older")
	}
	if !c.has(&rbacv1.Role{}, "factory", "pnp-operator-tenant") || !c.has(&rbacv1.ClusterRole{}, "", "pnp-operator") {
		t.Error("rights are missing")
	}
	c.create(newHub())

	c.helm("upgrade", "pnp", chart, "--set=watchNamespaces={factory}")
	if !c.describesDigest() {
		t.Error("the upgrade left the older CRD")
	}
	if c.has(&rbacv1.Role{}, "factory", "pnp-operator-tenant") || !c.has(&rbacv1.Role{}, "factory", "pnp-operator-watched") {
		t.Error("the upgrade left rights that it was to take, or did not give those it was to give")
	}
	if out, err := tool(t, c.env, "helm", "install", "second", chart, "--namespace", "office"); err == nil {
		t.Errorf("a second release in the cluster is taken: %s", out)
	}

	c.helm("rollback", "pnp", "1")
	if c.describesDigest() {
		t.Error("the rollback left the newer CRD")
	}
	if !c.has(&rbacv1.Role{}, "factory", "pnp-operator-tenant") || c.has(&rbacv1.Role{}, "factory", "pnp-operator-watched") {
		t.Error("the rollback did not bring back the rights of before")
	}

	c.reinstall()
}

// reinstall uninstalls, which leaves what is the users', and installs over it.
func (c *cluster) reinstall() {
	c.t.Helper()
	c.helm("uninstall", "pnp")
	if !c.has(&v1alpha1.IoTHub{}, "factory", "hub") {
		c.t.Error("uninstalling took the objects of users")
	}
	if c.has(&rbacv1.ClusterRole{}, "", "pnp-operator") || c.has(&corev1.ServiceAccount{}, "pnp-system", "pnp-operator") {
		c.t.Error("uninstalling left rights")
	}
	c.helm("install", "pnp", chart) // over the CRDs that stayed
	if !c.describesDigest() {
		c.t.Error("installing again left the older CRD")
	}
}
