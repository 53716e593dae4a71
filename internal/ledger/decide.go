package ledger

// Kind is what the record means for an object that has no outcome.
type Kind string

const (
	// Free means that the command may be claimed.
	Free Kind = "Free"
	// Known means that the command has an outcome.
	Known Kind = "Known"
	// Open means that an attempt may have reached the device.
	Open Kind = "Open"
	// Unaccounted means that the object names an attempt that the ledger does not know: it was
	// restored into another cluster, or the ledger got lost. It may have reached the device.
	Unaccounted Kind = "Unaccounted"
)

// Object is what an object says of its attempts.
type Object struct {
	// Annotation and Request are the last attempt by its annotation and by status, Released the
	// last one that did not reach the device.
	Annotation, Request, Released string
}

// Decide says what an entry, nil if there is none, means for an object.
func Decide(e *Entry, o Object) Kind {
	switch {
	case e != nil && e.Outcome != nil:
		return Known
	case e != nil && e.isOpenFor(o):
		return Open
	case o.isUnaccounted(e):
		return Unaccounted
	}
	return Free
}

// isOpenFor reports whether the attempt of an entry may have reached the device. That it was
// released, or that this is in doubt again, may be known to status only.
func (e *Entry) isOpenFor(o Object) bool {
	if o.Request == e.Request {
		return o.Released != e.Request
	}
	return !e.Released && o.Released != e.Request
}

// isUnaccounted reports whether the object names an attempt that the entry is not about, and that
// was not released.
func (o Object) isUnaccounted(e *Entry) bool {
	for _, id := range []string{o.Request, o.Annotation} {
		if id != "" && id != o.Released && (e == nil || id != e.Request) {
			return true
		}
	}
	return false
}
