package main

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// check is one fact about a hub, and how it is played. It agrees if what play saw is what is expected, to the letter.
type check struct {
	id       string
	needs    needs
	fact     string
	expected string
	play     func(ctx context.Context, on *site) (seen string, err error)
}

// needs are what a fact cannot be played without.
type needs uint8

const (
	aDevice        needs = 1 << iota // one that connects, and so node
	someEvents                       // the event endpoint
	aConfiguration                   // leave to make a configuration
	theThrottle                      // leave to use up what the hub allows in a minute
)

// missing says why a fact is not played where some of what it needs is not there.
func (n needs) missing(allowed needs) string {
	for _, one := range []struct {
		what needs
		why  string
	}{
		{aDevice, "--service-only is given"},
		{someEvents, "needs EVENTS_CONNECTION_STRING_FILE"},
		{aConfiguration, "needs CONFIGURATION=1: it makes a configuration"},
		{theThrottle, "needs THROTTLE=1: it holds back the queries of others"},
	} {
		if n&one.what&^allowed != 0 {
			return one.why
		}
	}
	return ""
}

// allFacts are in the order in which they are played: what needs no connected device comes first.
func allFacts() []check {
	return slices.Concat(twinFacts, digitalTwinFacts, commandFacts, connectionFacts, deviceFacts, queryFacts, eventFacts, configurationFacts, throttleFacts)
}

func selected(all []check, pattern *regexp.Regexp) []check {
	return slices.DeleteFunc(all, func(c check) bool { return !pattern.MatchString(c.id) })
}

// verdict is what became of a fact.
type verdict string

const (
	agrees    verdict = "yes"
	differs   verdict = "NO"
	notPlayed verdict = "not played"
	failed    verdict = "failed"
)

// row is a fact that was played, or why it was not.
type row struct {
	check

	seen    string
	verdict verdict
	remark  string // what was measured, and is not compared
}

// skipped is an error that says why a fact could not be played, with nothing wrong.
type skipped struct{ why string }

func (s *skipped) Error() string { return s.why }

func skipf(format string, args ...any) error { return &skipped{fmt.Sprintf(format, args...)} }

// judge compares what was seen with what is expected.
func judge(c check, seen string, err error) row {
	var not *skipped
	switch {
	case errors.As(err, &not):
		return row{check: c, seen: not.why, verdict: notPlayed}
	case err != nil:
		return row{check: c, seen: err.Error(), verdict: failed}
	case seen == c.expected:
		return row{check: c, seen: seen, verdict: agrees}
	}
	return row{check: c, seen: seen, verdict: differs}
}

// playOne plays a fact unless something that it needs is not there.
func (s *site) playOne(ctx context.Context, c check) row {
	if why := c.needs.missing(s.allowed); why != "" {
		return judge(c, "", skipf("%s", why))
	}
	if ctx.Err() != nil {
		return judge(c, "", skipf("interrupted"))
	}
	s.remark = ""
	seen, err := c.play(ctx, s)
	r := judge(c, seen, err)
	r.remark = s.remark
	return r
}

// eventually asks until the answer is yes, at growing distances, for as long as there is patience.
func eventually(ctx context.Context, patience time.Duration, ask func() (bool, error)) (bool, error) {
	end := time.Now().Add(patience)
	for pause := 250 * time.Millisecond; ; pause = min(2*pause, max(15*time.Second, patience/14)) {
		yes, err := ask()
		if yes || err != nil || time.Now().After(end) {
			return yes, err
		}
		select {
		case <-ctx.Done():
			return false, context.Cause(ctx)
		case <-time.After(min(pause, time.Until(end)+time.Millisecond)):
		}
	}
}
