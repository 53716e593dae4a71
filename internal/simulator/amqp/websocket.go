package amqp

import (
	"context"
	"net/http"

	"github.com/coder/websocket"
)

// WebSocketPath is where Event Hubs offers AMQP over WebSocket.
const WebSocketPath = "/$servicebus/websocket"

// WebSocketHandler serves AMQP over WebSocket.
func (s *Server) WebSocketHandler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc(WebSocketPath, func(w http.ResponseWriter, r *http.Request) {
		ws, err := websocket.Accept(w, r, &websocket.AcceptOptions{Subprotocols: []string{"AMQPWSB10"}})
		if err != nil {
			return // Accept has answered
		}
		ws.SetReadLimit(-1) // frames have their own limit
		s.ServeConn(websocket.NetConn(context.WithoutCancel(r.Context()), ws, websocket.MessageBinary))
	})
	return mux
}
