package eventstream

import (
	"context"
	"net"
	"net/http"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"
)

// maxHeaders is how many bytes of headers may come before the tunnel, which counts what it brings.
const maxHeaders = 64 << 10

// dialWebSocket opens the tunnel that Event Hubs offers on port 443 (subprotocol AMQPWSB10, binary frames). Redirects are
// not followed: a token goes to the host that was asked for, or nowhere.
func (c Config) dialWebSocket(ctx context.Context, args azeventhubs.WebSocketConnParams) (net.Conn, error) {
	tlsConfig, err := c.tls()
	if err != nil {
		return nil, err
	}
	tlsConfig.ServerName = c.Namespace
	transport := &http.Transport{TLSClientConfig: tlsConfig, Proxy: http.ProxyFromEnvironment, MaxResponseHeaderBytes: maxHeaders}
	defer transport.CloseIdleConnections() // the tunnel is none; one that was refused it would stay open
	if c.Endpoint != "" {
		transport.Proxy, transport.DialContext = nil, c.dial
	}
	conn, response, err := websocket.Dial(ctx, strings.Replace(args.Host, "wss://", "https://", 1), &websocket.DialOptions{
		Subprotocols: []string{"AMQPWSB10"},
		HTTPClient: &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse
		}},
	})
	if err != nil {
		return nil, err
	}
	if response.Body != nil {
		_ = response.Body.Close() // replaced by the tunnel
	}
	conn.SetReadLimit(-1) // AMQP frames have their own limit
	return websocket.NetConn(context.WithoutCancel(ctx), conn, websocket.MessageBinary), nil
}

// dial reaches the endpoint instead of the namespace.
func (c Config) dial(ctx context.Context, network, _ string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, c.Endpoint)
}
