package webhooks

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"path/filepath"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/controller-runtime/pkg/certwatcher"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"
)

// Bounds of what those may have who reach the port, before a request is handed on. An API server needs one connection, and
// its requests have some hundred bytes of headers.
const (
	maxConnections = 32
	// maxStreams are the requests under way over one connection.
	maxStreams = 8
	// maxHeaders of one request, and maxWindow of what a connection may send ahead, in bytes.
	maxHeaders = 8 << 10
	maxWindow  = 64 << 10
	// headersWithin is how long a connection may take until a request has begun.
	headersWithin = 5 * time.Second
	idleWithin    = 90 * time.Second
	endsWithin    = time.Minute
)

// portServer serves as controller-runtime's server does, which has no bounds on connections and takes a MiB of headers of each
// request. It leaves to that one to register handlers, which counts what they do.
type portServer struct {
	webhook.Server

	options webhook.Options
	serving atomic.Bool
}

func newPortServer(o webhook.Options) *portServer {
	o.WebhookMux = http.NewServeMux()
	return &portServer{Server: webhook.NewServer(o), options: o}
}

// Start serves until the context ends, and until what is under way then is answered.
func (s *portServer) Start(ctx context.Context) error {
	config, err := s.tls(ctx)
	if err != nil {
		return err
	}
	listener, err := (&net.ListenConfig{}).Listen(ctx, "tcp", net.JoinHostPort(s.options.Host, strconv.Itoa(cmp.Or(s.options.Port, webhook.DefaultPort))))
	if err != nil {
		return err
	}
	logOf(ctx).Info("Serving the webhook", "address", listener.Addr().String())
	return s.serve(ctx, tls.NewListener(&boundedListener{Listener: listener}, config))
}

func (s *portServer) serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler: s.options.WebhookMux, BaseContext: func(net.Listener) context.Context { return ctx },
		MaxHeaderBytes: maxHeaders, ReadHeaderTimeout: headersWithin, IdleTimeout: idleWithin,
		HTTP2:    &http.HTTP2Config{MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: maxWindow, MaxReceiveBufferPerStream: maxWindow},
		ErrorLog: log.New(trouble{logOf(ctx)}, "", 0),
	}
	ended := make(chan struct{})
	context.AfterFunc(ctx, func() {
		defer close(ended)
		bounded, cancel := context.WithTimeout(context.WithoutCancel(ctx), endsWithin)
		defer cancel()
		if err := server.Shutdown(bounded); err != nil {
			logOf(ctx).Error(err, "The webhook's server does not end")
		}
	})
	s.serving.Store(true)
	defer s.serving.Store(false)
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	<-ended
	return nil
}

// tls reads the certificate, anew whenever it is replaced.
func (s *portServer) tls(ctx context.Context) (*tls.Config, error) {
	config := &tls.Config{NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	for _, change := range s.options.TLSOpts {
		change(config)
	}
	watcher, err := certwatcher.New(filepath.Join(s.options.CertDir, corev1.TLSCertKey), filepath.Join(s.options.CertDir, corev1.TLSPrivateKeyKey))
	if err != nil {
		return nil, err
	}
	config.GetCertificate = watcher.GetCertificate
	go func() {
		if err := watcher.Start(ctx); err != nil {
			logOf(ctx).Error(err, "The webhook's certificate is not looked at any more")
		}
	}()
	return config, nil
}

// StartedChecker returns a check that fails until the port is open. It opens no connection: others may have all.
func (s *portServer) StartedChecker() healthz.Checker {
	return func(*http.Request) error {
		if !s.serving.Load() {
			return errNotYet
		}
		return nil
	}
}

var errNotYet = errors.New("the webhook's server does not listen yet")

// trouble logs what is wrong with connections, which anybody may open, where details are asked for.
type trouble struct{ logr.Logger }

func (t trouble) Write(line []byte) (int, error) {
	t.V(1).Info("Trouble with a connection to the webhook", "error", string(line))
	return len(line), nil
}

// boundedListener closes connections beyond maxConnections.
type boundedListener struct {
	net.Listener

	open atomic.Int64
}

// Accept returns the next connection that there is room for.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if l.open.Add(1) <= maxConnections {
			return &boundedConn{conn, sync.OnceFunc(func() { l.open.Add(-1) })}, nil
		}
		l.open.Add(-1)
		_ = conn.Close()
	}
}

type boundedConn struct {
	net.Conn

	leave func()
}

func (c *boundedConn) Close() error {
	c.leave()
	return c.Conn.Close()
}
