package twin

import (
	"encoding/json"
	"errors"
	"testing"

	"pgregory.net/rapid"
)

func TestDigestIsTheSameExactlyIfValuesAreEqual(t *testing.T) {
	values := []string{
		`0`, `-0`, `0.0`, `1e-400`, `-1e-400`, `1`, `1.0`, `1e0`, `1.00000000000000000001`, `true`, `"true"`, `false`, `null`, `"null"`, `""`, `[]`, `{}`, `[[]]`, `[1]`, `["1"]`, `[1,2]`, `[12]`,
		`{"a":1}`, `{"a":1.0}`, `{"a":"1"}`, `{"b":1}`, `{"a":1,"b":2}`, `{"b":2,"a":1}`, `{"a":{"b":2}}`, `1e400`, `1e0400`, `9007199254740993`, `9007199254740992`,
		`9007199254740993.0`, `18446744073709551616`, `18446744073709551617`, `4607182418800017408`,
	}
	for _, a := range values {
		for _, b := range values {
			x, y := mustDecode(t, a), mustDecode(t, b)
			if got, want := Digest(x) == Digest(y), Equal(x, y); got != want {
				t.Errorf("%s and %s: same digest %t, equal %t", a, b, got, want)
			}
		}
	}
}

func mustDecode(t *testing.T, raw string) any {
	t.Helper()
	v, err := DecodeValue([]byte(raw))
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// TestNothingIsMergedIntoWhatIsOmitted: of an object that only its digest is known of, the outcome of a patch is not known.
func TestNothingIsMergedIntoWhatIsOmitted(t *testing.T) {
	leaf := Leaf{Name: "x"}
	for name, c := range map[string]struct {
		written string
		want    any // nil: a doubt
	}{
		"an object":     {`{"b":2}`, nil},
		"another value": {`7`, json.Number("7")},
	} {
		t.Run(name, func(t *testing.T) {
			before := &Twin{Partial: true, ETag: ETagOf(1), Version: 3, DesiredVersion: 1, Properties: map[Leaf]Property{leaf: {
				Desired: &Desired{Value: Omitted{Digest: Digest(map[string]any{"a": json.Number("1")})}, Version: 1},
			}}}
			n, err := ParseNotification([]byte(`{"version":4,"properties":{"desired":{"x":` + c.written + `,"$metadata":{"$lastUpdated":"2026-11-29T00:00:00Z"},"$version":2}}}`))
			if err != nil {
				t.Fatal(err)
			}
			next, err := before.Fold(n)
			if c.want == nil {
				if !errors.Is(err, ErrDoubtful) {
					t.Errorf("got %v, %v, want a doubt", next, err)
				}
				return
			}
			if err != nil || !Equal(next.Properties[leaf].Desired.Value, c.want) {
				t.Errorf("got %v, %v, want %v", next, err, c.want)
			}
		})
	}
}

// TestJudgeOfWhatIsOmitted: status said that the device acknowledged, or adjusted, and shows no value.
func TestJudgeOfWhatIsOmitted(t *testing.T) {
	declared := map[string]any{"a": json.Number("1"), "b": json.Number("2")}
	reported := map[string]any{"a": json.Number("1")} // what a device may leave out, a digest does not
	for name, c := range map[string]struct {
		matched any
		want    State
	}{
		"that was acknowledged stays so":             {declared, StateAcknowledged},
		"that was adjusted stays so":                 {nil, StateAdjusted},
		"that was equal to another declaration once": {map[string]any{"a": json.Number("1"), "b": json.Number("3")}, StateAdjusted},
	} {
		t.Run(name, func(t *testing.T) {
			p := Property{
				Desired:  &Desired{Value: declared, Version: 2},
				Reported: &Reported{Value: Omitted{Digest: Digest(reported), Matched: c.matched}, Ack: &Ack{Version: 2, Code: 200}},
			}
			if got := Judge(declared, p, 2, 2); got != c.want {
				t.Errorf("got %s, want %s", got, c.want)
			}
		})
	}
}

func TestNoHubTakesWhatIsOmitted(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		o := Omitted{Reason: "TooLarge", Digest: rapid.String().Draw(t, "digest")}
		raw := EncodeValue(o)
		v, err := DecodeValue(raw)
		fields, ok := v.(map[string]any)
		if err != nil || !ok {
			t.Fatalf("%s: %v", raw, err)
		}
		for key := range fields {
			if key[0] != '$' {
				t.Errorf("%s has a key that a hub takes", raw)
			}
		}
	})
}
