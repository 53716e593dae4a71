package oracle

import (
	"encoding/json"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// acknowledgedTwin holds a = 1, written by version 2 and acknowledged.
const acknowledgedTwin = `{"etag":"AAAAAAAAAAI=","deviceEtag":"NjEy","version":4,"connectionState":"Connected","properties":{
	"desired":{"a":1,"$metadata":{"a":{"$lastUpdatedVersion":2}},"$version":2},
	"reported":{"a":{"value":1,"ac":200,"av":2,"ad":"completed"},"$version":2}}}`

func acknowledged() *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Name: "dev1", Generation: 1},
		Spec:       *specOf(`{"a":1}`, `{}`),
		Status: v1alpha1.PnPDeviceStatus{
			ObservedGeneration: 1, ConnectionState: "Connected",
			Twin: &v1alpha1.TwinReference{Etag: "AAAAAAAAAAI=", DeviceEtag: "NjEy", Version: 4, DesiredVersion: 2},
			Properties: []v1alpha1.PropertyStatus{{
				Name: "a", State: "Acknowledged", Owned: true, Desired: value(`1`), Reported: value(`1`), DesiredVersion: 2, AckVersion: 2, AckCode: 200, AckDescription: "completed",
			}},
			Conditions: []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonDeviceAcknowledged}},
		},
	}
}

func value(s string) *apiextensionsv1.JSON { return &apiextensionsv1.JSON{Raw: []byte(s)} }

func reason(d *v1alpha1.PnPDevice, r string) { d.Status.Conditions[0].Reason = r }

func TestStatusIsHeldAgainstTheTwin(t *testing.T) {
	for name, test := range map[string]struct {
		twin   string // what differs in it, as old and new texts after each other, separated by =>; empty: nothing
		object func(*v1alpha1.PnPDevice)
		more   []simulator.JournalEntry
		want   []string // parts of the complaints; none: status is right
	}{
		"all is well":                           {},
		"the etag is none":                      {object: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Etag = "x" }, want: []string{"ETag:x"}},
		"the etag is behind":                    {object: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Etag = "AAAAAAAAAAE=" }},
		"the etag is ahead":                     {object: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Etag = "AAAAAAAAAAM=" }, want: []string{"ETag:AAAAAAAAAAM="}},
		"the version is behind":                 {object: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Version = 3 }},
		"the version is ahead":                  {object: func(d *v1alpha1.PnPDevice) { d.Status.Twin.Version = 5 }, want: []string{"version 5"}},
		"a generation was not observed":         {object: func(d *v1alpha1.PnPDevice) { d.Generation = 2 }, want: []string{"generation 1"}},
		"a declared property is not in status":  {object: func(d *v1alpha1.PnPDevice) { d.Status.Properties = nil }, want: []string{"lacks a"}},
		"one is in status that is not declared": {object: func(d *v1alpha1.PnPDevice) { d.Spec.Properties = nil; reason(d, v1alpha1.ReasonDeviceAcknowledged) }, want: []string{"has a (Acknowledged)"}},
		"the device holds another value":        {twin: `"value":1=>"value":9`, want: []string{"reported as 9", "should be Adjusted", "should be Adjusted"}},
		"an adjusted value is reported honestly": {twin: `"value":1=>"value":9`, object: func(d *v1alpha1.PnPDevice) {
			d.Status.Properties[0].Reported, d.Status.Properties[0].State = value(`9`), "Adjusted"
			reason(d, v1alpha1.ReasonAdjusted)
		}},
		"a refusal is reported honestly": {twin: `"ac":200=>"ac":400`, object: func(d *v1alpha1.PnPDevice) {
			d.Status.Properties[0].AckCode, d.Status.Properties[0].State = 400, "Rejected"
			reason(d, v1alpha1.ReasonRejected)
		}},
		"a refusal is hidden": {twin: `"ac":200=>"ac":400`, want: []string{"answered with", "should be Rejected", "should be Rejected"}},
		"an answer to an older version counts as silence": {twin: `"av":2=>"av":1`, object: func(d *v1alpha1.PnPDevice) {
			d.Status.Properties[0].AckVersion, d.Status.Properties[0].State = 1, "Applied"
			reason(d, v1alpha1.ReasonAwaitingAcknowledgement)
		}},
		"silence beyond the time is said": {twin: `"av":2=>"av":1`, object: func(d *v1alpha1.PnPDevice) {
			d.Spec.AcknowledgeWithinSeconds = 5
			d.Status.Properties[0].AckVersion, d.Status.Properties[0].State = 1, "Applied"
			reason(d, v1alpha1.ReasonAwaitingAcknowledgement)
		}, want: []string{"should be AcknowledgementTimeout"}},
		"the device is offline and silent": {twin: `Connected=>Disconnected`, object: func(d *v1alpha1.PnPDevice) { d.Status.ConnectionState = "Disconnected" }},
		"the hub holds another value and nobody fights": {twin: `"a":1,=>"a":7,`, object: func(d *v1alpha1.PnPDevice) {
			d.Status.Properties[0].Desired, d.Status.Properties[0].State = value(`7`), "Drifted"
			reason(d, v1alpha1.ReasonOwnershipConflict)
		}, want: []string{"nobody fights for it"}},
		"three corrections are a fight": {twin: `"a":1,=>"a":7,`, object: func(d *v1alpha1.PnPDevice) {
			d.Status.Properties[0].Desired, d.Status.Properties[0].State = value(`7`), "Drifted"
			reason(d, v1alpha1.ReasonOwnershipConflict)
		}, more: fight},
		"an object that observes does not fight": {twin: `"a":1,=>"a":7,`, object: func(d *v1alpha1.PnPDevice) {
			d.Spec.Management = v1alpha1.ManagementObserve
			d.Status.Properties[0].Desired, d.Status.Properties[0].State = value(`7`), "Drifted"
			reason(d, v1alpha1.ReasonDrifted)
		}},
		"a version is shown that set another value": {object: func(d *v1alpha1.PnPDevice) { d.Status.Properties[0].DesiredVersion = 1 }, want: []string{"status says 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			twin := acknowledgedTwin
			if old, with, ok := strings.Cut(test.twin, "=>"); ok {
				twin = strings.Replace(twin, old, with, 1)
			}
			d := acknowledged()
			if test.object != nil {
				test.object(d)
			}
			trace, err := Follow(append([]simulator.JournalEntry{created, write(true, 2, `{}`, `{"a":1}`)}, test.more...), declaring(t, `{"a":1}`))
			must(t, err)
			got, err := trace.Compare(d, json.RawMessage(twin))
			must(t, err)
			if len(got) != len(test.want) {
				t.Fatalf("got %q, want %q", got, test.want)
			}
			for i := range got {
				if !strings.Contains(got[i], test.want[i]) {
					t.Errorf("got %q, want %q", got[i], test.want[i])
				}
			}
		})
	}
}

func declaring(t *testing.T, properties string) *History {
	h := NewHistory()
	must(t, h.Declare("dev1", specOf(properties, `{}`), noon))
	return h
}

// fight is four foreign changes, three of which were put back.
var fight = []simulator.JournalEntry{
	write(false, 3, `{"a":1}`, `{"a":7}`), write(true, 4, `{"a":7}`, `{"a":1}`), write(false, 5, `{"a":1}`, `{"a":7}`), write(true, 6, `{"a":7}`, `{"a":1}`),
	write(false, 7, `{"a":1}`, `{"a":7}`), write(true, 8, `{"a":7}`, `{"a":1}`), write(false, 9, `{"a":1}`, `{"a":7}`),
}

func TestAFailoverDoesNotEndAFight(t *testing.T) {
	journal := append([]simulator.JournalEntry{created, write(true, 2, `{}`, `{"a":1}`)}, fight...)
	journal = append(journal, simulator.JournalEntry{DeviceID: "dev1", Kind: "Rewound", DesiredVersion: 3})
	trace, err := Follow(journal, declaring(t, `{"a":1}`))
	must(t, err)
	d := acknowledged()
	d.Status.Properties[0].Desired, d.Status.Properties[0].State = value(`7`), "Drifted"
	reason(d, v1alpha1.ReasonOwnershipConflict)
	got, err := trace.Compare(d, json.RawMessage(strings.Replace(acknowledgedTwin, `"a":1,`, `"a":7,`, 1)))
	must(t, err)
	if len(got) > 0 {
		t.Errorf("got %q", got)
	}
}

func TestADeviceThatTheHubDoesNotKnowIsSaid(t *testing.T) {
	trace, err := Follow(nil, NewHistory())
	must(t, err)
	d := acknowledged()
	got, err := trace.Compare(d, nil)
	must(t, err)
	if len(got) != 2 || !strings.Contains(got[0], "should be DeviceNotFound") || !strings.Contains(got[1], `"Connected"`) {
		t.Errorf("got %q", got)
	}
	reason(d, v1alpha1.ReasonDeviceNotFound)
	d.Status.ConnectionState = ""
	if got, err = trace.Compare(d, nil); err != nil || len(got) > 0 {
		t.Errorf("got %q, %v", got, err)
	}
}

func TestPendingRemovals(t *testing.T) {
	kept, edited, deleted := acknowledged(), acknowledged(), acknowledged()
	edited.Spec.Properties = nil
	deleted.DeletionTimestamp = &metav1.Time{}
	if got := Pending([]*v1alpha1.PnPDevice{kept, edited, deleted}); got != 2 {
		t.Errorf("%d properties are about to be removed, want 2", got)
	}
}

// A hub keeps keys of earlier reports. A key that is older than an acknowledgement is no part of it.
func TestWhatIsOlderThanAnAnswerIsNoPartOfIt(t *testing.T) {
	const before, then = `{"$lastUpdated":"2026-11-30T10:00:00Z"}`, `{"$lastUpdated":"2026-11-30T10:00:01.5Z"}`
	reported := `{"value":{"low":1,"high":2},"ac":200,"av":3,"ad":"done"}`
	for name, c := range map[string]struct{ metadata, value, describe string }{
		"all of one time":         {`{"value":{"low":` + then + `,"high":` + then + `},"ac":` + then + `,"av":` + then + `,"ad":` + then + `}`, `{"low":1,"high":2}`, "done"},
		"a key of before":         {`{"value":{"low":` + then + `,"high":` + before + `},"ac":` + then + `,"av":` + then + `,"ad":` + then + `}`, `{"low":1}`, "done"},
		"a description of before": {`{"value":{"low":` + then + `,"high":` + then + `},"ac":` + then + `,"av":` + then + `,"ad":` + before + `}`, `{"low":1,"high":2}`, ""},
		"a value of before":       {`{"value":{"low":` + before + `,"high":` + before + `},"ac":` + then + `,"av":` + then + `,"ad":` + then + `}`, `{"low":1,"high":2}`, "done"},
		"without times":           {`{}`, `{"low":1,"high":2}`, "done"},
	} {
		t.Run(name, func(t *testing.T) {
			var value, want any
			var metadata map[string]any
			for text, into := range map[string]any{reported: &value, c.metadata: &metadata, c.value: &want} {
				must(t, json.Unmarshal([]byte(text), into))
			}
			a := answerOf(value).without(metadata)
			if !equal(a.value, want) || a.describe != c.describe {
				t.Errorf("value %v, description %q, want %v, %q", a.value, a.describe, want, c.describe)
			}
		})
	}
}

// A hub whose clock was set back keeps keys of earlier reports that have later times than the answer.
func TestALaterTimeThanThatOfAnAnswerTellsNothing(t *testing.T) {
	const later, then = `{"$lastUpdated":"2026-11-30T12:00:00Z"}`, `{"$lastUpdated":"2026-11-30T10:00:01.5Z"}`
	reported := `{"value":{"low":1,"high":{"unit":"m"}},"ac":200,"av":3,"ad":"done"}`
	for name, c := range map[string]struct {
		metadata, value string
		isOdd           bool
	}{
		"all of one time":           {`{"value":{"low":` + then + `,"high":{"unit":` + then + `}},"ac":` + then + `,"av":` + then + `}`, `{"low":1,"high":{"unit":"m"}}`, false},
		"a key of a later time":     {`{"value":{"low":` + then + `,"high":{"unit":` + later + `}},"ac":` + then + `,"av":` + then + `}`, `{"low":1}`, true},
		"an answer of two times":    {`{"value":{"low":` + then + `,"high":` + later + `},"ac":` + then + `,"av":` + later + `}`, `{"low":1,"high":{"unit":"m"}}`, false},
		"a value of before":         {`{"value":{"low":` + then + `,"high":` + then + `},"ac":` + later + `,"av":` + later + `}`, `{"low":1,"high":{"unit":"m"}}`, false},
		"no part of the value then": {`{"value":{"low":` + later + `,"high":` + later + `},"ac":` + then + `,"av":` + then + `}`, `{}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			var value, want any
			var metadata map[string]any
			for text, into := range map[string]any{reported: &value, c.metadata: &metadata, c.value: &want} {
				must(t, json.Unmarshal([]byte(text), into))
			}
			if of, isOdd := answerOf(value).told(metadata); isOdd != c.isOdd || !equal(of.value, want) {
				t.Errorf("value %v, odd %t, want %v, %t", of.value, isOdd, want, c.isOdd)
			}
		})
	}
}

// A device that the hub calls disconnected is waited for, unless it reported after that.
func TestADeviceThatReportedWhileDisconnectedHadItsTime(t *testing.T) {
	twin := strings.NewReplacer(`Connected`, `Disconnected`, `"av":2`, `"av":1`).Replace(acknowledgedTwin)
	left := simulator.JournalEntry{DeviceID: "dev1", Kind: "Disconnected"}
	reports := simulator.JournalEntry{DeviceID: "dev1", Kind: "TwinUpdated", Reported: json.RawMessage(`{"x":1}`)}
	for name, c := range map[string]struct {
		happens []simulator.JournalEntry
		wrong   bool
	}{
		"it reported after it was gone": {[]simulator.JournalEntry{left, reports}, false},
		"it reported before":            {[]simulator.JournalEntry{reports, left}, true},
	} {
		t.Run(name, func(t *testing.T) {
			d := acknowledged()
			d.Spec.AcknowledgeWithinSeconds, d.Status.ConnectionState = 5, "Disconnected"
			d.Status.Properties[0].AckVersion, d.Status.Properties[0].State = 1, "Applied"
			reason(d, v1alpha1.ReasonAcknowledgementTimeout)
			trace, err := Follow(append([]simulator.JournalEntry{created, write(true, 2, `{}`, `{"a":1}`)}, c.happens...), declaring(t, `{"a":1}`))
			must(t, err)
			got, err := trace.Compare(d, json.RawMessage(twin))
			must(t, err)
			if (len(got) > 0) != c.wrong {
				t.Errorf("got %q", got)
			}
		})
	}
}

func TestMoved(t *testing.T) {
	status := func(change func(*v1alpha1.PnPDeviceStatus)) v1alpha1.PnPDeviceStatus {
		s := v1alpha1.PnPDeviceStatus{
			ConnectionState: "Disconnected",
			Conditions:      []metav1.Condition{{Type: "Ready", Message: "Offline: waiting"}},
			Twin:            &v1alpha1.TwinReference{Etag: "a", Version: 3, DesiredVersion: 2, DesiredUpdated: "2026-11-30T12:00:00Z"},
		}
		change(&s)
		return s
	}
	since := metav1.Now()
	for name, c := range map[string]struct {
		change func(*v1alpha1.PnPDeviceStatus)
		moved  bool
	}{
		"nothing": {func(*v1alpha1.PnPDeviceStatus) {}, false},
		"a read shows another writer's": {func(s *v1alpha1.PnPDeviceStatus) {
			s.Twin = &v1alpha1.TwinReference{Etag: "b", Version: 4, DesiredVersion: 3, DesiredUpdated: "2026-11-30T12:00:01Z"}
		}, false},
		"an etag without a later write": {func(s *v1alpha1.PnPDeviceStatus) { s.Twin.Etag = "b" }, true},
		"a version alone":               {func(s *v1alpha1.PnPDeviceStatus) { s.Twin.Version = 4 }, true},
		"since when it is disconnected": {func(s *v1alpha1.PnPDeviceStatus) { s.ConnectionStateSince = &since }, false},
		"and conditions and the version follow": {func(s *v1alpha1.PnPDeviceStatus) {
			s.ConnectionStateSince, s.Twin.Version, s.Conditions[0].Message = &since, 4, "Offline since 2026-12-01T00:10:51Z: waiting"
		}, false},
		"a condition says something else": {func(s *v1alpha1.PnPDeviceStatus) {
			s.ConnectionStateSince, s.Conditions[0].Message = &since, "Offline since 2026-12-01T00:10:51Z"
		}, true},
		"it is connected, and since when":   {func(s *v1alpha1.PnPDeviceStatus) { s.ConnectionState, s.ConnectionStateSince = "Connected", &since }, true},
		"a property that is declared by it": {func(s *v1alpha1.PnPDeviceStatus) { s.Declared = 1 }, true},
	} {
		t.Run(name, func(t *testing.T) {
			object := func(change func(*v1alpha1.PnPDeviceStatus)) []*v1alpha1.PnPDevice {
				return []*v1alpha1.PnPDevice{{Status: status(change)}}
			}
			moved := Moved(object(func(*v1alpha1.PnPDeviceStatus) {}), object(c.change))
			if (len(moved) > 0) != c.moved {
				t.Errorf("moved: %v", moved)
			}
		})
	}
}
