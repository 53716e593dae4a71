package amqp

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// loginTime is how long a peer may take until it speaks AMQP.
const loginTime = 30 * time.Second

var errSASL = errors.New("sasl-init expected")

// handshake answers the protocol headers: SASL, then AMQP ("OASIS AMQP Version 1.0", 2.2 and 5.2).
func (c *conn) handshake(r *bufio.Reader) error {
	_ = c.net.SetDeadline(time.Now().Add(loginTime))
	defer func() { _ = c.net.SetDeadline(time.Time{}) }()
	header, err := readHeader(r)
	if err == nil && header == wire.HeaderSASL {
		if err = c.login(r); err == nil {
			header, err = readHeader(r)
		}
	}
	if err != nil {
		return err
	}
	return c.answerHeader(header)
}

func readHeader(r *bufio.Reader) (string, error) {
	var header [8]byte
	_, err := io.ReadFull(r, header[:])
	return string(header[:]), err
}

// answerHeader tells a peer that wants something else what there is.
func (c *conn) answerHeader(header string) error {
	if header == wire.HeaderAMQP {
		_, err := c.net.Write([]byte(header))
		return err
	}
	_, err := c.net.Write([]byte(wire.HeaderSASL))
	return errors.Join(fmt.Errorf("protocol header %q", header), err)
}

// login lets everybody in, whatever they say: what counts is the token, later.
func (c *conn) login(r *bufio.Reader) error {
	offer := wire.AppendFrame([]byte(wire.HeaderSASL), 0, wire.FrameSASL, wire.SASLMechanisms,
		[]wire.Symbol{"MSSBCBS", "PLAIN", "ANONYMOUS", "EXTERNAL"})
	if _, err := c.net.Write(offer); err != nil {
		return err
	}
	f, err := wire.ReadFrame(r, maxFrame)
	if err != nil {
		return err
	}
	init, _, err := wire.ParsePerformative(f.Body)
	if err != nil || f.Type != wire.FrameSASL || init.Descriptor != wire.SASLInit {
		return errors.Join(errSASL, err)
	}
	c.password = passwordOf(init)
	_, err = c.net.Write(wire.AppendFrame(nil, 0, wire.FrameSASL, wire.SASLOutcome, uint8(0)))
	return err
}

// passwordOf is that of PLAIN, "" of everything else ("The PLAIN SASL Mechanism", RFC 4616).
func passwordOf(init wire.Performative) string {
	response, _ := init.At(1).([]byte)
	parts := bytes.Split(response, []byte{0})
	if init.Text(0) != "PLAIN" || len(parts) != 3 {
		return ""
	}
	return string(parts[2])
}
