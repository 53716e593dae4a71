package command

import (
	"time"

	"k8s.io/apimachinery/pkg/types"
)

// Ear hears the events of one hub for its commands, on behalf of one session.
type Ear struct {
	registry *Registry
	at       Site
}

// At returns the ear of a site.
func (r *Registry) At(at Site) *Ear { return &Ear{r, at} }

// Resume is called before the first event is handled. The commands that rest at the hub since
// before a gap are heard here from now on, also those of objects that are gone: what they did may
// yet be told.
func (e *Ear) Resume() {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	l := e.registry.lines[e.at.Hub]
	for _, s := range l.slots() {
		s.Site = e.at
	}
	for _, is := range l.rests() {
		if is.rest.At != e.at {
			is.rest.moveTo(e.at)
		}
	}
}

// Signal notes an event of a device, and when what it tells happened, by the hub's clock.
func (e *Ear) Signal(device string, sign Sign, at time.Time, from Origin) {
	e.each(func(l *line) (heard []*run) {
		if s := l.busy[device]; s != nil {
			s.hearing.hear(sign, at)
		}
		for _, is := range l.resting[device] {
			if is.rest.listens() && is.rest.hear(sign, at, from) {
				heard = append(heard, is)
			}
		}
		return heard
	})
}

// CaughtUp notes that all is handled that the hub held at a time, by our clock. A session that was
// replaced says nothing of rests that are heard by the next one.
func (e *Ear) CaughtUp(at time.Time) {
	e.each(func(l *line) (heard []*run) {
		for _, is := range l.rests() {
			if is.rest.At == e.at && is.rest.listens() && is.rest.caughtUp(at) {
				heard = append(heard, is)
			}
		}
		return heard
	})
}

// Lost notes that events were lost: of the commands under way, and of those that rest, nobody can
// say any more that nothing was heard.
func (e *Ear) Lost() {
	e.each(func(l *line) []*run {
		for _, s := range l.slots() {
			s.hearing.deaf = true
		}
		for _, is := range l.rests() {
			if is.rest.listens() {
				is.rest.deafen()
			}
		}
		return nil
	})
}

// Outstanding lists the events whose doubts are not on record.
func (e *Ear) Outstanding() (all []Origin) {
	e.registry.mu.Lock()
	defer e.registry.mu.Unlock()
	for _, is := range e.registry.lines[e.at.Hub].rests() {
		if is.rest.by != nil {
			all = append(all, *is.rest.by)
		}
	}
	return all
}

// each has the commands of the hub hear something. Those that it is news for are looked at: at once
// if they are in doubt, and else once their devices have settled.
func (e *Ear) each(hear func(*line) []*run) {
	r := e.registry
	r.mu.Lock()
	var doubted []types.NamespacedName
	if l := r.lines[e.at.Hub]; l != nil {
		for _, is := range hear(l) {
			if is.rest.doubted {
				doubted = append(doubted, is.key)
			} else {
				r.endSoon(is, is.rest)
			}
		}
	}
	r.mu.Unlock()
	for _, key := range doubted {
		r.look(key)
	}
}

// endSoon ends a rest once the device has settled.
func (r *Registry) endSoon(is *run, of *rest) {
	time.AfterFunc(SettleFor, func() {
		r.mu.Lock()
		of.Over = true
		r.mu.Unlock()
		r.look(is.key)
	})
}

// slots lists the attempts that have a place.
func (l *line) slots() (all []*Slot) {
	if l == nil {
		return nil
	}
	for _, s := range l.busy {
		all = append(all, s)
	}
	return all
}

// rests lists the commands that rest until their devices do something, or in doubt.
func (l *line) rests() (all []*run) {
	if l == nil {
		return nil
	}
	for _, runs := range l.resting {
		for _, is := range runs {
			all = append(all, is)
		}
	}
	return all
}

// list has a rest hear the events of its device, with the lock held.
func (r *Registry) list(is *run) {
	l, device := r.lineOf(is.rest.At.Hub), is.rest.device
	if l.resting[device] == nil {
		l.resting[device] = map[types.NamespacedName]*run{}
	}
	l.resting[device][is.key] = is
}

// unlist has a rest hear no more events, with the lock held.
func (r *Registry) unlist(is *run) {
	if is.rest == nil {
		return
	}
	hub, device := is.rest.At.Hub, is.rest.device
	l := r.lines[hub]
	if l == nil {
		return
	}
	delete(l.resting[device], is.key)
	if len(l.resting[device]) == 0 {
		delete(l.resting, device)
	}
	r.trim(hub)
}

// stopListening is for a command that is sent again. A doubt that is not on record stays one.
func (r *Registry) stopListening(is *run) {
	if is.rest != nil && !is.rest.doubted {
		r.unlist(is)
		is.rest.settle()
	}
}

// settleDoubt drops a doubt that is on record, or that does not matter any more.
func (r *Registry) settleDoubt(is *run) {
	if is.rest != nil && is.rest.doubted {
		r.unlist(is)
		is.rest.settle()
	}
}

// DoubtIsOnRecord drops the doubt about a command's last attempt.
func (r *Registry) DoubtIsOnRecord(key types.NamespacedName) { r.change(key, r.settleDoubt) }

// IsDoubted reports whether an attempt that was released may have reached its device.
func (r *Registry) IsDoubted(key types.NamespacedName, requestID string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.runs[key]
	return is != nil && is.rest != nil && is.rest.doubted && is.rest.RequestID == requestID
}

// RestOf returns the rest after an attempt, false if this process knows of none.
func (r *Registry) RestOf(key types.NamespacedName, requestID string) (Rest, bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	is := r.runs[key]
	if is == nil || is.rest == nil || is.rest.RequestID != requestID || requestID == "" {
		return Rest{}, false
	}
	return is.rest.Rest, true
}

// Recall has a command rest that was under way before this process listened, by what is on record
// of it. Nobody knows which of the hub's events were heard since. A rest that is heard already
// stays.
func (r *Registry) Recall(key types.NamespacedName, of Rest, device string, w Window) {
	r.change(key, func(is *run) {
		if is.slot != nil {
			return
		}
		if is.rest == nil || is.rest.RequestID != of.RequestID {
			r.unlist(is)
			is.rest = &rest{Rest: of, device: device, ended: of.endedBy(w)}
		}
		if is.rest.hearing == nil {
			is.rest.At, is.rest.device, is.rest.hearing, is.rest.recalled = of.At, device, &hearing{window: &w}, true
			r.list(is)
		}
	})
}

// Move has a rest go on at another site: its IoTHub is another one, or has another session after a
// gap.
func (r *Registry) Move(key types.NamespacedName, to Site) {
	r.change(key, func(is *run) {
		if is.rest == nil || is.rest.At.Host == "" || is.rest.At == to {
			return
		}
		if !is.rest.listens() {
			return
		}
		r.unlist(is)
		is.rest.moveTo(to)
		r.list(is)
	})
}

// Waits lists the commands that rest until a device does something.
func (r *Registry) Waits(hub Hub, device string) (keys []types.NamespacedName) {
	r.mu.Lock()
	defer r.mu.Unlock()
	l := r.lines[hub]
	if l == nil {
		return nil
	}
	for key, is := range l.resting[device] {
		if is.rest.listens() {
			keys = append(keys, key)
		}
	}
	return keys
}
