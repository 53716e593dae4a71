package amqp

import (
	"testing"
	"time"
)

func TestClaimsCoverWhatTheyAreFor(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	later := now.Add(time.Hour)
	const hub, partition = "hub", "hub/consumergroups/readers/partitions/0"
	for name, test := range map[string]struct {
		entity string
		claim  claim
		need   need
		want   bool
	}{
		"listening, to read":                             {partition, claim{listen: true}, need{address: partition, listen: true}, true},
		"listening to the event hub, to read of it":      {hub, claim{listen: true}, need{address: partition, listen: true}, true},
		"listening, to send":                             {hub, claim{listen: true}, need{address: hub}, false},
		"sending, to send":                               {hub, claim{send: true}, need{address: hub}, true},
		"sending, to read":                               {hub, claim{send: true}, need{address: partition, listen: true}, false},
		"listening to another partition":                 {hub + "/consumergroups/readers/partitions/1", claim{listen: true}, need{address: partition, listen: true}, false},
		"listening to what begins with the same letters": {"hu", claim{listen: true}, need{address: partition, listen: true}, false},
		"listening, for properties":                      {"hub/$management", claim{listen: true}, need{address: managementNode, any: true}, true},
		"sending, for properties":                        {"hub/$management", claim{send: true}, need{address: managementNode, any: true}, true},
		"no right, for properties":                       {"hub/$management", claim{}, need{address: managementNode, any: true}, false},
		"no right, to read":                              {hub, claim{}, need{address: partition, listen: true}, false},
		"the event hub, for its properties":              {hub, claim{listen: true}, need{address: managementNode, any: true}, true},
		"before it expires":                              {hub, claim{listen: true, expires: later}, need{address: partition, listen: true}, true},
		"when it expires":                                {hub, claim{listen: true, expires: now}, need{address: partition, listen: true}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := (claims{test.entity: test.claim}).cover(test.need, now); got != test.want {
				t.Errorf("covered: %v", got)
			}
		})
	}
}
