package webhooks

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"log"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"

	"github.com/go-logr/logr"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/webhook"

	"github.com/pnp-operator/pnp-operator/internal/ports"
)

// An API server needs one connection, and its requests have some hundred bytes of headers.
const (
	maxConnections = 32
	// maxStreams are the requests under way over one connection.
	maxStreams = 8
	// maxWindow is what a connection may send ahead, in bytes.
	maxWindow = 64 << 10
)

// portServer serves as controller-runtime's server does, within bounds. It leaves to that one to
// register handlers, which counts what they do.
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
	address := net.JoinHostPort(s.options.Host, strconv.Itoa(cmp.Or(s.options.Port, webhook.DefaultPort)))
	listener, err := ports.Listen(ctx, address, maxConnections, ports.Refused)
	if err != nil {
		return err
	}
	server := ports.NewServer(ctx, "webhook", tls.NewListener(listener, config), s.options.WebhookMux)
	server.Server.HTTP2 = &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams, MaxReceiveBufferPerConnection: maxWindow, MaxReceiveBufferPerStream: maxWindow,
	}
	server.Server.ErrorLog = log.New(trouble{logOf(ctx)}, "", 0)
	s.serving.Store(true)
	defer s.serving.Store(false)
	return server.Start(ctx)
}

// tls reads the certificate, anew whenever it is replaced.
func (s *portServer) tls(ctx context.Context) (*tls.Config, error) {
	config := &tls.Config{NextProtos: []string{"h2", "http/1.1"}, MinVersion: tls.VersionTLS12}
	for _, change := range s.options.TLSOpts {
		change(config)
	}
	return config, ports.UseCertificate(ctx, config, s.options.CertDir, func(err error) {
		logOf(ctx).Error(err, "The webhook's certificate is not looked at any more")
	})
}

// StartedChecker returns a check that fails until the port is open. It opens no connection: others
// may have all.
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
