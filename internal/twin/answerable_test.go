package twin_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func TestValidateAnswerLeavesRoomForALevel(t *testing.T) {
	tooDeep := func(path string) string {
		return path + ` is nested 10 levels below desired, components included, and 11 in its acknowledgement, under "value"; the hub takes at most 10: ` +
			"nest at most 9, or set readyWhen: Applied for a device that acknowledges nothing"
	}
	for name, tc := range map[string]struct {
		declared twin.Declaration
		want     []string
	}{
		"nothing declared":                   {declared: nil},
		"a scalar":                           {declared: one("a", `1`)},
		"nine levels leave room":             {declared: one("a", nested(9))},
		"ten do not":                         {declared: one("a", nested(10)), want: []string{tooDeep("properties.a" + strings.Repeat(".o", 9))}},
		"an empty object is a level":         {declared: one("a", strings.Repeat(`{"o":`, 9)+"{}"+strings.Repeat("}", 9)), want: []string{tooDeep("properties.a" + strings.Repeat(".o", 9))}},
		"an array is a level":                {declared: one("a", `[`+nested(9)+`]`), want: []string{tooDeep("properties.a[0]" + strings.Repeat(".o", 8))}},
		"a component is a level":             {declared: twin.Declaration{{Component: "t1", Name: "a"}: value(nested(9)), {Component: "t1", Name: "b"}: value(nested(8))}, want: []string{tooDeep("components[t1].properties.a" + strings.Repeat(".o", 8))}},
		"all that is too deep, and in order": {declared: twin.Declaration{{Name: "b"}: value(nested(10)), {Name: "a"}: value(nested(10))}, want: []string{tooDeep("properties.a" + strings.Repeat(".o", 9)), tooDeep("properties.b" + strings.Repeat(".o", 9))}},
	} {
		t.Run(name, func(t *testing.T) {
			checkViolations(t, nil, twin.Validate(tc.declared, twin.DeviceTwin))
			checkViolations(t, tc.want, twin.ValidateAnswer(tc.declared))
		})
	}
}

// TestValidateAnswerLeavesRoomForEveryEnvelope fills the reported properties to the byte.
func TestValidateAnswerLeavesRoomForEveryEnvelope(t *testing.T) {
	const limit, envelope = 32 * 1024, len("value") + len("ac") + 8 + len("av") + 8
	fill := func(used int) twin.Declaration {
		d := twin.Declaration{}
		for i := 0; used < limit; i++ {
			name := fmt.Sprintf("f%02d", i)
			n := min(2000, limit-used-len(name)-envelope)
			d[twin.Leaf{Name: name}] = strings.Repeat("x", n)
			used += len(name) + n + envelope
		}
		return d
	}
	for name, tc := range map[string]struct {
		leaf twin.Leaf
		size int
	}{
		"a property":                {leaf: twin.Leaf{Name: "ab"}, size: 2 + 8 + envelope},
		"a property of a component": {leaf: twin.Leaf{Component: "t1", Name: "ab"}, size: 2 + 3 + 1 + 2 + 8 + envelope},
	} {
		t.Run(name, func(t *testing.T) {
			d := fill(tc.size)
			d[tc.leaf] = value(`1`)
			checkViolations(t, nil, twin.ValidateAnswer(d))
			d[tc.leaf] = "123456789"
			checkViolations(t, []string{"spec takes 32769 bytes of the reported properties once all of it is acknowledged, 25 for each property beside its value; " +
				"the hub takes at most 32768: declare less, or set readyWhen: Applied for a device that acknowledges nothing"}, twin.ValidateAnswer(d))
			checkViolations(t, nil, twin.Validate(d, twin.DeviceTwin))
		})
	}
}
