package amqp_test

import (
	"bytes"
	"errors"
	"io"
	"net"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// rawPeer is a client that need not behave. Its handles and channels are 0.
type rawPeer struct {
	t     *testing.T
	net   net.Conn
	ended chan struct{} // ServeConn has returned
}

func (s *site) dial(t *testing.T, idle time.Duration) *rawPeer {
	t.Helper()
	p := s.pipe(t)
	p.begin(idle)
	return p
}

// login dials with a mechanism of SASL.
func (s *site) login(t *testing.T, mechanism, response string) *rawPeer {
	t.Helper()
	p := s.pipe(t)
	p.write([]byte(wire.HeaderSASL))
	p.header()
	p.expect(wire.SASLMechanisms)
	p.write(wire.AppendFrame(nil, 0, wire.FrameSASL, wire.SASLInit, wire.Symbol(mechanism), []byte(response)))
	p.expect(wire.SASLOutcome)
	p.begin(0)
	return p
}

func (s *site) pipe(t *testing.T) *rawPeer {
	t.Helper()
	client, server := net.Pipe()
	p := &rawPeer{t, client, make(chan struct{})}
	go func() { defer close(p.ended); s.server.ServeConn(server) }()
	t.Cleanup(func() { _ = client.Close() })
	return p
}

func (p *rawPeer) header() {
	p.t.Helper()
	if _, err := io.ReadFull(p.net, make([]byte, 8)); err != nil {
		p.t.Fatal(err)
	}
}

// begin opens the connection and a session.
func (p *rawPeer) begin(idle time.Duration) {
	p.t.Helper()
	p.write([]byte(wire.HeaderAMQP))
	p.header()
	p.send(wire.Open, "peer", nil, uint32(65536), uint16(10), uint32(idle.Milliseconds()))
	p.expect(wire.Open)
	p.send(wire.Begin, nil, uint32(0), uint32(5000), uint32(5000))
	p.expect(wire.Begin)
}

func (p *rawPeer) write(b []byte) {
	_ = p.net.SetWriteDeadline(time.Now().Add(2 * time.Second))
	_, _ = p.net.Write(b)
}

func (p *rawPeer) send(descriptor uint64, fields ...any) {
	p.write(wire.AppendFrame(nil, 0, wire.FrameAMQP, descriptor, fields...))
}

// read returns false if nothing comes for a while.
func (p *rawPeer) read(within time.Duration) (wire.Performative, bool) {
	p.t.Helper()
	_ = p.net.SetReadDeadline(time.Now().Add(within))
	f, err := wire.ReadFrame(p.net, 1<<20)
	if err != nil {
		return wire.Performative{}, false
	}
	if len(f.Body) == 0 {
		return wire.Performative{}, true
	}
	performative, _, err := wire.ParsePerformative(f.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return performative, true
}

func (p *rawPeer) expect(descriptor uint64) wire.Performative {
	p.t.Helper()
	got, ok := p.read(2 * time.Second)
	if !ok || got.Descriptor != descriptor {
		p.t.Fatalf("got %#x, %v; want %#x", got.Descriptor, ok, descriptor)
	}
	return got
}

// attachTokens opens the links, 8 to and 9 from the node that takes tokens.
func (p *rawPeer) attachTokens() {
	p.t.Helper()
	cbs := wire.Described{Descriptor: uint64(0x28), Value: []any{"$cbs"}}
	p.send(wire.Attach, "to", uint32(8), false, uint8(1), nil, nil, wire.Described{Descriptor: uint64(0x29), Value: []any{"$cbs"}})
	p.expect(wire.Attach)
	p.expect(wire.Flow)
	p.send(wire.Attach, "from", uint32(9), true, uint8(1), nil, cbs, nil)
	p.expect(wire.Attach)
	p.send(wire.Flow, uint32(0), uint32(5000), uint32(0), uint32(5000), uint32(9), uint32(0), uint32(10))
}

// authorize puts a token of Microsoft Entra ID.
func (p *rawPeer) authorize() {
	p.t.Helper()
	p.attachTokens()
	message := wire.List(nil, wire.SectionProperties, "1", nil, nil, nil, "from")
	message = wire.AppendSection(message, wire.SectionApplication, wire.Map{"operation", "put-token", "type", "jwt", "name", "sb://ns/" + hubName})
	message = wire.AppendSection(message, wire.SectionValue, "any")
	p.write(wire.AppendTransfer(nil, wire.TransferHead{Handle: 8, First: true, Settled: true}, message))
	p.expect(wire.Transfer)
}

func (p *rawPeer) attach(filter string) {
	source := wire.Described{Descriptor: uint64(0x28), Value: []any{
		hubName + "/ConsumerGroups/" + group + "/Partitions/0", nil, nil, nil, nil, nil, nil,
		wire.Map{wire.Symbol("apache.org:selector-filter:string"), wire.Described{Descriptor: uint64(0x468C00000004), Value: filter}},
	}}
	p.send(wire.Attach, "r", uint32(0), true, uint8(1), nil, source, nil)
}

// credit is granted as of a delivery count.
func (p *rawPeer) credit(count, credit uint32) {
	p.send(wire.Flow, uint32(0), uint32(5000), uint32(0), uint32(5000), uint32(0), count, credit)
}

func entra(o *amqp.Options) { o.VerifyJWT = anyJWT }

const fromStart = "amqp.annotation.x-opt-offset > '-1'"

func TestAKeepAliveIsSentHoweverOftenTheConnectionWakes(t *testing.T) {
	s := newSite(t, entra)
	p := s.dial(t, 300*time.Millisecond)
	stop := make(chan struct{})
	defer close(stop)
	go func() {
		for {
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
				p.send(wire.Flow, uint32(0), uint32(5000), uint32(0), uint32(5000))
			}
		}
	}()
	if _, ok := p.read(500 * time.Millisecond); !ok {
		t.Error("silence for longer than the peer bears")
	}
}

func TestAHandleInUseEndsTheSessionAndItsReceiver(t *testing.T) {
	s := newSite(t, entra)
	p := s.dial(t, 0)
	p.authorize()
	p.attach(fromStart)
	p.expect(wire.Attach)
	p.attach(fromStart)
	p.expect(wire.End)
	eventually(t, "the receivers to be gone", func() bool { return len(s.server.Receivers()) == 0 })
}

func TestAPeerThatNeitherReadsNorWritesIsGivenUp(t *testing.T) {
	s := newSite(t, entra, func(o *amqp.Options) { o.IdleTimeout = 200 * time.Millisecond })
	s.log.Append(0, eventhub.Message{Body: bytes.Repeat([]byte{1}, 1<<20)})
	p := s.dial(t, 0)
	p.authorize()
	p.attach(fromStart)
	p.expect(wire.Attach)
	p.credit(0, 10) // and never reads on
	select {
	case <-p.ended:
	case <-time.After(3 * time.Second):
		t.Error("the connection is still served")
	}
}

func TestCreditThatWasUsedIsNotCreditAgain(t *testing.T) {
	s := newSite(t, entra)
	for range 50 {
		s.log.Append(0, eventhub.Message{Body: []byte("x")})
	}
	p := s.dial(t, 0)
	p.authorize()
	p.attach(fromStart)
	p.expect(wire.Attach)
	p.credit(0, 10)
	for range 10 {
		p.expect(wire.Transfer)
	}
	p.credit(0, 5) // said before the ten were seen
	if got, ok := p.read(100 * time.Millisecond); ok && got.Descriptor == wire.Transfer {
		t.Error("an event without credit")
	}
}

func TestPositionsThatWereNeverReachedAreRefused(t *testing.T) {
	for name, filter := range map[string]string{
		"an offset":                  "amqp.annotation.x-opt-offset > '500'",
		"a sequence number":          "amqp.annotation.x-opt-sequence-number > '500'",
		"an offset that is a phrase": "amqp.annotation.x-opt-offset > 'no offset'",
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t, entra)
			s.log.Append(0, eventhub.Message{Body: []byte("x")})
			p := s.dial(t, 0)
			p.authorize()
			p.attach(filter)
			if p.expect(wire.Attach).At(5) != nil {
				t.Error("it has a source")
			}
			got := p.expect(wire.Detach).Composite(2)
			if got.Text(0) != "com.microsoft:argument-error" {
				t.Errorf("refused with %v", got.Fields)
			}
		})
	}
}

func TestReadersOfAnEventHubThatIsMadeAnewAreTold(t *testing.T) {
	s := newSite(t, entra)
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	p := s.dial(t, 0)
	p.authorize()
	p.attach(fromStart)
	p.expect(wire.Attach)
	p.credit(0, 10)
	p.expect(wire.Transfer)
	s.log.Recreate()
	p.expect(wire.Detach)
}

func TestAServerClosesAfterItsListenerDid(t *testing.T) {
	s := amqp.New(amqp.Options{Log: eventhub.New(eventhub.Options{Name: hubName})})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	served := make(chan error)
	go func() { served <- s.Serve(l) }()
	_ = l.Close()
	if err := <-served; !errors.Is(err, net.ErrClosed) {
		t.Error(err)
	}
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}
