package device

import (
	"context"
	"encoding/json"
	"errors"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// bench is one device, its object and its hub, over which a test makes passes.
type bench struct {
	plain

	t       *testing.T
	r       *PnPDeviceReconciler
	session *session.Session
	// get and patch are what the hub answers, calls what it was asked.
	get   func() (*twin.Twin, error)
	patch func(body string) (*twin.Twin, error)
	calls []string
	// refuses has the API server refuse every status; statuses counts those that it was sent.
	refuses  bool
	statuses int
}

// newBench has an object that declares JSON properties through the device twin, and whose user waits.
func newBench(t *testing.T, declared string) *bench {
	t.Helper()
	b := &bench{t: t, plain: plain{
		hub: &v1alpha1.IoTHub{
			ObjectMeta: metav1.ObjectMeta{Name: "factory-hub", Namespace: "factory"}, Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"},
		},
		device: &v1alpha1.PnPDevice{
			ObjectMeta: metav1.ObjectMeta{Name: "press", Namespace: "factory", Generation: 1, UID: "press"},
			Spec: v1alpha1.PnPDeviceSpec{
				HubRef: v1alpha1.HubReference{Name: "factory-hub"}, TwinAPI: v1alpha1.TwinAPIDeviceTwin, ReadyWhen: v1alpha1.ReadyWhenApplied,
				Properties: &apiextensionsv1.JSON{Raw: []byte(declared)},
			},
		},
	}}
	conditions.SetVerdict(b.hub, conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonAuthenticated})
	b.session = session.NewSession(answering{bench: b}, b.hub.Spec.HostName, "")
	b.r = &PnPDeviceReconciler{
		Client: b, Recorder: events.NewFakeRecorder(100), Hubs: &session.Registry{}, Wakes: triggers.New(), Brake: removals.New(),
		Models: models.NewLibrary(cached.Models{Reader: b}, nil), Grace: halt.DefaultGrace, retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, ""),
	}
	b.r.Hubs.Put(t.Context(), client.ObjectKeyFromObject(b.hub), b.session, func(context.Context) {})
	b.r.origins.put(b.device, &origin{})
	return b
}

// pass makes one, and returns when the next one is due.
func (b *bench) pass() time.Duration {
	b.t.Helper()
	result, err := b.r.Reconcile(b.t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(b.device)})
	if err != nil {
		b.t.Fatalf("the pass fails: %v", err)
	}
	return result.RequeueAfter
}

func (b *bench) memory() *session.Device { return b.session.Device(b.device.DeviceID()) }

// asked is what the hub was asked since the last time.
func (b *bench) asked() string {
	calls := strings.Join(b.calls, " ")
	b.calls = nil
	return calls
}

func (b *bench) Status() client.SubResourceWriter {
	return statusesOf{SubResourceWriter: b.plain.Status(), bench: b}
}

type statusesOf struct {
	client.SubResourceWriter

	bench *bench
}

func (s statusesOf) Patch(ctx context.Context, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
	s.bench.statuses++
	if s.bench.refuses {
		return apierrors.NewForbidden(schema.GroupResource{Resource: "pnpdevices"}, o.GetName(), errors.New("a policy"))
	}
	return s.SubResourceWriter.Patch(ctx, o, p, opts...)
}

type answering struct {
	session.Hub

	bench *bench
}

func (a answering) GetTwin(context.Context, string) (*twin.Twin, error) {
	t, err := a.bench.get()
	if err == nil {
		a.bench.calls = append(a.bench.calls, "GetTwin")
	}
	return t, err
}

func (a answering) PatchTwin(_ context.Context, _ string, body []byte, _ string) (*twin.Twin, error) {
	t, err := a.bench.patch(string(body))
	if err == nil {
		a.bench.calls = append(a.bench.calls, "PatchTwin")
	}
	return t, err
}

func (answering) Close() {}

// noToken is what a call is told that has to wait for long.
func noToken(c budget.Class) error {
	return &budget.WaitError{Wait: budget.Wait{Class: c, For: time.Minute, Lasts: time.Hour}}
}

// TestAWaitWhoseStatusIsRefusedIsNotTriedAtEachEvent: what an edit waits for cannot be said for now.
func TestAWaitWhoseStatusIsRefusedIsNotTriedAtEachEvent(t *testing.T) {
	b := newBench(t, `{"speed": 5}`)
	b.refuses = true
	b.get = func() (*twin.Twin, error) { return nil, noToken(budget.TwinRead) }
	if next := b.pass(); next <= 0 || next > 2*waits.StatusRefused.First {
		t.Errorf("the next pass is in %v, want it when the status is tried again", next)
	}
	tried := b.statuses
	for range 10 {
		b.pass()
	}
	if tried == 0 || b.statuses != tried {
		t.Errorf("%d statuses went to the API server at first, and %d at the events after that", tried, b.statuses-tried)
	}
}

// at is the twin of the bench, which holds desired properties of a version.
func at(version int64, desired map[string]any) *twin.Twin {
	t := &twin.Twin{
		DeviceID: "press", ETag: twin.ETagOf(uint64(version)), Version: version, DesiredVersion: version,
		Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{},
	}
	for name, value := range desired {
		t.Properties[twin.Leaf{Name: name}] = twin.Property{Desired: &twin.Desired{Value: value, Version: version}}
	}
	return t
}

// TestNoKeyIsLeftOfAnObjectThatStatusHasNoRoomFor: what the declaration drops of it has to be nulled, and status does not tell
// what that is.
func TestNoKeyIsLeftOfAnObjectThatStatusHasNoRoomFor(t *testing.T) {
	leaf := twin.Leaf{Name: "limits"}
	held := map[string]any{"max": json.Number("7"), "min": json.Number("1")}
	for name, c := range map[string]struct{ declared, asked, patch string }{
		"an object is merged":    {`{"max": 8}`, "GetTwin PatchTwin", `{"properties":{"desired":{"limits":{"max":8,"min":null}}}}`},
		"any other is put there": {`"none"`, "PatchTwin", `{"properties":{"desired":{"limits":"none"}}}`},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, `{"limits": `+c.declared+`}`)
			b.device.Status = v1alpha1.PnPDeviceStatus{
				Twin: &v1alpha1.TwinReference{Hub: b.hub.Spec.HostName, DeviceID: "press", Etag: twin.ETagOf(2), Version: 2, DesiredVersion: 2},
				Properties: []v1alpha1.PropertyStatus{{
					Name: leaf.Name, Owned: true, State: convergence.StateOf(twin.StateApplied), DesiredVersion: 2,
					Desired: &apiextensionsv1.JSON{Raw: storable.Omit(held, withheldReason)},
				}},
			}
			b.get = func() (*twin.Twin, error) { return at(2, map[string]any{leaf.Name: held}), nil }
			patch := ""
			b.patch = func(body string) (*twin.Twin, error) {
				patch = body
				value, err := twin.DecodeValue([]byte(c.declared))
				return at(3, map[string]any{leaf.Name: value}), err
			}
			b.pass()
			if asked := b.asked(); asked != c.asked || patch != c.patch {
				t.Errorf("the hub was asked %s and sent %s", asked, patch)
			}
			if !conditions.IsTrue(b.device, v1alpha1.ConditionReady) {
				t.Errorf("got %+v", conditions.ReadyOf(b.device))
			}
		})
	}
}

// reporting adds what a device reports beside its declaration.
func reporting(t *twin.Twin, bytes int) *twin.Twin {
	t.Properties[twin.Leaf{Name: "log"}] = twin.Property{Reported: &twin.Reported{Value: strings.Repeat("x", bytes)}}
	return t
}

// TestALargeTwinIsNotKept: what a hub sends of a device is counted while it is received. Between passes, of which one may wait
// until midnight, nobody counts it.
func TestALargeTwinIsNotKept(t *testing.T) {
	const small, large = 100, 2 << 20
	for name, c := range map[string]struct {
		reports int
		kept    bool
		asked   []string // in passes that claim, wait for a token and write
	}{
		"a small one is, and read once":                     {small, true, []string{"GetTwin", "", "PatchTwin"}},
		"a large one is not, and each pass reads it itself": {large, false, []string{"GetTwin", "GetTwin", "GetTwin PatchTwin"}},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, `{"speed": 5}`)
			b.get = func() (*twin.Twin, error) { return reporting(at(1, nil), c.reports), nil }
			outcomes := []error{noToken(budget.TwinWrite), nil}
			b.patch = func(string) (*twin.Twin, error) {
				outcome := outcomes[0]
				outcomes = outcomes[1:]
				return reporting(at(2, map[string]any{"speed": json.Number("5")}), c.reports), outcome
			}
			for i, want := range c.asked {
				next, isLast := b.pass(), i == len(c.asked)-1
				if asked := b.asked(); asked != want {
					t.Errorf("pass %d asks the hub %q, want %q", i, asked, want)
				}
				if kept := b.memory().Unpersisted() != nil; kept != (c.kept && !isLast) {
					t.Errorf("after pass %d the twin is kept: %t", i, kept)
				}
				if next == 0 {
					t.Errorf("after pass %d none is due", i)
				}
			}
			if !conditions.IsTrue(b.device, v1alpha1.ConditionReady) || b.memory().Doubtful() {
				t.Errorf("got %+v, doubtful: %t", conditions.ReadyOf(b.device), b.memory().Doubtful())
			}
		})
	}
}

// TestFewPassesWaitWithALargeTwin: each worker may have a write under way, and a hub may take its time.
func TestFewPassesWaitWithALargeTwin(t *testing.T) {
	for name, c := range map[string]struct {
		reports int
		writes  string
	}{
		"small ones are nobody's trouble": {100, "PatchTwin"},
		"a large one waits for others":    {2 << 20, "GetTwin"},
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, `{"speed": 5}`)
			b.get = func() (*twin.Twin, error) { return reporting(at(1, nil), c.reports), nil }
			under := int32(0)
			b.patch = func(string) (*twin.Twin, error) {
				under = b.r.large.Load()
				return reporting(at(2, map[string]any{"speed": json.Number("5")}), c.reports), nil
			}
			b.pass()
			b.asked()
			b.r.large.Store(maxLarge)
			next := b.pass()
			if asked := b.asked(); asked != c.writes || next == 0 || next > 2*waits.LargeTwin.Most {
				t.Errorf("the hub is asked %s, and the next pass is due in %v", asked, next)
			}
			if c.writes == "PatchTwin" {
				return
			}
			b.r.large.Store(maxLarge - 1)
			if b.pass(); b.asked() != "GetTwin PatchTwin" || under != maxLarge || b.r.large.Load() != maxLarge-1 {
				t.Errorf("%d wait with one, and %d after that", under, b.r.large.Load())
			}
			if !conditions.IsTrue(b.device, v1alpha1.ConditionReady) {
				t.Errorf("got %+v", conditions.ReadyOf(b.device))
			}
		})
	}
}

// TestATwinThatIsNotKeptLeavesWhatIsOurs: the hub took a write, status could not say so, and the object cannot be reconciled any
// more. Whose the value is has to be on record.
func TestATwinThatIsNotKeptLeavesWhatIsOurs(t *testing.T) {
	for name, end := range map[string]func(*bench){
		"with a declaration that is refused": func(b *bench) { b.device.Spec.Properties.Raw = []byte(`{"no name": 1}`) },
		"as it is suspended":                 func(b *bench) { b.device.Spec.Suspend = true },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, `{"speed": 6}`)
			b.device.Status = v1alpha1.PnPDeviceStatus{
				Twin: &v1alpha1.TwinReference{Hub: b.hub.Spec.HostName, DeviceID: "press", Etag: twin.ETagOf(2), Version: 2, DesiredVersion: 2},
				Properties: []v1alpha1.PropertyStatus{{
					Name: "speed", Owned: true, State: convergence.StateOf(twin.StateApplied), DesiredVersion: 2, Desired: convergence.JSONOf(json.Number("5")),
				}},
			}
			b.patch = func(string) (*twin.Twin, error) {
				return reporting(at(3, map[string]any{"speed": json.Number("6")}), 2<<20), nil
			}
			b.refuses = true
			b.pass()
			if b.asked() != "PatchTwin" || b.memory().Unpersisted() != nil {
				t.Fatal("the twin is kept, or was not written")
			}
			b.refuses = false
			b.device = b.device.DeepCopy()
			b.device.Generation++
			end(b)
			b.pass()
			is := b.device.Status
			p := convergence.EntriesOf(&is)[twin.Leaf{Name: "speed"}]
			if !p.Owned || p.DesiredVersion != 3 || string(p.Desired.Raw) != "6" || is.Twin.DesiredVersion != 3 || !is.Twin.Unconfirmed {
				t.Errorf("status says %+v of %+v", p, is.Twin)
			}
		})
	}
}
