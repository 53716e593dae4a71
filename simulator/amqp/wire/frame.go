package wire

import (
	"errors"
	"fmt"
	"io"
)

// Types of frames.
const (
	FrameAMQP = 0
	FrameSASL = 1
)

// Protocol headers.
const (
	HeaderAMQP = "AMQP\x00\x01\x00\x00"
	HeaderSASL = "AMQP\x03\x01\x00\x00"
)

const frameHeader = 8

// KeepAlive is an empty frame.
var KeepAlive = []byte{0, 0, 0, frameHeader, 2, 0, 0, 0}

// ErrFraming is wrapped by errors on what is no frame, or too large a one.
var ErrFraming = errors.New("amqp: bad frame header")

// Frame is one frame; an empty Body is a keep-alive.
type Frame struct {
	Channel uint16
	Type    byte
	Body    []byte
}

// ReadFrame reads one frame of at most limit bytes. An extended header is skipped.
func ReadFrame(r io.Reader, limit int) (Frame, error) {
	var h [frameHeader]byte
	if _, err := io.ReadFull(r, h[:]); err != nil {
		return Frame{}, err
	}
	size, offset := int(be.Uint32(h[:])), int(h[4])*4
	if size > limit || offset < frameHeader || size < offset {
		return Frame{}, fmt.Errorf("%w % x", ErrFraming, h)
	}
	body := make([]byte, size-frameHeader)
	if _, err := io.ReadFull(r, body); err != nil {
		return Frame{}, fmt.Errorf("amqp: a frame breaks off: %w", err)
	}
	return Frame{Channel: be.Uint16(h[6:]), Type: h[5], Body: body[offset-frameHeader:]}, nil
}

// AppendFrame appends a frame with one performative. Fields that are not given are null.
func AppendFrame(b []byte, channel uint16, kind byte, descriptor uint64, fields ...any) []byte {
	b, start := beginFrame(b, channel, kind)
	return endFrame(appendPerformative(b, descriptor, fields), start)
}

func beginFrame(b []byte, channel uint16, kind byte) (out []byte, start int) {
	return append(b, 0, 0, 0, 0, 2, kind, byte(channel>>8), byte(channel)), len(b)
}

func endFrame(b []byte, start int) []byte {
	be.PutUint32(b[start:], uint32(len(b)-start))
	return b
}

// TransferHead is what a transfer frame says of its delivery. The first frame of a delivery names it; the others go on.
type TransferHead struct {
	Channel       uint16
	Handle        uint32
	First         bool
	DeliveryID    uint32
	Tag           uint32
	Settled, More bool
}

// TransferOverhead is more than a TransferHead ever takes.
const TransferOverhead = 64

// AppendTransfer appends a transfer frame with the payload.
func AppendTransfer(b []byte, h TransferHead, payload []byte) []byte {
	b, start := beginFrame(b, h.Channel, FrameAMQP)
	fields := []any{h.Handle, nil, nil, nil, h.Settled, h.More}
	if h.First {
		fields[1], fields[2], fields[3] = h.DeliveryID, be.AppendUint32(nil, h.Tag), uint32(0)
	}
	b = appendPerformative(b, Transfer, fields)
	return endFrame(append(b, payload...), start)
}

// FirstFrame returns the size of the first of the frames in b.
func FirstFrame(b []byte) int {
	if len(b) < frameHeader {
		return len(b)
	}
	return min(len(b), int(be.Uint32(b)))
}
