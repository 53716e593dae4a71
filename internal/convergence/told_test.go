package convergence

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

var aMinuteAgo = metav1.NewTime(time.Date(2026, 11, 30, 12, 43, 5, 0, time.UTC))

// situated is a pass over declared properties a to d, each of value 2, in states.
func situated(states map[string]v1alpha1.PropertyStatus, edits ...func(*State)) *State {
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "press", Generation: 3}}
	device.Spec.AcknowledgeWithinSeconds = 15
	s := New(Facts{Device: device, Now: aMinuteAgo.Add(time.Minute)})
	s.Twin = &twin.Twin{Properties: map[twin.Leaf]twin.Property{}}
	s.Declared = twin.Declaration{}
	all := Entries{}
	for name, p := range states {
		leaf := twin.Leaf{Name: name}
		p.Name = name
		s.Declared[leaf] = json.Number("2")
		all[leaf] = p
	}
	all.writeTo(&device.Status, s.Twin)
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func in(state twin.State) v1alpha1.PropertyStatus {
	return v1alpha1.PropertyStatus{State: StateOf(state), LastTransitionTime: aMinuteAgo}
}

func TestTheVerdictNamesEveryFate(t *testing.T) {
	working := v1alpha1.PropertyStatus{State: StateOf(twin.StateInProgress), AckCode: 202, AckDescription: "updating 5%"}
	late := working
	late.LastTransitionTime = aMinuteAgo
	working.LastTransitionTime = metav1.NewTime(aMinuteAgo.Add(50 * time.Second))
	rejected := v1alpha1.PropertyStatus{State: StateOf(twin.StateRejected), AckCode: 400, AckDescription: "too hot"}
	fought := v1alpha1.PropertyStatus{
		State: StateOf(twin.StateDrifted), Desired: JSONOf(json.Number("50")), CorrectedAt: []metav1.Time{aMinuteAgo, aMinuteAgo, aMinuteAgo},
	}
	fight := func(configuration string) func(*State) {
		return func(s *State) { s.Conflicts[twin.Leaf{Name: "a"}] = configuration }
	}
	for name, c := range map[string]struct {
		states map[string]v1alpha1.PropertyStatus
		edits  []func(*State)
		reason string
		want   string
	}{
		"one that the device rejected, and two more of other fates": { // T19
			map[string]v1alpha1.PropertyStatus{"a": rejected, "b": in(twin.StateAdjusted), "c": in(twin.StateApplied), "d": in(twin.StateAcknowledged)},
			nil, v1alpha1.ReasonRejected, "The device rejected a with code 400: too hot; 2 more are not acknowledged: b, c"},
		"two of one fate": {map[string]v1alpha1.PropertyStatus{"a": rejected, "b": rejected}, nil, v1alpha1.ReasonRejected,
			"The device rejected a with code 400: too hot; also b"},
		"what need not be answered is no other fate": {
			map[string]v1alpha1.PropertyStatus{"a": rejected, "b": in(twin.StateApplied)}, []func(*State){func(s *State) { s.Device.Spec.ReadyWhen = v1alpha1.ReadyWhenApplied }},
			v1alpha1.ReasonRejected, "The device rejected a with code 400: too hot"},
		"a device that works on it": {map[string]v1alpha1.PropertyStatus{"a": working}, nil, v1alpha1.ReasonAwaitingAcknowledgement,
			"The device is working on a (202: updating 5%)"},
		"a device that works on it for too long": { // T14
			map[string]v1alpha1.PropertyStatus{"a": late}, nil, v1alpha1.ReasonAcknowledgementTimeout,
			"The device has been working on a for more than 15 s (202: updating 5%)"},
		"a device that is silent, and works on another one": {map[string]v1alpha1.PropertyStatus{"a": in(twin.StateApplied), "b": late}, nil,
			v1alpha1.ReasonAcknowledgementTimeout, "Waited more than 15 s for the device to acknowledge a; it is working on b (202: updating 5%)"},
		"no clock of a suspended object": { // T3
			map[string]v1alpha1.PropertyStatus{"a": in(twin.StateApplied)}, []func(*State){func(s *State) { s.Device.Spec.Suspend = true }},
			v1alpha1.ReasonAwaitingAcknowledgement, "Waiting for the device to acknowledge a"},
		"a fight, with both values and the time": { // T18
			map[string]v1alpha1.PropertyStatus{"a": fought}, []func(*State){fight("")}, v1alpha1.ReasonOwnershipConflict,
			"a: declared 2, the hub holds 50, and is left alone for now: another writer keeps changing it, tried again at 2026-11-30T13:43:05Z"},
		"a configuration of the hub": {
			map[string]v1alpha1.PropertyStatus{"a": fought, "b": in(twin.StateApplied)}, []func(*State){fight("winter")}, v1alpha1.ReasonOwnershipConflict,
			`a: declared 2, the hub holds 50, and is left alone for now: configuration "winter" of the hub writes it: take it out of that, or of the declaration; 1 more is not acknowledged: b`},
		"what is still to be removed": {
			map[string]v1alpha1.PropertyStatus{"a": {State: StateOf(twin.StatePending), Owned: true}}, []func(*State){func(s *State) { s.Declared = twin.Declaration{} }},
			v1alpha1.ReasonProgressing, "Removing a from the hub"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := situated(c.states, c.edits...).judge(); got.Reason != c.reason || got.Message != c.want {
				t.Errorf("got %s: %s\nwant %s: %s", got.Reason, got.Message, c.reason, c.want)
			}
		})
	}
}

// TestConditionsAreOfOnePassAndGeneration has a pass end before, or after, its twin is known,
// beside what status said before.
func TestConditionsAreOfOnePassAndGeneration(t *testing.T) {
	holding := func(value string) v1alpha1.PropertyStatus {
		return v1alpha1.PropertyStatus{State: StateOf(twin.StateAcknowledged), Owned: true, Desired: JSONOf(json.Number(value)), DesiredVersion: 2}
	}
	pending := v1alpha1.PropertyStatus{State: StateOf(twin.StatePending), Owned: true, Desired: JSONOf(json.Number("1")), DesiredVersion: 2}
	untold := func(s *State) { s.Twin = nil }
	edited := func(s *State) { s.Device.Generation++ }
	deleting := func(s *State) {
		s.Device.Generation++
		s.Device.DeletionTimestamp, s.Declared = &aMinuteAgo, twin.Declaration{}
	}
	secret := &Halt{Verdict: conditions.Verdict{Reason: v1alpha1.ReasonHubNotReady, Message: `IoTHub "hub" is not ready: SecretNotFound`}}
	failing := &Halt{IsUnchanged: true, Verdict: conditions.Verdict{Message: "The hub has been failing and is tried again: HTTP 503"}}
	for name, c := range map[string]struct {
		row             v1alpha1.PropertyStatus
		edits           []func(*State)
		halt            *Halt
		ready           string
		says            string
		synced, acked   bool
		details, counts string
	}{
		"a failure that has not lasted says nothing of the same declaration": {row: holding("2"), edits: []func(*State){untold}, halt: failing,
			ready: "True/DeviceAcknowledged", says: "acknowledged every", synced: true, acked: true, counts: "1/1"},
		"a value that the hub does not hold ends what was said of it": {row: pending, halt: failing, // T5
			ready: "False/Progressing", says: "Writing a to the hub", details: "Progressing", counts: "0/1"},
		"an edit ends it before the hub was asked": {row: holding("1"), edits: []func(*State){untold, edited}, halt: failing,
			ready: "False/Progressing", says: "The hub has been failing and is tried again: HTTP 503", details: "Progressing", counts: "0/1"},
		"what is known goes on while the hub cannot be asked": {row: holding("2"), edits: []func(*State){untold}, halt: secret,
			ready: "False/HubNotReady", says: "SecretNotFound", synced: true, acked: true, counts: "1/1"},
		"an edit to another value ends it": {row: holding("1"), edits: []func(*State){untold, edited}, halt: secret, // T6
			ready: "False/HubNotReady", says: "SecretNotFound", details: "HubNotReady", counts: "0/1"},
		"an edit of something else does not": {row: holding("2"), edits: []func(*State){untold, edited}, halt: secret,
			ready: "False/HubNotReady", says: "SecretNotFound", synced: true, acked: true, counts: "1/1"},
		"a deletion says what is still to be removed": {row: holding("2"), edits: []func(*State){untold, deleting}, halt: failing, // T4
			ready: "False/Progressing", says: "Being deleted: a is still to be removed; the hub has been failing and is tried again: HTTP 503", details: "Progressing", counts: "0/0"},
		"a deletion that a person has to help says so": {row: holding("2"), edits: []func(*State){untold, deleting}, halt: secret,
			ready: "False/HubNotReady", says: `Being deleted: a is still to be removed; IoTHub "hub" is not ready`, details: "HubNotReady", counts: "0/0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := situated(map[string]v1alpha1.PropertyStatus{"a": c.row})
			conditions.SetVerdict(s.Device, conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonDeviceAcknowledged, Message: "The device acknowledged every declared value"})
			conditions.Set(s.Device, v1alpha1.ConditionSynced, true, v1alpha1.ReasonApplied, "")
			conditions.Set(s.Device, v1alpha1.ConditionAcknowledged, true, v1alpha1.ReasonDeviceAcknowledged, "")
			st := &s.Device.Status
			st.Declared, st.Acknowledged, st.ObservedGeneration = 1, 1, s.Device.Generation
			st.Twin = &v1alpha1.TwinReference{Etag: "AAAAAAAAAAI="}
			for _, edit := range c.edits {
				edit(s)
			}
			rows := s.Device.Status.Properties
			if s.Twin != nil { // as the hub would show it
				s.Twin.ETag = "AAAAAAAAAAI="
				s.Twin.Properties[twin.Leaf{Name: "a"}] = twin.Property{Desired: &twin.Desired{Value: json.Number("1"), Version: 2}}
				s.Recall(true)
				s.adopt(s.Twin)
			}
			s.Summarise(c.halt)
			is := conditions.ReadyOf(s.Device)
			if got := string(is.Status) + "/" + is.Reason; got != c.ready || !strings.Contains(is.Message, c.says) || is.ObservedGeneration != s.Device.Generation {
				t.Errorf("Ready is %s: %s (%v), want %s: %s", got, is.Message, rows, c.ready, c.says)
			}
			for kind, want := range map[string]bool{v1alpha1.ConditionSynced: c.synced, v1alpha1.ConditionAcknowledged: c.acked} {
				if conditions.IsTrue(s.Device, kind) != want {
					t.Errorf("%s is %t, want %t", kind, !want, want)
				}
				for _, detail := range st.Conditions {
					if detail.Type == kind && !want && (detail.Reason != c.details || detail.Message != is.Message || detail.ObservedGeneration != s.Device.Generation) {
						t.Errorf("%s says %s: %s of generation %d", kind, detail.Reason, detail.Message, detail.ObservedGeneration)
					}
				}
			}
			if st.Summary != c.counts {
				t.Errorf("the summary is %s, want %s", st.Summary, c.counts)
			}
		})
	}
}
