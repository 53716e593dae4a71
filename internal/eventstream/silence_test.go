package eventstream

import (
	"context"
	"testing"
	"time"
)

func TestASilentReceiverIsOpenedAnewAndThenTheConnection(t *testing.T) {
	type look struct {
		isBehind, moved, busy, refused, isNew bool
		reopens, lasts                        bool // what is expected
	}
	silent := look{isBehind: true}
	reopened, lasting := silent, silent
	reopened.reopens, lasting.lasts = true, true
	for name, looks := range map[string][]look{
		"one that has nothing to read":           {{}, {}},
		"one that is slow":                       {{isBehind: true, moved: true}, {isBehind: true, moved: true}},
		"one that handles an event":              {{isBehind: true, busy: true}, {isBehind: true, busy: true}},
		"one that is refused":                    {{isBehind: true, refused: true}, {isBehind: true, refused: true}},
		"one that was opened just now":           {{isBehind: true, isNew: true}, reopened},
		"one that a new receiver does not help":  {reopened, {isBehind: true, isNew: true}, lasting},
		"one that a new receiver helps":          {reopened, {isBehind: true, moved: true}, reopened},
		"one that has caught up in between":      {reopened, {}, reopened},
		"one whose new receiver handles, slowly": {reopened, {isBehind: true, busy: true}, lasting},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := &silence{}, time.Now()
			for i, l := range looks {
				r, receiving, leave := s.watch(context.Background(), "0")
				r.since = now.Add(-time.Minute)
				if l.isNew {
					r.since = now.Add(time.Second)
				}
				r.busy.Store(l.busy)
				if l.refused {
					leave()
				}
				lasts := s.judge("0", now, l.isBehind, l.moved)
				if reopens := errSilent == context.Cause(receiving); reopens != l.reopens || lasts != l.lasts { //nolint:errorlint // it is the cause itself
					t.Errorf("look %d: opened anew %v, lasts %v, expected %v, %v", i, reopens, lasts, l.reopens, l.lasts)
				}
				leave()
			}
		})
	}
}

func TestAPauseIsThatOfItsIncident(t *testing.T) {
	p := pauses{longest: 30 * time.Second}
	for i, try := range []struct{ lasted, want time.Duration }{
		{0, 500 * time.Millisecond}, {time.Second, time.Second}, {0, 2 * time.Second}, {0, 4 * time.Second}, {0, 8 * time.Second}, {0, 16 * time.Second},
		{0, 30 * time.Second}, {0, 30 * time.Second}, {Settled - time.Second, 30 * time.Second},
		{Settled, 500 * time.Millisecond}, {time.Second, time.Second},
	} {
		if got := p.next(try.lasted); got < try.want || got > try.want*12/10 {
			t.Errorf("pause %d, after %s: %s, expected %s and up to a fifth", i, try.lasted, got, try.want)
		}
	}
}
