package dtdl_test

import (
	"encoding/base64"
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

func TestValuesThatMeanTheSame(t *testing.T) {
	const object = `{"@type":"Object","fields":[{"name":"at","schema":"dateTime"},{"name":"note","schema":"string"}]}`
	for _, c := range []struct {
		schema, a, b string
		same         bool
	}{
		{`"dateTime"`, `"2023-01-31T10:37:08.4599400Z"`, `"2023-01-31T10:37:08.45994Z"`, true},
		{`"dateTime"`, `"2023-01-31T10:37:08.000Z"`, `"2023-01-31T10:37:08Z"`, true},
		{`"dateTime"`, `"2023-01-31T10:37:08Z"`, `"2023-01-31T11:37:08+01:00"`, true},
		{`"dateTime"`, `"2023-01-31T10:37:08Z"`, `"2023-01-31T10:37:08-00:00"`, true},
		{`"dateTime"`, `"2022-12-31T23:30:00-01:00"`, `"2023-01-01T00:30:00Z"`, true},
		{`"dateTime"`, `"2016-12-31T23:59:60Z"`, `"2017-01-01T00:59:60+01:00"`, true},
		{`"dateTime"`, `"2016-12-31T23:59:60Z"`, `"2016-12-31T23:59:59Z"`, false},
		{`"dateTime"`, `"2016-12-31T23:59:60Z"`, `"2017-01-01T00:00:00Z"`, false},
		{`"dateTime"`, `"2023-01-31T10:37:08.45994Z"`, `"2023-01-31T10:37:08.459Z"`, false},
		{`"dateTime"`, `"2023-01-31T10:37:08.1234567891Z"`, `"2023-01-31T10:37:08.1234567892Z"`, false},
		{`"dateTime"`, `"2023-01-31T10:37:08Z"`, `"2023-01-31T10:37:08+01:00"`, false},
		{`"dateTime"`, `"2023-01-31 10:37:08Z"`, `"2023-01-31T10:37:08Z"`, false},
		{`"time"`, `"12:30:00.50Z"`, `"12:30:00.5Z"`, true},
		{`"time"`, `"12:30:00Z"`, `"14:30:00+02:00"`, true},
		{`"time"`, `"23:30:00-02:00"`, `"01:30:00Z"`, true},
		{`"time"`, `"12:30:00Z"`, `"12:30:01Z"`, false},
		{`"date"`, `"2023-01-31"`, `"2023-01-30"`, false},
		{`"duration"`, `"PT300S"`, `"PT5M"`, true},
		{`"duration"`, `"P1D"`, `"PT24H"`, true},
		{`"duration"`, `"P1W"`, `"P7D"`, true},
		{`"duration"`, `"P1Y2M"`, `"P14M"`, true},
		{`"duration"`, `"PT1.50S"`, `"PT1.5S"`, true},
		{`"duration"`, `"PT0.5H"`, `"PT30M"`, true},
		{`"duration"`, `"PT0S"`, `"P0D"`, true},
		{`"duration"`, `"P1MT1M"`, `"P1MT60S"`, true},
		{`"duration"`, `"P1M"`, `"PT1M"`, false},
		{`"duration"`, `"P1M"`, `"P30D"`, false},
		{`"duration"`, `"PT5M"`, `"PT6M"`, false},
		{`"decimal"`, `"1.10"`, `"1.1"`, true},
		{`"decimal"`, `"+1."`, `"1"`, true},
		{`"decimal"`, `"-0.00"`, `"0"`, true},
		{`"decimal"`, `"100"`, `"1"`, false},
		{`"decimal"`, `"-1.1"`, `"1.1"`, false},
		{`"decimal"`, `"0.12345678901234567891"`, `"0.12345678901234567892"`, false},
		{`"uuid"`, `"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"`, `"F81D4FAE-7DEC-11D0-A765-00A0C91E6BF6"`, true},
		{`"uuid"`, `"f81d4fae-7dec-11d0-a765-00a0c91e6bf6"`, `"f81d4fae-7dec-11d0-a765-00a0c91e6bf7"`, false},
		{`"bytes"`, `"QQ=="`, `"QR=="`, true},
		{`"bytes"`, `"QQ=="`, `"Qg=="`, false},
		{`"float"`, `0.1`, `0.10000000149011612`, true},
		{`"float"`, `0.1`, `0.1000001`, false},
		{`"double"`, `0.1`, `0.10000000149011612`, false},
		{`"string"`, `"PT300S"`, `"PT5M"`, false},
		{`"string"`, `"a"`, `"A"`, false},
		{object, `{"at":"2023-01-31T10:37:08.10Z","note":"x"}`, `{"at":"2023-01-31T10:37:08.1Z","note":"x"}`, true},
		{object, `{"at":"2023-01-31T10:37:08Z","note":"1.0"}`, `{"at":"2023-01-31T10:37:08Z","note":"1.00"}`, false},
		{object, `{"at":"2023-01-31T10:37:08Z","other":"PT60S"}`, `{"at":"2023-01-31T10:37:08Z","other":"PT1M"}`, false},
		{`{"@type":"Array","elementSchema":"duration"}`, `["PT60S","PT120S"]`, `["PT1M","PT2M"]`, true},
		{`{"@type":"Array","elementSchema":"duration"}`, `["PT60S","PT120S"]`, `["PT2M","PT1M"]`, false},
		{`{"@type":"Map","mapKey":{"name":"k","schema":"string"},"mapValue":{"name":"v","schema":"decimal"}}`, `{"a":"1.0"}`, `{"a":"1"}`, true},
		{`{"@type":"Map","mapKey":{"name":"k","schema":"string"},"mapValue":{"name":"v","schema":"decimal"}}`, `{"1.0":"1"}`, `{"1":"1"}`, false},
		{`{"@type":"Array","elementSchema":` + object + `}`, `[{"at":"2023-01-31T11:00:00+01:00"}]`, `[{"at":"2023-01-31T10:00:00Z"}]`, true},
		{`"duration"`, `null`, `"PT0S"`, false},
		{`{"@type":"Array","elementSchema":"duration"}`, `"PT60S"`, `["PT60S"]`, false},
	} {
		s := schemaOf(t, c.schema)
		a, b := s.Canonical(decode(t, c.a)), s.Canonical(decode(t, c.b))
		if got := reflect.DeepEqual(a, b); got != c.same {
			t.Errorf("%s: %s and %s: same is %t; canonical %v and %v", c.schema, c.a, c.b, got, a, b)
		}
	}
}

// All texts of an instant, duration, decimal, UUID or sequence of bytes are the same, and the result of Canonical is its own
// canonical form, allowed or not.
func TestAnyTextOfAValueIsTheSame(t *testing.T) {
	kinds := map[string]*dtdl.Schema{}
	for _, kind := range []string{"dateTime", "time", "duration", "decimal", "uuid", "bytes"} {
		kinds[kind] = schemaOf(t, `"`+kind+`"`)
	}
	rapid.Check(t, func(t *rapid.T) {
		kind := rapid.SampledFrom([]string{"dateTime", "time", "duration", "decimal", "uuid", "bytes"}).Draw(t, "kind")
		a, b := respelled(t, kind)
		s := kinds[kind]
		if len(s.Validate(a, "a")) > 0 || len(s.Validate(b, "b")) > 0 {
			t.Fatalf("%q or %q is no %s", a, b, kind)
		}
		if s.Canonical(a) != s.Canonical(b) {
			t.Errorf("%s: %q and %q are %v and %v", kind, a, b, s.Canonical(a), s.Canonical(b))
		}
		text := rapid.String().Draw(t, "text")
		if got := s.Canonical(text); len(s.Validate(text, "x")) > 0 && got != text {
			t.Errorf("%s: %q, which is none, became %v", kind, text, got)
		}
	})
}

// respelled draws two texts of one value.
func respelled(t *rapid.T, kind string) (a, b string) {
	n := rapid.Int64Range(0, 4_000_000_000).Draw(t, "n")
	zeros := strings.Repeat("0", rapid.IntRange(0, 4).Draw(t, "zeros"))
	zone := time.FixedZone("", 60*rapid.IntRange(-14*60, 14*60).Draw(t, "minutes"))
	at := time.Unix(n, 0).UTC()
	switch kind {
	case "dateTime":
		return at.Format("2006-01-02T15:04:05") + ".5" + zeros + "Z", at.In(zone).Format("2006-01-02T15:04:05") + ".5" + at.In(zone).Format("-07:00")
	case "time":
		return at.Format("15:04:05") + "Z", at.In(zone).Format("15:04:05-07:00")
	case "duration":
		return fmt.Sprintf("PT%dS", n), fmt.Sprintf("P%dDT%dH%dM%d.%s0S", n/86400, n/3600%24, n/60%60, n%60, zeros)
	case "decimal":
		return fmt.Sprintf("%d.25", n), fmt.Sprintf("+%d.25%s", n, zeros)
	case "uuid":
		text := fmt.Sprintf("%08x-7dec-11d0-a765-%012x", n&0xffffffff, n)
		return text, strings.ToUpper(text)
	default:
		text := base64.StdEncoding.EncodeToString([]byte{byte(n)})
		return text, text[:1] + string(text[1]+1) + "=="
	}
}
