package watch

import (
	"errors"
	"io"
	"net"
	"testing"
)

// A connection is broken off once it brought more than was asked for, and not because of what was handled.
func TestIntakeIsBounded(t *testing.T) {
	for name, c := range map[string]struct {
		events, chunk int
		handles       bool
		ends          bool // by then
	}{
		"events that are handled":             {4, maxEvent, true, false},
		"events that are not":                 {4, maxEvent, false, true},
		"a message without an end":            {4, 64 << 10, false, true},
		"answers that nobody asked for":       {0, 64 << 10, false, true},
		"small events, with all their frames": {4, 1 << 10, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			in := newIntake()
			in.allow(c.events)
			near, far := net.Pipe()
			t.Cleanup(func() { _ = near.Close() })
			go func() {
				for {
					if _, err := far.Write(make([]byte, c.chunk)); err != nil {
						return
					}
				}
			}()
			conn, body := in.of(near), make([]byte, c.chunk)
			total := 0
			for total < 2*(slack+c.events*maxEvent) {
				n, err := io.ReadFull(conn, body)
				if err != nil {
					if !c.ends || !errors.Is(err, errIntake) {
						t.Errorf("ended after %d bytes: %v", total, err)
					}
					return
				}
				if total += n; c.handles {
					in.handled(n)
				}
			}
			if c.ends {
				t.Errorf("%d bytes were read", total)
			}
		})
	}
}
