package controllers_test

import (
	"context"
	"crypto/tls"
	"net/http"
	"path/filepath"

	. "github.com/onsi/ginkgo/v2"
	. "github.com/onsi/gomega"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"

	"github.com/pnp-operator/pnp-operator/internal/diagnostics"
)

// serveMetrics runs the metrics server as the operator's ServiceAccount and returns its address.
func serveMetrics() (address string) {
	GinkgoHelper()
	cfg := rest.CopyConfig(environment.Config)
	cfg.Impersonate = rest.ImpersonationConfig{UserName: operatorUser, Groups: []string{"system:authenticated"}}
	httpClient, err := rest.HTTPClientFor(cfg)
	Expect(err).NotTo(HaveOccurred())
	server, err := diagnostics.Server(ctx, diagnostics.Options{Address: "127.0.0.1:0", Secure: true, CertDir: GinkgoT().TempDir()}, cfg, httpClient)
	Expect(err).NotTo(HaveOccurred())
	lifetime, cancel := context.WithCancel(ctx)
	done := make(chan error, 1)
	go func() { done <- server.Start(lifetime) }()
	DeferCleanup(func() {
		cancel()
		Eventually(done).Should(Receive(BeNil()))
	})
	return server.Listener.Addr().String()
}

// scraper is a token that may read metrics.
func scraper() string {
	GinkgoHelper()
	reader, profiler := &rbacv1.ClusterRole{}, &rbacv1.ClusterRole{}
	readDocuments(filepath.Join("..", "config", "rbac", "metrics_reader_role.yaml"), reader, profiler)
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: newForeignNamespace(), Name: "prometheus"}}
	Expect(admin.Create(ctx, account)).To(Succeed())
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "prometheus-"}, Subjects: []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: account.Namespace, Name: account.Name}},
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: account.Namespace},
	}
	Expect(admin.Create(ctx, &rbacv1.ClusterRole{ObjectMeta: metav1.ObjectMeta{Name: account.Namespace}, Rules: reader.Rules})).To(Succeed())
	Expect(admin.Create(ctx, binding)).To(Succeed())
	token := &authenticationv1.TokenRequest{}
	Expect(admin.SubResource("token").Create(ctx, account, token)).To(Succeed())
	return token.Status.Token
}

// scraped is the status that a request for metrics is answered with.
func scraped(address, token string) int {
	GinkgoHelper()
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "https://"+address+"/metrics", nil)
	Expect(err).NotTo(HaveOccurred())
	request.Header.Set("Authorization", "Bearer "+token)
	transport := &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // it signs its certificate itself
	defer transport.CloseIdleConnections()
	response, err := (&http.Client{Transport: transport}).Do(request)
	Expect(err).NotTo(HaveOccurred())
	Expect(response.Body.Close()).To(Succeed())
	return response.StatusCode
}
