package main

import (
	"context"
	"time"
)

// everySecond does something that often a second, for that many seconds, at even distances. What comes late is made up for.
func everySecond(ctx context.Context, times, seconds int, do func(n int) error) error {
	began := time.Now()
	for n := range times * seconds {
		due := began.Add(time.Duration(n) * time.Second / time.Duration(times))
		if !pause(ctx, time.Until(due)) {
			return context.Cause(ctx)
		}
		if err := do(n); err != nil {
			return err
		}
	}
	return nil
}
