package entra

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	clocktesting "k8s.io/utils/clock/testing"
)

const (
	testClient = "11111111-1111-1111-1111-111111111111"
	testTenant = "22222222-2222-2222-2222-222222222222"
	testScope  = publicScope
	// testAssertion has an issuer, and a signature that must not be seen.
	testAssertion = "eyJhbGciOiJub25lIn0.eyJpc3MiOiJodHRwczovL2lzc3Vlci5leGFtcGxlIn0.c2VjcmV0c2VjcmV0"
)

// peer is an authority that answers token requests by script.
type peer struct {
	*httptest.Server

	token atomic.Pointer[http.HandlerFunc]
	asked atomic.Int64
	mu    sync.Mutex
	forms []string
}

func newPeer(t *testing.T, token http.HandlerFunc) *peer {
	t.Helper()
	p := &peer{}
	p.answer(token)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{tenant}/v2.0/.well-known/openid-configuration", func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host + "/" + r.PathValue("tenant")
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
		})
	})
	mux.HandleFunc("POST /{tenant}/oauth2/v2.0/token", func(w http.ResponseWriter, r *http.Request) {
		n := p.asked.Add(1)
		_ = r.ParseForm()
		p.mu.Lock()
		p.forms = append(p.forms, r.PostForm.Encode())
		p.mu.Unlock()
		r.Header.Set("X-Test-Number", fmt.Sprint(n))
		(*p.token.Load())(w, r)
	})
	p.Server = httptest.NewUnstartedServer(mux)
	p.Config.ErrorLog = log.New(io.Discard, "", 0)
	p.StartTLS()
	t.Cleanup(p.Close)
	return p
}

func (p *peer) answer(f http.HandlerFunc) { p.token.Store(&f) }

func (p *peer) credential(t *testing.T, edits ...func(*Options)) *Credential {
	t.Helper()
	o := Options{
		ClientID: testClient, TenantID: testTenant, Authority: p.URL,
		CABundle:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: p.Certificate().Raw}),
		Assertion: func(context.Context) (string, error) { return testAssertion, nil }, Timeout: 10 * time.Second,
	}
	for _, edit := range edits {
		edit(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// good issues token-1, token-2 and so on.
func good(life time.Duration) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		_ = json.NewEncoder(w).Encode(map[string]any{
			"token_type": "Bearer", "expires_in": int(life.Seconds()), "access_token": "token-" + r.Header.Get("X-Test-Number"),
		})
	}
}

func text(status int, body string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(status)
		_, _ = io.WriteString(w, body)
	}
}

func get(t *testing.T, c *Credential) (string, error) {
	t.Helper()
	got, err := c.GetToken(t.Context(), policy.TokenRequestOptions{Scopes: []string{testScope}})
	return got.Token, err
}

func TestTokensAreKeptAndRenewed(t *testing.T) {
	for name, test := range map[string]struct {
		life, age time.Duration
		want      string // what is returned at that age
		asked     int64  // of the authority, in the end
	}{
		"a young token is kept":                     {time.Hour, 54 * time.Minute, "token-1", 1},
		"one near its end is renewed meanwhile":     {time.Hour, 56 * time.Minute, "token-1", 2},
		"one at its end is waited for":              {time.Hour, 59*time.Minute + 55*time.Second, "token-2", 2},
		"an expired one is waited for":              {time.Hour, 2 * time.Hour, "token-2", 2},
		"a short life is renewed in its last part":  {time.Minute, 46 * time.Second, "token-1", 2},
		"one from before a clock that moved is not": {time.Hour, -time.Minute, "token-2", 2},
	} {
		t.Run(name, func(t *testing.T) {
			p, now := newPeer(t, good(test.life)), clocktesting.NewFakeClock(time.Now())
			c := p.credential(t, func(o *Options) { o.Clock = now.Now })
			if got, err := get(t, c); got != "token-1" || err != nil {
				t.Fatal(got, err)
			}
			now.Step(test.age)
			if got, err := get(t, c); got != test.want || err != nil {
				t.Errorf("got %s, %v, want %s", got, err, test.want)
			}
			_, _, _ = c.exchanges.Do(testScope, func() (any, error) { return nil, nil }) // waits for the renewal in the background
			if got := p.asked.Load(); got != test.asked && test.life > 5*time.Minute {
				t.Errorf("asked %d times, want %d", got, test.asked)
			}
		})
	}
}

func TestAFailedRenewalLeavesTheTokenThatThereIs(t *testing.T) {
	p, now := newPeer(t, good(time.Hour)), clocktesting.NewFakeClock(time.Now())
	c := p.credential(t, func(o *Options) { o.Clock = now.Now })
	if _, err := get(t, c); err != nil {
		t.Fatal(err)
	}
	p.answer(text(503, "busy"))
	now.Step(56 * time.Minute)
	for range 5 {
		if got, err := get(t, c); got != "token-1" || err != nil {
			t.Fatal(got, err)
		}
		_, _, _ = c.exchanges.Do(testScope, func() (any, error) { return nil, nil })
	}
	if got := p.asked.Load(); got != 2 {
		t.Errorf("asked %d times, want 2: a renewal that failed rests", got)
	}
	if err, usable := c.Problem(testScope); KindOf(err) != Failing || !usable {
		t.Errorf("problem %v, usable %t", err, usable)
	}
	now.Step(4 * time.Minute)
	if _, err := get(t, c); KindOf(err) != Failing {
		t.Errorf("after the end: %v", err)
	}
	p.answer(good(time.Hour))
	if got, err := get(t, c); err != nil || got != "token-4" {
		t.Errorf("in the end: %s, %v", got, err)
	}
	if err, _ := c.Problem(testScope); err != nil {
		t.Errorf("the problem stays: %v", err)
	}
}

func TestATokenThatAHubRefusedIsReplacedUnlessItIsNew(t *testing.T) {
	p, now := newPeer(t, good(time.Hour)), clocktesting.NewFakeClock(time.Now())
	c := p.credential(t, func(o *Options) { o.Clock = now.Now })
	renewed := func(after time.Duration, want string) {
		t.Helper()
		now.Step(after)
		c.Renew(t.Context(), testScope)
		if got, err := get(t, c); got != want || err != nil {
			t.Errorf("%s later: %s, %v, want %s", after, got, err, want)
		}
	}
	renewed(0, "token-1")
	renewed(justAcquired-1, "token-1")
	renewed(1, "token-2")
	renewed(-justAcquired, "token-3") // a corrected clock shows the token as one of the future
	p.answer(text(503, "busy"))
	renewed(justAcquired, "token-3")
}

func TestThoseWhoWaitShareOneExchange(t *testing.T) {
	release := make(chan struct{})
	p := newPeer(t, func(w http.ResponseWriter, r *http.Request) { <-release; good(time.Hour)(w, r) })
	c := p.credential(t)
	impatient, give := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			if got, err := get(t, c); got != "token-1" || err != nil {
				t.Errorf("%s, %v", got, err)
			}
		})
	}
	wg.Go(func() {
		if _, err := c.GetToken(impatient, policy.TokenRequestOptions{Scopes: []string{testScope}}); !errors.Is(err, context.Canceled) {
			t.Errorf("one who gave up got %v", err)
		}
		close(release)
	})
	give()
	wg.Wait()
	if got := p.asked.Load(); got != 1 {
		t.Errorf("asked %d times", got)
	}
}

func TestEveryExchangeHasItsOwnAssertion(t *testing.T) {
	p, now := newPeer(t, good(time.Hour)), clocktesting.NewFakeClock(time.Now())
	made := 0
	c := p.credential(t, func(o *Options) {
		o.Clock = now.Now
		o.Assertion = func(context.Context) (string, error) { made++; return testAssertion, nil }
	})
	for range 3 {
		if _, err := get(t, c); err != nil {
			t.Fatal(err)
		}
		now.Step(2 * time.Hour)
	}
	if made != 3 {
		t.Errorf("%d assertions", made)
	}
	if !strings.Contains(p.forms[0], "client_assertion="+testAssertion) || !strings.Contains(p.forms[0], "iothubs.azure.net%2F.default") {
		t.Errorf("sent %s", p.forms[0])
	}
}

func TestWhatBringsNoToken(t *testing.T) {
	refusing := func(status int, oauth string, codes ...int) http.HandlerFunc {
		numbers := strings.Trim(strings.ReplaceAll(fmt.Sprint(codes), " ", ","), "[]")
		return text(status, fmt.Sprintf(`{"error":%q,"error_codes":[%s],"error_description":"AADSTS: at 12:00 %s"}`, oauth, numbers, testAssertion))
	}
	for name, test := range map[string]struct {
		token   http.HandlerFunc
		kind    Kind
		code    string
		refused bool
	}{
		"no federated credential":            {refusing(401, "invalid_client", 70021), NotFederated, "AADSTS70021", true},
		"another issuer":                     {refusing(401, "invalid_client", 700211), NotFederated, "AADSTS700211", true},
		"another audience":                   {refusing(401, "invalid_client", 700212), NotFederated, "AADSTS700212", true},
		"another subject":                    {refusing(401, "invalid_client", 700213), NotFederated, "AADSTS700213", true},
		"a subject in other letters":         {refusing(401, "invalid_client", 7002138), NotFederated, "AADSTS7002138", true},
		"an unknown application":             {refusing(400, "unauthorized_client", 700016), UnknownClient, "AADSTS700016", true},
		"a disabled application":             {refusing(401, "unauthorized_client", 7000112), UnknownClient, "AADSTS7000112", true},
		"an unknown tenant":                  {refusing(400, "invalid_tenant", 90002), UnknownTenant, "AADSTS90002", true},
		"times that are not believed":        {refusing(401, "invalid_client", 700024), InvalidAssertion, "AADSTS700024", true},
		"a key that is not published":        {refusing(401, "invalid_client", 7000272), InvalidAssertion, "AADSTS7000272", true},
		"an issuer that cannot be reached":   {refusing(400, "invalid_request", 90061), IssuerUnreachable, "AADSTS90061", false},
		"the same by another number":         {refusing(400, "invalid_request", 50166), IssuerUnreachable, "AADSTS50166", false},
		"an unknown code":                    {refusing(400, "invalid_scope", 123456), Refused, "AADSTS123456", true},
		"no code":                            {refusing(400, "access_denied"), Refused, "access_denied", true},
		"a code among others":                {refusing(400, "invalid_client", 1, 700016), UnknownClient, "AADSTS700016", true},
		"a transient error with a code":      {refusing(400, "invalid_request", 90033), Failing, "AADSTS90033", false},
		"a transient error by OAuth":         {refusing(400, "temporarily_unavailable"), Failing, "temporarily_unavailable", false},
		"a refusal that is a server's error": {refusing(500, "invalid_client", 70021), Failing, "AADSTS70021", false},
		"throttling":                         {text(429, "slow down"), Failing, "", false},
		"overload":                           {text(503, "<html>busy</html>"), Failing, "", false},
		"HTML with 200":                      {text(200, "<html>accept the terms</html>"), Unreadable, "", false},
		"HTML with 400":                      {text(400, "<html>bad</html>"), Unreadable, "", false},
		"HTML with 403":                      {text(403, "<html>forbidden</html>"), Unreadable, "", false},
		"an empty answer":                    {text(200, ""), Unreadable, "", false},
		"JSON that is no token":              {text(200, `{"hello":1}`), Unreadable, "", false},
		"a code word with a text in it":      {text(400, `{"error":"a <b> \n`+strings.Repeat("x", 99)+`"}`), Refused, "ab" + strings.Repeat("x", 62), true},
	} {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, test.token)
			_, err := get(t, p.credential(t))
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Kind != test.kind || e.Code != test.code || IsRefused(err) != test.refused {
				t.Fatalf("got %#v, want %s %s, refused %t", err, test.kind, test.code, test.refused)
			}
			if e.Issuer != "https://issuer.example" {
				t.Errorf("issuer %q", e.Issuer)
			}
			if got := p.asked.Load(); got != 1 {
				t.Errorf("asked %d times", got)
			}
			if strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, e), testAssertion) {
				t.Errorf("the assertion is shown: %v", err)
			}
		})
	}
}

func TestWhatNeverReachesTheTokenEndpoint(t *testing.T) {
	none := errors.New("no right")
	closed := newPeer(t, good(time.Hour))
	closed.Close()
	elsewhere := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		base := "https://" + r.Host + "/" + testTenant
		_ = json.NewEncoder(w).Encode(map[string]string{
			"issuer": base + "/v2.0", "token_endpoint": "https://attacker.example/token", "authorization_endpoint": base + "/authorize",
		})
	}))
	t.Cleanup(elsewhere.Close)
	redirecting := httptest.NewTLSServer(http.RedirectHandler("https://attacker.example/", http.StatusTemporaryRedirect))
	t.Cleanup(redirecting.Close)
	hanging := newPeer(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	at := func(s *httptest.Server) func(*Options) {
		return func(o *Options) {
			o.Authority = s.URL
			o.CABundle = pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
		}
	}
	for name, test := range map[string]struct {
		peer *peer
		edit func(*Options)
		kind Kind
		is   error
	}{
		"there is no assertion": {newPeer(t, good(time.Hour)), func(o *Options) { o.Assertion = func(context.Context) (string, error) { return "", none } }, NoAssertion, none},
		"nobody listens":        {closed, func(*Options) {}, Unreachable, nil},
		"nobody answers":        {hanging, func(o *Options) { o.Timeout = 100 * time.Millisecond }, Unreachable, context.DeadlineExceeded},
		"nobody vouches for it": {newPeer(t, good(time.Hour)), func(o *Options) { o.CABundle = nil }, Unreachable, nil},
		"it points elsewhere":   {closed, at(elsewhere), Unreadable, nil},
		"it redirects":          {closed, at(redirecting), Unreadable, nil},
	} {
		t.Run(name, func(t *testing.T) {
			before := test.peer.asked.Load()
			_, err := get(t, test.peer.credential(t, test.edit))
			if KindOf(err) != test.kind || IsRefused(err) || test.is != nil && !errors.Is(err, test.is) {
				t.Errorf("got %v, want %s", err, test.kind)
			}
			if test.peer != hanging && test.peer.asked.Load() != before {
				t.Error("an assertion was sent")
			}
		})
	}
}

func TestNothingOfACredentialIsPrinted(t *testing.T) {
	p := newPeer(t, good(time.Hour))
	c := p.credential(t)
	if _, err := get(t, c); err != nil {
		t.Fatal(err)
	}
	printed := fmt.Sprintf("%v %+v %#v %s %q", c, c, c, c, c) + fmt.Sprintf("%v %+v %#v", c.tokens, c.tokens, c.tokens)
	if strings.Contains(printed, "token-1") || strings.Contains(printed, testAssertion) {
		t.Error(printed)
	}
}

func TestAuthorities(t *testing.T) {
	for host, want := range map[string]struct{ authority, scope string }{
		"factory.azure-devices.net": {"https://login.microsoftonline.com", "https://iothubs.azure.net/.default"},
		"factory.azure-devices.us":  {"https://login.microsoftonline.us", "https://iothubs.azure.us/.default"},
		"FACTORY.AZURE-DEVICES.US":  {"https://login.microsoftonline.us", "https://iothubs.azure.us/.default"},
		"factory.azure-devices.cn":  {"https://login.chinacloudapi.cn", "https://iothubs.azure.net/.default"},
		"azure-devices.us.example":  {"https://login.microsoftonline.com", "https://iothubs.azure.net/.default"},
		"hub.private.example":       {"https://login.microsoftonline.com", "https://iothubs.azure.net/.default"},
	} {
		if got := AuthorityOf(host); got != want.authority {
			t.Errorf("%s: authority %s, want %s", host, got, want.authority)
		}
		if got := HubScope(host); got != want.scope {
			t.Errorf("%s: scope %s, want %s", host, got, want.scope)
		}
	}
}

func TestAuthoritiesThatMayNotBeAsked(t *testing.T) {
	for authority, ok := range map[string]bool{
		"https://login.microsoftonline.com": true, "https://localhost:8443": true, "https://localhost:8443/": true,
		"http://login.microsoftonline.com": false, "login.microsoftonline.com": false, "https://": false, "": false,
		"https://a:secret@login.microsoftonline.com": false, "https://host/path": false, "https://host?x": false, "https://host#x": false, "https://a:secret@%zz": false,
	} {
		err := Check(authority, nil)
		if (err == nil) != ok {
			t.Errorf("%q: %v", authority, err)
		}
		if err != nil && strings.Contains(err.Error(), "secret") {
			t.Errorf("a password is shown: %v", err)
		}
	}
	if Check("https://localhost", []byte("no certificate")) == nil {
		t.Error("a bundle without certificates is taken")
	}
}

func TestIssuerOf(t *testing.T) {
	for assertion, want := range map[string]string{testAssertion: "https://issuer.example", "": "", "a.b": "", "a.!.c": "", "a.bm9uZQ.c": ""} {
		if got := issuerOf(assertion); got != want {
			t.Errorf("%q: %q", assertion, got)
		}
	}
}
