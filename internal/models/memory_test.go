package models

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// bomb is a valid model of which each interface inherits what the first has.
func bomb(contents, heirs int) string {
	var b strings.Builder
	b.WriteString(`[{"@context":"dtmi:dtdl:context;3","@id":"dtmi:b;1","@type":"Interface","contents":[{"@type":"Command","name":"c"}`)
	for i := range contents {
		_, _ = fmt.Fprintf(&b, `,{"@type":"Command","name":"c%d"}`, i)
	}
	b.WriteString("]}")
	for i := range heirs {
		_, _ = fmt.Fprintf(&b, `,{"@context":"dtmi:dtdl:context;3","@id":"dtmi:x%d;1","@type":"Interface","extends":"dtmi:b;1"}`, i)
	}
	return b.String() + "]"
}

func TestABombIsRefusedByTheBoundThatItPasses(t *testing.T) {
	model := inline("bomb", bomb(2300, 950))
	l, _ := newTestLibrary(model)
	_, trouble, err := l.Load(t.Context(), model)
	if err != nil || trouble == nil || !trouble.Final || !strings.Contains(trouble.Message, "inherit more than 100000 contents and interfaces in all") {
		t.Errorf("%+v, %v", trouble, err)
	}
	violations, _, err := l.CheckModel(t.Context(), model)
	if err != nil || len(violations) != 1 || !strings.Contains(violations[0], "inherit more than 100000") {
		t.Errorf("at admission: %q, %v", violations, err)
	}
}

// heapAfter is what is in memory beside the garbage.
func heapAfter() int64 {
	var m runtime.MemStats
	runtime.GC()
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

func TestModelsThatAreKeptAreBounded(t *testing.T) {
	l, s := newTestLibrary()
	l.outcomes.most = 4 << 20
	before := heapAfter()
	for i := range 4 {
		model := inline(fmt.Sprintf("m%d", i), strings.ReplaceAll(bomb(9000, 1), "dtmi:b;1", fmt.Sprintf("dtmi:b%d;1", i)))
		*s = Objects{model}
		if _, trouble, err := l.Load(t.Context(), model); err != nil || trouble != nil {
			t.Fatal(trouble, err)
		}
	}
	small := inline("small", valveDTDL)
	*s = Objects{small}
	if _, trouble, err := l.Load(t.Context(), small); err != nil || trouble != nil {
		t.Fatal(trouble, err)
	}
	if l.outcomes.total > 4<<20 {
		t.Errorf("%d bytes are kept", l.outcomes.total)
	}
	if kept := heapAfter() - before; kept > 5<<20 {
		t.Errorf("%d MiB are in memory, want at most %d", kept>>20, 4)
	}
	made, found, err := l.known(t.Context(), small, false)
	if made == nil || found == nil || err != nil {
		t.Error("large models displaced a small one")
	}
	runtime.KeepAlive(l)
}

func TestLargeValuesGoFirst(t *testing.T) {
	c := newSizedCache[string, int](100)
	c.put("small", 1, 10)
	c.put("large", 2, 60)
	c.put("new", 3, 50)
	if _, ok := c.get("large"); ok {
		t.Error("the largest is kept")
	}
	if _, ok := c.get("small"); !ok {
		t.Error("the small one is gone")
	}
	c.put("huge", 4, 1000)
	if v, ok := c.get("huge"); !ok || v != 4 || len(c.entries) != 1 {
		t.Error("what was put last is not kept alone")
	}
	c.put("huge", 5, 20)
	if c.total != 20 {
		t.Errorf("%d bytes, want 20", c.total)
	}
}

func TestOneModelIsParsedAtATime(t *testing.T) {
	if err := turn.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	l, _ := newTestLibrary(inline("valve", valveDTDL))
	soon, cancel := context.WithCancel(t.Context())
	cancel()
	if _, _, err := l.CheckModel(soon, inline("pump", pumpDTDL)); !errors.Is(err, context.Canceled) {
		t.Errorf("while another one is parsed: %v", err)
	}
	// All eight may wait, as requests for admission do: without a deadline no more than maxInLine
	// of a namespace would.
	request, done := context.WithTimeout(t.Context(), time.Minute)
	defer done()
	var all sync.WaitGroup
	for range 2 * maxInLine {
		all.Go(func() {
			if v, err := l.CheckDevice(request, "", valveID, twin.Declaration{{Name: "opening"}: json.Number("1")}); err != nil || v.NotReady != "" {
				t.Error(v, err)
			}
		})
	}
	turn.Release(1)
	all.Wait()
	if len(l.outcomes.entries) != 1 {
		t.Errorf("%d outcomes of one content", len(l.outcomes.entries))
	}
}

// large is a valid model of more than 64 KiB.
func large() *v1alpha1.DeviceModel { return inline("large", bomb(3000, 0)) }

func (l *Library) load(t *testing.T, model *v1alpha1.DeviceModel) *Trouble {
	t.Helper()
	_, trouble, err := l.Load(t.Context(), model)
	if err != nil {
		t.Fatal(err)
	}
	return trouble
}

func TestALargeModelIsParsedOnceThatIsOnRecord(t *testing.T) {
	model := large()
	l, _ := newTestLibrary(model)
	l.Guarded = true
	load := func(l *Library) *Trouble { return l.load(t, model) }
	verdict := func(l *Library) string { return l.device(t, "dtmi:b;1", twin.Declaration{}).NotReady }
	if verdict(l) == "" {
		t.Error("devices are checked against it before it is on record")
	}
	if trouble := load(l); trouble == nil || !trouble.Soon || model.Status.Parsing == "" {
		t.Fatalf("first: %+v, parsing %q", trouble, model.Status.Parsing)
	}
	killed := model.DeepCopy()
	if trouble := load(l); trouble != nil || model.Status.Parsing != "" || model.Status.Parsed == "" {
		t.Fatalf("then: %+v, %+v", trouble, model.Status)
	}
	after, _ := newTestLibrary(model)
	after.Guarded = true
	if text := verdict(after); text != "" {
		t.Errorf("after a start: %s", text)
	}
	if trouble := load(after); trouble != nil || model.Status.Parsed == "" {
		t.Errorf("after a start: %+v", trouble)
	}
	*model = *killed
	second, _ := newTestLibrary(model)
	second.Guarded = true
	if verdict(second) == "" {
		t.Error("devices are checked against it before it is on record that it is tried again")
	}
	if trouble := load(second); trouble == nil || !trouble.Soon || model.Status.Parsing == killed.Status.Parsing || len(model.Status.Parsing) > 64 {
		t.Fatalf("after the operator ended once: %+v, parsing %q", trouble, model.Status.Parsing)
	}
	killed = model.DeepCopy()
	if trouble := load(second); trouble != nil || model.Status.Parsing != "" {
		t.Fatalf("tried again: %+v, %+v", trouble, model.Status)
	}
	*model = *killed
	next, _ := newTestLibrary(model)
	next.Guarded = true
	for range 2 {
		if trouble := load(next); trouble == nil || trouble.Reason != v1alpha1.ReasonSetAside || !trouble.Final {
			t.Fatalf("after the operator ended: %+v", trouble)
		}
	}
	if verdict(next) == "" {
		t.Error("devices are checked against a model that is set aside")
	}
	model.Status.Parsing = "" // as a request does
	if trouble := load(next); trouble == nil || !trouble.Soon {
		t.Errorf("asked once more: %+v", trouble)
	}
	model.Generation, model.Spec.DTDL.Raw = 2, []byte(valveDTDL)
	if trouble := load(next); trouble != nil || model.Status.Parsing != "" || model.Status.Parsed != "" {
		t.Errorf("edited: %+v, %+v", trouble, model.Status)
	}
}

func TestTheSameLargeModelInTwoNamespacesIsParsedInBoth(t *testing.T) {
	one, other := large(), large()
	other.Namespace, other.UID = "b", "other"
	l, _ := newTestLibrary(one, other)
	l.Guarded = true
	load := func(model *v1alpha1.DeviceModel) *Trouble { return l.load(t, model) }
	for _, model := range []*v1alpha1.DeviceModel{one, other} {
		if trouble := load(model); trouble == nil || !trouble.Soon {
			t.Fatalf("first: %+v", trouble)
		}
	}
	for _, model := range []*v1alpha1.DeviceModel{one, other} {
		if trouble := load(model); trouble != nil || model.Status.Parsed == "" {
			t.Errorf("in %q: %+v", model.Namespace, trouble)
		}
	}
}

// A model that needs a large one is made anew once that has been parsed, and once it is set aside no more.
func TestWhatALargeModelHoldsBackIsMadeOnceItIsParsed(t *testing.T) {
	needed := large()
	heir := inline("heir", `{"@context":"dtmi:dtdl:context;3","@id":"dtmi:heir;1","@type":"Interface","extends":"dtmi:b;1"}`)
	heir.UID = "heir"
	l, _ := newTestLibrary(needed, heir)
	l.Guarded = true
	load := func(model *v1alpha1.DeviceModel) *Trouble { return l.load(t, model) }
	for range 2 {
		if trouble := load(heir); trouble == nil || trouble.Reason != v1alpha1.ReasonProgressing {
			t.Fatalf("before the other one was parsed: %+v", trouble)
		}
	}
	load(needed)
	if trouble := load(needed); trouble != nil {
		t.Fatal(trouble)
	}
	if trouble := load(heir); trouble != nil {
		t.Errorf("after the other one was parsed: %+v", trouble)
	}
}

// Those who would wait as long as it takes are workers: few of a namespace may.
func TestFewOfANamespaceWaitForTheirTurn(t *testing.T) {
	if err := turn.Acquire(t.Context(), 1); err != nil {
		t.Fatal(err)
	}
	wait := func(ctx context.Context, tenant string) error { return inTurn(ctx, tenant, func() {}) }
	var all sync.WaitGroup
	for range maxInLine {
		all.Go(func() {
			if err := wait(context.WithoutCancel(t.Context()), "a"); err != nil {
				t.Error(err)
			}
		})
	}
	for inLine := 0; inLine < maxInLine; runtime.Gosched() {
		line.Lock()
		inLine = line.of["a"]
		line.Unlock()
	}
	if err := wait(t.Context(), "a"); !errors.Is(err, ErrLine) {
		t.Errorf("one more of the namespace: %v", err)
	}
	soon, cancel := context.WithTimeout(t.Context(), time.Millisecond)
	defer cancel()
	for _, tenant := range []string{"a", "b"} {
		if err := wait(soon, tenant); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("who waits for a while only, in %q: %v", tenant, err)
		}
	}
	all.Go(func() {
		if err := wait(t.Context(), "b"); err != nil {
			t.Errorf("another namespace: %v", err)
		}
	})
	turn.Release(1)
	all.Wait()
	if len(line.of) != 0 {
		t.Errorf("%v wait still", line.of)
	}
}

// shelved is a shelf that keeps its objects abridged, as the cache does.
type shelved struct {
	Objects
	whole map[string]*v1alpha1.DeviceModel
	reads int
}

func (s *shelved) Whole(_ context.Context, object *v1alpha1.DeviceModel) (*v1alpha1.DeviceModel, error) {
	s.reads++
	return s.whole[object.Name], nil
}

func TestLargeModelsAreReadWhenTheyAreNeeded(t *testing.T) {
	model := large()
	kept := model.DeepCopy()
	Abridge(kept)
	if len(kept.Spec.DTDL.Raw) > 200 || ModelIDOf(kept) != "dtmi:b;1" {
		t.Errorf("%d bytes are kept, for %q", len(kept.Spec.DTDL.Raw), ModelIDOf(kept))
	}
	s := &shelved{Objects: Objects{kept}, whole: map[string]*v1alpha1.DeviceModel{"large": model}}
	l := NewLibrary(s, NewRepositories(nil, nil))
	for range 3 {
		if v := l.device(t, "dtmi:b;1", twin.Declaration{{Name: "x"}: true}); v.NotReady != "" || len(v.Violations) != 1 {
			t.Error(v)
		}
	}
	if s.reads != 1 {
		t.Errorf("it is read %d times", s.reads)
	}
	small := inline("valve", valveDTDL)
	if Abridge(small); isAbridged(small) || string(small.Spec.DTDL.Raw) != valveDTDL {
		t.Error("a small one is abridged, too")
	}
}

func TestWhatIsIndexedOfAModelIsBounded(t *testing.T) {
	for name, dtdl := range map[string]string{
		"many interfaces": bomb(1, 3000),
		"a long name":     `{"@id":"dtmi:` + strings.Repeat("a", 1000) + `;1"}`,
		"many values":     "[" + strings.Repeat(`{"@id":"dtmi:a;1"},`, 50_000) + "0]",
	} {
		if ids := InterfacesOf(inline("m", dtdl)); len(ids) > 0 {
			t.Errorf("%s: %d are indexed", name, len(ids))
		}
	}
}

func TestPayloadsAreBounded(t *testing.T) {
	l, _ := newTestLibrary(inline("valve", valveDTDL))
	command := &v1alpha1.DeviceCommandSpec{Command: "turn", Payload: &apiextensionsv1.JSON{Raw: []byte("[" + strings.Repeat("0,", 100_000) + "0]")}}
	v, err := l.CheckCommand(t.Context(), "", valveID, command)
	if want := []string{"spec.payload has 200003 bytes, want at most 131072"}; err != nil || !slices.Equal(v.Violations, want) {
		t.Errorf("got %.300q, %v, want %q", v.Violations, err, want)
	}
}

func TestViolationsOfAModelAreBounded(t *testing.T) {
	l, _ := newTestLibrary(inline("valve", valveDTDL))
	declared := twin.Declaration{}
	for i := range 3000 {
		declared[twin.Leaf{Name: fmt.Sprintf("x%d", i)}] = true
	}
	v := l.device(t, valveID, declared)
	if len(v.Violations) != 21 || v.Violations[20] != "and 2980 more" {
		t.Errorf("%d violations, the last is %q", len(v.Violations), v.Violations[len(v.Violations)-1])
	}
}
