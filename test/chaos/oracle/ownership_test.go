package oracle

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// course is what happened to property a of dev1, with one desired version for each change.
type course struct {
	t       *testing.T
	history *History
	journal []simulator.JournalEntry
	held    string // what the hub holds, as JSON; empty: nothing
	version int64
	at      time.Time
}

func newCourse(t *testing.T) *course {
	return &course{t: t, history: NewHistory(), journal: []simulator.JournalEntry{created}, at: noon}
}

func (c *course) wait(d time.Duration) { c.at = c.at.Add(d) }

// declares has an object declare a, and be applied. No value is none.
func (c *course) declares(value string) {
	c.observes(v1alpha1.ManagementEnforce, value)
}

func (c *course) observes(management v1alpha1.Management, value string) {
	spec := specOf(`{}`, `{}`)
	if value != "" {
		spec = specOf(`{"a":`+value+`}`, `{}`)
	}
	spec.Management = management
	must(c.t, c.history.Declare("dev1", spec, c.at))
	c.history.Applied("dev1", c.at)
	c.wait(time.Second)
}

func (c *course) isDeleted() {
	c.history.Delete("dev1", c.at)
	c.history.Applied("dev1", c.at)
	c.wait(time.Second)
}

func (c *course) isBorn() { c.history.Born("dev1", c.at) }

func section(value string) string {
	if value == "" {
		return `{}`
	}
	return `{"a":` + value + `}`
}

func (c *course) sets(service bool, value string) {
	c.version++
	patch := section(value)
	if value == "" {
		patch = `{"a":null}`
	}
	c.journal = append(c.journal, simulator.JournalEntry{
		Seq: uint64(len(c.journal)), Written: c.at, DeviceID: "dev1", Kind: "TwinUpdated", Service: service, DesiredVersion: c.version,
		Before: json.RawMessage(section(c.held)), Desired: json.RawMessage(patch),
	})
	c.held = value
	c.wait(time.Second)
}

func (c *course) writes(value string)  { c.sets(true, value) }
func (c *course) foreign(value string) { c.sets(false, value) }
func (c *course) removes()             { c.sets(true, "") }

func (c *course) failsOver(to int64, held string) {
	c.version, c.held = to, held
	c.journal = append(c.journal, simulator.JournalEntry{Written: c.at, DeviceID: "dev1", Kind: "Rewound", DesiredVersion: to})
}

// another has another writer set a property beside a, which is 1.
func (c *course) another(version int64) {
	c.journal = append(c.journal, simulator.JournalEntry{
		Written: c.at, DeviceID: "dev1", Kind: "TwinUpdated", DesiredVersion: version, Before: json.RawMessage(section(`1`)), Desired: json.RawMessage(`{"f":1}`),
	})
}

func (c *course) isRekeyed() {
	c.journal = append(c.journal, simulator.JournalEntry{Written: c.at, DeviceID: "dev1", Kind: "IdentityUpdated", DesiredVersion: c.version})
}

func (c *course) isCreatedAnew() {
	c.journal = append(c.journal, simulator.JournalEntry{DeviceID: "dev1", Kind: "Deleted"}, created)
	c.version, c.held = 0, ""
}

// shows has status say that the object owns what the hub holds.
func (c *course) shows() {
	c.history.Record(recordOf("Applied", c.held, c.version), c.at)
	c.wait(time.Second)
}

func TestWhoseAValueIsThatIsRemoved(t *testing.T) {
	const late = lag + time.Second
	for name, test := range map[string]struct {
		happens func(c *course)
		want    string // part of the complaint; empty: none
	}{
		"the operator's":                                             {func(c *course) { c.declares(`1`); c.writes(`1`); c.declares(``); c.removes() }, ""},
		"another writer's, from before":                              {func(c *course) { c.foreign(`7`); c.declares(`1`); c.declares(``); c.removes() }, "holds 7, which another writer wrote"},
		"another writer's, which came meanwhile":                     {func(c *course) { c.declares(`1`); c.foreign(`7`); c.declares(``); c.removes() }, "holds 7"},
		"another writer's, over the operator's":                      {func(c *course) { c.declares(`1`); c.writes(`1`); c.foreign(`7`); c.declares(``); c.removes() }, "holds 7"},
		"another writer's, which was declared later and found equal": {func(c *course) { c.foreign(`7`); c.declares(`7`); c.declares(``); c.removes() }, ""},
		"another writer's, equal to what was declared then":          {func(c *course) { c.declares(`7`); c.foreign(`7`); c.declares(``); c.removes() }, ""},
		"another writer's, equal to what was declared before": {func(c *course) {
			c.declares(`7`)
			c.declares(``)
			c.wait(late)
			c.foreign(`3`)
			c.foreign(`7`)
			c.removes()
		}, "holds 7, which another writer wrote, and which was not declared since"},
		"another writer's, just what the operator may have tried to write": {func(c *course) {
			c.declares(`7`)
			c.declares(``)
			c.wait(late)
			c.foreign(`7`)
			c.removes()
		}, ""},
		"another writer's, equal to what the operator may not have heard was taken back": {func(c *course) {
			c.declares(`7`)
			c.declares(``)
			c.foreign(`3`)
			c.foreign(`7`)
			c.wait(late)
			c.removes()
		}, ""},
		"another writer's, equal to what was taken back while nobody could hear": {func(c *course) {
			c.declares(`7`)
			c.history.Blind(Span{c.at, c.at.Add(time.Minute)})
			c.declares(``)
			c.wait(30 * time.Second)
			c.foreign(`3`)
			c.foreign(`7`)
			c.removes()
		}, ""},
		"the operator's, and another writer wrote the same": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.declares(``)
			c.wait(late)
			c.foreign(`1`)
			c.removes()
		}, ""},
		"an earlier object's, which retained it": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.isDeleted()
			c.wait(late)
			c.isBorn()
			c.declares(``)
			c.wait(late)
			c.removes()
		}, "which the operator for an object before this one wrote"},
		"an earlier object's, which this one took over": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.isDeleted()
			c.wait(late)
			c.isBorn()
			c.declares(`1`)
			c.declares(``)
			c.wait(late)
			c.removes()
		}, ""},
		"an object's that was declared anew a moment ago": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.isDeleted()
			c.isBorn()
			c.declares(``)
			c.removes()
		}, ""},
		"nobody's": {func(c *course) { c.declares(`1`); c.declares(``); c.removes() }, "not ours to remove: removes a, which the hub does not hold"},
		"another writer's at a device that was created anew": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.isCreatedAnew()
			c.foreign(`7`)
			c.declares(``)
			c.removes()
		}, "holds 7"},
		"another writer's at a hub that failed over": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.writes(`1`)
			c.failsOver(1, `1`)
			c.foreign(`7`)
			c.declares(``)
			c.removes()
		}, "holds 7"},
		"the operator's at a hub that failed over": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.foreign(`7`)
			c.failsOver(1, `1`)
			c.declares(``)
			c.removes()
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourse(t)
			test.happens(c)
			trace, err := Follow(c.journal, c.history)
			must(t, err)
			var got []string
			for _, wrong := range trace.Wrong {
				if strings.Contains(wrong, notOurs) {
					got = append(got, wrong)
				}
			}
			if (len(got) == 0) != (test.want == "") || !strings.Contains(strings.Join(got, "; "), test.want) {
				t.Errorf("got %q, want %q", got, test.want)
			}
		})
	}
}

func TestWhatIsLeftBehind(t *testing.T) {
	const late = lag + time.Second
	written := []string{"device dev1 still has a = 1, which the operator wrote and nobody declares"}
	takenOver := []string{"device dev1 still has a = 1, which the operator took over and nobody declares"}
	for name, test := range map[string]struct {
		happens func(c *course)
		want    []string
	}{
		"what was written": {func(c *course) { c.declares(`1`); c.writes(`1`); c.declares(``) }, written},
		"what was found equal and shown as the object's": {func(c *course) { c.foreign(`1`); c.declares(`1`); c.shows(); c.declares(``) }, takenOver},
		"what was found equal, if at all":                {func(c *course) { c.foreign(`1`); c.declares(`1`); c.declares(``) }, nil},
		"what was shown before another writer wrote it": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.shows()
			c.isCreatedAnew()
			c.foreign(`1`)
			c.declares(``)
		}, nil},
		"what another writer wrote as well": {func(c *course) { c.declares(`1`); c.writes(`1`); c.declares(``); c.foreign(`1`) }, nil},
		"what left while it was observed": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.observes(v1alpha1.ManagementObserve, ``)
			c.declares(``)
		}, nil},
		"what was written after it had been observed": {func(c *course) {
			c.observes(v1alpha1.ManagementObserve, `1`)
			c.wait(late)
			c.declares(`1`)
			c.writes(`1`)
			c.declares(``)
		}, written},
		"what was written for the object after one that was deleted": {func(c *course) {
			c.declares(`1`)
			c.isDeleted()
			c.wait(late)
			c.isBorn()
			c.declares(`1`)
			c.writes(`1`)
			c.declares(``)
		}, written},
		"what was there before a key was rotated": {func(c *course) { c.declares(`1`); c.writes(`1`); c.isRekeyed(); c.declares(``) }, written},
		"what was there before a key was rotated and another property written": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.isRekeyed()
			c.another(2)
			c.declares(``)
		}, nil},
		"what was there before another property was written and a key rotated at once": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.another(2)
			c.wait(time.Second)
			c.isRekeyed()
			c.declares(``)
		}, nil},
		"what was there before another property was written, and a key rotated much later": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.another(2)
			c.wait(time.Hour)
			c.isRekeyed()
			c.declares(``)
		}, written},
		"what was written after a key was rotated": {func(c *course) { c.declares(`1`); c.isRekeyed(); c.writes(`1`); c.declares(``) }, written},
		"what another writer wrote as the operator had, in a history that is undone": {func(c *course) {
			c.foreign(`7`)
			c.declares(`1`)
			c.writes(`1`)
			c.failsOver(1, `7`)
			c.foreign(`1`)
			c.shows()
			c.declares(``)
		}, nil},
		"what a hub that failed over still has": {func(c *course) {
			c.declares(`1`)
			c.writes(`1`)
			c.declares(``)
			c.removes()
			c.failsOver(1, `1`)
		}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourse(t)
			test.happens(c)
			trace, err := Follow(c.journal, c.history)
			must(t, err)
			if diff := cmp.Diff(test.want, texts(trace.Orphans(c.history))); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func texts(orphans []Orphan) []string {
	var all []string
	for _, o := range orphans {
		all = append(all, o.String())
	}
	return all
}

func TestAnOrphanIsAbandoned(t *testing.T) {
	object := func(change func(*v1alpha1.PnPDevice)) *v1alpha1.PnPDevice {
		d := acknowledged()
		change(d)
		return d
	}
	for name, test := range map[string]struct {
		object *v1alpha1.PnPDevice
		want   bool
	}{
		"without an object":                  {nil, true},
		"by an object that shows it":         {object(func(*v1alpha1.PnPDevice) {}), false},
		"by an object that does not":         {object(func(d *v1alpha1.PnPDevice) { d.Status.Properties = nil }), true},
		"by an object that was edited":       {object(func(d *v1alpha1.PnPDevice) { d.Status.Properties, d.Generation = nil, 2 }), false},
		"by an object that is to be cleared": {object(func(d *v1alpha1.PnPDevice) { d.Status.Properties, d.DeletionTimestamp = nil, &metav1.Time{} }), false},
	} {
		if got := (Orphan{Device: "dev1", Leaf: Leaf{"", "a"}}).IsAbandoned(test.object); got != test.want {
			t.Errorf("%s: %t", name, got)
		}
	}
}

// A patch of an object is made for the twin that the operator knows. Where a failover put another one behind its etag, the
// first write leaves keys of that one.
func TestAMixedValueIsExcusedOnceAfterAFailover(t *testing.T) {
	const older = `{"high":85,"low":43}`
	for name, test := range map[string]struct {
		happens func(c *course)
		wrong   bool
	}{
		"the first write after it": {func(c *course) { c.failsOver(1, older); c.writes(`{"low":23}`) }, false},
		"one that changes a part":  {func(c *course) { c.failsOver(1, older); c.declares(`{"low":5,"high":67}`); c.writes(`{"high":67}`) }, false},
		"without one":              {func(c *course) { c.foreign(older); c.held = older; c.writes(`{"low":23}`) }, true},
		"the second write after it": {func(c *course) {
			c.failsOver(1, older)
			c.writes(`{"low":23}`)
			c.foreign(older)
			c.writes(`{"low":23}`)
		}, true},
		"of what nobody declared":          {func(c *course) { c.failsOver(1, older); c.writes(`{"low":24}`) }, true},
		"with a key that nobody has heard": {func(c *course) { c.failsOver(1, `{"low":43}`); c.writes(`{"low":23,"x":1}`) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCourse(t)
			c.declares(`{"low":5}`)
			c.writes(`{"low":5}`)
			c.declares(`{"low":23}`)
			test.happens(c)
			trace, err := Follow(c.journal, c.history)
			must(t, err)
			if wrong := len(trace.Wrong) > 0; wrong != test.wrong {
				t.Errorf("wrong: %q", trace.Wrong)
			}
		})
	}
}
