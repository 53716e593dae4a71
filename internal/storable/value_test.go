package storable

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestEncode(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"a number":                              {`42.0`, `42`},
		"an integer of 64 bits":                 {`9223372036854775807`, `9223372036854775807`},
		"an integer beyond":                     {`18446744073709551616`, `18446744073709552000`},
		"a number that no double holds":         {`1e400`, `{"$json":"1e400"}`},
		"a number too small for one":            {`1e-400`, `{"$json":"1e-400"}`},
		"an integer that only int64 holds":      {`9007199254740993.0`, `{"$json":"9007199254740993.0"}`},
		"a fraction that a double rounds to 1":  {`1.00000000000000000001`, `{"$json":"1.00000000000000000001"}`},
		"a fraction that a double rounds":       {`0.12345678901234567890`, `0.12345678901234568`},
		"such a number within":                  {`{"a":[1e400]}`, `{"$json":"{\"a\":[1e400]}"}`},
		"text":                                  {`"größer <b>"`, `"größer <b>"`},
		"text with escapes":                     {`"\u001b[2J"`, `{"$json":"\"\\u001b[2J\""}`},
		"text with C1":                          {`"\u009b32m"`, `{"$json":"\"\\u009b32m\""}`},
		"text on two lines":                     {`"a\nb"`, `{"$json":"\"a\\nb\""}`},
		"a key that turns the direction":        {`{"a\u202eb":1}`, `{"$json":"{\"a\\u202eb\":1}"}`},
		"null in an object, which a patch lost": {`{"a":null}`, `{"$json":"{\"a\":null}"}`},
		"null in a list":                        {`[null]`, `{"$json":"[null]"}`},
		"what looks like a form":                {`{"$json":"1"}`, `{"$json":"{\"$json\":\"1\"}"}`},
		"what looks like an omission":           {`{"$digest":"x","$omitted":"y"}`, `{"$json":"{\"$digest\":\"x\",\"$omitted\":\"y\"}"}`},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			v := decode([]byte(c.in))
			got := Encode(v)
			if string(got) != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
			if back := Decode(got); !twin.Equal(back, v) {
				t.Errorf("comes back as %v", back)
			}
		})
	}
}

func TestWhatIsOmittedEqualsItsValueOnly(t *testing.T) {
	tests := map[string]struct{ in, equal, other, reason string }{
		"a large text":       {text(MaxValue), text(MaxValue), text(MaxValue - 1), TooLarge},
		"many small escapes": {text(MaxValue/6+1, "<"), text(MaxValue/6+1, "<"), text(MaxValue/6+1, ">"), TooLarge},
		"numbers by value":   {`[42,` + text(MaxValue) + `]`, `[4.2e1,` + text(MaxValue) + `]`, `[43,` + text(MaxValue) + `]`, TooLarge},
		"deep":               {nested(MaxDepth+1, "1"), nested(MaxDepth+1, "1.0"), nested(MaxDepth+1, "2"), TooDeep},
		"8,000 deep":         {nested(8000, "1"), nested(8000, "1"), nested(7999, "1"), TooDeep},
	}
	for name, c := range tests {
		t.Run(name, func(t *testing.T) {
			raw := Encode(decode([]byte(c.in)))
			o, ok := Decode(raw).(twin.Omitted)
			if !ok || o.Reason != c.reason || len(raw) > 96 || !IsForm(raw) {
				t.Fatalf("got %.100s", raw)
			}
			for _, pair := range [][2]any{{o, decode([]byte(c.equal))}, {decode([]byte(c.equal)), o}, {o, Decode(raw)}} {
				if !twin.Equal(pair[0], pair[1]) {
					t.Errorf("%.50v does not equal %.50v", pair[0], pair[1])
				}
			}
			if twin.Equal(o, decode([]byte(c.other))) || twin.Equal(o, nil) || twin.Equal(o, o.Digest) {
				t.Error("equals another value")
			}
			if again := Encode(o); string(again) != string(raw) {
				t.Errorf("encoded again it is %s", again)
			}
		})
	}
}

func text(size int, of ...string) string {
	return `"` + strings.Repeat(append(of, "x")[0], size) + `"`
}

func nested(depth int, within string) string {
	return strings.Repeat("[", depth) + within + strings.Repeat("]", depth)
}

// TestEncodeIsWhatTheAPIServerKeeps plays the API server: numbers become int64 or float64, null goes from objects.
func TestEncodeIsWhatTheAPIServerKeeps(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		v := anyValue(4).Draw(t, "value")
		raw := Encode(v)
		if Size(raw) > MaxValue || !IsPlain(raw) {
			t.Fatalf("%d bytes: %s", Size(raw), raw)
		}
		var stored any
		if err := json.Unmarshal(raw, &stored); err != nil {
			t.Fatalf("refused: %v: %s", err, raw)
		}
		kept, err := json.Marshal(pruned(decode(raw)))
		if err != nil {
			t.Fatal(err)
		}
		if Size(kept) != Size(raw) {
			t.Fatalf("%s takes other room than %s", kept, raw)
		}
		if back := Decode(kept); !twin.Equal(back, v) || twin.Digest(back) != twin.Digest(v) {
			t.Fatalf("%v comes back as %v", v, back)
		}
	})
}

func pruned(v any) any {
	switch v := v.(type) {
	case json.Number:
		if i, err := v.Int64(); err == nil {
			return i
		}
		f, err := v.Float64()
		if err != nil {
			panic(fmt.Sprintf("the API server refuses %s", v))
		}
		return f
	case []any:
		for i := range v {
			v[i] = pruned(v[i])
		}
	case map[string]any:
		for key, field := range v {
			if v[key] = pruned(field); field == nil {
				delete(v, key)
			}
		}
	}
	return v
}

func anyValue(depth int) *rapid.Generator[any] {
	return rapid.Custom(func(t *rapid.T) any {
		kinds := 5
		if depth == 0 {
			kinds = 3
		}
		switch rapid.IntRange(0, kinds-1).Draw(t, "kind") {
		case 0:
			return strings.ToValidUTF8(anyText().Draw(t, "text"), "")
		case 1:
			return json.Number(rapid.SampledFrom([]string{
				"0", "-0", "-0.0", "1", "42.0", "4.2e1", "1e400", "-1e400", "1e-400", "9223372036854775807", "9223372036854775808", "-9223372036854775809",
				"9007199254740993.0", "9007199254740993.5", "1.00000000000000000001", "123456789012345678901234567890", "1e308", "5e-324", "0.1", "1e21", "1e20",
			}).Draw(t, "number"))
		case 2:
			return rapid.Bool().Draw(t, "bool")
		case 3:
			return rapid.Custom(func(t *rapid.T) any {
				return append([]any{}, rapid.SliceOfN(orNull(depth-1), 0, 4).Draw(t, "items")...)
			}).Draw(t, "list")
		default:
			fields := map[string]any{}
			for key, v := range rapid.MapOfN(anyText(), orNull(depth-1), 0, 4).Draw(t, "fields") {
				fields[strings.ToValidUTF8(key, "")] = v
			}
			return fields
		}
	})
}

func orNull(depth int) *rapid.Generator[any] {
	return rapid.OneOf(anyValue(depth), rapid.Just[any](nil))
}
