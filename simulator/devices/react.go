package devices

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// startUp is what a device does once it has fetched its twin: report what the hub does not know yet, apply and acknowledge
// each desired property that is newer than its acknowledgement, and announce its own value (203, version 0) for those
// that nobody has set.
func (dev *device) startUp(session int64, t *hub.Twin) {
	var r report
	m := models[dev.model]
	for _, p := range m.readOnly {
		if _, ok := t.ReportedAt(p.path()...); !ok {
			r.set(p.property, p.value)
		}
	}
	for _, p := range m.writable {
		_, desired := t.DesiredAt(p.path()...)
		_, reported := t.ReportedAt(p.path()...)
		if !desired && !reported {
			r.set(p.property, envelope(p.value, 203, 0, "initialised with default value"))
		}
	}
	for _, p := range properties(t.Desired()) {
		reported, _ := t.ReportedAt(p.path()...)
		if _, acknowledged, _ := unwrap(reported); acknowledged < t.DesiredVersion() {
			dev.react(session, &r, p.property, t)
		}
	}
	dev.send(&r)
}

// desired is what a device does with a notification: those that are not newer than the twin it fetched are ignored.
func (dev *device) desired(session int64, c hub.Change) {
	dev.mu.Lock()
	stale := c.After.DesiredVersion() <= dev.fetched
	dev.mu.Unlock()
	if stale {
		return
	}
	var r report
	for _, p := range properties(c.Desired) {
		dev.react(session, &r, p.property, c.After)
	}
	dev.send(&r)
}

// react applies one desired property of t and adds the answer to r. Objects are acknowledged whole.
func (dev *device) react(session int64, r *report, p property, t *hub.Twin) {
	value, ok := t.DesiredAt(p.path()...)
	if !ok || dev.unmarked(p, t) {
		return
	}
	version := t.DesiredVersion()
	switch b := dev.behaviourFor(p); b.Kind {
	case KindIgnore:
	case KindPlainValue:
		r.set(p, value)
	case KindReject:
		r.set(p, envelope(dev.current(p, value), b.Code, version, b.Description))
	case KindAdjust:
		adjusted, _ := jsontree.Parse(b.Value) // validated by Behave
		r.set(p, envelope(adjusted, 200, version, "adjusted"))
	case KindFloat32:
		r.set(p, envelope(single(value), 200, version, "completed"))
	case KindDelay:
		r.set(p, envelope(value, 202, version, "in progress"))
		dev.complete(session, p, value, version, b.Delay)
	default:
		r.set(p, envelope(value, 200, version, "completed"))
	}
}

// unmarked reports that p is a component which was written without its "__t" marker: such a patch does not reach the
// component's handler in a device built on Microsoft's SDKs.
func (dev *device) unmarked(p property, t *hub.Twin) bool {
	if p.component != "" {
		return false
	}
	reported, _ := t.ReportedAt(p.name)
	return isComponent(reported) || models[dev.model].has(p.name)
}

// current is the value that the device has, or the given one if it has none.
func (dev *device) current(p property, otherwise any) any {
	t, err := dev.pool.hub.Get(dev.id)
	if err != nil {
		return otherwise
	}
	reported, ok := t.ReportedAt(p.path()...)
	if !ok {
		return otherwise
	}
	value, _, _ := unwrap(reported)
	return value
}

// complete acknowledges with 200 after a while, unless the property was written again by then.
func (dev *device) complete(session int64, p property, value any, version int64, delay time.Duration) {
	dev.mu.Lock()
	dev.latest[p] = version
	dev.mu.Unlock()
	dev.later(session, delay, func() {
		if !dev.isLatest(p, version) {
			return
		}
		var r report
		r.set(p, envelope(value, 200, version, "completed"))
		dev.send(&r)
	})
}

func (dev *device) isLatest(p property, version int64) bool {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	return dev.latest[p] == version
}

func (dev *device) send(r *report) {
	if r.patch == nil {
		return
	}
	if _, err := dev.pool.hub.Report(dev.id, r.patch); err != nil {
		dev.pool.log.V(1).Info("Virtual device could not report", "deviceID", dev.id, "error", err.Error())
	}
}

// single rounds numbers to single precision and shows them as a double, as a device that holds floats does.
func single(v any) any {
	switch v := v.(type) {
	case json.Number:
		return singleNumber(v)
	case jsontree.Object:
		o := make(jsontree.Object, len(v))
		for i, m := range v {
			o[i] = jsontree.Member{Name: m.Name, Value: single(m.Value)}
		}
		return o
	case []any:
		a := make([]any, len(v))
		for i, e := range v {
			a[i] = single(e)
		}
		return a
	}
	return v
}

func singleNumber(n json.Number) any {
	f, err := strconv.ParseFloat(string(n), 32)
	if err != nil {
		return n
	}
	return json.Number(strconv.FormatFloat(f, 'g', -1, 64))
}
