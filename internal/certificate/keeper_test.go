package certificate

import (
	"bytes"
	"context"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"testing"
	"time"

	"github.com/go-logr/logr/testr"
	admissionv1 "k8s.io/api/admissionregistration/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const host = "pnp-operator-webhook.pnp-system.svc"

// site is a cluster with a Keeper.
type site struct {
	*Keeper
	t *testing.T

	writes  int
	failing string            // "Secret" or "ValidatingWebhookConfiguration": writes of it fail
	onWrite func(what string) // called before one
}

func newSite(t *testing.T, objects ...client.Object) *site {
	t.Helper()
	s := &site{t: t, onWrite: func(string) {}}
	write := func(o client.Object, do func() error) error {
		what := "Secret"
		if _, ok := o.(*corev1.Secret); !ok {
			what = "ValidatingWebhookConfiguration"
		}
		if s.failing == what {
			return errors.New("forbidden")
		}
		s.writes++
		s.onWrite(what)
		return do()
	}
	c := fake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.CreateOption) error {
			return write(o, func() error { return c.Create(ctx, o, options...) })
		},
		Update: func(ctx context.Context, c client.WithWatch, o client.Object, options ...client.UpdateOption) error {
			return write(o, func() error { return c.Update(ctx, o, options...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, patch client.Patch, options ...client.PatchOption) error {
			return write(o, func() error { return c.Patch(ctx, o, patch, options...) })
		},
	}).Build()
	s.Keeper = &Keeper{Client: c, Secret: types.NamespacedName{Namespace: "pnp-system", Name: "cert"}, Configuration: "pnp-operator", Host: host, Log: testr.New(t)}
	return s
}

func configuration() *admissionv1.ValidatingWebhookConfiguration {
	return &admissionv1.ValidatingWebhookConfiguration{
		ObjectMeta: metav1.ObjectMeta{Name: "pnp-operator"}, Webhooks: []admissionv1.ValidatingWebhook{{Name: "a.example.com"}, {Name: "b.example.com"}},
	}
}

// passes has one pass at a time succeed.
func (s *site) passes(at time.Time) {
	s.t.Helper()
	if err := s.pass(s.t.Context(), at); err != nil {
		s.t.Fatal(err)
	}
}

func (s *site) stored() map[string][]byte {
	s.t.Helper()
	secret := &corev1.Secret{}
	if err := s.Client.Get(s.t.Context(), s.Secret, secret); err != nil {
		s.t.Fatal(err)
	}
	return secret.Data
}

// told are the authorities of each webhook, which have to be the same.
func (s *site) told() []byte {
	s.t.Helper()
	is := &admissionv1.ValidatingWebhookConfiguration{}
	if err := s.Client.Get(s.t.Context(), types.NamespacedName{Name: s.Configuration}, is); err != nil {
		s.t.Fatal(err)
	}
	first := is.Webhooks[0].ClientConfig.CABundle
	for _, one := range is.Webhooks {
		if !bytes.Equal(first, one.ClientConfig.CABundle) {
			s.t.Fatalf("webhook %s is told something else than the first", one.Name)
		}
	}
	return first
}

// trusts reports whether the API server would call a server with a certificate.
func (s *site) trusts(chain []byte, at time.Time) bool {
	s.t.Helper()
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.told())
	served := certificates(chain)
	if len(served) == 0 {
		s.t.Fatal("no certificate is served")
	}
	_, err := served[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: host, CurrentTime: at})
	return err == nil
}

func (s *site) expectTrusted(chain []byte, at time.Time, want bool) {
	s.t.Helper()
	if got := s.trusts(chain, at); got != want {
		s.t.Errorf("the API server trusts it: %v, want %v", got, want)
	}
}

func (s *site) expectWrites(want int) {
	s.t.Helper()
	if s.writes != want {
		s.t.Errorf("%d writes, want %d", s.writes, want)
	}
	s.writes = 0
}

func TestACertificateIsMadeOnceAndToldToEveryWebhook(t *testing.T) {
	s, now := newSite(t, configuration()), time.Now()
	s.passes(now)
	s.expectTrusted(s.stored()[corev1.TLSCertKey], now, true)
	s.expectWrites(2)
	s.passes(now)
	s.passes(now.Add(lifetime - renewBefore - 2*time.Hour))
	s.expectWrites(0)
}

func TestTheAuthoritysKeyIsKeptNowhere(t *testing.T) {
	s := newSite(t, configuration())
	s.passes(time.Now())
	data := s.stored()
	if len(data) != 3 || bytes.Contains(data[authorityKey], []byte("PRIVATE KEY")) || bytes.Count(data[corev1.TLSPrivateKeyKey], []byte("-----BEGIN")) != 1 {
		t.Errorf("the Secret has %d entries", len(data))
	}
	for _, c := range certificates(data[authorityKey]) {
		if p, rest := pem.Decode(data[corev1.TLSPrivateKeyKey]); p == nil || len(rest) > 0 {
			t.Error("not one key")
		} else if key, err := x509.ParsePKCS1PrivateKey(p.Bytes); err != nil || key.PublicKey.Equal(c.PublicKey) {
			t.Errorf("the key in the Secret is the authority's: %v", err)
		}
	}
}

func TestARenewedCertificateIsTrustedBeforeItIsServedAndTheOneBeforeFurther(t *testing.T) {
	s, now := newSite(t, configuration()), time.Now()
	s.passes(now)
	first := s.stored()[corev1.TLSCertKey]

	// The library makes certificates of the present, so the first one is put back in time instead.
	later := now.Add(lifetime - renewBefore)
	s.onWrite = func(what string) {
		if what == "Secret" && len(certificates(s.told())) < 2 {
			t.Error("it is stored before the API server is told of it")
		}
	}
	s.passes(later)
	s.expectWrites(4)
	second := s.stored()[corev1.TLSCertKey]
	if bytes.Equal(first, second) {
		t.Fatal("it was not renewed")
	}
}

func TestTheHandOverEnds(t *testing.T) {
	s, now := newSite(t, configuration()), time.Now()
	s.passes(now)
	first := s.stored()[corev1.TLSCertKey]
	s.replace(func(data map[string][]byte) { delete(data, corev1.TLSPrivateKeyKey) }) // has a new one made
	s.passes(now)
	second := s.stored()[corev1.TLSCertKey]
	s.expectTrusted(first, now, true)
	s.expectTrusted(second, now, true)

	s.writes = 0
	s.passes(now.Add(handOver / 4))
	s.expectWrites(0)
	after := now.Add(handOver)
	s.passes(after)
	s.expectTrusted(first, after, false)
	s.expectTrusted(second, after, true)
	s.expectWrites(2)
	s.passes(after)
	s.expectWrites(0)
}

// replace edits the Secret as somebody else.
func (s *site) replace(edit func(map[string][]byte)) {
	s.t.Helper()
	secret := &corev1.Secret{}
	if err := s.Client.Get(s.t.Context(), s.Secret, secret); err != nil {
		s.t.Fatal(err)
	}
	edit(secret.Data)
	if err := s.Client.Update(s.t.Context(), secret); err != nil {
		s.t.Fatal(err)
	}
}

// TestTheSecretOfAnOlderOperatorIsReplaced: it had the authority's key, and certificate and authority apart.
func TestTheSecretOfAnOlderOperatorIsReplaced(t *testing.T) {
	made, err := newPair(host)
	if err != nil {
		t.Fatal(err)
	}
	both := certificates(made.chain)
	leaf := pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: both[0].Raw})
	authority := pem.EncodeToMemory(&pem.Block{Type: cert.CertificateBlockType, Bytes: both[1].Raw})
	told := configuration()
	for i := range told.Webhooks {
		told.Webhooks[i].ClientConfig.CABundle = authority
	}
	s, now := newSite(t, told, &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "pnp-system", Name: "cert"}, Type: corev1.SecretTypeOpaque,
		Data: map[string][]byte{corev1.TLSCertKey: leaf, corev1.TLSPrivateKeyKey: made.key, "ca.crt": authority, "ca.key": made.key},
	}), time.Now()
	s.passes(now)
	data := s.stored()
	if _, still := data["ca.key"]; still || bytes.Equal(data[corev1.TLSCertKey], leaf) {
		t.Error("it was not replaced")
	}
	s.expectTrusted(leaf, now, true) // by pods that serve with it
	s.expectTrusted(data[corev1.TLSCertKey], now, true)
	s.passes(now.Add(handOver))
	s.expectTrusted(leaf, now, false)
}

func TestWhatIsWrongWithASecretHasANewCertificateMade(t *testing.T) {
	for name, edit := range map[string]func(map[string][]byte){
		"empty":   func(data map[string][]byte) { clear(data) },
		"not PEM": func(data map[string][]byte) { data[corev1.TLSCertKey] = []byte("x") },
		"without authority": func(data map[string][]byte) {
			data[corev1.TLSCertKey] = pem.EncodeToMemory(firstBlock(data[corev1.TLSCertKey]))
		},
		"key of another": func(data map[string][]byte) { other, _ := newPair(host); data[corev1.TLSPrivateKeyKey] = other.key },
		"for another host": func(data map[string][]byte) {
			other, _ := newPair("elsewhere")
			data[corev1.TLSCertKey], data[corev1.TLSPrivateKeyKey] = other.chain, other.key
		},
		"of other authority": func(data map[string][]byte) {
			other, _ := newPair(host)
			_, rest := pem.Decode(other.chain)
			data[corev1.TLSCertKey] = append(pem.EncodeToMemory(firstBlock(data[corev1.TLSCertKey])), rest...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := newSite(t, configuration()), time.Now()
			s.passes(now)
			s.replace(edit)
			wrong := s.stored()
			s.passes(now)
			data := s.stored()
			if bytes.Equal(data[corev1.TLSCertKey], wrong[corev1.TLSCertKey]) && bytes.Equal(data[corev1.TLSPrivateKeyKey], wrong[corev1.TLSPrivateKeyKey]) {
				t.Error("it stays")
			}
			s.expectTrusted(data[corev1.TLSCertKey], now, true)
			s.writes = 0
			s.passes(now)
			s.expectWrites(0)
		})
	}
}

func firstBlock(text []byte) *pem.Block { b, _ := pem.Decode(text); return b }

func TestASecretThatIsDeletedLeavesWhatIsServedTrusted(t *testing.T) {
	s, now := newSite(t, configuration()), time.Now()
	s.passes(now)
	served := s.stored()[corev1.TLSCertKey]
	if err := s.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "pnp-system", Name: "cert"}}); err != nil {
		t.Fatal(err)
	}
	s.passes(now)
	s.expectTrusted(served, now, true)
	s.expectTrusted(s.stored()[corev1.TLSCertKey], now, true)
}

// TestAWriteThatFails: what is served stays trusted, and no authorities gather.
func TestAWriteThatFails(t *testing.T) {
	for _, failing := range []string{"Secret", "ValidatingWebhookConfiguration"} {
		for _, deleted := range []bool{false, true} {
			s, now := newSite(t, configuration()), time.Now()
			s.passes(now)
			served := s.stored()[corev1.TLSCertKey]
			if deleted {
				if err := s.Client.Delete(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "pnp-system", Name: "cert"}}); err != nil {
					t.Fatal(err)
				}
			} else {
				s.replace(func(data map[string][]byte) { delete(data, corev1.TLSPrivateKeyKey) })
			}
			s.failing = failing
			for range maxTrusted + 1 {
				if err := s.pass(t.Context(), now); err == nil {
					t.Fatal("it says nothing")
				}
				s.expectTrusted(served, now, true)
			}
			s.failing = ""
			s.passes(now)
			s.expectTrusted(s.stored()[corev1.TLSCertKey], now, true)
		}
	}
}

func TestAConfigurationThatComesLaterIsTold(t *testing.T) {
	s, now := newSite(t), time.Now()
	s.passes(now)
	s.expectWrites(1)
	if err := s.Client.Create(t.Context(), configuration()); err != nil {
		t.Fatal(err)
	}
	s.passes(now)
	s.expectTrusted(s.stored()[corev1.TLSCertKey], now, true)
}

func TestWhatSomebodyElseWritesIntoTheConfigurationIsPutBack(t *testing.T) {
	s, now := newSite(t, configuration()), time.Now()
	s.passes(now)
	is := &admissionv1.ValidatingWebhookConfiguration{}
	if err := s.Client.Get(t.Context(), types.NamespacedName{Name: "pnp-operator"}, is); err != nil {
		t.Fatal(err)
	}
	is.Webhooks[1].ClientConfig.CABundle = nil
	is.Webhooks = append(is.Webhooks, admissionv1.ValidatingWebhook{Name: "c.example.com"})
	is.Labels = map[string]string{"kept": "yes"}
	if err := s.Client.Update(t.Context(), is); err != nil {
		t.Fatal(err)
	}
	s.passes(now)
	s.expectTrusted(s.stored()[corev1.TLSCertKey], now, true)
	if err := s.Client.Get(t.Context(), types.NamespacedName{Name: "pnp-operator"}, is); err != nil || is.Labels["kept"] != "yes" {
		t.Error(err, is.Labels)
	}
}

// TestTwoKeepersEndInOneCertificate: each begins before it sees what the other one did.
func TestTwoKeepersEndInOneCertificate(t *testing.T) {
	s, now := newSite(t, configuration()), time.Now()
	nested := false
	s.onWrite = func(what string) {
		if !nested && what == "Secret" {
			nested = true
			s.passes(now) // the other one
		}
	}
	if err := s.pass(t.Context(), now); err == nil {
		t.Error("it made a Secret that was there")
	}
	s.passes(now)
	s.expectTrusted(s.stored()[corev1.TLSCertKey], now, true)
}
