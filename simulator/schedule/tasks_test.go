package schedule

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestTasksComeByTimeAndThenByArrival(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var tasks Tasks
		now, order := time.Now(), ""
		for _, one := range []struct {
			name string
			in   time.Duration
		}{{"c", 2 * time.Second}, {"a", time.Second}, {"d", 2 * time.Second}, {"b", time.Second}} {
			tasks.At(now.Add(one.in), func() { order += one.name })
		}
		if run, wait := tasks.Next(); run != nil || wait != time.Second {
			t.Fatalf("a task, or a wait of %v, expected one second", wait)
		}
		for run, wait := tasks.Next(); run != nil || wait > 0; run, wait = tasks.Next() {
			if run == nil {
				time.Sleep(wait)
				continue
			}
			run()
		}
		if order != "abcd" {
			t.Errorf("ran %s, expected abcd", order)
		}
	})
}
