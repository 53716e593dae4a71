package hub

import (
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

func TestTheEventOfAConfigurationIsOfThePatchOrOfTheWholeSection(t *testing.T) {
	h := newDevice(t, WithDesired(`{"other":1}`))
	var desired jsontree.Object
	defer h.Subscribe(func(c Change) { desired = c.Notification().Object("properties").Object("desired") })()
	for _, test := range []struct {
		whole bool
		by    string
		other bool
	}{{false, "slow", false}, {true, "slow", true}, {true, "", false}} {
		h.SetWholeConfigurationEvents(test.whole)
		must(t, h.PatchDesired("dev1", `{"mine":1}`, test.by))
		_, mine := desired.Get("mine")
		_, other := desired.Get("other")
		_, stamped := desired.Object("$metadata").Get("other")
		_, versioned := desired.Get("$version")
		if !mine || other != test.other || stamped || !versioned {
			t.Errorf("whole %v, by %q: got %s", test.whole, test.by, jsontree.Append(nil, desired))
		}
	}
}
