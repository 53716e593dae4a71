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
	"strings"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// Bounds of what is fetched for one model.
const (
	maxFile   = 2 << 20
	maxModel  = maxParsed
	maxFiles  = 200
	fetchTime = 30 * time.Second
)

// Repositories fetches models from models repositories, each model once.
type Repositories struct {
	client  *http.Client
	allowed []string

	mu      sync.Mutex
	fetched map[modelKey]*fetched
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

// NewRepositories asks only hosts that are in allowed: by suffix with a leading dot, exactly without one. Redirects are not followed: they would lead
// elsewhere. transport nil is Go's default.
func NewRepositories(allowed []string, transport http.RoundTripper) *Repositories {
	return &Repositories{
		allowed: allowed, fetched: map[modelKey]*fetched{},
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
	return r.fetched[key]
}

// forget drops what a DeviceModel fetched.
func (r *Repositories) forget(uid types.UID) {
	r.mu.Lock()
	defer r.mu.Unlock()
	maps.DeleteFunc(r.fetched, func(key modelKey, _ *fetched) bool { return key.uid == uid })
}

// get fetches a model, unless it was fetched before: <path>.expanded.json, which has all that the model needs, or <path>.json and then, one after the
// other, what it needs (wire.md 8.2).
func (r *Repositories) get(ctx context.Context, key modelKey) (*fetched, *Trouble) {
	if known := r.have(key); known != nil {
		return known, nil
	}
	root, trouble := r.root(key.url)
	if trouble != nil {
		return nil, trouble
	}
	ctx, cancel := context.WithTimeout(ctx, fetchTime)
	defer cancel()
	documents, err := r.expanded(ctx, root, key.modelID)
	if errors.Is(err, errAbsent) {
		documents, err = r.oneByOne(ctx, root, key.modelID)
	}
	if err != nil {
		return nil, troubleOf(key, err)
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.count++
	r.fetched[key] = &fetched{documents, r.count}
	return r.fetched[key], nil
}

// root is where a repository begins, if it may be asked at all.
func (r *Repositories) root(text string) (*url.URL, *Trouble) {
	root, err := url.Parse(text)
	if err != nil || root.Scheme != "https" || root.Host == "" || root.User != nil {
		return nil, &Trouble{Reason: v1alpha1.ReasonRepositoryNotAllowed, Message: fmt.Sprintf("spec.repository.url is %q, want https://host/path", text), Final: true}
	}
	if iothub.CheckHost(root.Hostname(), "", r.allowed) != nil { // the same form as that of hosts that tokens are sent to
		return nil, &Trouble{Reason: v1alpha1.ReasonRepositoryNotAllowed, Final: true,
			Message: fmt.Sprintf("the host of spec.repository.url is %q, want one of --allowed-model-repositories: %s", root.Hostname(), strings.Join(r.allowed, ", "))}
	}
	return root, nil
}

func (r *Repositories) expanded(ctx context.Context, root *url.URL, modelID string) ([][]byte, error) {
	document, err := r.file(ctx, root, modelID, ".expanded.json")
	return [][]byte{document}, err
}

func (r *Repositories) oneByOne(ctx context.Context, root *url.URL, modelID string) ([][]byte, error) {
	var documents [][]byte
	size := 0
	for wanted := []string{modelID}; len(wanted) > 0; {
		for _, id := range wanted {
			document, err := r.file(ctx, root, id, ".json")
			if err != nil {
				return nil, err
			}
			if size += len(document); size > maxModel || len(documents) == maxFiles {
				return nil, fmt.Errorf("the model has more than %d bytes or %d files", maxModel, maxFiles)
			}
			documents = append(documents, document)
		}
		next := missing(dtdl.Parse(documents...))
		if len(next) > 0 && next[0] == wanted[0] {
			return nil, fmt.Errorf("%w: the file of %q does not define it", errAbsent, next[0])
		}
		wanted = next
	}
	return documents, nil
}

// missing are the interfaces that a model needs and does not have.
func missing(parsed *dtdl.Model) []string {
	var ids []string
	for _, m := range parsed.Missing {
		ids = append(ids, m.DTMI)
	}
	return ids
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
