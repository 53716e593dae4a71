package twin

import (
	"fmt"
	"strings"
	"testing"
	"time"
)

// A device may report ten thousand small properties, and do so again and again.
func TestFoldingTakesTimeByWhatItFolds(t *testing.T) {
	fold := func(n int) time.Duration {
		var twin, patch, meta strings.Builder
		for i := range n {
			fmt.Fprintf(&twin, `"p%d":0,`, i)
			fmt.Fprintf(&patch, `"q%d":{},`, i)
			fmt.Fprintf(&meta, `"q%d":{},`, i)
		}
		known, err := ParseDeviceTwin(fmt.Appendf(nil, `{"deviceId":"d","etag":"AAAAAAAAAAE=","version":2,"properties":{"desired":{"$version":1},"reported":{%s"$metadata":{},"$version":1}}}`, twin.String()))
		if err != nil {
			t.Fatal(err)
		}
		event, err := ParseNotification(fmt.Appendf(nil, `{"version":3,"properties":{"reported":{%s"$metadata":{%s"$lastUpdated":"2026-11-23T12:00:00Z"},"$version":2}}}`, patch.String(), meta.String()))
		if err != nil {
			t.Fatal(err)
		}
		began := time.Now()
		next, err := known.Fold(event)
		if err != nil || len(next.Properties) != 2*n {
			t.Fatalf("%v", err)
		}
		_ = event.Leaves(known)
		return time.Since(began)
	}
	small, large := fold(2500), fold(10_000)
	if large > 8*small+100*time.Millisecond {
		t.Errorf("a quarter takes %s, and all of it %s", small, large)
	}
}
