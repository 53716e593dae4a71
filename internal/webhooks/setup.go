// Package webhooks refuses objects at admission that could never work: a wrong value fails in the pull request, by kubectl apply --dry-run=server. It is a
// courtesy. The reconcilers check the same again, so that nothing depends on a webhook that was down.
package webhooks

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/ports"
)

// lookEvery is the pause between two looks for the certificate.
const lookEvery = time.Second

// Names of what is in config/webhook.
const (
	// Configuration is the ValidatingWebhookConfiguration that the authority's certificate is put into.
	Configuration = "pnp-operator"
	// CertificateSecret is in the operator's namespace; all replicas serve with what it holds.
	CertificateSecret = "pnp-operator-webhook-cert" //nolint:gosec // a name
	// Service leads the API server to the replicas.
	Service = "pnp-operator-webhook"
)

// Options of the webhooks.
type Options struct {
	// CertDir is where tls.crt and tls.key are, or will be: the operator serves with what others put there, and has no right to make it itself.
	CertDir string
}

// NewServer returns the server for a manager's options. With clientCA, a file of PEM certificates, it talks only to those who have a certificate of one of
// them; otherwise to everybody who reaches the port.
func NewServer(port int, certDir, clientCA string) (*Server, error) {
	o := webhook.Options{Port: port, CertDir: certDir}
	if clientCA != "" {
		only, err := onlyClientsOf(clientCA)
		if err != nil {
			return nil, err
		}
		o.TLSOpts = append(o.TLSOpts, only)
	}
	parting := newPartingServer(newPortServer(o))
	return &Server{limited(parting), parting}, nil
}

// onlyClientsOf has a server talk only to those with a certificate of the authorities in a file.
func onlyClientsOf(file string) (func(*tls.Config), error) {
	pem, err := os.ReadFile(file) //nolint:gosec // a flag names it
	if err != nil {
		return nil, err
	}
	authorities := x509.NewCertPool()
	if !authorities.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%q has no PEM certificate", file)
	}
	return func(c *tls.Config) { c.ClientAuth, c.ClientCAs = tls.RequireAndVerifyClientCert, authorities }, nil
}

// Setup serves once there is a certificate. The operator works meanwhile.
func Setup(mgr manager.Manager, library *models.Library, o Options) error {
	return mgr.Add(&server{dir: o.CertDir, serve: func() error { return register(mgr, library) }})
}

// Ready is a check that fails until the server answers, and says so if it waits for a certificate.
func Ready(serving webhook.Server, o Options) healthz.Checker {
	started := serving.StartedChecker()
	return func(r *http.Request) error {
		err := started(r)
		if err == nil {
			return nil
		}
		if missing := pairIn(o.CertDir); missing != nil {
			return fmt.Errorf("waiting for the webhook's certificate in %q: %w", o.CertDir, missing)
		}
		return err
	}
}

// pairIn reports whether a folder has a certificate and its key.
func pairIn(dir string) error {
	_, err := tls.LoadX509KeyPair(ports.CertificatePaths(dir))
	return err
}

// server begins to serve once its folder has a certificate.
type server struct {
	dir   string
	serve func() error
}

// NeedLeaderElection is false: every replica serves.
func (*server) NeedLeaderElection() bool { return false }

// Start ends with the manager.
func (s *server) Start(ctx context.Context) error {
	if err := pairIn(s.dir); err != nil {
		logOf(ctx).Info("Waiting for the webhook's certificate", "folder", s.dir, "reason", err.Error())
	}
	if err := wait.PollUntilContextCancel(ctx, lookEvery, true, func(context.Context) (bool, error) { return pairIn(s.dir) == nil, nil }); err != nil {
		return nil //nolint:nilerr // the operator stops
	}
	if err := s.serve(); err != nil {
		return fmt.Errorf("serving the webhook: %w", err)
	}
	<-ctx.Done()
	return nil
}

func register(mgr manager.Manager, library *models.Library) error {
	objects := mgr.GetClient()
	for _, complete := range []func() error{
		ctrl.NewWebhookManagedBy(mgr, &v1alpha1.PnPDevice{}).WithValidator(deviceValidator{library, objects}).Complete,
		ctrl.NewWebhookManagedBy(mgr, &v1alpha1.DeviceCommand{}).WithValidator(commandValidator{library, objects}).Complete,
		ctrl.NewWebhookManagedBy(mgr, &v1alpha1.DeviceModel{}).WithValidator(modelValidator{library}).Complete,
	} {
		if err := complete(); err != nil {
			return err
		}
	}
	return nil
}
