package wire

import (
	"bytes"
	"errors"
	"io"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// frames are named by their clause of "OASIS AMQP Version 1.0", parts 2 and 5. They have all the fields of their types.
var frames = map[string]struct {
	bytes      string
	channel    uint16
	kind       byte
	descriptor uint64
	fields     []any
}{
	"2.7.1 open": {
		"00000021 02 00 0000 00 53 10 d0 00000011 0000000a a1 01 61 40 52 ff 40 40 40 40 40 40 40",
		0, FrameAMQP, Open, []any{"a", nil, uint32(255)},
	},
	"2.7.2 begin, on a channel":    {"0000001e 02 00 0102 00 53 11 d0 0000000e 00000008 40 43 52 05 52 05 40 40 40 40", 0x0102, FrameAMQP, Begin, []any{nil, uint32(0), uint32(5), uint32(5)}},
	"2.7.3 attach":                 {"00000023 02 00 0000 00 53 12 d0 00000013 0000000e a1 00 43 41 40 40 40 40 40 40 40 40 40 40 40", 0, FrameAMQP, Attach, []any{"", uint32(0), true}},
	"2.7.8 end, without fields":    {"00000015 02 00 0001 00 53 17 d0 00000005 00000001 40", 1, FrameAMQP, End, []any{}},
	"2.7.9 close, without fields":  {"00000015 02 00 0000 00 53 18 d0 00000005 00000001 40", 0, FrameAMQP, Close, []any{}},
	"5.3.3.6 sasl-outcome, type 1": {"00000017 02 01 0000 00 53 44 d0 00000007 00000002 50 00 40", 0, FrameSASL, SASLOutcome, []any{uint8(0)}},
}

func TestFrames(t *testing.T) {
	for name, test := range frames {
		t.Run(name, func(t *testing.T) {
			want := unhex(t, test.bytes)
			got := AppendFrame(nil, test.channel, test.kind, test.descriptor, test.fields...)
			if !bytes.Equal(want, got) {
				t.Fatalf("written as % x, want % x", got, want)
			}
			f, err := ReadFrame(bytes.NewReader(got), len(got))
			if err != nil || f.Channel != test.channel || f.Type != test.kind {
				t.Fatalf("read as %+v, %v", f, err)
			}
			p, payload, err := ParsePerformative(f.Body)
			if diff := cmp.Diff(Performative{test.descriptor, whole(test.descriptor, test.fields)}, p); err != nil || len(payload) > 0 || diff != "" {
				t.Errorf("payload % x, %v, (-want +got):\n%s", payload, err, diff)
			}
		})
	}
}

// whole has the null fields that a performative ends with.
func whole(descriptor uint64, fields []any) []any {
	return append(fields, make([]any, fieldCounts[descriptor]-len(fields))...)
}

func TestPerformativesThatOmitTrailingNullsAreRead(t *testing.T) {
	for text, want := range map[string]Performative{
		"00 53 18 45":                                    {Close, []any{}},
		"00 53 10 c0 04 01 a1 01 61":                     {Open, []any{"a"}},
		"00 53 12 d0 00000008 00000003 a1 00 43 41":      {Attach, []any{"", uint32(0), true}},
		"00 80 0000000000000018 d0 00000005 00000001 40": {Close, []any{nil}},
	} {
		if got, _, err := ParsePerformative(unhex(t, text)); err != nil || cmp.Diff(want, got) != "" {
			t.Errorf("%s is read as %+v, %v", text, got, err)
		}
	}
}

func TestSectionsLeaveTrailingNullsOut(t *testing.T) {
	got := List(nil, SectionProperties, "a", nil, nil)
	if want := unhex(t, "00 53 73 d0 00000007 00000001 a1 01 61"); !bytes.Equal(want, got) {
		t.Errorf("% x, want % x", got, want)
	}
}

func TestWhatIsNoFrame(t *testing.T) {
	for name, test := range map[string]struct {
		bytes string
		want  error // nil: it is one
	}{
		"2.3.1 an empty frame, which keeps alive":   {"00000008 02 00 0000", nil},
		"2.3.1 with an extended header":             {"00000010 03 00 0000 ffffffff 00 53 18 45", nil},
		"2.3.1 shorter than its header":             {"00000007 02 00 0000", ErrFraming},
		"2.3.1 with data before the header's end":   {"00000008 01 00 0000", ErrFraming},
		"2.3.1 with data behind the frame's end":    {"00000008 03 00 0000", ErrFraming},
		"2.3.1 larger than we said that we take":    {"00000200 02 00 0000", ErrFraming},
		"2.3.1 larger than an int of 32 bits":       {"ffffffff 02 00 0000", ErrFraming},
		"nothing":                                   {"", io.EOF},
		"a header that breaks off":                  {"0000 0008 02", io.ErrUnexpectedEOF},
		"a body that breaks off":                    {"0000000c 02 00 0000 00 53", io.ErrUnexpectedEOF},
		"a protocol header, where frames are meant": {"414d5150 00 01 00 00", ErrFraming},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := ReadFrame(bytes.NewReader(unhex(t, test.bytes)), 256)
			if !errors.Is(err, test.want) || test.want == nil && err != nil {
				t.Errorf("read as %+v, %v, want %v", f, err, test.want)
			}
		})
	}
}

func TestTheExtendedHeaderIsSkipped(t *testing.T) {
	f, err := ReadFrame(bytes.NewReader(unhex(t, "00000010 03 00 0000 ffffffff 00 53 18 45")), 256)
	if err != nil || !bytes.Equal(f.Body, unhex(t, "00 53 18 45")) {
		t.Errorf("body % x, %v", f.Body, err)
	}
}

func TestTransfers(t *testing.T) {
	for name, test := range map[string]struct {
		head   TransferHead
		fields []any
	}{
		"2.7.5 the only frame of a delivery": {
			TransferHead{Channel: 1, Handle: 2, First: true, DeliveryID: 3, Tag: 4, Settled: true},
			[]any{uint32(2), uint32(3), []byte{0, 0, 0, 4}, uint32(0), true, false},
		},
		"2.7.5 the first of several": {
			TransferHead{Channel: 1, Handle: 2, First: true, DeliveryID: 3, Tag: 4, More: true},
			[]any{uint32(2), uint32(3), []byte{0, 0, 0, 4}, uint32(0), false, true},
		},
		"2.7.5 one in the middle": {
			TransferHead{Channel: 1, Handle: 2, DeliveryID: 3, Tag: 4, Settled: true, More: true},
			[]any{uint32(2), nil, nil, nil, true, true},
		},
		"2.7.5 with the largest numbers": {
			TransferHead{Channel: 65535, Handle: 1<<32 - 1, First: true, DeliveryID: 1<<32 - 1, Tag: 1<<32 - 1, Settled: true, More: true},
			[]any{uint32(1<<32 - 1), uint32(1<<32 - 1), []byte{255, 255, 255, 255}, uint32(0), true, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := AppendTransfer([]byte("before"), test.head, []byte("payload"))[len("before"):]
			if over := len(b) - len("payload"); over > TransferOverhead {
				t.Errorf("%d bytes beside the payload, more than %d", over, TransferOverhead)
			}
			f, err := ReadFrame(bytes.NewReader(b), len(b))
			if err != nil || f.Channel != test.head.Channel {
				t.Fatalf("read as %+v, %v", f, err)
			}
			p, payload, err := ParsePerformative(f.Body)
			if diff := cmp.Diff(Performative{Transfer, whole(Transfer, test.fields)}, p); err != nil || string(payload) != "payload" || diff != "" {
				t.Errorf("payload %q, %v, (-want +got):\n%s", payload, err, diff)
			}
		})
	}
}

func TestFieldsThatAreMissingOrOfAnotherTypeAreZero(t *testing.T) {
	source := Described{uint64(0x28), []any{"address"}}
	p := Performative{Flow, []any{uint32(7), uint64(8), true, "text", Symbol("symbol"), source, Map{"k", "v"}}}
	got := []any{
		p.Uint(0, 1), p.Uint(1, 1), p.Uint(99, 1), p.Bool(2), p.Bool(0), p.Text(3), p.Text(4), p.Text(0),
		p.Composite(5).Text(0), p.Composite(3).Text(0), p.Map(6).Get("k"), p.Map(0).Get("k"), p.At(99),
	}
	want := []any{uint32(7), uint32(1), uint32(1), true, false, "text", "symbol", "", "address", "", "v", nil, nil}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestWhatIsNoPerformative(t *testing.T) {
	for name, bytes := range map[string]string{
		"nothing": "", "no described value": "45", "a descriptor that is a symbol": "00 a3 01 61 45", "a map": "00 53 10 c1 01 00",
	} {
		t.Run(name, func(t *testing.T) {
			if p, _, err := ParsePerformative(unhex(t, bytes)); err == nil {
				t.Errorf("read as %+v", p)
			}
		})
	}
}
