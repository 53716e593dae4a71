package controllers_test

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/hub"
	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// operatorUser is the identity that the controllers run as: the ServiceAccount of config/rbac, not an administrator.
const operatorUser = "system:serviceaccount:pnp-system:pnp-operator"

const operatorNamespace = "pnp-system"

// streamTiming has tests wait for less.
var streamTiming = eventstream.Timing{Settle: 300 * time.Millisecond, Save: 500 * time.Millisecond, Lag: time.Second, Retry: 2 * time.Second}

// paused is true while the operator may have lost its lease.
var paused atomic.Bool

// grace is short here: how long the hub may fail before status says so.
const grace = time.Second

// hubTimeout is short here, too.
var hubTimeout = usualHubTimeout

const usualHubTimeout = 2 * time.Second

// clearWithin is short here, too: specs end with hubs that are gone and objects that clear.
const clearWithin = 5 * time.Second

var (
	scheme      = runtime.NewScheme()
	environment *envtest.Environment
	admin       client.Client
	kubeconfig  string
	ctx         context.Context
	stop        context.CancelFunc
	manager     *operator
	namespaces  *exec.Cmd        // the kube-controller-manager, which finishes the deletion of namespaces
	authority   *simulator.Entra // of Microsoft Entra ID, for all hubs
	logs        = &logBuffer{}
)

func TestControllers(t *testing.T) {
	RegisterFailHandler(Fail)
	SetDefaultEventuallyTimeout(20 * time.Second)
	SetDefaultEventuallyPollingInterval(50 * time.Millisecond)
	SetDefaultConsistentlyPollingInterval(100 * time.Millisecond)
	RunSpecs(t, "Controllers")
}

var _ = BeforeSuite(func() {
	ctx, stop = context.WithCancel(context.Background()) //nolint:fatcontext // the suite's own, made once
	ctrl.SetLogger(zap.New(zap.WriteTo(logs), zap.UseDevMode(true)))
	Expect(clientgoscheme.AddToScheme(scheme)).To(Succeed())
	Expect(v1alpha1.AddToScheme(scheme)).To(Succeed())
	environment = &envtest.Environment{
		BinaryAssetsDirectory: assets(),
		CRDDirectoryPaths:     []string{filepath.Join("..", "config", "crd", "bases")},
		ErrorIfCRDPathMissing: true,
	}
	listenOutside(&environment.ControlPlane)
	cfg, err := environment.Start()
	Expect(err).NotTo(HaveOccurred(), "starting the control plane: build it with hack/controlplane/build.sh")
	admin, err = client.New(cfg, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	writeKubeconfig()
	grantRole()
	startNamespaceController()
	startAuthority()
	manager = startOperator()
})

var _ = AfterSuite(func() {
	if manager != nil {
		manager.stop()
	}
	for _, url := range requests.about("/secrets") { // of all specs
		Expect(url).To(MatchRegexp(byName.String()))
	}
	for _, url := range requests.about("/serviceaccounts") {
		Expect(url).To(MatchRegexp(oneToken.String()))
	}
	Expect(namespaces.Process.Kill()).To(Succeed())
	_ = namespaces.Wait() // it was killed
	stop()
	Expect(environment.Stop()).To(Succeed())
})

// listenOutside has the control plane keep its ports, whoever dials out meanwhile.
func listenOutside(plane *envtest.ControlPlane) {
	ports, err := freeport.Ports(2)
	Expect(err).NotTo(HaveOccurred())
	plane.Etcd = &envtest.Etcd{URL: &url.URL{Scheme: "http", Host: "127.0.0.1:" + ports[0]}}
	serving := &plane.GetAPIServer().SecureServing
	serving.Address, serving.Port = "127.0.0.1", ports[1]
}

func assets() string {
	if dir := os.Getenv("KUBEBUILDER_ASSETS"); dir != "" {
		return dir
	}
	return filepath.Join("..", "bin", "k8s")
}

func writeKubeconfig() {
	user, err := environment.AddUser(envtest.User{Name: "test-admin", Groups: []string{"system:masters"}}, nil)
	Expect(err).NotTo(HaveOccurred())
	raw, err := user.KubeConfig()
	Expect(err).NotTo(HaveOccurred())
	kubeconfig = filepath.Join(GinkgoT().TempDir(), "kubeconfig")
	Expect(os.WriteFile(kubeconfig, raw, 0o600)).To(Succeed())
}

func startNamespaceController() {
	port, err := freePort()
	Expect(err).NotTo(HaveOccurred())
	namespaces = exec.Command(filepath.Join(assets(), "kube-controller-manager"), "--kubeconfig="+kubeconfig, "--controllers=namespace-controller",
		"--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port="+port, "--cert-dir="+filepath.Dir(kubeconfig))
	namespaces.Stderr = GinkgoWriter
	Expect(namespaces.Start()).To(Succeed())
}

func freePort() (string, error) {
	ports, err := freeport.Ports(1)
	if err != nil {
		return "", err
	}
	return ports[0], nil
}

// grantRole applies the generated role, so that a missing rule fails here.
func grantRole() {
	role, local := &rbacv1.ClusterRole{}, &rbacv1.Role{}
	readDocuments(filepath.Join("..", "config", "rbac", "role.yaml"), role, local) // a ClusterRole, and a Role in the operator's namespace
	subjects := []rbacv1.Subject{{Kind: "User", Name: operatorUser}}
	Expect(admin.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: operatorNamespace}})).To(Succeed())
	Expect(admin.Create(ctx, role)).To(Succeed())
	Expect(admin.Create(ctx, local)).To(Succeed())
	Expect(admin.Create(ctx, &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: role.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   subjects,
	})).To(Succeed())
	Expect(admin.Create(ctx, &rbacv1.RoleBinding{
		ObjectMeta: metav1.ObjectMeta{Namespace: local.Namespace, Name: local.Name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: local.Name},
		Subjects:   subjects,
	})).To(Succeed())
}

// operator is one running instance of the controllers.
type operator struct {
	cancel context.CancelFunc
	done   chan error
}

func startOperator() *operator { return startOperatorWith(grace) }

// startOperatorWith has status speak of failures, and of waits, after another time.
func startOperatorWith(grace time.Duration) *operator {
	return startOperatorFor(grace, clearWithin)
}

// startOperatorFor has sessions be kept for clearing for another time as well.
func startOperatorFor(grace, clearWithin time.Duration) *operator {
	cfg := rest.CopyConfig(environment.Config)
	cfg.QPS, cfg.Burst = 500, 1000
	cfg.Wrap(requests.wrap)
	cfg.Wrap(meddler.wrap)
	cfg.Wrap(refuser.wrap)
	cfg.Wrap(outrunner.wrap)
	cfg.Wrap(writesOfCommands.wrap)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: operatorUser, Groups: []string{"system:authenticated"}}
	unnamed := true
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0",
		Controller: config.Controller{SkipNameValidation: &unnamed},
		Cache:      cache.Options{DefaultTransform: cached.Slim},
	})
	Expect(err).NotTo(HaveOccurred())
	lifetime, cancel := context.WithCancel(ctx)
	library := models.NewLibrary(cached.Models{Reader: mgr.GetClient(), API: mgr.GetAPIReader()}, models.NewRepositories([]string{"127.0.0.1"}, modelRepository.transport()))
	library.Guarded = true
	Expect(controllers.Setup(lifetime, mgr, controllers.Options{
		Models:             library,
		Authority:          hub.Authority{URL: authority.URL(), CABundle: authority.CAPEM()},
		AllowedHubSuffixes: []string{".azure-devices.net", "localhost"}, Concurrency: 16, Grace: grace, ClearWithin: clearWithin, HubTimeout: hubTimeout,
		AllowedEventHubSuffixes: []string{".servicebus.windows.net", "localhost", "127.0.0.1"}, Namespace: operatorNamespace, StreamTiming: streamTiming, EchoWithin: 5 * time.Second,
		Fence: func() error {
			if paused.Load() {
				return errors.New("paused")
			}
			return nil
		},
	})).To(Succeed())
	o := &operator{cancel: cancel, done: make(chan error, 1)}
	go func() { o.done <- mgr.Start(lifetime) }()
	return o
}

func (o *operator) stop() {
	GinkgoHelper()
	o.cancel()
	Eventually(o.done, time.Minute).Should(Receive(BeNil()))
}

func restartOperator() {
	GinkgoHelper()
	manager.stop()
	manager = startOperator()
}

// site is a namespace with a simulated hub behind it.
type site struct {
	namespace string
	sim       *simulator.Simulator
	holder    *site // of what this one waits for, if a spec has such a one
}

var sites atomic.Int64

// newHub starts a simulator whose hub name no other test uses.
func newHub() *simulator.Simulator {
	GinkgoHelper()
	sim, err := simulator.Start(ctx, simulator.Options{
		HostName: fmt.Sprintf("factory-%d.azure-devices.net", sites.Add(1)), Entra: authority.EntraAuthority,
	})
	Expect(err).NotTo(HaveOccurred())
	DeferCleanup(sim.Close)
	return sim
}

// newSite has a namespace, a hub, its Secret and an IoTHub named "hub" that is Ready.
func newSite() *site {
	GinkgoHelper()
	s := &site{namespace: newNamespace(), sim: newHub()}
	s.createSecret(s.sim.ConnectionString("service"))
	Expect(admin.Create(ctx, s.iotHub())).To(Succeed())
	s.eventuallyHub(beReady())
	return s
}

// newNamespace has a namespace that config/tenant is applied to.
func newNamespace() string {
	GinkgoHelper()
	namespace := newForeignNamespace()
	grantTenant(namespace)
	return namespace
}

// newForeignNamespace has one that the operator has no rights in.
func newForeignNamespace() string {
	GinkgoHelper()
	ns := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{GenerateName: "site-"}}
	Expect(admin.Create(ctx, ns)).To(Succeed())
	DeferCleanup(func() { removeDevices(ns.Name) })
	return ns.Name
}

// removeDevices leaves no object behind that later tests' operators would work on. Nothing deletes namespaces here.
func removeDevices(namespace string) {
	GinkgoHelper()
	for _, kind := range []client.Object{&v1alpha1.IoTHub{}, &v1alpha1.DeviceCommand{}, &v1alpha1.DeviceModel{}, &v1alpha1.PnPDevice{}} {
		// The API server gives a request a minute, which a busy machine may need for a thousand objects.
		Eventually(func() error { return admin.DeleteAllOf(ctx, kind, client.InNamespace(namespace)) }).WithTimeout(3 * time.Minute).Should(Succeed())
	}
	Eventually(func(g Gomega) {
		var left v1alpha1.PnPDeviceList
		g.Expect(admin.List(ctx, &left, client.InNamespace(namespace))).To(Succeed())
		g.Expect(left.Items).To(BeEmpty())
	}).Should(Succeed())
}

func (s *site) createSecret(connectionString string) {
	GinkgoHelper()
	Expect(admin.Create(ctx, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"},
		StringData: map[string]string{"connectionString": connectionString},
	})).To(Succeed())
}

// plenty has nobody wait: specs are about other things, and call more in a minute than a factory does.
var plenty = v1alpha1.RequestBudget{
	TwinReadsPerSecond: 10_000, TwinWritesPerSecond: 10_000, QueriesPerMinute: 100_000, CommandsPerSecond: 10_000, DailyMessages: 1_000_000_000,
}

func (s *site) iotHub() *v1alpha1.IoTHub {
	return &v1alpha1.IoTHub{
		ObjectMeta: metav1.ObjectMeta{Namespace: s.namespace, Name: "hub"},
		Spec: v1alpha1.IoTHubSpec{
			HostName: s.sim.HostName(), Endpoint: s.sim.Endpoint(), CABundle: string(s.sim.CAPEM()), SweepIntervalSeconds: 3600, RequestBudget: plenty,
			Authentication: v1alpha1.HubAuthentication{
				ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "hub", Key: "connectionString"},
			},
		},
	}
}
