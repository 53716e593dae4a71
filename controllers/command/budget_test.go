package command

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// A command takes its token before it is claimed.
func TestACommandThatIsNotSentGivesItsTokenBack(t *testing.T) {
	failing := func(err *iothub.Error) func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
		return func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error) {
			return iothub.CommandAnswer{}, err
		}
	}
	refused := &iothub.Error{Code: iothub.CodeConnection, Err: errors.New("refused")}
	for name, c := range map[string]struct {
		invoke func(context.Context, iothub.Invocation) (iothub.CommandAnswer, error)
		late   bool
		want   int64 // messages
	}{
		"held up after its claim": {done, true, 0},
		"no connection":           {failing(refused), false, 0},
		"throttled":               {failing(&iothub.Error{StatusCode: 429, Sent: true}), false, 1},
		"answered":                {done, false, 1},
	} {
		synctest.Test(t, func(t *testing.T) {
			a := newAirport(t, c.invoke)
			a.flight.session.Budget = budget.New(time.Now, budget.S1)
			if _, ok := a.flight.session.TakeForCommand(a.flight.key.String(), payloadOf(a.flight.command)); !ok {
				t.Fatal("there is no token")
			}
			if c.late {
				a.flight.claimed = time.Time{}
			}
			a.start(a.flight)
			a.Registry.Wait()
			if got := a.flight.session.Budget.Stats().DailyMessages; got != c.want {
				t.Errorf("%s: %d messages, expected %d", name, got, c.want)
			}
		})
	}
}
