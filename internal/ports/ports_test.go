package ports

import (
	"errors"
	"net"
	"os"
	"testing"
	"time"
)

func TestOneConnectionMoreThanThereIsRoomFor(t *testing.T) {
	for name, test := range map[string]struct {
		beyond Crowd
		closed []bool // of three connections, the last of which is one too many
	}{
		"is refused":                    {Refused, []bool{false, false, true}},
		"takes the place of the oldest": {TakesOldest, []bool{true, false, false}},
	} {
		t.Run(name, func(t *testing.T) {
			l, err := Listen(t.Context(), "127.0.0.1:0", 2, test.beyond)
			if err != nil {
				t.Fatal(err)
			}
			defer func() { _ = l.Close() }()
			accepted := make(chan net.Conn, 3)
			go func() {
				for {
					conn, err := l.Accept()
					if err != nil {
						return
					}
					accepted <- conn
				}
			}()
			for i, closed := range test.closed {
				conn, err := net.Dial("tcp", l.Addr().String())
				if err != nil {
					t.Fatal(err)
				}
				defer func() { _ = conn.Close() }()
				if i < 2 || test.beyond == TakesOldest {
					<-accepted
				}
				defer func() {
					_ = conn.SetReadDeadline(time.Now().Add(200 * time.Millisecond))
					_, err := conn.Read(make([]byte, 1))
					if isClosed := !errors.Is(err, os.ErrDeadlineExceeded); isClosed != closed {
						t.Errorf("connection %d: closed is %v, want %v (%v)", i, isClosed, closed, err)
					}
				}()
			}
		})
	}
}

func TestAConnectionThatIsClosedTwiceLeavesOnce(t *testing.T) {
	l, err := Listen(t.Context(), "127.0.0.1:0", 1, Refused)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = l.Close() }()
	for range 3 {
		near, err := net.Dial("tcp", l.Addr().String())
		if err != nil {
			t.Fatal(err)
		}
		far, err := l.Accept()
		if err != nil {
			t.Fatal(err)
		}
		_ = far.Close()
		_ = far.Close()
		_ = near.Close()
	}
}
