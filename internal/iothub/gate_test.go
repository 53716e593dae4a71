package iothub

import (
	"context"
	"errors"
	"net/http"
	"sync"
	"testing"
)

// turnstile counts, and closes with an error.
type turnstile struct {
	mu       sync.Mutex
	closed   error
	entered  []Operation
	left     []Operation
	sent     int // bytes
	asked    int // bytes, as it is told afterwards
	answered int // bytes
	failed   *Error
}

func (g *turnstile) Enter(_ context.Context, op Operation, bytes int) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		return g.closed
	}
	g.entered, g.sent = append(g.entered, op), bytes
	return nil
}

func (g *turnstile) Leave(_ context.Context, op Operation, e Exchange) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.left, g.answered, g.failed = append(g.left, op), e.Answered, e.Failure
	g.asked = e.Asked
}

func gated(g Gate) func(*Options) { return func(o *Options) { o.Gate = g } }

func TestEveryRequestPassesTheGateOnce(t *testing.T) {
	for op, call := range calls {
		for name, reply := range map[string]http.HandlerFunc{
			"answered":   goodAnswers[op],
			"refused":    answer(429, `{"Message":"ErrorCode:ThrottlingException;slower"}`),
			"cut off":    written(whole(`{"a":1}`)[:20], true),
			"unreadable": answer(200, `<html>`),
		} {
			t.Run(op.String()+" "+name, func(t *testing.T) {
				p, g := newPeer(t, reply), &turnstile{}
				err := call(t.Context(), p.client(t, gated(g)))
				if len(p.log()) != 1 || len(g.entered) != 1 || len(g.left) != 1 || g.entered[0] != op || g.left[0] != op {
					t.Errorf("%d requests, entered %v, left %v", len(p.log()), g.entered, g.left)
				}
				if (err == nil) != (g.failed == nil) {
					t.Errorf("the call: %v, the gate was told: %v", err, g.failed)
				}
				if sent := len(p.log()[0].body); g.sent != sent || g.asked != sent {
					t.Errorf("the gate was told of %d bytes, and of %d afterwards, %d were sent", g.sent, g.asked, sent)
				}
			})
		}
	}
}

func TestTheGateIsToldOfTheAnswersSize(t *testing.T) {
	const body = `[{"deviceId":"a"},{"deviceId":"b"}]`
	p, g := newPeer(t, answer(200, body)), &turnstile{}
	if _, err := p.client(t, gated(g)).Query(t.Context(), Query{SQL: "SELECT deviceId FROM devices"}); err != nil {
		t.Fatal(err)
	}
	if g.answered != len(body) {
		t.Errorf("told %d bytes, expected %d", g.answered, len(body))
	}
}

func TestAClosedGateSendsNothingAndKeepsItsError(t *testing.T) {
	for op, call := range calls {
		t.Run(op.String(), func(t *testing.T) {
			p, g := newPeer(t, goodAnswers[op]), &turnstile{closed: errors.New("later")}
			err := call(t.Context(), p.client(t, gated(g)))
			if !errors.Is(err, g.closed) || len(p.log()) != 0 || len(g.left) != 0 {
				t.Errorf("%v after %d requests, left %v", err, len(p.log()), g.left)
			}
			if ClassOf(err) != Transient || IsThrottled(err) {
				t.Errorf("the gate's error counts as the hub's: %s", ClassOf(err))
			}
		})
	}
}
