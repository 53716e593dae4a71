package models

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/allowlist"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/places"
)

// Bounds of what is fetched.
const (
	// Of one model.
	maxFile  = 2 << 20
	maxModel = dtdl.MaxBytes
	maxFiles = 200
	// fetchTime is for all files of a model together.
	fetchTime = 30 * time.Second
	// maxFetches is how many models are fetched at a time, half of them from one host.
	maxFetches = 6
	// maxHeld and maxHeldOfTenant are how many bytes of models are held that were fetched.
	maxHeld         = 16 << 20
	maxHeldOfTenant = 8 << 20
	maxHeaders      = 64 << 10
	// retryAfter is how long a repository that failed is left alone at least.
	retryAfter = 25 * time.Second
)

// Repositories fetches models from models repositories, each model once.
type Repositories struct {
	// Wake has models fetched beside those who ask for them: they are told what is known, and Wake is
	// called with who asked, see AskedBy, once there is more. It is set before the first one asks. Nil:
	// whoever asks waits.
	Wake func(types.NamespacedName)

	client  *http.Client
	allowed []string
	pool    *places.Pool

	mu      sync.Mutex
	models  map[types.UID]*holding
	fetches map[source]*fetch
	count   uint64
}

// modelKey names what one DeviceModel fetched: what another one fetches anew, in another namespace perhaps, is nothing to it.
type modelKey struct {
	uid          types.UID
	url, modelID string
}

func keyOf(object *v1alpha1.DeviceModel) modelKey {
	return modelKey{object.UID, object.Spec.Repository.URL, object.Spec.ModelID}
}

// fetched is what a repository gave. Its serial is new with each time that the repository was asked.
type fetched struct {
	documents [][]byte
	serial    uint64
}

// holding is what is known of the model of one DeviceModel.
type holding struct {
	key     modelKey
	tenant  string
	has     *fetched
	trouble *Trouble // of the last try
	tried   time.Time
	// since is when it was asked for anew: what began to be fetched before is not that.
	since  time.Time
	askers map[types.NamespacedName]bool
}

// source is what is fetched once at a time. What waits for the share of one tenant is nothing to
// another one.
type source struct{ tenant, url, modelID string }

// fetch is under way.
type fetch struct {
	source

	root    *url.URL
	began   time.Time
	members []*holding
	// late are asked for anew since it began: they are fetched next.
	late []*holding
	done chan struct{}
}

type askerKey struct{}

// AskedBy says on behalf of which DeviceModel a model is asked for.
func AskedBy(ctx context.Context, object types.NamespacedName) context.Context {
	return context.WithValue(ctx, askerKey{}, object)
}

func askerOf(ctx context.Context) types.NamespacedName {
	asker, _ := ctx.Value(askerKey{}).(types.NamespacedName)
	return asker
}

// NewRepositories asks only hosts that are in allowed, see allowlist.List. Redirects are not followed: they would lead
// elsewhere. transport nil is like Go's default.
func NewRepositories(allowed []string, transport http.RoundTripper) *Repositories {
	if transport == nil {
		own := http.DefaultTransport.(*http.Transport).Clone()
		own.MaxResponseHeaderBytes = maxHeaders
		transport = own
	}
	return &Repositories{
		allowed: allowed, models: map[types.UID]*holding{}, fetches: map[source]*fetch{}, pool: places.New(maxFetches, time.Now),
		client: &http.Client{
			Transport: transport, Timeout: fetchTime,
			CheckRedirect: func(*http.Request, []*http.Request) error { return errRedirect },
		},
	}
}

var (
	errRedirect = errors.New("it redirects, which is not followed")
	errAbsent   = errors.New("not found")
)

// have returns what was fetched before.
func (r *Repositories) have(key modelKey) *fetched {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.models[key.uid]; h != nil && h.key == key {
		return h.has
	}
	return nil
}

// serialOf says which content was fetched last, 0 if none was.
func (r *Repositories) serialOf(key modelKey) uint64 {
	if known := r.have(key); known != nil {
		return known.serial
	}
	return 0
}

// forget drops what a DeviceModel fetched.
func (r *Repositories) forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.models, uid)
}

// refetch has the repository of a DeviceModel asked anew. What it gave before is used until then.
func (r *Repositories) refetch(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	h := r.models[uid]
	if h == nil {
		return
	}
	h.since, h.tried = time.Now(), time.Time{}
	root, trouble := r.root(h.key.url)
	if r.Wake == nil || trouble != nil {
		h.has = nil
		return
	}
	r.join(root, h)
}

// follow has who asks for a DeviceModel told whenever more is known of it. What it fetched before it
// named another repository, or none, is dropped.
func (r *Repositories) follow(ctx context.Context, object *v1alpha1.DeviceModel) {
	if object.Spec.Repository == nil {
		r.forget(object.UID)
		return
	}
	if _, trouble := r.root(object.Spec.Repository.URL); trouble != nil {
		r.forget(object.UID)
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.of(keyOf(object), askerOf(ctx))
}

// retry has a repository that failed a DeviceModel asked at once: the DeviceModel was edited.
func (r *Repositories) retry(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.models[uid]; h != nil && h.has == nil {
		h.trouble, h.tried = nil, time.Time{}
	}
}

// again drops what a DeviceModel fetched because of a trouble with it. The repository is asked again
// after a while.
func (r *Repositories) again(uid types.UID, trouble *Trouble) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if h := r.models[uid]; h != nil {
		h.has, h.trouble, h.tried = nil, trouble, time.Now()
	}
}

// get returns a model, and has it fetched unless it was before.
func (r *Repositories) get(ctx context.Context, key modelKey) (*fetched, *Trouble) {
	root, trouble := r.root(key.url)
	if trouble != nil {
		return nil, trouble
	}
	r.mu.Lock()
	asker := askerOf(ctx)
	h := r.of(key, asker)
	if r.Wake == nil {
		r.mu.Unlock()
		return r.wait(ctx, root, h)
	}
	defer r.mu.Unlock()
	if h.has == nil && time.Since(h.tried) >= retryAfter {
		r.join(root, h)
	}
	return h.known()
}

// of is what is known of a model, which somebody asks for.
func (r *Repositories) of(key modelKey, asker types.NamespacedName) *holding {
	h := r.models[key.uid]
	if h == nil || h.key != key {
		h = &holding{key: key, tenant: asker.Namespace, askers: map[types.NamespacedName]bool{}}
		r.models[key.uid] = h
	}
	h.askers[asker] = true
	return h
}

func (h *holding) known() (*fetched, *Trouble) {
	switch {
	case h.has != nil:
		return h.has, nil
	case h.trouble != nil:
		return nil, h.trouble
	}
	return nil, &Trouble{Reason: v1alpha1.ReasonProgressing, Message: "The model is being fetched"}
}

// wait fetches a model for somebody who waits for it.
func (r *Repositories) wait(ctx context.Context, root *url.URL, h *holding) (*fetched, *Trouble) {
	for {
		r.mu.Lock()
		if h.has != nil {
			r.mu.Unlock()
			return h.has, nil
		}
		f, isMember := r.join(root, h)
		r.mu.Unlock()
		select {
		case <-f.done:
		case <-ctx.Done():
			return nil, troubleOf(h.key, ctx.Err())
		}
		if isMember {
			r.mu.Lock()
			defer r.mu.Unlock()
			return h.known()
		}
	}
}

// join has a model fetched, together with others who ask for the same one; but if it is asked for
// anew, after what is under way.
func (r *Repositories) join(root *url.URL, h *holding) (f *fetch, isMember bool) {
	what := source{h.tenant, h.key.url, h.key.modelID}
	f = r.fetches[what]
	switch {
	case f == nil:
		f = &fetch{source: what, root: root, began: time.Now(), members: []*holding{h}, done: make(chan struct{})}
		r.fetches[what] = f
		go r.begin(f)
		return f, true
	case f.began.Before(h.since):
		f.members = slices.DeleteFunc(f.members, func(o *holding) bool { return o == h })
		f.late = appendNew(f.late, h)
		return f, false
	}
	f.members = appendNew(f.members, h)
	return f, true
}

func appendNew(to []*holding, h *holding) []*holding {
	if slices.Contains(to, h) {
		return to
	}
	return append(to, h)
}

// begin fetches once there is a place for it.
func (r *Repositories) begin(f *fetch) {
	key := strings.Join([]string{f.tenant, f.url, f.modelID}, "\x00")
	run := func() {
		documents, err := r.fetch(f)
		r.pool.Leave(key) // before the next one of the same key begins
		r.end(f, documents, err)
	}
	if _, ok := r.pool.Take(places.Who{Host: f.root.Host, Tenant: f.tenant, Key: key}, func() { go run() }); ok {
		run()
	}
}

// fetch requests <path>.expanded.json, with the model and all its dependencies. If there is none, fetch
// requests <path>.json and then each dependency in turn.
func (r *Repositories) fetch(f *fetch) ([][]byte, error) {
	ctx, cancel := context.WithTimeout(context.Background(), fetchTime)
	defer cancel()
	documents, err := r.expanded(ctx, f.root, f.modelID)
	if errors.Is(err, errAbsent) {
		return r.oneByOne(ctx, f)
	}
	return documents, err
}

// end hands over what was fetched, and tells all who asked for it.
func (r *Repositories) end(f *fetch, documents [][]byte, err error) {
	r.mu.Lock()
	delete(r.fetches, f.source)
	woken := map[types.NamespacedName]bool{}
	for _, h := range f.members {
		r.settle(h, documents, err)
		maps.Copy(woken, h.askers)
	}
	for _, h := range f.late {
		r.join(f.root, h)
	}
	close(f.done)
	r.mu.Unlock()
	if r.Wake == nil {
		return
	}
	for asker := range woken {
		r.Wake(asker)
	}
}

func (r *Repositories) settle(h *holding, documents [][]byte, err error) {
	h.has, h.trouble, h.tried = nil, nil, time.Now()
	if err == nil {
		err = r.hasRoomFor(h, documents)
	}
	if err != nil {
		h.trouble = troubleOf(h.key, err)
		return
	}
	r.count++
	h.has = &fetched{documents, r.count}
}

// hasRoomFor bounds what is held of all DeviceModels, and of those of a namespace.
func (r *Repositories) hasRoomFor(h *holding, documents [][]byte) error {
	all, ofTenant := sizeOf(documents), sizeOf(documents)
	for _, o := range r.models {
		if o.has == nil {
			continue
		}
		all += sizeOf(o.has.documents)
		if o.tenant == h.tenant {
			ofTenant += sizeOf(o.has.documents)
		}
	}
	if r.Wake != nil && (all > maxHeld || ofTenant > maxHeldOfTenant) {
		return fmt.Errorf("with it the models that were fetched have more than %d bytes in the namespace, or %d in all, which is as much as is held", maxHeldOfTenant, maxHeld)
	}
	return nil
}

// root is where a repository begins, if it may be asked at all.
func (r *Repositories) root(text string) (*url.URL, *Trouble) {
	root, err := url.Parse(text)
	if err != nil || root.Scheme != "https" || root.Host == "" || root.User != nil {
		return nil, &Trouble{Reason: v1alpha1.ReasonRepositoryNotAllowed, Message: fmt.Sprintf("spec.repository.url is %q, want https://host/path", text), Final: true}
	}
	if (allowlist.List{Entries: r.allowed}).Check(root.Hostname(), "https://"+root.Host) != nil { // the same form as that of hosts that tokens are sent to
		return nil, &Trouble{Reason: v1alpha1.ReasonRepositoryNotAllowed, Final: true,
			Message: fmt.Sprintf("the host of spec.repository.url is %q, want one of --allowed-model-repositories: %s", root.Host, strings.Join(r.allowed, ", "))}
	}
	return root, nil
}

func (r *Repositories) expanded(ctx context.Context, root *url.URL, modelID string) ([][]byte, error) {
	document, err := r.file(ctx, root, modelID, ".expanded.json")
	return [][]byte{document}, err
}

func (r *Repositories) oneByOne(ctx context.Context, f *fetch) ([][]byte, error) {
	var documents [][]byte
	size, settled := 0, map[string]bool{}
	for wanted := []string{f.modelID}; len(wanted) > 0; {
		id := wanted[0]
		if wanted = wanted[1:]; settled[id] {
			continue
		}
		document, err := r.file(ctx, f.root, id, ".json")
		if err != nil {
			return nil, err
		}
		if size += len(document); size > maxModel || len(documents) == maxFiles {
			return nil, fmt.Errorf("the model has more than %d bytes or %d files", maxModel, maxFiles)
		}
		documents = append(documents, document)
		named, err := namesIn(ctx, f.tenant, [][]byte{document})
		if err != nil {
			return nil, err
		}
		if !named.broken && !slices.Contains(named.defined, id) {
			return nil, fmt.Errorf("%w: the file of %q does not define it", errAbsent, id)
		}
		for _, id := range append(named.defined, id) {
			settled[id] = true
		}
		wanted = append(wanted, named.missing...)
	}
	return documents, nil
}

// file reads one of the files of a model. The error says what is wrong without times and ids, as it is put into status.
func (r *Repositories) file(ctx context.Context, root *url.URL, modelID, extension string) ([]byte, error) {
	path, ok := dtdl.RepositoryPath(modelID)
	if !ok {
		return nil, fmt.Errorf("%w: %q is no id that a repository can have: it needs a version", errAbsent, modelID)
	}
	at := root.JoinPath(strings.TrimSuffix(path, ".json") + extension)
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	response, err := r.client.Do(request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	switch {
	case response.StatusCode == http.StatusNotFound:
		return nil, fmt.Errorf("%w: %s", errAbsent, at)
	case response.StatusCode != http.StatusOK:
		return nil, fmt.Errorf("%s answers HTTP %d", at, response.StatusCode)
	}
	data, err := io.ReadAll(io.LimitReader(response.Body, maxFile+1))
	switch {
	case err != nil:
		return nil, err
	case len(data) > maxFile:
		return nil, fmt.Errorf("%s has more than %d bytes", at, maxFile)
	}
	return data, nil
}

func troubleOf(key modelKey, err error) *Trouble {
	if errors.Is(err, errAbsent) {
		return &Trouble{Reason: v1alpha1.ReasonModelNotFound, Message: "The repository does not have the model, or what it needs: " + err.Error()}
	}
	return &Trouble{Reason: v1alpha1.ReasonRepositoryUnavailable, Message: fmt.Sprintf("Fetching %s from %s: %s", key.modelID, key.url, plain(err))}
}

// plain names a failure by its kind: the details differ from try to try.
func plain(err error) string {
	var dns *net.DNSError
	var timeout net.Error
	var asked *url.Error
	switch {
	case errors.Is(err, errRedirect):
		return errRedirect.Error()
	case errors.As(err, &dns):
		return "its host name does not resolve"
	case errors.As(err, &timeout) && timeout.Timeout():
		return "no whole answer in time"
	case errors.As(err, &asked):
		return "no connection, or its certificate was refused"
	}
	return err.Error()
}
