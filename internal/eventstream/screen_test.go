package eventstream

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/Azure/go-amqp"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// Codes of AMQP 1.0 that the tests write by themselves.
const (
	null, uint0, ulong0, isTrueCode = 0x40, 0x43, 0x44, 0x41
	list0, list8, list32            = 0x45, 0xc0, 0xd0
	map8, map32, array32            = 0xc1, 0xd1, 0xf0
)

// anything is a description that the library does not know.
var anything = []byte{0x00, 0x53, 0x99}

// counted is a list, map or array of four-byte sizes that says how many values it has.
func counted(code byte, count int, after ...byte) []byte {
	b := binary.BigEndian.AppendUint32([]byte{code}, uint32(4+len(after)))
	return append(binary.BigEndian.AppendUint32(b, uint32(count)), after...)
}

func joined(parts ...[]byte) []byte { return bytes.Join(parts, nil) }

// hostile are values that are a few bytes, and end the process or take its memory once the library
// decodes them.
var hostile = map[string][]byte{
	"an array of a billion zeros":        counted(array32, 1<<30, uint0),
	"an array of a billion long zeros":   counted(array32, 1<<30, ulong0),
	"an array of a billion truths":       counted(array32, 1<<30, isTrueCode),
	"an array of a billion maps":         counted(array32, 1<<30, map8),
	"an array of a billion large maps":   counted(array32, 1<<30, map32),
	"such an array within a list":        counted(list32, 1, counted(array32, 1<<30, ulong0)...),
	"such an array as a map's value":     counted(map32, 2, joined([]byte{0xa1, 1, 'k'}, counted(array32, 1<<30, ulong0))...),
	"a described list as a key":          joined([]byte{map8, 8, 2}, anything, []byte{list8, 2, 1, null, null}),
	"a list as a key":                    {map8, 5, 2, list8, 2, 1, null, null},
	"an empty list as a key":             {map8, 3, 2, list0, null},
	"bytes as a key":                     {map8, 4, 2, 0xa0, 0, null},
	"a map with a key and nothing":       {map8, 3, 1, 0xa1, 0},
	"a list of too many values":          counted(list32, maxItems+1, bytes.Repeat([]byte{null}, maxItems+1)...),
	"lists that are too many together":   bytes.Repeat([]byte{list8, 3, 2, null, null}, maxItems/2),
	"descriptions of descriptions":       bytes.Repeat(anything, 1000),
	"lists within lists":                 bytes.Repeat([]byte{list8, 2, 1}, 1000),
	"a code that there is not":           {0x01},
	"an array of arrays":                 counted(array32, 1, array32),
	"an array of described values":       counted(array32, 1, 0x00),
	"a list that is said to be short":    {list8, 1, 1, array32, 0, 0, 0, 0, 0x40, 0, 0, 0, ulong0},
	"an array of maps within what it is": counted(array32, 1, map8, 9, 2, 0xa1, 0, array32, 0, 0, 0, 0, 0x40, 0, 0, 0, ulong0),
}

// message is an event whose body is a value.
func message(value []byte) []byte { return append([]byte{0x00, 0x53, 0x77}, value...) }

// transfers is a message in frames with a number of bytes of it each.
func transfers(payload []byte, each int) (b []byte) {
	for first, rest := true, payload; first || len(rest) > 0; first = false {
		n := min(each, len(rest))
		b = wire.AppendTransfer(b, wire.TransferHead{First: first, More: n < len(rest)}, rest[:n])
		rest = rest[n:]
	}
	return b
}

// passed hands a screen a text in parts of a size.
func passed(text []byte, each int) error {
	var s screen
	for part := range slices.Chunk(text, each) {
		if err := s.pass(part); err != nil {
			return err
		}
	}
	return nil
}

func TestWhatTheLibraryCannotReadSafelyIsKeptFromIt(t *testing.T) {
	for name, value := range hostile {
		t.Run(name, func(t *testing.T) {
			for place, text := range map[string][]byte{
				"in a message":                    transfers(message(value), maxFrame/2),
				"in a message of many frames":     transfers(message(value), 7),
				"in annotations":                  transfers(append([]byte{0x00, 0x53, 0x72}, value...), maxFrame/2),
				"after another message":           append(transfers(message([]byte{null}), 10), transfers(message(value), maxFrame/2)...),
				"after one that was not finished": append(unfinished(), transfers(message(value), maxFrame/2)...),
			} {
				for _, each := range []int{1, 1000, len(text)} {
					if err := passed(text, each); !errors.Is(err, errValues) {
						t.Errorf("%s, read by %d: %v", place, each, err)
					}
				}
			}
			if len(value) < maxFrame/2 {
				frame := wire.AppendFrame(nil, 0, 0, wire.Open, "impostor")
				start, at := len(frame), len(frame)
				frame = append(frame, 0, 0, 0, 0, 2, 0, 0, 0, 0x00, 0x53, 0x10)
				frame = append(frame, counted(list32, 1, value...)...)
				binary.BigEndian.PutUint32(frame[at:], uint32(len(frame)-start))
				if err := passed(frame, 5); err == nil {
					t.Error("in a frame: it passes")
				}
			}
		})
	}
}

// unfinished is a message that claims to have much more to come, over a link that ends then.
func unfinished() []byte {
	head := []byte{0x00, 0x53, 0x75, 0xb0, 0x7f, 0xff, 0xff, 0xff, 1, 2, 3}
	b := wire.AppendTransfer(nil, wire.TransferHead{First: true, More: true}, head)
	b = wire.AppendFrame(b, 0, 0, wire.Detach, uint32(0), true)
	return wire.AppendFrame(b, 0, 0, wire.Attach, "again", uint32(0), false)
}

func TestFramesThatAreNoneAreRefused(t *testing.T) {
	for name, text := range map[string]string{
		"of no size":                   "\x00\x00\x00\x00\x02\x00\x00\x00",
		"larger than asked for":        "\x00\x01\x00\x01\x02\x00\x00\x00",
		"of a head beyond its end":     "\x00\x00\x00\x0c\xff\x00\x00\x00\x00\x53\x10\x45",
		"of a head that is too short":  "\x00\x00\x00\x0c\x01\x00\x00\x00\x00\x53\x10\x45",
		"of another protocol":          "HTTP/1.1 400 Bad Request",
		"that say nothing":             "\x00\x00\x00\x09\x02\x00\x00\x00\x40",
		"that are cut":                 "\x00\x00\x00\x0b\x02\x00\x00\x00\x00\x53\x10",
		"a transfer without its link":  "\x00\x00\x00\x0c\x02\x00\x00\x00\x00\x53\x14\x45",
		"a transfer over a named link": "\x00\x00\x00\x12\x02\x00\x00\x00\x00\x53\x14\xc0\x05\x01\xa1\x01x\x00",
	} {
		t.Run(name, func(t *testing.T) {
			if err := passed([]byte(text), 3); err == nil {
				t.Error("it passes")
			}
		})
	}
}

// Frames of a hub pass, however they are cut and read.
func TestWhatHubsSayPasses(t *testing.T) {
	annotations := wire.Map{}
	for n := range 100 {
		annotations = append(annotations, wire.Symbol(fmt.Sprintf("iothub-%d", n)), "value")
	}
	event := wire.AppendSection(nil, wire.SectionAnnotations, annotations)
	event = wire.AppendSection(event, wire.SectionData, []byte(strings.Repeat("\xf0\x00\x00\x00\x00\x40\x00\x00\x00\x44", 20_000)))
	text := []byte(wire.HeaderSASL)
	text = wire.AppendFrame(text, 0, wire.FrameSASL, wire.SASLMechanisms, []wire.Symbol{"ANONYMOUS", "MSSBCBS"})
	text = append(text, wire.HeaderAMQP...)
	text = wire.AppendFrame(text, 0, 0, wire.Open, "hub", nil, uint32(1<<16))
	text = append(text, wire.KeepAlive...)
	text = append(text, transfers(event, 1000)...)
	text = append(text, transfers(event, maxFrame/2)...)
	text = append(text, transfers(message(counted(array32, 3, 0x53, 1, 2, 3)), 2)...)
	text = append(text, transfers(message(counted(list32, 2, list0, null)), 100)...)
	text = wire.AppendFrame(text, 0, 0, wire.Close)
	for _, each := range []int{1, 3, 1000, len(text)} {
		if err := passed(text, each); err != nil {
			t.Errorf("read by %d: %v", each, err)
		}
	}
	before := allocated()
	if err := passed(text, 4096); err != nil {
		t.Error(err)
	}
	if n := allocated() - before; n > 8*maxFrame {
		t.Errorf("%d bytes were allocated for %d", n, len(text))
	}
}

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// FuzzScreen holds the screen against the library: of a message that passes, decoding takes memory
// for its values, and does not panic.
func FuzzScreen(f *testing.F) {
	for _, value := range hostile {
		f.Add(message(value[:min(len(value), 1000)]))
	}
	f.Add(message([]byte{map8, 5, 2, 0xa1, 1, 'k', uint0}))
	f.Fuzz(func(t *testing.T, text []byte) {
		var m items
		if _, err := m.take(text, false); err != nil {
			return
		}
		before := allocated()
		_ = (&amqp.Message{}).UnmarshalBinary(text)
		if n := allocated() - before; n > 1<<20+1000*uint64(len(text)+m.total) {
			t.Errorf("%d bytes were allocated for %d bytes, %d values", n, len(text), m.total)
		}
	})
}

// Random mixtures of what values begin with, so that the test does not depend on a fuzzer.
func TestWhatPassesIsDecodedSafely(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	parts := [][]byte{{0x00, 0x53, 0x77}, {0x00, 0x53, 0x72}, {0x00, 0x53, 0x74}, {0x00, 0x53, 0x76}, anything, {null}, {uint0}, {list0}, {list8, 2, 1}, {map8, 4, 2}, {0xa1, 1, 'k'}, {0xa3, 1, 'k'},
		{array32, 0, 0, 0, 6, 0, 0, 0, 2, uint0}, {array32, 0, 0, 0, 6, 0, 0, 1, 0, ulong0}, {array32, 0, 0, 0, 6, 0, 0, 0, 1, map8}, {0x56, 1}, {0x00}, {0xe0, 2, 1, 0x53}, {0x83, 0, 0, 0, 0, 0, 0, 0, 1}}
	passing := 0
	for range 50_000 {
		text := slices.Clone(parts[random.IntN(4)])
		for range random.IntN(8) {
			text = append(text, parts[random.IntN(len(parts))]...)
		}
		var m items
		if _, err := m.take(text, false); err == nil {
			passing++
			_ = (&amqp.Message{}).UnmarshalBinary(text)
		}
	}
	if passing < 2_000 {
		t.Errorf("%d texts passed", passing)
	}
}
