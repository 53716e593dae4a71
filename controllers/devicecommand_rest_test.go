package controllers

import (
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
)

func TestAReadEndsARest(t *testing.T) {
	const s = time.Second
	began := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	connected, disconnected := hubs.Sighting{Connected: true, Enabled: true}, hubs.Sighting{Enabled: true}
	for name, c := range map[string]struct {
		awaits      command.Awaited
		hearsEvents bool
		seen        hubs.Sighting
		asked, now  time.Duration // since the attempt ended
		want        time.Duration
	}{
		"offline, and nothing was read":           {command.AwaitsConnection, false, hubs.Sighting{}, -time.Hour, 10 * s, 50 * s},
		"offline, and read as connected":          {command.AwaitsConnection, false, connected, 10 * s, 10 * s, settleFor},
		"offline, and read so a while ago":        {command.AwaitsConnection, false, connected, 10 * s, 20 * s, 0},
		"offline, and read so before the attempt": {command.AwaitsConnection, false, connected, -s, 10 * s, 50 * s},
		"offline, and read as disconnected":       {command.AwaitsConnection, false, disconnected, 10 * s, 20 * s, 40 * s},
		"offline, and events tell":                {command.AwaitsConnection, true, connected, 10 * s, 20 * s, 40 * s},
		"disabled, and read as enabled":           {command.AwaitsEnabling, true, disconnected, 10 * s, 20 * s, 0},
		"disabled, and read as that":              {command.AwaitsEnabling, true, hubs.Sighting{}, 10 * s, 20 * s, 40 * s},
		"unknown, and read":                       {command.AwaitsIdentity, true, hubs.Sighting{}, 10 * s, 20 * s, 0},
		"refused for now, and read":               {command.AwaitsNothing, false, connected, 10 * s, 20 * s, 40 * s},
		"nearly over, and read":                   {command.AwaitsConnection, false, connected, 59 * s, 59 * s, s},
	} {
		session := hubs.NewSession(nil, "h", "")
		session.HasStream = c.hearsEvents
		c.seen.Asked = began.Add(c.asked)
		r := rest{awaits: c.awaits, began: began, until: began.Add(time.Minute)}
		if got := r.left(&v1alpha1.DeviceCommandStatus{}, session, c.seen, began.Add(c.now)); got != c.want {
			t.Errorf("%s: %s, want %s", name, got, c.want)
		}
	}
}

// Requests that the hub goes on to refuse are made less and less often, and a new incident begins anew.
func TestARefusedCommandRestsForAsLongAsItWasRefused(t *testing.T) {
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	var r rest
	var rests []time.Duration
	for range 7 {
		r.refused = r.refusedSince(now)
		length := waitRefused.after(now.Sub(r.refused))
		rests, r.until = append(rests, length), now.Add(length)
		now = r.until
	}
	const s = time.Second
	want := []time.Duration{2 * s, 2 * s, 4 * s, 8 * s, 16 * s, 30 * s, 30 * s}
	for i := range want {
		if rests[i] != want[i] {
			t.Fatalf("rests of %v, want %v", rests, want)
		}
	}
	if since := r.refusedSince(now.Add(time.Hour)); !since.Equal(now.Add(time.Hour)) {
		t.Errorf("refused since %s, an hour after that had ended", since)
	}
}
