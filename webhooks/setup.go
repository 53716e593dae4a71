// Package webhooks refuses objects at admission that could never work: a wrong value fails in the pull request, by kubectl apply --dry-run=server. It is a
// courtesy. The reconcilers check the same again, so that nothing depends on a webhook that was down.
package webhooks

import (
	"context"
	"fmt"
	"time"

	"github.com/open-policy-agent/cert-controller/pkg/rotator"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/models"
)

// retryEvery is the pause between tries to make the certificate's Secret: without it nothing is checked at admission, and all else works.
const retryEvery = 10 * time.Second

// Names of what is in config/webhook.
const (
	// Configuration is the ValidatingWebhookConfiguration that the CA certificate is put into.
	Configuration = "pnp-operator"
	// CertificateSecret is in the operator's namespace; all replicas serve with what it holds.
	CertificateSecret = "pnp-operator-webhook-cert" //nolint:gosec // a name
	// Service leads the API server to the replicas.
	Service = "pnp-operator-webhook"
)

// Rotating a Secret needs to read and write it, and the CA certificate goes into the configuration. Lists cannot be narrowed by name.
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,verbs=get;list;watch
// +kubebuilder:rbac:groups=admissionregistration.k8s.io,resources=validatingwebhookconfigurations,resourceNames=pnp-operator,verbs=update
// +kubebuilder:rbac:groups="",namespace=pnp-system,resources=secrets,verbs=create;get;list;watch
// +kubebuilder:rbac:groups="",namespace=pnp-system,resources=secrets,resourceNames=pnp-operator-webhook-cert,verbs=update

// Options of the webhooks.
type Options struct {
	// Namespace of the operator, where the certificate's Secret is.
	Namespace string
	// Host that the API server calls, which the certificate is for. Empty: the Service.
	Host string
	// CertDir is where this process keeps the certificate that it serves with.
	CertDir string
	// Given is true if someone else puts the certificate into CertDir and its authority into the configuration, as cert-manager does.
	Given bool
	// Rotator names the controller that renews the certificate, which has to be unique in a process. Empty: cert-rotator.
	Rotator string
}

// NewServer returns the server for a manager's options.
func NewServer(port int, certDir string) webhook.Server {
	return webhook.NewServer(webhook.Options{Port: port, CertDir: certDir})
}

// Setup has certificates made and rotated, unless they are given, and serves once there is one. The operator works meanwhile.
func Setup(mgr manager.Manager, library *models.Library, o Options) error {
	if o.Given {
		return register(mgr, library)
	}
	if o.Host == "" {
		o.Host = fmt.Sprintf("%s.%s.svc", Service, o.Namespace)
	}
	key := types.NamespacedName{Namespace: o.Namespace, Name: CertificateSecret}
	files, err := newCertFiles(mgr, key, o.CertDir)
	if err != nil {
		return err
	}
	rotate := func() error {
		return rotator.AddRotator(mgr, &rotator.CertRotator{
			SecretKey: key, CertDir: o.CertDir, CAName: "pnp-operator-ca", CAOrganization: "pnp-operator", DNSName: o.Host, ControllerName: o.Rotator,
			IsReady:  make(chan struct{}), // not waited for: it is found out by two loops whose pauses double, and comes up to half a minute late
			Webhooks: []rotator.WebhookInfo{{Name: Configuration, Type: rotator.Validating}},
		})
	}
	serve := func() error { return register(mgr, library) }
	return mgr.Add(&sequence{files: files, rotate: rotate, serve: serve})
}

// sequence starts the parts one after the other, in every replica.
type sequence struct {
	files  *certFiles
	rotate func() error
	serve  func() error
}

// NeedLeaderElection is false: every replica serves.
func (*sequence) NeedLeaderElection() bool { return false }

// Start makes the Secret, since the rotator does not, and ends with the manager.
func (s *sequence) Start(ctx context.Context) error {
	_ = wait.PollUntilContextCancel( // it fails if the operator stops
		ctx, retryEvery, true, func(ctx context.Context) (bool, error) {
			err := s.files.make(ctx)
			if err != nil {
				logOf(ctx).Error(err, "Could not make the Secret of the webhook's certificate, trying again")
			}
			return err == nil, nil
		})
	select {
	case <-ctx.Done():
		return nil
	default:
	}
	if err := s.rotate(); err != nil {
		return fmt.Errorf("rotating the webhook's certificate: %w", err)
	}
	select {
	case <-s.files.written:
	case <-ctx.Done():
		return nil
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
