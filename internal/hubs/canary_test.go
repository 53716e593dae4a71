package hubs

import (
	"testing"
	"time"
)

func TestTheCanary(t *testing.T) {
	late := noon.Add(DefaultEchoWithin + time.Second)
	for name, c := range map[string]struct {
		act         func(c *canary)
		alive, dead bool
	}{
		"knows nothing at first":          {func(*canary) {}, false, false},
		"is alive once it heard an event": {func(c *canary) { c.hear("x") }, true, false},
		"bears two missing echoes": {func(c *canary) {
			for _, id := range []string{"a", "b"} {
				c.expect(id, noon)
			}
			c.judge(late, true)
		}, false, false},
		"is dead after three": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, noon)
			}
			c.judge(late, true)
		}, false, true},
		"comes back with the first event": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, noon)
			}
			c.judge(late, true)
			c.hear("a")
		}, true, false},
		"does not count writes that failed": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, noon)
				c.cancel(id)
			}
			c.judge(late, true)
		}, false, false},
		"believes an earlier run, until it misses three itself": {func(c *canary) {
			c.resume(true)
			for _, id := range []string{"a", "b"} {
				c.expect(id, noon)
			}
			c.judge(late, true)
		}, true, false},
		"does not count while nobody listens": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, noon)
			}
			c.judge(late, false)
			c.judge(late, true)
		}, false, false},
		"does not wait longer for a device that is written again and again": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, noon)
				c.expect(id, late)
			}
			c.judge(late, true)
		}, false, true},
		"forgets what came in time": {func(c *canary) {
			for _, id := range []string{"a", "b", "c"} {
				c.expect(id, noon)
				c.hear(id)
			}
			c.judge(late, true)
		}, true, false},
	} {
		t.Run(name, func(t *testing.T) {
			bird := &canary{}
			c.act(bird)
			if bird.alive() != c.alive || bird.dead() != c.dead {
				t.Errorf("alive %v, dead %v; want %v, %v", bird.alive(), bird.dead(), c.alive, c.dead)
			}
		})
	}
}
