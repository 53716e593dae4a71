package wire

import (
	"bytes"
	"encoding/hex"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/Azure/go-amqp"
	"github.com/google/go-cmp/cmp"
)

// unhex reads bytes as the specification prints them.
func unhex(t testing.TB, s string) []byte {
	t.Helper()
	b, err := hex.DecodeString(strings.ReplaceAll(s, " ", ""))
	if err != nil {
		t.Fatal(err)
	}
	return b
}

var (
	aUUID = UUID{0x00, 0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88, 0x99, 0xaa, 0xbb, 0xcc, 0xdd, 0xee, 0xff}
	long  = strings.Repeat("x", 256)
)

// values are named by their clause of "OASIS AMQP Version 1.0", part 1. Those that we would write in another way are only
// for reading.
var values = map[string]struct {
	bytes    string
	value    any
	onlyRead bool
}{
	"1.2 described, by a ulong":                     {"00 53 24 45", Described{uint64(0x24), []any{}}, false},
	"1.2 described, by a symbol":                    {"00 a3 01 61 41", Described{Symbol("a"), true}, false},
	"1.2 described, by a long ulong":                {"00 80 0000000000000024 45", Described{uint64(0x24), []any{}}, true},
	"1.2 described, of a described value":           {"00 53 01 00 53 02 40", Described{uint64(1), Described{uint64(2), nil}}, false},
	"1.6.1 null":                                    {"40", nil, false},
	"1.6.2 boolean true":                            {"41", true, false},
	"1.6.2 boolean false":                           {"42", false, false},
	"1.6.2 boolean true, in one byte":               {"56 01", true, true},
	"1.6.2 boolean false, in one byte":              {"56 00", false, true},
	"1.6.3 ubyte":                                   {"50 ff", uint8(255), false},
	"1.6.4 ushort":                                  {"60 fffe", uint16(65534), false},
	"1.6.5 uint":                                    {"70 fffffffe", uint32(math.MaxUint32 - 1), false},
	"1.6.5 uint, smalluint":                         {"52 ff", uint32(255), false},
	"1.6.5 uint, uint0":                             {"43", uint32(0), false},
	"1.6.6 ulong":                                   {"80 fffffffffffffffe", uint64(math.MaxUint64 - 1), false},
	"1.6.6 ulong, smallulong":                       {"53 01", uint64(1), false},
	"1.6.6 ulong, ulong0":                           {"44", uint64(0), false},
	"1.6.7 byte":                                    {"51 80", int8(-128), false},
	"1.6.8 short":                                   {"61 8000", int16(math.MinInt16), false},
	"1.6.9 int":                                     {"71 80000000", int32(math.MinInt32), false},
	"1.6.9 int, just too large for one":             {"71 00000080", int32(128), false},
	"1.6.9 int, smallint":                           {"54 80", int32(-128), false},
	"1.6.10 long":                                   {"81 8000000000000000", int64(math.MinInt64), false},
	"1.6.10 long, smalllong":                        {"55 ff", int64(-1), false},
	"1.6.11 float":                                  {"72 3fc00000", float32(1.5), false},
	"1.6.12 double":                                 {"82 3ff8000000000000", 1.5, false},
	"1.6.16 char":                                   {"73 00002603", int32('☃'), true},
	"1.6.17 timestamp":                              {"83 00000003a33d3880", time.UnixMilli(0x3a33d3880).UTC(), false},
	"1.6.17 timestamp, before 1970":                 {"83 ffffffffffffffff", time.UnixMilli(-1).UTC(), false},
	"1.6.18 uuid":                                   {"98 00112233445566778899aabbccddeeff", aUUID, false},
	"1.6.19 binary, vbin8":                          {"a0 02 00ff", []byte{0, 255}, false},
	"1.6.19 binary, empty":                          {"a0 00", []byte{}, false},
	"1.6.19 binary, vbin32":                         {"b0 00000100" + strings.Repeat("78", 256), []byte(long), false},
	"1.6.20 string, str8-utf8":                      {"a1 03 e29883", "☃", false},
	"1.6.20 string, str32-utf8":                     {"b1 00000100" + strings.Repeat("78", 256), long, false},
	"1.6.20 string, str32-utf8, though it is short": {"b1 00000001 61", "a", true},
	"1.6.21 symbol, sym8":                           {"a3 01 61", Symbol("a"), false},
	"1.6.21 symbol, sym32":                          {"b3 00000100" + strings.Repeat("78", 256), Symbol(long), false},
	"1.6.22 list, list0":                            {"45", []any{}, false},
	"1.6.22 list, list8":                            {"c0 03 02 41 40", []any{true, nil}, true},
	"1.6.22 list, list32":                           {"d0 00000006 00000002 41 40", []any{true, nil}, false},
	"1.6.23 map, map8":                              {"c1 05 02 a1 01 61 41", Map{"a", true}, true},
	"1.6.23 map, map32":                             {"d1 0000000d 00000004 a3 01 62 42 a1 01 61 54 07", Map{Symbol("b"), false, "a", int32(7)}, false},
	"1.6.24 array, array8":                          {"e0 06 02 a3 01 61 01 62", []any{Symbol("a"), Symbol("b")}, true},
	"1.6.24 array, array32":                         {"f0 0000000d 00000002 71 00000001 ffffffff", []any{int32(1), int32(-1)}, true},
	"1.6.24 array, empty":                           {"f0 00000005 00000000 b1", []any{}, true},
	"1.6.24 array, of lists":                        {"e0 06 02 c0 01 00 01 00", []any{[]any{}, []any{}}, true},
}

func TestValues(t *testing.T) {
	for name, test := range values {
		t.Run(name, func(t *testing.T) {
			b := unhex(t, test.bytes)
			got, rest, err := Decode(append(bytes.Clone(b), "rest"...))
			if err != nil || string(rest) != "rest" {
				t.Fatalf("decoded to %#v, %q is left, %v", got, rest, err)
			}
			if diff := cmp.Diff(test.value, got); diff != "" {
				t.Errorf("decoded (-want +got):\n%s", diff)
			}
			if out := Append(nil, test.value); !test.onlyRead && !bytes.Equal(b, out) {
				t.Errorf("encoded to % x, want % x", out, b)
			}
			for n := range b {
				if v, _, err := Decode(b[:n]); err == nil {
					t.Errorf("the first %d bytes are %#v", n, v)
				}
			}
		})
	}
}

func TestArraysAreWritten(t *testing.T) {
	for name, test := range map[string]struct {
		bytes string
		value any
	}{
		"1.6.24 array, of strings":    {"f0 0000000f 00000002 b1 00000001 30 00000001 31", []string{"0", "1"}},
		"1.6.24 array, of symbols":    {"f0 0000000a 00000001 b3 00000001 61", []Symbol{"a"}},
		"1.6.24 array, of no strings": {"f0 00000005 00000000 b1", []string{}},
	} {
		t.Run(name, func(t *testing.T) {
			if got, want := Append(nil, test.value), unhex(t, test.bytes); !bytes.Equal(want, got) {
				t.Errorf("% x, want % x", got, want)
			}
		})
	}
}

func TestWhatIsNoValue(t *testing.T) {
	for name, test := range map[string]struct {
		bytes string
		want  error // nil: any
	}{
		"nothing":                               {"", errShort},
		"1.2 constructor 0x3 does not exist":    {"30", nil},
		"1.2 constructor 0x46 does not exist":   {"46", nil},
		"1.2 a descriptor without a value":      {"00 53 24", errShort},
		"1.2 descriptors without end":           {strings.Repeat("00", 100), errDeep},
		"1.6.13 decimal32, which nobody sends":  {"74 00000000", nil},
		"1.6.14 decimal64, which nobody sends":  {"84 0000000000000000", nil},
		"1.6.15 decimal128, which nobody sends": {"94 00000000000000000000000000000000", nil},
		"1.6.20 string longer than there is":    {"b1 ffffffff 61", errShort},
		"1.6.22 list of more than there is":     {"c0 02 02 41", errShort},
		"1.6.22 list without room for a count":  {"c0 00", errShort},
		"1.6.22 list in lists without end":      {nested(maxDepth + 1), errDeep},
		"1.6.23 map with a key without a value": {"c1 02 01 41", errOdd},
		"1.6.24 array without a constructor":    {"e0 01 01", errShort},
		"1.6.24 array of a billion nulls":       {"f0 00000005 40000000 40", errHollow},
		"1.6.24 array of described values":      {"e0 05 01 00 53 24 45", nil},
	} {
		t.Run(name, func(t *testing.T) {
			v, _, err := Decode(unhex(t, test.bytes))
			if err == nil || test.want != nil && !errors.Is(err, test.want) {
				t.Errorf("decoded to %#v, %v, want %v", v, err, test.want)
			}
		})
	}
}

// nested is lists in lists.
func nested(depth int) string {
	b := []byte{codeList0}
	for range depth {
		n := byte(len(b) + 1)
		b = append([]byte{codeList8, n, 1}, b...)
	}
	return hex.EncodeToString(b)
}

func TestAGoTypeWithoutACounterpartPanics(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an int was encoded")
		}
	}()
	Append(nil, 1)
}

func TestMapsAreSearchedByStringAndSymbol(t *testing.T) {
	m := Map{"a", 1, Symbol("b"), 2, uint64(3), "3", "odd"}
	for key, want := range map[string]any{"a": 1, "b": 2, "3": nil, "odd": nil, "": nil} {
		if got := m.Get(key); got != want {
			t.Errorf("%q: %v, want %v", key, got, want)
		}
	}
}

// go-amqp is another implementation: what we write, it reads.
func TestSectionsAreReadByGoAMQP(t *testing.T) {
	at := time.UnixMilli(1_700_000_000_123).UTC()
	b := AppendSection(nil, SectionDeliveryAnnotations, Map{Symbol("last"), int64(9)})
	b = AppendSection(b, SectionAnnotations, Map{Symbol("x-opt-offset"), "42", Symbol("x-opt-enqueued-time"), at})
	b = List(b, SectionProperties, "m1", []byte{0xff}, nil, nil, nil, uint64(7), Symbol("application/json"))
	b = AppendSection(b, SectionApplication, Map{
		"u8", uint8(1), "u16", uint16(2), "u32", uint32(300), "u64", uint64(1 << 40), "i8", int8(-1), "i16", int16(-2), "i32", int32(-300),
		"i64", int64(-1 << 40), "f", float32(1.5), "d", 2.5, "yes", true, "at", at, "uuid", aUUID, "text", long, "bin", []byte{1}, "none", nil,
	})
	b = AppendSection(b, SectionValue, Map{"ids", []string{"0", "1"}})
	var got amqp.Message
	if err := got.UnmarshalBinary(b); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"u8": uint8(1), "u16": uint16(2), "u32": uint32(300), "u64": uint64(1 << 40), "i8": int8(-1), "i16": int16(-2), "i32": int32(-300),
		"i64": int64(-1 << 40), "f": float32(1.5), "d": 2.5, "yes": true, "at": at, "uuid": amqp.UUID(aUUID), "text": long, "bin": []byte{1}, "none": nil,
	}
	if diff := cmp.Diff(want, got.ApplicationProperties); diff != "" {
		t.Errorf("3.2.5 application-properties (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(amqp.Annotations{"x-opt-offset": "42", "x-opt-enqueued-time": at}, got.Annotations); diff != "" {
		t.Errorf("3.2.3 message-annotations (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(amqp.Annotations{"last": int64(9)}, got.DeliveryAnnotations); diff != "" {
		t.Errorf("3.2.2 delivery-annotations (-want +got):\n%s", diff)
	}
	p := &amqp.MessageProperties{MessageID: "m1", UserID: []byte{0xff}, CorrelationID: uint64(7), ContentType: new("application/json")}
	if diff := cmp.Diff(p, got.Properties); diff != "" {
		t.Errorf("3.2.4 properties (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff(any(map[string]any{"ids": []string{"0", "1"}}), got.Value); diff != "" {
		t.Errorf("3.2.8 amqp-value (-want +got):\n%s", diff)
	}
}

// What go-amqp writes, we read, section by section as it came.
func TestSectionsOfGoAMQPAreRead(t *testing.T) {
	m := &amqp.Message{
		Properties: &amqp.MessageProperties{MessageID: "m1"}, Annotations: amqp.Annotations{"a": int64(1)},
		ApplicationProperties: map[string]any{"k": "v"}, Data: [][]byte{[]byte("one"), []byte("two")},
	}
	b, err := m.MarshalBinary()
	if err != nil {
		t.Fatal(err)
	}
	got, err := ParseSections(b)
	if err != nil {
		t.Fatal(err)
	}
	var raw []byte
	var values []any
	for i := range got {
		raw = append(raw, got[i].Raw...)
		values = append(values, got[i].Descriptor, got[i].Value)
	}
	want := []any{
		uint64(SectionAnnotations), Map{Symbol("a"), int64(1)}, uint64(SectionProperties), []any{"m1"},
		uint64(SectionApplication), Map{"k", "v"}, uint64(SectionData), []byte("one"), uint64(SectionData), []byte("two"),
	}
	if diff := cmp.Diff(want, values); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if !bytes.Equal(raw, b) {
		t.Error("the sections are not the message")
	}
	for name, broken := range map[string][]byte{"cut off": b[:len(b)-1], "without a descriptor": {codeTrue}} {
		if _, err := ParseSections(broken); err == nil {
			t.Errorf("a message %s was read", name)
		}
	}
}

// FuzzDecode: whatever can be read can be written and read again, as the same.
func FuzzDecode(f *testing.F) {
	for _, test := range values {
		f.Add(unhex(f, test.bytes))
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = ParseSections(b)
		_, _, _ = ParsePerformative(b)
		v, rest, err := Decode(b)
		if err != nil {
			return
		}
		if len(rest) >= len(b) {
			t.Fatalf("no byte of % x was read", b)
		}
		once := Append(nil, v)
		again, rest, err := Decode(once)
		if err != nil || len(rest) > 0 {
			t.Fatalf("% x was read as %#v and written as % x, of which % x is left: %v", b, v, once, rest, err)
		}
		if twice := Append(nil, again); !bytes.Equal(once, twice) {
			t.Fatalf("% x, then % x", once, twice)
		}
	})
}
