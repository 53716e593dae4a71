package session

import (
	"cmp"
	"context"
	"errors"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/places"
)

// Gate has every request of a hub client take a token from the hub's budget, on behalf of a caller, see As, and tells the budget how the hub answers.
// Before a worker waits for the hub it takes a place in the hub's share of them, for the rest of the pass.
type Gate struct {
	Budget *budget.Budget
	// Workers that may wait for hubs, nil: any may. Host and Tenant say whose share is taken.
	Workers      *places.Pool
	Host, Tenant string
	// Owner of the client: calls whose context names nobody wait under its name.
	Owner string
	// Changed is called when what Budget.Trouble says may have changed.
	Changed func()
	// Answered, if set, is told of each request of a class that succeeded, and on whose behalf.
	Answered func(class budget.Class, caller string)
}

var _ iothub.Gate = (*Gate)(nil)

// Enter takes the token. Its error is a *budget.WaitError.
func (g *Gate) Enter(ctx context.Context, op iothub.Operation, bytes int) error {
	caller := callerOf(ctx)
	if caller.Paid {
		return nil
	}
	if err := g.place(caller, op); err != nil {
		return err
	}
	if wait, ok := g.Budget.Take(g.request(ctx, op, bytes)); !ok {
		return &budget.WaitError{Wait: wait}
	}
	return nil
}

// A pass that waits for a place is called, and so it looks again only to say for how long it has
// waited, and in case that the call is lost.
const (
	firstLook = 30 * time.Second
	LaterLook = 10 * time.Minute
)

// place takes the place of a caller that is a worker's.
func (g *Gate) place(caller budget.Caller, op iothub.Operation) error {
	if g.Workers == nil || caller.Called == nil {
		return nil
	}
	who := places.Who{Host: g.Host, Tenant: g.Tenant, Key: caller.Key, Rank: int(caller.Priority)}
	waited, ok := g.Workers.Take(who, caller.Called)
	if ok {
		return nil
	}
	look := LaterLook
	if waited < firstLook {
		look = firstLook - waited
	}
	return &budget.WaitError{Wait: budget.Wait{Class: op.Class(), Why: budget.WhySlow, For: look, Lasts: waited}}
}

// request is that of whom the context names.
func (g *Gate) request(ctx context.Context, op iothub.Operation, bytes int) budget.Request {
	caller, r := callerOf(ctx), op.Request(bytes)
	r.Key, r.Priority = cmp.Or(caller.Key, g.Owner+" "+op.String()), caller.Priority
	return r
}

// Leave tells the budget. What was taken for a call that certainly did not reach the hub is given
// back, by the caller itself if it was paid for before.
func (g *Gate) Leave(ctx context.Context, op iothub.Operation, e iothub.Exchange) {
	if e.Failure != nil && !e.Failure.Sent && !callerOf(ctx).Paid {
		r := g.request(ctx, op, e.Asked)
		r.Taken = e.Began
		g.Budget.GiveBack(r)
	}
	o := budget.Outcome{Began: e.Began, Messages: budget.Blocks(e.Answered) - 1}
	switch {
	case e.Failure == nil:
	case iothub.IsQuotaExceeded(e.Failure):
		o.Result = budget.QuotaExceeded
	case iothub.IsThrottled(e.Failure):
		o.Result = budget.Throttled
	default:
		o.Result = budget.Failed
	}
	if g.Budget.Done(op.Class(), o) {
		g.Changed()
	}
	if e.Failure == nil && g.Answered != nil {
		g.Answered(op.Class(), callerOf(ctx).Key)
	}
}

// patiently makes a call that waits for its token: a sweep's, which is a goroutine of its own. No worker of a controller may wait.
func patiently(ctx context.Context, call func() error) error {
	for {
		err := call()
		full, ok := errors.AsType[*budget.WaitError](err)
		if !ok {
			return err
		}
		if !waitOr(ctx, full.For, full.Over) {
			return ctx.Err()
		}
	}
}

// commandRequest is what a command takes of the budget.
func commandRequest(key string, payload []byte) budget.Request {
	r := iothub.OpInvokeCommand.Request(len(payload))
	r.Key, r.Priority = key, budget.PriorityCommand
	return r
}

// TakeForCommand takes the token of a command's call before the command is claimed.
func (s *Session) TakeForCommand(key string, payload []byte) (budget.Wait, bool) {
	if s.Budget == nil {
		return budget.Wait{}, true
	}
	return s.Budget.Take(commandRequest(key, payload))
}

// GiveBack returns what TakeForCommand took: the call is not made.
func (s *Session) GiveBack(key string, payload []byte) {
	if s.Budget != nil {
		s.Budget.GiveBack(commandRequest(key, payload))
	}
}
