// Package ledger decides which commands may be sent, from a record that outlives the objects. It is
// pure: at-most-once depends on it, so that its transitions are a table, and a property of them is
// tested.
package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// slack is how long an entry outlives notAfter and its attempt, for clocks that differ.
const slack = 10 * time.Minute

// Entry is what is on record of an invocation: its last attempt, and what became of it.
type Entry struct {
	// UID of the object that it was claimed for.
	UID string
	// Request ID of the attempt.
	Request string
	// By is the process that claimed it.
	By string
	// At is when it was claimed, Until when it cannot run any more.
	At, Until time.Time
	// NotAfter of the spec.
	NotAfter time.Time
	// Released is true if the attempt is known not to have reached the device.
	Released bool
	// Offline is true if that is what the hub said of a device that it took for offline: it is
	// certain only once the device's events of that time were heard.
	Offline bool
	// Outcome, once there is one.
	Outcome *Outcome
}

// Outcome is how an invocation ended.
type Outcome struct {
	Outcome v1alpha1.CommandOutcome
	Code    *int32
	// Message for people, where it does not follow from the code.
	Message string
	// Response of the device. Truncated is true if that is not all of it.
	Response  json.RawMessage
	Truncated bool
	At        time.Time
}

// Entries are those of one shard.
type Entries map[Key]Entry

// Proof says why an attempt may follow another one.
type Proof string

const (
	// Released means that the one before did not reach the device.
	Released Proof = "Released"
	// Retried means that the one before is over, and the command may run twice.
	Retried Proof = "Retried"
)

// Claim asks for the right to send.
type Claim struct {
	UID, Request, By    string
	At, Until, NotAfter time.Time
	// Over is the request ID of the attempt before, empty if there is none, and Proof why it is no
	// obstacle.
	Over  string
	Proof Proof
}

// ErrChanged means that the entry is not what a change is about: it has to be decided anew.
var ErrChanged = errors.New("the record of the command has changed")

// FullError means that there is no room for a claim.
type FullError struct {
	// Until is when the first entry is forgotten.
	Until time.Time
}

func (e *FullError) Error() string {
	return fmt.Sprintf("the record of commands is full until %s", e.Until.UTC().Format(time.RFC3339))
}

// Claim puts an attempt on record. Of two claims on the same entry one is refused.
func (s Entries) Claim(key Key, c Claim) error {
	before, known := s[key]
	if known && !c.mayFollow(before) || !known && c.Over != "" {
		return ErrChanged
	}
	entry := Entry{UID: c.UID, Request: c.Request, By: c.By, At: c.At, Until: c.Until, NotAfter: c.NotAfter}
	if !known && !s.makeRoom(weightOf(key, entry)) {
		return &FullError{Until: s.roomAt()}
	}
	s[key] = entry
	return nil
}

func (c Claim) mayFollow(before Entry) bool {
	switch {
	case before.Outcome != nil || c.Over != before.Request:
		return false
	case before.Released || c.Proof == Released:
		return true
	}
	return c.Proof == Retried && !c.At.Before(before.Until)
}

// Release notes that an attempt did not reach its device. It says nothing of any other attempt, nor
// of one that has an outcome.
func (s Entries) Release(key Key, request string, offline bool) error {
	e, known := s[key]
	if !known || e.Request != request || e.Outcome != nil {
		return ErrChanged
	}
	e.Released, e.Offline = true, offline
	s[key] = e
	return nil
}

// Conclude puts the outcome of an attempt on record. An answer of the device or the hub replaces
// Unknown; that a released attempt is in doubt after all makes it Unknown. An outcome of which
// there is no entry, as of a command that ran before there was a ledger, gets one if there is room.
func (s Entries) Conclude(key Key, of Entry) error {
	e, known := s[key]
	switch {
	case !known:
		e = of
	case e.Request != of.Request:
		return ErrChanged
	case e.Outcome != nil && (e.Outcome.Outcome != v1alpha1.CommandUnknown || of.Outcome.Outcome == v1alpha1.CommandUnknown):
		return ErrChanged
	case e.Released && of.Outcome.Outcome != v1alpha1.CommandUnknown:
		return ErrChanged
	}
	e.Outcome, e.Released, e.Offline, e.By = of.Outcome.within(s), false, false, ""
	if !known && !s.makeRoom(weightOf(key, e)) {
		return &FullError{Until: s.roomAt()}
	}
	s[key] = e
	return nil
}

// Forget drops what no object can ask for any more.
func (s Entries) Forget(now time.Time) {
	maps.DeleteFunc(s, func(_ Key, e Entry) bool { return !now.Before(e.forgottenAt()) })
}

func (e Entry) forgottenAt() time.Time {
	last := e.NotAfter
	if e.Until.After(last) {
		last = e.Until
	}
	return last.Add(slack)
}
