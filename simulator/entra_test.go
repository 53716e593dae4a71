package simulator

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"math/big"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

const (
	entraTenant  = "72f988bf-0000-0000-0000-000000000001"
	entraClient  = "11111111-1111-1111-1111-111111111111"
	entraIssuer  = "https://issuer.example"
	entraSubject = "system:serviceaccount:factory:iot"
	entraScope   = "https://iothubs.azure.net/.default openid offline_access profile"
	exchange     = "api://AzureADTokenExchange"
)

// cluster signs assertions as an API server does.
type cluster struct {
	rsa *rsa.PrivateKey
	ec  *ecdsa.PrivateKey
}

func newCluster(t *testing.T) cluster {
	t.Helper()
	r, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	e, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return cluster{r, e}
}

func (c cluster) keys(_ context.Context, issuer string) ([]byte, error) {
	if issuer != entraIssuer {
		return nil, errors.New("another issuer")
	}
	number := func(n *big.Int) string { return base64.RawURLEncoding.EncodeToString(n.Bytes()) }
	point, err := c.ec.PublicKey.Bytes()
	if err != nil {
		return nil, err
	}
	coordinate := base64.RawURLEncoding.EncodeToString
	return json.Marshal(map[string]any{"keys": []map[string]string{
		{"kty": "RSA", "kid": "rsa", "alg": "RS256", "use": "sig", "n": number(c.rsa.N), "e": number(big.NewInt(int64(c.rsa.E)))},
		{"kty": "EC", "kid": "ec", "alg": "ES256", "use": "sig", "crv": "P-256", "x": coordinate(point[1:33]), "y": coordinate(point[33:])},
	}})
}

// assertion is a good one, changed.
func (c cluster) assertion(t *testing.T, edit func(*jwt.Token, *jwt.RegisteredClaims)) string {
	t.Helper()
	claims := &jwt.RegisteredClaims{
		Issuer: entraIssuer, Subject: entraSubject, Audience: jwt.ClaimStrings{exchange},
		NotBefore: jwt.NewNumericDate(time.Now().Add(-time.Minute)), ExpiresAt: jwt.NewNumericDate(time.Now().Add(10 * time.Minute)),
	}
	token := jwt.NewWithClaims(jwt.SigningMethodRS256, claims)
	token.Header["kid"] = "rsa"
	if edit != nil {
		edit(token, claims)
	}
	key := map[jwt.SigningMethod]any{
		jwt.SigningMethodRS256: c.rsa, jwt.SigningMethodES256: c.ec, jwt.SigningMethodHS256: []byte("guessed"), jwt.SigningMethodNone: jwt.UnsafeAllowNoneSignatureType,
	}[token.Method]
	signed, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

func newEntra(t *testing.T, keys func(context.Context, string) ([]byte, error)) (*Entra, *http.Client) {
	t.Helper()
	e, err := StartEntra(t.Context(), EntraOptions{Keys: keys})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = e.Close() })
	e.Register(EntraApplication{
		TenantID: entraTenant, ClientID: entraClient, Roles: []string{"IoT Hub Data Contributor"},
		Federated: []Federated{{Issuer: entraIssuer, Subject: entraSubject, Audience: exchange}},
	})
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(e.CAPEM())
	return e, &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}

// answered is a token, or the refusal of one.
type answered struct {
	Token string `json:"access_token"`
	Error string `json:"error"`
	Text  string `json:"error_description"`
	Codes []int  `json:"error_codes"`
	URI   string `json:"error_uri"`

	status int
}

func ask(t *testing.T, c *http.Client, tokenURL string, form url.Values) answered {
	t.Helper()
	response, err := c.PostForm(tokenURL, form)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	a := answered{status: response.StatusCode}
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(body, &a); err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return a
}

func grant(assertion string) url.Values {
	return url.Values{
		"grant_type": {"client_credentials"}, "client_id": {entraClient}, "scope": {entraScope},
		"client_assertion_type": {"urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}, "client_assertion": {assertion},
	}
}

func TestTheAuthorityChecksAssertions(t *testing.T) {
	c := newCluster(t)
	e, client := newEntra(t, c.keys)
	edited := func(edit func(*jwt.Token, *jwt.RegisteredClaims)) url.Values { return grant(c.assertion(t, edit)) }
	for name, test := range map[string]struct {
		form   url.Values
		tenant string
		code   int
		oauth  string
	}{
		"a good one": {edited(nil), entraTenant, 0, ""},
		"one that is signed by EC": {edited(func(t *jwt.Token, _ *jwt.RegisteredClaims) {
			t.Method, t.Header["alg"], t.Header["kid"] = jwt.SigningMethodES256, "ES256", "ec"
		}), entraTenant, 0, ""},
		"one for two audiences": {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) { c.Audience = append(c.Audience, "other") }), entraTenant, 0, ""},
		"an expired one": {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) {
			c.ExpiresAt = jwt.NewNumericDate(time.Now().Add(-time.Minute))
		}), entraTenant, 700024, "invalid_client"},
		"one for later": {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) {
			c.NotBefore = jwt.NewNumericDate(time.Now().Add(time.Minute))
		}), entraTenant, 700024, "invalid_client"},
		"one for ever":    {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) { c.ExpiresAt = nil }), entraTenant, 700027, "invalid_client"},
		"another issuer":  {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) { c.Issuer = "https://other.example" }), entraTenant, 700211, "invalid_client"},
		"another subject": {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) { c.Subject = "system:serviceaccount:other:iot" }), entraTenant, 700213, "invalid_client"},
		"another audience": {edited(func(_ *jwt.Token, c *jwt.RegisteredClaims) {
			c.Audience = jwt.ClaimStrings{"https://kubernetes.default.svc"}
		}), entraTenant, 700212, "invalid_client"},
		"no signature": {edited(func(t *jwt.Token, _ *jwt.RegisteredClaims) { t.Method, t.Header["alg"] = jwt.SigningMethodNone, "none" }), entraTenant, 700027, "invalid_client"},
		"a guessed secret": {edited(func(t *jwt.Token, _ *jwt.RegisteredClaims) {
			t.Method, t.Header["alg"] = jwt.SigningMethodHS256, "HS256"
		}), entraTenant, 700027, "invalid_client"},
		"a key of another kind":  {edited(func(t *jwt.Token, _ *jwt.RegisteredClaims) { t.Header["kid"] = "ec" }), entraTenant, 700027, "invalid_client"},
		"a key nobody publishes": {edited(func(t *jwt.Token, _ *jwt.RegisteredClaims) { t.Header["kid"] = "x" }), entraTenant, 700027, "invalid_client"},
		"another cluster's key":  {grant(newCluster(t).assertion(t, nil)), entraTenant, 700027, "invalid_client"},
		"a changed one":          {grant(strings.Replace(c.assertion(t, nil), ".", ".e", 1)), entraTenant, 50027, "invalid_client"},
		"none":                   {grant(""), entraTenant, 50027, "invalid_client"},
		"another tenant":         {edited(nil), "nobody.example", 90002, "invalid_tenant"},
		"another client":         {with(edited(nil), "client_id", "x"), entraTenant, 700016, "unauthorized_client"},
		"another resource":       {with(edited(nil), "scope", "https://vault.azure.net/.default"), entraTenant, 500011, "invalid_resource"},
		"another grant":          {with(edited(nil), "grant_type", "password"), entraTenant, 7000216, "invalid_request"},
	} {
		t.Run(name, func(t *testing.T) {
			got := ask(t, client, e.URL()+"/"+test.tenant+"/oauth2/v2.0/token", test.form)
			if test.code == 0 {
				if got.status != http.StatusOK || got.Token == "" {
					t.Errorf("refused: %+v", got)
				}
				return
			}
			if got.Token != "" || len(got.Codes) != 1 || got.Codes[0] != test.code || got.Error != test.oauth || got.status < 400 || !strings.HasPrefix(got.Text, "AADSTS") {
				t.Errorf("got %+v, want %d %s", got, test.code, test.oauth)
			}
		})
	}
}

func with(form url.Values, key, value string) url.Values {
	form.Set(key, value)
	return form
}

func TestTheHubJudgesTokensOfEntraID(t *testing.T) {
	c := newCluster(t)
	e, client := newEntra(t, c.keys)
	s, err := Start(t.Context(), Options{Entra: e.EntraAuthority})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Hub().CreateDevice("d"); err != nil {
		t.Fatal(err)
	}
	issued := func(scope string) string {
		return ask(t, client, e.URL()+"/"+entraTenant+"/oauth2/v2.0/token", with(grant(c.assertion(t, nil)), "scope", scope)).Token
	}
	good := issued(entraScope)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	hub := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
	other, _ := newEntra(t, c.keys)
	foreign := ask(t, clientOf(other), other.URL()+"/"+entraTenant+"/oauth2/v2.0/token", grant(c.assertion(t, nil))).Token
	e.Lifetime(-2 * time.Second)
	expired := issued(entraScope)
	e.Lifetime(0)
	for name, test := range map[string]struct {
		token, method, path string
		roles               []string
		want                int
	}{
		"a good one":                  {good, http.MethodGet, "/twins/d", nil, 200},
		"reads digital twins":         {good, http.MethodGet, "/digitaltwins/d", nil, 200},
		"does not write digital twin": {good, http.MethodPatch, "/digitaltwins/d", nil, 401},
		"runs no digital-twin's":      {good, http.MethodPost, "/digitaltwins/d/commands/reboot", nil, 401},
		"without a role":              {good, http.MethodGet, "/twins/d", []string{"Owner"}, 401},
		"a role for the registry":     {good, http.MethodGet, "/twins/d", []string{"IoT Hub Registry Contributor"}, 401},
		"and it is":                   {good, http.MethodGet, "/devices/d", []string{"IoT Hub Registry Contributor"}, 200},
		"an expired one":              {expired, http.MethodGet, "/twins/d", nil, 401},
		"another authority's":         {foreign, http.MethodGet, "/twins/d", nil, 401},
		"one for event hubs":          {issued("https://eventhubs.azure.net//.default"), http.MethodGet, "/twins/d", nil, 401},
		"one for another cloud":       {issued("https://iothubs.azure.us/.default"), http.MethodGet, "/twins/d", nil, 401},
		"no token":                    {"x", http.MethodGet, "/twins/d", nil, 401},
	} {
		t.Run(name, func(t *testing.T) {
			roles := test.roles
			if roles == nil {
				roles = []string{"IoT Hub Data Contributor"}
			}
			e.Register(EntraApplication{TenantID: entraTenant, ClientID: entraClient, Roles: roles})
			request, err := http.NewRequestWithContext(t.Context(), test.method, s.Endpoint()+test.path+"?api-version=2021-04-12", strings.NewReader("[]"))
			if err != nil {
				t.Fatal(err)
			}
			request.Host = s.HostName()
			request.Header.Set("Authorization", "Bearer "+test.token)
			response, err := hub.Do(request)
			if err != nil {
				t.Fatal(err)
			}
			_ = response.Body.Close()
			if response.StatusCode != test.want {
				t.Errorf("HTTP %d, want %d", response.StatusCode, test.want)
			}
		})
	}
}

func clientOf(e *Entra) *http.Client {
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(e.CAPEM())
	return &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}
}

func TestAHubWithoutEntraIDTakesNoBearerToken(t *testing.T) {
	s, err := Start(t.Context(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(s.CAPEM())
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, s.Endpoint()+"/twins/d?api-version=2021-04-12", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer x")
	response, err := (&http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}}}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	_ = response.Body.Close()
	if response.StatusCode != http.StatusUnauthorized {
		t.Errorf("HTTP %d", response.StatusCode)
	}
}
