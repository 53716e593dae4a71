package methods

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

// device answers after a while, or never if that is negative.
type device struct {
	after time.Duration
	got   []Invocation
}

func (d *device) Invoke(ctx context.Context, i Invocation) (Answer, error) {
	d.got = append(d.got, i)
	var due <-chan time.Time
	if d.after >= 0 {
		due = time.After(d.after)
	}
	select {
	case <-due:
		return Answer{Status: 207, Payload: i.Payload}, nil
	case <-ctx.Done():
		return Answer{}, ctx.Err()
	}
}

func TestInvoke(t *testing.T) {
	tests := map[string]struct {
		attachAfter time.Duration // negative: never
		answerAfter time.Duration
		within      Timeouts
		err         error
		elapsed     time.Duration
		delivered   int
	}{
		"at once":                            {0, 0, Timeouts{0, 30 * time.Second}, nil, 0, 1},
		"offline":                            {-1, 0, Timeouts{0, 30 * time.Second}, NotOnlineError{0}, 0, 0},
		"offline for all the connect time":   {-1, 0, Timeouts{10 * time.Second, 30 * time.Second}, NotOnlineError{10 * time.Second}, 10 * time.Second, 0},
		"online within the connect time":     {4 * time.Second, time.Second, Timeouts{10 * time.Second, 30 * time.Second}, nil, 5 * time.Second, 1},
		"no answer":                          {0, -1, Timeouts{0, 30 * time.Second}, TimeoutError{30 * time.Second}, 30 * time.Second, 1},
		"the time to connect is part of all": {4 * time.Second, -1, Timeouts{10 * time.Second, 12 * time.Second}, TimeoutError{12 * time.Second}, 12 * time.Second, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				e, d, start := New(), &device{after: test.answerAfter}, time.Now()
				defer e.Close()
				if test.attachAfter == 0 {
					e.Attach("dev1", d)
				} else if test.attachAfter > 0 {
					time.AfterFunc(test.attachAfter, func() { e.Attach("dev1", d) })
				}
				a, err := e.Invoke("dev1", Invocation{Name: "reboot", Payload: []byte(`1`)}, test.within)
				if !errors.Is(err, test.err) || time.Since(start) != test.elapsed || len(d.got) != test.delivered {
					t.Errorf("%v after %s, delivered %v", err, time.Since(start), d.got)
				}
				if err == nil && (a.Status != 207 || string(a.Payload) != "1") {
					t.Errorf("answered %+v", a)
				}
			})
		})
	}
}

func TestALaterAttachmentReplacesAnEarlierOne(t *testing.T) {
	e, first, second := New(), &device{}, &device{}
	detachFirst := e.Attach("dev1", first)
	detachSecond := e.Attach("dev1", second)
	detachFirst() // comes late: the second stays
	if _, err := e.Invoke("dev1", Invocation{}, Timeouts{0, time.Minute}); err != nil || len(second.got) != 1 {
		t.Errorf("%v, %d", err, len(second.got))
	}
	detachSecond()
	if _, err := e.Invoke("dev1", Invocation{}, Timeouts{0, time.Minute}); !errors.Is(err, NotOnlineError{}) {
		t.Error(err)
	}
}

func TestCloseEndsWaiting(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		e := New()
		e.Attach("online", &device{after: -1})
		done := make(chan error, 2)
		for _, id := range []string{"online", "offline"} {
			go func() {
				_, err := e.Invoke(id, Invocation{}, Timeouts{time.Minute, time.Minute})
				done <- err
			}()
		}
		synctest.Wait()
		e.Close()
		for range 2 {
			if err := <-done; !errors.Is(err, context.Canceled) {
				t.Error(err)
			}
		}
	})
}
