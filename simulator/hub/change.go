package hub

import (
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// ChangeKind is what happened to a device.
type ChangeKind string

const (
	// Created is a new identity with its fresh twin.
	Created ChangeKind = "Created"
	// Deleted is an identity that is gone with its twin; After is nil.
	Deleted ChangeKind = "Deleted"
	// IdentityUpdated is a write of the identity; the twin's deviceEtag moved.
	IdentityUpdated ChangeKind = "IdentityUpdated"
	// TwinUpdated is a merge into tags, desired or reported.
	TwinUpdated ChangeKind = "TwinUpdated"
	// TwinReplaced is a PUT of tags and desired.
	TwinReplaced ChangeKind = "TwinReplaced"
	// Connected is a device that came online.
	Connected ChangeKind = "Connected"
	// Disconnected is a device that went offline.
	Disconnected ChangeKind = "Disconnected"
	// ModelAnnounced is a device that connected with another model id than before.
	ModelAnnounced ChangeKind = "ModelAnnounced"
	// Rewound is a device that a failover of the hub put back to an earlier state; the real hub announces nothing.
	Rewound ChangeKind = "Rewound"
)

// Change is one committed change. Before and After are immutable. Tags, Desired and Reported are exactly the keys that
// were written, null for a removed one; a section that was not written is nil.
type Change struct {
	Seq      uint64 // hub-wide, ascending per device
	At       time.Time
	DeviceID string
	ModuleID string // of a change of a module; Subscribe leaves those out
	Kind     ChangeKind
	By       string // name of the configuration that wrote it, if one did
	Service  bool   // it was asked for over the service API, not by the device and not behind the hub's back

	// Whole says that the event has all desired properties, and metadata only of those that were written.
	Whole bool

	Tags, Desired, Reported jsontree.Object

	Before, After *Twin
}

// Notification is the body of the twin change event of a TwinUpdated change: the keys written, with their metadata.
func (c Change) Notification() jsontree.Object {
	o := jsontree.Object{{Name: "version", Value: c.After.version}}
	if c.Tags != nil {
		o = append(o, jsontree.Member{Name: "tags", Value: c.Tags})
	}
	properties := jsontree.Object{}
	if c.Desired != nil {
		desired := c.After.desired.notification(c.Desired)
		if c.Whole {
			desired = append(c.After.Desired(), desired[len(desired)-2:]...)
		}
		properties = append(properties, jsontree.Member{Name: "desired", Value: desired})
	}
	if c.Reported != nil {
		properties = append(properties, jsontree.Member{Name: "reported", Value: c.After.reported.notification(c.Reported)})
	}
	if len(properties) > 0 {
		o = append(o, jsontree.Member{Name: "properties", Value: properties})
	}
	return o
}

func (s section) notification(patch jsontree.Object) jsontree.Object {
	return patch.With("$metadata", s.root.metadataOf(patch)).With("$version", s.version)
}

// Subscribe calls f for every change of a device from now on, in order per device, until cancel is called. f runs inside the
// commit: it must be quick and must not call the hub for the same device; hand the change to a queue.
func (h *Hub) Subscribe(f func(Change)) (cancel func()) {
	return h.SubscribeAll(func(c Change) {
		if c.ModuleID == "" {
			f(c)
		}
	})
}

// SubscribeAll is Subscribe for changes of modules, too.
func (h *Hub) SubscribeAll(f func(Change)) (cancel func()) {
	h.subscribers.mu.Lock()
	defer h.subscribers.mu.Unlock()
	h.subscribers.next++
	key := h.subscribers.next
	h.subscribers.replace(func(m map[int]func(Change)) { m[key] = f })
	return func() {
		h.subscribers.mu.Lock()
		defer h.subscribers.mu.Unlock()
		h.subscribers.replace(func(m map[int]func(Change)) { delete(m, key) })
	}
}
