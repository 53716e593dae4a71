package certificate

import (
	"bytes"
	"cmp"
	"context"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"time"

	"github.com/go-logr/logr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// authorityKey is where the Secret has what the API server is to trust.
const authorityKey = "ca.crt"

// defaultPause between two passes, each of which reads two objects.
const defaultPause = 15 * time.Second

// Keeper keeps the certificate in a Secret, and its authority in a ValidatingWebhookConfiguration.
type Keeper struct {
	// Client reads without a cache.
	Client client.Client
	// Secret that the certificate is in. It is made if it is not there.
	Secret types.NamespacedName
	// Configuration whose webhooks are told the authority. One that is not there is told once it is.
	Configuration string
	// Host that the API server calls.
	Host string
	// Pause between two passes, 0 means 15 s.
	Pause time.Duration
	Log   logr.Logger
}

// Run makes and renews until the context ends. What fails is tried again.
func (k *Keeper) Run(ctx context.Context) {
	wait.JitterUntilWithContext(ctx, func(ctx context.Context) {
		if err := k.pass(ctx, time.Now()); err != nil && ctx.Err() == nil {
			k.Log.Error(err, "Could not keep the webhook's certificate, trying again")
		}
	}, cmp.Or(k.Pause, defaultPause), 0.2, true)
}

// pass looks once whether anything is to be done.
func (k *Keeper) pass(ctx context.Context, now time.Time) error {
	secret := &corev1.Secret{}
	if err := k.Client.Get(ctx, k.Secret, secret); client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("reading Secret %q: %w", k.Secret, err)
	}
	is := pair{secret.Data[corev1.TLSCertKey], secret.Data[corev1.TLSPrivateKeyKey]}
	leaf, authority, why := is.check(k.Host, now)
	if why != nil {
		k.Log.Info("Making a certificate for the webhook", "host", k.Host, "reason", why.Error())
		return k.renew(ctx, secret, now)
	}
	trusted := bundle(now, authority)
	if now.Before(leaf.NotBefore.Add(handOver)) {
		trusted = bundle(now, append([]*x509.Certificate{authority}, certificates(secret.Data[authorityKey])...)...)
	}
	if err := k.publish(ctx, trusted); err != nil {
		return err
	}
	return k.store(ctx, secret, is, trusted)
}

// renew makes a new pair. Where one is served, the API server is told of the next one before it is served. Where none is,
// or nobody knows, the new one is stored first: as long as that fails, nobody is told of ever more authorities.
func (k *Keeper) renew(ctx context.Context, secret *corev1.Secret, now time.Time) error {
	next, err := newPair(k.Host)
	if err != nil {
		return fmt.Errorf("making a certificate: %w", err)
	}
	authority := certificates(next.chain)[1]
	before := append(certificates(secret.Data[corev1.TLSCertKey]), certificates(secret.Data[authorityKey])...)
	if len(before) > 0 {
		trusted := bundle(now, append([]*x509.Certificate{authority}, before...)...)
		return inOrder(func() error { return k.publish(ctx, trusted) }, func() error { return k.store(ctx, secret, next, trusted) })
	}
	published, err := k.published(ctx)
	if err != nil {
		return err
	}
	trusted := bundle(now, append([]*x509.Certificate{authority}, published...)...)
	return inOrder(func() error { return k.store(ctx, secret, next, trusted) }, func() error { return k.publish(ctx, trusted) })
}

func inOrder(steps ...func() error) error {
	for _, step := range steps {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// store writes the Secret if it has something else. Nothing else stays in it: an older operator kept its authority's key there.
func (k *Keeper) store(ctx context.Context, secret *corev1.Secret, p pair, trusted []byte) error {
	data := map[string][]byte{corev1.TLSCertKey: p.chain, corev1.TLSPrivateKeyKey: p.key, authorityKey: trusted}
	if same(secret.Data, data) {
		return nil
	}
	secret.Data = data
	write := func() error { return k.Client.Update(ctx, secret) }
	if secret.ResourceVersion == "" {
		secret.Namespace, secret.Name, secret.Type = k.Secret.Namespace, k.Secret.Name, corev1.SecretTypeTLS
		write = func() error { return k.Client.Create(ctx, secret) }
	}
	if err := write(); err != nil {
		return fmt.Errorf("writing Secret %q: %w", k.Secret, err)
	}
	k.Log.Info("The webhook's certificate is stored", "secret", k.Secret.String())
	return nil
}

// same compares all that the Secret has.
func same(is, want map[string][]byte) bool {
	for key := range want {
		if !bytes.Equal(is[key], want[key]) {
			return false
		}
	}
	return len(is) == len(want)
}

// configuration is nil if there is none.
func (k *Keeper) configuration(ctx context.Context) (*admissionv1.ValidatingWebhookConfiguration, error) {
	is := &admissionv1.ValidatingWebhookConfiguration{}
	err := k.Client.Get(ctx, types.NamespacedName{Name: k.Configuration}, is)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading ValidatingWebhookConfiguration %q: %w", k.Configuration, err)
	}
	return is, nil
}

// published are the authorities that the API server has been told.
func (k *Keeper) published(ctx context.Context) ([]*x509.Certificate, error) {
	is, err := k.configuration(ctx)
	if err != nil || is == nil {
		return nil, err
	}
	var all []*x509.Certificate
	for _, one := range is.Webhooks {
		all = append(all, certificates(one.ClientConfig.CABundle)...)
	}
	return all, nil
}

// publish tells the API server what to trust, if it was told something else. Nothing but that is written.
func (k *Keeper) publish(ctx context.Context, trusted []byte) error {
	is, err := k.configuration(ctx)
	if err != nil || is == nil {
		return err
	}
	patch := patchOf(is, trusted)
	if patch == nil {
		return nil
	}
	raw, err := json.Marshal(patch)
	if err != nil {
		return err
	}
	if err := k.Client.Patch(ctx, is, client.RawPatch(types.JSONPatchType, raw)); err != nil {
		return fmt.Errorf("writing ValidatingWebhookConfiguration %q: %w", k.Configuration, err)
	}
	k.Log.Info("The API server is told whom to trust", "configuration", k.Configuration, "authorities", len(certificates(trusted)))
	return nil
}

// operation is one of a JSON Patch.
type operation struct {
	Op    string `json:"op"`
	Path  string `json:"path"`
	Value any    `json:"value"`
}

// patchOf is nil if there is nothing to change. It fails if anybody wrote meanwhile: webhooks have places, not names, in it.
func patchOf(is *admissionv1.ValidatingWebhookConfiguration, trusted []byte) []operation {
	steps := []operation{{"test", "/metadata/resourceVersion", is.ResourceVersion}}
	for i, one := range is.Webhooks {
		if !bytes.Equal(one.ClientConfig.CABundle, trusted) {
			steps = append(steps, operation{"add", fmt.Sprintf("/webhooks/%d/clientConfig/caBundle", i), trusted})
		}
	}
	if len(steps) == 1 {
		return nil
	}
	return steps
}
