package command

import (
	"testing"
	"time"
)

func TestAReadEndsARest(t *testing.T) {
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	connected, disconnected := Facts{Connected: true, Enabled: true}, Facts{Enabled: true}
	for name, c := range map[string]struct {
		awaits      Awaited
		hearsEvents bool
		seen        Facts
		asked, now  time.Duration // since the attempt ended
		want        time.Duration
	}{
		"offline, and nothing was read":           {AwaitsConnection, false, Facts{}, -time.Hour, 10 * s, 50 * s},
		"offline, and read as connected":          {AwaitsConnection, false, connected, 10 * s, 10 * s, SettleFor},
		"offline, and read so a while ago":        {AwaitsConnection, false, connected, 10 * s, 20 * s, 0},
		"offline, and read so before the attempt": {AwaitsConnection, false, connected, -s, 10 * s, 50 * s},
		"offline, and read as disconnected":       {AwaitsConnection, false, disconnected, 10 * s, 20 * s, 40 * s},
		"offline, and events tell":                {AwaitsConnection, true, connected, 10 * s, 20 * s, 40 * s},
		"disabled, and read as enabled":           {AwaitsEnabling, true, disconnected, 10 * s, 20 * s, 0},
		"disabled, and read as that":              {AwaitsEnabling, true, Facts{}, 10 * s, 20 * s, 40 * s},
		"unknown, and read":                       {AwaitsIdentity, true, Facts{}, 10 * s, 20 * s, 0},
		"refused for now, and read":               {AwaitsNothing, false, connected, 10 * s, 20 * s, 40 * s},
		"nearly over, and read":                   {AwaitsConnection, false, connected, 59 * s, 59 * s, s},
	} {
		c.seen.Asked, c.seen.HearsEvents = began.Add(c.asked), c.hearsEvents
		r := Rest{Awaits: c.awaits, Began: began, Until: began.Add(time.Minute)}
		if got := r.Left(c.seen, began.Add(c.now)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestARestGoesOnWhileEventsMayTellOfTheAttempt(t *testing.T) {
	now := time.Now()
	for name, c := range map[string]struct {
		rest  Rest
		facts Facts
		want  time.Duration
	}{
		"its time is over":                      {Rest{Until: now}, Facts{}, 0},
		"its time is over, and events may tell": {Rest{Until: now}, Facts{MayTell: true}, RestMost},
		"its time is not over":                  {Rest{Until: now.Add(s)}, Facts{MayTell: true}, s},
		"the device is back":                    {Rest{Until: now.Add(s), Over: true}, Facts{MayTell: true}, 0},
	} {
		if got := c.rest.Left(c.facts, now); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

func TestHowLongACommandRests(t *testing.T) {
	now := time.Now()
	for awaits, want := range map[Awaited]time.Duration{
		AwaitsConnection: RestOffline, AwaitsEnabling: RestAbsent, AwaitsIdentity: RestAbsent, AwaitsNothing: RestLeast,
	} {
		r := Rest{Awaits: awaits, At: first}
		r.begin(nil, now)
		if got := r.Until.Sub(now); got != want || !r.Began.Equal(now) || (r.At == first) != (awaits != AwaitsNothing) {
			t.Errorf("%d: %s at %v", awaits, got, r.At)
		}
	}
}

// Requests that the hub goes on to refuse are made less and less often, and a new incident begins
// anew.
func TestARefusedCommandRestsForAsLongAsItWasRefused(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var before *rest
	for i, want := range []time.Duration{2 * s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s} {
		is := &rest{}
		is.begin(before, now)
		if got := is.Until.Sub(now); got != want {
			t.Fatalf("rest %d is %s, want %s", i, got, want)
		}
		before, now = is, is.Until
	}
	after := now.Add(time.Hour)
	if since := before.refusedSince(after); !since.Equal(after) {
		t.Errorf("refused since %s, an hour after that had ended", since)
	}
}
