// Package ports bounds what those may have who reach a port of the operator's, before a request is
// handed on. Controller-runtime's own servers have no bound on connections, and take a MiB of
// headers of each request.
package ports

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"path/filepath"
	"slices"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

const (
	// maxHeaders of one request, in bytes.
	maxHeaders = 8 << 10
	// headersWithin is how long a connection may take until a request has begun.
	headersWithin = 5 * time.Second
	idleWithin    = 90 * time.Second
	// endsWithin is how long what is under way has to come to its end.
	endsWithin = time.Minute
)

// NewServer returns a server of what a listener accepts. Its requests end with the context.
func NewServer(ctx context.Context, name string, listener net.Listener, handler http.Handler) *manager.Server {
	return &manager.Server{
		Name: name, Listener: listener, ShutdownTimeout: new(endsWithin),
		Server: &http.Server{
			Handler: handler, BaseContext: func(net.Listener) context.Context { return ctx },
			MaxHeaderBytes: maxHeaders, ReadHeaderTimeout: headersWithin, IdleTimeout: idleWithin,
		},
	}
}

// CertificatePaths are the files of a certificate and its key in a folder, as a Secret has them.
func CertificatePaths(folder string) (certificate, key string) {
	return filepath.Join(folder, corev1.TLSCertKey), filepath.Join(folder, corev1.TLSPrivateKeyKey)
}

// UseCertificate has a configuration serve the certificate of a folder, anew whenever that is
// replaced, until the context ends. lost is called if it cannot be looked at any more.
func UseCertificate(ctx context.Context, config *tls.Config, folder string, lost func(error)) error {
	watcher, err := certwatcher.New(CertificatePaths(folder))
	if err != nil {
		return err
	}
	config.GetCertificate = watcher.GetCertificate
	go func() {
		if err := watcher.Start(ctx); err != nil {
			lost(err)
		}
	}()
	return nil
}

// Crowd is what becomes of a connection for which there is no room.
type Crowd bool

const (
	// Refused connections are closed at once.
	Refused Crowd = false
	// TakesOldest has one take the place of the oldest: whoever keeps silent keeps nobody out.
	TakesOldest Crowd = true
)

// Listen listens by TCP, and has so many connections open at a time.
func Listen(ctx context.Context, address string, most int, beyond Crowd) (net.Listener, error) {
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", address)
	if err != nil {
		return nil, err
	}
	return &boundedListener{Listener: listener, most: most, beyond: beyond}, nil
}

type boundedListener struct {
	net.Listener

	most   int
	beyond Crowd

	mu   sync.Mutex
	open []*boundedConn // the oldest first
}

// Accept returns the next connection that there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		bounded := &boundedConn{conn, l}
		goes := l.enter(bounded)
		if goes != nil {
			_ = goes.Close()
		}
		if goes != bounded {
			return bounded, nil
		}
	}
}

// enter returns the connection that has to go, nil if there is room for all.
func (l *boundedListener) enter(c *boundedConn) (goes *boundedConn) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.open = append(l.open, c)
	switch {
	case len(l.open) <= l.most:
		return nil
	case l.beyond == TakesOldest:
		return l.open[0]
	}
	return c
}

type boundedConn struct {
	net.Conn

	of *boundedListener
}

func (c *boundedConn) Close() error {
	c.of.mu.Lock()
	c.of.open = slices.DeleteFunc(c.of.open, func(other *boundedConn) bool { return other == c })
	c.of.mu.Unlock()
	return c.Conn.Close()
}
