package rest

import (
	"net"
	"net/http"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/faults"
)

// outcome is a reply and how it reaches the client, if it does.
type outcome struct {
	reply
	fault string
	cut   cut
}

// cut is what happens to the connection.
type cut int

const (
	whole cut = iota // the reply is sent
	reset            // nothing is sent
	half             // the reply is announced whole, and half of it is sent
)

// loggedStatus is 0 for a reply that is not sent.
func (o outcome) loggedStatus() int {
	if o.cut == reset {
		return 0
	}
	return o.status
}

// outcome lets the faults that struck a call happen to it.
func (s *Server) outcome(c *call, readErr error, latency time.Duration, f *faults.Fault, r *http.Request) outcome {
	o := outcome{}
	if latency > 0 {
		o.fault = string(faults.Latency)
		if !s.wait(r, time.After(latency)) {
			o.cut = reset
			return o
		}
	}
	if f == nil {
		s.throttled(&o, c, readErr, r)
		override(&o.fault, c.fault)
		return o
	}
	o.fault = string(f.Kind)
	s.strike(&o, c, readErr, f, r)
	return o
}

func (s *Server) strike(o *outcome, c *call, readErr error, f *faults.Fault, r *http.Request) {
	switch f.Kind {
	case faults.Status:
		o.reply = statusFault(c, f).reply(c.id, s.Clock())
	case faults.StatusAfter:
		s.answer(c, readErr)
		o.reply = statusFault(c, f).reply(c.id, s.Clock())
	case faults.OfflineAfter:
		o.reply, o.cut = s.offlineAfter(c, readErr, r)
	case faults.Hang:
		s.wait(r, nil)
		o.cut = reset
	case faults.ResetBefore:
		o.cut = reset
	case faults.ResetAfter:
		s.answer(c, readErr)
		o.cut = reset
	case faults.HalfBody:
		o.reply, o.cut = s.answer(c, readErr), half
	case faults.InvalidJSON:
		o.reply = s.answer(c, readErr)
		o.body = append(o.body[:len(o.body)/2:len(o.body)/2], "\x01<"...)
	}
}

// offlineAfter has a device run a command, and says after the connect time-out that it was offline all the while.
func (s *Server) offlineAfter(c *call, readErr error, r *http.Request) (reply, cut) {
	within, err := c.timeouts()
	if err != nil {
		return failed(err).reply(c.id, s.Clock()), whole
	}
	s.answer(c, readErr)
	if !s.wait(r, time.After(time.Until(c.arrived.Add(within.Connect)))) {
		return reply{}, reset
	}
	return offline(within.Connect).reply(c.id, s.Clock()), whole
}

// wait reports whether the time came before the client gave up or the simulator closed.
func (s *Server) wait(r *http.Request, until <-chan time.Time) bool {
	select {
	case <-until:
		return true
	case <-r.Context().Done():
	case <-s.Closed:
	}
	return false
}

func statusFault(c *call, f *faults.Fault) failure {
	u, known := usual[f.Status]
	if !known {
		u = usualError{"GenericError", f.Status * 1000, "Injected by the simulator", E1}
	}
	e := failure{refusal: *u.failure(f.Status), envelope: u.envelope}
	if f.Status == http.StatusTooManyRequests {
		e.Message += c.route.throttle
	}
	override(&e.Name, f.Code)
	override(&e.Message, f.Message)
	override(&e.envelope, f.Envelope)
	if f.Number != 0 {
		e.Number = f.Number
	}
	return e
}

func override(s *string, with string) {
	if with != "" {
		*s = with
	}
}

func (o outcome) send(w http.ResponseWriter, id string) {
	switch o.cut {
	case whole:
		o.reply.send(w, id)
	case reset:
		abort(w, nil)
	case half:
		abort(w, []byte("HTTP/1.1 "+strconv.Itoa(o.status)+" "+http.StatusText(o.status)+
			"\r\nContent-Type: application/json; charset=utf-8\r\nServer: Microsoft-HTTPAPI/2.0\r\nx-ms-request-id: "+id+
			"\r\nContent-Length: "+strconv.Itoa(max(len(o.body), 2))+"\r\n\r\n"+string(o.body[:len(o.body)/2])))
	}
}

// abort sends raw bytes, if there are any, and closes the connection under the client: with a TCP reset if there are none.
func abort(w http.ResponseWriter, raw []byte) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer func() { _ = conn.Close() }()
	if raw != nil {
		_, _ = conn.Write(raw) // the client may be gone
		return
	}
	secure, ok := conn.(interface{ NetConn() net.Conn })
	if !ok {
		return
	}
	inner := secure.NetConn()
	if tcp, ok := inner.(*net.TCPConn); ok {
		_ = tcp.SetLinger(0)
	}
	_ = inner.Close()
}
