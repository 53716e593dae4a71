package hub

import (
	"bytes"
	"encoding/json"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// write is what one request changes in a twin.
type write struct {
	kind                    ChangeKind
	by                      string
	service                 bool            // over the service API
	tags, desired, reported jsontree.Object // merge patches; nil leaves the section alone
}

// PatchTwin merges tags and properties.desired of the body into the twin; the other members of the body are ignored, as
// the service does.
func (h *Hub) PatchTwin(id string, body jsontree.Object, ifMatch string) (*Twin, error) {
	w, err := parseTwin(body)
	if err != nil {
		return nil, err
	}
	return h.write(id, ifMatch, func(*Twin) (write, error) { return w, nil })
}

// MergeTwin is PatchTwin as a job of the hub does it.
func (h *Hub) MergeTwin(id string, body jsontree.Object) error {
	w, err := parseTwin(body)
	if err != nil {
		return err
	}
	w.service = false
	_, err = h.write(id, "", func(*Twin) (write, error) { return w, nil })
	return err
}

// ReplaceTwin replaces tags and properties.desired wholly. The announced change is the patch that a device is sent: the new
// keys, and null for each one that went.
func (h *Hub) ReplaceTwin(id string, body jsontree.Object, ifMatch string) (*Twin, error) {
	want, err := parseTwin(body)
	if err != nil {
		return nil, err
	}
	return h.write(id, ifMatch, func(t *Twin) (write, error) {
		w := write{kind: TwinReplaced, service: true, desired: t.desired.root.replacement(want.desired)}
		if t.tags != nil || want.tags != nil {
			w.tags = orEmpty(t.tags).replacement(want.tags)
		}
		return w, nil
	})
}

func orEmpty(n *node) *node {
	if n == nil {
		return &node{object: true}
	}
	return n
}

func parseTwin(body jsontree.Object) (write, error) {
	tags, _ := body.Get("tags")
	desired, _ := body.Object("properties").Get("desired")
	w := write{kind: TwinUpdated, service: true}
	var err error
	if w.tags, err = sectionPatch(tags); err != nil {
		return w, err
	}
	w.desired, err = sectionPatch(desired)
	return w, err
}

// write applies what change asks for, atomically, if ifMatch fits.
func (h *Hub) write(id, ifMatch string, change func(*Twin) (write, error)) (*Twin, error) {
	return h.update(id, func(t *Twin, at time.Time) (*Twin, Change, error) {
		if err := matchTag(ifMatch, t.ETag()); err != nil {
			return t, Change{}, err
		}
		w, err := change(t)
		if err != nil {
			return t, Change{}, err
		}
		next, err := t.apply(w, at)
		whole := w.by != "" && h.whole.Load()
		return next, Change{Kind: w.kind, By: w.by, Service: w.service, Whole: whole, Tags: w.tags, Desired: w.desired, Reported: w.reported}, err
	})
}

// apply returns the twin after a write at a time. version moves once for the service's sections and once for the device's, the
// etag's counter for the former only, so version stays the counter plus reported.$version.
func (t *Twin) apply(w write, at time.Time) (*Twin, error) {
	next := *t
	if w.tags != nil || w.desired != nil {
		next.counter++
		next.version++
	}
	if w.tags != nil {
		next.tags = orEmpty(t.tags).merge(w.tags, &stamp{at: at})
	}
	if w.desired != nil {
		next.desired.version++
		next.desired.root = t.desired.root.merge(w.desired, &stamp{at, next.desired.version, w.by})
	}
	if w.reported != nil {
		next.version++
		next.Identity.LastActivity = at
		next.reported.version++
		next.reported.root = t.reported.root.merge(w.reported, &stamp{at: at})
	}
	if next.version == t.version {
		return t, nil
	}
	return &next, next.validateSizes(w)
}

func (t *Twin) validateSizes(w write) error {
	if w.tags != nil {
		if err := validateSize("tags", t.tags, maxTagsBytes); err != nil {
			return err
		}
	}
	if w.desired != nil {
		if err := validateSize("properties.desired", t.desired.root, maxPropertiesBytes); err != nil {
			return err
		}
	}
	if w.reported == nil {
		return nil
	}
	return validateSize("properties.reported", t.reported.root, maxPropertiesBytes)
}

// PatchDesired merges a JSON object into the desired properties, as another service would: drift, for tests. A non-empty
// by makes it the write of the configuration of that name.
func (h *Hub) PatchDesired(id, patch, by string) error {
	return h.patch(id, patch, func(w *write, o jsontree.Object) { w.desired, w.by = o, by })
}

// PatchReported merges a JSON object into the reported properties, as the device would.
func (h *Hub) PatchReported(id, patch string) error {
	return h.patch(id, patch, func(w *write, o jsontree.Object) { w.reported = o })
}

// SetTags merges a JSON object into the tags.
func (h *Hub) SetTags(id, patch string) error {
	return h.patch(id, patch, func(w *write, o jsontree.Object) { w.tags = o })
}

// Report is PatchReported for a decoded patch. It returns the twin after the write.
func (h *Hub) Report(id string, patch jsontree.Object) (*Twin, error) {
	o, err := sectionPatch(patch)
	if err != nil {
		return nil, err
	}
	return h.write(id, "", func(*Twin) (write, error) { return write{kind: TwinUpdated, reported: o}, nil })
}

func (h *Hub) patch(id, patch string, set func(*write, jsontree.Object)) error {
	body, err := jsontree.ParseObject([]byte(patch))
	if err != nil {
		return argumentInvalid(notValid+"%v", err)
	}
	o, err := sectionPatch(body)
	if err != nil {
		return err
	}
	_, err = h.write(id, "", func(*Twin) (write, error) {
		w := write{kind: TwinUpdated}
		set(&w, o)
		return w, nil
	})
	return err
}

// Rewind puts a device back to a state that Get returned earlier: a failover of the hub loses the newest writes, and its
// counters repeat ("IoT Hub high availability and disaster recovery").
func (h *Hub) Rewind(id string, to *Twin) error {
	_, err := h.update(id, func(*Twin, time.Time) (*Twin, Change, error) { return to, Change{Kind: Rewound}, nil })
	return err
}

// Twin returns the device twin as JSON.
func (h *Hub) Twin(id string) (json.RawMessage, error) {
	t, err := h.Get(id)
	if err != nil {
		return nil, err
	}
	return t.JSON(), nil
}

// DeviceOption changes what CreateDevice creates.
type DeviceOption func(*deviceOptions)

type deviceOptions struct {
	body                    jsontree.Object
	model                   string
	tags, desired, reported string
}

// WithStatus creates the device enabled or disabled.
func WithStatus(enabled bool, reason string) DeviceOption {
	return func(o *deviceOptions) {
		status := Identity{Disabled: !enabled}.Status()
		o.body = o.body.With("status", status).With("statusReason", orNull(reason))
	}
}

// WithKeys creates the device with given symmetric keys.
func WithKeys(primary, secondary string) DeviceOption {
	return func(o *deviceOptions) {
		o.body = o.body.With("authentication", Authentication{Type: "sas", PrimaryKey: primary, SecondaryKey: secondary}.document())
	}
}

// WithModel creates the device as if it had announced a model before.
func WithModel(id string) DeviceOption { return func(o *deviceOptions) { o.model = id } }

// WithTags sets tags after creation.
func WithTags(patch string) DeviceOption { return func(o *deviceOptions) { o.tags = patch } }

// WithDesired writes desired properties after creation.
func WithDesired(patch string) DeviceOption { return func(o *deviceOptions) { o.desired = patch } }

// WithReported writes reported properties after creation.
func WithReported(patch string) DeviceOption { return func(o *deviceOptions) { o.reported = patch } }

// CreateDevice creates a device.
func (h *Hub) CreateDevice(id string, opts ...DeviceOption) error {
	o := deviceOptions{body: jsontree.Object{{Name: "deviceId", Value: id}}}
	for _, opt := range opts {
		opt(&o)
	}
	if _, err := h.PutIdentity(id, o.body, ""); err != nil {
		return err
	}
	return h.fill(id, o)
}

func (h *Hub) fill(id string, o deviceOptions) error {
	if o.model != "" {
		if err := h.setModel(id, o.model); err != nil {
			return err
		}
	}
	steps := []struct {
		patch string
		apply func(id, patch string) error
	}{
		{o.tags, h.SetTags},
		{o.desired, func(id, patch string) error { return h.PatchDesired(id, patch, "") }},
		{o.reported, h.PatchReported},
	}
	for _, step := range steps {
		if step.patch == "" {
			continue
		}
		if err := step.apply(id, step.patch); err != nil {
			return err
		}
	}
	return nil
}

func (h *Hub) setModel(id, model string) error {
	_, err := h.update(id, func(t *Twin, _ time.Time) (*Twin, Change, error) {
		next := *t
		next.ModelID = model
		return &next, Change{Kind: ModelAnnounced}, nil
	})
	return err
}

// DeleteDevice deletes a device and its twin.
func (h *Hub) DeleteDevice(id string) error { return h.DeleteIdentity(id, "*") }

// Configure has a configuration of the hub hold at a twin: what the merge patches ask for is written, in its name, as far as the
// twin lacks it.
func (h *Hub) Configure(id, configuration string, patches []jsontree.Object) error {
	checked := make([]jsontree.Object, len(patches))
	for i, patch := range patches {
		var err error
		if checked[i], err = sectionPatch(patch); err != nil {
			return err
		}
	}
	_, err := h.write(id, "", func(t *Twin) (write, error) {
		w := write{kind: TwinUpdated, by: configuration}
		for _, patch := range checked {
			if !t.desired.root.holds(patch) {
				w.desired = joined(w.desired, patch)
			}
		}
		return w, nil
	})
	return err
}

// SetWholeConfigurationEvents decides what the event of a configuration's write says: the keys written, which is the default,
// or all desired properties with metadata only of those written, as users have reported of a real hub.
func (h *Hub) SetWholeConfigurationEvents(whole bool) { h.whole.Store(whole) }

// WholeConfigurationEvents returns what SetWholeConfigurationEvents set.
func (h *Hub) WholeConfigurationEvents() bool { return h.whole.Load() }

// joined is two patches of different paths as one.
func joined(a, b jsontree.Object) jsontree.Object {
	for _, m := range b {
		was, _ := a.Get(m.Name)
		before, isObject := was.(jsontree.Object)
		after, both := m.Value.(jsontree.Object)
		if isObject && both {
			a = a.With(m.Name, joined(before, after))
			continue
		}
		a = a.With(m.Name, m.Value)
	}
	return a
}

// SetConfigurations notes the status of the configurations that target a twin. That is not announced.
func (h *Hub) SetConfigurations(id string, statuses jsontree.Object) error {
	_, err := h.update(id, func(t *Twin, _ time.Time) (*Twin, Change, error) {
		if bytes.Equal(jsontree.Append(nil, t.Configurations), jsontree.Append(nil, statuses)) {
			return t, Change{}, nil
		}
		next := *t
		next.Configurations = statuses
		return &next, Change{}, nil
	})
	return err
}
