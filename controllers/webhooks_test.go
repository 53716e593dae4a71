package controllers_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/simulator"
	"github.com/pnp-operator/pnp-operator/webhooks"
)

// checkedLabel is on the namespaces whose objects pass the webhook.
const checkedLabel = "webhook-test"

// gate is a site whose objects pass the webhook.
type gate struct {
	*site
	client client.Client // as a user

	mu       sync.Mutex
	warnings []string
}

// HandleWarningHeader takes the warnings that kubectl would print.
func (g *gate) HandleWarningHeader(_ int, _, text string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.warnings = append(g.warnings, text)
}

func (g *gate) warned() string {
	g.mu.Lock()
	defer g.mu.Unlock()
	return strings.Join(g.warnings, "\n")
}

func newGate() *gate {
	GinkgoHelper()
	g := &gate{site: newSite()}
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: g.namespace}}
	Expect(admin.Patch(ctx, namespace, client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"labels":{"`+checkedLabel+`":"yes"}}}`)))).To(Succeed())
	cfg := rest.CopyConfig(environment.Config)
	cfg.WarningHandler = g
	var err error
	g.client, err = client.New(cfg, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	g.eventuallyAnswers()
	return g
}

func (g *gate) eventuallyAnswers() {
	GinkgoHelper()
	Eventually(func() error { return g.try(g.device("probe", withProperties(`{"a.b": 1}`))) }).Should(MatchError(ContainSubstring("a.b")), "the webhook answers")
}

// configure makes the configuration of config/webhook, for some namespaces, and led to this process instead of a Service.
func configure(port string) {
	GinkgoHelper()
	raw, err := os.ReadFile(filepath.Join("..", "config", "webhook", "manifests.yaml"))
	Expect(err).NotTo(HaveOccurred())
	is := &admissionv1.ValidatingWebhookConfiguration{}
	Expect(yaml.UnmarshalStrict(raw, is)).To(Succeed())
	Expect(is.Name).To(Equal(webhooks.Configuration))
	Expect(is.Webhooks).To(HaveLen(3))
	for i := range is.Webhooks {
		one := &is.Webhooks[i]
		Expect(one.FailurePolicy).To(HaveValue(Equal(admissionv1.Ignore)))
		Expect(one.TimeoutSeconds).To(HaveValue(BeEquivalentTo(3)))
		Expect(one.ClientConfig.Service.Name).To(Equal(webhooks.Service))
		url := fmt.Sprintf("https://localhost:%s%s", port, *one.ClientConfig.Service.Path)
		one.ClientConfig = admissionv1.WebhookClientConfig{URL: &url}
		one.NamespaceSelector = &metav1.LabelSelector{MatchLabels: map[string]string{checkedLabel: "yes"}}
	}
	Expect(client.IgnoreNotFound(admin.Delete(ctx, is.DeepCopy()))).To(Succeed())
	Expect(admin.Create(ctx, is)).To(Succeed())
	DeferCleanup(func() { Expect(client.IgnoreNotFound(admin.Delete(ctx, is))).To(Succeed()) })
}

// serve runs the webhook as the operator's ServiceAccount.
func serve() (stop func()) {
	GinkgoHelper()
	cancel, done := startServing()
	ended := make(chan error, 1)
	var stopping atomic.Bool
	go func() {
		defer GinkgoRecover()
		err := <-done
		ended <- err
		if !stopping.Load() {
			Fail(fmt.Sprintf("the webhook's manager ended by itself: %v", err))
		}
	}()
	stop = sync.OnceFunc(func() {
		stopping.Store(true)
		cancel()
		Eventually(ended, time.Minute).Should(Receive(BeNil()))
	})
	DeferCleanup(stop)
	return stop
}

// serveAnyhow is serve, however it ends, which is waited for at the end of the spec.
func serveAnyhow() (stop func()) {
	GinkgoHelper()
	cancel, done := startServing()
	DeferCleanup(func() {
		cancel()
		Eventually(done, 2*time.Minute).Should(Receive())
	})
	return cancel
}

func startServing() (context.CancelFunc, <-chan error) {
	GinkgoHelper()
	port, err := freePort()
	Expect(err).NotTo(HaveOccurred())
	configure(port)
	return serveWith(port, webhooks.Options{Namespace: operatorNamespace, Host: "localhost", CertDir: GinkgoT().TempDir(), Rotator: "cert-rotator-" + port})
}

func serveWith(port string, o webhooks.Options) (context.CancelFunc, <-chan error) {
	GinkgoHelper()
	number, err := strconv.Atoi(port)
	Expect(err).NotTo(HaveOccurred())
	cfg := rest.CopyConfig(environment.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: operatorUser, Groups: []string{"system:authenticated"}}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", WebhookServer: webhooks.NewServer(number, o.CertDir),
		Controller: config.Controller{SkipNameValidation: new(true)},
	})
	Expect(err).NotTo(HaveOccurred())
	lifetime, cancel := context.WithCancel(ctx)
	Expect(controllers.Index(lifetime, mgr.GetFieldIndexer())).To(Succeed())
	library := models.NewLibrary(controllers.Shelf{Reader: mgr.GetClient()}, models.NewRepositories(nil, nil))
	Expect(webhooks.Setup(mgr, library, o)).To(Succeed())
	done := make(chan error, 1)
	go func() {
		err := mgr.Start(lifetime)
		GinkgoWriter.Println("The webhook's manager ended:", err)
		done <- err
	}()
	return cancel, done
}

// giveCertificate puts a certificate into a folder, as a mounted Secret does, and returns it.
func giveCertificate(dir string) []byte {
	GinkgoHelper()
	chain, key, err := cert.GenerateSelfSignedCertKey("localhost", nil, nil)
	Expect(err).NotTo(HaveOccurred())
	Expect(os.WriteFile(filepath.Join(dir, corev1.TLSCertKey), chain, 0o600)).To(Succeed())
	Expect(os.WriteFile(filepath.Join(dir, corev1.TLSPrivateKeyKey), key, 0o600)).To(Succeed())
	pair, err := tls.X509KeyPair(chain, key)
	Expect(err).NotTo(HaveOccurred())
	return pair.Certificate[0]
}

// servedCertificate is the one that a server shows.
func servedCertificate(address string) ([]byte, error) {
	dialer := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it is looked at
	conn, err := dialer.DialContext(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	defer func() { _ = conn.Close() }()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0].Raw, nil
}

// try is kubectl apply --dry-run=server of something new.
func (g *gate) try(o client.Object) error {
	return g.client.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
}

var _ = Describe("The webhook", Ordered, Serial, func() {
	var stopServing func()
	BeforeAll(func() { stopServing = serve() })

	target := func(value string) func(*v1alpha1.PnPDevice) {
		return func(d *v1alpha1.PnPDevice) {
			d.Spec.ModelID = simulator.Thermostat
			withProperties(`{"targetTemperature":` + value + `}`)(d)
		}
	}

	It("refuses what could never work, says what is wrong, and lets everything else through", func() {
		g := newGate()
		By("checking models")
		Expect(g.try(g.sampleModel("thermostat", inDTDL(`"double"`, `"dubble"`)))).To(MatchError(SatisfyAll(ContainSubstring("spec.dtdl/contents/0/schema"), ContainSubstring("dubble"))))
		Expect(g.try(g.sampleModel("thermostat", func(m *v1alpha1.DeviceModel) { m.Spec.DTDL = nil }))).To(MatchError(ContainSubstring("exactly one of spec.dtdl and spec.repository")))
		Expect(g.client.Create(ctx, g.sampleModel("temperaturecontroller"))).To(Succeed())
		Expect(g.warned()).To(ContainSubstring("dtmi:com:example:Thermostat;1"))
		Expect(g.client.Create(ctx, g.sampleModel("thermostat"))).To(Succeed())
		By("checking devices")
		Eventually(func() error { return g.try(g.device("d", target(`"hot"`))) }).Should(MatchError(SatisfyAll(
			ContainSubstring(`spec.properties.targetTemperature is "hot"`), ContainSubstring("double"), ContainSubstring(`DeviceModel "thermostat"`))))
		Expect(g.try(g.device("d", target("21.5")))).To(Succeed())
		Expect(g.try(g.device("d", withProperties(`{"whatever": 1}`)))).To(Succeed(), "without a model nothing is checked")
		Expect(g.client.Create(ctx, g.device("d", target("21.5")))).To(Succeed())
		By("checking commands")
		explode := commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Component, c.Command = "", "explode" })
		Eventually(func() error { return g.try(g.command("c", explode)) }).Should(MatchError(SatisfyAll(ContainSubstring(`"explode"`), ContainSubstring("getMaxMinReport"))))
		Expect(g.try(g.command("c", commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.Component = "" })))).To(Succeed())
		Expect(g.try(g.command("c", explode, commandSpec(func(c *v1alpha1.DeviceCommandSpec) { c.DeviceRef.Name = "later" })))).To(Succeed())
		By("showing kubectl what it needs to know")
		out, err := kubectl("apiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: k, namespace: "+g.namespace+"}\nspec:\n  hubRef: {name: hub}\n  modelID: dtmi:com:example:Thermostat;1\n  properties: {targetTemperature: hot}\n",
			"apply", "--server-side", "--dry-run=server", "-f", "-")
		Expect(err).To(HaveOccurred())
		Expect(out).To(And(ContainSubstring(`denied the request: spec.properties.targetTemperature is "hot"`), ContainSubstring("if the same commit changes it, have it applied first")))
	})

	It("lets what was valid once be labelled, finalized and deleted, and be mended", func() {
		g := newGate()
		Expect(g.client.Create(ctx, g.device("d", target(`"hot"`)))).To(Succeed())
		Expect(g.client.Create(ctx, g.sampleModel("thermostat"))).To(Succeed())
		Eventually(func() error { return g.try(g.device("e", target(`"hot"`))) }).ShouldNot(Succeed())
		change := func(edit func(*v1alpha1.PnPDevice)) error {
			var err error
			Eventually(func(gm Gomega) {
				d := g.get("d")
				edit(d)
				err = g.client.Update(ctx, d)
				gm.Expect(client.IgnoreNotFound(err)).To(Or(Succeed(), MatchError(ContainSubstring("denied the request"))), "no conflict")
			}).Should(Succeed())
			return err
		}
		Expect(change(annotate("note", "x"))).To(Succeed())
		Expect(change(func(d *v1alpha1.PnPDevice) { d.Finalizers = append(d.Finalizers, "example.com/keep") })).To(Succeed())
		Expect(change(target(`"hotter"`))).To(MatchError(ContainSubstring(`"hotter"`)))
		Expect(g.client.Delete(ctx, g.get("d"))).To(Succeed())
		Expect(change(func(d *v1alpha1.PnPDevice) { d.Finalizers = nil })).To(Succeed())
	})

	It("only warns with validation Warn, in pieces that kubectl prints", func() {
		g := newGate()
		Expect(g.client.Create(ctx, g.sampleModel("thermostat", warning))).To(Succeed())
		Eventually(func() string {
			Expect(g.try(g.device("d", target(`"`+strings.Repeat("x", 1000)+`"`)))).To(Succeed())
			return g.warned()
		}).Should(ContainSubstring("spec.properties.targetTemperature"))
		for line := range strings.SplitSeq(g.warned(), "\n") {
			Expect(len([]rune(line))).To(BeNumerically("<=", 256))
		}
	})

	It("has a new certificate when its Secret is deleted", func() {
		g := newGate()
		bundle := func() string {
			is := &admissionv1.ValidatingWebhookConfiguration{}
			Expect(admin.Get(ctx, client.ObjectKey{Name: webhooks.Configuration}, is)).To(Succeed())
			return string(is.Webhooks[0].ClientConfig.CABundle)
		}
		before := bundle()
		Expect(before).To(ContainSubstring("BEGIN CERTIFICATE"))
		Expect(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: webhooks.CertificateSecret}})).To(Succeed())
		Eventually(bundle).Should(SatisfyAll(ContainSubstring("BEGIN CERTIFICATE"), Not(Equal(before))))
		g.eventuallyAnswers()
	})

	It("serves with a certificate that it is given, and makes none", func() {
		dir := GinkgoT().TempDir()
		given := giveCertificate(dir)
		port, err := freePort()
		Expect(err).NotTo(HaveOccurred())
		cancel, done := serveWith(port, webhooks.Options{Namespace: "of-nobody", CertDir: dir, Given: true})
		Eventually(func() ([]byte, error) { return servedCertificate("localhost:" + port) }).Should(Equal(given))
		cancel()
		Eventually(done, time.Minute).Should(Receive(BeNil()))
	})

	It("that is down keeps nobody from applying, and the reconciler finds what is wrong", func() {
		g := newGate()
		Expect(g.client.Create(ctx, g.sampleModel("thermostat"))).To(Succeed())
		Eventually(func() error { return g.try(g.device("d", target(`"hot"`))) }).ShouldNot(Succeed())
		stopServing()
		g.virtual("d", simulator.Thermostat, simulator.Acknowledge())
		Expect(g.client.Create(ctx, g.device("d", target(`"hot"`)))).To(Succeed())
		g.eventually("d", beStalled(v1alpha1.ReasonModelViolation))
	})
})
