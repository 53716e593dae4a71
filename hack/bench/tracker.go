package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
)

const (
	namespace = "factory"
	listPath  = "/apis/iot.pnp-operator.io/v1alpha1/namespaces/" + namespace + "/pnpdevices"
)

// tracker follows the PnPDevices by a watch that decodes hardly anything: it shares the processors with what is measured.
type tracker struct {
	client *rest.RESTClient

	mu      sync.Mutex
	objects map[string]state
	settled int
	changes int // updates seen
	waiting map[string][]chan struct{}
	failed  error
}

// state is what a watch tells of one object.
type state struct {
	generation, observed   int64
	declared, acknowledged int32
	at                     time.Time
}

// isSettled reports whether the device acknowledged everything that is declared now.
func (s state) isSettled() bool {
	return s.declared > 0 && s.acknowledged == s.declared && s.observed == s.generation
}

type object struct {
	Metadata struct {
		Name            string `json:"name"`
		ResourceVersion string `json:"resourceVersion"`
		Generation      int64  `json:"generation"`
	} `json:"metadata"`
	Status struct {
		ObservedGeneration int64 `json:"observedGeneration"`
		Declared           int32 `json:"declared"`
		Acknowledged       int32 `json:"acknowledged"`
	} `json:"status"`
}

func (o object) state(at time.Time) state {
	return state{o.Metadata.Generation, o.Status.ObservedGeneration, o.Status.Declared, o.Status.Acknowledged, at}
}

// track follows the objects until ctx ends.
func track(ctx context.Context, config *rest.Config) (*tracker, error) {
	config = rest.CopyConfig(config)
	config.GroupVersion, config.NegotiatedSerializer = &schema.GroupVersion{}, scheme.Codecs
	c, err := rest.UnversionedRESTClientFor(config)
	if err != nil {
		return nil, err
	}
	t := &tracker{client: c, objects: map[string]state{}, waiting: map[string][]chan struct{}{}}
	version, err := t.list(ctx)
	if err != nil {
		return nil, err
	}
	go t.run(ctx, version)
	return t, nil
}

func (t *tracker) run(ctx context.Context, version string) {
	for ctx.Err() == nil {
		err := t.watch(ctx, version)
		if err == nil || ctx.Err() != nil {
			version, err = t.list(ctx)
		}
		if err != nil && ctx.Err() == nil {
			t.mu.Lock()
			t.failed = err
			t.mu.Unlock()
			return
		}
	}
}

func (t *tracker) list(ctx context.Context) (version string, err error) {
	raw, err := t.client.Get().AbsPath(listPath).Do(ctx).Raw()
	if err != nil {
		return "", fmt.Errorf("listing PnPDevices: %w", err)
	}
	var list struct {
		object

		Items []object `json:"items"`
	}
	if err := json.Unmarshal(raw, &list); err != nil {
		return "", fmt.Errorf("decoding a list of PnPDevices: %w", err)
	}
	t.mu.Lock()
	t.objects, t.settled = map[string]state{}, 0
	t.mu.Unlock()
	for _, o := range list.Items {
		t.see(o, false)
	}
	return list.Metadata.ResourceVersion, nil
}

// watch returns nil when the API server ends it, which it does now and then.
func (t *tracker) watch(ctx context.Context, version string) error {
	stream, err := t.client.Get().AbsPath(listPath).Param("watch", "true").Param("resourceVersion", version).Stream(ctx)
	if err != nil {
		return fmt.Errorf("watching PnPDevices: %w", err)
	}
	defer func() { _ = stream.Close() }()
	decoder := json.NewDecoder(stream)
	for {
		var e struct {
			Type   string `json:"type"`
			Object object `json:"object"`
		}
		switch err := decoder.Decode(&e); {
		case err == io.EOF || err == nil && e.Type == "ERROR": // the decoder does not wrap it
			return nil
		case err != nil:
			return fmt.Errorf("decoding a watch of PnPDevices: %w", err)
		}
		t.see(e.Object, e.Type == "DELETED")
	}
}

func (t *tracker) see(o object, gone bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	name, now := o.Metadata.Name, o.state(time.Now())
	if t.objects[name].isSettled() {
		t.settled--
	}
	t.changes++
	if gone {
		delete(t.objects, name)
	} else {
		t.objects[name] = now
		if now.isSettled() {
			t.settled++
		}
	}
	for _, c := range t.waiting[name] {
		close(c)
	}
	delete(t.waiting, name)
}

// counts are how many objects there are, how many of them are settled, and how many changes were seen of any.
func (t *tracker) counts() (objects, settled, changes int, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return len(t.objects), t.settled, t.changes, t.failed
}

// await waits until an object of at least that generation is settled, and returns when it was seen to be.
func (t *tracker) await(ctx context.Context, name string, generation int64) (time.Time, error) {
	limit := time.NewTimer(patience)
	defer limit.Stop()
	for {
		t.mu.Lock()
		now, failed := t.objects[name], t.failed
		changed := make(chan struct{})
		t.waiting[name] = append(t.waiting[name], changed)
		t.mu.Unlock()
		switch {
		case failed != nil:
			return time.Time{}, failed
		case now.generation >= generation && now.isSettled():
			return now.at, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return time.Time{}, fmt.Errorf("PnPDevice %q is not acknowledged %s after its edit: generation %d of %d, %d of %d acknowledged",
				name, patience, now.observed, generation, now.acknowledged, now.declared)
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
}

// patience is how long nothing may move before something is taken to be broken.
const patience = 2 * time.Minute
