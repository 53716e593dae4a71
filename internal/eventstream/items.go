package eventstream

import (
	"encoding/binary"
	"slices"
)

// items walks over encoded AMQP values, which may come in parts: part 1 of AMQP 1.0, "Types". Like
// the library it goes by counts, and not by sizes. It decodes nothing. The zero value is before the
// first value.
type items struct {
	open  []nest  // lists, maps, arrays and descriptions that are not at their end
	skip  uint32  // bytes of the present value that are still to come
	code  byte    // of the value whose head is being read
	head  [9]byte // sizes and counts that a value begins with
	got   int
	want  int // bytes of head, 0: none is being read
	total int // values that others were said to hold
	heavy int // those of total that a message need not have: no sections, no lists that are sections
}

// nest is a value that others are in.
type nest struct {
	left    uint32
	isMap   bool
	isArray bool
	code    byte // of each element of an array
}

// isWhole reports whether no value is under way.
func (i *items) isWhole() bool { return len(i.open) == 0 && i.skip == 0 && i.want == 0 }

// take goes on with a text, up to the end of one value if that is wanted. It returns how many bytes
// it took.
func (i *items) take(text []byte, onlyOne bool) (taken int, err error) {
	for taken < len(text) || i.isInArray() {
		switch {
		case i.skip > 0:
			n := min(int(i.skip), len(text)-taken)
			if n == 0 {
				return taken, nil
			}
			taken += n
			if i.skip -= uint32(n); i.skip == 0 { //nolint:gosec // at most skip
				err = i.end()
			}
		case i.want > 0:
			n := copy(i.head[i.got:i.want], text[taken:])
			if n == 0 {
				return taken, nil
			}
			taken += n
			if i.got += n; i.got == i.want {
				i.want = 0
				err = i.sized()
			}
		case i.isInArray():
			err = i.begin(i.open[len(i.open)-1].code)
		default:
			err = i.begin(text[taken])
			taken++
		}
		if err != nil || onlyOne && i.isWhole() {
			return taken, err
		}
	}
	return taken, nil
}

// isInArray reports whether the next value is an element of an array: these have no code of their
// own.
func (i *items) isInArray() bool {
	return len(i.open) > 0 && i.open[len(i.open)-1].isArray
}

// Classes of codes, by their upper half.
const (
	classDescribed = 0x0
	classEmpty     = 0x4
	classFixed     = 0x5 // and above, each twice as wide
	classVariable  = 0xa
	classCompound  = 0xc
	classArray     = 0xe
)

// described is the code that a description begins with, and then the value.
const described = 0x00

// unhashed are the codes of small values that Go cannot hash: an empty list, and bytes.
var unhashed = []byte{0x45, 0xa0, 0xb0}

// begin begins a value.
func (i *items) begin(code byte) error {
	i.code, i.got = code, 0
	class := code >> 4
	if i.isKey() && (code == described || class >= classCompound || slices.Contains(unhashed, code)) {
		return errValues
	}
	switch {
	case code == described:
		return i.nest(nest{left: 2})
	case class == classEmpty:
		return i.end()
	case classFixed <= class && class < classVariable:
		i.skip = 1 << (class - classFixed)
		return nil
	case class == classDescribed, class < classEmpty:
		return errValues
	}
	width := 1
	if class%2 == 1 { // of sizes and counts
		width = 4
	}
	switch class &^ 1 {
	case classVariable:
		i.want = width
	case classCompound:
		i.want = 2 * width
	case classArray:
		i.want = 2*width + 1
	}
	return nil
}

// isKey reports whether the next value is a key of a map.
func (i *items) isKey() bool {
	if len(i.open) == 0 {
		return false
	}
	in := i.open[len(i.open)-1]
	return in.isMap && in.left%2 == 0
}

// sized goes on after the head of a value.
func (i *items) sized() error {
	head := i.head[:i.got]
	number := func() (n uint32) {
		if i.code>>4%2 == 1 {
			n, head = binary.BigEndian.Uint32(head), head[4:]
			return n
		}
		n, head = uint32(head[0]), head[1:]
		return n
	}
	size := number()
	if i.code>>4&^1 == classVariable {
		if i.skip = size; size == 0 {
			return i.end()
		}
		return nil
	}
	count := number()
	if count > maxItems {
		return errValues
	}
	const map8, map32 = 0xc1, 0xd1
	of := nest{left: count, isMap: i.code == map8 || i.code == map32}
	if of.isMap && count%2 == 1 {
		return errValues
	}
	if i.code>>4&^1 == classArray {
		of.isArray, of.code = true, head[0]
		if class := of.code >> 4; of.code == described || class >= classCompound && of.code != map8 && of.code != map32 {
			return errValues // the library reads none
		}
	}
	return i.nest(of)
}

// maxFields is above how many a section has that is a list.
const maxFields = 16

// nest begins a value that others are in.
func (i *items) nest(n nest) error {
	if n.left == 0 {
		return i.end()
	}
	i.total += int(n.left) // the library allocates for as many before it reads the first
	if len(i.open) > 0 && (len(i.open) > 1 || n.left > maxFields || n.isMap || n.isArray) {
		i.heavy += int(n.left)
	}
	if i.open = append(i.open, n); len(i.open) > maxNested || i.total > maxItems {
		return errValues
	}
	return nil
}

// end is called after each value, and ends those that it was the last one in.
func (i *items) end() error {
	for {
		last := len(i.open) - 1
		if last < 0 {
			return nil
		}
		if i.open[last].left--; i.open[last].left > 0 {
			return nil
		}
		i.open = i.open[:last]
	}
}

const (
	// freeValues of a message are not weighed: an event of a hub has some thirty annotations.
	freeValues = 64
	// ofValue is what a value takes of memory at most once it is decoded, beside its bytes: a place
	// in a map or a list, and what holds it there. TestWhatMessagesTakeIsTheirWeight measures it.
	ofValue = 128
)

// weight is what the values of a message take of memory, in bytes.
func (i *items) weight() int64 { return int64(max(0, i.heavy-freeValues)) * ofValue }
