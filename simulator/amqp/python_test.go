package amqp_test

import (
	"encoding/base64"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

// A partition, and how Python's clients and the Azure CLI address it.
const (
	receiverPath = hubName + "/ConsumerGroups/$default/Partitions/0"
	receiverURL  = "amqps://ns.servicebus.windows.net/" + receiverPath
)

// attachTo attaches a receiver to a node.
func (p *rawPeer) attachTo(address, filter string) wire.Performative {
	p.t.Helper()
	source := wire.Described{Descriptor: uint64(0x28), Value: []any{address, nil, nil, nil, nil, nil, nil, wire.Map{
		wire.Symbol("apache.org:selector-filter:string"),
		wire.Described{Descriptor: wire.Symbol("apache.org:selector-filter:string"), Value: filter},
	}}}
	p.send(wire.Attach, "r", uint32(0), true, uint8(1), nil, source, wire.Described{Descriptor: uint64(0x29), Value: []any{address}})
	return p.expect(wire.Attach)
}

func TestPerformativesHaveAllTheirFields(t *testing.T) {
	s := newSite(t, entra)
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	p := s.dial(t, 0)
	p.authorize()
	sizes := map[string]int{"attach": len(p.attachTo(receiverPath, fromStart).Fields)}
	p.credit(0, 10)
	sizes["transfer"] = len(p.expect(wire.Transfer).Fields)
	p.send(wire.Flow, uint32(0), uint32(5000), uint32(0), uint32(5000), uint32(0), uint32(0), uint32(10), nil, nil, true)
	sizes["flow"] = len(p.expect(wire.Flow).Fields)
	s.server.Steal()
	detach := p.expect(wire.Detach)
	sizes["detach"], sizes["error"] = len(detach.Fields), len(detach.Composite(2).Fields)
	p.send(wire.End)
	sizes["end"] = len(p.expect(wire.End).Fields)
	p.send(wire.Close)
	sizes["close"] = len(p.expect(wire.Close).Fields)
	want := map[string]int{"attach": 14, "transfer": 11, "flow": 11, "detach": 3, "error": 3, "end": 1, "close": 1}
	if diff := cmp.Diff(want, sizes); diff != "" {
		t.Errorf("fields (-want +got):\n%s", diff)
	}
}

func TestAnAttachHasProperties(t *testing.T) {
	s := newSite(t, entra)
	p := s.dial(t, 0)
	p.authorize()
	if properties, ok := p.attachTo(receiverPath, fromStart).At(13).(wire.Map); !ok || len(properties) > 0 {
		t.Errorf("properties %v, want an empty map", properties)
	}
}

func TestNodesMayBeAddressedByURL(t *testing.T) {
	const path = hubName + "/ConsumerGroups/" + group + "/Partitions/0"
	for _, address := range []string{
		path, "/" + path + "/", receiverURL, "amqps://ns:5671/" + path, "AMQPS://NS/" + path, "sb://ns/" + path + "/", "amqp://u:p@ns/" + path,
	} {
		t.Run(address, func(t *testing.T) {
			s := newSite(t, entra)
			p := s.dial(t, 0)
			p.authorize()
			if p.attachTo(address, fromStart).At(5) == nil {
				t.Errorf("refused: %v", p.expect(wire.Detach).Composite(2).Fields)
			}
		})
	}
}

func TestAURLOfSomethingElseIsNotFound(t *testing.T) {
	s := newSite(t, entra)
	p := s.dial(t, 0)
	p.authorize()
	p.attachTo("amqps://ns/"+hubName+"/ConsumerGroups/nobody/Partitions/0", fromStart)
	if got := p.expect(wire.Detach).Composite(2).Text(0); got != "amqp:not-found" {
		t.Errorf("refused with %s", got)
	}
}

func TestASendingClientMayAddressAURL(t *testing.T) {
	s := newSite(t, entra)
	p := s.dial(t, 0)
	p.authorize()
	p.send(wire.Attach, "s", uint32(0), false, uint8(1), nil, nil, wire.Described{Descriptor: uint64(0x29), Value: []any{"amqps://ns/" + hubName + "/Partitions/1"}})
	p.expect(wire.Attach)
	p.expect(wire.Flow)
	p.write(wire.AppendTransfer(nil, wire.TransferHead{First: true, Settled: true}, wire.AppendSection(nil, wire.SectionData, []byte("x"))))
	eventually(t, "the message", func() bool { return s.log.Partition("1").Has(0) })
}

// putToken logs in with a token, and returns the status of the answer.
func (p *rawPeer) putToken(kind, token string) any {
	p.t.Helper()
	p.attachTokens()
	message := wire.List(nil, wire.SectionProperties, "1")
	message = wire.AppendSection(message, wire.SectionApplication, wire.Map{"name", "sb://ns/" + hubName, "operation", "put-token", "type", kind})
	p.write(wire.AppendTransfer(nil, wire.TransferHead{Handle: 8, First: true, Settled: true}, wire.AppendSection(message, wire.SectionValue, token)))
	_ = p.net.SetReadDeadline(time.Now().Add(2 * time.Second))
	f, err := wire.ReadFrame(p.net, 1<<20)
	if err != nil {
		p.t.Fatal(err)
	}
	_, payload, err := wire.ParsePerformative(f.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	sections, err := wire.ParseSections(payload)
	if err != nil {
		p.t.Fatal(err)
	}
	return sections[1].Value.(wire.Map).Get("status-code")
}

// sas is a token of the policy service for the event hub, whose key is taken as text.
func (s *site) sas(t *testing.T) string {
	t.Helper()
	policy, _ := s.policies.Get("service")
	token, err := auth.Sign("sb://ns/"+hubName, "service", base64.StdEncoding.EncodeToString([]byte(policy.Key)), time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestTheKindOfATokenShowsInTheToken(t *testing.T) {
	s := newSite(t, entra)
	for name, c := range map[string]struct {
		kind, token string
		want        int32
	}{
		"a signature": {"servicebus.windows.net:sastoken", s.sas(t), 202},
		"a signature with the type of the other kind":          {"jwt", s.sas(t), 202},
		"a signature with a type that nobody knows":            {"sas", s.sas(t), 202},
		"a wrong signature with the type of the other kind":    {"jwt", s.sas(t) + "x", 401},
		"a token of Microsoft Entra ID":                        {"jwt", "eyJ.e30.x", 202},
		"a token of Microsoft Entra ID said to be a signature": {"servicebus.windows.net:sastoken", "eyJ.e30.x", 401},
	} {
		t.Run(name, func(t *testing.T) {
			if got := s.dial(t, 0).putToken(c.kind, c.token); got != c.want {
				t.Errorf("answered %v, want %d", got, c.want)
			}
		})
	}
}

func TestTheEnqueuedTimeHasTwoSpellings(t *testing.T) {
	now := time.UnixMilli(1_700_000_000_000).UTC()
	log := eventhub.New(eventhub.Options{Name: hubName, Partitions: 2, Groups: []string{group}, Clock: func() time.Time { return now }, Retention: 1 << 60})
	for range 3 {
		log.Append(0, eventhub.Message{Body: []byte("x")})
		now = now.Add(time.Second)
	}
	for filter, want := range map[string]int64{
		"amqp.annotation.x-opt-enqueued-time > '1700000000000'":   1,
		"amqp.annotation.x-opt-enqueuedtimeutc > 1700000000000":   1,
		"amqp.annotation.x-opt-enqueuedtimeutc >= 1700000000000":  0,
		"amqp.annotation.x-opt-enqueuedtimeutc > '1700000001000'": 2,
		"amqp.annotation.x-opt-enqueued-time>1699999999999":       0,
		"amqp.annotation.x-opt-sequence-number > 1":               2,
		"amqp.annotation.x-opt-offset > -1":                       0,
	} {
		t.Run(filter, func(t *testing.T) {
			s := newSite(t, entra, withLog(log))
			p := s.dial(t, 0)
			p.authorize()
			if p.attachTo(receiverPath, filter).At(5) == nil {
				t.Fatalf("refused: %v", p.expect(wire.Detach).Composite(2).Fields)
			}
			if got := s.server.Receivers()[0].Next; got != want {
				t.Errorf("starts at %d, want %d", got, want)
			}
		})
	}
}

func TestTheEndpointOfTheHubRedirects(t *testing.T) {
	const host = "factory.azure-devices.net"
	s := newSite(t, func(o *amqp.Options) { o.HubHostName, o.Namespace = host, "ns.servicebus.windows.net" })
	policy, _ := s.policies.Get("service")
	token, err := auth.Sign(host, "service", policy.Key, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct{ mechanism, password, want string }{
		"a token of the hub":    {"PLAIN", token, "amqp:link:redirect"},
		"a token of the events": {"PLAIN", s.sas(t), "amqp:unauthorized-access"},
		"no login":              {"ANONYMOUS", token, "amqp:unauthorized-access"},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.login(t, c.mechanism, "\x00service@sas.root.factory\x00"+c.password)
			if p.attachTo("amqps://"+host+"/messages/events/$management", "").At(5) != nil {
				t.Error("it has a source")
			}
			got := p.expect(wire.Detach).Composite(2)
			if got.Text(0) != c.want {
				t.Fatalf("detached with %v", got.Fields)
			}
			want := wire.Map{
				wire.Symbol("hostname"), "ns.servicebus.windows.net", wire.Symbol("network-host"), "ns.servicebus.windows.net", wire.Symbol("port"), uint32(5671),
				wire.Symbol("address"), "amqps://ns.servicebus.windows.net/" + hubName,
			}
			if diff := cmp.Diff(want, got.Map(2)); c.want == "amqp:link:redirect" && diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}
