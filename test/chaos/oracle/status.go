package oracle

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"regexp"
	"slices"

	"github.com/google/go-cmp/cmp"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Fights it takes until a property is left to another writer.
const fights = 3

// comparison is one object held against the twin of its device.
type comparison struct {
	object   *v1alpha1.PnPDevice
	twin     *twin
	held     map[Leaf]*held
	declared map[Leaf]any
	desired  map[Leaf]any
	reported map[Leaf]any
	wrong    []string
	states   map[Leaf]v1alpha1.PropertyState // as they should be
	acted    bool                            // it reported after its connection changed last
}

func (c *comparison) wrongf(format string, args ...any) {
	c.wrong = append(c.wrong, c.object.Name+": "+fmt.Sprintf(format, args...))
}

// Compare lists where the status of an object is not what the hub holds. raw is the device twin, nil if the hub knows no such device.
func (t *Trace) Compare(object *v1alpha1.PnPDevice, raw json.RawMessage) ([]string, error) {
	c := &comparison{object: object, held: t.devices[object.DeviceID()], states: map[Leaf]v1alpha1.PropertyState{}, acted: t.acted[object.DeviceID()]}
	if object.Status.ObservedGeneration != object.Generation {
		c.wrongf("generation %d was observed, it is %d", object.Status.ObservedGeneration, object.Generation)
	}
	if raw == nil {
		c.wantReason(v1alpha1.ReasonDeviceNotFound)
		c.absence()
		return c.wrong, nil
	}
	var err error
	if c.twin, err = parseTwin(raw); err != nil {
		return nil, err
	}
	if c.declared, err = Declared(&object.Spec); err != nil {
		return nil, err
	}
	c.desired, c.reported = c.twin.leaves()
	c.identity()
	c.properties()
	c.verdict()
	return c.wrong, nil
}

// absence wants nothing to be claimed of a device that the hub does not know.
func (c *comparison) absence() {
	status := &c.object.Status
	for _, kind := range []string{v1alpha1.ConditionSynced, v1alpha1.ConditionAcknowledged} {
		if apimeta.IsStatusConditionTrue(status.Conditions, kind) {
			c.wrongf("%s is True, and the hub knows no such device", kind)
		}
	}
	if status.ConnectionState != "" || status.Acknowledged != 0 {
		c.wrongf("it is %q with %s acknowledged, and the hub knows no such device", status.ConnectionState, status.Summary)
	}
}

// identity compares what status says of the twin as a whole. Its counters are promised only not to be ahead.
func (c *comparison) identity() {
	ref := c.object.Status.Twin
	if ref == nil {
		c.wrongf("status has no twin")
		return
	}
	type facts struct {
		DeviceETag, ModelID, ConnectionState string
	}
	want := facts{c.twin.DeviceETag, c.twin.ModelID, c.twin.ConnectionState}
	got := facts{ref.DeviceEtag, c.object.Status.ModelID, c.object.Status.ConnectionState}
	if want != got {
		c.wrongf("status says %+v, the hub %+v", got, want)
	}
	if is, newest := writes(ref.Etag), writes(c.twin.ETag); is > newest {
		c.wrongf("status has ETag:%s of the twin, the hub %s", ref.Etag, c.twin.ETag)
	}
	if newest := version(c.twin.Properties.Desired); ref.Version > c.twin.Version || ref.DesiredVersion > newest {
		c.wrongf("status has version %d of the twin and %d of desired, the hub %d and %d", ref.Version, ref.DesiredVersion, c.twin.Version, newest)
	}
}

// writes is the counter in the etag of a twin. An etag without one is ahead of all others.
func writes(etag string) uint64 {
	raw, err := base64.StdEncoding.DecodeString(etag)
	if err != nil || len(raw) != 8 {
		return math.MaxUint64
	}
	return binary.BigEndian.Uint64(raw)
}

func (c *comparison) properties() {
	shown := Shown(&c.object.Status)
	for _, leaf := range c.mirrored() {
		p, ok := shown[leaf]
		if !ok {
			c.wrongf("status lacks %s", leaf)
			continue
		}
		c.property(leaf, p)
		delete(shown, leaf)
	}
	for _, leaf := range slices.SortedFunc(maps.Keys(shown), compareLeaves) {
		c.wrongf("status has %s (%s), which it should not", leaf, shown[leaf].State)
	}
}

// Shown lists the properties of a status.
func Shown(status *v1alpha1.PnPDeviceStatus) map[Leaf]v1alpha1.PropertyStatus {
	shown := map[Leaf]v1alpha1.PropertyStatus{}
	for _, c := range append([]v1alpha1.ComponentStatus{{Properties: status.Properties}}, status.Components...) {
		for _, p := range c.Properties {
			shown[Leaf{c.Name, p.Name}] = p
		}
	}
	return shown
}

// mirrored are the properties that status has to show.
func (c *comparison) mirrored() []Leaf {
	all := maps.Clone(c.declared)
	if c.object.Spec.Reported == v1alpha1.ReportedAll {
		maps.Copy(all, c.reported)
	}
	return slices.SortedFunc(maps.Keys(all), compareLeaves)
}

func (c *comparison) property(leaf Leaf, p v1alpha1.PropertyStatus) {
	reported, isReported := c.reported[leaf]
	a := c.answer(leaf, reported, p)
	want := a.value
	if !isReported || c.object.Spec.Reported == v1alpha1.ReportedNone {
		want = nil
	}
	if got := decoded(p.Reported); !equal(got, want) {
		c.wrongf("%s is reported as %s, status says %s", leaf, raw(want), raw(got))
	}
	if _, declared := c.declared[leaf]; !declared {
		c.wantState(leaf, p, v1alpha1.PropertyState("Reported"))
		return
	}
	if a.acks && (p.AckCode != a.code || p.AckVersion != a.version || p.AckDescription != a.describe) || !a.acks && p.AckCode != 0 {
		c.wrongf("%s is answered with %+v, status says %d %d %q", leaf, a, p.AckCode, p.AckVersion, p.AckDescription)
	}
	if got, want := decoded(p.Desired), c.desired[leaf]; !equal(got, want) {
		c.wrongf("the hub holds %s for %s, status says %s", raw(want), leaf, raw(got))
	}
	c.wantState(leaf, p, c.state(leaf, p, a))
}

// answer is what a device answered for a property, in the reading that status has, where two are
// possible.
func (c *comparison) answer(leaf Leaf, reported any, p v1alpha1.PropertyStatus) answer {
	metadata := metadataOf(c.twin.Properties.Reported, leaf)
	a := answerOf(reported).without(metadata)
	if told, isOdd := a.told(metadata); isOdd && c.object.Spec.Reported != v1alpha1.ReportedNone && equal(decoded(p.Reported), told.value) {
		return told
	}
	return a
}

func decoded(j *apiextensionsv1.JSON) any {
	if j == nil {
		return nil
	}
	var v any
	if err := json.Unmarshal(j.Raw, &v); err != nil {
		return err.Error()
	}
	return v
}

func (c *comparison) wantState(leaf Leaf, p v1alpha1.PropertyStatus, want v1alpha1.PropertyState) {
	c.states[leaf] = want
	if p.State != want {
		c.wrongf("%s is %s, it should be %s; declared %s, the hub holds %s, the device reports %s", leaf, p.State, want,
			raw(c.declared[leaf]), raw(c.desired[leaf]), raw(c.reported[leaf]))
	}
}

// state is what a declared property has come to. One that the hub does not hold as declared has to be somebody else's.
func (c *comparison) state(leaf Leaf, p v1alpha1.PropertyStatus, a answer) v1alpha1.PropertyState {
	newest, by := c.twin.stamp(leaf)
	h := c.held[leaf]
	if !equal(c.declared[leaf], c.desired[leaf]) {
		if c.object.Spec.Management != v1alpha1.ManagementObserve && by == "" && (h == nil || h.foreign <= fights) {
			c.wrongf("the hub holds %s for %s instead of %s, and nobody fights for it", raw(c.desired[leaf]), leaf, raw(c.declared[leaf]))
		}
		return "Drifted"
	}
	// The same value written again needs no new answer, even if there was another one in between that nobody has seen.
	if h == nil || !equal(h.set[p.DesiredVersion], c.declared[leaf]) {
		c.wrongf("%s was set by version %d, status says %d, which did not set it to %s", leaf, newest, p.DesiredVersion, raw(c.declared[leaf]))
	}
	return stateOf(a, c.declared[leaf], p.DesiredVersion, version(c.twin.Properties.Desired))
}

// stateOf is what an answer makes of a value that the hub holds since a version.
func stateOf(a answer, declared any, since, newest int64) v1alpha1.PropertyState {
	switch {
	case !a.acks || a.version < since || a.version > newest:
		return "Applied"
	case a.code == 202:
		return "InProgress"
	case a.code >= 400:
		return "Rejected"
	case a.code < 200 || a.code >= 300 || a.code == 203:
		return "Applied"
	case holds(declared, a.value):
		return "Acknowledged"
	}
	return "Adjusted"
}

// verdict holds the condition Ready against the worst state that there is.
func (c *comparison) verdict() {
	worst := map[v1alpha1.PropertyState]bool{}
	for leaf, state := range c.states {
		if _, declared := c.declared[leaf]; declared {
			worst[state] = true
		}
	}
	within := v1alpha1.ReasonAwaitingAcknowledgement
	if c.object.Spec.AcknowledgeWithinSeconds < 60 {
		within = v1alpha1.ReasonAcknowledgementTimeout
	}
	switch {
	case worst["Drifted"] && c.object.Spec.Management == v1alpha1.ManagementObserve:
		c.wantReason(v1alpha1.ReasonDrifted)
	case worst["Drifted"]:
		c.wantReason(v1alpha1.ReasonOwnershipConflict)
	case worst["Rejected"]:
		c.wantReason(v1alpha1.ReasonRejected)
	case worst["Adjusted"]:
		c.wantReason(v1alpha1.ReasonAdjusted)
	case c.object.Spec.ReadyWhen == v1alpha1.ReadyWhenApplied:
		c.wantReason(v1alpha1.ReasonApplied)
	case !worst["Applied"] && !worst["InProgress"]:
		c.wantReason(v1alpha1.ReasonDeviceAcknowledged)
	case c.twin.ConnectionState == "Disconnected":
		c.wantOffline(within)
	default:
		c.wantReason(within)
	}
}

// wantOffline wants a device to be waited for that the hub calls disconnected. One that reported all the same may have had
// its time.
func (c *comparison) wantOffline(within string) {
	ready := apimeta.FindStatusCondition(c.object.Status.Conditions, v1alpha1.ConditionReady)
	if c.acted && ready != nil && ready.Reason == within {
		return
	}
	c.wantReason(v1alpha1.ReasonDeviceOffline)
}

func (c *comparison) wantReason(want string) {
	ready := apimeta.FindStatusCondition(c.object.Status.Conditions, v1alpha1.ConditionReady)
	switch {
	case ready == nil:
		c.wrongf("there is no condition Ready, it should be %s", want)
	case ready.Reason != want:
		c.wrongf("Ready is %s %s: %s; it should be %s", ready.Status, ready.Reason, ready.Message, want)
	}
}

// Moved lists the objects whose status was written between two lists of them, and what of it. Three
// things do not count. The time of the last desired write, with the etag and versions that are written
// with it: status follows other writers' writes only where a read shows them, and where the event of
// one was lost, such a read comes later. And the times of an equal connection state, with the version
// and the words of conditions that are written with them: only events tell them, and a stream that was
// disturbed brings those late.
func Moved(before, after []*v1alpha1.PnPDevice) []string {
	known := map[string]*v1alpha1.PnPDevice{}
	for _, device := range before {
		known[device.Name] = device
	}
	var moved []string
	for _, device := range after {
		was, ok := known[device.Name]
		if !ok {
			moved = append(moved, device.Name+": new")
			continue
		}
		if diff := cmp.Diff(withoutTime(was.Status, device.Status), withoutTime(device.Status, was.Status)); diff != "" {
			moved = append(moved, device.Name+" (-before +after):\n"+diff)
		}
	}
	return moved
}

// offlineSince is how a condition names that time.
var offlineSince = regexp.MustCompile(`(Offline) since \S+Z`)

// withoutTime is a status without that time, and without etag and versions if the time is another one
// in the other status.
func withoutTime(s, other v1alpha1.PnPDeviceStatus) v1alpha1.PnPDeviceStatus {
	isSameState := s.ConnectionState == other.ConnectionState
	isSinceThen := s.ConnectionStateSince.Equal(other.ConnectionStateSince) && s.ConnectionStateSeenTime.Equal(other.ConnectionStateSeenTime)
	isLate := isSameState && !isSinceThen
	if isSameState {
		s.ConnectionStateSince, s.ConnectionStateSeenTime = nil, nil
	}
	if isLate {
		s.Conditions = slices.Clone(s.Conditions)
		for i := range s.Conditions {
			s.Conditions[i].Message = offlineSince.ReplaceAllString(s.Conditions[i].Message, "$1")
		}
	}
	if s.Twin != nil {
		twin := *s.Twin
		if isLate {
			twin.Version = 0
		}
		if other.Twin != nil && twin.DesiredUpdated != other.Twin.DesiredUpdated {
			twin.Etag, twin.Version, twin.DesiredVersion = "", 0, 0
		}
		twin.DesiredUpdated = ""
		s.Twin = &twin
	}
	return s
}

// Pending counts the properties that objects own and no longer declare.
func Pending(objects []*v1alpha1.PnPDevice) int {
	count := 0
	for _, device := range objects {
		declared, err := Declared(&device.Spec)
		if err != nil {
			continue // nothing of it is removed
		}
		if device.DeletionTimestamp != nil {
			declared = nil
		}
		for leaf, p := range Shown(&device.Status) {
			if _, kept := declared[leaf]; p.Owned && !kept {
				count++
			}
		}
	}
	return count
}
