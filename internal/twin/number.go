package twin

import (
	"encoding/json"
	"math"
	"strconv"
	"strings"
)

// number is what a JSON number amounts to: an int64 where it is one, whatever its spelling, else a double. The hub keeps
// integers within 53 bits and everything else as a double, so an integer must not pass through a double on the way here.
type number struct {
	isInt bool
	i     int64
	f     float64
}

// parseNumber is false for what is not a number or overflows a double: such texts have no value to compare.
func parseNumber(n json.Number) (number, bool) {
	if i, ok := parseInteger(string(n)); ok {
		return number{isInt: true, i: i}, true
	}
	f, err := strconv.ParseFloat(string(n), 64)
	return number{f: f}, err == nil && !math.IsNaN(f) && !math.IsInf(f, 0)
}

func equalNumbers(a, b json.Number) bool {
	if a == b {
		return true
	}
	x, okX := parseNumber(a)
	y, okY := parseNumber(b)
	return okX && okY && x == y
}

// equalFloat32 is true for numbers that a device with single-precision arithmetic cannot tell apart. What overflows a
// float32 is no longer a value.
func equalFloat32(a, b json.Number) bool {
	x, errX := strconv.ParseFloat(string(a), 32)
	y, errY := strconv.ParseFloat(string(b), 32)
	return errX == nil && errY == nil && x == y
}

// parseInteger reads a decimal number whose value is an int64: "42", "42.0", "4.2e1".
func parseInteger(s string) (int64, bool) {
	if i, err := strconv.ParseInt(s, 10, 64); err == nil {
		return i, true
	}
	mantissa, exponent := splitExponent(s)
	whole, fraction, _ := strings.Cut(mantissa, ".")
	digits := strings.TrimRight(whole+fraction, "0")
	if strings.Trim(digits, "-") == "" {
		return 0, len(whole) > 0
	}
	zeros := exponent + int64(len(whole)) - int64(len(digits))
	if zeros < 0 || zeros > maxInt64Digits {
		return 0, false
	}
	i, err := strconv.ParseInt(digits+strings.Repeat("0", int(zeros)), 10, 64)
	return i, err == nil
}

const maxInt64Digits = 19

// splitExponent cuts "4.2e1" into "4.2" and 1. An exponent beyond int32 becomes the nearest int32: no mantissa that fits into
// a twin makes either an int64, and adding the mantissa's length to it does not overflow.
func splitExponent(s string) (mantissa string, exponent int64) {
	at := strings.IndexAny(s, "eE")
	if at < 0 {
		return s, 0
	}
	exponent, _ = strconv.ParseInt(s[at+1:], 10, 32)
	return s[:at], exponent
}

// clampInt64 keeps a counter comparable with the int64 versions of a twin.
func clampInt64(u uint64) int64 {
	if u > math.MaxInt64 {
		return math.MaxInt64
	}
	return int64(u)
}
