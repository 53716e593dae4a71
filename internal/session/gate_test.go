package session

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func newGate(l budget.Limits) (*Gate, *int) {
	changes := 0
	return &Gate{Budget: budget.New(time.Now, l.Or(budget.S1)), Owner: "ns/hub", Changed: func() { changes++ }}, &changes
}

func TestTheGateTakesForTheCaller(t *testing.T) {
	g, _ := newGate(budget.Limits{TwinReadsPerSecond: 1})
	edit := with(t.Context(), budget.Caller{Key: "ns/device", Priority: budget.PriorityEdit})
	if err := g.Enter(edit, iothub.OpGetTwin, 0); err != nil {
		t.Fatal(err)
	}
	full, ok := errors.AsType[*budget.WaitError](g.Enter(edit, iothub.OpGetTwin, 0))
	if !ok || full.For <= 0 {
		t.Errorf("the second read within a second was told %v", full)
	}
	if err := g.Enter(with(t.Context(), budget.Caller{Paid: true}), iothub.OpGetTwin, 0); err != nil {
		t.Errorf("what was paid for has to wait: %v", err)
	}
	if got := g.Budget.Stats().Classes[budget.TwinRead].Waiting[budget.PriorityEdit]; got != 1 {
		t.Errorf("%d edits wait, expected 1", got)
	}
}

func TestTheGateTellsTheBudgetHowTheHubAnswers(t *testing.T) {
	refusal := func(status, number int) *iothub.Error {
		return &iothub.Error{StatusCode: status, Number: number, Sent: true}
	}
	for name, c := range map[string]struct {
		failure *iothub.Error
		want    budget.Trouble
	}{
		"success":                       {nil, budget.NoTrouble},
		"throttled":                     {refusal(429, 429001), budget.HubThrottles},
		"a code of 429 nobody knows":    {refusal(429, 429999), budget.HubThrottles},
		"busy":                          {refusal(503, 503005), budget.HubThrottles},
		"the quota, once":               {refusal(403, 403002), budget.NoTrouble},
		"another 403":                   {refusal(403, 403010), budget.NoTrouble},
		"an answer that did not arrive": {&iothub.Error{StatusCode: 429, Sent: true, Err: errors.New("cut off")}, budget.NoTrouble},
	} {
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(12 * time.Hour) // a bubble begins at midnight
			g, changes := newGate(budget.Limits{})
			g.Leave(t.Context(), iothub.OpGetTwin, iothub.Exchange{Began: time.Now(), Answered: 5 * budget.BlockBytes, Failure: c.failure})
			trouble, _ := g.Budget.Trouble()
			if trouble != c.want || (*changes == 1) != (c.want != budget.NoTrouble) {
				t.Errorf("%s: trouble %d, told %d times, expected %d", name, trouble, *changes, c.want)
			}
			if got := g.Budget.Stats().DailyMessages; got != 4 { // the first block is the request's
				t.Errorf("%s: %d messages, expected 4", name, got)
			}
		})
	}
}

func TestTheGateTellsTheBudgetThatAQuotaIsUsedUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(12 * time.Hour)
		g, changes := newGate(budget.Limits{})
		for range 2 {
			g.Leave(t.Context(), iothub.OpGetTwin, iothub.Exchange{Began: time.Now(), Failure: &iothub.Error{StatusCode: 403, Number: 403002, Sent: true}})
		}
		if trouble, _ := g.Budget.Trouble(); trouble != budget.HubQuota || *changes != 1 {
			t.Errorf("trouble %d, told %d times", trouble, *changes)
		}
	})
}

// What never reached the hub is none of its messages, and takes no token: after an outage of the
// network work goes on where it was.
func TestWhatIsNotSentCostsNothing(t *testing.T) {
	for name, c := range map[string]struct {
		failure *iothub.Error
		paid    bool
		want    int64 // messages
	}{
		"no connection":             {&iothub.Error{Code: iothub.CodeConnection, Err: errors.New("refused")}, false, 0},
		"no token of Entra ID":      {&iothub.Error{Code: iothub.CodeNoToken, Err: errors.New("no")}, false, 0},
		"the caller gave up before": {&iothub.Error{Code: iothub.CodeCanceled, Err: context.Canceled}, false, 0},
		"an answer that was cut":    {&iothub.Error{Code: iothub.CodeConnection, Sent: true, Err: errors.New("reset")}, false, 3},
		"an answer":                 {nil, false, 3},
		"what was paid for before":  {&iothub.Error{Code: iothub.CodeConnection, Err: errors.New("refused")}, true, 3}, // who paid takes it back
	} {
		t.Run(name, func(t *testing.T) {
			g, _ := newGate(budget.Limits{TwinWritesPerSecond: 1})
			ctx := with(t.Context(), budget.Caller{Key: "ns/device", Priority: budget.PriorityEdit})
			if err := g.Enter(ctx, iothub.OpPatchDigitalTwin, 2*budget.BlockBytes+1); err != nil {
				t.Fatal(err)
			}
			left := with(ctx, budget.Caller{Key: "ns/device", Priority: budget.PriorityEdit, Paid: c.paid})
			g.Leave(left, iothub.OpPatchDigitalTwin, iothub.Exchange{Began: time.Now(), Asked: 2*budget.BlockBytes + 1, Failure: c.failure})
			if got := g.Budget.Stats().DailyMessages; got != c.want {
				t.Errorf("%d messages, expected %d", got, c.want)
			}
			if err := g.Enter(ctx, iothub.OpPatchDigitalTwin, 1); (err == nil) != (c.want == 0) {
				t.Errorf("the next call: %v", err)
			}
		})
	}
}

func TestPatienceWaitsForATokenAndNothingElse(t *testing.T) {
	tries := 0
	err := patiently(t.Context(), func() error {
		if tries++; tries < 3 {
			return &budget.WaitError{Wait: budget.Wait{For: time.Millisecond}}
		}
		return errors.New("no")
	})
	if err == nil || err.Error() != "no" || tries != 3 {
		t.Errorf("%v after %d tries", err, tries)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	err = patiently(ctx, func() error { return &budget.WaitError{Wait: budget.Wait{For: time.Hour}} })
	if !errors.Is(err, context.Canceled) {
		t.Errorf("%v after the end", err)
	}
}

func TestACommandTakesItsTokenAndGivesItBack(t *testing.T) {
	s := NewSession(nil, "h", "")
	if _, ok := s.TakeForCommand("a", nil); !ok {
		t.Error("a session without a budget refuses commands")
	}
	g, _ := newGate(budget.Limits{CommandsPerSecond: 1})
	s.Budget = g.Budget
	for s.takes("a") { // a second's worth, and the share of commands
	}
	s.GiveBack("a", []byte("1"))
	if !s.takes("a") {
		t.Error("what was given back is gone")
	}
}

func (s *Session) takes(key string) bool {
	_, ok := s.TakeForCommand(key, []byte("1"))
	return ok
}

func TestOnlyWhatASweepDoubtsIsOnlySwept(t *testing.T) {
	event, sweep := Place{Partition: "0", SequenceNumber: 7}, Place{}
	for name, c := range map[string]struct {
		doubts func(*Device)
		want   bool
	}{
		"nothing":                          {func(*Device) {}, false},
		"a sweep":                          {func(d *Device) { d.Suspect(sweep) }, true},
		"an event":                         {func(d *Device) { d.Suspect(event) }, false},
		"a sweep and then an event":        {func(d *Device) { d.Suspect(sweep); d.Suspect(event) }, false},
		"an event and then a sweep":        {func(d *Device) { d.Suspect(event); d.Suspect(sweep) }, false},
		"a failed read":                    {func(d *Device) { d.Doubt() }, false},
		"a failed read of what was swept":  {func(d *Device) { d.Suspect(sweep); d.Doubt() }, true},
		"a sweep after the event was read": {func(d *Device) { d.Suspect(event); d.observe(&twin.Twin{}, d.beginRead()); d.Suspect(sweep) }, true},
		"a sweep that was read":            {func(d *Device) { d.Suspect(sweep); d.observe(&twin.Twin{}, d.beginRead()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			c.doubts(d)
			if got := d.OnlySwept(); got != c.want {
				t.Errorf("only swept: %v", got)
			}
		})
	}
}

func TestADeferredPassIsResumedOnceWhileItsReadHolds(t *testing.T) {
	read := func() *Device {
		d := &Device{}
		d.observe(&twin.Twin{Version: 2}, d.beginRead())
		d.Defer()
		return d
	}
	for name, c := range map[string]struct {
		then func(*Device)
		want bool
	}{
		"nothing happened":        {func(*Device) {}, true},
		"it was resumed before":   {func(d *Device) { d.Resume() }, false},
		"the twin is in doubt":    {func(d *Device) { d.Doubt() }, false},
		"status holds it already": {func(d *Device) { d.persisted(d.Unpersisted()) }, false},
	} {
		t.Run(name, func(t *testing.T) {
			d := read()
			c.then(d)
			if got := d.Resume(); got != c.want {
				t.Errorf("resumed: %v", got)
			}
		})
	}
}
