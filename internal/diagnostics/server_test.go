package diagnostics_test

import (
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"os"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/envtest"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/internal/diagnostics"
)

func apiServer(t *testing.T) *rest.Config {
	t.Helper()
	assets := os.Getenv("KUBEBUILDER_ASSETS")
	if assets == "" {
		assets = "../../bin/k8s"
	}
	environment := &envtest.Environment{BinaryAssetsDirectory: assets}
	config, err := environment.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := environment.Stop(); err != nil {
			t.Error(err)
		}
	})
	return config
}

// serve runs the server on a free port and returns its address.
func serve(t *testing.T, config *rest.Config, o diagnostics.Options) string {
	t.Helper()
	httpClient, err := rest.HTTPClientFor(config)
	if err != nil {
		t.Fatal(err)
	}
	o.Address = "127.0.0.1:0"
	server, err := diagnostics.Server(t.Context(), o, config, httpClient)
	if err != nil {
		t.Fatal(err)
	}
	return start(t, server)
}

// start runs a server and returns its address.
func start(t *testing.T, server *manager.Server) string {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- server.Start(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	return server.Listener.Addr().String()
}

// get asks for a URL with a token, if there is one, and returns status and body.
func get(t *testing.T, url, token string) (int, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it signs its certificate itself
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	return response.StatusCode, string(body)
}

// account makes a ServiceAccount bound to a role of config/rbac/metrics_reader_role.yaml, if any, and returns a token of it.
func account(t *testing.T, c client.Client, name, role string) string {
	t.Helper()
	a := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: name}}
	if err := c.Create(t.Context(), a); err != nil {
		t.Fatal(err)
	}
	if role != "" {
		binding := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: name}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "default", Name: name}},
		}
		if err := c.Create(t.Context(), binding); err != nil {
			t.Fatal(err)
		}
	}
	token := &authenticationv1.TokenRequest{}
	if err := c.SubResource("token").Create(t.Context(), a, token); err != nil {
		t.Fatal(err)
	}
	return token.Status.Token
}

func addRoles(t *testing.T, c client.Client) {
	t.Helper()
	raw, err := os.ReadFile("../../config/rbac/metrics_reader_role.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for document := range strings.SplitSeq(string(raw), "\n---\n") {
		role := &rbacv1.ClusterRole{}
		if err := yaml.UnmarshalStrict([]byte(document), role); err != nil {
			t.Fatal(err)
		}
		if err := c.Create(t.Context(), role); err != nil {
			t.Fatal(err)
		}
	}
}

func TestWhoMayAsk(t *testing.T) {
	config := apiServer(t)
	c, err := client.New(config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	addRoles(t, c)
	tokens := map[string]string{
		"nobody": "", "a forger": "eyJhbGciOiJub25lIn0.e30.",
		"a stranger": account(t, c, "stranger", ""),
		"Prometheus": account(t, c, "prometheus", "pnp-operator-metrics-reader"),
		"a profiler": account(t, c, "profiler", "pnp-operator-profile-reader"),
	}
	address := serve(t, config, diagnostics.Options{Secure: true, CertDir: t.TempDir()})
	for _, want := range []struct {
		who, path string
		status    int
		says      string
	}{
		{"nobody", "/metrics", http.StatusUnauthorized, "Unauthorized"},
		{"nobody", "/debug/pprof/heap", http.StatusUnauthorized, "Unauthorized"},
		{"a forger", "/metrics", http.StatusUnauthorized, "Unauthorized"},
		{"a stranger", "/metrics", http.StatusForbidden, "Forbidden"},
		{"a stranger", "/debug/pprof/", http.StatusForbidden, "Forbidden"},
		{"Prometheus", "/metrics", http.StatusOK, "certwatcher"},
		{"Prometheus", "/debug/pprof/heap", http.StatusForbidden, "Forbidden"},
		{"a profiler", "/metrics", http.StatusForbidden, "Forbidden"},
		{"a profiler", "/debug/pprof/", http.StatusOK, "goroutine"},
		{"a profiler", "/debug/pprof/goroutine?debug=1", http.StatusOK, "goroutine profile"},
		{"a profiler", "/debug/pprof/cmdline", http.StatusOK, "diagnostics.test"},
		{"a profiler", "/debug/pprof/symbol", http.StatusOK, "num_symbols"},
	} {
		if status, body := get(t, "https://"+address+want.path, tokens[want.who]); status != want.status || !strings.Contains(body, want.says) {
			t.Errorf("%s gets %d for %s, want %d with %q: %.200s", want.who, status, want.path, want.status, want.says, body)
		}
	}
}

func TestAnAPIServerThatIsDownLetsNobodyIn(t *testing.T) {
	address := serve(t, &rest.Config{Host: "http://127.0.0.1:1"}, diagnostics.Options{Secure: true, CertDir: t.TempDir()})
	if status, body := get(t, "https://"+address+"/metrics", "token"); status != http.StatusServiceUnavailable {
		t.Errorf("%d %s", status, body)
	}
}

func TestWithoutAuthenticationThereAreNoProfiles(t *testing.T) {
	address := serve(t, &rest.Config{Host: "http://127.0.0.1:1"}, diagnostics.Options{})
	if status, body := get(t, "http://"+address+"/metrics", ""); status != http.StatusOK || !strings.Contains(body, "certwatcher") {
		t.Errorf("metrics: %d %.200s", status, body)
	}
	for _, path := range []string{"/debug/pprof/", "/debug/pprof/heap", "/debug/pprof/profile"} {
		if status, _ := get(t, "http://"+address+path, ""); status != http.StatusNotFound {
			t.Errorf("%s: %d", path, status)
		}
	}
}
