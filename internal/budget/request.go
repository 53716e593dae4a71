package budget

import (
	"fmt"
	"time"
)

// Class is a kind of operation that the hub throttles by itself.
type Class int

// Classes.
const (
	TwinRead Class = iota
	TwinWrite
	Query
	Command
	classes
)

// String is the name in metrics.
func (c Class) String() string {
	return [classes]string{"TwinRead", "TwinWrite", "Query", "Command"}[c]
}

// Plural is the name in messages.
func (c Class) Plural() string {
	return [classes]string{"twin reads", "twin writes", "queries", "commands"}[c]
}

// Priority says who goes first.
type Priority int

// Priorities, the lowest first.
const (
	PrioritySweep Priority = iota
	PriorityFollowUp
	PriorityCommand
	PriorityEdit
	priorities
)

// String is the name in metrics.
func (p Priority) String() string {
	return [priorities]string{"Sweep", "FollowUp", "Command", "Edit"}[p]
}

// BlockBytes is what the hub meters digital twins, commands and daily messages in.
const BlockBytes = 4096

// Blocks is how many blocks a body is; an empty one counts as one.
func Blocks(bytes int) int { return max(1, (bytes+BlockBytes-1)/BlockBytes) }

// Request asks for a call to be let through.
type Request struct {
	Class    Class
	Priority Priority
	// Key names who asks: one that is turned away keeps its place in the line under it.
	Key string
	// Size in tokens of the class.
	Size int
	// Messages of the daily budget.
	Messages int
	// Taken is when it was let through, for GiveBack: zero means today.
	Taken time.Time
}

// Why a request has to wait.
type Why int

const (
	// WhyRate is that the tokens of the class are used up for now.
	WhyRate Why = iota
	// WhyDailyBudget is that the messages of the day that the limits grant to this priority are used up.
	WhyDailyBudget
	// WhyHubQuota is that the hub said that its messages of the day are used up.
	WhyHubQuota
	// WhySlow is that the hub takes so long that its share of the operator's workers is used up.
	WhySlow
)

// Wait is what a request is told that is not let through.
type Wait struct {
	Class Class
	Why   Why
	// For is when to ask again.
	For time.Duration
	// Lasts is how long the request has been waiting and is expected to, all in all.
	Lasts time.Duration
	// Daily messages in force, where those of the day are used up.
	Daily Daily
	// Over is closed once it is worth asking again before that: limits were changed, or the hub has
	// messages again. Nil: nothing but time ends the wait.
	Over <-chan struct{}
}

// WaitError is a call that was not made for want of a token.
type WaitError struct{ Wait }

// Error says what is used up, without times.
func (e *WaitError) Error() string {
	switch e.Why {
	case WhyDailyBudget:
		return "the daily messages of the request budget are used up until 00:00 UTC"
	case WhyHubQuota:
		return "the hub's messages of the day are used up until 00:00 UTC"
	case WhySlow:
		return "waiting for other requests of the hub, which answers slowly"
	case WhyRate:
	}
	return fmt.Sprintf("waiting for the request budget: %s are used up for now", e.Class.Plural())
}

// Caller is on whose behalf a call is made.
type Caller struct {
	Key      string
	Priority Priority
	// Paid is true if the token of the next call was taken before.
	Paid bool
	// Called is called once a worker may wait for the hub on behalf of the key, after it was told that
	// none may. Nil: no worker waits for the call.
	Called func()
}
