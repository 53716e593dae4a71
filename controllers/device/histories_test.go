package device

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"pgregory.net/rapid"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// TestWhoseAValueIsOverAnyHistory makes passes over one device while everything that moves ownership
// happens in any order: edits, other writers, failovers of the hub, lost answers, a late cache,
// refused statuses, changes of the leader. Nothing of another writer is removed, and nothing of the
// operator's is left once all is quiet.
func TestWhoseAValueIsOverAnyHistory(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		h := newHistory(t, rt)
		rt.Repeat(h.actions())
		h.settle()
		h.judge()
	})
}

// TestWhoseAValueIsAfter plays the histories that were found to go wrong once.
func TestWhoseAValueIsAfter(t *testing.T) {
	for name, play := range map[string]func(*history){
		"a new leader that begins from an older status than its predecessor wrote": func(h *history) {
			h.declare(`{"label": 1}`)
			h.passes(2)
			h.write(map[string]*int{"label": nil}, false)
			h.memory().Doubt()
			h.refusesStatus = true
			h.passes(1) // puts the label back
			h.declare(`{}`)
			h.isLate, h.refusesWrite = true, true
			h.passes(1) // has status say so
			h.start()
			h.memory().Doubt()
			h.passes(1) // takes the label for another writer's
		},
		"a new leader whose older status is of before a failover": func(h *history) {
			h.snapshot = new(h.copyOfHub())
			h.declare(`{"ratio": 2}`)
			h.passes(1)
			h.isLate = true
			h.passes(1)
			h.start()
			h.failOver()
			h.passes(1) // writes once more, as the same version
			h.declare(`{}`)
			h.follow()
			h.passes(1)
		},
		"a new leader that has another value to send than its predecessor sent": func(h *history) {
			h.write(map[string]*int{"ratio": new(2)}, false)
			h.declare(`{"ratio": 1}`)
			h.passes(1)
			h.isLate = true
			h.refusesStatus = true
			h.passes(1)
			h.declare(`{"ratio": 3}`)
			h.follow()
			h.start()
			h.passes(1)
			h.declare(`{}`)
		},
		"a key that was rotated while the answer to a write was lost": func(h *history) {
			h.declare(`{"speed": 1}`)
			h.passes(1)
			h.identity++
			h.losesAnswer = true
			h.passes(1)
			h.declare(`{}`)
		},
		"a newer status that is of before the failover which a new leader noticed": func(h *history) {
			h.snapshot = new(h.copyOfHub())
			h.declare(`{"ratio": 2}`)
			h.passes(1)
			h.isLate = true
			h.passes(1)
			h.write(map[string]*int{"ratio": nil}, false)
			h.memory().Doubt()
			h.passes(1) // puts it back, as the fourth version
			h.start()
			h.failOver()
			h.passes(1) // writes, and cannot say so
			h.follow()
			h.write(map[string]*int{"speed": new(1)}, false)
			h.write(map[string]*int{"label": new(1)}, false) // the fourth version once more
			h.declare(`{}`)
		},
		"a new leader that declares what the hub held before its predecessor's last write": func(h *history) {
			h.write(map[string]*int{"label": new(2), "speed": new(2)}, false)
			h.declare(`{"label": 1, "speed": 3}`)
			h.passes(1)
			h.losesAnswer = true
			h.passes(1)
			h.changeLeader()
			h.declare(`{"label": 1, "speed": 2}`)
			h.refusesWrite = true
			h.passes(1)
			h.declare(`{"label": 1}`)
		},
		"a failover to a history with another count of the same etag": func(h *history) {
			h.snapshot = new(h.copyOfHub())
			h.declare(`{"ratio": 1}`)
			h.passes(2)
			h.copied, h.updated = h.copyOfHub(), h.clock.Add(time.Second)
			h.desired, h.version = map[string]valued{}, h.snapshot.version
			h.losesAnswer = true
			h.declare(`{"ratio": 2}`)
			h.passes(1)
			h.declare(`{}`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHistory(t, nil)
			play(h)
			h.settle()
			h.judge()
		})
	}
}

// settings are the properties that the object may declare, and that others may write.
var settings = []string{"ratio", "speed", "label"}

// valued is a property as the model of a hub holds it.
type valued struct {
	value   int
	version int64
	ours    bool // the operator wrote it
	// forgivable: nobody can know whose the value is, as after a failover to a copy of it, or once the
	// process that wrote it was killed before status said so.
	forgivable bool
	// agreed: the object declared this value while the hub held it.
	agreed bool
}

// agreement is a value that the object declared while the hub held it.
type agreement struct {
	name    string
	value   int
	version int64
}

// copied is what a hub may fail over to.
type copied struct {
	desired                  map[string]valued
	version, writes, changes int64
	updated                  time.Time // the desired section
}

// history is the world of one test: the API server, a cache of it, a hub, and an operator.
type history struct {
	plain // as the operator's cache shows it

	t  *testing.T
	rt *rapid.T

	server *v1alpha1.PnPDevice // as the API server holds it
	isLate bool                // the cache does not follow
	number int                 // the newest resourceVersion
	// refusals counts the statuses refused since the cache followed last.
	refusals int

	copied
	identity int
	// isRotated: the identity was written, and the operator has not seen that. Where desired properties
	// are written as well, the twin may be another device's.
	isRotated bool
	clock     time.Time
	snapshot  *copied
	// agreements outlast a failover to a copy from before them.
	agreements map[agreement]bool

	r       *PnPDeviceReconciler
	session *session.Session

	losesAnswer, refusesWrite, refusesStatus, refusesRead bool

	log []string
}

func newHistory(t *testing.T, rt *rapid.T) *history {
	b := newBench(t, `{}`)
	h := &history{t: t, rt: rt, plain: plain{hub: b.hub}, server: b.device, number: 1, agreements: map[agreement]bool{}, clock: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)}
	h.copied = copied{desired: map[string]valued{}, version: 1, writes: 1, changes: 1, updated: h.clock}
	h.server.ResourceVersion = "1"
	h.device = h.server
	h.start()
	return h
}

// start begins a process, which knows what status says.
func (h *history) start() {
	h.session = session.NewSession(&historyHub{history: h}, h.hub.Spec.HostName, "")
	h.r = &PnPDeviceReconciler{
		Client: h, Recorder: events.NewFakeRecorder(10_000), Hubs: &session.Registry{}, Wakes: triggers.New(), Brake: removals.New(),
		Models: models.NewLibrary(cached.Models{Reader: h}, nil), Grace: halt.DefaultGrace, retries: backoff.NewLasting(&backoff.Failures{}, waits.HubFails, ""),
	}
	h.r.Brake.Client, h.r.Brake.Reader = h, h
	h.r.Hubs.Put(h.t.Context(), client.ObjectKeyFromObject(h.hub), h.session, func(context.Context) {})
}

func (h *history) sayf(format string, args ...any) {
	h.log = append(h.log, fmt.Sprintf(format, args...))
}

func (h *history) actions() map[string]func(*rapid.T) {
	return map[string]func(*rapid.T){
		"edit":          h.edit,
		"edit again":    h.edit,
		"other writer":  h.foreign,
		"pass":          func(*rapid.T) { h.pass() },
		"another pass":  func(*rapid.T) { h.pass() },
		"a third pass":  func(*rapid.T) { h.pass() },
		"event":         func(*rapid.T) { h.sayf("event"); h.memory().Doubt() },
		"cache is late": func(*rapid.T) { h.sayf("the cache is late"); h.isLate = true },
		"cache follows": func(*rapid.T) { h.follow() },
		"copy":          func(*rapid.T) { h.sayf("copied at %d", h.version); h.snapshot = new(h.copyOfHub()) },
		"fail over":     func(*rapid.T) { h.failOver() },
		"tags":          func(*rapid.T) { h.tag() },
		"key rotated":   func(*rapid.T) { h.sayf("key rotated"); h.identity++; h.isRotated = true; h.forgive() },
		"leader":        func(*rapid.T) { h.changeLeader() },
		"lose answer":   func(*rapid.T) { h.sayf("the next answer is lost"); h.losesAnswer = true },
		"refuse write":  func(*rapid.T) { h.sayf("the next write is refused"); h.refusesWrite = true },
		"refuse status": func(*rapid.T) { h.sayf("the next status is refused"); h.refusesStatus = true },
		"refuse read":   func(*rapid.T) { h.sayf("the next read fails"); h.refusesRead = true },
	}
}

// follow has the cache show what the API server holds, as it does at the latest when a status was
// refused twice.
func (h *history) follow() {
	h.sayf("the cache follows")
	h.isLate, h.device, h.refusals = false, h.server, 0
}

func (h *history) declared() map[string]int { return declaredBy(h.server) }

func declaredBy(device *v1alpha1.PnPDevice) map[string]int {
	all := map[string]int{}
	if device.Spec.Properties != nil {
		_ = json.Unmarshal(device.Spec.Properties.Raw, &all)
	}
	return all
}

func (h *history) edit(rt *rapid.T) {
	all, name := h.declared(), rapid.SampledFrom(settings).Draw(rt, "property")
	if _, is := all[name]; is && rapid.Bool().Draw(rt, "drop") {
		delete(all, name)
	} else {
		all[name] = rapid.IntRange(1, 3).Draw(rt, "value")
	}
	raw, err := json.Marshal(all)
	if err != nil {
		h.failf("encoding a declaration: %v", err)
	}
	h.declare(string(raw))
}

func (h *history) declare(properties string) {
	changed := h.server.DeepCopy()
	changed.Spec.Properties = &apiextensionsv1.JSON{Raw: []byte(properties)}
	changed.Generation++
	h.sayf("edit: %s", properties)
	h.put(changed)
	h.agree()
}

// put is a write to the API server.
func (h *history) put(changed *v1alpha1.PnPDevice) {
	h.number++
	changed.ResourceVersion = strconv.Itoa(h.number)
	h.server = changed
	if !h.isLate {
		h.device = changed
	}
}

// agree marks the values that the hub holds and the object declares, also as a late cache has it.
func (h *history) agree() {
	for name, held := range h.desired {
		if declaredBy(h.server)[name] == held.value || declaredBy(h.device)[name] == held.value {
			held.agreed = true
			h.desired[name] = held
			h.agreements[agreement{name, held.value, held.version}] = true
		}
	}
}

// tag is a write that moves the etag and no value. After it nobody can tell a device whose key was
// rotated from another one of that name.
func (h *history) tag() {
	h.sayf("tags")
	h.writes++
	h.changes++
	if h.isRotated {
		h.forgive()
	}
}

func (h *history) foreign(rt *rapid.T) {
	name, value := rapid.SampledFrom(settings).Draw(rt, "property"), rapid.IntRange(0, 3).Draw(rt, "value")
	h.sayf("another writer: %s = %d", name, value)
	h.write(map[string]*int{name: &value}, false)
}

// write is what the hub does with a patch; 0 is null for another writer.
func (h *history) write(patch map[string]*int, ours bool) {
	h.version++
	h.writes++
	h.changes++
	h.clock = h.clock.Add(time.Second)
	h.updated = h.clock
	h.desired = maps.Clone(h.desired)
	if h.isRotated {
		h.forgive()
	}
	for name, value := range patch {
		if value == nil || *value == 0 {
			delete(h.desired, name)
			continue
		}
		h.desired[name] = valued{value: *value, version: h.version, ours: ours, agreed: h.isOnRecord(name, *value)}
	}
	h.agree()
}

// isOnRecord reports whether a status says that the operator was about to make this very write, or the
// object had this value of this version before a failover: nobody can tell another writer's from it.
func (h *history) isOnRecord(name string, value int) bool {
	if h.agreements[agreement{name, value, h.version}] {
		return true
	}
	return slices.ContainsFunc([]*v1alpha1.PnPDevice{h.server, h.device}, func(device *v1alpha1.PnPDevice) bool {
		sent, is := convergence.SentOf(&device.Status)[twin.Leaf{Name: name}]
		return is && sent.Version == h.version && sent.Value == json.Number(strconv.Itoa(value))
	})
}

func (h *history) copyOfHub() copied {
	c := h.copied
	c.desired = maps.Clone(c.desired)
	return c
}

// failOver has the hub come back with an earlier state, which nobody is told.
func (h *history) failOver() {
	if h.snapshot == nil {
		return
	}
	h.copied = *h.snapshot
	h.desired = maps.Clone(h.desired)
	for name, held := range h.desired {
		p := convergence.EntriesOf(&h.server.Status)[twin.Leaf{Name: name}]
		isOwned := p.Owned && convergence.HeldVersion(&p) == held.version // by what the operator believed to be there
		held.agreed = held.agreed || isOwned || h.agreements[agreement{name, held.value, held.version}]
		h.desired[name] = held
	}
	h.sayf("failover to %d", h.version)
	h.forgive()
	h.memory().Doubt()
}

// forgive has nobody know whose the values are that the hub holds.
func (h *history) forgive() {
	for name, held := range h.desired {
		held.forgivable = true
		h.desired[name] = held
	}
}

// changeLeader has another process take over. It knows no value that status does not have.
func (h *history) changeLeader() {
	h.sayf("another leader")
	recorded, known := convergence.EntriesOf(&h.server.Status), h.server.Status.Twin
	isOfTwin := known != nil && convergence.SeenOf(known).Lineage(h.twin()) != twin.Stranger
	for name, held := range h.desired {
		p := recorded[twin.Leaf{Name: name}]
		isKnown := isOfTwin && p.Owned && convergence.HeldVersion(&p) == held.version || p.Sent != nil && p.Sent.Version == held.version
		if held.ours && !isKnown {
			held.forgivable = true
			h.desired[name] = held
		}
	}
	if known != nil && known.DeviceEtag != h.twin().DeviceETag {
		h.isRotated = true // as far as status knows
		h.forgive()
	}
	h.start()
}

func (h *history) memory() *session.Device { return h.session.Device(h.server.DeviceID()) }

func (h *history) passes(n int) {
	for range n {
		h.pass()
	}
}

func (h *history) pass() {
	h.agree()
	result, err := h.r.Reconcile(h.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(h.server)})
	h.sayf("pass: %v; next in %v; %s; %s", err, result.RequeueAfter, conditions.ReadyOf(h.server).Reason, h.shown())
}

// shown is what status and the hub say, for people.
func (h *history) shown() string {
	var words []string
	for leaf, p := range convergence.PropertiesOf(&h.server.Status) {
		words = append(words, fmt.Sprintf("%s %s owned=%t@%d", leaf.Name, p.State, p.Owned, convergence.HeldVersion(p)))
	}
	for _, name := range slices.Sorted(maps.Keys(h.desired)) {
		words = append(words, fmt.Sprintf("[%s=%d@%d ours=%t]", name, h.desired[name].value, h.desired[name].version, h.desired[name].ours))
	}
	return strings.Join(words, " ")
}

// settle ends all that disturbs, and makes passes until nothing moves.
func (h *history) settle() {
	h.sayf("settle")
	h.losesAnswer, h.refusesWrite, h.refusesStatus, h.refusesRead, h.isLate = false, false, false, false, false
	h.device = h.server
	h.memory().Doubt()
	h.passes(12)
}

func (h *history) judge() {
	declared, status := h.declared(), convergence.EntriesOf(&h.server.Status)
	for name, held := range h.desired {
		if _, is := declared[name]; !is && held.ours && !held.forgivable {
			h.failf("the hub still holds %s = %d, which the operator wrote and nobody declares", name, held.value)
		}
	}
	for name, value := range declared {
		isFight := status[twin.Leaf{Name: name}].State == convergence.StateOf(twin.StateDrifted)
		if held := h.desired[name]; held.value != value && !isFight {
			h.failf("the hub holds %s = %d, declared is %d", name, held.value, value)
		}
	}
}

func (h *history) failf(format string, args ...any) {
	fatalf := h.t.Fatalf
	if h.rt != nil {
		fatalf = h.rt.Fatalf
	}
	fatalf("%s\n%s", fmt.Sprintf(format, args...), strings.Join(h.log, "\n"))
}

func (h *history) Status() client.SubResourceWriter { return historyStatus{history: h} }

type historyStatus struct {
	client.SubResourceWriter

	history *history
}

func (s historyStatus) Patch(_ context.Context, o client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	h := s.history
	if hub, is := o.(*v1alpha1.IoTHub); is {
		h.hub = hub.DeepCopy()
		return nil
	}
	changed := o.(*v1alpha1.PnPDevice)
	if changed.ResourceVersion != h.server.ResourceVersion || h.refusesStatus {
		h.sayf("status refused")
		h.refusesStatus = false
		if h.refusals++; h.refusals == 2 {
			h.follow()
		}
		return apierrors.NewConflict(schema.GroupResource{Resource: "pnpdevices"}, o.GetName(), errors.New("it was written"))
	}
	after := h.server.DeepCopy()
	after.Status = *changed.Status.DeepCopy()
	h.put(after)
	changed.ResourceVersion = after.ResourceVersion
	return nil
}

// historyHub is the hub as a session asks it.
type historyHub struct {
	session.Hub

	history *history
}

func (historyHub) Close() {}

func (a *historyHub) GetTwin(context.Context, string) (*twin.Twin, error) {
	h := a.history
	if h.refusesRead {
		h.refusesRead = false
		return nil, &iothub.Error{Op: iothub.OpGetTwin, StatusCode: http.StatusServiceUnavailable, Sent: true}
	}
	h.isRotated = false
	return h.twin(), nil
}

func (h *history) twin() *twin.Twin {
	t := &twin.Twin{
		DeviceID: h.server.DeviceID(), ETag: twin.ETagOf(uint64(h.writes)), DeviceETag: strconv.Itoa(h.identity),
		Version: h.changes, DesiredVersion: h.version, DesiredUpdated: h.updated,
		Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{},
	}
	for name, held := range h.desired {
		value := json.Number(strconv.Itoa(held.value))
		t.Properties[twin.Leaf{Name: name}] = twin.Property{Desired: &twin.Desired{Value: value, Version: held.version}}
	}
	return t
}

func (a *historyHub) PatchTwin(_ context.Context, _ string, body []byte, etag string) (*twin.Twin, error) {
	h := a.history
	var patch struct {
		Properties struct{ Desired map[string]*int }
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		h.failf("the patch %s: %v", body, err)
	}
	switch {
	case h.refusesWrite:
		h.refusesWrite = false
		return nil, &iothub.Error{Op: iothub.OpPatchTwin, StatusCode: http.StatusTooManyRequests, Number: 429001, Sent: true, Class: iothub.Transient}
	case etag != h.twin().ETag:
		h.sayf("stale etag")
		return nil, &iothub.Error{Op: iothub.OpPatchTwin, StatusCode: http.StatusPreconditionFailed, Number: 412001, Sent: true, Class: iothub.Transient}
	}
	for name, value := range patch.Properties.Desired {
		held, is := h.desired[name]
		if value == nil && is && !held.ours && !held.agreed {
			h.failf("the operator removes %s = %d, which is another writer's", name, held.value)
		}
	}
	h.sayf("the operator writes %s", body)
	h.write(patch.Properties.Desired, true)
	if h.losesAnswer {
		h.losesAnswer = false
		return nil, &iothub.Error{Op: iothub.OpPatchTwin, StatusCode: http.StatusGatewayTimeout, Sent: true, Class: iothub.Transient}
	}
	h.isRotated = false
	return h.twin(), nil
}
