package controllers

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

var aMinuteAgo = metav1.NewTime(time.Date(2026, 11, 30, 12, 43, 5, 0, time.UTC))

// situated is a pass over declared properties a to d, each of value 2, in states.
func situated(states map[string]v1alpha1.PropertyStatus, edits ...func(*scope)) *scope {
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "press", Generation: 3}}
	device.Spec.AcknowledgeWithinSeconds = 15
	s := newScope(device, aMinuteAgo.Add(time.Minute))
	s.twin = &twin.Twin{Properties: map[twin.Leaf]twin.Property{}}
	s.declared = twin.Declaration{}
	all := entries{}
	for name, p := range states {
		leaf := twin.Leaf{Name: name}
		p.Name = name
		s.declared[leaf] = json.Number("2")
		all[leaf] = p
	}
	all.writeTo(&device.Status, s.twin)
	for _, edit := range edits {
		edit(s)
	}
	return s
}

func in(state twin.State) v1alpha1.PropertyStatus {
	return v1alpha1.PropertyStatus{State: stateOf(state), LastTransitionTime: aMinuteAgo}
}

func TestTheVerdictNamesEveryFate(t *testing.T) {
	working := v1alpha1.PropertyStatus{State: stateOf(twin.StateInProgress), AckCode: 202, AckDescription: "updating 5%"}
	late := working
	late.LastTransitionTime = aMinuteAgo
	working.LastTransitionTime = metav1.NewTime(aMinuteAgo.Add(50 * time.Second))
	rejected := v1alpha1.PropertyStatus{State: stateOf(twin.StateRejected), AckCode: 400, AckDescription: "too hot"}
	fought := v1alpha1.PropertyStatus{
		State: stateOf(twin.StateDrifted), Desired: jsonOf(json.Number("50")), CorrectedAt: []metav1.Time{aMinuteAgo, aMinuteAgo, aMinuteAgo},
	}
	fight := func(configuration string) func(*scope) {
		return func(s *scope) { s.conflicts[twin.Leaf{Name: "a"}] = configuration }
	}
	for name, c := range map[string]struct {
		states map[string]v1alpha1.PropertyStatus
		edits  []func(*scope)
		reason string
		want   string
	}{
		"one that the device rejected, and two more of other fates": { // T19
			map[string]v1alpha1.PropertyStatus{"a": rejected, "b": in(twin.StateAdjusted), "c": in(twin.StateApplied), "d": in(twin.StateAcknowledged)},
			nil, v1alpha1.ReasonRejected, "The device rejected a with code 400: too hot; 2 more are not acknowledged: b, c"},
		"two of one fate": {map[string]v1alpha1.PropertyStatus{"a": rejected, "b": rejected}, nil, v1alpha1.ReasonRejected,
			"The device rejected a with code 400: too hot; also b"},
		"what need not be answered is no other fate": {
			map[string]v1alpha1.PropertyStatus{"a": rejected, "b": in(twin.StateApplied)}, []func(*scope){func(s *scope) { s.device.Spec.ReadyWhen = v1alpha1.ReadyWhenApplied }},
			v1alpha1.ReasonRejected, "The device rejected a with code 400: too hot"},
		"a device that works on it": {map[string]v1alpha1.PropertyStatus{"a": working}, nil, v1alpha1.ReasonAwaitingAcknowledgement,
			"The device is working on a (202: updating 5%)"},
		"a device that works on it for too long": { // T14
			map[string]v1alpha1.PropertyStatus{"a": late}, nil, v1alpha1.ReasonAcknowledgementTimeout,
			"The device has been working on a for more than 15 s (202: updating 5%)"},
		"a device that is silent, and works on another one": {map[string]v1alpha1.PropertyStatus{"a": in(twin.StateApplied), "b": late}, nil,
			v1alpha1.ReasonAcknowledgementTimeout, "Waited more than 15 s for the device to acknowledge a; it is working on b (202: updating 5%)"},
		"no clock of a suspended object": { // T3
			map[string]v1alpha1.PropertyStatus{"a": in(twin.StateApplied)}, []func(*scope){func(s *scope) { s.device.Spec.Suspend = true }},
			v1alpha1.ReasonAwaitingAcknowledgement, "Waiting for the device to acknowledge a"},
		"a fight, with both values and the time": { // T18
			map[string]v1alpha1.PropertyStatus{"a": fought}, []func(*scope){fight("")}, v1alpha1.ReasonOwnershipConflict,
			"a: declared 2, the hub holds 50, and is left alone for now: another writer keeps changing it, tried again at 2026-11-30T13:43:05Z"},
		"a configuration of the hub": {
			map[string]v1alpha1.PropertyStatus{"a": fought, "b": in(twin.StateApplied)}, []func(*scope){fight("winter")}, v1alpha1.ReasonOwnershipConflict,
			`a: declared 2, the hub holds 50, and is left alone for now: configuration "winter" of the hub writes it: take it out of that, or of the declaration; 1 more is not acknowledged: b`},
		"what is still to be removed": {
			map[string]v1alpha1.PropertyStatus{"a": {State: stateOf(twin.StatePending), Owned: true}}, []func(*scope){func(s *scope) { s.declared = twin.Declaration{} }},
			v1alpha1.ReasonProgressing, "Removing a from the hub"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := situated(c.states, c.edits...).judge(); got.reason != c.reason || got.message != c.want {
				t.Errorf("got %s: %s\nwant %s: %s", got.reason, got.message, c.reason, c.want)
			}
		})
	}
}

// TestConditionsAreOfOnePassAndGeneration has a pass end before, or after, its twin is known,
// beside what status said before.
func TestConditionsAreOfOnePassAndGeneration(t *testing.T) {
	holding := func(value string) v1alpha1.PropertyStatus {
		return v1alpha1.PropertyStatus{State: stateOf(twin.StateAcknowledged), Owned: true, Desired: jsonOf(json.Number(value)), DesiredVersion: 2}
	}
	pending := v1alpha1.PropertyStatus{State: stateOf(twin.StatePending), Owned: true, Desired: jsonOf(json.Number("1")), DesiredVersion: 2}
	untold := func(s *scope) { s.twin = nil }
	edited := func(s *scope) { s.device.Generation++ }
	deleting := func(s *scope) {
		s.device.Generation++
		s.device.DeletionTimestamp, s.declared = &aMinuteAgo, twin.Declaration{}
	}
	secret := &halt{verdict: verdict{reason: v1alpha1.ReasonHubNotReady, message: `IoTHub "hub" is not ready: SecretNotFound`}}
	failing := &halt{unchanged: true, verdict: verdict{message: "The hub has been failing and is tried again: HTTP 503"}}
	for name, c := range map[string]struct {
		row             v1alpha1.PropertyStatus
		edits           []func(*scope)
		halt            *halt
		ready           string
		says            string
		synced, acked   bool
		details, counts string
	}{
		"a failure that has not lasted says nothing of the same declaration": {row: holding("2"), edits: []func(*scope){untold}, halt: failing,
			ready: "True/DeviceAcknowledged", says: "acknowledged every", synced: true, acked: true, counts: "1/1"},
		"a value that the hub does not hold ends what was said of it": {row: pending, halt: failing, // T5
			ready: "False/Progressing", says: "Writing a to the hub", details: "Progressing", counts: "0/1"},
		"an edit ends it before the hub was asked": {row: holding("1"), edits: []func(*scope){untold, edited}, halt: failing,
			ready: "False/Progressing", says: "The hub has been failing and is tried again: HTTP 503", details: "Progressing", counts: "0/1"},
		"what is known goes on while the hub cannot be asked": {row: holding("2"), edits: []func(*scope){untold}, halt: secret,
			ready: "False/HubNotReady", says: "SecretNotFound", synced: true, acked: true, counts: "1/1"},
		"an edit to another value ends it": {row: holding("1"), edits: []func(*scope){untold, edited}, halt: secret, // T6
			ready: "False/HubNotReady", says: "SecretNotFound", details: "HubNotReady", counts: "0/1"},
		"an edit of something else does not": {row: holding("2"), edits: []func(*scope){untold, edited}, halt: secret,
			ready: "False/HubNotReady", says: "SecretNotFound", synced: true, acked: true, counts: "1/1"},
		"a deletion says what is still to be removed": {row: holding("2"), edits: []func(*scope){untold, deleting}, halt: failing, // T4
			ready: "False/Progressing", says: "Being deleted: a is still to be removed; the hub has been failing and is tried again: HTTP 503", details: "Progressing", counts: "0/0"},
		"a deletion that a person has to help says so": {row: holding("2"), edits: []func(*scope){untold, deleting}, halt: secret,
			ready: "False/HubNotReady", says: `Being deleted: a is still to be removed; IoTHub "hub" is not ready`, details: "HubNotReady", counts: "0/0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := situated(map[string]v1alpha1.PropertyStatus{"a": c.row})
			setVerdict(s.device, verdict{ready: true, reason: v1alpha1.ReasonDeviceAcknowledged, message: "The device acknowledged every declared value"})
			setCondition(s.device, v1alpha1.ConditionSynced, true, v1alpha1.ReasonApplied, "")
			setCondition(s.device, v1alpha1.ConditionAcknowledged, true, v1alpha1.ReasonDeviceAcknowledged, "")
			st := &s.device.Status
			st.Declared, st.Acknowledged, st.ObservedGeneration = 1, 1, s.device.Generation
			st.Twin = &v1alpha1.TwinReference{Etag: "AAAAAAAAAAI="}
			for _, edit := range c.edits {
				edit(s)
			}
			rows := s.device.Status.Properties
			if s.twin != nil { // as the hub would show it
				s.twin.ETag = "AAAAAAAAAAI="
				s.twin.Properties[twin.Leaf{Name: "a"}] = twin.Property{Desired: &twin.Desired{Value: json.Number("1"), Version: 2}}
				s.recall(true)
				s.adopt(s.twin)
			}
			summarise(s, c.halt)
			is := readyOf(s.device)
			if got := string(is.Status) + "/" + is.Reason; got != c.ready || !strings.Contains(is.Message, c.says) || is.ObservedGeneration != s.device.Generation {
				t.Errorf("Ready is %s: %s (%v), want %s: %s", got, is.Message, rows, c.ready, c.says)
			}
			for kind, want := range map[string]bool{v1alpha1.ConditionSynced: c.synced, v1alpha1.ConditionAcknowledged: c.acked} {
				if isTrue(s.device, kind) != want {
					t.Errorf("%s is %t, want %t", kind, !want, want)
				}
				for _, detail := range st.Conditions {
					if detail.Type == kind && !want && (detail.Reason != c.details || detail.Message != is.Message || detail.ObservedGeneration != s.device.Generation) {
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

func TestEventsTellOfTheWayIntoTroubleAndOutOfIt(t *testing.T) {
	told := func(warned string, v verdict) *v1alpha1.PnPDevice {
		device := &v1alpha1.PnPDevice{Status: v1alpha1.PnPDeviceStatus{LastWarning: warned}}
		setVerdict(device, v)
		return device
	}
	good := verdict{ready: true, reason: v1alpha1.ReasonDeviceAcknowledged}
	waits := verdict{reason: v1alpha1.ReasonAwaitingAcknowledgement}
	bad := verdict{stalled: true, reason: v1alpha1.ReasonRejected}
	quota := verdict{reason: v1alpha1.ReasonQuotaExceeded}
	for name, c := range map[string]struct {
		before, after *v1alpha1.PnPDevice
		kind, warned  string
	}{
		"into trouble":                           {told("", waits), told("", bad), corev1.EventTypeWarning, v1alpha1.ReasonRejected},
		"out of messages":                        {told("", waits), told("", quota), corev1.EventTypeWarning, v1alpha1.ReasonQuotaExceeded},
		"the same trouble":                       {told(v1alpha1.ReasonRejected, bad), told("", bad), "", v1alpha1.ReasonRejected},
		"from trouble to waiting":                {told(v1alpha1.ReasonRejected, bad), told("", waits), "", v1alpha1.ReasonRejected},
		"from there to good":                     {told(v1alpha1.ReasonRejected, waits), told("", good), corev1.EventTypeNormal, ""},
		"straight to good, of an older operator": {told("", bad), told("", good), corev1.EventTypeNormal, ""},
		"good after an edit is not worth one":    {told("", waits), told("", good), "", ""},
	} {
		if kind, warned := toldOf(c.before, c.after), lastWarning(c.before, c.after); kind != c.kind || warned != c.warned {
			t.Errorf("%s: got %q and %q, want %q and %q", name, kind, warned, c.kind, c.warned)
		}
	}
}

func TestWhatAnIoTHubSaysOfMessagesAndRefusals(t *testing.T) {
	hub := types.NamespacedName{Namespace: "factory", Name: "hub"}
	writes := []budget.Class{budget.TwinWrite}
	for name, c := range map[string]struct {
		trouble budget.Trouble
		owner   string
		want    string
	}{
		"refusals":                  {budget.HubThrottles, "", "The hub refused requests (429): fewer are made for now, of twin writes"}, // T20
		"a number of its own":       {budget.AllStopped, "factory/hub", `spec.requestBudget.dailyMessages: 10 of IoTHub "hub" are used: requests wait until 00:00 UTC, or until it is raised`},
		"the number of another one": {budget.AllStopped, "factory/other", `spec.requestBudget.dailyMessages: 10 of IoTHub "other" are used: requests wait until 00:00 UTC, or until it is raised`}, // T2
		"one of somebody else":      {budget.SweepsStopped, "line/press", "80 percent of spec.requestBudget.dailyMessages: 10 of another namespace's IoTHub of this hub are used: sweeps wait until 00:00 UTC"},
	} {
		if got := troubleVerdict(c.trouble, writes, budget.Daily{Messages: 10, Owner: c.owner}, hub).message; got != c.want {
			t.Errorf("%s: got %s\nwant %s", name, got, c.want)
		}
	}
}

// TestAPatchThatFailsAtOnceEndsWhatWasSaid goes through passes over an object that is Ready and is
// edited.
func TestAPatchThatFailsAtOnceEndsWhatWasSaid(t *testing.T) {
	b := newBench(t, `{"a": 2}`)
	held := &twin.Twin{ETag: twin.ETagOf(2), DesiredVersion: 2, Version: 4, Properties: map[twin.Leaf]twin.Property{
		{Name: "a"}: {Desired: &twin.Desired{Value: json.Number("2"), Version: 2}},
	}}
	b.get = func() (*twin.Twin, error) { return held, nil }
	b.pass()
	if !isTrue(b.device, v1alpha1.ConditionReady) {
		t.Fatalf("not Ready: %+v", readyOf(b.device))
	}
	b.device.Generation, b.device.Spec.Properties.Raw = 2, []byte(`{"a": 3}`)
	b.patch = func(string) (*twin.Twin, error) { return nil, &iothub.Error{StatusCode: http.StatusServiceUnavailable} }
	statuses := b.statuses
	if _, err := b.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.device)}); err == nil {
		t.Fatal(errors.New("the write fails, and the pass does not"))
	}
	if readyOf(b.device).Reason != v1alpha1.ReasonProgressing || isTrue(b.device, v1alpha1.ConditionSynced) || b.statuses != statuses+1 {
		t.Errorf("after %d statuses: %+v", b.statuses-statuses, b.device.Status.Conditions)
	}
	if _, err := b.r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.device)}); err == nil || b.statuses != statuses+1 {
		t.Errorf("a failure that repeats costs %d statuses", b.statuses-statuses-1)
	}
}
