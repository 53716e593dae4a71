package fleet

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/crc32"
	"io"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Errors of a record that cannot be used. Its members are rebuilt from the hub.
var (
	// ErrTruncated means that data end early, or are not what their checksum says.
	ErrTruncated = errors.New("the record is truncated or damaged")
	// ErrForeign means that data are of another fleet, or of another hub.
	ErrForeign = errors.New("the record is of another fleet")
	// ErrVersion means that data have another layout than this version of the operator reads.
	ErrVersion = errors.New("the record is of another version of the operator")
)

// Object is a part of the record as it is stored.
type Object struct {
	// Name is unique within the fleet.
	Name    string
	Content v1alpha1.ShardContent
	Index   int
	Members int
	// Data are nil for an object that goes.
	Data []byte
}

const (
	magic = "PNPF"
	// layout is raised when data change in a way that older code cannot read.
	layout = 1
	// headSize is magic, layout, checksum and length.
	headSize = len(magic) + 1 + 4 + 4
	// maxRaw bounds what is decompressed.
	maxRaw = 64 << 20
)

// seal compresses raw data, and says what they are.
func seal(raw []byte) []byte {
	out := bytes.NewBufferString(magic)
	out.WriteByte(layout)
	head := binary.BigEndian.AppendUint32(nil, crc32.ChecksumIEEE(raw))
	out.Write(binary.BigEndian.AppendUint32(head, uint32(len(raw)))) //nolint:gosec // maxRaw bounds it
	w, _ := flate.NewWriter(out, flate.BestSpeed)                    // the level is valid; a smaller shard takes thrice the time
	_, _ = w.Write(raw)                                              // a buffer takes all
	_ = w.Close()
	return out.Bytes()
}

// unseal returns the raw data.
func unseal(data []byte) ([]byte, error) {
	if len(data) < headSize || string(data[:len(magic)]) != magic {
		return nil, ErrTruncated
	}
	if v := data[len(magic)]; v != layout {
		return nil, fmt.Errorf("%w: layout %d, want %d", ErrVersion, v, layout)
	}
	sum, size := binary.BigEndian.Uint32(data[len(magic)+1:]), binary.BigEndian.Uint32(data[len(magic)+5:])
	if size > maxRaw {
		return nil, ErrTruncated
	}
	raw, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(data[headSize:])), int64(size)+1))
	if err != nil || uint32(len(raw)) != size || crc32.ChecksumIEEE(raw) != sum { //nolint:gosec // maxRaw bounds it
		return nil, ErrTruncated
	}
	return raw, nil
}

// encoder writes columns.
type encoder struct{ raw []byte }

func (e *encoder) number(n uint64) { e.raw = binary.AppendUvarint(e.raw, n) }
func (e *encoder) signed(n int64)  { e.raw = binary.AppendVarint(e.raw, n) }

func (e *encoder) text(t string) {
	e.number(uint64(len(t)))
	e.raw = append(e.raw, t...)
}

// decoder reads what an encoder wrote. After the first mistake it returns zero values.
type decoder struct {
	raw []byte
	bad bool
}

func (d *decoder) number() uint64 { return take(d, binary.Uvarint) }
func (d *decoder) signed() int64  { return take(d, binary.Varint) }

// take reads a number by a function that returns how many bytes it has, none if it is cut or too
// large.
func take[N int64 | uint64](d *decoder, read func([]byte) (N, int)) N {
	n, size := read(d.raw)
	if size <= 0 {
		d.bad = true
		return 0
	}
	d.raw = d.raw[size:]
	return n
}

// count reads a number of things, each of which takes at least a byte.
func (d *decoder) count() int {
	n := d.number()
	if n > uint64(len(d.raw)) {
		d.bad = true
		return 0
	}
	return int(n) //nolint:gosec // bounded by the length of data
}

// index reads the number of one of n things.
func (d *decoder) index(n int) int {
	i := d.number()
	if i >= uint64(n) { //nolint:gosec // not negative
		d.bad = true
		return 0
	}
	return int(i) //nolint:gosec // below n
}

func (d *decoder) text() string {
	n := d.count()
	if d.bad {
		return ""
	}
	t := string(d.raw[:n])
	d.raw = d.raw[n:]
	return t
}

// dictionary numbers texts in the order in which they come.
type dictionary struct {
	numbers map[string]int
	texts   []string
}

func (d *dictionary) number(text string) uint64 {
	if d.numbers == nil {
		d.numbers = map[string]int{}
	}
	n, ok := d.numbers[text]
	if !ok {
		n = len(d.texts)
		d.numbers[text] = n
		d.texts = append(d.texts, text)
	}
	return uint64(n)
}

func (d *dictionary) write(e *encoder) {
	e.number(uint64(len(d.texts)))
	for _, text := range d.texts {
		e.text(text)
	}
}

func (d *decoder) texts() (all []string) {
	for range d.count() {
		all = append(all, d.text())
	}
	return all
}
