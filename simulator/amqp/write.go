package amqp

import (
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// batchBytes is what is put together before it is written, if there is that much.
const batchBytes = 256 << 10

// turn is what the writer has to do next.
type turn struct {
	buf       []byte
	keepAlive time.Duration // after which a silence is to be broken
	claims    time.Duration // after which to look at the claims again
	last      bool
	half      bool
}

// write writes what is queued and, when that is out, fetches events. It never writes under the lock.
func (c *conn) write() {
	var spare []byte
	written := time.Now()
	for {
		t := c.turn(spare)
		if len(t.buf) == 0 {
			if t.last {
				return
			}
			if silence := time.Until(written.Add(t.keepAlive)); silence > 0 {
				c.sleep(min(silence, t.claims))
				spare = t.buf
				continue
			}
			t.buf = append(t.buf, wire.KeepAlive...)
		}
		if !c.send(t) {
			c.cut()
			return
		}
		written, spare = time.Now(), reusable(t.buf)
	}
}

// turn takes what is queued. The buffer that it is given is filled next.
func (c *conn) turn(spare []byte) turn {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.closing {
		c.expireClaims()
		c.pump()
	}
	t := turn{c.out, c.keepAlive, c.untilExpiry(), c.closing, c.truncate}
	c.out = spare[:0]
	return t
}

// send reports whether the connection goes on.
func (c *conn) send(t turn) bool {
	if t.half {
		c.server.faults.count(func(n *FaultCounts) { n.Truncated++ })
		_, _ = c.net.Write(t.buf[:wire.FirstFrame(t.buf)/2])
		return false
	}
	_, err := c.net.Write(t.buf)
	return err == nil
}

func reusable(b []byte) []byte {
	if cap(b) > 4*batchBytes {
		return nil
	}
	return b[:0]
}

func (c *conn) sleep(most time.Duration) {
	timer := time.NewTimer(most)
	defer timer.Stop()
	select {
	case <-c.wake:
	case <-timer.C:
	}
}
