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
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/certificate"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/webhooks"
	"github.com/pnp-operator/pnp-operator/simulator"
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

// keeperUser is whom the certificate is made by: the ServiceAccount of config/webhook.
const keeperUser = "system:serviceaccount:pnp-system:pnp-operator-certificate"

// keep makes and renews the webhook's certificate with the rights of that ServiceAccount, once they are given.
func keep() {
	GinkgoHelper()
	cfg := rest.CopyConfig(environment.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: keeperUser, Groups: []string{"system:authenticated"}}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	keeper := &certificate.Keeper{
		Client: c, Secret: certificateKey, Configuration: webhooks.Configuration, Host: "localhost", Pause: 200 * time.Millisecond, Log: ctrl.Log,
	}
	untilCleanup(keeper.Run)
}

var certificateKey = client.ObjectKey{Namespace: operatorNamespace, Name: webhooks.CertificateSecret}

// mount has a folder hold what the certificate's Secret holds, as a kubelet does.
func mount() (dir string) {
	GinkgoHelper()
	dir = GinkgoT().TempDir()
	untilCleanup(func(ctx context.Context) {
		wait.UntilWithContext(ctx, func(ctx context.Context) {
			secret := &corev1.Secret{}
			if err := admin.Get(ctx, certificateKey, secret); err == nil {
				write(dir, secret.Data)
			}
		}, 100*time.Millisecond)
	})
	return dir
}

// write writes certificate and key in one step each.
func write(dir string, data map[string][]byte) {
	for _, name := range []string{corev1.TLSPrivateKeyKey, corev1.TLSCertKey} {
		if err := os.WriteFile(filepath.Join(dir, "."+name), data[name], 0o600); err == nil {
			_ = os.Rename(filepath.Join(dir, "."+name), filepath.Join(dir, name)) // the next time
		}
	}
}

// untilCleanup runs something until the spec, or the container of BeforeAll, ends.
func untilCleanup(run func(context.Context)) {
	lifetime, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); run(lifetime) }()
	DeferCleanup(func() { cancel(); <-done })
}

// giveKeeper gives the rights of config/webhook to whoever makes the certificate.
func giveKeeper() []rule {
	GinkgoHelper()
	raw, err := os.ReadFile(filepath.Join("..", "config", "webhook", "certificate_role.yaml"))
	Expect(err).NotTo(HaveOccurred())
	return give(string(raw), operatorNamespace)
}

// serve runs the webhook as the operator's ServiceAccount.
func serve() (stop func()) {
	GinkgoHelper()
	port, err := freePort()
	Expect(err).NotTo(HaveOccurred())
	configure(port)
	giveKeeper()
	keep()
	cancel, done, _ := serveWith(port, mount())
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

// serveWith runs the webhook with the certificate that is, or will be, in a folder.
func serveWith(port, dir string) (context.CancelFunc, <-chan error, healthz.Checker) {
	GinkgoHelper()
	number, err := strconv.Atoi(port)
	Expect(err).NotTo(HaveOccurred())
	cfg := rest.CopyConfig(environment.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: operatorUser, Groups: []string{"system:authenticated"}}
	serving, err := webhooks.NewServer(number, dir, "")
	Expect(err).NotTo(HaveOccurred())
	options := webhooks.Options{CertDir: dir}
	mgr, err := ctrl.NewManager(cfg, ctrl.Options{
		Scheme: scheme, Metrics: metricsserver.Options{BindAddress: "0"}, HealthProbeBindAddress: "0", WebhookServer: serving,
		Controller: config.Controller{SkipNameValidation: new(true)}, Cache: cache.Options{DefaultTransform: cached.Slim},
	})
	Expect(err).NotTo(HaveOccurred())
	lifetime, cancel := context.WithCancel(ctx)
	Expect(cached.Index(lifetime, mgr.GetFieldIndexer())).To(Succeed())
	library := models.NewLibrary(cached.Models{Reader: mgr.GetClient(), API: mgr.GetAPIReader()}, models.NewRepositories(nil, nil))
	Expect(webhooks.Setup(mgr, library, options)).To(Succeed())
	done := make(chan error, 1)
	go func() {
		err := mgr.Start(lifetime)
		serving.Farewell()
		GinkgoWriter.Println("The webhook's manager ended:", err)
		done <- err
	}()
	return cancel, done, webhooks.Ready(serving, options)
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

// asOperator is a client with the operator's own token.
func asOperator() client.Client {
	GinkgoHelper()
	cfg := rest.CopyConfig(environment.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: operatorUser, Groups: []string{"system:authenticated"}}
	c, err := client.New(cfg, client.Options{Scheme: scheme})
	Expect(err).NotTo(HaveOccurred())
	return c
}

// try is kubectl apply --dry-run=server of something new.
func (g *gate) try(o client.Object) error {
	return g.client.Create(ctx, o.DeepCopyObject().(client.Object), client.DryRunAll)
}

var _ = Describe("The webhook", Ordered, func() {
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
		served := func() []byte {
			secret := &corev1.Secret{}
			Expect(client.IgnoreNotFound(admin.Get(ctx, certificateKey, secret))).To(Succeed())
			return secret.Data[corev1.TLSCertKey]
		}
		before := served()
		Expect(before).NotTo(BeEmpty())
		Expect(admin.Delete(ctx, &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: operatorNamespace, Name: webhooks.CertificateSecret}})).To(Succeed())
		Eventually(served).ShouldNot(Or(BeEmpty(), Equal(before)))
		g.eventuallyAnswers()
	})

	It("has a certificate whose key nobody but the pods can read, and an authority whose key nobody has", func() {
		secret := &corev1.Secret{}
		Expect(admin.Get(ctx, certificateKey, secret)).To(Succeed())
		Expect(secret.Data).To(SatisfyAll(HaveLen(3), HaveKey(corev1.TLSCertKey), HaveKey(corev1.TLSPrivateKeyKey), HaveKey("ca.crt")))
		Expect(string(secret.Data["ca.crt"])).NotTo(ContainSubstring("PRIVATE KEY"))
		as := asOperator()
		Expect(as.Get(ctx, certificateKey, &corev1.Secret{})).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
		Expect(as.List(ctx, &corev1.SecretList{}, client.InNamespace(operatorNamespace))).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
		is := &admissionv1.ValidatingWebhookConfiguration{}
		Expect(admin.Get(ctx, client.ObjectKey{Name: webhooks.Configuration}, is)).To(Succeed())
		url := "https://localhost:1/"
		is.Webhooks = append(is.Webhooks, admissionv1.ValidatingWebhook{
			Name: "spy.example.com", ClientConfig: admissionv1.WebhookClientConfig{URL: &url}, AdmissionReviewVersions: []string{"v1"},
			SideEffects: new(admissionv1.SideEffectClassNone),
			Rules: []admissionv1.RuleWithOperations{{
				Operations: []admissionv1.OperationType{"*"}, Rule: admissionv1.Rule{APIGroups: []string{""}, APIVersions: []string{"v1"}, Resources: []string{"secrets"}},
			}},
		})
		Expect(as.Update(ctx, is)).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
		Expect(as.Patch(ctx, is, client.RawPatch(types.JSONPatchType, []byte(`[{"op":"remove","path":"/webhooks"}]`)))).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
		is.ResourceVersion, is.UID, is.Name = "", "", "another"
		Expect(as.Create(ctx, is)).To(MatchError(apierrors.IsForbidden, "IsForbidden"))
	})

	It("is ready once its certificate is there, and says what it waits for", func() {
		dir := GinkgoT().TempDir()
		port, err := freePort()
		Expect(err).NotTo(HaveOccurred())
		cancel, done, ready := serveWith(port, dir)
		Consistently(func() error { return ready(nil) }, time.Second).Should(MatchError(And(ContainSubstring(dir), ContainSubstring("tls.crt"))))
		given := giveCertificate(dir)
		Eventually(func() error { return ready(nil) }).Should(Succeed())
		served := func() ([]byte, error) { return servedCertificate("localhost:" + port) }
		Expect(served()).To(Equal(given))
		By("serving with the next one, and going on when it is taken away")
		given = giveCertificate(dir)
		Eventually(served).Should(Equal(given))
		Expect(os.Remove(filepath.Join(dir, corev1.TLSCertKey))).To(Succeed())
		Consistently(func() error { return ready(nil) }, time.Second).Should(Succeed())
		Expect(served()).To(Equal(given))
		cancel()
		Eventually(done, time.Minute).Should(Receive(BeNil()))
	})

	It("that waits for its certificate can be stopped", func() {
		port, err := freePort()
		Expect(err).NotTo(HaveOccurred())
		cancel, done, _ := serveWith(port, GinkgoT().TempDir())
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
