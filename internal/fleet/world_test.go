package fleet

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/intstr"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// fataler is what tests and property-based tests have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
}

// held is a value at the hub, with the one who wrote it.
type held struct {
	value   any
	version int64
	by      string // "fleet", or anyone else
}

// device is a device and its twin, as the hub knows them.
type device struct {
	id                              string
	tags                            map[string]any
	model                           string
	isConnected, isDead             bool
	desired                         map[string]held
	reported                        map[string]any
	etag                            uint64
	desiredVersion, reportedVersion int64
	desiredAt, reportedAt           time.Time
	deviceEtag                      string
	// code is what it answers with; 0 is silence.
	code int64
	// unanswered is true from a write of ours until an answer to it.
	unanswered bool
}

// request is a call of the hub whose outcome the fleet does not know yet.
type request struct {
	action Action
	status v1alpha1.DeviceFleetStatus // of a Record
}

// world is a hub with devices, and a fleet over them, with a judge who knows who wrote what.
type world struct {
	t        fataler
	now      time.Time
	devices  map[string]*device
	log      []Event // of the hub
	read     int     // how much of it the fleet was told
	requests []request

	fleet    *State
	spec     *v1alpha1.DeviceFleetSpec
	declared twin.Declaration
	// stored is what is on record, and checkpoint how much of the log was told by then.
	stored     map[string]Object
	status     v1alpha1.DeviceFleetStatus
	checkpoint int
	mark       int

	until  time.Time // as the last Wait said
	writes int
	// held are the revisions that devices held at some time, by device, and declarations what they
	// declare.
	held         map[string]map[string]bool
	declarations map[string]twin.Declaration
	resends      bool
	// mayForget: something happened after which what is ours is known no more, and stays.
	mayForget bool
	notices   []Notice
	// denied are the exceptions that PnPDevices make now: a start tells of them before anything
	// else.
	denied map[string]Denied
}

var epoch = time.Date(2026, 12, 1, 12, 0, 0, 0, time.UTC)

func num(n int) json.Number { return json.Number(fmt.Sprint(n)) }

func share(text string) *intstr.IntOrString { v := intstr.Parse(text); return &v }

// enforcing is a spec with small numbers.
func enforcing() *v1alpha1.DeviceFleetSpec {
	return &v1alpha1.DeviceFleetSpec{
		HubRef: v1alpha1.HubReference{Name: "hub"}, Management: v1alpha1.ManagementEnforce,
		Selector:                 v1alpha1.FleetSelector{MatchTags: map[string]intstr.IntOrString{"kind": intstr.FromString("controller")}},
		ExistingValues:           v1alpha1.ExistingValuesKeep,
		DeletionPolicy:           v1alpha1.DeletionRetain,
		LeavePolicy:              v1alpha1.DeletionRetain,
		AcknowledgeWithinSeconds: 600,
		Rollout: v1alpha1.FleetRollout{
			MaxInFlight: 3, MaxFailures: share("0"), MinAcknowledged: 1, Acknowledgement: v1alpha1.AcknowledgementEnvelope,
			Adjusted: v1alpha1.AdjustedFail, Offline: v1alpha1.OfflineDefer, DeferSeconds: 86400,
			Batches: []v1alpha1.FleetBatch{{Name: "first", UpTo: share("1")}, {Name: "half", UpTo: share("50%")}},
		},
	}
}

func declaring(values map[string]any) twin.Declaration {
	d := twin.Declaration{}
	for name, v := range values {
		d[twin.Leaf{Name: name}] = v
	}
	return d
}

// newWorld has n devices that are connected and acknowledge, and a fleet that was just made.
func newWorld(t fataler, n int, spec *v1alpha1.DeviceFleetSpec, values map[string]any) *world {
	w := &world{
		t: t, now: epoch, devices: map[string]*device{}, spec: spec, declared: declaring(values), stored: map[string]Object{}, held: map[string]map[string]bool{},
		declarations: map[string]twin.Declaration{}, denied: map[string]Denied{},
	}
	for i := range n {
		w.addDevice(fmt.Sprintf("d%02d", i))
	}
	w.declare(values)
	w.fleet = New(w.who(), spec, w.declared)
	w.apply(Stream{Healthy: true})
	return w
}

func (w *world) who() Identity {
	return Identity{Namespace: "plant", Name: "fleet", UID: "uid-1", Hub: "hub.azure-devices.net"}
}

func (w *world) addDevice(id string) *device {
	d := &device{
		id: id, tags: map[string]any{"kind": "controller"}, isConnected: true, desired: map[string]held{}, reported: map[string]any{},
		etag: 1, desiredVersion: 1, reportedVersion: 1, desiredAt: w.now, reportedAt: w.now, deviceEtag: "e-" + id, code: 200,
	}
	w.devices[id] = d
	return d
}

func (w *world) ids() []string { return slices.Sorted(maps.Keys(w.devices)) }

func (w *world) apply(e Event) {
	w.fleet.Apply(w.now, e)
	w.notices = append(w.notices, w.fleet.Notices()...)
	w.checkCounts()
}

func (w *world) pass(d time.Duration) { w.now = w.now.Add(d) }

// twinOf is the twin as the hub returns it.
func (w *world) twinOf(d *device) *twin.Twin {
	t := &twin.Twin{
		DeviceID: d.id, ModelID: d.model, ETag: twin.ETagOf(d.etag), DeviceETag: d.deviceEtag, Version: int64(d.etag) + d.reportedVersion,
		DesiredVersion: d.desiredVersion, ReportedVersion: d.reportedVersion, DesiredUpdated: d.desiredAt, ReportedUpdated: d.reportedAt,
		ConnectionState: "Disconnected", Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{},
	}
	if d.isConnected {
		t.ConnectionState = "Connected"
	}
	for name, h := range d.desired {
		p := t.Properties[twin.Leaf{Name: name}]
		by := ""
		if strings.HasPrefix(h.by, "configuration") {
			by = h.by
		}
		p.Desired = &twin.Desired{Value: h.value, Version: h.version, By: by}
		t.Properties[twin.Leaf{Name: name}] = p
	}
	for name, v := range d.reported {
		p := t.Properties[twin.Leaf{Name: name}]
		p.Reported = &twin.Reported{Value: v}
		if e, ok := v.(map[string]any); ok && e["ac"] != nil {
			ac, _ := e["ac"].(json.Number).Int64()
			av, _ := e["av"].(json.Number).Int64()
			p.Reported = &twin.Reported{Value: e["value"], Ack: &twin.Ack{Version: av, Code: ac}}
		}
		t.Properties[twin.Leaf{Name: name}] = p
	}
	return t
}

// setDesired writes desired properties as the hub does, and tells of it. nil removes.
func (w *world) setDesired(d *device, by string, values map[string]any) {
	d.etag++
	d.desiredVersion++
	w.pass(time.Millisecond)
	d.desiredAt = w.now
	fields, metadata := map[string]any{"$version": d.desiredVersion}, map[string]any{"$lastUpdated": w.now, "$lastUpdatedVersion": d.desiredVersion}
	for name, v := range values {
		fields[name] = v
		if v == nil {
			delete(d.desired, name)
			continue
		}
		merged := mergedOnto(d.desired[name].value, v)
		d.desired[name] = held{merged, d.desiredVersion, by}
		meta := map[string]any{"$lastUpdated": w.now, "$lastUpdatedVersion": d.desiredVersion}
		if strings.HasPrefix(by, "configuration") {
			meta["$lastUpdatedBy"] = by
		}
		metadata[name] = meta
	}
	fields["$metadata"] = metadata
	w.tell(d, "desired", fields, nil)
	w.noteHeld(d)
}

// noteHeld notes which revisions a device holds.
func (w *world) noteHeld(d *device) {
	for name, declared := range w.declarations {
		holds := true
		for leaf, v := range declared {
			holds = holds && twin.Equal(d.desired[leaf.Name].value, v)
		}
		if holds {
			if w.held[d.id] == nil {
				w.held[d.id] = map[string]bool{}
			}
			w.held[d.id][name] = true
		}
	}
}

// declare notes what is declared, and who holds it already.
func (w *world) declare(values map[string]any) {
	w.declared = declaring(values)
	w.declarations[w.who().Name+"-"+RevisionHash(w.declared)] = w.declared
	for _, d := range w.devices {
		w.noteHeld(d)
	}
}

// mergedOnto is a merge patch (RFC 7396).
func mergedOnto(is, patch any) any {
	fields, isObject := patch.(map[string]any)
	if !isObject {
		return patch
	}
	was, _ := is.(map[string]any)
	merged := maps.Clone(was)
	if merged == nil {
		merged = map[string]any{}
	}
	for key, v := range fields {
		if v == nil {
			delete(merged, key)
			continue
		}
		merged[key] = mergedOnto(merged[key], v)
	}
	return merged
}

// report has a device report, as the hub takes it.
func (w *world) report(d *device, values map[string]any) {
	d.reportedVersion++
	w.pass(time.Millisecond)
	d.reportedAt = w.now
	fields, metadata := map[string]any{"$version": d.reportedVersion}, map[string]any{"$lastUpdated": w.now}
	for name, v := range values {
		fields[name], d.reported[name] = v, v
		metadata[name] = map[string]any{"$lastUpdated": w.now}
	}
	fields["$metadata"] = metadata
	w.tell(d, "reported", fields, nil)
}

// setTags writes tags, as a merge patch.
func (w *world) setTags(d *device, tags map[string]any) {
	d.etag++
	w.pass(time.Millisecond)
	for key, v := range tags {
		if v == nil {
			delete(d.tags, key)
		} else {
			d.tags[key] = v
		}
	}
	w.tell(d, "", nil, tags)
}

func (w *world) tell(d *device, section string, fields, tags map[string]any) {
	body := map[string]any{"version": int64(d.etag) + d.reportedVersion}
	if fields != nil {
		body["properties"] = map[string]any{section: fields}
	}
	if tags != nil {
		body["tags"] = tags
	}
	raw, err := json.Marshal(body)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	n, err := twin.ParseNotification(raw)
	if err != nil {
		w.t.Fatalf("%v", err)
	}
	w.log = append(w.log, Changed{DeviceID: d.id, Notification: n, Tags: tags})
}

// answer has a device acknowledge what it holds, each leaf with the version of the section.
func (w *world) answer(d *device) {
	if d.code == 0 || d.isDead {
		return
	}
	values := map[string]any{}
	for name, h := range d.desired {
		values[name] = map[string]any{"value": h.value, "ac": json.Number(fmt.Sprint(d.code)), "av": json.Number(fmt.Sprint(d.desiredVersion))}
	}
	if len(values) > 0 {
		w.report(d, values)
	}
	d.unanswered = false
}

func (w *world) connect(d *device, isConnected bool) {
	if d.isConnected == isConnected {
		return
	}
	w.pass(time.Millisecond)
	d.isConnected = isConnected
	w.log = append(w.log, Presence{DeviceID: d.id, Connected: isConnected, At: w.now})
}

// deliver tells the fleet the next event, false if there is none.
func (w *world) deliver() bool {
	if w.read == len(w.log) {
		return false
	}
	e := w.log[w.read]
	w.read++
	w.apply(e)
	return true
}

// next asks for one action, and begins it. It returns false if there is nothing to do.
func (w *world) next() bool {
	a := w.fleet.Next(w.now)
	w.notices = append(w.notices, w.fleet.Notices()...)
	switch a.Do {
	case Wait:
		w.until = a.Until
		return false
	case List:
		w.list()
	case Record:
		var status v1alpha1.DeviceFleetStatus
		w.fleet.Summary(&status)
		w.requests = append(w.requests, request{action: a, status: status})
	case Flush:
		w.mark = w.read
		w.requests = append(w.requests, request{action: a})
	case Read:
		w.requests = append(w.requests, request{action: a})
	case Write:
		w.judge(a)
		w.requests = append(w.requests, request{action: a})
	}
	return true
}

func (w *world) record() {
	w.status = v1alpha1.DeviceFleetStatus{}
	w.fleet.Summary(&w.status)
}

func (w *world) list() {
	for _, id := range w.ids() {
		d := w.devices[id]
		w.apply(Listed{
			DeviceID: id, ETag: twin.ETagOf(d.etag), DeviceETag: d.deviceEtag, ModelID: d.model, Version: int64(d.etag) + d.reportedVersion,
			Connected: d.isConnected, Tags: d.tags,
		})
	}
	w.apply(ListingDone{})
}

// how a call ends.
type ending int

const (
	endsWell ending = iota
	losesAnswer
	neverLands
)

// finish ends one call.
func (w *world) finish(i int, how ending) {
	r := w.requests[i]
	w.requests = slices.Delete(w.requests, i, i+1)
	d := w.devices[r.action.DeviceID]
	switch {
	case r.action.Do == Record:
		w.finishRecord(r, how)
	case r.action.Do == Flush && how == endsWell:
		w.store(r.action)
		w.apply(Flushed{Number: r.action.Number})
	case r.action.Do == Flush:
		if how == losesAnswer {
			w.store(r.action)
		}
		w.apply(NotFlushed{Number: r.action.Number})
	case how == neverLands && r.action.Do == Read:
		w.apply(NotRead{DeviceID: r.action.DeviceID})
	case how == neverLands:
		w.apply(NotWritten{DeviceID: r.action.DeviceID, Why: Turned})
	case d == nil:
		w.apply(Absent{DeviceID: r.action.DeviceID})
	case r.action.Do == Read && how == losesAnswer:
		w.apply(NotRead{DeviceID: d.id})
	case r.action.Do == Read:
		w.apply(Seen{Twin: w.twinOf(d), Tags: d.tags})
	case !w.land(d, r.action):
		w.apply(NotWritten{DeviceID: d.id, Why: Stale})
	case how == losesAnswer:
		w.apply(NotWritten{DeviceID: d.id, Why: Unknown})
	default:
		w.apply(Written{Twin: w.twinOf(d)})
	}
}

func (w *world) finishRecord(r request, how ending) {
	if how != neverLands {
		w.status = r.status
	}
	if how == endsWell {
		w.apply(Recorded{Number: r.action.Number})
	} else {
		w.apply(NotRecorded{Number: r.action.Number})
	}
}

func (w *world) store(a Action) {
	for _, o := range a.Objects {
		w.stored[o.Name] = o
	}
	w.checkpoint = w.mark
}

// land has the hub take a write, false if its etag is another one.
func (w *world) land(d *device, a Action) bool {
	if a.ETag != twin.ETagOf(d.etag) {
		return false
	}
	var body struct {
		Properties struct{ Desired map[string]any }
	}
	decoder := json.NewDecoder(strings.NewReader(string(a.Body)))
	decoder.UseNumber()
	if err := decoder.Decode(&body); err != nil {
		w.t.Fatalf("body %s: %v", a.Body, err)
	}
	w.judgeLanding(d, body.Properties.Desired)
	w.writes++
	d.unanswered = d.isConnected
	w.setDesired(d, "fleet", body.Properties.Desired)
	return true
}

// settle runs everything until nothing is left to do, time included, for so long.
func (w *world) settle(d time.Duration) {
	w.t.Helper()
	end := w.now.Add(d)
	for steps := 0; w.now.Before(end); steps++ {
		if steps > 1_000_000 {
			w.t.Fatalf("no end: %d requests, %d events", len(w.requests), len(w.log)-w.read)
		}
		switch {
		case w.deliver():
		case len(w.requests) > 0:
			w.finish(0, endsWell)
		case w.answerOne():
		case w.next():
		case w.until.After(w.now) && w.until.Before(end):
			w.now = w.until
		default:
			w.now = end
		}
	}
}

// answerOne has one connected device answer that did not.
func (w *world) answerOne() bool {
	for _, id := range w.ids() {
		if d := w.devices[id]; d.unanswered && d.isConnected && d.code != 0 && !d.isDead {
			w.answer(d)
			return true
		}
	}
	return false
}

// crash ends the operator and starts another: what was not stored is gone. Calls that were under
// way land or not.
func (w *world) crash(lands func() bool) {
	for _, r := range w.requests {
		if d := w.devices[r.action.DeviceID]; r.action.Do == Write && d != nil && lands() {
			w.land(d, r.action)
		} else if r.action.Do == Flush && lands() {
			w.store(r.action)
		} else if r.action.Do == Record && lands() {
			w.status = r.status
		}
	}
	w.requests = nil
	var objects []Object
	for _, name := range slices.Sorted(maps.Keys(w.stored)) {
		objects = append(objects, w.stored[name])
	}
	loaded, problems := Load(w.who(), w.spec, w.declared, &w.status, objects)
	if len(problems) > 0 {
		w.t.Fatalf("loading: %v", problems)
	}
	w.fleet = loaded
	w.read = w.checkpoint
	w.apply(Stream{Healthy: false})
	for _, id := range slices.Sorted(maps.Keys(w.denied)) {
		w.apply(w.denied[id])
	}
	for w.deliver() {
	}
	w.apply(Stream{Healthy: true})
}

// deny has leaves of a device be another object's.
func (w *world) deny(id string, leaves ...twin.Leaf) {
	w.denied[id] = Denied{DeviceID: id, Exception: leaves}
	w.apply(w.denied[id])
}

func (w *world) edit(values map[string]any) {
	w.declare(values)
	w.apply(Declared{Spec: w.spec, Declaration: w.declared})
}

func (w *world) editSpec(change func(*v1alpha1.DeviceFleetSpec)) {
	w.spec = w.spec.DeepCopy()
	change(w.spec)
	w.apply(Declared{Spec: w.spec, Declaration: w.declared})
}

// judge looks at a write before it goes out.
func (w *world) judge(a Action) {
	w.t.Helper()
	at, m := w.fleet.members.find(a.DeviceID)
	inFlight := 0
	for _, r := range w.requests {
		if r.action.Do == Write {
			inFlight++
		}
	}
	for _, d := range w.devices {
		isUnderWay := slices.ContainsFunc(w.requests, func(r request) bool { return r.action.Do == Write && r.action.DeviceID == d.id })
		if d.unanswered && d.isConnected && !isUnderWay && d.id != a.DeviceID && w.mayAnswer(d) {
			inFlight++
		}
	}
	if inFlight >= int(w.spec.Rollout.MaxInFlight) {
		w.t.Fatalf("write to %s: %d are in flight already, want at most %d", a.DeviceID, inFlight, w.spec.Rollout.MaxInFlight)
	}
	w.judgeRecord(a)
	r := w.fleet.revisions[m.sent]
	isPutBack := w.held[a.DeviceID][r.name] && !w.fleet.calls[at].resend || m.is(flagLeaving)
	if !isPutBack && (w.fleet.rollout.stopped != nil || w.spec.Rollout.Paused) {
		w.t.Fatalf("write of %s to %s, which never held it, while stopped or paused", r.name, a.DeviceID)
	}
	if m.batch != noBatch && m.sent == w.fleet.wanted && !isPutBack {
		if int(m.batch) >= len(w.status.Batches) || w.status.Revision != r.name {
			w.t.Fatalf("write of %s to %s before its rollout is on record", r.name, a.DeviceID)
		}
		b := w.status.Batches[m.batch]
		if b.StartedAt == nil {
			w.t.Fatalf("write to %s before batch %s is open on record", a.DeviceID, b.Name)
		}
	}
	if d := w.devices[a.DeviceID]; d != nil && !d.isMember(w.spec) && !m.is(flagLeaving) && w.read == len(w.log) {
		w.t.Fatalf("write to %s, which is no member", a.DeviceID)
	}
}

// mayAnswer is false for devices that the fleet has judged: they are in flight no more.
func (w *world) mayAnswer(d *device) bool {
	_, m := w.fleet.members.find(d.id)
	isOld := m != nil && m.state == statePending && !m.is(flagOwing) // it had its time
	return m != nil && !isOld && !m.state.isFailed() && m.state != stateOffline && !m.is(flagLeaving)
}

func (d *device) isMember(spec *v1alpha1.DeviceFleetSpec) bool {
	return NewSelector(spec).Matches(d.id, d.model, d.tags)
}

// judgeRecord wants what may be written to be on record.
func (w *world) judgeRecord(a Action) {
	w.t.Helper()
	var newest *memberRecord
	for _, o := range w.stored {
		if o.Content == v1alpha1.ShardRevision {
			continue
		}
		p, err := decodeMembers(o.Data, w.who(), o.Content)
		if err != nil {
			w.t.Fatalf("%s: %v", o.Name, err)
		}
		for i := range p.records {
			if r := &p.records[i]; r.id == a.DeviceID && (newest == nil || r.number > newest.number) {
				newest = r
			}
		}
	}
	_, m := w.fleet.members.find(a.DeviceID)
	switch want := w.fleet.revisions[m.sent].name; {
	case newest == nil:
		w.t.Fatalf("write to %s, which is not on record", a.DeviceID)
	case newest.sent != want && !m.is(flagLeaving):
		w.t.Fatalf("write of %q to %s, of which %q is on record", want, a.DeviceID, newest.sent)
	case newest.m.etag != m.etag || newest.m.desired != m.desired:
		w.t.Fatalf("write to %s at etag %d, of which %d is on record", a.DeviceID, m.etag, newest.m.etag)
	}
}

// judgeLanding looks at what a write does at the hub.
func (w *world) judgeLanding(d *device, values map[string]any) {
	w.t.Helper()
	if len(values) == 0 {
		w.t.Fatalf("an empty write to %s", d.id)
	}
	for name, v := range values {
		is, isHeld := d.desired[name]
		switch {
		case v == nil && (!isHeld || is.by != "fleet"):
			w.t.Fatalf("%s of %s is removed, which is %v by %q", name, d.id, is.value, is.by)
		case v != nil && isHeld && twin.Equal(is.value, mergedOnto(is.value, v)) && !w.resends:
			w.t.Fatalf("%s of %s is written, which the hub holds: %v", name, d.id, v)
		}
	}
}

// checkCounts wants counts to add up, and to be those of the members.
func (w *world) checkCounts() {
	w.t.Helper()
	s := w.fleet
	sum, states := 0, [stateCount]int{}
	for _, m := range s.members.all {
		if !m.is(flagLeaving) {
			states[m.state]++
			sum++
		}
	}
	if s.total.members != sum || s.total.states != states {
		w.t.Fatalf("counted %d members in %v, want %d in %v", s.total.members, s.total.states, sum, states)
	}
}

// stateOf is the state that the fleet counts a device as.
func (w *world) stateOf(id string) v1alpha1.MemberState {
	_, m := w.fleet.members.find(id)
	if m == nil {
		return ""
	}
	return stateNames[m.state]
}

func (w *world) summary() v1alpha1.DeviceFleetStatus {
	var status v1alpha1.DeviceFleetStatus
	w.fleet.Summary(&status)
	return status
}

// holding are the devices of which the hub holds a value, and, with by, one of that writer.
func (w *world) holding(name string, value any, by string) (n int) {
	for _, d := range w.devices {
		if h, ok := d.desired[name]; ok && twin.Equal(h.value, value) && (by == "" || h.by == by) {
			n++
		}
	}
	return n
}

func (w *world) batch(name string) v1alpha1.FleetBatchStatus {
	w.t.Helper()
	for _, b := range w.summary().Batches {
		if b.Name == name {
			return b
		}
	}
	w.t.Fatalf("no batch %s in %+v", name, w.summary().Batches)
	return v1alpha1.FleetBatchStatus{}
}

// wantRolledOut wants all to be done, and everybody to agree.
func (w *world) wantRolledOut() {
	w.t.Helper()
	status := w.summary()
	if status.Rollout == nil || status.Rollout.CompletedAt == nil {
		w.t.Fatalf("not rolled out: %s", w.describe())
	}
}

func (w *world) describe() string {
	raw, err := json.MarshalIndent(w.summary(), "", " ")
	if err != nil {
		w.t.Fatalf("encoding the summary: %v", err)
	}
	var lines []string
	for _, id := range w.ids() {
		at, m := w.fleet.members.find(id)
		if m == nil {
			lines = append(lines, id+": no member")
			continue
		}
		lines = append(lines, fmt.Sprintf("%s: %s flags %b rev %d sent %d batch %d need %d target %d call %v try %+v twin %v", id, stateNames[m.state], m.flags,
			m.rev, m.sent, m.batch, w.fleet.needs(at, m), w.fleet.target(m), w.fleet.calls[at], w.fleet.tries[at], w.devices[id].desired))
	}
	return string(raw) + "\n" + strings.Join(lines, "\n")
}

func TestAFleetIsRolledOut(t *testing.T) {
	w := newWorld(t, 8, enforcing(), map[string]any{"x": num(1)})
	w.settle(time.Minute)
	w.wantRolledOut()
	if got := w.summary().Devices; got.Acknowledged != 8 || got.Total != 8 {
		t.Errorf("got %+v", got)
	}
	if w.writes != 8 {
		t.Errorf("%d writes, want 8", w.writes)
	}
	w.edit(map[string]any{"x": num(2), "y": "a"})
	w.settle(time.Minute)
	w.wantRolledOut()
	w.edit(map[string]any{"y": "a"})
	w.settle(time.Minute)
	w.wantRolledOut()
	if n := w.holding("x", num(2), ""); n != 0 || w.holding("y", "a", "fleet") != 8 {
		t.Errorf("x is left at %d devices: %s", n, w.describe())
	}
}
