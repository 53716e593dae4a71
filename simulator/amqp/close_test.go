package amqp_test

import (
	"bytes"
	"io"
	"net"
	"net/http/httptest"
	"runtime"
	"strings"
	"testing"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

func TestCloseLeavesNoGoroutineBehind(t *testing.T) {
	s := newSite(t, anyToken)
	web := httptest.NewServer(s.server.WebSocketHandler())
	defer web.Close()
	s.log.Append(0, eventhub.Message{Body: make([]byte, 1<<20)})
	readers := map[string]func(t *testing.T){
		"one that reads":    func(t *testing.T) { receive(t, partition(t, s.consumer(t, group), "0", earliestOptions), 1) },
		"one that is stuck": func(t *testing.T) { stuck(t, s.server) },
		"one in its handshake": func(t *testing.T) {
			c, err := net.Dial("tcp", s.address)
			must(t, err)
			t.Cleanup(func() { _ = c.Close() })
		},
		"one over WebSocket that says nothing": func(t *testing.T) {
			c, _, err := websocket.Dial(t.Context(), web.URL+amqp.WebSocketPath, &websocket.DialOptions{Subprotocols: []string{"AMQPWSB10"}})
			must(t, err)
			t.Cleanup(func() { _ = c.CloseNow() })
		},
		"one that was evicted": func(t *testing.T) {
			for level := range int64(2) {
				receive(t, partition(t, s.consumer(t, "$Default"), "0", azeventhubs.PartitionClientOptions{StartPosition: earliest, OwnerLevel: &level}), 1)
			}
		},
	}
	for name, start := range readers {
		t.Log(name)
		start(t)
	}
	eventually(t, "all readers", func() bool { return strings.Count(ours(), "(*Server).ServeConn(") >= len(readers) })
	must(t, s.server.Close())
	eventually(t, "the last goroutine", func() bool { return ours() == "" })
	if c, err := net.Dial("tcp", s.address); err == nil {
		_ = c.Close()
		t.Error("it still listens")
	}
}

// stuck asks for events and does not read them.
func stuck(t *testing.T, server *amqp.Server) {
	t.Helper()
	peer, theirs := net.Pipe()
	t.Cleanup(func() { _ = peer.Close() })
	go server.ServeConn(theirs)
	go func() { _, _ = io.CopyN(io.Discard, peer, 500) }()
	for _, part := range [][]byte{hello(), logIn(), attachReceiver(2, partitionAddress("0")), credit(2, 10)} {
		_, err := peer.Write(part)
		must(t, err)
	}
}

// ours are the stacks of the package's goroutines.
func ours() string {
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	var found []string
	for stack := range bytes.SplitSeq(stacks, []byte("\n\n")) {
		if bytes.Contains(stack, []byte("simulator/amqp.")) && !bytes.Contains(stack, []byte("testing.tRunner")) {
			found = append(found, string(stack))
		}
	}
	return strings.Join(found, "\n\n")
}
