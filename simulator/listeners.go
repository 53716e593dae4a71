package simulator

import (
	"errors"
	"net"
	"strconv"
)

// listeners are opened before the certificate is made, which names their addresses.
type listeners struct {
	rest, events, mqtt net.Listener
	plainEvents        net.Listener // nil: off
}

// openListeners opens all or none.
func (s *Simulator) openListeners() (listeners, error) {
	var l listeners
	var errs error
	for _, one := range []struct {
		listener *net.Listener
		reached  *net.Addr
		address  string
	}{
		{&l.rest, &s.restAddr, s.options.Listen},
		{&l.events, &s.eventsAddr, s.options.EventsListen},
		{&l.mqtt, &s.mqttAddr, s.options.MQTTListen},
		{&l.plainEvents, &s.plainEventsAddr, s.options.EventsPlainListen},
	} {
		if one.address == "" {
			continue
		}
		opened, err := net.Listen("tcp", one.address)
		if err != nil {
			errs = errors.Join(errs, err)
			continue
		}
		*one.listener, *one.reached = opened, opened.Addr()
	}
	if errs != nil {
		return l, errors.Join(errs, l.close())
	}
	return l, nil
}

func (l listeners) close() error {
	var errs error
	for _, one := range []net.Listener{l.rest, l.events, l.mqtt, l.plainEvents} {
		if one != nil {
			errs = errors.Join(errs, one.Close())
		}
	}
	return errs
}

// reachable names a listener as a client on this machine reaches it: localhost with its port, unless it listens on an address that
// localhost does not stand for.
func reachable(a net.Addr) string {
	tcp := a.(*net.TCPAddr)
	host := "localhost"
	if isOwn(tcp.IP) {
		host = tcp.IP.String()
	}
	return net.JoinHostPort(host, strconv.Itoa(tcp.Port))
}

// isOwn reports an address that localhost does not stand for. It stands for 127.0.0.1, and for all addresses of the machine.
func isOwn(ip net.IP) bool { return !ip.IsUnspecified() && !ip.Equal(net.IPv4(127, 0, 0, 1)) }
