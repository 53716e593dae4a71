package dtdl

import (
	"encoding/json"
	"fmt"
	"math"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// primitive is which values a primitive schema allows: DTDL v2 to v4, "Primitive schemas".
type primitive struct {
	expected string
	allows   func(value any) bool
}

var primitiveValues = map[Kind]primitive{
	Boolean:  {"true or false", func(value any) bool { _, ok := value.(bool); return ok }},
	String:   {"a string", text(func(string) bool { return true })},
	Date:     {`a date such as "2026-07-31"`, text(func(s string) bool { return isTime(time.DateOnly, s) })},
	DateTime: {`a date and time with its zone, such as "2026-07-31T12:30:00Z"`, text(isDateTime)},
	Time:     {`a time with its zone, such as "12:30:00Z"`, text(func(s string) bool { return isDateTime("2000-01-01T" + s) })},
	Duration: {`an ISO 8601 duration such as "PT1H30M"`, text(isDuration)},
	Bytes:    {"a base64 string", text(bytesPattern.MatchString)},
	UUID:     {`a UUID such as "f81d4fae-7dec-11d0-a765-00a0c91e6bf6"`, text(uuidPattern.MatchString)},
	Decimal:  {`a decimal number as a string, such as "-12.50"`, text(decimalPattern.MatchString)},
	Double:   {"a number that a double can hold", floating(64)},
	Float:    {"a number that a float can hold", floating(32)},
	Byte:     signed(8), Short: signed(16), Integer: signed(32), Long: signed(64),
	UnsignedByte: unsigned(8), UnsignedShort: unsigned(16), UnsignedInteger: unsigned(32), UnsignedLong: unsigned(64),
}

// text takes strings that pass a check.
func text(check func(string) bool) func(any) bool {
	return func(value any) bool {
		s, ok := value.(string)
		return ok && check(s)
	}
}

var (
	bytesPattern   = regexp.MustCompile(`^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$`)
	uuidPattern    = regexp.MustCompile(`^[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}$`)
	decimalPattern = regexp.MustCompile(`^[+-]?(?:[1-9][0-9]*|0)(?:\.[0-9]*)?$`)
)

// isDuration takes an ISO 8601 duration, of which only the last part may have a fraction. Weeks go with days and a time, not
// with years and months.
func isDuration(s string) bool {
	rest, ok := strings.CutPrefix(s, "P")
	date, clock, timed := strings.Cut(rest, "T")
	if !ok || rest == "" || timed && clock == "" {
		return false
	}
	fraction := false
	designators := "YMD"
	if strings.Contains(date, "W") {
		designators = "WD"
	}
	return durationParts(date, designators, &fraction) && durationParts(clock, "HMS", &fraction)
}

var durationPart = regexp.MustCompile(`^\d+(\.\d+)?([A-Z])`)

// durationParts takes numbers with a designator each, in the order of the designators, and nothing after a fraction.
func durationParts(s, designators string, fraction *bool) bool {
	for s != "" {
		part := durationPart.FindStringSubmatch(s)
		if part == nil || *fraction {
			return false
		}
		at := strings.Index(designators, part[2])
		if at < 0 {
			return false
		}
		designators, s, *fraction = designators[at+1:], s[len(part[0]):], part[1] != ""
	}
	return true
}

func isTime(layout, s string) bool {
	_, err := time.Parse(layout, s)
	return err == nil
}

// dateTimePattern is RFC 3339 with capital letters; time.Parse checks the calendar but is less strict about the rest.
var dateTimePattern = regexp.MustCompile(`^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d+)?(?:Z|[+-]\d{2}:\d{2})$`)

// isDateTime takes a leap second, which time.Parse does not.
func isDateTime(s string) bool {
	if !dateTimePattern.MatchString(s) {
		return false
	}
	if strings.HasPrefix(s[len("2000-01-01T23:59"):], ":60") {
		s = s[:len("2000-01-01T23:59")] + ":59" + s[len("2000-01-01T23:59:60"):]
	}
	return isTime(time.RFC3339Nano, s)
}

func floating(bits int) func(any) bool {
	return func(value any) bool {
		n, ok := value.(json.Number)
		if !ok {
			return false
		}
		_, err := strconv.ParseFloat(string(n), bits)
		return err == nil
	}
}

func signed(bits int) primitive {
	least, most := int64(math.MinInt64)>>(64-bits), uint64(math.MaxInt64)>>(64-bits)
	return primitive{fmt.Sprintf("an integer from %d to %d", least, most), func(value any) bool {
		i, ok := integerOf(value)
		if !ok || i.above > math.MaxInt64 && !i.negative {
			return false
		}
		if i.negative {
			return i.above <= most+1
		}
		return i.above <= most
	}}
}

func unsigned(bits int) primitive {
	most := uint64(math.MaxUint64) >> (64 - bits)
	return primitive{fmt.Sprintf("an integer from 0 to %d", most), func(value any) bool {
		i, ok := integerOf(value)
		return ok && !i.negative && i.above <= most
	}}
}

// integer is a whole number by its sign and distance from zero.
type integer struct {
	negative bool
	above    uint64
}

// maxDigits is how many digits the largest unsigned long has.
const maxDigits = 20

// integerOf reads a JSON number whose value is an integer of 64 bits, signed or not, whatever its spelling: 42, 42.0, 4.2e1.
func integerOf(value any) (integer, bool) {
	n, ok := value.(json.Number)
	if !ok {
		return integer{}, false
	}
	mantissa, power, _ := strings.Cut(strings.ToLower(string(n)), "e")
	mantissa, negative := strings.CutPrefix(mantissa, "-")
	whole, fraction, _ := strings.Cut(mantissa, ".")
	fraction = strings.TrimRight(fraction, "0")
	digits := strings.TrimLeft(whole+fraction, "0")
	if digits == "" {
		return integer{}, whole != ""
	}
	exponent := 0
	if power != "" {
		parsed, err := strconv.ParseInt(power, 10, 32)
		if err != nil {
			return integer{}, false
		}
		exponent = int(parsed)
	}
	trimmed := strings.TrimRight(digits, "0")
	zeros := exponent - len(fraction) + len(digits) - len(trimmed)
	if zeros < 0 || zeros > maxDigits || len(trimmed)+zeros > maxDigits {
		return integer{}, false
	}
	above, err := strconv.ParseUint(trimmed+strings.Repeat("0", zeros), 10, 64)
	return integer{negative: negative, above: above}, err == nil
}
