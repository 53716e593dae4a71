package hub

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Twin is one committed state of a device: its identity and its twin. It never changes; the next write makes a new one.
type Twin struct {
	Identity Identity
	ModelID  string
	// Configurations of the hub that target it, with their status.
	Configurations jsontree.Object

	counter  int64 // of the etag: moves on tags and desired writes only
	version  int64 // moves on every write of the twin
	tags     *node // nil until tags are set
	desired  section
	reported section
}

// section is desired or reported.
type section struct {
	version int64
	root    *node
}

func newTwin(id Identity, at time.Time) *Twin {
	s := &stamp{at: at}
	return &Twin{
		Identity: id,
		counter:  1,
		version:  2,
		desired:  section{1, empty(s)},
		reported: section{1, empty(s)},
	}
}

// ETag returns the twin's etag, the base64 form of a counter that moves on tags and desired writes only.
func (t *Twin) ETag() string { return twinETag(t.counter) }

// ETagCounter returns the number that ETag encodes.
func (t *Twin) ETagCounter() int64 { return t.counter }

// Version returns the twin's version: it equals ETagCounter plus ReportedVersion.
func (t *Twin) Version() int64 { return t.version }

// DesiredVersion returns properties.desired.$version.
func (t *Twin) DesiredVersion() int64 { return t.desired.version }

// ReportedVersion returns properties.reported.$version.
func (t *Twin) ReportedVersion() int64 { return t.reported.version }

// Tags returns the tags; nil if none were ever set.
func (t *Twin) Tags() jsontree.Object {
	if t.tags == nil {
		return nil
	}
	return t.tags.json().(jsontree.Object)
}

// Desired returns the desired properties without $metadata and $version.
func (t *Twin) Desired() jsontree.Object { return t.desired.root.json().(jsontree.Object) }

// Reported returns the reported properties without $metadata and $version.
func (t *Twin) Reported() jsontree.Object { return t.reported.root.json().(jsontree.Object) }

// DesiredAt returns the desired value at a path such as "thermostat1", "targetTemperature".
func (t *Twin) DesiredAt(path ...string) (any, bool) { return t.desired.root.at(path) }

// ReportedAt returns the reported value at a path.
func (t *Twin) ReportedAt(path ...string) (any, bool) { return t.reported.root.at(path) }

func (n *node) at(path []string) (any, bool) {
	for _, name := range path {
		n = n.child(name)
	}
	if n == nil {
		return nil, false
	}
	return n.json(), true
}

// document is the section with its $metadata and $version.
func (s section) document() jsontree.Object {
	return append(s.root.json().(jsontree.Object),
		jsontree.Member{Name: "$metadata", Value: s.root.metadata()},
		jsontree.Member{Name: "$version", Value: s.version})
}

// Document is the twin as the hub returns it.
func (t *Twin) Document() jsontree.Object {
	o := make(jsontree.Object, 0, 16)
	for _, a := range attributes {
		if v, ok := a.value(t); ok {
			o = append(o, jsontree.Member{Name: a.name, Value: v})
		}
	}
	return o
}

// JSON is Document, encoded.
func (t *Twin) JSON() []byte { return jsontree.Append(make([]byte, 0, 1024), t.Document()) }

// attribute is one top-level member of a twin; value reports false where the hub leaves it out.
type attribute struct {
	name  string
	value func(*Twin) (any, bool)
}

func always(f func(*Twin) any) func(*Twin) (any, bool) {
	return func(t *Twin) (any, bool) { return f(t), true }
}

func unlessEmpty(f func(*Twin) string) func(*Twin) (any, bool) {
	return func(t *Twin) (any, bool) { s := f(t); return s, s != "" }
}

// attributes are in the order in which Microsoft's samples show them.
var attributes = []attribute{
	{"deviceId", always(func(t *Twin) any { return t.Identity.DeviceID })},
	{"moduleId", unlessEmpty(func(t *Twin) string { return t.Identity.ModuleID })},
	{"etag", always(func(t *Twin) any { return t.ETag() })},
	{"deviceEtag", always(func(t *Twin) any { return t.Identity.ETag })},
	{"status", always(func(t *Twin) any { return t.Identity.Status() })},
	{"statusReason", unlessEmpty(func(t *Twin) string { return t.Identity.StatusReason })},
	{"statusUpdateTime", always(func(t *Twin) any { return twinTime(t.Identity.StatusUpdated) })},
	{"connectionState", always(func(t *Twin) any { return t.Identity.ConnectionState() })},
	{"lastActivityTime", always(func(t *Twin) any { return twinTime(t.Identity.LastActivity) })},
	{"cloudToDeviceMessageCount", always(func(*Twin) any { return 0 })},
	{"authenticationType", always(func(t *Twin) any { return t.Identity.Authentication.Type })},
	{"x509Thumbprint", always(func(t *Twin) any { return t.Identity.Authentication.thumbprints() })},
	{"modelId", unlessEmpty(func(t *Twin) string { return t.ModelID })},
	{"version", always(func(t *Twin) any { return t.version })},
	{"tags", func(t *Twin) (any, bool) { tags := t.Tags(); return tags, len(tags) > 0 }},
	{"properties", always(func(t *Twin) any {
		return jsontree.Object{{Name: "desired", Value: t.desired.document()}, {Name: "reported", Value: t.reported.document()}}
	})},
	{"capabilities", func(t *Twin) (any, bool) {
		return jsontree.Object{{Name: "iotEdge", Value: t.Identity.IotEdge}}, t.Identity.ModuleID == ""
	}},
	{"configurations", func(t *Twin) (any, bool) { return t.Configurations, len(t.Configurations) > 0 }},
	{"deviceScope", unlessEmpty(func(t *Twin) string { return t.Identity.DeviceScope() })},
	{"parentScopes", func(t *Twin) (any, bool) { return t.Identity.parents() }},
}

// Lookup finds a value by path for a query; it reports false where the twin has none. The names of top-level
// attributes are matched without case: Microsoft's own examples write DeviceID and LastActivityTime.
func (t *Twin) Lookup(path []string) (any, bool) {
	if len(path) == 0 {
		return t.Document(), true
	}
	if v, ok, done := t.lookupProperty(path); done {
		return v, ok
	}
	for _, a := range attributes {
		if strings.EqualFold(a.name, path[0]) {
			v, ok := a.value(t)
			return descend(v, ok, path[1:])
		}
	}
	return nil, false
}

// lookupProperty answers for tags and single properties without rendering the rest of the twin.
func (t *Twin) lookupProperty(path []string) (v any, ok, done bool) {
	n := t.tags
	rest := path[1:]
	switch {
	case strings.EqualFold(path[0], "tags"):
	case strings.EqualFold(path[0], "properties") && len(rest) > 1 && !strings.HasPrefix(rest[1], "$"):
		n, rest = t.sectionRoot(rest[0]), rest[1:]
	default:
		return nil, false, false
	}
	if n == nil {
		return nil, false, true
	}
	return lookupNode(n, rest)
}

func (t *Twin) sectionRoot(name string) *node {
	switch {
	case strings.EqualFold(name, "desired"):
		return t.desired.root
	case strings.EqualFold(name, "reported"):
		return t.reported.root
	}
	return nil
}

func lookupNode(n *node, path []string) (v any, ok, done bool) {
	for len(path) > 0 && n != nil {
		n, path = n.child(path[0]), path[1:]
	}
	if n == nil {
		return nil, false, true
	}
	return n.json(), true, true
}

func descend(v any, ok bool, path []string) (any, bool) {
	for _, name := range path {
		o, isObject := v.(jsontree.Object)
		if !ok || !isObject {
			return nil, false
		}
		v, ok = o.Get(name)
	}
	return v, ok
}

// digest tells a configuration from another one: 18 digits as the hub shows them (azure-iot-sdk-java#1219), of no known meaning.
func digest(configuration string) string {
	sum := sha256.Sum256([]byte(configuration))
	return "637" + fmt.Sprintf("%015d", binary.BigEndian.Uint64(sum[:])%1e15)
}
