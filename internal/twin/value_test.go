package twin_test

import (
	"encoding/json"
	"math/big"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"pgregory.net/rapid"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// value decodes a JSON literal of a test.
func value(s string) any {
	v, err := twin.DecodeValue([]byte(s))
	if err != nil {
		panic(err)
	}
	return v
}

func TestDecodeValue(t *testing.T) {
	tests := map[string]struct {
		raw     string
		want    any
		wantErr bool
	}{
		"an int64 keeps its digits":             {raw: `9007199254740993`, want: json.Number("9007199254740993")},
		"a fraction keeps its spelling":         {raw: `1.0`, want: json.Number("1.0")},
		"null is nil":                           {raw: `null`, want: nil},
		"an object decodes with its numbers":    {raw: ` {"a":[1,"x",true]} `, want: map[string]any{"a": []any{json.Number("1"), "x", true}}},
		"the last of two equal keys wins":       {raw: `{"a":1,"a":2}`, want: map[string]any{"a": json.Number("2")}},
		"a second value is refused":             {raw: `1 2`, wantErr: true},
		"garbage after the value is refused":    {raw: `{}]`, wantErr: true},
		"an empty input is refused":             {raw: ``, wantErr: true},
		"an unfinished value is refused":        {raw: `{"a":`, wantErr: true},
		"nesting without end is refused safely": {raw: strings.Repeat("[", 100_000), wantErr: true},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := twin.DecodeValue([]byte(tc.raw))
			if (err != nil) != tc.wantErr {
				t.Fatalf("DecodeValue() error = %v, want error %v", err, tc.wantErr)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("DecodeValue() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncodeValueIsCanonical(t *testing.T) {
	tests := map[string]struct{ raw, want string }{
		"keys are sorted":                 {`{"b":1,"a":{"d":2,"c":3}}`, `{"a":{"c":3,"d":2},"b":1}`},
		"markup is not escaped":           {`"<a&b>"`, `"<a&b>"`},
		"numbers are written as read":     {`[1.0,4.2e1,-0,9007199254740993]`, `[1.0,4.2e1,-0,9007199254740993]`},
		"an empty object stays an object": {`{}`, `{}`},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, string(twin.EncodeValue(value(tc.raw)))); diff != "" {
				t.Errorf("EncodeValue() (-want +got):\n%s", diff)
			}
		})
	}
}

func TestEncodeValueRefusesWhatIsNotJSON(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("EncodeValue(chan) did not panic")
		}
	}()
	twin.EncodeValue(map[string]any{"a": make(chan int)})
}

func TestEqual(t *testing.T) {
	tests := map[string]struct {
		a, b            string
		equal, reported bool // reported: a declared, b returned
	}{
		"an integer equals its fraction form":                  {`42`, `42.0`, true, true},
		"an integer equals its exponent form":                  {`42`, `4.2e1`, true, true},
		"an integer equals its padded exponent form":           {`42`, `0.0420E+3`, true, true},
		"a negative integer equals its exponent form":          {`-1200`, `-1.2e3`, true, true},
		"zero equals minus zero":                               {`0`, `-0.0`, true, true},
		"zero equals any power of zero":                        {`0`, `0e99999999999999999999`, true, true},
		"integers beyond 53 bits differ in the last digit":     {`9007199254740993`, `9007199254740992`, false, true},
		"the same holds for their fraction form":               {`9007199254740993`, `9007199254740992.0`, false, true},
		"the largest int64 equals itself in another form":      {`9223372036854775807`, `9223372036854775807.0`, true, true},
		"the largest int64 differs from one more":              {`9223372036854775807`, `9223372036854775808`, false, true},
		"doubles are equal if they are the same double":        {`5e-324`, `4.94065645841247E-324`, true, true},
		"doubles differ in the last bit":                       {`0.1`, `0.10000000000000002`, false, true},
		"a float32 device returns its own neighbour":           {`21.8`, `21.799999237060547`, false, true},
		"a float32 device cannot return another number":        {`21.8`, `21.8001`, false, false},
		"numbers too big for a double compare as text":         {`1e400`, `1e400`, true, true},
		"two numbers too big for a double differ":              {`1e400`, `1e401`, false, false},
		"two numbers too big for a float32 differ":             {`1e39`, `1e40`, false, false},
		"an absurd exponent is no integer":                     {`1`, `1e-99999999999999999999`, false, false},
		"an exponent that would fill the memory is no integer": {`1`, `1e1000000000`, false, false},
		"a number is not its text":                             {`1`, `"1"`, false, false},
		"true is not 1":                                        {`true`, `1`, false, false},
		"null equals null":                                     {`null`, `null`, true, true},
		"null is not an empty object":                          {`null`, `{}`, false, false},
		"strings compare exactly":                              {`"a"`, `"A"`, false, false},
		"arrays compare in order":                              {`[1,2]`, `[2,1]`, false, false},
		"arrays compare by number":                             {`[1,2]`, `[1.0,2e0]`, true, true},
		"arrays differ in length":                              {`[1,2]`, `[1]`, false, false},
		"array elements may be float32":                        {`[0.1]`, `[0.10000000149011612]`, false, true},
		"an array is not an object":                            {`[]`, `{}`, false, false},
		"objects compare deeply":                               {`{"a":{"b":1}}`, `{"a":{"b":1.0}}`, true, true},
		"a declared field may not be returned":                 {`{"a":1,"b":2}`, `{"a":1}`, false, true},
		"a returned field must be declared":                    {`{"a":1}`, `{"a":1,"b":2}`, false, false},
		"a returned field must be equal":                       {`{"a":1,"b":2}`, `{"a":2}`, false, false},
		"inner objects follow the same rule":                   {`{"a":{"b":1,"c":2}}`, `{"a":{"b":1}}`, false, true},
		"a field of the same count but another name":           {`{"a":null}`, `{"b":null}`, false, false},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			a, b := value(tc.a), value(tc.b)
			if got := twin.Equal(a, b); got != tc.equal {
				t.Errorf("Equal(%s, %s) = %v, want %v", tc.a, tc.b, got, tc.equal)
			}
			if got := twin.Equal(b, a); got != tc.equal {
				t.Errorf("Equal(%s, %s) = %v, want %v", tc.b, tc.a, got, tc.equal)
			}
			if got := twin.EqualReported(a, b); got != tc.reported {
				t.Errorf("EqualReported(%s, %s) = %v, want %v", tc.a, tc.b, got, tc.reported)
			}
		})
	}
}

// TestEqualIntegersAgreesWithExactArithmetic takes integers in every spelling and compares with math/big.
func TestEqualIntegersAgreesWithExactArithmetic(t *testing.T) {
	spelling := rapid.Custom(func(t *rapid.T) json.Number {
		digits := rapid.StringMatching(`-?(0|[1-9][0-9]{0,18})(\.[0-9]{1,4})?([eE][+-]?[0-9]{1,2})?`)
		return json.Number(digits.Draw(t, "spelling"))
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := spelling.Draw(t, "a"), spelling.Draw(t, "b")
		x, _ := new(big.Rat).SetString(string(a))
		y, _ := new(big.Rat).SetString(string(b))
		if !fitsInt64(x) || !fitsInt64(y) {
			t.Skip("not two int64")
		}
		if got, want := twin.Equal(a, b), x.Cmp(y) == 0; got != want {
			t.Fatalf("Equal(%s, %s) = %v, want %v", a, b, got, want)
		}
	})
}

func fitsInt64(r *big.Rat) bool { return r.IsInt() && r.Num().IsInt64() }

func TestValuesSurviveTheRoundTrip(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		want := values(3, true).Draw(t, "value")
		got, err := twin.DecodeValue(twin.EncodeValue(want))
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Fatalf("DecodeValue(EncodeValue()) (-want +got):\n%s", diff)
		}
		if !twin.Equal(want, got) || !twin.EqualReported(want, got) {
			t.Fatalf("%s does not equal itself", twin.EncodeValue(want))
		}
	})
}
