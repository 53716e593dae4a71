package eventstream_test

import (
	"encoding/binary"
	"io"
	"net"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// tooMuch is what an impostor may not get through on one connection, in bytes: frames and what buffers of both sides hold beside them stay far below.
const tooMuch = 64 << 20

// loggedIn is what a peer says up to the point where sessions begin.
func loggedIn() string {
	b := wire.AppendFrame([]byte(wire.HeaderSASL), 0, wire.FrameSASL, wire.SASLMechanisms, []wire.Symbol{"ANONYMOUS"})
	b = wire.AppendFrame(b, 0, wire.FrameSASL, wire.SASLOutcome, uint8(0))
	b = append(b, wire.HeaderAMQP...)
	return string(wire.AppendFrame(b, 0, 0, wire.Open, "impostor", nil, uint32(1<<20)))
}

// nestedLists is a frame with lists within lists, each of one element.
func nestedLists(depth int) string {
	const head = 9 // a list32: its code, size and count
	var body []byte
	for left := depth; left > 0; left-- {
		var h [head]byte
		h[0] = 0xd0
		binary.BigEndian.PutUint32(h[1:], uint32(4+(left-1)*head+1))
		binary.BigEndian.PutUint32(h[5:], 1)
		body = append(body, h[:]...)
	}
	frame := append([]byte{0, 0, 0, 0, 2, 0, 0, 0, 0x00, 0x53, wire.Begin}, append(body, 0x40)...)
	binary.BigEndian.PutUint32(frame, uint32(len(frame)))
	return string(frame)
}

// impostor sends a text to whoever connects, and then a part again and again until nobody reads any more.
type impostor struct {
	text, part  string
	hangsUp     bool
	connections atomic.Int32
	most        atomic.Int64 // bytes of a connection beyond the text
}

func (i *impostor) serve(t *testing.T) (address string) {
	t.Helper()
	return accepting(t, func(conn net.Conn) {
		i.connections.Add(1)
		go i.speak(conn)
	})
}

func (i *impostor) speak(conn net.Conn) {
	defer func() { _ = conn.Close() }()
	go func() { _, _ = io.Copy(io.Discard, conn) }()
	_, err := io.WriteString(conn, i.text)
	var sent int64
	for err == nil && i.part != "" && sent < tooMuch {
		var n int
		n, err = io.WriteString(conn, i.part)
		sent += int64(n)
	}
	if !i.hangsUp && i.part == "" {
		_, _ = io.Copy(io.Discard, conn) // until the other side hangs up
	}
	for old := i.most.Load(); sent > old && !i.most.CompareAndSwap(old, sent); old = i.most.Load() {
	}
}

// An event hub that is none may say anything: the stream does not read, takes no more than a few frames, tries again where the connection ended, and ends
// when it is told to.
func TestWhatAnImpostorOfAnEventHubSaysIsBounded(t *testing.T) {
	begins := strings.Repeat(string(wire.AppendFrame(nil, 0, 0, wire.Begin, nil, uint32(0), uint32(1), uint32(1))), 1000)
	for name, test := range map[string]struct {
		*impostor
		tries int32 // how often it is connected to at least
	}{
		"nothing":                           {&impostor{}, 1},
		"an end at once":                    {&impostor{hangsUp: true}, 2},
		"no AMQP":                           {&impostor{text: "HTTP/1.1 400 Bad Request\r\n\r\n", hangsUp: true}, 2},
		"noise without an end":              {&impostor{part: strings.Repeat("\xff\x00AMQP noise", 1000)}, 2},
		"a frame of 4 GB":                   {&impostor{text: wire.HeaderSASL + "\xff\xff\xff\xff\x02\x01\x00\x00", part: strings.Repeat("\x00", 1<<16)}, 2},
		"a frame of 4 GB after the login":   {&impostor{text: loggedIn() + "\xff\xff\xff\xff\x02\x00\x00\x00", part: strings.Repeat("\x00", 1<<16)}, 2},
		"a frame that is shorter than none": {&impostor{text: loggedIn() + "\x00\x00\x00\x01\x02\x00\x00\x00", hangsUp: true}, 2},
		"sessions that nobody began":        {&impostor{text: loggedIn(), part: begins}, 2},
		"keep-alives without an end":        {&impostor{text: loggedIn(), part: strings.Repeat(string(wire.KeepAlive), 1000)}, 1},
		"lists within lists":                {&impostor{text: loggedIn() + nestedLists(5000), hangsUp: true}, 2},
	} {
		t.Run(name, func(t *testing.T) {
			i := test.impostor
			s := newSite(t)
			s.address = i.serve(t)
			w := s.stream(t, &store{})
			eventually(t, "connections", func() bool { return i.connections.Load() >= test.tries })
			stopped := make(chan struct{})
			go func() { defer close(stopped); w.stop() }()
			select {
			case <-stopped:
			case <-time.After(20 * time.Second):
				t.Fatal("it does not end")
			}
			if w.sink.has(eventstream.Reading) || w.sink.handled() > 0 {
				t.Error("it was read")
			}
			if name != "keep-alives without an end" && i.most.Load() >= tooMuch {
				t.Errorf("%d bytes were read on one connection", i.most.Load())
			}
		})
	}
}
