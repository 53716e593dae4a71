package amqp_test

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/coder/websocket"

	simulated "github.com/pnp-operator/pnp-operator/simulator/amqp"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

func TestReadersComeBackWithoutLossAfter(t *testing.T) {
	for name, breakIt := range map[string]func(*simulated.Server){
		"a connection that is cut":      func(s *simulated.Server) { s.Cut() },
		"a connection that is closed":   func(s *simulated.Server) { s.ForceClose("amqp:connection:forced", "maintenance") },
		"a frame that breaks off":       func(s *simulated.Server) { s.Truncate() },
		"a link that is detached":       func(s *simulated.Server) { s.Detach("com.microsoft:server-busy", "busy") },
		"a link that is detached twice": func(s *simulated.Server) { s.Detach("amqp:internal-error", "x"); s.Detach("amqp:internal-error", "x") },
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			client := s.consumer(t, group, func(o *azeventhubs.ConsumerClientOptions) {
				o.RetryOptions = azeventhubs.RetryOptions{MaxRetries: 5, RetryDelay: time.Millisecond}
			})
			p := partition(t, client, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
			next := 0
			for round := range 4 {
				for i := range 50 {
					s.log.Append(0, eventhub.Message{Body: fmt.Appendf(nil, "%d", round*50+i)})
				}
				for next < (round+1)*50 {
					e := receive(t, p, 1)[0]
					if string(e.Body) != fmt.Sprint(next) {
						t.Fatalf("event %d is %s", next, e.Body)
					}
					next++
				}
				breakIt(s.server)
			}
		})
	}
}

func TestAStalledPartitionHoldsItsEventsBackAndGoesOn(t *testing.T) {
	s := newSite(t)
	s.server.Stall("0")
	for i := range 2 {
		s.log.Append(i, eventhub.Message{Body: []byte("x")})
	}
	c := s.consumer(t, group)
	receive(t, partition(t, c, "1", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 1)
	p := partition(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
	ctx, cancel := context.WithTimeout(t.Context(), 300*time.Millisecond)
	defer cancel()
	if events, err := p.ReceiveEvents(ctx, 1, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("a stalled partition sent %d events, %v", len(events), err)
	}
	s.server.Release()
	receive(t, p, 1)
}

func TestOverWebSocket(t *testing.T) {
	s := newSite(t)
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	web := httptest.NewServer(s.server.WebSocketHandler())
	defer web.Close()
	c := s.consumer(t, group, func(o *azeventhubs.ConsumerClientOptions) {
		o.NewWebSocketConn = func(ctx context.Context, args azeventhubs.WebSocketConnParams) (net.Conn, error) {
			_, path, _ := strings.Cut(strings.TrimPrefix(args.Host, "wss://"), "/")
			ws, _, err := websocket.Dial(ctx, web.URL+"/"+path, &websocket.DialOptions{Subprotocols: []string{"AMQPWSB10"}})
			if err != nil {
				return nil, err
			}
			ws.SetReadLimit(-1)
			return websocket.NetConn(context.WithoutCancel(ctx), ws, websocket.MessageBinary), nil
		}
	})
	receive(t, partition(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 1)
}

func TestEntraTokensAreCheckedByWhoeverCan(t *testing.T) {
	s := newSite(t, func(o *simulated.Options) {
		o.VerifyJWT = func(token string) (auth.Right, time.Time, error) {
			switch token {
			case "good":
				return auth.Listen, time.Now().Add(time.Hour), nil
			case "for senders":
				return auth.Send, time.Now().Add(time.Hour), nil
			case "old":
				return auth.Listen, time.Now().Add(-time.Second), nil
			}
			return 0, time.Time{}, errors.New("no")
		}
	})
	s.log.Append(0, eventhub.Message{Body: []byte("x")})
	web := httptest.NewServer(s.server.WebSocketHandler())
	defer web.Close()
	for token, want := range map[string]string{"good": "", "bad": "unauthorized", "for senders": "unauthorized", "old": "unauthorized"} {
		c, err := azeventhubs.NewConsumerClient("ns.servicebus.windows.net", hubName, group, credential{token}, &azeventhubs.ConsumerClientOptions{
			RetryOptions: azeventhubs.RetryOptions{MaxRetries: -1},
			NewWebSocketConn: func(context.Context, azeventhubs.WebSocketConnParams) (net.Conn, error) {
				client, server := net.Pipe()
				go s.server.ServeConn(server)
				return client, nil
			},
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { closing(c) })
		p := partition(t, c, "0", azeventhubs.PartitionClientOptions{StartPosition: earliest})
		if want == "" {
			receive(t, p, 1)
			continue
		}
		if got := codeOf(failure(t, p)); got != want {
			t.Errorf("token %q: %s", token, got)
		}
	}
}

func TestWhatAProducerSendsArrives(t *testing.T) {
	s := newSite(t)
	producer, err := azeventhubs.NewProducerClientFromConnectionString(s.connectionString("iothubowner"), "", nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { closing(producer) })
	batch, err := producer.NewEventDataBatch(t.Context(), &azeventhubs.EventDataBatchOptions{PartitionID: new("1")})
	if err != nil {
		t.Fatal(err)
	}
	for _, body := range []string{"a", "b"} {
		if err := batch.AddEventData(&azeventhubs.EventData{Body: []byte(body), Properties: map[string]any{"k": "v"}}, nil); err != nil {
			t.Fatal(err)
		}
	}
	if err := producer.SendEventDataBatch(t.Context(), batch, nil); err != nil {
		t.Fatal(err)
	}
	got := receive(t, partition(t, s.consumer(t, group), "1", azeventhubs.PartitionClientOptions{StartPosition: earliest}), 2)
	if string(got[0].Body)+string(got[1].Body) != "ab" || got[1].Properties["k"] != "v" {
		t.Errorf("got %s, %s, %v", got[0].Body, got[1].Body, got[1].Properties)
	}
}
