package main

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

// expectation is something that has to become true in time.
type expectation struct {
	what     string // in the words of the report
	expected string
	within   time.Duration
	// look returns what it found and whether that is it. An error counts as something found.
	look func(context.Context) (got string, ok bool, err error)
}

// expect polls until the expectation is met.
func (d *demo) expect(ctx context.Context, e expectation) error {
	const pause = 200 * time.Millisecond
	began := time.Now()
	for {
		got, ok, err := e.look(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if ok && err == nil {
			d.out.passf("%s: %s", e.what, got)
			return nil
		}
		if err != nil {
			got = err.Error()
		}
		if time.Since(began) > e.within {
			return miss{e.what, e.expected, fmt.Sprintf("%s, after %s", got, e.within)}
		}
		time.Sleep(pause)
	}
}

// poll looks closely until it is done, fails, or the time is up: then late is the error.
func poll(ctx context.Context, within time.Duration, late func() error, look func(context.Context) (done bool, err error)) error {
	return pollEvery(ctx, 5*time.Millisecond, within, late, look)
}

// pollEvery is poll for what costs more to look at.
func pollEvery(ctx context.Context, pause, within time.Duration, late func() error, look func(context.Context) (done bool, err error)) error {
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

// check is an expectation that holds now or not at all.
func (d *demo) check(what, expected, got string, ok bool) error {
	if !ok {
		return miss{what, expected, got}
	}
	d.out.passf("%s: %s", what, got)
	return nil
}

// missing lists the parts that text does not contain.
func missing(text string, parts ...string) []string {
	var absent []string
	for _, part := range parts {
		if !strings.Contains(text, part) {
			absent = append(absent, part)
		}
	}
	return absent
}
