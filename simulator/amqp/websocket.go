package amqp

import (
	"context"
	"net"
	"net/http"

	"github.com/coder/websocket"
)

// WebSocketPath is where Event Hubs offers AMQP over WebSocket.
const WebSocketPath = "/$servicebus/websocket"

// subprotocols: the first is that of "AMQP WebSocket Binding (WSB) Version 1.0"; Microsoft's own examples for Go ask for the
// second.
var subprotocols = []string{"AMQPWSB10", "amqp"}

// WebSocketHandler serves AMQP over WebSocket.
func (s *Server) WebSocketHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(WebSocketPath, func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: subprotocols})
		if err != nil {
			return // Accept has answered
		}
		ws.SetReadLimit(-1) // frames have their own limit
		stream := websocket.NetConn(context.WithoutCancel(r.Context()), ws, websocket.MessageBinary)
		s.ServeConn(webConn{stream, ws, peer(r.RemoteAddr)})
	})
	return mux
}

// webConn is a WebSocket that can be cut, and that knows where it comes from.
type webConn struct {
	net.Conn

	ws   *websocket.Conn
	peer peer
}

func (c webConn) Close() error         { return c.ws.CloseNow() }
func (c webConn) RemoteAddr() net.Addr { return c.peer }

// peer is an address as net/http tells it.
type peer string

func (p peer) Network() string { return "tcp" }
func (p peer) String() string  { return string(p) }
