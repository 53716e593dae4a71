package convergence

import (
	"iter"
	"maps"
	"slices"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// Status is the durable cache: this file turns it into what package twin works on.

// JSONOf is a value in the form that status has it in, nil for none. FactOf is the inverse: nothing
// reads a value of status in any other way.
func JSONOf(v any) *apiextensionsv1.JSON {
	if raw := storable.Encode(v); raw != nil {
		return &apiextensionsv1.JSON{Raw: raw}
	}
	return nil
}

// FactOf is a value of status in the form that package twin works on, nil for none.
func FactOf(j *apiextensionsv1.JSON) any {
	if j == nil {
		return nil
	}
	return storable.Decode(j.Raw)
}

// Entries are the properties of a status by leaf.
type Entries map[twin.Leaf]v1alpha1.PropertyStatus

// EntriesOf returns the properties of a status by leaf.
func EntriesOf(status *v1alpha1.PnPDeviceStatus) Entries {
	all := Entries{}
	for leaf, p := range PropertiesOf(status) {
		all[leaf] = *p
	}
	return all
}

// PropertiesOf goes through the properties of a status in its own order, which is sorted.
func PropertiesOf(status *v1alpha1.PnPDeviceStatus) iter.Seq2[twin.Leaf, *v1alpha1.PropertyStatus] {
	return func(yield func(twin.Leaf, *v1alpha1.PropertyStatus) bool) {
		of := func(component string, properties []v1alpha1.PropertyStatus) (goOn bool) {
			for i := range properties {
				if !yield(twin.Leaf{Component: component, Name: properties[i].Name}, &properties[i]) {
					return false
				}
			}
			return true
		}
		goOn := of("", status.Properties)
		for i := 0; goOn && i < len(status.Components); i++ {
			goOn = of(status.Components[i].Name, status.Components[i].Properties)
		}
	}
}

func (e Entries) sorted() []twin.Leaf { return slices.SortedFunc(maps.Keys(e), twin.CompareLeaves) }

// writeTo lays the entries out in status, sorted, with what a twin says of their components.
func (e Entries) writeTo(status *v1alpha1.PnPDeviceStatus, t *twin.Twin) {
	status.Properties = nil
	var components []v1alpha1.ComponentStatus
	for _, leaf := range e.sorted() {
		if leaf.Component == "" {
			status.Properties = append(status.Properties, e[leaf])
			continue
		}
		if n := len(components); n == 0 || components[n-1].Name != leaf.Component {
			name := leaf.Component
			exists := t.Components[name]
			components = append(components, v1alpha1.ComponentStatus{Name: name, Exists: exists, Unmarked: exists && t.LacksMarker(name)})
		}
		last := &components[len(components)-1]
		last.Properties = append(last.Properties, e[leaf])
	}
	status.Components = components
}

// ownership is what status recorded as the object's. The last value of a drifted leaf is not in status.
func (e Entries) ownership() twin.Ownership {
	o := twin.Ownership{Held: map[twin.Leaf]twin.Owned{}, Lost: map[twin.Leaf]any{}}
	for leaf, p := range e {
		switch {
		case IsHeld(&p):
			o.Held[leaf] = twin.Owned{Value: FactOf(p.Desired), Version: HeldVersion(&p), SetVersion: p.DesiredVersion}
		case isLost(&p):
			o.Lost[leaf] = nil
		}
	}
	return o
}

// OwnsAnything reports whether anything at the hub is the object's, or may be.
func (e Entries) OwnsAnything() bool {
	for _, p := range e {
		if p.Owned || p.Sent != nil {
			return true
		}
	}
	return false
}

// IsHeld reports whether the hub held a value of the object when status was written.
func IsHeld(p *v1alpha1.PropertyStatus) bool {
	return p.Owned && !isLost(p) && !isLegacyClaim(p)
}

// isLost reports whether the hub held another writer's value, or none, in place of one of the object's. A value of the object
// that an observing one declares otherwise has drifted as well, but its version is in status.
func isLost(p *v1alpha1.PropertyStatus) bool {
	return p.Owned && p.State == StateOf(twin.StateDrifted) && p.HeldVersion == 0
}

// HeldVersion is the version that the hub shows for a value.
func HeldVersion(p *v1alpha1.PropertyStatus) int64 { return max(p.DesiredVersion, p.HeldVersion) }

// SentOf are the values that status records as about to be sent. It is nil if there are none.
func SentOf(status *v1alpha1.PnPDeviceStatus) map[twin.Leaf]twin.Sent {
	var all map[twin.Leaf]twin.Sent
	for leaf, p := range PropertiesOf(status) {
		var sent twin.Sent
		switch {
		case p.Sent != nil:
			sent = twin.Sent{Value: FactOf(&p.Sent.Value), Version: p.Sent.Version}
		case isLegacyClaim(p) && status.Twin != nil:
			sent = twin.Sent{Value: FactOf(p.Desired), Version: status.Twin.DesiredVersion + 1}
		default:
			continue
		}
		if all == nil {
			all = map[twin.Leaf]twin.Sent{}
		}
		all[leaf] = sent
	}
	return all
}

// isLegacyClaim reports whether an operator before 0.2 recorded the value as about to be sent: owned, and of no version.
func isLegacyClaim(p *v1alpha1.PropertyStatus) bool {
	return p.Owned && p.DesiredVersion == 0 && p.Desired != nil && p.State == StateOf(twin.StatePending)
}

// StateOf is a state as status has it.
func StateOf(s twin.State) v1alpha1.PropertyState { return v1alpha1.PropertyState(s) }

// isKnown reports whether status says what the hub holds for a leaf. That it holds nothing is not known for sure, and a
// drifted leaf is in someone else's hands.
func (e Entries) isKnown(leaf twin.Leaf) bool {
	p, ok := e[leaf]
	return ok && p.DesiredVersion > 0 && p.State != StateOf(twin.StateReported) && p.State != StateOf(twin.StateDrifted)
}

// Belief is the twin as far as status knows it: the leaves of status only.
func Belief(status *v1alpha1.PnPDeviceStatus) *twin.Twin {
	ref := status.Twin
	t := &twin.Twin{
		Partial: true, DeviceID: ref.DeviceID, ModelID: status.ModelID, ETag: ref.Etag, DeviceETag: ref.DeviceEtag,
		Version: ref.Version, DesiredVersion: ref.DesiredVersion,
		ConnectionState: status.ConnectionState, ConnectionStateSince: timeOf(status.ConnectionStateSince),
		Properties: map[twin.Leaf]twin.Property{}, Components: map[string]bool{}, Unmarked: map[string]bool{},
	}
	if status.DeviceStatus == Disabled {
		t.Status, t.StatusReason, t.StatusSince = twinDisabled, status.DeviceStatusReason, timeOf(status.DeviceStatusSince)
	}
	for _, c := range status.Components {
		if c.Exists {
			t.Components[c.Name] = true
		}
		if c.Exists && (c.Unmarked || !isDesired(c.Properties)) { // what is not there has no marker, as far as is known
			t.Unmarked[c.Name] = true
		}
	}
	for leaf, p := range PropertiesOf(status) {
		t.Properties[leaf] = twin.Property{Desired: believedDesired(p), Reported: believedReported(p)}
	}
	return t
}

// isDesired reports whether the hub holds a desired value of some of the properties.
func isDesired(properties []v1alpha1.PropertyStatus) bool {
	return slices.ContainsFunc(properties, func(p v1alpha1.PropertyStatus) bool { return believedDesired(&p) != nil })
}

func timeOf(t *metav1.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return t.Time
}

func believedDesired(p *v1alpha1.PropertyStatus) *twin.Desired {
	if p.Desired == nil || p.DesiredVersion == 0 || p.State == StateOf(twin.StateReported) {
		return nil
	}
	return &twin.Desired{Value: FactOf(p.Desired), Version: HeldVersion(p)}
}

// believedReported rebuilds what the device said. Where values are not mirrored (reported: None), or omitted, the state itself
// tells whether the value was the desired one.
func believedReported(p *v1alpha1.PropertyStatus) *twin.Reported {
	if p.Reported == nil && p.AckCode == 0 {
		return nil
	}
	r := &twin.Reported{Value: FactOf(p.Reported)}
	if p.State == StateOf(twin.StateAcknowledged) {
		switch omitted, isOmitted := r.Value.(twin.Omitted); {
		case p.Reported == nil:
			r.Value = FactOf(p.Desired)
		case isOmitted:
			omitted.Matched = FactOf(p.Desired)
			r.Value = omitted
		}
	}
	if p.AckCode != 0 {
		r.Ack = &twin.Ack{Version: p.AckVersion, Code: p.AckCode, Description: p.AckDescription}
	}
	return r
}
