package rest

import (
	"errors"
	"net/http"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/throttle"
)

// Names of what the throttle does to a call, as the call log shows them.
const (
	shaped  = "Shaped"
	refused = "Refused"
)

// metered are the operations that the hub counts in blocks of their bodies.
var metered = map[string]bool{PatchDigitalTwin: true, InvokeMethod: true, InvokeCommand: true}

// throttled answers a call as far as the limits of the hub let it: late, or with a refusal.
func (s *Server) throttled(o *outcome, c *call, readErr error, r *http.Request) {
	kind, size, messages := throttle.Kind(c.route.throttle), 1, throttle.Blocks(len(c.body))
	if metered[c.route.operation] {
		size = messages
	}
	hold, err := s.Throttle.Admit(kind, size, messages)
	if err != nil {
		o.fault, o.reply = refused, refusalOf(err, kind).reply(c.id, s.Clock())
		return
	}
	if hold > 0 {
		o.fault = shaped
		if !s.wait(r, time.After(hold)) {
			o.cut = reset
			return
		}
	}
	o.reply = s.answer(c, readErr)
	s.Throttle.Add(throttle.Blocks(len(o.body)) - 1)
}

// refusalOf is the error of the hub for one of the throttle.
func refusalOf(err error, kind throttle.Kind) failure {
	status := http.StatusTooManyRequests
	if errors.Is(err, throttle.ErrQuota) {
		status = http.StatusForbidden
	}
	f := failure{refusal: *usual[status].failure(status), envelope: usual[status].envelope}
	if status == http.StatusTooManyRequests {
		f.Message += string(kind)
	}
	return f
}
