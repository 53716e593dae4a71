package hub

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	utilruntime "k8s.io/apimachinery/pkg/util/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/entra"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/hubcalls"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// connect makes sure that the hub has a session built from the current spec and Secret. A *halt names what is wrong.
func (r *IoTHubReconciler) connect(ctx context.Context, hub *v1alpha1.IoTHub, e eventStream, b *budget.Budget) error {
	options, fingerprint, err := r.options(ctx, hub, e)
	s := r.Hubs.Get(client.ObjectKeyFromObject(hub))
	switch isSame := s != nil && s.Fingerprint == fingerprint; {
	case halt.IsDenied(err) && r.goesOn(hub):
		if refused := r.confirm(ctx, hub, s); refused != nil {
			return refused
		}
		return goingOn(err)
	case err == nil && (isSame || e.goesOn):
		if refused := r.confirm(ctx, hub, s); refused != nil {
			return refused
		}
		return r.standing(ctx, hub)
	case halt.Is(err):
		return r.end(ctx, hub, err)
	case err != nil: // a session outlives an API server that fails for now
		return err
	}
	return r.connectAnew(ctx, hub, options, fingerprint, e, b)
}

// connectAnew makes a session from the current spec and Secret, once their credential is proved.
func (r *IoTHubReconciler) connectAnew(ctx context.Context, hub *v1alpha1.IoTHub, options iothub.Options, fingerprint string, e eventStream, b *budget.Budget) error {
	key := client.ObjectKeyFromObject(hub)
	proof, pending := r.proofs.take(key, fingerprint)
	switch {
	case pending:
		return halt.Quiet(0)
	case proof == nil:
		return r.begin(ctx, hub, options, fingerprint, b)
	}
	if err := r.proved(ctx, hub, proof); err != nil {
		proof.client.Close()
		if haltForBudget(err) == nil && !halt.IsQuiet(err) { // a wait for a token says nothing about the session there is
			return r.end(ctx, hub, err)
		}
		return err
	}
	r.proofs.accepted(key)
	s := session.NewSession(proof.client, cached.DestinationOf(hub), fingerprint)
	allowance, affected := r.Hubs.Budgets.Trust(s.Destination, key.String())
	proof.gate.Budget, s.Budget = allowance, allowance
	r.limitsChanged(ctx, affected)
	r.install(ctx, hub, s, e)
	return nil
}

// install starts what runs beside the reconcilers for as long as the session lives: the sweep and the event stream.
func (r *IoTHubReconciler) install(ctx context.Context, hub *v1alpha1.IoTHub, s *session.Session, e eventStream) {
	key := client.ObjectKeyFromObject(hub)
	s.EchoWithin(r.EchoWithin)
	s.HasStream = e.wanted != nil && e.problem == nil
	list := r.Declarations(key, s.Destination)
	logger := log.FromContext(ctx)
	sweep := &session.Sweep{
		Session: s, Declarations: list, Interval: time.Duration(hub.Spec.SweepIntervalSeconds) * time.Second, Log: logger.WithName("sweep"),
		Swept: func(outcome session.Swept) {
			metrics.CountSweep(outcome)
			if outcome.IsNews {
				r.Wakes.Hub(r.lifetime, key)
			}
		},
	}
	r.Hubs.Put(r.lifetime, key, s, func(ctx context.Context) {
		var all sync.WaitGroup
		defer all.Wait()
		if s.HasStream {
			meter := metrics.NewMeter(key)
			group := streamKey(e.config)
			claim := func() bool { return r.Hubs.ClaimStream(key, s, group) }
			free := func() bool { return r.Hubs.StreamIsFree(key, group) }
			stream := &eventstream.Stream{Config: e.config, Store: r.checkpoints.of(hub), Claim: claim, Free: free, Behind: meter.Lag, Log: logger.WithName("events"), Timing: r.StreamTiming}
			feed := &session.Feed{
				Session: s, Declarations: list, Commands: r.Commands(key, s), Meter: meter, Log: logger.WithName("events"),
				Changed: func() { r.Wakes.Hub(r.lifetime, key) },
			}
			all.Go(func() { s.Watch(ctx, stream, feed) })
		}
		sweep.Run(ctx)
	})
	r.Wakes.MembersOf(ctx, key)
}

// doubted tells the proof of a session that there is from that of one to be made with the same settings.
const doubted = "?"

// confirm asks the hub, beside the work, whether it takes the credential of a session after it refused a
// call: an answer about one device is no verdict on all of them. The error is that verdict. As long as
// the hub says nothing about the credential the session goes on.
func (r *IoTHubReconciler) confirm(ctx context.Context, hub *v1alpha1.IoTHub, s *session.Session) error {
	key := client.ObjectKeyFromObject(hub)
	if !s.Doubted() {
		r.proofs.Forget(key) // of settings that were taken back
		return nil
	}
	of, pending := r.proofs.take(key, s.Fingerprint+doubted)
	switch {
	case pending:
		return nil
	case of == nil:
		r.ask(key, s, s.AskAfter())
	case iothub.IsUnauthorized(of.err):
		r.drop(ctx, hub)
		return r.refused(ctx, hub, s.Fingerprint)
	case of.err == nil || iothub.ClassOf(of.err) == iothub.Terminal:
		s.Accepted()
	default: // the hub did not say
		r.ask(key, s, max(s.AskAfter(), waits.Doubt.First))
	}
	return nil
}

// ask has the hub asked after a while whether it takes the credential of a session, with a new token.
func (r *IoTHubReconciler) ask(hub types.NamespacedName, s *session.Session, after time.Duration) {
	r.proofs.Begin(&proof{
		Common: hubcalls.Common{Object: hub, Host: s.Destination, After: after}, fingerprint: s.Fingerprint + doubted, client: s.As(proverOf(hub)), anew: true,
	})
}

// proved is what the outcome of the call that proves the credential means.
func (r *IoTHubReconciler) proved(ctx context.Context, hub *v1alpha1.IoTHub, of *proof) error {
	err := of.err
	if h := r.identityProblem(ctx, hub, err); h != nil {
		return h
	}
	r.identities.hasAll(hub)
	if e, ok := errors.AsType[*entra.Error](err); ok && e.Kind == entra.NoAssertion {
		return fmt.Errorf("making a token of a ServiceAccount: %w", e.Err) // the API server's trouble says nothing about the hub
	}
	switch {
	case err == nil:
		return nil
	case iothub.IsUnauthorized(err):
		after, _ := r.proofs.refused(of.Object, of.fingerprint, time.Now())
		return unauthorized(hub, after)
	case iothub.ClassOf(err) == iothub.Terminal:
		after, again := r.proofs.refused(of.Object, of.fingerprint, time.Now())
		if !again { // it may be the word of something on the way to the hub, for a moment
			return halt.Quiet(after)
		}
		return halt.Stalled(v1alpha1.ReasonHubRefused, halt.StableText(err), after)
	}
	return err
}

// unauthorized is the verdict on a credential that the hub refused.
func unauthorized(hub *v1alpha1.IoTHub, after time.Duration) error {
	if hub.Spec.Authentication.WorkloadIdentity != nil {
		return roleMissing(hub, after)
	}
	return halt.Stalled(v1alpha1.ReasonUnauthorized, "The hub refused the credential: check the policy, its key and that it grants ServiceConnect", after)
}

// options reads everything that the session depends on. The fingerprint changes with any of it.
func (r *IoTHubReconciler) options(ctx context.Context, hub *v1alpha1.IoTHub, e eventStream) (iothub.Options, string, error) {
	spec := hub.Spec
	if err := iothub.Allowed(r.AllowedHostSuffixes).Check(spec.HostName, spec.Endpoint); err != nil {
		return iothub.Options{}, "", halt.Stalled(v1alpha1.ReasonHostNotAllowed, err.Error(), 0)
	}
	if spec.CABundle != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(spec.CABundle)) {
		return iothub.Options{}, "", halt.Stalled(v1alpha1.ReasonInvalidEndpoint, "spec.caBundle holds no PEM certificate", 0)
	}
	o := iothub.Options{
		HostName: spec.HostName, Endpoint: spec.Endpoint, CABundle: []byte(spec.CABundle),
		AllowedHostSuffixes: r.AllowedHostSuffixes, Timeout: r.HubTimeout, Fence: r.Fence, Observe: metrics.ObserveRequest,
	}
	secret, err := r.authenticate(ctx, hub, &o)
	if err != nil {
		return iothub.Options{}, "", err
	}
	sum := sha256.Sum256([]byte(secret + "\x00" + e.fingerprint()))
	return o, settingsOf(hub) + hex.EncodeToString(sum[:]), nil
}

// authenticate puts the credential into the options, and returns what of it is not in the spec.
func (r *IoTHubReconciler) authenticate(ctx context.Context, hub *v1alpha1.IoTHub, o *iothub.Options) (secret string, err error) {
	if hub.Spec.Authentication.WorkloadIdentity != nil {
		has, err := r.identities.credential(hub)
		if err != nil {
			return "", err
		}
		o.Credential, o.Scope = has.Credential, has.scope
		return "", nil
	}
	ref := hub.Spec.Authentication.ConnectionStringSecretRef
	secret, err = r.secretValue(ctx, hub, ref)
	if err != nil {
		return "", err
	}
	o.ConnectionString, err = iothub.ParseConnectionString(secret)
	if err != nil {
		return "", halt.Stalled(v1alpha1.ReasonInvalidConnectionString, keyName(ref)+": "+err.Error(), 0)
	}
	if !strings.EqualFold(o.ConnectionString.HostName, hub.Spec.HostName) {
		return "", halt.Stalled(v1alpha1.ReasonHostNameMismatch, fmt.Sprintf(
			"%s is for host %q; spec.hostName is %q", keyName(ref), o.ConnectionString.HostName, hub.Spec.HostName), 0)
	}
	return secret, nil
}

// settingsOf is the part of a session's fingerprint that needs no Secret.
func settingsOf(hub *v1alpha1.IoTHub) string {
	spec := hub.Spec
	raw, err := json.Marshal([]any{spec.HostName, spec.Endpoint, spec.CABundle, spec.SweepIntervalSeconds, spec.Authentication, spec.Events})
	utilruntime.Must(err) // strings and numbers
	sum := sha256.Sum256(raw)
	return hex.EncodeToString(sum[:]) + "."
}

func keyName(ref *v1alpha1.SecretKeyReference) string {
	return fmt.Sprintf("Secret %q key %q", ref.Name, ref.Key)
}

// secretValue reads one key of a Secret. Its watch wakes the hub, so a missing one is waited for without polling.
func (r *IoTHubReconciler) secretValue(ctx context.Context, hub *v1alpha1.IoTHub, ref *v1alpha1.SecretKeyReference) (string, error) {
	var secret corev1.Secret
	key := types.NamespacedName{Namespace: hub.Namespace, Name: ref.Name}
	err := r.Secrets.Get(ctx, key, &secret)
	if apierrors.IsForbidden(err) {
		return "", r.accessDenied(ctx, hub, key)
	}
	if err == nil || apierrors.IsNotFound(err) {
		r.watches.granted(key, secret.ResourceVersion)
	}
	if apierrors.IsNotFound(err) {
		return "", halt.Lacking(v1alpha1.ReasonSecretNotFound, fmt.Sprintf("Secret %q does not exist in namespace %q", ref.Name, hub.Namespace), 0)
	}
	if err != nil {
		return "", fmt.Errorf("reading Secret %q: %w", ref.Name, err)
	}
	value, ok := secret.Data[ref.Key]
	if !ok {
		return "", halt.Lacking(v1alpha1.ReasonSecretKeyNotFound, fmt.Sprintf("Secret %q has no key %q", ref.Name, ref.Key), 0)
	}
	return strings.TrimSpace(string(value)), nil
}
