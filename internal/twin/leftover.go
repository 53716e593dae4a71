package twin

import (
	"maps"
	"time"
)

// A hub merges what a device reports into what it reported before, so an inner key that the device does not report any more
// stays where it was. In an acknowledgement it is told by its time, which is older than that of the acknowledgement: the
// device did not answer it. Of a value without an acknowledgement nothing is told so: to report a part of it is lawful.

// leaveOut takes out what is left over from reports before the acknowledgement, as far as metadata tells: what has no time
// counts, and so does all of a value that was not written in one with its acknowledgement.
func (r *Reported) leaveOut(meta any) {
	nodes, _ := meta.(map[string]any)
	at, isOne := answeredAt(nodes)
	if r.Ack == nil || !isOne {
		return
	}
	if told, ok := newestUpdate(nodes[envelopeDescription]); ok && told.Before(at) {
		r.Ack.Description = ""
	}
	if written, ok := newestUpdate(nodes[envelopeValue]); ok && written.Equal(at) {
		r.Value = since(at, r.Value, nodes[envelopeValue])
	}
}

// answeredAt is when code and version of an acknowledgement were written, false if not at one time, or if that is not known.
func answeredAt(nodes map[string]any) (at time.Time, isOne bool) {
	code, okCode := newestUpdate(nodes[envelopeCode])
	version, okVersion := newestUpdate(nodes[envelopeVersion])
	return code, okCode && okVersion && code.Equal(version)
}

// since is a value without the keys, at any depth, that are older than a time. It is the value itself if there are none.
func since(at time.Time, value, meta any) any {
	s := sieve{at: at}
	if kept, _, _ := s.sift(value, meta); s.dropped {
		return kept
	}
	return value
}

type sieve struct {
	at      time.Time
	dropped bool
}

// sift returns what is kept of a value, and the newest time in it. It goes through the value from below, once: a device may
// nest it as deep as it likes.
func (s *sieve) sift(value, meta any) (kept any, newest time.Time, known bool) {
	fields, isObject := value.(map[string]any)
	if !isObject {
		newest, known = newestUpdate(meta)
		return value, newest, known
	}
	nodes, _ := meta.(map[string]any)
	newest, known = instant(nodes[lastUpdatedKey])
	left := make(map[string]any, len(fields))
	for key, inner := range fields {
		part, at, ok := s.sift(inner, nodes[key])
		if ok && at.Before(s.at) {
			s.dropped = true
			continue
		}
		left[key] = part
		if ok && (!known || at.After(newest)) {
			newest, known = at, true
		}
	}
	return left, newest, known
}

// after is what the device holds once a patch was merged into what the hub held for r, nil if that depends on times that are
// not known. Events have the times of what they write. What they do not write is older, if they come after the time before.
func (r *Reported) after(held any, w leafWrite, before time.Time) *Reported {
	value := merged(held, w.value)
	next := newReported(value, withEarlier(value, w.value, w.meta.own()))
	if next.Ack == nil {
		return next
	}
	envelope, patch := value.(map[string]any), w.value.(map[string]any)
	keepsText := r.isAnswer() && !touches(patch, envelopeCode, envelopeVersion, envelopeDescription)
	keepsValue := !touches(patch, envelopeCode, envelopeVersion, envelopeValue)
	isKnown := keepsValue || saysValue(patch, envelope) && (keepsText || saysText(patch, envelope))
	if !isKnown && !r.comesBefore(w, before) {
		return nil
	}
	if keepsText {
		next.Ack.Description = r.Ack.Description
	}
	if keepsValue {
		next.Value = r.Value
	}
	next.keep(envelope)
	return next
}

func (r *Reported) isAnswer() bool { return r != nil && r.Ack != nil }

// comesBefore is true if all that r says is known to be older than what a patch writes of an envelope. An object that is
// made an acknowledgement by its value alone may have parts of any age.
func (r *Reported) comesBefore(w leafWrite, before time.Time) bool {
	patch, _ := w.value.(map[string]any)
	nodes, _ := w.meta.own().(map[string]any)
	for _, key := range []string{envelopeCode, envelopeVersion, envelopeValue} {
		at, ok := newestUpdate(nodes[key])
		if patch[key] != nil && (!ok || !at.After(before)) {
			return false
		}
	}
	return !before.IsZero() && (r.isAnswer() || touches(patch, envelopeCode, envelopeVersion))
}

// saysValue is true if nothing can be left over in the value of the envelope that came of a patch: it wrote all of it.
func saysValue(patch, envelope map[string]any) bool {
	value, isObject := envelope[envelopeValue].(map[string]any)
	return !isObject || patch[envelopeValue] != nil && rewrites(patch[envelopeValue], value)
}

// saysText is true if the description in the envelope that came of a patch is the patch's.
func saysText(patch, envelope map[string]any) bool {
	return envelope[envelopeDescription] == nil || patch[envelopeDescription] != nil
}

// earlier is the metadata of what was written before all else.
var earlier = map[string]any{lastUpdatedKey: time.Time{}.Format(time.RFC3339)}

// withEarlier is the metadata of a patch and, as earlier, of what the value that came of it has beside it.
func withEarlier(value, patch, meta any) any {
	fields, isObject := value.(map[string]any)
	written, isPatch := patch.(map[string]any)
	if !isObject || !isPatch {
		return meta
	}
	nodes, _ := meta.(map[string]any)
	all := copyOf(nodes)
	for key, inner := range fields {
		all[key] = earlier
		if part, ok := written[key]; ok {
			all[key] = withEarlier(inner, part, nodes[key])
		}
	}
	return all
}

// leftoverKey stands for keys that a hub may hold in an acknowledged object, and that the device did not answer.
const leftoverKey = "$leftover"

// withLeftovers are values, and each that has objects also with leftovers in all of them.
func withLeftovers(values []any) []any {
	all := values
	for _, v := range values {
		if _, isObject := v.(map[string]any); isObject {
			all = append(all, leavened(v))
		}
	}
	return all
}

func leavened(value any) any {
	fields, isObject := value.(map[string]any)
	if !isObject {
		return value
	}
	more := maps.Clone(fields)
	for key, inner := range fields {
		more[key] = leavened(inner)
	}
	more[leftoverKey] = unknown{}
	return more
}
