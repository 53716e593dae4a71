package twin_test

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestJudge holds a value that version 5 set, in a desired section at version 8.
func TestJudge(t *testing.T) {
	ack := func(raw string, version, code int64) *twin.Reported {
		return &twin.Reported{Value: value(raw), Ack: &twin.Ack{Version: version, Code: code}}
	}
	tests := map[string]struct {
		desired  string // "" is absent; default 21.8
		reported *twin.Reported
		want     twin.State
	}{
		"the hub does not hold the property":          {desired: "", reported: ack(`21.8`, 5, 200), want: twin.StatePending},
		"the hub holds another value":                 {desired: `21.9`, reported: ack(`21.8`, 5, 200), want: twin.StatePending},
		"the hub holds the value in another form":     {desired: `2.18e1`, reported: ack(`21.8`, 5, 200), want: twin.StateAcknowledged},
		"the device is silent":                        {desired: `21.8`, want: twin.StateApplied},
		"a plain value without an envelope":           {desired: `21.8`, reported: &twin.Reported{Value: value(`21.8`)}, want: twin.StateApplied},
		"av is below the version that set it":         {desired: `21.8`, reported: ack(`21.8`, 4, 200), want: twin.StateApplied},
		"av is the version that set it":               {desired: `21.8`, reported: ack(`21.8`, 5, 200), want: twin.StateAcknowledged},
		"av is a later version of the section":        {desired: `21.8`, reported: ack(`21.8`, 8, 200), want: twin.StateAcknowledged},
		"av is above the section's version":           {desired: `21.8`, reported: ack(`21.8`, 9, 200), want: twin.StateApplied},
		"a refusal of an older version is ignored":    {desired: `21.8`, reported: ack(`21.8`, 4, 400), want: twin.StateApplied},
		"ac 203 is the device's default":              {desired: `21.8`, reported: ack(`21.8`, 5, 203), want: twin.StateApplied},
		"ac 202 is in progress":                       {desired: `21.8`, reported: ack(`20`, 5, 202), want: twin.StateInProgress},
		"ac 200 with an equal value":                  {desired: `21.8`, reported: ack(`21.8`, 5, 200), want: twin.StateAcknowledged},
		"ac 200 with the same float32":                {desired: `21.8`, reported: ack(`21.799999237060547`, 5, 200), want: twin.StateAcknowledged},
		"ac 201 counts like 200":                      {desired: `21.8`, reported: ack(`21.8`, 5, 201), want: twin.StateAcknowledged},
		"ac 299 counts like 200":                      {desired: `21.8`, reported: ack(`21.8`, 5, 299), want: twin.StateAcknowledged},
		"ac 200 with another value":                   {desired: `21.8`, reported: ack(`20`, 5, 200), want: twin.StateAdjusted},
		"ac 204 with another value":                   {desired: `21.8`, reported: ack(`20`, 5, 204), want: twin.StateAdjusted},
		"ac 400 is a refusal":                         {desired: `21.8`, reported: ack(`21.8`, 5, 400), want: twin.StateRejected},
		"ac 500 is a refusal":                         {desired: `21.8`, reported: ack(`20`, 6, 500), want: twin.StateRejected},
		"ac 399 says nothing":                         {desired: `21.8`, reported: ack(`21.8`, 5, 399), want: twin.StateApplied},
		"ac 300 says nothing":                         {desired: `21.8`, reported: ack(`21.8`, 5, 300), want: twin.StateApplied},
		"ac 199 says nothing":                         {desired: `21.8`, reported: ack(`21.8`, 5, 199), want: twin.StateApplied},
		"ac 0 says nothing":                           {desired: `21.8`, reported: ack(`21.8`, 5, 0), want: twin.StateApplied},
		"a negative ac says nothing":                  {desired: `21.8`, reported: ack(`21.8`, 5, -200), want: twin.StateApplied},
		"reported equal, but the hub desires nothing": {desired: "", reported: &twin.Reported{Value: value(`21.8`)}, want: twin.StatePending},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := twin.Property{Reported: tc.reported}
			if tc.desired != "" {
				p.Desired = &twin.Desired{Value: value(tc.desired), Version: 5}
			}
			if got := twin.Judge(value(`21.8`), p, 5, 8); got != tc.want {
				t.Errorf("Judge() = %s, want %s", got, tc.want)
			}
		})
	}
}

func TestJudgeComparesObjectsOnTheFieldsThatTheDeviceReturned(t *testing.T) {
	const declared = `{"low":1,"high":21.8}`
	tests := map[string]struct {
		reported string
		want     twin.State
	}{
		"all fields":          {reported: declared, want: twin.StateAcknowledged},
		"some fields":         {reported: `{"high":21.799999237060547}`, want: twin.StateAcknowledged},
		"a field differs":     {reported: `{"low":2}`, want: twin.StateAdjusted},
		"a field is not ours": {reported: `{"low":1,"mode":"x"}`, want: twin.StateAdjusted},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := twin.Property{
				Desired:  &twin.Desired{Value: value(declared), Version: 5},
				Reported: &twin.Reported{Value: value(tc.reported), Ack: &twin.Ack{Version: 5, Code: 200}},
			}
			if got := twin.Judge(value(declared), p, 5, 5); got != tc.want {
				t.Errorf("Judge() = %s, want %s", got, tc.want)
			}
		})
	}
}

// TestUnusableEnvelopesLeaveTheValueApplied takes the row of av and ac that are not integers from the hub's JSON to the state.
func TestUnusableEnvelopesLeaveTheValueApplied(t *testing.T) {
	tests := map[string]struct {
		reported string
		want     twin.State
	}{
		"both are integers": {reported: `{"value":1,"ac":200,"av":5}`, want: twin.StateAcknowledged},
		"av is a string":    {reported: `{"value":1,"ac":200,"av":"5"}`, want: twin.StateApplied},
		"av is a fraction":  {reported: `{"value":1,"ac":200,"av":5.5}`, want: twin.StateApplied},
		"ac is a string":    {reported: `{"value":1,"ac":"200","av":5}`, want: twin.StateApplied},
		"ac is missing":     {reported: `{"value":1,"av":5}`, want: twin.StateApplied},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			tw := twinOf(`{"a":1,"$version":5,"$metadata":{"a":{"$lastUpdatedVersion":5}}}`, `{"a":`+tc.reported+`}`)
			if got := twin.Judge(value(`1`), tw.Properties[leaf("", "a")], 5, tw.DesiredVersion); got != tc.want {
				t.Errorf("Judge() = %s, want %s", got, tc.want)
			}
		})
	}
}

// TestTheSameValueRewrittenStaysAcknowledged is the row of the acknowledgement rules that needs both functions.
func TestTheSameValueRewrittenStaysAcknowledged(t *testing.T) {
	a := leaf("", "a")
	declared := twin.Declaration{a: value(`42`)}
	rewritten := twin.Property{
		Desired:  &twin.Desired{Value: value(`42`), Version: 7},
		Reported: &twin.Reported{Value: value(`42`), Ack: &twin.Ack{Version: 5, Code: 200}},
	}
	now := &twin.Twin{DesiredVersion: 7, Properties: map[twin.Leaf]twin.Property{a: rewritten}}
	before := twin.Ownership{Held: map[twin.Leaf]twin.Owned{a: {Value: value(`42`), Version: 5, SetVersion: 5}}}
	owned := before.After(now, nil, declared, true).Held[a]
	if got := twin.Judge(value(`42`), rewritten, owned.SetVersion, 7); got != twin.StateAcknowledged {
		t.Errorf("Judge() of the same value written again = %s", got)
	}
	owned = twin.Ownership{}.After(now, nil, declared, true).Held[a]
	if got := twin.Judge(value(`42`), rewritten, owned.SetVersion, 7); got != twin.StateApplied {
		t.Errorf("Judge() of a value that somebody else set = %s", got)
	}
}
