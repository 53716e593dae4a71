package harness

import (
	"context"
	"fmt"
	"strings"
	"time"
)

// miss is an expectation that was not met.
type miss struct{ what, expected, got string }

func (m miss) Error() string {
	return fmt.Sprintf("%s\n          expected: %s\n          got:      %s", m.what, m.expected, m.got)
}

// Missed returns the error of an expectation that was not met.
func Missed(what, expected, got string) error { return miss{what, expected, got} }

// Expectation is something that has to become true in time.
type Expectation struct {
	What     string // in the words of the report
	Expected string
	Within   time.Duration
	// Look returns what it found and whether that is it. An error counts as something found.
	Look func(context.Context) (got string, ok bool, err error)
}

// Expect polls until the expectation is met.
func (d *Testbed) Expect(ctx context.Context, e Expectation) error {
	const pause = 200 * time.Millisecond
	began := time.Now()
	for {
		got, ok, err := e.Look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok && err == nil {
			d.Out.Passf("%s: %s", e.What, got)
			return nil
		}
		if err != nil {
			got = err.Error()
		}
		if time.Since(began) > e.Within {
			return miss{e.What, e.Expected, fmt.Sprintf("%s, after %s", got, e.Within)}
		}
		time.Sleep(pause)
	}
}

// Poll looks closely until it is done, fails, or the time is up: then late is the error.
func Poll(ctx context.Context, within time.Duration, late func() error, look func(context.Context) (done bool, err error)) error {
	return PollEvery(ctx, 5*time.Millisecond, within, late, look)
}

// PollEvery is poll for what costs more to look at.
func PollEvery(ctx context.Context, pause, within time.Duration, late func() error, look func(context.Context) (done bool, err error)) error {
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		if done, err := look(ctx); done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-limit.C:
			return late()
		case <-time.After(pause):
		}
	}
}

// Check is an expectation that holds now or not at all.
func (d *Testbed) Check(what, expected, got string, ok bool) error {
	if !ok {
		return miss{what, expected, got}
	}
	d.Out.Passf("%s: %s", what, got)
	return nil
}

// Lacking lists the parts that text does not contain.
func Lacking(text string, parts ...string) []string {
	var absent []string
	for _, part := range parts {
		if !strings.Contains(text, part) {
			absent = append(absent, part)
		}
	}
	return absent
}
