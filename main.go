// Command manager runs pnp-operator: it converges the digital twins of Azure IoT Hub devices with what Kubernetes objects declare.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/command"
	"github.com/pnp-operator/pnp-operator/controllers/hub"
	"github.com/pnp-operator/pnp-operator/internal/cli"
	"github.com/pnp-operator/pnp-operator/internal/diagnostics"
	"github.com/pnp-operator/pnp-operator/internal/leadership"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/process"
	"github.com/pnp-operator/pnp-operator/internal/restored"
	"github.com/pnp-operator/pnp-operator/internal/webhooks"
)

// version is stamped by the build.
var version = "dev"

// options are the flags.
type options struct {
	metricsAddress, probeAddress string
	metricsSecure                bool
	metricsCertDir               string
	leaderElect                  bool
	leaderElectionNamespace      string
	allowedHubSuffixes           string
	allowedEventHubSuffixes      string
	allowedModelRepositories     string
	entraAuthority, entraCAFile  string
	watchNamespaces              string
	namespace                    string
	concurrency                  int
	qps                          float64
	webhookPort                  int
	webhookCertDir               string
	webhookClientCA              string
	showVersion                  bool
	zap                          zap.Options
}

func parseFlags() options {
	var o options
	flag.StringVar(&o.metricsAddress, "metrics-bind-address", "0", "The address of the metrics endpoint, such as :8443; 0 turns it off.")
	flag.BoolVar(&o.metricsSecure, "metrics-secure", true, "Serve metrics, and profiles beside them, by HTTPS to those whose token may get the path; without it metrics are for everyone.")
	flag.StringVar(&o.metricsCertDir, "metrics-cert-dir", "", "The folder of tls.crt and tls.key for metrics; the operator signs its own certificate if empty.")
	flag.StringVar(&o.probeAddress, "health-probe-bind-address", ":8081", "The address of the /healthz and /readyz probes.")
	flag.BoolVar(&o.leaderElect, "leader-elect", false, "Let one of several replicas act.")
	flag.StringVar(&o.leaderElectionNamespace, "leader-election-namespace", "", "The namespace of the lease, that of the pod if empty.")
	flag.StringVar(&o.allowedHubSuffixes, "allowed-hub-suffixes", ".azure-devices.net,.azure-devices.us,.azure-devices.cn",
		"Hosts that may be sent a token, separated by commas: by suffix with a leading dot, exactly without one; at port 443 unless it is named, as in host:8443 or host:*.")
	flag.StringVar(&o.allowedEventHubSuffixes, "allowed-event-hub-suffixes", ".servicebus.windows.net,.servicebus.usgovcloudapi.net,.servicebus.chinacloudapi.cn",
		"Event hubs that may be sent a token, in the same form; at port 5671, too.")
	flag.StringVar(&o.allowedModelRepositories, "allowed-model-repositories", cli.DefaultModelRepositories, "Hosts that models may be fetched from, in the same form.")
	flag.StringVar(&o.entraAuthority, "entra-authority", "", "The https://host of Microsoft Entra ID that workload identities get tokens from, whatever the hub; that of the hub's cloud if empty.")
	flag.StringVar(&o.entraCAFile, "entra-ca-file", "", "A file of PEM certificates that the authority's is checked against instead of the system's.")
	flag.StringVar(&o.watchNamespaces, "watch-namespaces", "", "Namespaces to watch, separated by commas; all if empty.")
	flag.StringVar(&o.namespace, "namespace", process.OwnNamespace(), "The operator's own namespace, where it keeps checkpoints of event streams.")
	flag.IntVar(&o.webhookPort, "webhook-port", 0, "The port of the validating webhook; 0 turns it off.")
	flag.StringVar(&o.webhookCertDir, "webhook-cert-dir", "/certificates/webhook", "The folder of tls.crt and tls.key for the webhook, which serves once they are there.")
	flag.StringVar(&o.webhookClientCA, "webhook-client-ca-file", "",
		"A file of PEM certificates: the webhook talks only to clients with a certificate of one of them, which the API server has to be given; to everybody if empty.")
	flag.IntVar(&o.concurrency, "max-concurrent-reconciles", 16, "How many PnPDevices of one hub, and how many DeviceCommands, are worked on at a time.")
	flag.Float64Var(&o.qps, "kube-api-qps", 200, "Requests per second to the API server.")
	flag.BoolVar(&o.showVersion, "version", false, "Print the version and exit.")
	o.zap.BindFlags(flag.CommandLine)
	flag.Parse()
	return o
}

func main() {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case "validate":
			os.Exit(cli.Validate(os.Args[2:], os.Stdout, os.Stderr))
		case "certificate":
			os.Exit(cli.Certificate(os.Args[2:], os.Stderr))
		case "end-trial":
			os.Exit(cli.EndTrial(os.Args[2:], os.Stderr))
		}
	}
	o := parseFlags()
	if o.showVersion {
		fmt.Println(version)
		return
	}
	ctrl.SetLogger(zap.New(zap.UseFlagOptions(&o.zap), process.CleanLines(os.Stderr)))
	process.LimitMemory(os.Getenv, debug.SetMemoryLimit)
	if err := run(o); err != nil {
		ctrl.Log.Error(err, "Stopped")
		os.Exit(1)
	}
}

func run(o options) error {
	leading := &leadership.Watch{IsExempt: command.IsOutcome}
	serving, err := webhooks.NewServer(o.webhookPort, o.webhookCertDir, o.webhookClientCA)
	if err != nil {
		return fmt.Errorf("--webhook-client-ca-file: %w", err)
	}
	mgr, err := newManager(o, serving, leading)
	if err != nil {
		return fmt.Errorf("setting up the manager: %w", err)
	}
	authority, err := o.authority()
	if err != nil {
		return err
	}
	ctx, end := context.WithCancelCause(ctrl.SetupSignalHandler())
	defer end(nil)
	context.AfterFunc(ctx, leading.Stop)
	library := models.NewLibrary(cached.Models{Reader: mgr.GetClient(), API: mgr.GetAPIReader()}, models.NewRepositories(cli.SplitList(o.allowedModelRepositories), nil))
	library.Guarded = true
	setup := controllers.Options{
		AllowedHubSuffixes:      cli.SplitList(o.allowedHubSuffixes),
		AllowedEventHubSuffixes: cli.SplitList(o.allowedEventHubSuffixes),
		Authority:               authority,
		Models:                  library,
		Namespace:               o.namespace,
		Concurrency:             o.concurrency,
	}
	if o.leaderElect {
		setup.Fence = leading.Err
	}
	if err := controllers.Setup(ctx, mgr, setup); err != nil {
		return fmt.Errorf("setting up the controllers: %w", err)
	}
	probes := diagnostics.Probes{
		Healthz: map[string]healthz.Checker{"ping": healthz.Ping}, Readyz: map[string]healthz.Checker{"caches": cachesFilled(mgr.GetCache())},
	}
	if o.webhookPort != 0 {
		of := webhooks.Options{CertDir: o.webhookCertDir}
		if err := webhooks.Setup(mgr, library, of); err != nil {
			return fmt.Errorf("setting up the webhook: %w", err)
		}
		probes.Readyz["webhook"] = webhooks.Ready(serving, of)
	}
	if err := o.addPorts(ctx, mgr, probes); err != nil {
		return err
	}
	if o.leaderElect {
		if err := mgr.Add(leadership.EndAfterPause(end)); err != nil {
			return fmt.Errorf("setting up leader election: %w", err)
		}
	}
	ctrl.Log.Info("Starting pnp-operator", "version", version)
	err = mgr.Start(ctx)
	if paused, ok := errors.AsType[*leadership.PausedError](context.Cause(ctx)); ok {
		return errors.Join(paused, err)
	}
	if err == nil && o.webhookPort != 0 {
		serving.Farewell()
	}
	return err
}

// addPorts has the manager serve metrics and probes, before its caches are filled.
func (o options) addPorts(ctx context.Context, mgr manager.Manager, probes diagnostics.Probes) error {
	metrics, err := diagnostics.Server(ctx, diagnostics.Options{Address: o.metricsAddress, Secure: o.metricsSecure, CertDir: o.metricsCertDir}, mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return fmt.Errorf("setting up the metrics: %w", err)
	}
	asked, err := probes.Server(ctx, o.probeAddress)
	if err != nil {
		return fmt.Errorf("setting up the probes: %w", err)
	}
	for _, server := range []*manager.Server{metrics, asked} {
		if server == nil {
			continue
		}
		if err := mgr.Add(server); err != nil {
			return fmt.Errorf("setting up the ports: %w", err)
		}
	}
	return nil
}

// authority reads where tokens of Microsoft Entra ID come from.
func (o options) authority() (hub.Authority, error) {
	a := hub.Authority{URL: o.entraAuthority}
	if o.entraCAFile != "" {
		pem, err := os.ReadFile(o.entraCAFile)
		if err != nil {
			return a, fmt.Errorf("--entra-ca-file: %w", err)
		}
		a.CABundle = pem
	}
	if err := a.Check(); err != nil {
		return a, fmt.Errorf("--entra-authority, --entra-ca-file: %w", err)
	}
	return a, nil
}

// cachesFilled is ready once the operator knows the objects of the cluster: a rollout that goes on before that has nobody who could take over.
func cachesFilled(objects cache.Cache) healthz.Checker {
	return func(r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), 100*time.Millisecond)
		defer cancel()
		if !objects.WaitForCacheSync(ctx) {
			return errors.New("the caches are not filled yet")
		}
		return nil
	}
}

func newManager(o options, serving webhook.Server, leading *leadership.Watch) (manager.Manager, error) {
	scheme := runtime.NewScheme()
	utilruntime.Must(clientgoscheme.AddToScheme(scheme))
	utilruntime.Must(v1alpha1.AddToScheme(scheme))
	config, err := ctrl.GetConfig()
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = float32(o.qps), int(2*o.qps)
	config.Wrap(restored.Transport(ctrl.Log.WithName("restored")))
	config.Wrap(leading.Guard)
	election := rest.CopyConfig(config)
	election.Wrap(leading.Observe)
	return ctrl.NewManager(config, ctrl.Options{
		Scheme:                        scheme,
		Metrics:                       metricsserver.Options{BindAddress: "0"}, // addPorts serves both, with bounds
		HealthProbeBindAddress:        "0",
		WebhookServer:                 serving,
		LeaderElection:                o.leaderElect,
		LeaderElectionID:              leadership.LeaseName,
		LeaderElectionNamespace:       o.leaderElectionNamespace,
		LeaderElectionConfig:          election,
		LeaderElectionReleaseOnCancel: true,
		LeaseDuration:                 new(leadership.LeaseDuration),
		Cache:                         cache.Options{DefaultTransform: cached.Slim, DefaultNamespaces: watched(o)},
	})
}

// watched are the namespaces whose objects the caches hold; nil: all.
func watched(o options) map[string]cache.Config {
	namespaces := map[string]cache.Config{}
	for _, name := range cli.SplitList(o.watchNamespaces) {
		namespaces[name] = cache.Config{}
	}
	if len(namespaces) == 0 {
		return nil
	}
	return namespaces
}
