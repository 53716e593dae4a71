package session

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// held is how many bytes of the heap are in use.
func held() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// Events that arrive during a pass are kept in memory of a size, whatever a device reports while
// the hub is slow: what is beyond that is read again.
func TestWhatIsKeptOfAPassIsBounded(t *testing.T) {
	var names, metadata strings.Builder
	for n := range 4000 {
		fmt.Fprintf(&names, `"k%d":"",`, n)
		fmt.Fprintf(&metadata, `"k%d":{"$lastUpdated":%q},`, n, stamp(1))
	}
	d := &Device{}
	d.observe(read(10, 5), d.beginRead())
	d.beginPass()
	before := held()
	for n := int64(1); n <= maxArrivals; n++ {
		patch := fmt.Sprintf(`{"version":%d,"properties":{"reported":{%s"$metadata":{%s"$lastUpdated":%q},"$version":%d}}}`,
			10+n, names.String(), metadata.String(), stamp(9), 5+n)
		d.Fold(notification(t, "%s", patch), place(n), believed)
	}
	if more := held() - before; more > 4<<20 {
		t.Errorf("%d MiB more are held", more>>20)
	}
	d.observe(read(10, 5), d.beginRead())
	if again := d.endPass(); !again || !d.Doubtful() {
		t.Errorf("what was not kept is not read: again %t, doubtful %t", again, d.Doubtful())
	}
}
