package models

import (
	"context"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/places"
)

// heldRepository answers once it is told to, and counts.
type heldRepository struct {
	*Repositories

	url    string
	answer chan string // what the next request is answered with
	woken  chan types.NamespacedName

	mu                   sync.Mutex
	asked, atATime, most int
}

func newHeldRepository(t *testing.T) *heldRepository {
	t.Helper()
	h := &heldRepository{answer: make(chan string), woken: make(chan types.NamespacedName, 100)}
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h.count(1)
		defer h.count(-1)
		select {
		case text := <-h.answer:
			_, _ = w.Write([]byte(text))
		case <-r.Context().Done():
		}
	}))
	t.Cleanup(server.Close)
	t.Cleanup(server.CloseClientConnections)
	h.url = server.URL
	h.Repositories = NewRepositories([]string{"127.0.0.1"}, server.Client().Transport)
	h.Wake = func(key types.NamespacedName) { h.woken <- key }
	return h
}

func (h *heldRepository) count(n int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.atATime += n
	h.most = max(h.most, h.atATime)
	if n > 0 {
		h.asked++
	}
}

func (h *heldRepository) ask(namespace, name, modelID string) (*fetched, *Trouble) {
	ctx := AskedBy(context.Background(), types.NamespacedName{Namespace: namespace, Name: name})
	return h.get(ctx, modelKey{types.UID(namespace + name), h.url, modelID})
}

func (h *heldRepository) wantWoken(t *testing.T, names ...string) {
	t.Helper()
	got := map[string]bool{}
	for range names {
		got[(<-h.woken).Name] = true
	}
	for _, name := range names {
		if !got[name] {
			t.Errorf("%s was not woken, but %v", name, got)
		}
	}
}

func TestModelsAreFetchedBesideThoseWhoAsk(t *testing.T) {
	h := newHeldRepository(t)
	for _, name := range []string{"a", "b"} { // the same model: fetched once
		if _, trouble := h.ask("ns", name, pumpID); trouble == nil || trouble.Reason != v1alpha1.ReasonProgressing || trouble.Final {
			t.Errorf("%s: trouble %+v", name, trouble)
		}
	}
	h.answer <- pumpDTDL
	h.wantWoken(t, "a", "b")
	for _, name := range []string{"a", "b"} {
		if got, trouble := h.ask("ns", name, pumpID); trouble != nil || string(got.documents[0]) != pumpDTDL {
			t.Errorf("%s: %+v, %+v", name, got, trouble)
		}
	}
	if h.asked != 1 {
		t.Errorf("asked %d times", h.asked)
	}
}

func TestWhatIsAskedForAnewIsFetchedAfterWhatIsUnderWay(t *testing.T) {
	h := newHeldRepository(t)
	_, _ = h.ask("ns", "a", pumpID)
	h.answer <- "first"
	h.wantWoken(t, "a")
	h.refetch("nsa")
	if got, _ := h.ask("ns", "a", pumpID); got == nil || string(got.documents[0]) != "first" {
		t.Errorf("while it is fetched anew: %+v", got)
	}
	h.refetch("nsa")
	h.answer <- "second"
	h.answer <- "third"
	h.wantWoken(t, "a")
	if got, _ := h.ask("ns", "a", pumpID); got == nil || string(got.documents[0]) != "third" {
		t.Errorf("at last: %+v", got)
	}
	if h.most != 1 {
		t.Errorf("%d requests for one model at a time", h.most)
	}
}

func TestAFailureStandsForAWhile(t *testing.T) {
	h := newHeldRepository(t)
	_, _ = h.ask("ns", "a", pumpID)
	h.answer <- strings.Repeat(" ", maxFile+1)
	h.wantWoken(t, "a")
	for range 3 {
		if _, trouble := h.ask("ns", "a", pumpID); trouble == nil || trouble.Reason != v1alpha1.ReasonRepositoryUnavailable {
			t.Errorf("trouble %+v", trouble)
		}
	}
	if n := len(h.fetches); n != 0 {
		t.Errorf("%d fetches are under way", n)
	}
	h.retry("nsa")
	_, _ = h.ask("ns", "a", pumpID)
	h.answer <- pumpDTDL
	h.wantWoken(t, "a")
	if _, trouble := h.ask("ns", "a", pumpID); trouble != nil {
		t.Errorf("after an edit: %+v", trouble)
	}
}

// A namespace whose models take long leaves places to others.
func TestFetchesAreShared(t *testing.T) {
	h := newHeldRepository(t)
	for n := range 40 {
		_, _ = h.ask("slow", string(rune('A'+n)), "dtmi:com:example:Slow"+string(rune('A'+n))+";1")
	}
	if _, ok := h.pool.Take(places.Who{Host: "other.example", Tenant: "other", Key: "other"}, func() {}); !ok {
		t.Error("there is no place for another tenant")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.most > maxFetches/2 {
		t.Errorf("%d requests to one host at a time", h.most)
	}
}

func TestWhatIsHeldOfRepositoriesIsBounded(t *testing.T) {
	r := NewRepositories(nil, nil)
	r.Wake = func(types.NamespacedName) {}
	document := [][]byte{make([]byte, maxModel)}
	total := 0
	for n := range 60 {
		tenant := string(rune('a' + n/10))
		h := r.of(modelKey{types.UID(rune('A' + n)), "https://h", "m"}, types.NamespacedName{Namespace: tenant})
		if r.settle(h, document, nil); h.has != nil {
			total += maxModel
		}
		if held := n%10*maxModel < maxHeldOfTenant-maxModel && total < maxHeld; held && h.has == nil && total+maxModel <= maxHeld {
			t.Errorf("model %d is not held: %+v", n, h.trouble)
		}
	}
	if total > maxHeld {
		t.Errorf("%d bytes are held", total)
	}
	// Another one of the same DeviceModel takes its place.
	before := len(r.models)
	r.of(modelKey{types.UID(rune('A')), "https://other", "m"}, types.NamespacedName{Namespace: "a"})
	if len(r.models) != before {
		t.Errorf("%d DeviceModels are known, want %d", len(r.models), before)
	}
}

// Somebody else had the model fetched, and so it was there when the DeviceModel was looked at first.
func TestADeviceModelIsToldOfItsOwnModel(t *testing.T) {
	h := newHeldRepository(t)
	object := &v1alpha1.DeviceModel{
		ObjectMeta: metav1.ObjectMeta{Namespace: "ns", Name: "a", UID: "nsa"},
		Spec:       v1alpha1.DeviceModelSpec{ModelID: pumpID, Repository: &v1alpha1.ModelRepository{URL: h.url}},
	}
	other := AskedBy(t.Context(), types.NamespacedName{Namespace: "ns", Name: "heir"})
	_, _ = h.get(other, keyOf(object))
	h.answer <- pumpDTDL
	h.wantWoken(t, "heir")
	h.follow(AskedBy(t.Context(), types.NamespacedName{Namespace: "ns", Name: "a"}), object)
	h.refetch(object.UID)
	h.answer <- pumpDTDL
	h.wantWoken(t, "heir", "a")
	object.Spec.Repository = nil
	if h.follow(t.Context(), object); len(h.models) != 0 {
		t.Error("what it fetched before it named no repository is held")
	}
}

// A fetch that follows another one of the same model has a place of its own.
func TestWhatIsFetchedNextHasAPlace(t *testing.T) {
	h := newHeldRepository(t)
	wake := h.Wake
	h.Wake = func(key types.NamespacedName) { // which takes until the next one is under way
		for h.asks() < 2 {
			runtime.Gosched()
		}
		wake(key)
	}
	_, _ = h.ask("ns", "a", pumpID)
	_, _ = h.ask("ns", "b", pumpID)
	for h.asks() < 1 {
		runtime.Gosched()
	}
	h.refetch("nsa") // comes next
	h.answer <- pumpDTDL
	for h.asks() < 2 {
		runtime.Gosched()
	}
	h.wantWoken(t, "b")
	free := 0
	for n := range maxFetches {
		if _, ok := h.pool.Take(places.Who{Host: string(rune('A' + n)), Tenant: string(rune('A' + n)), Key: string(rune('A' + n))}, func() {}); ok {
			free++
		}
	}
	if free != maxFetches-1 {
		t.Errorf("%d places are free beside the fetch, want %d", free, maxFetches-1)
	}
	h.answer <- pumpDTDL
	h.wantWoken(t, "a")
}

func (h *heldRepository) asks() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.asked
}
