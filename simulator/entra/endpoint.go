package entra

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/uuid"
)

const assertionType = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"

// ServeHTTP serves GET /TENANT/v2.0/.well-known/openid-configuration and POST /TENANT/oauth2/v2.0/token.
func (a *Authority) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	fault, latency, _ := a.knobs()
	select {
	case <-time.After(latency):
	case <-r.Context().Done():
		return
	}
	if a.fails(w, r, fault) {
		return
	}
	tenant, rest, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	var err error
	switch {
	case r.Method == http.MethodGet && rest == "v2.0/.well-known/openid-configuration":
		err = a.discover(w, r, tenant)
	case r.Method == http.MethodPost && rest == "oauth2/v2.0/token":
		err = a.exchange(w, r, tenant)
	default:
		http.NotFound(w, r)
		return
	}
	if refused, ok := errors.AsType[*refusal](err); ok {
		refused.send(w, a.clock())
	}
}

func (a *Authority) fails(w http.ResponseWriter, r *http.Request, f Fault) bool {
	switch f {
	case None, Elsewhere:
		return false
	case Down:
		http.Error(w, "Service Unavailable", http.StatusServiceUnavailable)
	case HTML:
		w.Header().Set("Content-Type", "text/html")
		_, _ = w.Write([]byte("<!DOCTYPE html><title>Proxy</title><h1>Please accept the terms of use</h1>")) // the client may be gone
	case Hang:
		<-r.Context().Done()
	case Redirect:
		http.Redirect(w, r, "https://attacker.example/token", http.StatusTemporaryRedirect)
	}
	return true
}

func (a *Authority) discover(w http.ResponseWriter, r *http.Request, tenant string) error {
	if !a.hasTenant(tenant) {
		return unknownTenant(tenant)
	}
	base := "https://" + r.Host + "/" + tenant
	endpoint := base
	if fault, _, _ := a.knobs(); fault == Elsewhere {
		endpoint = "https://attacker.example/" + tenant
	}
	return answer(w, map[string]any{
		"issuer":                 base + "/v2.0",
		"token_endpoint":         endpoint + "/oauth2/v2.0/token",
		"authorization_endpoint": base + "/oauth2/v2.0/authorize",
		"jwks_uri":               base + "/discovery/v2.0/keys",
	})
}

// exchange is the client credentials grant with a client assertion.
func (a *Authority) exchange(w http.ResponseWriter, r *http.Request, tenant string) error {
	if err := r.ParseForm(); err != nil {
		return badRequest(900144, "The request body is malformed.")
	}
	client := r.PostForm.Get("client_id")
	a.count(a.asked, client)
	if r.PostForm.Get("grant_type") != "client_credentials" || r.PostForm.Get("client_assertion_type") != assertionType {
		return badRequest(7000216, "'client_assertion', 'client_secret' or 'request' is required for the 'client_credentials' grant type.")
	}
	if !a.hasTenant(tenant) {
		return unknownTenant(tenant)
	}
	app, ok := a.application(client)
	if !ok || !strings.EqualFold(app.TenantID, tenant) {
		return unknownClient(client, tenant)
	}
	if err := a.check(r.Context(), app, r.PostForm.Get("client_assertion")); err != nil {
		return err
	}
	resource, ok := resourceOf(r.PostForm.Get("scope"))
	if !ok {
		return unknownResource(r.PostForm.Get("scope"))
	}
	return a.issue(w, app, resource)
}

// resourceOf is what a scope asks for. Clients add the scopes of users' logins.
func resourceOf(scopes string) (string, bool) {
	for scope := range strings.FieldsSeq(scopes) {
		if resource, ok := strings.CutSuffix(scope, "/.default"); ok {
			resource = strings.TrimSuffix(resource, "/")
			return resource, slices.Contains([]string{ResourceHub, ResourceHubUS, ResourceEventHubs}, resource)
		}
	}
	return "", false
}

// check holds an assertion against the application's federated credentials: issuer, signature, times, subject, audience.
func (a *Authority) check(ctx context.Context, app Application, assertion string) error {
	claims := &jwt.RegisteredClaims{}
	if _, _, err := jwt.NewParser().ParseUnverified(assertion, claims); err != nil {
		return badAssertion(50027, "JWT token is invalid or malformed.")
	}
	trusted := matching(app.Federated, func(f Federated) bool { return f.Issuer == claims.Issuer })
	if len(trusted) == 0 {
		return notFederated(700211, "issuer", claims.Issuer)
	}
	_, err := jwt.NewParser(jwt.WithValidMethods([]string{"RS256", "ES256"}), jwt.WithTimeFunc(a.clock), jwt.WithExpirationRequired()).
		ParseWithClaims(assertion, &jwt.RegisteredClaims{}, func(t *jwt.Token) (any, error) { return a.keyFor(ctx, claims.Issuer, t) })
	switch {
	case errors.Is(err, jwt.ErrTokenExpired) || errors.Is(err, jwt.ErrTokenNotValidYet):
		return badAssertion(700024, "Client assertion is not within its valid time range.")
	case err != nil:
		return badAssertion(700027, "Client assertion failed signature validation.")
	}
	trusted = matching(trusted, func(f Federated) bool { return f.Subject == claims.Subject })
	if len(trusted) == 0 {
		return notFederated(700213, "subject", claims.Subject)
	}
	if len(matching(trusted, func(f Federated) bool { return slices.Contains(claims.Audience, f.Audience) })) == 0 {
		return notFederated(700212, "audience", strings.Join(claims.Audience, " "))
	}
	return nil
}

func matching(all []Federated, fits func(Federated) bool) []Federated {
	var found []Federated
	for _, f := range all {
		if fits(f) {
			found = append(found, f)
		}
	}
	return found
}

func (a *Authority) keyFor(ctx context.Context, issuer string, t *jwt.Token) (any, error) {
	set, err := a.keys(ctx, issuer)
	if err != nil {
		return nil, err
	}
	id, _ := t.Header["kid"].(string)
	return keyOf(set, id)
}

// accessClaims are those of an access token that matter to a resource.
type accessClaims struct {
	jwt.RegisteredClaims

	ClientID string `json:"appid"`
	TenantID string `json:"tid"`
}

func (a *Authority) issue(w http.ResponseWriter, app Application, resource string) error {
	_, _, life := a.knobs()
	now := a.clock()
	expires := now.Add(life).Add(time.Second - 1).Truncate(time.Second) // claims have whole seconds: not before expires_in is over
	token, err := jwt.NewWithClaims(jwt.SigningMethodES256, accessClaims{
		RegisteredClaims: jwt.RegisteredClaims{
			Issuer: "https://sts.windows.net/" + app.TenantID + "/", Subject: app.ClientID, Audience: jwt.ClaimStrings{resource},
			IssuedAt: jwt.NewNumericDate(now), NotBefore: jwt.NewNumericDate(now), ExpiresAt: jwt.NewNumericDate(expires), ID: uuid.NewString(),
		},
		ClientID: app.ClientID, TenantID: app.TenantID,
	}).SignedString(a.key)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return err
	}
	a.count(a.issued, app.ClientID)
	return answer(w, map[string]any{
		"token_type": "Bearer", "expires_in": int(life.Seconds()), "ext_expires_in": int(life.Seconds()), "access_token": token,
	})
}

func answer(w http.ResponseWriter, body any) error {
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	return json.NewEncoder(w).Encode(body)
}
