package hub

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/golang-jwt/jwt/v5"
	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/entra"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const testIssuer = "https://issuer.example"

// newIdentities are those of an operator whose API server signs every token that it is asked for. requests are what it was asked.
func newIdentities(t *testing.T) (w *workloadIdentities, hub *v1alpha1.IoTHub, requests *[]authenticationv1.TokenRequestSpec) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	authority, err := simulator.StartEntra(t.Context(), simulator.EntraOptions{Keys: func(context.Context, string) ([]byte, error) {
		return json.Marshal(map[string]any{"keys": []map[string]string{{
			"kty": "EC", "kid": "k", "crv": "P-256",
			"x": base64.RawURLEncoding.EncodeToString(point[1:33]), "y": base64.RawURLEncoding.EncodeToString(point[33:]),
		}}})
	}})
	if err != nil {
		t.Fatal(err)
	}
	requests = &[]authenticationv1.TokenRequestSpec{}
	c := fake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		SubResourceCreate: func(_ context.Context, _ client.Client, sub string, account client.Object, o client.Object, _ ...client.SubResourceCreateOption) error {
			request, ok := o.(*authenticationv1.TokenRequest)
			if !ok || sub != "token" {
				return errors.New("not a request for a token")
			}
			*requests = append(*requests, request.Spec)
			token := jwt.NewWithClaims(jwt.SigningMethodES256, jwt.RegisteredClaims{
				Issuer: testIssuer, Subject: "system:serviceaccount:" + account.GetNamespace() + ":" + account.GetName(),
				Audience: request.Spec.Audiences, ExpiresAt: jwt.NewNumericDate(time.Now().Add(time.Minute)),
			})
			token.Header["kid"] = "k"
			request.Status.Token, err = token.SignedString(key)
			return err
		},
	}).Build()
	hub = &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub"}}
	hub.Spec.HostName = "factory.azure-devices.net"
	is := v1alpha1.WorkloadIdentity{ClientID: "11111111-1111-1111-1111-111111111111", TenantID: "example.com", ServiceAccountName: "iot"}
	hub.Spec.Authentication.WorkloadIdentity = &is
	authority.Register(simulator.EntraApplication{TenantID: is.TenantID, ClientID: is.ClientID, Federated: []simulator.Federated{
		{Issuer: testIssuer, Subject: "system:serviceaccount:factory:iot", Audience: entra.Audience},
	}})
	return &workloadIdentities{client: c, authority: Authority{URL: authority.URL(), CABundle: authority.CAPEM()}}, hub, requests
}

func tokenOf(t *testing.T, w *workloadIdentities, hub *v1alpha1.IoTHub) {
	t.Helper()
	has, err := w.credential(hub)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := has.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{has.scope}}); err != nil {
		t.Fatal(err)
	}
}

func TestAnAssertionIsShortLivedAndForEntraIDOnly(t *testing.T) {
	w, hub, requests := newIdentities(t)
	tokenOf(t, w, hub)
	if len(*requests) != 1 {
		t.Fatalf("%d requests", len(*requests))
	}
	if r := (*requests)[0]; len(r.Audiences) != 1 || r.Audiences[0] != "api://AzureADTokenExchange" || *r.ExpirationSeconds != 600 {
		t.Errorf("asked for %+v", r)
	}
}

func TestACredentialIsKeptUntilItsSpecChanges(t *testing.T) {
	w, hub, _ := newIdentities(t)
	first, _ := w.credential(hub)
	if again, _ := w.credential(hub); again != first {
		t.Error("another one for the same spec")
	}
	other := hub.DeepCopy()
	other.Name = "other"
	if shared, _ := w.credential(other); shared == first {
		t.Error("two IoTHubs share one")
	}
	hub.Spec.Authentication.WorkloadIdentity.ServiceAccountName = "another"
	if changed, _ := w.credential(hub); changed == first {
		t.Error("the same for another ServiceAccount")
	}
	w.forget(client.ObjectKeyFromObject(hub))
	if w.peek(hub) != nil || w.peek(other) == nil {
		t.Error("the wrong one was forgotten")
	}
}

func TestPatienceGrowsWithWhatIsLacking(t *testing.T) {
	w, hub, now := &workloadIdentities{}, &v1alpha1.IoTHub{}, time.Now()
	for _, test := range []struct{ lacking, want time.Duration }{{0, time.Second}, {5 * time.Second, 5 * time.Second}, {time.Hour, 30 * time.Second}} {
		if got := w.patience(hub, now.Add(test.lacking)); got != test.want {
			t.Errorf("after %s: %s, want %s", test.lacking, got, test.want)
		}
	}
	w.hasAll(hub)
	if got := w.patience(hub, now.Add(2*time.Hour)); got != time.Second {
		t.Errorf("lacking anew: %s", got)
	}
}
