package rollout

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"
)

// step is a change of the journal, as far as it is about devices in flight.
type step struct {
	seq     uint64
	at      time.Time
	device  string
	write   *Write
	online  bool // the device, when it was written to
	left    bool // the device went, or nobody can know any more what it holds
	answers map[string]answer
}

// answer is an acknowledgement of one property.
type answer struct {
	code    int
	version int64
}

// answersIn returns the acknowledgements in what a device reported, by the path of the property.
func answersIn(reported json.RawMessage) (map[string]answer, error) {
	var o map[string]any
	if err := json.Unmarshal(reported, &o); err != nil {
		return nil, err
	}
	answers := map[string]answer{}
	findAnswers(answers, "", o)
	return answers, nil
}

func findAnswers(into map[string]answer, prefix string, o map[string]any) {
	for name, v := range o {
		inner, isObject := v.(map[string]any)
		if !isObject {
			continue
		}
		code, hasCode := inner["ac"].(float64)
		version, hasVersion := inner["av"].(float64)
		if hasCode && hasVersion {
			into[prefix+name] = answer{int(code), int64(version)}
			continue
		}
		findAnswers(into, prefix+name+"/", inner)
	}
}

// Writes returns all writes, in the order of the journal.
func (t *Trace) Writes() []Write { return t.writes }

// Written returns the writes to the devices that are meant, from a moment on and before another
// one; a zero one is no bound. It tells writes before a gate opened, and after a stop.
func (t *Trace) Written(from, before time.Time, meant func(deviceID string) bool) []Write {
	var found []Write
	for _, w := range t.writes {
		early := !from.IsZero() && w.At.Before(from)
		late := !before.IsZero() && !w.At.Before(before)
		if !early && !late && meant(w.DeviceID) {
			found = append(found, w)
		}
	}
	return found
}

// Needless returns the writes after which every leaf was as before.
func (t *Trace) Needless() []Finding {
	var found []Finding
	for _, w := range t.writes {
		if w.Needless {
			found = append(found, Finding{w.Seq, w.At, w.DeviceID, "writes what is there already"})
		}
	}
	return found
}

// ForeignRemovals returns the removals of leaves that another had written last.
func (t *Trace) ForeignRemovals() []Finding { return t.foreign }

// LeftBehind returns the leaves that the judged writer wrote last, that are still there at the end
// of the journal, and that are not wanted. Devices that are gone have none.
func (t *Trace) LeftBehind(wanted func(deviceID, leaf string) bool) []Finding {
	var found []Finding
	for _, id := range slices.Sorted(maps.Keys(t.devices)) {
		d := t.devices[id]
		for _, path := range slices.Sorted(maps.Keys(d.leaves)) {
			if l := d.leaves[path]; l.by == ours && !wanted(id, path) {
				found = append(found, Finding{DeviceID: id, What: "still has " + path + " = " + l.value})
			}
		}
	}
	return found
}

// BeyondInFlight returns the writes that made more than most devices be in flight at a time:
// connected when they were written to, and written to without an answer since. A device is no
// longer in flight once it has answered each leaf that was set, at the version that set it or a
// later one and with another code than 202; once it went; or a time after the write, when whoever
// waits for it has given up.
func (t *Trace) BeyondInFlight(most int, givenUp time.Duration) []Finding {
	var found []Finding
	f := flight{}
	for _, s := range t.steps {
		f.expire(s.at.Add(-givenUp))
		switch {
		case s.left:
			delete(f, s.device)
		case s.write != nil && s.online && f.takes(s.write) && len(f) > most:
			found = append(found, Finding{s.seq, s.at, s.device, fmt.Sprintf("is device %d in flight, of %d allowed", len(f), most)})
		}
		f.land(s.device, s.answers)
	}
	return found
}

// flight is the devices in flight.
type flight map[string]*waiting

// waiting is what a device has not answered.
type waiting struct {
	since  time.Time
	leaves map[string]int64 // by path: the version that set it
}

// takes adds what a write set, and reports whether the device was not in flight before. What a
// write removes is not answered.
func (f flight) takes(w *Write) bool {
	d, known := f[w.DeviceID]
	if !known {
		if len(w.Set) == 0 {
			return false
		}
		d = &waiting{leaves: map[string]int64{}}
		f[w.DeviceID] = d
	}
	d.since = w.At
	for path := range w.Set {
		d.leaves[path] = w.Version
	}
	for _, path := range w.Removed {
		delete(d.leaves, path)
	}
	if len(d.leaves) == 0 { // all that it had to answer is gone
		delete(f, w.DeviceID)
		return false
	}
	return !known
}

func (f flight) expire(before time.Time) {
	maps.DeleteFunc(f, func(_ string, d *waiting) bool { return d.since.Before(before) })
}

const inProgress = 202

func (f flight) land(deviceID string, answers map[string]answer) {
	d := f[deviceID]
	if d == nil || len(answers) == 0 {
		return
	}
	maps.DeleteFunc(d.leaves, func(path string, version int64) bool {
		a, answered := answerFor(answers, path)
		return answered && a.version >= version && a.code != inProgress
	})
	if len(d.leaves) == 0 {
		delete(f, deviceID)
	}
}

// answerFor returns the answer to a leaf: that of its property, which may be an object that the
// leaf is in.
func answerFor(answers map[string]answer, leaf string) (answer, bool) {
	for path, a := range answers {
		if leaf == path || len(leaf) > len(path) && leaf[:len(path)] == path && leaf[len(path)] == '/' {
			return a, true
		}
	}
	return answer{}, false
}
