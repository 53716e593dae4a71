package amqp_test

import (
	"bytes"
	"io"
	"net"
	"testing"
	"time"

	simulated "github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// endOfWait is when a server that should have answered or ended hangs.
const endOfWait = 20 * time.Second

// frame is one of a conversation that no client would have.
func frame(descriptor uint64, fields ...any) []byte {
	return wire.AppendFrame(nil, 0, wire.FrameAMQP, descriptor, fields...)
}

// hello is the beginning of all connections, as far as a session.
func hello() []byte {
	b := []byte(wire.HeaderSASL)
	b = wire.AppendFrame(b, 0, wire.FrameSASL, wire.SASLInit, wire.Symbol("ANONYMOUS"))
	b = append(b, wire.HeaderAMQP...)
	b = append(b, frame(wire.Open, "peer", "localhost", uint32(65536))...)
	return append(b, frame(wire.Begin, nil, uint32(0), uint32(100), uint32(100))...)
}

// logIn puts a token for the event hub.
func logIn() []byte {
	b := attachSender(0, "$cbs")
	b = append(b, attachReceiver(1, "$cbs")...)
	request := wire.List(nil, wire.SectionProperties, "request", nil, nil, nil, "cbs")
	request = wire.AppendSection(request, wire.SectionApplication, wire.Map{"operation", "put-token", "type", "jwt", "name", "amqp://localhost/" + hubName})
	return append(b, transfer(0, wire.AppendSection(request, wire.SectionValue, "token"))...)
}

func attachSender(handle uint32, address string) []byte {
	return frame(wire.Attach, "sender", handle, false, nil, nil, wire.Described{Descriptor: uint64(0x28), Value: []any{}},
		wire.Described{Descriptor: uint64(0x29), Value: []any{address}}, nil, nil, uint32(0))
}

// attachReceiver has the properties of an attach behind the fields that are not used.
func attachReceiver(handle uint32, address string, properties ...any) []byte {
	fields := []any{
		"receiver", handle, true, uint8(1), nil, wire.Described{Descriptor: uint64(0x28), Value: []any{address}},
		wire.Described{Descriptor: uint64(0x29), Value: []any{"cbs"}}, nil, nil, nil, nil, nil, nil,
	}
	return frame(wire.Attach, append(fields, wire.Map(properties))...)
}

func credit(handle, n uint32) []byte {
	return frame(wire.Flow, uint32(0), uint32(100), uint32(0), uint32(100), handle, uint32(0), n)
}

func transfer(handle uint32, message []byte) []byte {
	return wire.AppendTransfer(nil, wire.TransferHead{Handle: handle, First: true}, message)
}

func partitionAddress(id string) string {
	return hubName + "/ConsumerGroups/" + group + "/Partitions/" + id
}

func anyToken(o *simulated.Options) { o.VerifyJWT = anyJWT }

// peer is a connection of which we choose every byte.
type peer struct {
	net.Conn
	ended  chan struct{} // the server has
	answer chan []byte
}

func newPeer(t *testing.T, server *simulated.Server) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	p := &peer{Conn: ours, ended: make(chan struct{}), answer: make(chan []byte, 1)}
	t.Cleanup(func() { _ = ours.Close() })
	go func() { defer close(p.ended); server.ServeConn(theirs) }()
	go func() { b, _ := io.ReadAll(ours); p.answer <- b }()
	must(t, ours.SetWriteDeadline(time.Now().Add(endOfWait)))
	return p
}

// say sends bytes until the server has had enough.
func (p *peer) say(parts ...[]byte) {
	for _, part := range parts {
		if _, err := p.Write(part); err != nil {
			return
		}
	}
}

// end waits until the server has ended, and returns all that it answered.
func (p *peer) end(t *testing.T) []byte {
	t.Helper()
	select {
	case <-p.ended:
	case <-time.After(endOfWait):
		t.Fatalf("the server has not ended after %v", endOfWait)
	}
	return <-p.answer
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestAHandleThatIsUsedAgainLeavesNoReaderBehind(t *testing.T) {
	s := newSite(t, anyToken)
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	p := newPeer(t, s.server)
	p.say(hello(), logIn(),
		attachReceiver(2, partitionAddress("0"), wire.Symbol("com.microsoft:epoch"), int64(7)), credit(2, 10),
		attachReceiver(2, partitionAddress("1")), credit(2, 10), frame(wire.Close))
	if answer := p.end(t); !bytes.Contains(answer, []byte("amqp:session:handle-in-use")) {
		t.Errorf("the session was not ended for it: %q", answer)
	}
	if left := s.server.Receivers(); len(left) > 0 {
		t.Errorf("left: %+v", left)
	}
	receive(t, partition(t, s.consumer(t, group), "0", earliestOptions), 1) // not refused for that epoch
}

func TestAPeerThatNeitherSpeaksNorReadsIsCut(t *testing.T) {
	s := newSite(t, anyToken, func(o *simulated.Options) { o.IdleTimeout = 50 * time.Millisecond })
	ours, theirs := net.Pipe()
	defer ours.Close()
	ended := make(chan struct{})
	go func() { defer close(ended); s.server.ServeConn(theirs) }()
	go func() { // reads the handshake only: what follows waits in the pipe, which has no room
		_, _ = io.ReadFull(ours, make([]byte, 8))
	}()
	if _, err := ours.Write([]byte(wire.HeaderAMQP)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-ended:
	case <-time.After(endOfWait):
		t.Fatalf("still served after %v", endOfWait)
	}
}

// FuzzServerBytes: whatever a peer sends, the server neither panics nor hangs, and forgets it.
func FuzzServerBytes(f *testing.F) {
	for _, sent := range [][]byte{
		nil, []byte("GET / HTTP/1.1\r\n\r\n"), []byte(wire.HeaderAMQP), append([]byte(wire.HeaderSASL), wire.KeepAlive...), hello(),
		attachReceiver(2, partitionAddress("0")), append(attachReceiver(2, partitionAddress("1"), wire.Symbol("com.microsoft:epoch"), int64(1)), credit(2, 5)...),
		append(attachSender(2, hubName), transfer(2, wire.AppendSection(nil, wire.SectionData, []byte("x")))...),
		append(attachSender(2, "$management"), transfer(2, wire.AppendSection(nil, wire.SectionApplication, wire.Map{"operation", "READ"}))...),
		frame(wire.Detach, uint32(1), true), frame(wire.End), frame(wire.Close), frame(wire.Flow, nil, uint32(0)), frame(wire.Disposition, true),
	} {
		for stage := range uint8(3) {
			f.Add(stage, sent)
		}
	}
	f.Fuzz(func(t *testing.T, stage uint8, sent []byte) {
		log := eventhub.New(eventhub.Options{Name: hubName, Partitions: 2, Groups: []string{group}})
		log.Append(0, eventhub.Message{Body: make([]byte, 100_000)})
		s := simulated.New(simulated.Options{Log: log, VerifyJWT: anyJWT})
		before := [][]byte{hello(), logIn()}[:stage%3]
		p := newPeer(t, s)
		p.say(append(before, sent)...)
		must(t, p.Close())
		p.end(t)
		if left := s.Receivers(); len(left) > 0 {
			t.Errorf("left: %+v", left)
		}
		must(t, s.Close())
	})
}
