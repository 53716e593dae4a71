// Package diagnostics serves what the operator tells of itself: metrics, and profiles for whoever is to find out where its time goes.
package diagnostics

import (
	"crypto/tls"
	"net/http"
	"net/http/pprof" // nothing serves http.DefaultServeMux, which the import adds to; the handlers below are behind authentication

	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// Who asks is found out by asking the API server, and so is whether they may: config/rbac/metrics_reader_role.yaml has the roles.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Options of the server.
type Options struct {
	// Address such as :8443; 0 turns the server off.
	Address string
	// Secure is HTTPS, for those with a token that may get the path. Without it metrics are there for everyone, and profiles for nobody.
	Secure bool
	// CertDir has tls.crt and tls.key, which may be rotated. Empty: a certificate that the process signs itself.
	CertDir string
}

// Server returns a manager's options for the server.
func Server(o Options) metricsserver.Options {
	if !o.Secure {
		return metricsserver.Options{BindAddress: o.Address}
	}
	return metricsserver.Options{
		BindAddress: o.Address, SecureServing: true, CertDir: o.CertDir, FilterProvider: guarded, ExtraHandlers: profiles(),
		TLSOpts: []func(*tls.Config){withoutHTTP2},
	}
}

// withoutHTTP2 keeps one connection from opening streams without end; nobody gains from it here.
func withoutHTTP2(c *tls.Config) { c.NextProtos = []string{"http/1.1"} }

// profiles are the handlers of net/http/pprof. Its index serves heap, goroutine and the other named ones.
func profiles() map[string]http.Handler {
	return map[string]http.Handler{
		"/debug/pprof/":        http.HandlerFunc(pprof.Index),
		"/debug/pprof/cmdline": http.HandlerFunc(pprof.Cmdline),
		"/debug/pprof/profile": http.HandlerFunc(pprof.Profile),
		"/debug/pprof/symbol":  http.HandlerFunc(pprof.Symbol),
		"/debug/pprof/trace":   http.HandlerFunc(pprof.Trace),
	}
}
