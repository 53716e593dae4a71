// Package diagnostics serves what the operator tells of itself: metrics, and profiles for whoever is to find out where its time goes.
package diagnostics

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"maps"
	"net"
	"net/http"
	"net/http/pprof" // nothing serves http.DefaultServeMux, which the import adds to; the handlers below are behind authentication
	"os"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/util/cert"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"

	"github.com/pnp-operator/pnp-operator/internal/ports"
)

// Who asks is found out by asking the API server, and so is whether they may: config/rbac/metrics_reader_role.yaml has the roles.
// +kubebuilder:rbac:groups=authentication.k8s.io,resources=tokenreviews,verbs=create
// +kubebuilder:rbac:groups=authorization.k8s.io,resources=subjectaccessreviews,verbs=create

// Options of the server.
type Options struct {
	// Address such as :8443; :8080 if empty. 0 turns the server off.
	Address string
	// Secure is HTTPS, for those with a token that may get the path. Without it metrics are there for everyone, and profiles for nobody.
	Secure bool
	// CertDir has tls.crt and tls.key, which may be rotated. Empty: a certificate that the process signs itself.
	CertDir string
}

// Server listens, and serves metrics once it is started, on all replicas. It is nil if it is turned
// off. The context bounds how long requests last, and how long the certificate is looked at.
func Server(ctx context.Context, o Options, config *rest.Config, client *http.Client) (*manager.Server, error) {
	listener, err := listen(ctx, cmp.Or(o.Address, defaultAddress))
	if listener == nil || err != nil {
		return nil, err
	}
	handlers := map[string]http.Handler{metricsPath: promhttp.HandlerFor(metrics.Registry, promhttp.HandlerOpts{
		ErrorHandling: promhttp.HTTPErrorOnError, MaxRequestsInFlight: maxScrapes,
	})}
	if !o.Secure {
		return ports.NewServer(ctx, "metrics", listener, muxOf(handlers)), nil
	}
	maps.Copy(handlers, profiles())
	guard, err := guarded(config, client)
	if err != nil {
		return nil, err
	}
	for path, handler := range handlers {
		handlers[path] = guard.before(log.Log.WithName("metrics").WithValues("path", path), handler)
	}
	secure, err := o.tls(ctx)
	if err != nil {
		return nil, err
	}
	return ports.NewServer(ctx, "metrics", tls.NewListener(listener, secure), muxOf(handlers)), nil
}

const (
	metricsPath    = "/metrics"
	defaultAddress = ":8080"
	// maxScrapes are under way at a time: each holds all metrics.
	maxScrapes = 4
)

func muxOf(handlers map[string]http.Handler) *http.ServeMux {
	mux := http.NewServeMux()
	for path, handler := range handlers {
		mux.Handle(path, handler)
	}
	return mux
}

// tls has the certificate of the folder, anew whenever it is replaced, or one that the process
// signs itself. It is without HTTP/2, which has one connection open streams without end; nobody
// gains from it here.
func (o Options) tls(ctx context.Context) (*tls.Config, error) {
	config := &tls.Config{NextProtos: []string{"http/1.1"}, MinVersion: tls.VersionTLS12}
	certificate, key := ports.CertificatePaths(o.CertDir)
	if o.CertDir == "" || !exists(certificate) || !exists(key) {
		encoded, encodedKey, err := cert.GenerateSelfSignedCertKeyWithFixtures("localhost", []net.IP{{127, 0, 0, 1}}, nil, "")
		if err != nil {
			return nil, err
		}
		pair, err := tls.X509KeyPair(encoded, encodedKey)
		config.Certificates = []tls.Certificate{pair}
		return config, err
	}
	return config, ports.UseCertificate(ctx, config, o.CertDir, func(err error) {
		log.Log.Error(err, "The certificate for metrics is not looked at any more")
	})
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return !errors.Is(err, os.ErrNotExist)
}

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
