package simulator

import (
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/throttle"
)

// charge counts a change that nobody asked the service API for, as "Azure IoT Hub pricing" does:
// what a device reports is a twin update and a message, and what it is notified of another message.
// It runs inside a commit of the hub.
func (s *Simulator) charge(c hub.Change) {
	l := s.throttle.Limits()
	if l.CountConfigurations && c.By != "" {
		s.throttle.Charge(1, 1)
	}
	if !l.CountDevices {
		return
	}
	if c.Reported != nil {
		s.throttle.Charge(1, throttle.Blocks(len(jsontree.Append(nil, c.Reported))))
	}
	if c.Desired != nil && c.After != nil && c.After.Identity.Connected {
		s.throttle.Charge(0, 1)
	}
}
