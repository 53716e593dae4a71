package finish

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/lru"
)

// Events that name another resource version are written one by one; those that name the same are counted.
func TestEventsOfAnObjectAreBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits, version := &eventLimits{recent: lru.New(maxLimits)}, 0
		written := func(uid types.UID, reason string, events int) int {
			versions := map[string]bool{}
			for range events {
				version++
				named := limits.admit(&corev1.ObjectReference{UID: uid, ResourceVersion: fmt.Sprint(version)}, reason)
				versions[named.ResourceVersion] = true
			}
			return len(versions)
		}
		for _, step := range []struct {
			name         string
			uid          types.UID
			reason       string
			after        time.Duration
			events, want int
		}{
			{"an object's first", "a", "Rejected", 0, eventBurst, eventBurst},
			{"more of them", "a", "Rejected", time.Second, 100, 1},
			{"another reason", "a", "Adjusted", 0, 2, 2},
			{"another object", "b", "Rejected", 0, 2, 2},
			{"a minute later", "a", "Rejected", eventEvery, 100, 1},
			{"a long time later", "a", "Rejected", 10 * eventEvery, 100, eventBurst},
		} {
			time.Sleep(step.after)
			if got := written(step.uid, step.reason, step.events); got != step.want {
				t.Errorf("%s: %d Events are written, want %d", step.name, got, step.want)
			}
		}
	})
}
