package ledger

import (
	"maps"
	"time"
)

// What one shard may hold, well below what the API server takes of one object (1 MiB).
const (
	maxEntries = 2000
	maxWeight  = 640 << 10
	// maxResponse and maxMessage are what is kept of one command.
	maxResponse = 1 << 10
	maxMessage  = 256
	// fixedWeight is more than an entry takes without texts of its own.
	fixedWeight = 240
)

// weightOf is at least as much as the encoded entry has bytes. An outcome without texts is counted
// in, so that there is room for it once there is a claim.
func weightOf(key Key, e Entry) int {
	weight := fixedWeight + len(key.Name) + len(key.Spec) + len(e.UID) + len(e.Request) + len(e.By)
	if e.Outcome != nil {
		weight += len(e.Outcome.Response) + 6*len(e.Outcome.Message) // escapes
	}
	return weight
}

// Weight of all entries.
func (s Entries) Weight() int {
	total := 0
	for key, e := range s {
		total += weightOf(key, e)
	}
	return total
}

// HasRoom reports whether another command of that name may be claimed.
func (s Entries) HasRoom(key Key, now time.Time) error {
	if _, known := s[key]; known || len(s) < maxEntries && s.Weight()+weightOf(key, Entry{}) <= maxWeight {
		return nil
	}
	left := maps.Clone(s)
	left.Forget(now)
	if !left.makeRoom(weightOf(key, Entry{})) {
		return &FullError{Until: left.roomAt()}
	}
	return nil
}

// makeRoom reports whether there is room for an entry, and drops what devices answered where that
// helps: that nothing is sent twice matters more.
func (s Entries) makeRoom(weight int) bool {
	if len(s) >= maxEntries {
		return false
	}
	if s.Weight()+weight <= maxWeight {
		return true
	}
	for key, e := range s {
		if e.Outcome != nil {
			e.Outcome = e.Outcome.bare()
			s[key] = e
		}
	}
	return s.Weight()+weight <= maxWeight
}

// roomAt is when the first entry is forgotten.
func (s Entries) roomAt() time.Time {
	var first time.Time
	for _, e := range s {
		if at := e.forgottenAt(); first.IsZero() || at.Before(first) {
			first = at
		}
	}
	return first
}

// bare is the outcome without texts.
func (o *Outcome) bare() *Outcome {
	left := *o
	left.Truncated = left.Truncated || len(left.Response) > 0
	left.Response, left.Message = nil, ""
	return &left
}

// within is as much of an outcome as entries have room for.
func (o *Outcome) within(s Entries) *Outcome {
	left := *o
	if len(left.Response) > maxResponse {
		left.Response, left.Truncated = nil, true
	}
	left.Message = cut(left.Message)
	if s.Weight() > maxWeight/2 {
		return left.bare()
	}
	return &left
}

// cut ends a message at a rune.
func cut(message string) string {
	if len(message) <= maxMessage {
		return message
	}
	n := 0
	for i := range message {
		if i > maxMessage {
			break
		}
		n = i
	}
	return message[:n]
}
