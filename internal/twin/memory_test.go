package twin

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
)

// TestExceedsIsAboutMemory has twins of several shapes that do not exceed a limit by little, and looks at what they take.
func TestExceedsIsAboutMemory(t *testing.T) {
	const limit = 1 << 20
	for name, c := range map[string]struct{ repeated, in string }{
		"long texts":          {`"` + strings.Repeat("x", 4096) + `",`, `"a":[%s1]`},
		"numbers":             {`1,`, `"a":[%s1]`},
		"empty texts":         {`"",`, `"a":[%s1]`},
		"empty objects":       {`{},`, `"a":[%s1]`},
		"objects of one key":  {`{"a":1},`, `"a":[%s1]`},
		"objects of nine":     {`{"a":1,"b":1,"c":1,"d":1,"e":1,"f":1,"g":1,"h":1,"i":1},`, `"a":[%s1]`},
		"lists of one":        {`["a"],`, `"a":[%s1]`},
		"fields":              {`"f%d":true,`, `"a":{%s"last":1}`},
		"leaves":              {`"f%d":true,`, `%s"last":1`},
		"acknowledged leaves": {`"f%d":{"value":1,"ac":200,"av":1,"ad":"as it was asked for"},`, `%s"last":1`},
		"odd envelopes":       {`"f%d":{"value":1,"ac":200},`, `%s"last":1`},
		"components":          {`"c%d":{"__t":"c","a":1},`, `%s"last":1`},
	} {
		t.Run(name, func(t *testing.T) {
			parsed := func(n int) *Twin {
				var all strings.Builder
				for i := range n {
					all.WriteString(strings.ReplaceAll(c.repeated, "%d", fmt.Sprint(i)))
				}
				is, err := ParseDeviceTwin([]byte(`{"deviceId":"d","properties":{"reported":{` + fmt.Sprintf(c.in, all.String()) + `}}}`))
				if err != nil {
					t.Fatal(err)
				}
				return is
			}
			many := 1
			for !parsed(many).Exceeds(limit) {
				many *= 2
			}
			few := many / 2
			for many-few > 1 {
				if middle := (few + many) / 2; parsed(middle).Exceeds(limit) {
					many = middle
				} else {
					few = middle
				}
			}
			before := heap()
			is := parsed(few)
			takes := heap() - before
			if takes > 2*limit || takes < limit/4 {
				t.Errorf("%d of them do not exceed %d bytes, and take %d", few, limit, takes)
			}
			runtime.KeepAlive(is)
		})
	}
}

// heap is what is reachable, in bytes.
func heap() int {
	runtime.GC()
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int(m.HeapAlloc)
}
