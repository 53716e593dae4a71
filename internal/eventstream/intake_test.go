package eventstream

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
			t.Cleanup(in.end) // the count is the process's: what stays in it is missing to other tests
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
					in.handled("0", n)
				}
			}
			if c.ends {
				t.Errorf("%d bytes were read", total)
			}
		})
	}
}

// Many streams, each within its own bound, hold together what there is room for: those that hold the most go, and one
// whose events are handled stays.
func TestStreamsTogetherAreBounded(t *testing.T) {
	all := &arrivals{most: 6 << 20}
	open := func() (*intake, *countedConn) {
		near, far := net.Pipe()
		t.Cleanup(func() { _, _ = near.Close(), far.Close() })
		in := newIntake()
		in.all = all
		in.allow(32)
		return in, in.of(near)
	}
	modest, modestConn := open()
	greedy := make([]*intake, 40)
	conns := make([]*countedConn, len(greedy))
	for i := range greedy {
		greedy[i], conns[i] = open()
	}
	refused := map[int]bool{}
	for range 64 {
		for i, in := range greedy {
			if refused[i] {
				continue
			}
			if err := in.brought(conns[i], 16<<10); errors.Is(err, errShare) {
				refused[i] = true
				_ = conns[i].Close()
				in.end()
			}
		}
		if err := modest.brought(modestConn, 10<<10); err != nil {
			t.Fatalf("a stream whose events are handled ends: %v", err)
		}
		modest.handled("0", 10<<10)
		if all.held > all.most {
			t.Fatalf("%d bytes are held, want at most %d", all.held, all.most)
		}
	}
	if len(refused) == 0 {
		t.Fatal("no stream was broken off")
	}
	_ = modestConn.Close()
	modest.end()
	for i, c := range conns {
		_ = c.Close()
		_ = c.Close()
		greedy[i].end()
	}
	if all.held != 0 || all.connections != 0 {
		t.Errorf("%d bytes of %d connections are held after the end of all", all.held, all.connections)
	}
}
