package twin

import (
	"encoding/base64"
	"encoding/binary"
	"strings"
)

const counterBytes = 8

// ETagCounter reads the counter in a twin's etag: "AAAAAAAAAAE=" is the base64 of an 8-byte big-endian 1. It is false for
// anything else, such as the etag of an identity.
func ETagCounter(etag string) (uint64, bool) {
	raw, err := base64.StdEncoding.DecodeString(etag)
	if err != nil || len(raw) != counterBytes {
		return 0, false
	}
	return binary.BigEndian.Uint64(raw), true
}

// unquoteETag takes the form of an HTTP header, `"AAAAAAAAAAE="` or `W/"..."`, to the bare one of a twin's body.
func unquoteETag(etag string) string {
	return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`)
}

// ETagOf is the etag with a given counter: the inverse of ETagCounter.
func ETagOf(counter uint64) string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, counter))
}

// Follows reports whether nothing but one write lies between two etags of a twin.
func Follows(before, after string) bool {
	from, isCounter := ETagCounter(before)
	to, isCounterToo := ETagCounter(after)
	return isCounter && isCounterToo && to == from+1
}
