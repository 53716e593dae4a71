package routing

import (
	"cmp"
	"maps"
)

// outcome is what becomes of an event; without a fault it stays what it is.
func (l *lane) outcome(e event, f *Fault) []event {
	if f == nil {
		return []event{e}
	}
	switch f.Kind {
	case Lose:
		return nil
	case Duplicate:
		return []event{e, e}
	case Reorder:
		l.startSeries(e.device, f.Series)
	case Poison:
		return []event{poisoned(e)}
	case UnknownSchema:
		return []event{unknown(e)}
	case Coalesce, Delay: // not decided here
	}
	return []event{e}
}

func poisoned(e event) event {
	e.message.Body = e.message.Body[:len(e.message.Body)/2]
	return e
}

func unknown(e event) event {
	application := maps.Clone(e.message.Application)
	if application == nil {
		application = map[string]any{}
	}
	application["iothub-message-schema"] = "unheardOfNotification"
	application["opType"] = "unheardOf"
	e.message.Application = application
	return e
}

// series is what a Reorder fault retransmits.
type series struct {
	events []event
	length int // to be reached
}

// startSeries leaves a series alone that is not complete yet.
func (l *lane) startSeries(device string, length int) {
	if l.series[device] == nil {
		l.series[device] = &series{length: cmp.Or(length, defaultSeries)}
	}
}

// retransmit sends new events of a device together with the series that they belong to, if there is one.
func (l *lane) retransmit(device string, events []event) []event {
	s := l.series[device]
	if s == nil {
		return events
	}
	var out []event
	for _, e := range events {
		s.events = append(s.events, e)
		out = append(out, s.events...)
	}
	if len(s.events) >= s.length {
		delete(l.series, device)
	}
	return out
}
