package eventstream

import (
	"encoding/binary"
	"errors"
	"maps"
	"net"
	"strings"
)

// Bounds of what an event hub says in AMQP. The library trusts the counts that lists, maps and
// arrays begin with: a few bytes can have it allocate gigabytes, or hash what cannot be hashed,
// which ends the process.
const (
	// maxFrame is what the library asks for, in bytes, and refuses beyond.
	maxFrame = 64 << 10
	// maxItems is how many values a frame or a message has: more than fit into an event of an IoT
	// hub.
	maxItems = 128 << 10
	// maxNested is how deep values may be nested, descriptions included.
	maxNested = 32
	// maxParts is how many messages may be under way that come in several frames.
	maxParts = 4 * maxPartitions
)

var (
	errFrame  = errors.New("the event hub sends frames that are none of AMQP 1.0, or larger than asked for")
	errValues = errors.New("the event hub sends AMQP values that are malformed, too many, nested too deep, or keys of maps that are no plain values")
)

// screenedConn hands on what a screen lets pass.
type screenedConn struct {
	net.Conn

	screen screen
}

func (c *screenedConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if unfit := c.screen.pass(p[:n]); unfit != nil {
		return 0, unfit
	}
	return n, err
}

// screen reads what a connection brings before the library does, frame by frame. The zero value is
// ready to use.
type screen struct {
	head     [8]byte // of a frame, or of a protocol
	got      int     // bytes of it
	left     int     // bytes of the frame that are still to come
	frame    []byte  // what came of it, without its head
	messages map[link]*items
	// partitions are those that links are known to be of.
	partitions map[link]string
	scales     scales // nil: nothing is weighed
}

// scales are told of what is decoded.
type scales interface {
	// weigh counts what parts of messages take beside their bytes. Its error keeps them from the
	// library.
	weigh(weight int64) error
	// came counts a message that is whole, of a partition if that is known, and of a weight that
	// was counted.
	came(partition string, weight int64)
}

// link is one of a connection, as the peer numbers it.
type link struct {
	channel uint16
	handle  uint32
}

// pass looks at what was read. Its error keeps the last part of a frame from the library, and so
// the frame.
func (s *screen) pass(read []byte) error {
	for len(read) > 0 {
		if s.got < len(s.head) {
			n := copy(s.head[s.got:], read)
			s.got, read = s.got+n, read[n:]
			if s.got == len(s.head) {
				if err := s.begin(); err != nil {
					return err
				}
			}
			continue
		}
		n := min(s.left, len(read))
		s.frame, s.left, read = append(s.frame, read[:n]...), s.left-n, read[n:]
		if s.left == 0 {
			if err := s.end(); err != nil {
				return err
			}
		}
	}
	return nil
}

// begin reads the head of a frame. That of a protocol has no more than its head.
func (s *screen) begin() error {
	if string(s.head[:4]) == "AMQP" {
		s.got = 0
		return nil
	}
	size := binary.BigEndian.Uint32(s.head[:])
	if size < uint32(len(s.head)) || size > maxFrame {
		return errFrame
	}
	if s.left = int(size) - len(s.head); s.left == 0 {
		return s.end()
	}
	return nil
}

// Codes of the frames that matter to messages under way: part 2 of AMQP 1.0, "Transport".
const (
	frameAttach   = 0x12
	frameTransfer = 0x14
	frameDetach   = 0x16
	frameEnd      = 0x17
)

// end looks at a frame that is there as a whole.
func (s *screen) end() error {
	extended := int(s.head[4])*4 - len(s.head)
	if extended < 0 || extended > len(s.frame) {
		return errFrame
	}
	body := s.frame[extended:]
	channel := binary.BigEndian.Uint16(s.head[6:])
	s.got, s.frame = 0, s.frame[:0]
	if len(body) == 0 { // it keeps the connection alive
		return nil
	}
	size, err := sizeOfValue(body)
	if err != nil {
		return err
	}
	code, fields, err := performative(body[:size])
	if err != nil {
		return err
	}
	switch code {
	case frameTransfer:
		return s.transfer(channel, fields, body[size:])
	case frameAttach:
		return s.attach(channel, fields)
	case frameDetach:
		return s.forget(channel, fields, 0)
	case frameEnd:
		for of := range s.messages {
			if of.channel == channel {
				s.drop(of)
			}
		}
		maps.DeleteFunc(s.partitions, func(of link, _ string) bool { return of.channel == channel })
	}
	return nil
}

// Places of fields in a transfer.
const (
	transferHandle  = 0
	transferMore    = 5
	transferAborted = 9
)

// transfer looks at a part of a message.
func (s *screen) transfer(channel uint16, fields [][]byte, payload []byte) error {
	handle, ok := number(fields, transferHandle)
	if !ok {
		return errFrame
	}
	of := link{channel, handle}
	message := s.messages[of]
	if message == nil {
		message = &items{}
	}
	before := message.weight()
	if _, err := message.take(payload, false); err != nil {
		return err
	}
	if s.messages == nil {
		s.messages = map[link]*items{}
	}
	if s.messages[of] = message; len(s.messages) > maxParts {
		return errFrame
	}
	if err := s.weigh(message.weight() - before); err != nil {
		return err
	}
	switch {
	case isTrue(fields, transferAborted):
		s.drop(of)
	case !isTrue(fields, transferMore):
		delete(s.messages, of)
		if s.scales != nil {
			s.scales.came(s.partitions[of], message.weight())
		}
	}
	return nil
}

func (s *screen) weigh(weight int64) error {
	if s.scales == nil || weight == 0 {
		return nil
	}
	return s.scales.weigh(weight)
}

// drop gives up a message that is under way.
func (s *screen) drop(of link) {
	if message := s.messages[of]; message != nil {
		_ = s.weigh(-message.weight()) // less is never too much
		delete(s.messages, of)
	}
}

// Places of fields in an attach.
const (
	attachHandle = 1
	attachSource = 5
)

// attach finds out which partition a link is of, if it is of one.
func (s *screen) attach(channel uint16, fields [][]byte) error {
	if err := s.forget(channel, fields, attachHandle); err != nil {
		return err
	}
	handle, _ := number(fields, attachHandle)
	if id := partitionOf(fields); id != "" {
		if s.partitions == nil {
			s.partitions = map[link]string{}
		}
		if s.partitions[link{channel, handle}] = id; len(s.partitions) > maxParts {
			return errFrame
		}
	}
	return nil
}

// partitionOf is the partition that the source of a link is:
// "hub/ConsumerGroups/group/Partitions/0". It is "" for any other.
func partitionOf(fields [][]byte) string {
	if len(fields) <= attachSource {
		return ""
	}
	_, source, err := performative(fields[attachSource])
	if err != nil || len(source) == 0 {
		return ""
	}
	const str8, str32 = 0xa1, 0xb1
	address := source[0]
	switch address[0] {
	case str8:
		address = address[2:]
	case str32:
		address = address[5:]
	default:
		return ""
	}
	_, id, _ := strings.Cut(string(address), "/Partitions/")
	if checkPartitions([]string{id}) != nil {
		return ""
	}
	return id
}

// forget drops the partition, and the message that is under way over a link which begins or ends.
func (s *screen) forget(channel uint16, fields [][]byte, place int) error {
	handle, ok := number(fields, place)
	if !ok {
		return errFrame
	}
	s.drop(link{channel, handle})
	delete(s.partitions, link{channel, handle})
	return nil
}

// performative takes what a frame says apart: its code, and its fields as they are encoded.
func performative(value []byte) (code uint64, fields [][]byte, err error) {
	const smallUlong, ulong = 0x53, 0x80
	switch {
	case len(value) > 3 && value[0] == described && value[1] == smallUlong:
		code, value = uint64(value[2]), value[3:]
	case len(value) > 10 && value[0] == described && value[1] == ulong:
		code, value = binary.BigEndian.Uint64(value[2:]), value[10:]
	default:
		return 0, nil, errFrame
	}
	const list0, list8, list32 = 0x45, 0xc0, 0xd0
	switch value[0] { // that it is there as a whole is known
	case list0:
		return code, nil, nil
	case list8:
		value = value[3:]
	case list32:
		value = value[9:]
	default:
		return 0, nil, errFrame
	}
	for len(value) > 0 {
		size, err := sizeOfValue(value)
		if err != nil {
			return 0, nil, err
		}
		fields, value = append(fields, value[:size]), value[size:]
	}
	return code, fields, nil
}

// number is a field that is an unsigned integer of 32 bits.
func number(fields [][]byte, place int) (uint32, bool) {
	const uint0, smallUint, uint32Code = 0x43, 0x52, 0x70
	if place >= len(fields) {
		return 0, false
	}
	switch field := fields[place]; field[0] {
	case uint0:
		return 0, true
	case smallUint:
		return uint32(field[1]), true
	case uint32Code:
		return binary.BigEndian.Uint32(field[1:]), true
	}
	return 0, false
}

// isTrue reads a field that is a boolean.
func isTrue(fields [][]byte, place int) bool {
	const boolean, isTrue = 0x56, 0x41
	if place >= len(fields) {
		return false
	}
	field := fields[place]
	return field[0] == isTrue || field[0] == boolean && field[1] != 0
}

// sizeOfValue is how many bytes the value takes that a text begins with.
func sizeOfValue(text []byte) (int, error) {
	var one items
	size, err := one.take(text, true)
	if err == nil && !one.isWhole() {
		err = errValues
	}
	return size, err
}
