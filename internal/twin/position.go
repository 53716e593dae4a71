package twin

import "time"

// Position is what is known of a twin's counters: enough to place a notification before, after or beyond it. 0 and the zero
// time mean unknown.
type Position struct {
	Version, DesiredVersion, ReportedVersion int64
	// DesiredUpdated and ReportedUpdated are the hub's times of the last write of a section.
	DesiredUpdated, ReportedUpdated time.Time
}

// Order is where a notification stands relative to a position.
type Order int

const (
	// Gap means that a change in between was not seen, or that one cannot tell: only a read of the twin helps.
	Gap Order = iota
	// Next means that the notification continues what is known.
	Next
	// Old means that what is known includes the notification already.
	Old
)

// String is the constant's name.
func (o Order) String() string {
	switch o {
	case Next:
		return "Next"
	case Old:
		return "Old"
	default:
		return "Gap"
	}
}

// Position is the twin's own.
func (t *Twin) Position() Position {
	return Position{
		Version: t.Version, DesiredVersion: t.DesiredVersion, ReportedVersion: t.ReportedVersion,
		DesiredUpdated: t.DesiredUpdated, ReportedUpdated: t.ReportedUpdated,
	}
}

// After is the position once n has happened.
func (p Position) After(n *Notification) Position {
	p.Version = n.Version
	if n.Desired != nil {
		p.DesiredVersion, p.DesiredUpdated = n.Desired.Version, n.Desired.LastUpdated
	}
	if n.Reported != nil {
		p.ReportedVersion, p.ReportedUpdated = n.Reported.Version, n.Reported.LastUpdated
	}
	return p
}

// Order places n by the sections that it writes: each counts its own writes in $version, while the twin's version also moves
// with writes that are of no interest here, so it may jump. Of two sections either both are old or both are next; anything
// else is a gap. Tags count nothing of their own and go by the twin's version.
func (p Position) Order(n *Notification) Order {
	switch {
	case n.Version <= 0:
		return Gap
	case n.Desired == nil && n.Reported == nil:
		return p.orderWithoutSections(n)
	case n.Desired == nil:
		return p.orderReported(n)
	case n.Reported == nil:
		return p.orderDesired(n)
	case p.orderDesired(n) == p.orderReported(n):
		return p.orderDesired(n)
	default:
		return Gap
	}
}

// orderWithoutSections is for tag writes. Where a section's version is unknown, so is how many of its writes lie between the
// two versions, and any higher one may be the next. A notification that names nothing at all moved the twin in a way that
// nobody can follow.
func (p Position) orderWithoutSections(n *Notification) Order {
	contiguous := p.DesiredVersion == 0 || p.ReportedVersion == 0 || p.Version == 0 || n.Version == p.Version+1
	switch {
	case n.Version <= p.Version:
		return Old
	case n.Tags && contiguous:
		return Next
	default:
		return Gap
	}
}

func (p Position) orderDesired(n *Notification) Order {
	return p.orderSection(n.Version, n.Desired, p.DesiredVersion, p.DesiredUpdated)
}

func (p Position) orderReported(n *Notification) Order {
	return p.orderSection(n.Version, n.Reported, p.ReportedVersion, p.ReportedUpdated)
}

// orderSection compares one section's patch with the version and time that are known of the section.
//
// Time comes first, because a hub that failed over has lost its newest writes and counts them again: what is earlier than
// the newest known write is never taken for what comes next, and what has a known version but is later tells of such a new
// count. So does a section that is ahead of what is known while the twin's version is not. What is earlier and yet ahead of
// all that is known is either a leftover from before a failover, or the hub's clock went back: only a read tells.
func (p Position) orderSection(root int64, patch *Patch, known int64, updated time.Time) Order {
	timed := !updated.IsZero() && !patch.LastUpdated.IsZero()
	switch {
	case !patch.isComplete():
		return Gap
	case root <= p.Version || patch.Version <= known:
		return orderKnown(patch, known, updated, timed)
	case timed && patch.LastUpdated.Before(updated):
		return Gap
	case known == 0 || patch.Version == known+1:
		return Next
	}
	return Gap
}

// orderKnown places a patch that is not ahead of twin and section in number.
func orderKnown(patch *Patch, known int64, updated time.Time, timed bool) Order {
	switch {
	case timed && patch.LastUpdated.Before(updated):
		return Old
	case timed && patch.LastUpdated.After(updated) || known > 0 && patch.Version > known:
		return Gap
	}
	return Old
}
