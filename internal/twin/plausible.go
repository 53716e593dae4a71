package twin

import (
	"fmt"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"
)

// What a hub may say of a twin beside its properties. Hubs stay far below this; what stands in for one need not.
const (
	maxETagBytes  = 256
	maxStateBytes = 64
	maxModelBytes = 256
)

// plausible refuses a twin whose etags, state or counters no hub has: none of them can be cut or replaced, since later calls
// and comparisons need them as they are.
func (t *Twin) plausible() error {
	for _, field := range []struct {
		name, value string
		limit       int
	}{{"etag", t.ETag, maxETagBytes}, {"deviceEtag", t.DeviceETag, maxETagBytes}, {"connectionState", t.ConnectionState, maxStateBytes}} {
		if len(field.value) > field.limit || !isPrintable(field.value) {
			return fmt.Errorf("%q is %s, want at most %d bytes of printable text", field.name, quote(field.value), field.limit)
		}
	}
	for _, counter := range []struct {
		name  string
		value int64
	}{{"version", t.Version}, {"desired $version", t.DesiredVersion}, {"reported $version", t.ReportedVersion}} {
		if counter.value < 0 {
			return fmt.Errorf("%q is %d, want 0 or more", counter.name, counter.value)
		}
	}
	return nil
}

// modelOf is the model that a device announced, in a form that can be shown: what is no DTMI at all is quoted and cut, which
// no declared model equals.
func modelOf(announced string) string {
	if len(announced) > maxModelBytes || !isPrintable(announced) {
		return quote(announced)
	}
	return announced
}

func isPrintable(s string) bool {
	return utf8.ValidString(s) && strings.IndexFunc(s, func(r rune) bool { return !strconv.IsPrint(r) }) < 0
}

// isWritable reports whether RFC 3339 can tell a time: a zone may take a year out of its four digits.
func isWritable(t time.Time) bool { return 1 <= t.Year() && t.Year() <= 9999 }
