package iothub

import (
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestAnswersAreBounded(t *testing.T) {
	all := []Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpPatchDigitalTwin, OpQuery, OpInvokeCommand, OpInvokeMethod}
	for name, c := range map[string]struct {
		ops    []Operation
		answer http.HandlerFunc
		code   string
	}{
		"a byte more than 8 MiB":         {all, answer(200, `["`+strings.Repeat("x", maxResponseBody-3)+`"]`), CodeTooLarge},
		"a twin of nothing but numbers":  {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin}, answer(200, strings.Replace(twinBody, `"a":1`, `"a":[0`+strings.Repeat(",0", maxValues)+`]`, 1)), CodeTooLarge},
		"more rows than the hub has":     {[]Operation{OpQuery}, answer(200, "[{}"+strings.Repeat(",{}", maxItems)+"]"), CodeInvalidResponse},
		"rows that are nothing but rows": {[]Operation{OpQuery}, answer(200, "[0"+strings.Repeat(",0", 1<<20)+"]"), CodeTooLarge},
		"two pages in one":               {[]Operation{OpQuery}, answer(200, "[][]"), CodeInvalidResponse},
	} {
		for _, op := range c.ops {
			t.Run(op.String()+" "+name, func(t *testing.T) {
				err := calls[op](t.Context(), newPeer(t, c.answer).client(t))
				if err == nil {
					t.Fatal("no error")
				}
				if diff := cmp.Diff(failure{c.code, 0, Transient, ""}, failureOf(t, err)); diff != "" {
					t.Errorf("failure (-want +got):\n%s", diff)
				}
				if n := held.all; n != 0 {
					t.Errorf("%d bytes are counted after the call", n)
				}
			})
		}
	}
}

// What is held of large answers at a time is bounded, of all hubs and of each.
func TestAnswersHaveRoom(t *testing.T) {
	of := &atomic.Int64{}
	var answers []*room
	tenant := "a"
	read := func(ofHub *atomic.Int64, n int) error {
		r := &room{tenant: tenant, ofHub: ofHub}
		answers = append(answers, r)
		_, err := io.Copy(io.Discard, &limitedBody{ReadCloser: io.NopCloser(strings.NewReader(strings.Repeat("x", n))), left: maxResponseBody, room: r})
		return err
	}
	for range 2 {
		if err := read(of, maxResponseBody); err != nil {
			t.Fatal(err)
		}
	}
	if err := read(of, maxResponseBody); CodeOf(err) != CodeNoRoom {
		t.Errorf("a third large answer of one hub: %v", err)
	}
	if err := read(of, freeBytes); err != nil {
		t.Errorf("a small answer beside it: %v", err)
	}
	for n := 0; ; n++ {
		if err := read(&atomic.Int64{}, maxResponseBody); err != nil {
			break
		}
		if n > maxHeld/maxResponseBody/2 {
			t.Fatalf("%d bytes are held", held.all)
		}
	}
	if held.of["a"] > maxHeld/2+freeBytes { // with what was read when it was refused
		t.Errorf("a tenant holds %d bytes", held.of["a"])
	}
	tenant = "b"
	if err := read(&atomic.Int64{}, maxResponseBody); err != nil {
		t.Errorf("an answer of another tenant: %v", err)
	}
	tenant = "a"
	if err := read(of, freeBytes+1); CodeOf(err) != CodeNoRoom { // refused for both reasons
		t.Errorf("a large answer where there is no room: %v", err)
	}
	other := &atomic.Int64{}
	if err := read(other, 2*freeBytes); CodeOf(err) != CodeNoRoom {
		t.Errorf("one of a hub that holds nothing: %v", err)
	}
	for _, r := range answers {
		r.leave()
	}
	if n, ofHub, ofOther := held.all, of.Load(), other.Load(); n != 0 || len(held.of) != 0 || ofHub != 0 || ofOther != 0 {
		t.Errorf("%d, %d and %d bytes are counted after all is over", n, ofHub, ofOther)
	}
}

// Answers to commands that hubs never finish are counted over all hubs, although each of them is
// small.
func TestSmallAnswersToCommandsAreCounted(t *testing.T) {
	const hubs, commands, size = 4, 8, 60 << 10
	ended := make(chan struct{})
	var calling sync.WaitGroup
	for range hubs {
		p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.WriteString(w, `{"status":200,"payload":"`+strings.Repeat("x", size))
			_ = http.NewResponseController(w).Flush()
			<-ended
		})
		c := p.client(t)
		for range commands {
			calling.Go(func() {
				_, _ = c.InvokeMethod(t.Context(), Invocation{DeviceID: "d", Command: "c", Response: time.Minute})
			})
		}
	}
	counted := func() int64 {
		held.mu.Lock()
		defer held.mu.Unlock()
		return held.all
	}
	deadline := time.After(10 * time.Second)
	for counted() < hubs*commands*(size-freeOfCommand) && !t.Failed() {
		select {
		case <-deadline:
			t.Errorf("%d bytes of %d answers are counted", counted(), hubs*commands)
		case <-time.After(5 * time.Millisecond):
		}
	}
	close(ended)
	calling.Wait()
	if n := counted(); n != 0 {
		t.Errorf("%d bytes are counted after all is over", n)
	}
}

// An answer that status can hold is never refused, however much others hold.
func TestAnAnswerToACommandThatStatusHoldsHasRoom(t *testing.T) {
	var answers []*room
	read := func(n int) error {
		r := &room{tenant: "a", ofHub: &atomic.Int64{}, isOfCommand: true}
		answers = append(answers, r)
		return r.take(n)
	}
	for read(freeBytes) == nil {
		if len(answers) > maxHeld/(freeBytes-freeOfCommand) {
			t.Fatalf("%d answers are held", len(answers))
		}
	}
	if err := read(freeOfCommand); err != nil {
		t.Error(err)
	}
	for _, r := range answers {
		r.leave()
	}
}
