package simulator

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/entra"
)

// EntraOptions configure an authority that listens.
type EntraOptions struct {
	// Listen is its address, default 127.0.0.1:0.
	Listen string
	// Keys returns the JSON Web Key Set of an issuer of assertions.
	Keys func(ctx context.Context, issuer string) ([]byte, error)
	// CAFile, if set, is written with the certificate of the CA that signed the listener's.
	CAFile string
	// Logger is silent by default.
	Logger logr.Logger
	// Clock dates and judges tokens; default time.Now.
	Clock func() time.Time
}

// Entra is an authority that listens. Hubs accept its tokens if their Options name it.
type Entra struct {
	*EntraAuthority

	server *http.Server
	url    string
	caPEM  []byte
}

// StartEntra runs an authority until ctx ends or Close is called.
func StartEntra(ctx context.Context, o EntraOptions) (*Entra, error) {
	if o.Listen == "" {
		o.Listen = "127.0.0.1:0"
	}
	if o.Logger.GetSink() == nil {
		o.Logger = logr.Discard()
	}
	authority, err := entra.New(entra.Options{Keys: o.Keys, Clock: o.Clock})
	if err != nil {
		return nil, err
	}
	l, err := net.Listen("tcp", o.Listen)
	if err != nil {
		return nil, err
	}
	certificate, caPEM, err := issue(nil, l)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("certificate: %w", err), l.Close())
	}
	if o.CAFile != "" {
		if err := os.WriteFile(o.CAFile, caPEM, 0o644); err != nil {
			return nil, errors.Join(err, l.Close())
		}
	}
	e := &Entra{EntraAuthority: authority, caPEM: caPEM, url: "https://" + reachable(l.Addr()), server: &http.Server{
		Handler: authority, ReadHeaderTimeout: 30 * time.Second, ErrorLog: stdlog.New(logWriter{o.Logger}, "", 0),
	}}
	config := &tls.Config{Certificates: []tls.Certificate{certificate}, MinVersion: tls.VersionTLS12}
	go func() {
		if err := e.server.Serve(tls.NewListener(l, config)); err != nil && !errors.Is(err, http.ErrServerClosed) {
			o.Logger.Error(err, "Listener failed")
		}
	}()
	context.AfterFunc(ctx, func() { _ = e.Close() })
	return e, nil
}

// URL returns where it listens: https://localhost:PORT, or "" if there is none.
func (e *Entra) URL() string {
	if e == nil {
		return ""
	}
	return e.url
}

// CAPEM returns the certificate of the CA that signed the listener's.
func (e *Entra) CAPEM() []byte { return e.caPEM }

// Close stops it and cuts its connections.
func (e *Entra) Close() error { return e.server.Close() }

// hubTokens judges tokens at the REST API, nil if there is nobody to issue them.
func (o Options) hubTokens() func(string) (auth.Right, string, error) {
	if o.Entra == nil {
		return nil
	}
	resource := entra.ResourceHub
	if strings.HasSuffix(o.HostName, ".azure-devices.us") {
		resource = entra.ResourceHubUS
	}
	return func(token string) (auth.Right, string, error) {
		p, err := o.Entra.Verify(token, resource)
		return p.Rights, p.ClientID, err
	}
}

// eventTokens judges tokens at the event hub. The built-in endpoint of a real hub takes none; here it stands for an event hub of its own as well.
func (o Options) eventTokens() func(string) (auth.Right, time.Time, error) {
	if o.Entra == nil {
		return nil
	}
	return func(token string) (auth.Right, time.Time, error) {
		p, err := o.Entra.Verify(token, entra.ResourceEventHubs)
		return p.Rights, p.Expires, err
	}
}

// EventHubNamespace returns the host name of the event hub, and EventHubName its name there.
func (s *Simulator) EventHubNamespace() string { return s.options.EventHubNamespace }

// EventHubName returns the name of the event hub in its namespace.
func (s *Simulator) EventHubName() string { return s.options.EventHubName }
