package routing

import (
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// change announces a change at once, unless it starts or joins a window: one that waits for others to be merged into it.
// Changes are merged before events are made of them, so that the twin change and the digital twin change of one are merged
// alike.
func (l *lane) change(e entry) {
	device := e.change.DeviceID
	if first := l.open[device]; first != nil && e.change.ModuleID == "" && first.merge(e.change) {
		return
	}
	l.closeWindow(device)
	if e.change.Kind == hub.TwinUpdated && e.change.ModuleID == "" {
		if d := l.router.faults.window(device, twinSources(e.routes), e.rules); d > 0 {
			l.openWindow(&e, d)
			return
		}
	}
	l.announce(e)
}

// twinSources are what a twin change is announced as.
func twinSources(routes Routes) []Source {
	var out []Source
	if routes.TwinChanges {
		out = append(out, TwinChanges)
	}
	if routes.DigitalTwinChanges {
		out = append(out, DigitalTwinChanges)
	}
	return out
}

func (l *lane) openWindow(first *entry, d time.Duration) {
	device := first.change.DeviceID
	l.open[device] = first
	l.at(time.Now().Add(d), func() {
		if l.open[device] == first {
			l.closeWindow(device)
		}
	})
}

func (l *lane) closeWindow(device string) {
	if first := l.open[device]; first != nil {
		delete(l.open, device)
		l.announce(*first)
	}
}

// merge reports false for a change that cannot be merged; the events of both must then stay apart.
func (e *entry) merge(c hub.Change) bool {
	was := e.change
	if c.Kind != hub.TwinUpdated {
		return false
	}
	for _, s := range []struct{ first, second jsontree.Object }{
		{was.Tags, c.Tags}, {was.Desired, c.Desired}, {was.Reported, c.Reported},
	} {
		if revives(s.first, s.second) {
			return false
		}
	}
	c.Before = was.Before
	c.Tags, c.Desired, c.Reported = overlay(was.Tags, c.Tags), overlay(was.Desired, c.Desired), overlay(was.Reported, c.Reported)
	e.change = c
	return true
}

// overlay merges two patches of one section into one that does the same; nil is no patch. The second wins, and nulls stay.
func overlay(first, second jsontree.Object) jsontree.Object {
	if first == nil {
		return second
	}
	out := first
	for _, m := range second {
		was, v := first.Object(m.Name), m.Value
		if o, ok := v.(jsontree.Object); ok && was != nil {
			v = overlay(was, o)
		}
		out = out.With(m.Name, v)
	}
	return out
}

// revives reports that the second patch writes an object where the first wrote something else: one merge patch cannot say
// that what was there before is gone.
func revives(first, second jsontree.Object) bool {
	return slices.ContainsFunc(second, func(m jsontree.Member) bool {
		o, isObject := m.Value.(jsontree.Object)
		was, written := first.Get(m.Name)
		if !isObject || !written {
			return false
		}
		before, wasObject := was.(jsontree.Object)
		return !wasObject || revives(before, o)
	})
}
