package hub

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/entra"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

const (
	// assertionSeconds is the shortest life that the API server gives a token. It is used once, at once.
	assertionSeconds = 600
)

// Authority says where tokens of Microsoft Entra ID come from.
type Authority struct {
	// URL of the authority for all hubs, https://host[:port]. Empty: that of the hub's cloud.
	URL string
	// CABundle in PEM that its certificate is checked against instead of the system's.
	CABundle []byte
}

// Check refuses what no token can come from.
func (a Authority) Check() error {
	return entra.Check(a.of(""), a.CABundle)
}

func (a Authority) of(hubHost string) string {
	if a.URL != "" {
		return a.URL
	}
	return entra.AuthorityOf(hubHost)
}

// workloadIdentities holds the credentials of IoTHubs. No two share one.
type workloadIdentities struct {
	client    client.Client
	authority Authority
	timeout   time.Duration // of an exchange, 0 means the default: less than a call to the hub may take

	mu   sync.Mutex
	held map[types.NamespacedName]*workloadIdentity
	// lacking is since when an IoTHub has no right to a token, or no ServiceAccount.
	lacking map[types.NamespacedName]time.Time
}

// workloadIdentity is the credential of one IoTHub.
type workloadIdentity struct {
	*entra.Credential

	of    v1alpha1.WorkloadIdentity
	scope string // of tokens for the hub
}

// credential returns that of an IoTHub, a new one if its spec changed.
func (w *workloadIdentities) credential(hub *v1alpha1.IoTHub) (*workloadIdentity, error) {
	spec, key := *hub.Spec.Authentication.WorkloadIdentity, client.ObjectKeyFromObject(hub)
	w.mu.Lock()
	defer w.mu.Unlock()
	if has := w.held[key]; has != nil && has.of == spec {
		return has, nil
	}
	c, err := entra.New(entra.Options{
		ClientID: spec.ClientID, TenantID: spec.TenantID, Authority: w.authority.of(hub.Spec.HostName), CABundle: w.authority.CABundle,
		Assertion: w.assertion(types.NamespacedName{Namespace: hub.Namespace, Name: spec.ServiceAccountName}), Timeout: w.timeout,
	})
	if err != nil {
		return nil, fmt.Errorf("making a credential of Microsoft Entra ID: %w", err)
	}
	made := &workloadIdentity{Credential: c, of: spec, scope: entra.HubScope(hub.Spec.HostName)}
	lazymap.Put(&w.held, key, made)
	return made, nil
}

// assertion makes tokens of a ServiceAccount, which is always one of the IoTHub's own namespace.
func (w *workloadIdentities) assertion(account types.NamespacedName) func(context.Context) (string, error) {
	return func(ctx context.Context) (string, error) {
		seconds := int64(assertionSeconds)
		request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{entra.Audience}, ExpirationSeconds: &seconds}}
		err := w.client.SubResource("token").Create(ctx, &corev1.ServiceAccount{ObjectMeta: triggers.Named(account)}, request)
		return request.Status.Token, err
	}
}

// peek returns the credential of an IoTHub, nil if it has none.
func (w *workloadIdentities) peek(hub *v1alpha1.IoTHub) *workloadIdentity {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.held[client.ObjectKeyFromObject(hub)]
}

// forget drops what is known of an IoTHub.
func (w *workloadIdentities) forget(hub types.NamespacedName) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.held, hub)
	delete(w.lacking, hub)
}

// patience is how long to wait before something that is lacking is asked for again: as long as it has been lacking, within bounds.
func (w *workloadIdentities) patience(hub *v1alpha1.IoTHub, now time.Time) time.Duration {
	key := client.ObjectKeyFromObject(hub)
	w.mu.Lock()
	defer w.mu.Unlock()
	since, known := w.lacking[key]
	if !known {
		since = now
		lazymap.Put(&w.lacking, key, now)
	}
	return waits.Right.After(now.Sub(since))
}

// hasAll notes that an IoTHub lacks nothing any more.
func (w *workloadIdentities) hasAll(hub *v1alpha1.IoTHub) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.lacking, client.ObjectKeyFromObject(hub))
}

// standing looks at the identity of a session that nothing else speaks against. While its last token is good it goes on, and says what is wrong.
func (r *IoTHubReconciler) standing(ctx context.Context, hub *v1alpha1.IoTHub) error {
	has := r.identities.peek(hub)
	if has == nil {
		return nil
	}
	problem, usable := has.Problem(has.scope)
	h := r.identityProblem(ctx, hub, problem)
	switch {
	case h == nil:
		r.identities.hasAll(hub)
		return nil
	case usable:
		_, _ = has.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{has.scope}}) // tries again in the background
		return &halt.Error{After: h.After, Verdict: conditions.Verdict{Ready: true, Reason: h.Reason, Message: "Goes on with the token that it has, until that expires. " + h.Message}}
	}
	r.drop(ctx, hub)
	return h
}

// refused is the verdict on a session whose calls were refused in the middle of work: by Microsoft Entra ID, if that is known, or else by the hub.
func (r *IoTHubReconciler) refused(ctx context.Context, hub *v1alpha1.IoTHub, fingerprint string) error {
	if has := r.identities.peek(hub); has != nil {
		problem, _ := has.Problem(has.scope)
		if h := r.identityProblem(ctx, hub, problem); h != nil {
			return h
		}
	}
	after, _ := r.proofs.refused(client.ObjectKeyFromObject(hub), fingerprint, time.Now())
	return unauthorized(hub, after)
}

// identityProblem is what a user has to do about a token that could not be had; nil if it may pass by itself.
func (r *IoTHubReconciler) identityProblem(ctx context.Context, hub *v1alpha1.IoTHub, err error) *halt.Error {
	e, ok := errors.AsType[*entra.Error](err)
	if !ok {
		return nil
	}
	account := hub.Spec.Authentication.WorkloadIdentity.ServiceAccountName
	switch {
	case apierrors.IsForbidden(e.Err):
		return halt.Denied(fmt.Sprintf("The operator may not make tokens of ServiceAccount %q. Grant it: ", account)+
			r.grantToken(ctx, hub), r.identities.patience(hub, time.Now()))
	case apierrors.IsNotFound(e.Err):
		return halt.Lacking(v1alpha1.ReasonServiceAccountNotFound, fmt.Sprintf("ServiceAccount %q does not exist in namespace %q", account, hub.Namespace),
			r.identities.patience(hub, time.Now()))
	case entra.IsRefused(e):
		return halt.Stalled(v1alpha1.ReasonIdentityRefused, refusalText(hub, e), waits.Credential.Most)
	}
	return nil
}

// grantToken is the command that grants tokens of one ServiceAccount.
func (r *IoTHubReconciler) grantToken(ctx context.Context, hub *v1alpha1.IoTHub) string {
	account := hub.Spec.Authentication.WorkloadIdentity.ServiceAccountName
	command := grantCommand(hub.Namespace, "pnp-operator-identity-"+hub.Name, r.identity.subject(ctx), right{"create", "serviceaccounts/token", []string{account}})
	if len(command) > maxCommand || notPlain(account) {
		return "add the component config/tenant/workload-identity to config/tenant, with the ServiceAccount's name"
	}
	return command
}

// refusalText names the code of Microsoft Entra ID, and what there is to check.
func refusalText(hub *v1alpha1.IoTHub, e *entra.Error) string {
	is := hub.Spec.Authentication.WorkloadIdentity
	what := map[entra.Kind]string{
		entra.NotFederated: fmt.Sprintf("client %s has no federated credential with issuer %q, subject \"system:serviceaccount:%s:%s\" and audience %q: "+
			"az identity federated-credential create, or wait a few minutes if it is new", is.ClientID, e.Issuer, hub.Namespace, is.ServiceAccountName, entra.Audience),
		entra.UnknownClient:    fmt.Sprintf("tenant %s has no usable application or managed identity with client ID %s: check clientID and tenantID", is.TenantID, is.ClientID),
		entra.UnknownTenant:    fmt.Sprintf("there is no tenant %s in this cloud: check tenantID", is.TenantID),
		entra.InvalidAssertion: fmt.Sprintf("it does not believe tokens of issuer %q: is the issuer's /openid/v1/jwks public and current, and the cluster's clock right?", e.Issuer),
	}[e.Kind]
	if what == "" {
		what = "look the code up in Microsoft's list of Microsoft Entra error codes"
	}
	return fmt.Sprintf("Microsoft Entra ID refused ServiceAccount %q (%s): %s", is.ServiceAccountName, e.Code, what)
}

// roleMissing is the verdict on a hub that takes no token of the identity.
func roleMissing(hub *v1alpha1.IoTHub, after time.Duration) *halt.Error {
	return halt.Stalled(v1alpha1.ReasonUnauthorized, fmt.Sprintf("The hub refused the token of client %[1]s: it needs a role with data actions, Owner and Contributor have none, and new ones take minutes to count: "+
		"az role assignment create --assignee %[1]s --role 'IoT Hub Data Contributor' --scope $(az iot hub show --name %[2]s --query id --output tsv)",
		hub.Spec.Authentication.WorkloadIdentity.ClientID, hubName(hub)), after)
}
