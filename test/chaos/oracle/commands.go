package oracle

import (
	"fmt"
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Doubts are the commands that came to be Unknown, by why.
type Doubts struct {
	// Lost is how many had their answer lost, Cut how many were under way when an operator was cut off, and Contested how many ended while two operators
	// took themselves for the leader: one gives up what the other has claimed.
	Lost, Cut, Contested int
	// Unfounded are those that should have had another outcome.
	Unfounded []string
}

// Span is a time from and to.
type Span struct{ From, To time.Time }

// Doubted looks at the commands that are Unknown. lost has those whose answer was lost, cuts when operators ended or were stopped in the middle of
// what they did: that is good for one command of each device, which runs one at a time. Commands of a device come in the order in which they ran.
// rivals are when two operators were at work.
func Doubted(commands []v1alpha1.DeviceCommand, lost map[string]bool, cuts []time.Time, rivals []Span) Doubts {
	var d Doubts
	left := map[string][]time.Time{}
	for _, c := range commands {
		device := c.Spec.DeviceRef.Name
		if _, ok := left[device]; !ok {
			left[device] = slices.Clone(cuts)
		}
		cut := slices.IndexFunc(left[device], func(at time.Time) bool { return underWay(&c, at) })
		switch {
		case c.Status.Outcome != v1alpha1.CommandUnknown:
		case lost[c.Name]:
			d.Lost++
		case cut >= 0:
			left[device] = slices.Delete(left[device], cut, cut+1)
			d.Cut++
		case slices.ContainsFunc(rivals, func(s Span) bool { return endedIn(&c, s) }):
			d.Contested++
		default:
			d.Unfounded = append(d.Unfounded, fmt.Sprintf("%s, sent at %v, Unknown at %v", c.Name, c.Status.StartTime, c.Status.CompletionTime))
		}
	}
	return d
}

// underWay reports whether a command was claimed by a time, and had no outcome. Status has whole seconds. A claim that an operator did not live to
// put there has no time: the command may have been sent ever since it was created.
func underWay(c *v1alpha1.DeviceCommand, at time.Time) bool {
	from := c.CreationTimestamp.Time
	if c.Status.StartTime != nil {
		from = c.Status.StartTime.Time
	}
	return c.Status.CompletionTime != nil && !at.Before(from) && at.Before(c.Status.CompletionTime.Add(time.Second))
}

func endedIn(c *v1alpha1.DeviceCommand, s Span) bool {
	end := c.Status.CompletionTime
	return end != nil && end.Add(time.Second).After(s.From) && !end.After(s.To)
}
