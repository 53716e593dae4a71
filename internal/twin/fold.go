package twin

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"time"
)

// ErrDoubtful means that the outcome of a notification cannot be known: the twin has to be read. The error that Fold returns
// is a *DoubtError, which says why.
var ErrDoubtful = errors.New("the twin is doubtful")

// Doubt is why a notification cannot be folded in.
type Doubt string

const (
	// DoubtIncomplete means that the notification lacks a version or a section's metadata.
	DoubtIncomplete Doubt = "Incomplete"
	// DoubtETag means that the etag moved, and that it is no counter whose next value is known.
	DoubtETag Doubt = "ETag"
	// DoubtUnseenWrite means that the counters do not add up: a write of desired properties or tags was not announced.
	DoubtUnseenWrite Doubt = "UnseenWrite"
	// DoubtKind means that a component goes or becomes a property, or a property becomes a component.
	DoubtKind Doubt = "Kind"
	// DoubtValue means that an object was merged into a value that is not fully known.
	DoubtValue Doubt = "Value"
	// DoubtWriter means that an object was overwritten in part, and that a configuration had written some part of it.
	DoubtWriter Doubt = "Writer"
)

// DoubtError is ErrDoubtful with its reason.
type DoubtError struct {
	Doubt Doubt
	// Leaf is where, for DoubtKind (its Name is the component's), DoubtValue and DoubtWriter.
	Leaf Leaf
}

func (e *DoubtError) Error() string {
	if e.Leaf == (Leaf{}) {
		return fmt.Sprintf("%v: %s", ErrDoubtful, e.Doubt)
	}
	return fmt.Sprintf("%v: %s of %s", ErrDoubtful, e.Doubt, quote(e.Leaf.String()))
}

// Is makes every DoubtError an ErrDoubtful.
func (e *DoubtError) Is(target error) bool { return target == ErrDoubtful }

// Fold is the twin after a notification that comes next: Position.Order is for judging that. t itself stays as it is. What
// Fold returns is what a read of the twin would have returned; where that cannot be known, the error is ErrDoubtful.
//
// A partial twin keeps its leaves, emptied where the hub removed them, and learns of no other ones: one side of a leaf may
// be written while the other is unknown. Leaves names them. It does learn of components.
func (t *Twin) Fold(n *Notification) (*Twin, error) {
	if n.Version <= 0 || slices.ContainsFunc(n.patches(), func(p *Patch) bool { return !p.isComplete() }) {
		return nil, &DoubtError{Doubt: DoubtIncomplete}
	}
	next := *t
	next.Properties, next.Components, next.Unmarked = copyOf(t.Properties), copyOf(t.Components), maps.Clone(t.Unmarked)
	if err := next.foldCounters(n); err != nil {
		return nil, err
	}
	if err := next.foldKinds(n); err != nil {
		return nil, err
	}
	if err := next.foldSection(n.Desired, next.foldDesired); err != nil {
		return nil, err
	}
	foldReported := func(p *Patch, w leafWrite) error { return next.foldReported(p, w, t.ReportedUpdated) }
	if err := next.foldSection(n.Reported, foldReported); err != nil {
		return nil, err
	}
	return &next, nil
}

// foldCounters moves versions, times and etag. In all twins that were recorded of live hubs the version was the etag's
// counter plus the reported section's version: reports do not move the etag, and a write of tags, desired properties or both
// moves it by one. So a version that does not add up reveals a write that was not seen.
func (t *Twin) foldCounters(n *Notification) error {
	position := t.Position().After(n)
	t.Version, t.DesiredVersion, t.ReportedVersion = position.Version, position.DesiredVersion, position.ReportedVersion
	t.DesiredUpdated, t.ReportedUpdated = position.DesiredUpdated, position.ReportedUpdated
	counter, known := ETagCounter(t.ETag)
	if n.Tags || n.Desired != nil {
		if !known {
			return &DoubtError{Doubt: DoubtETag}
		}
		counter++
		t.ETag = ETagOf(counter)
	}
	if known && t.ReportedVersion > 0 && t.Version-t.ReportedVersion != clampInt64(counter) {
		return &DoubtError{Doubt: DoubtUnseenWrite}
	}
	return nil
}

// foldKinds adds the components that n brings. A name that changes its kind, on either side, is doubtful: t knows neither
// which side marked a component, nor what an unmarked one would look like as a property.
func (t *Twin) foldKinds(n *Notification) error {
	grown := t.namesWithLeaves()
	for _, p := range n.patches() {
		for _, name := range p.names() {
			if t.changesKind(name, p.section.fields[name], grown[name]) {
				return &DoubtError{Doubt: DoubtKind, Leaf: Leaf{Name: name}}
			}
		}
	}
	known := copyOf(t.Components)
	for _, p := range n.patches() {
		p.section.markComponents(t.Components)
	}
	for name := range t.Components {
		if isMarked := n.Desired != nil && n.Desired.section.marks(name); isMarked || !known[name] {
			t.setUnmarked(name, !isMarked)
		}
	}
	return nil
}

// namesWithLeaves are the components of which t has leaves.
func (t *Twin) namesWithLeaves() map[string]bool {
	names := map[string]bool{}
	for leaf := range t.Properties {
		names[leaf.Component] = true
	}
	return names
}

// changesKind says of a name, of which as a component t has leaves or not, whether the value makes
// it another kind.
func (t *Twin) changesKind(name string, value any, hasLeaves bool) bool {
	fields, isObject := value.(map[string]any)
	marker, hasMarker := fields[componentMarker]
	switch {
	case t.Components[name]:
		return !isObject || hasMarker && marker != markerValue
	case !isObject || name == "":
		return false
	case hasLeaves: // of a component that did not exist, in a partial twin: what it grows from is not known
		return true
	default:
		p := t.Properties[Leaf{Name: name}]
		return marker == markerValue && (p.Desired != nil || p.Reported != nil)
	}
}

func (t *Twin) foldSection(p *Patch, write func(*Patch, leafWrite) error) error {
	for _, w := range p.writes(t.Components) {
		if !t.follows(w.leaf) {
			continue
		}
		if err := write(p, w); err != nil {
			return err
		}
		t.settle(w.leaf)
	}
	return nil
}

// follows is false for the leaves that a partial twin knows nothing of.
func (t *Twin) follows(leaf Leaf) bool {
	_, known := t.Properties[leaf]
	return known || !t.Partial
}

// settle drops a leaf that neither side holds any more. A partial twin keeps it: that it is absent is knowledge, too.
func (t *Twin) settle(leaf Leaf) {
	if p := t.Properties[leaf]; !t.Partial && p.Desired == nil && p.Reported == nil {
		delete(t.Properties, leaf)
	}
}

func (t *Twin) foldDesired(p *Patch, w leafWrite) error {
	if w.value == nil {
		t.setDesired(w.leaf, nil)
		return nil
	}
	next := &Desired{Version: cmp.Or(w.meta.version(), p.Version), By: configurationIn(w.meta.own())}
	was := t.Properties[w.leaf].Desired
	held := []any{nil}
	if was != nil {
		held = possible(was.Value)
	}
	var known bool
	if next.Value, known = mergedOntoAny(held, w.value); !known {
		return &DoubtError{Doubt: DoubtValue, Leaf: w.leaf}
	}
	if was != nil && was.By != "" && was.By != next.By && !rewrites(w.value, next.Value) {
		return &DoubtError{Doubt: DoubtWriter, Leaf: w.leaf}
	}
	t.setDesired(w.leaf, next)
	return nil
}

// foldReported merges a report. before is when the section had been written last, zero if that is not known.
func (t *Twin) foldReported(p *Patch, w leafWrite, before time.Time) error {
	if w.value == nil {
		t.setReported(w.leaf, nil)
		return nil
	}
	updated, _ := newestUpdate(w.meta.own())
	if updated.IsZero() {
		updated = p.LastUpdated
	}
	next := t.foldReport(w, before)
	if next == nil {
		return &DoubtError{Doubt: DoubtValue, Leaf: w.leaf}
	}
	next.LastUpdated = updated
	t.setReported(w.leaf, next)
	return nil
}

// foldReport is what the device holds after a patch onto one of the objects and values that the hub may have had, nil if it
// matters which one it was.
func (t *Twin) foldReport(w leafWrite, before time.Time) *Reported {
	was := t.Properties[w.leaf].Reported
	held := t.possibleReports(w)
	next := was.after(held[0], w, before)
	for _, other := range held[1:] {
		alternative := was.after(other, w, before)
		if next == nil || alternative == nil || !reflect.DeepEqual(next.Value, alternative.Value) || !reflect.DeepEqual(next.Ack, alternative.Ack) {
			return nil
		}
		next.Envelope = nil // as little known as before
	}
	return next
}

// possibleReports are the values that the hub may hold where t knows a report, as far as the difference matters to the write.
// A full twin knows. A partial one has value and acknowledgement from a status, which may not show the value, and shows
// neither what else was in an envelope nor that a value was in one without a valid "ac" and "av".
func (t *Twin) possibleReports(w leafWrite) []any {
	r := t.Properties[w.leaf].Reported
	switch {
	case r == nil:
		return []any{nil}
	case r.Envelope != nil:
		return []any{r.Envelope}
	case !t.Partial && r.Ack == nil:
		return []any{r.Value}
	case !t.Partial:
		return []any{r.Ack.envelope(r.Value)}
	case r.Ack == nil:
		return possiblyEnveloped(possible(r.Value), w.value)
	default:
		return possibleEnvelopes(r.Ack, possible(r.Value))
	}
}
