package convergence

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const testHost = "factory.azure-devices.net"

// held is a desired value at the hub.
type held struct {
	value   int
	version int64
	// isOurs is true if the operator wrote it. isAgreed is true once it was there as it was
	// declared, or was recorded as about to be sent: then it counts as the object's, whoever wrote
	// it. isLost is true if only a process knew of it that is gone. isFirst is true of a value of a
	// leaf that was new to the object: it is recorded in status before it is sent.
	isOurs, isAgreed, isLost, isFirst bool
}

// answer is what a device reports of a property.
type answer struct {
	value   int
	version int64
	code    int64
}

// world is one device, its hub and its object, over which a test makes passes. It has what a
// reconciler has, and no I/O: the hub is the maps below.
type world struct {
	failf func(format string, args ...any)
	now   time.Time

	desired  map[string]held
	reported map[string]answer
	// version is that of the desired section, changes that of the twin, and writes the counter of
	// the etag.
	version, changes, writes int64
	isOffline                bool
	// identity is the etag of the device's identity, updated the time of the last write of the
	// desired section, and model what the device announced.
	identity, model string
	updated         time.Time
	// epoch counts how often the hub had another history or identity of the device, and told is the
	// one that status is about. behind is the version that the history before had come to, 0 once
	// status is about the one that there is: beyond it nothing tells the two apart.
	epoch, told int
	behind      int64

	object *v1alpha1.PnPDevice // as the API server has it
	hub    *v1alpha1.IoTHub
	memory twin.Remembered
	gone   bool // the object is
	// unseen are the leaves that another writer, or the device, wrote since status was made of the
	// twin.
	unseen map[string]bool
	// corrected is when the operator put a leaf back, as far as it is known to it.
	corrected map[string][]time.Time
	// handled is the request for a resend that was met last.
	handled string

	// what the next of each call meets
	losesAnswer, losesRequest, refusesWrite, refusesRead, refusesStatus, isRaced, isBraked, isForbidden bool
	// what happened in the pass: the hub was read, its answer to a write or the whole write was
	// lost, and which removals may be made
	isRead, isInDoubt bool
	// isUntold is true while only memory, and an event, tells of what was written: a status was
	// refused, or a failure left a status as it was that said already that there is something to
	// write.
	isUntold  bool
	permitted []twin.Leaf

	log []string
}

func newWorld(failf func(string, ...any)) *world {
	w := &world{
		now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC), desired: map[string]held{}, reported: map[string]answer{}, version: 1, changes: 1, writes: 1,
		identity: "identity", unseen: map[string]bool{}, corrected: map[string][]time.Time{},
		hub: &v1alpha1.IoTHub{ObjectMeta: metav1.ObjectMeta{Name: "factory"}, Spec: v1alpha1.IoTHubSpec{HostName: testHost}},
		object: &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "press", Generation: 1}, Spec: v1alpha1.PnPDeviceSpec{
			TwinAPI: v1alpha1.TwinAPIDeviceTwin, DeletionPolicy: v1alpha1.DeletionClear, AcknowledgeWithinSeconds: 60,
		}},
	}
	w.failf = func(format string, args ...any) {
		failf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(w.log, "\n"))
	}
	return w
}

func (w *world) sayf(format string, args ...any) { w.log = append(w.log, fmt.Sprintf(format, args...)) }

func (w *world) declared() map[string]int {
	all := map[string]int{}
	if p := w.object.Spec.Properties; p != nil && w.object.DeletionTimestamp.IsZero() {
		if err := json.Unmarshal(p.Raw, &all); err != nil {
			w.failf("the declaration %s: %v", p.Raw, err)
		}
	}
	return all
}

func (w *world) declare(all map[string]int) {
	raw, err := json.Marshal(all)
	if err != nil {
		w.failf("encoding a declaration: %v", err)
	}
	w.object.Spec.Properties = &apiextensionsv1.JSON{Raw: raw}
	w.object.Generation++
	w.sayf("edit: %s", raw)
	w.agree()
}

// agree marks what the hub holds as it is declared.
func (w *world) agree() {
	declared := w.declared()
	for name, h := range w.desired {
		if declared[name] == h.value && w.object.Spec.Management != v1alpha1.ManagementObserve {
			h.isAgreed = true
			w.desired[name] = h
		}
	}
}

// write is what the hub does with a patch; nil removes.
func (w *world) write(patch map[string]*int, isOurs bool) {
	w.version++
	w.writes++
	w.changes++
	w.now = w.now.Add(time.Millisecond)
	w.updated = w.now
	for name, value := range patch {
		if !isOurs {
			w.unseen[name] = true
		}
		if value == nil {
			delete(w.desired, name)
			continue
		}
		w.desired[name] = held{value: *value, version: w.version, isOurs: isOurs, isAgreed: w.isOnRecord(name, *value), isLost: w.told != w.epoch}
	}
	w.agree()
}

// isOnRecord reports whether the object was about to make this very write: nobody can tell another
// writer's from it.
func (w *world) isOnRecord(name string, value int) bool {
	leaf := twin.Leaf{Name: name}
	sent := twin.Sent{Value: json.Number(strconv.Itoa(value)), Version: w.version}
	return twin.IsRecorded(SentOf(&w.object.Status), leaf, sent) || slices.ContainsFunc(w.memory.Writes, func(a twin.Attempt) bool {
		return a.Version == sent.Version && a.Values[leaf] == sent.Value
	})
}

// twin is what a read returns.
func (w *world) twin() *twin.Twin {
	t := &twin.Twin{
		DeviceID: "press", ETag: twin.ETagOf(uint64(w.writes)), DeviceETag: w.identity, Version: w.changes, DesiredVersion: w.version,
		DesiredUpdated: w.updated, ModelID: w.model, ConnectionState: Connected, Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{},
	}
	if w.isOffline {
		t.ConnectionState = Disconnected
	}
	number := func(v int) any { return json.Number(strconv.Itoa(v)) }
	for name, h := range w.desired {
		t.Properties[twin.Leaf{Name: name}] = twin.Property{Desired: &twin.Desired{Value: number(h.value), Version: h.version}}
	}
	for name, a := range w.reported {
		p := t.Properties[twin.Leaf{Name: name}]
		p.Reported = &twin.Reported{Value: number(a.value), Ack: &twin.Ack{Version: a.version, Code: a.code}}
		t.Properties[twin.Leaf{Name: name}] = p
	}
	return t
}

// answers has the device answer to a property, if the hub holds one.
func (w *world) answers(name string, code int64) {
	h, is := w.desired[name]
	if !is || w.isOffline {
		return
	}
	w.sayf("the device answers %d to %s", code, name)
	w.changes++
	w.unseen[name] = true
	w.reported[name] = answer{h.value, h.version, code}
}

// tells has an event tell memory of the twin as it is.
func (w *world) tells() {
	w.sayf("an event tells")
	t := w.twin()
	w.memory.Newest, w.memory.ETag, w.memory.Position = t, t.ETag, t.Position()
}

// restart has another process take over, which knows what status says.
func (w *world) restart() {
	if w.behind > 0 {
		return
	}
	w.sayf("restart")
	recorded := EntriesOf(&w.object.Status)
	for name, h := range w.desired {
		p := recorded[twin.Leaf{Name: name}]
		isKnown := p.Owned && HeldVersion(&p) == h.version || p.Sent != nil && p.Sent.Version == h.version
		// A write that a suspension met is looked for once the object is resumed.
		isLookedFor := p.Owned && w.object.Status.Twin.Unconfirmed
		if h.isOurs && h.isFirst && !h.isLost && !isKnown && !isLookedFor {
			w.failf("%s = %d was sent without a record in status", name, h.value)
		}
		if h.isOurs && !isKnown {
			h.isLost = true
			if w.isUntold {
				w.unseen[name] = true
			}
			w.desired[name] = h
		}
	}
	for name := range w.corrected {
		w.corrected[name] = recentCorrections(recorded[twin.Leaf{Name: name}], w.now)
	}
	w.memory, w.handled = twin.Remembered{IsModelInDoubt: true}, ""
}

// pass makes one over the object, and returns how it ended.
func (w *world) pass() Step {
	if w.gone {
		return Step{}
	}
	w.agree()
	w.now = w.now.Add(time.Second)
	w.isRead, w.isInDoubt = false, false
	memory := w.memory
	s := New(Facts{Device: w.object.DeepCopy(), Now: w.now, Hub: w.hub, Destination: testHost, Memory: &memory})
	s.IsLeaving = !w.object.DeletionTimestamp.IsZero()
	if s.IsLeaving {
		s.Declared = twin.Declaration{}
	} else if declared, err := declaration.Of(&w.object.Spec); err == nil {
		s.Declared = declared
	}
	if s.IsLeaving && !s.Entries.OwnsAnything() && memory.Saved == nil && len(memory.Writes) == 0 {
		w.sayf("the object goes")
		w.gone = true
		return Step{}
	}
	s.Recall(s.IsLeaving || IsOfHost(s.Device, testHost))
	step := w.converge(s)
	w.memory = memory
	w.finish(s, step)
	return step
}

// converge takes steps until the pass is over.
func (w *world) converge(s *State) Step {
	const most = 20
	for range most {
		step := s.Next()
		if again := s.Next(); again.Do != step.Do || len(again.Changes) != len(step.Changes) {
			w.failf("asked twice, the next step is %+v, and then %+v", step, again)
		}
		w.learn(s)
		switch step.Do {
		case Read:
			if !w.read(s) {
				return Step{Do: Fail}
			}
		case Check:
			s.Conformity = &declaration.Conformity{}
			if w.isForbidden {
				s.Conformity = &declaration.Conformity{Model: "press", Of: "press uid/1", Violations: []string{"speed: no"}}
			}
		case Permit:
			w.permit(s, step.Changes)
		case Write:
			w.patch(s, step.Changes)
		default:
			return step
		}
		w.learn(s)
	}
	w.failf("the pass goes on for more than %d steps", most)
	return Step{}
}

// learn checks what memory is to be told: that is in its copy already.
func (w *world) learn(s *State) {
	if d := s.TakeDuties(); d.Keep && d.Saved != s.Memory.Saved {
		w.failf("memory is to keep %+v and has %+v", d.Saved, s.Memory.Saved)
	}
}

func (w *world) read(s *State) bool {
	if w.refusesRead {
		w.sayf("a read fails")
		w.refusesRead, s.Memory.IsDoubtful = false, true
		s.NotRead(false)
		return false
	}
	t := w.twin()
	w.isRead, w.isInDoubt, w.permitted = true, false, nil
	s.Memory.Newest, s.Memory.ETag, s.Memory.Position, s.Memory.IsDoubtful, s.Memory.IsModelInDoubt, s.Memory.ReadAt = t, t.ETag, t.Position(), false, false, w.now
	s.Took(t)
	return true
}

func (w *world) permit(s *State, removals []twin.Change) {
	if w.isBraked {
		s.NotPermitted("Removals are halted: " + Listed("", LeavesOf(removals)))
		return
	}
	w.permitted = LeavesOf(removals)
	s.Permitted()
}

// patch has the hub take changes, or not.
func (w *world) patch(s *State, changes []twin.Change) {
	patch, isRendered, err := s.Render(changes)
	if err != nil || !isRendered {
		w.failf("%v are not rendered: %v", changes, err)
	}
	w.allow(s, patch.Changes)
	if w.isRaced && w.behind == 0 {
		w.isRaced = false
		w.sayf("another writer is faster")
		w.write(map[string]*int{"other": new(7)}, false)
	}
	a := twin.Attempt{Version: s.Twin.DesiredVersion + 1, ETag: patch.ETag, Over: s.Twin.Seen(), Values: map[twin.Leaf]any{}}
	values := map[string]*int{}
	for _, c := range patch.Changes {
		a.Values[c.Leaf] = c.Value
		values[c.Leaf.Name] = w.value(c)
	}
	switch {
	case w.refusesWrite:
		w.refusesWrite = false
		w.sayf("a write is refused")
		s.Memory.IsDoubtful = true
		s.NotWritten(Failure{DidNothing: true})
		return
	case patch.ETag != twin.ETagOf(uint64(w.writes)):
		s.NotWritten(Failure{DidNothing: true, IsStale: true})
		return
	}
	s.Memory.Writes = append(slices.Clone(s.Memory.Writes), a)
	s.Memory.Withheld = maps.Clone(s.Memory.Withheld)
	for _, c := range patch.Changes { // what is sent is not withheld any more
		delete(s.Memory.Withheld, c.Leaf)
	}
	if w.losesRequest {
		w.losesRequest = false
		w.sayf("a write is lost on its way")
		w.doubt(s, patch.Changes)
		return
	}
	w.take(values)
	for _, c := range patch.Changes {
		if h, is := w.desired[c.Leaf.Name]; is && c.Cause == twin.New {
			h.isFirst = true
			w.desired[c.Leaf.Name] = h
		}
	}
	if w.losesAnswer {
		w.losesAnswer = false
		w.sayf("its answer is lost")
		w.doubt(s, patch.Changes)
		return
	}
	s.Memory.Writes[len(s.Memory.Writes)-1].Taken = true
	w.count(patch.Changes)
	t := w.twin()
	s.Memory.Newest, s.Memory.ETag, s.Memory.Position, s.Memory.ReadAt = t, t.ETag, t.Position(), w.now
	s.Accepted(patch.Changes, t)
}

// take writes what the operator sends, which must not remove what is another writer's.
func (w *world) take(values map[string]*int) {
	for name, value := range values {
		if h, is := w.desired[name]; value == nil && is && !h.isOurs && !h.isAgreed {
			w.failf("the operator removes %s = %d, which is another writer's", name, h.value)
		}
		if value != nil && w.declared()[name] != *value {
			w.failf("the operator writes %s = %d, which nobody declares", name, *value)
		}
	}
	w.sayf("the operator writes %v at version %d", slices.Sorted(maps.Keys(values)), w.version+1)
	w.write(values, true)
}

func (w *world) value(c twin.Change) *int {
	if c.Value == nil {
		return nil
	}
	n, err := strconv.Atoi(string(c.Value.(json.Number)))
	if err != nil {
		w.failf("the operator writes %v", c.Value)
	}
	return &n
}

// finish has the status written, and memory forget what it has.
func (w *world) finish(s *State, step Step) {
	if s.IsLeaving && step.Do == Done {
		w.sayf("the object goes")
		w.gone = true
		return
	}
	var h *Halt
	switch step.Do {
	case End:
		h = step.Halt
	case Fail, Contended:
		h = &Halt{IsUnchanged: true}
	}
	s.Summarise(h)
	w.sayf("pass ends with %d: %s", step.Do, w.shown(&s.Device.Status))
	w.judgeDoubt(s)
	w.judgeClaim(step)
	if w.refusesStatus && w.behind == 0 {
		w.refusesStatus = false
		w.sayf("its status is refused")
		w.isUntold, w.handled = true, ""
		return
	}
	w.isUntold = w.isUntold && !s.Device.Status.Twin.Unconfirmed
	w.object.Status = *s.Device.Status.DeepCopy()
	if w.object.Status.LastHandledResendAt != w.handled { // another request was met since
		w.handled = ""
	}
	w.see(s)
	w.stored(s)
}

// stored is what a reconciler tells memory once status is written.
func (w *world) stored(s *State) {
	w.memory.Withheld, w.memory.Resolved = s.Withheld(), nil
	if s.Twin == nil {
		return
	}
	if saved := w.memory.Saved; saved != nil && saved.IsOther {
		w.memory.Saved = &twin.Saved{Ownership: saved.Ownership, Of: saved.Of, Base: saved.Base}
	}
	if !s.Claiming {
		w.memory.Newest, w.memory.Saved = nil, nil
	}
}

// shown is what status and hub say, for people.
func (w *world) shown(status *v1alpha1.PnPDeviceStatus) string {
	words := []string{}
	for leaf, p := range PropertiesOf(status) {
		words = append(words, fmt.Sprintf("%s %s owned=%t@%d", leaf.Name, p.State, p.Owned, HeldVersion(p)))
	}
	for _, name := range slices.Sorted(maps.Keys(w.desired)) {
		h := w.desired[name]
		words = append(words, fmt.Sprintf("[%s=%d@%d ours=%t]", name, h.value, h.version, h.isOurs))
	}
	return strings.Join(words, " ")
}

// quieten ends all that disturbs, and makes passes until nothing moves.
func (w *world) quieten() {
	w.sayf("all is quiet")
	w.losesAnswer, w.losesRequest, w.refusesWrite, w.refusesRead, w.refusesStatus = false, false, false, false, false
	w.isRaced, w.isBraked, w.isOffline, w.isForbidden, w.model = false, false, false, false, w.object.Spec.ModelID
	w.hub.Spec.Suspend, w.object.Spec.Suspend = false, false
	w.object.Generation++
	if len(w.unseen) > 0 || w.told != w.epoch { // all else the operator has to find out by itself
		w.memory.IsDoubtful = true
	}
	for range 8 {
		w.pass()
	}
	w.judgeHeld()
	for name := range w.desired {
		w.answers(name, 200)
	}
	w.memory.IsDoubtful = true
	w.pass()
	w.pass()
}
