package dtdl

import (
	"encoding/base64"
	"encoding/json"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"
)

// maxCanonical is the longest text, in bytes, that is looked at: no hub holds a longer one, and arithmetic on one takes long.
const maxCanonical = 4096

// Canonical is a decoded JSON value with the parts that its schema has several texts for in one of them:
// "PT300S" and "PT5M" become the same, and so do instants, decimals, UUIDs, bytes and floats. So two
// values mean the same to the schema exactly if they are equal then, numbers by what they amount to.
// A part that the schema does not allow stays as it is, and so does the value that was given.
func (s *Schema) Canonical(value any) any {
	switch v := value.(type) {
	case string:
		if len(v) > maxCanonical {
			return v
		}
		if canonical := canonicalTexts[s.Kind]; canonical != nil && primitiveValues[s.Kind].allows(v) {
			return canonical(v)
		}
	case json.Number:
		if s.Kind == Float {
			return canonicalFloat(v)
		}
	case []any:
		if s.Kind == Array {
			items := slices.Clone(v)
			for i := range items {
				items[i] = s.Element.Canonical(items[i])
			}
			return items
		}
	case map[string]any:
		return s.canonicalFields(v)
	}
	return value
}

func (s *Schema) canonicalFields(fields map[string]any) any {
	if s.Kind != Object && s.Kind != Map {
		return fields
	}
	canonical := make(map[string]any, len(fields))
	for name, value := range fields {
		element := s.Element
		if s.Kind == Object {
			element = nil
			if field := s.Fields[name]; field != nil {
				element = field.Schema
			}
		}
		if canonical[name] = value; element != nil {
			canonical[name] = element.Canonical(value)
		}
	}
	return canonical
}

// canonicalTexts are for texts that the schema allows. A date has one text only.
var canonicalTexts = map[Kind]func(string) string{
	DateTime: canonicalDateTime,
	Time:     canonicalTime,
	Duration: canonicalDuration,
	Bytes:    canonicalBytes,
	UUID:     strings.ToLower,
	Decimal:  canonicalDecimal,
}

// canonicalDateTime is the instant in UTC, with all digits of its fraction: time.Time holds nine.
func canonicalDateTime(s string) string {
	const whole = len("2000-01-01T00:00:00")
	const second = whole - len(":00")
	rest := strings.TrimLeft(s[whole:], ".0123456789")
	fraction := strings.TrimRight(s[whole:len(s)-len(rest)], ".0")
	text, isLeap := s[:whole]+rest, strings.HasPrefix(s[second:], ":60")
	if isLeap {
		text = s[:second] + ":59" + rest
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return s
	}
	text = at.UTC().Format("2006-01-02T15:04:05")
	if isLeap {
		text = strings.TrimSuffix(text, ":59") + ":60"
	}
	return text + fraction + "Z"
}

// canonicalTime is the time of the day in UTC, whichever day that is.
func canonicalTime(s string) string {
	_, clock, _ := strings.Cut(canonicalDateTime("2000-01-02T"+s), "T")
	return clock
}

// canonicalDuration has months and seconds, the only units of ISO 8601 that have no fixed ratio.
func canonicalDuration(s string) string {
	months, seconds := new(big.Rat), new(big.Rat)
	date, clock, _ := strings.Cut(strings.TrimPrefix(s, "P"), "T")
	for _, unit := range []struct {
		text       string
		designator string
		total      *big.Rat
		factor     int64
	}{
		{date, "Y", months, 12}, {date, "M", months, 1}, {date, "W", seconds, 7 * 86400}, {date, "D", seconds, 86400},
		{clock, "H", seconds, 3600}, {clock, "M", seconds, 60}, {clock, "S", seconds, 1},
	} {
		before, _, has := strings.Cut(unit.text, unit.designator)
		if !has {
			continue
		}
		number := before[strings.LastIndexAny(before, "YMWDHS")+1:]
		amount, ok := new(big.Rat).SetString(number)
		if !ok {
			return s
		}
		unit.total.Add(unit.total, amount.Mul(amount, big.NewRat(unit.factor, 1)))
	}
	return "P" + months.RatString() + "M" + seconds.RatString() + "S"
}

// canonicalBytes has no bits that stand for nothing.
func canonicalBytes(s string) string {
	raw, err := base64.StdEncoding.DecodeString(s)
	if err != nil {
		return s
	}
	return base64.StdEncoding.EncodeToString(raw)
}

func canonicalDecimal(s string) string {
	digits, negative := strings.CutPrefix(strings.TrimPrefix(s, "+"), "-")
	if strings.Contains(digits, ".") {
		digits = strings.TrimRight(strings.TrimRight(digits, "0"), ".")
	}
	if negative && digits != "0" {
		return "-" + digits
	}
	return digits
}

// canonicalFloat is the shortest number that is the same to a float.
func canonicalFloat(n json.Number) json.Number {
	f, err := strconv.ParseFloat(string(n), 32)
	if err != nil {
		return n
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 32))
}
