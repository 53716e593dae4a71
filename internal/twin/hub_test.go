package twin_test

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// hub is a reference model of one twin at an IoT hub: the rules that Microsoft documents for either dialect's PATCH, written
// down independently of the code under test and stricter than the hub where documentation is silent.
type hub struct {
	desired, reported         map[string]any // with component markers, without metadata
	desiredMeta, reportedMeta map[string]any // mirrors the structure
	desiredVersion            int64
	reportedVersion           int64
	counter                   uint64
	now                       time.Duration // since patchedAt
	by                        string        // the configuration that writes, "" if it is somebody else
}

type object = map[string]any

const patchedAt = "2026-11-22T10:00:00.1234567Z"

// eventsBegin is later than anything that hubs holds.
const eventsBegin = time.Hour

func (h *hub) clone() *hub {
	c := *h
	c.desired, c.reported = cloneJSON(h.desired).(object), cloneJSON(h.reported).(object)
	c.desiredMeta, c.reportedMeta = cloneJSON(h.desiredMeta).(object), cloneJSON(h.reportedMeta).(object)
	return &c
}

func cloneJSON(v any) any { return value(string(twin.EncodeValue(v))) }

func (h *hub) etag() string {
	return base64.StdEncoding.EncodeToString(binary.BigEndian.AppendUint64(nil, h.counter))
}

// touch stamps a metadata node, as the hub does for every key of a write whether or not its value changed.
func (h *hub) touch(node object) {
	delete(node, "$lastUpdatedBy")
	if h.by != "" {
		node["$lastUpdatedBy"] = h.by
	}
	node["$lastUpdated"], node["$lastUpdatedVersion"] = h.timestamp(), json.Number(fmt.Sprint(h.desiredVersion))
}

// touchReported stamps a node of the reported section, which has neither versions nor configurations.
func (h *hub) touchReported(node object) { node["$lastUpdated"] = h.timestamp() }

func (h *hub) timestamp() string { return at(patchedAt).Add(h.now).Format(time.RFC3339Nano) }

func (h *hub) version() int64 { return int64(h.counter) + h.reportedVersion }

func (h *hub) beginWrite() {
	h.desiredVersion++
	h.counter++
	h.touch(h.desiredMeta)
}

// patchDevice is PATCH /twins/{id}.
func (h *hub) patchDevice(body []byte) {
	patch := value(string(body)).(object)["properties"].(object)["desired"].(object)
	h.beginWrite()
	merge(h.desired, h.desiredMeta, patch, h.touch)
}

// merge is RFC 7396, with the metadata kept beside it.
func merge(fields, meta, patch object, touch func(node object)) {
	for key, v := range patch {
		if v == nil {
			delete(fields, key)
			delete(meta, key)
			continue
		}
		node, ok := meta[key].(object)
		if !ok {
			node = object{}
			meta[key] = node
		}
		touch(node)
		inner, isObject := v.(object)
		if !isObject {
			fields[key], meta[key] = v, object{}
			touch(meta[key].(object))
			continue
		}
		held, ok := fields[key].(object)
		if !ok {
			held = object{}
			fields[key] = held
		}
		merge(held, node, inner, touch)
	}
}

var errPatch = errors.New("the hub refuses the patch")

// patchDigital is PATCH /digitaltwins/{id}: all or nothing.
func (h *hub) patchDigital(body []byte) error {
	if bad := h.nonConformant(); len(bad) > 0 {
		return fmt.Errorf("%w: %v exists within the device twin and is not digital twin conformant property", errPatch, bad)
	}
	next := h.clone()
	next.beginWrite()
	for _, op := range value(string(body)).([]any) {
		if err := next.operate(op.(object)); err != nil {
			return err
		}
	}
	*h = *next
	return nil
}

func (h *hub) operate(op object) error {
	path, ok := strings.CutPrefix(op["path"].(string), "/")
	if !ok {
		return fmt.Errorf("%w: path %v", errPatch, op["path"])
	}
	segments := strings.Split(path, "/")
	for i, s := range segments {
		segments[i] = strings.NewReplacer("~1", "/", "~0", "~").Replace(s)
	}
	v, _ := op["value"].(object)
	_, isComponent := v["$metadata"]
	switch {
	case len(segments) == 2:
		return h.operateIn(segments[0], segments[1], op)
	case len(segments) == 1 && isComponent:
		return h.addComponent(segments[0], op)
	case len(segments) == 1 && (op["op"] == "remove" || !h.isComponent(segments[0])):
		// Removing a component clears all of its desired section, even where that is not one.
		return h.operateOn(h.desired, h.reported, h.desiredMeta, segments[0], op)
	}
	return fmt.Errorf("%w: %v", errPatch, op)
}

// addComponent sets the given properties and clears the desired value of all others.
func (h *hub) addComponent(name string, op object) error {
	_, desired := h.desired[name]
	_, reported := h.reported[name]
	fields := cloneJSON(op["value"]).(object)
	if meta, ok := fields["$metadata"].(object); !ok || len(meta) > 0 || op["op"] != "add" {
		return fmt.Errorf("%w: %v", errPatch, op)
	}
	if (desired || reported) && !h.isComponent(name) {
		return fmt.Errorf("%w: %s is a property", errPatch, name)
	}
	delete(fields, "$metadata")
	node := object{}
	h.desired[name], h.desiredMeta[name] = object{"__t": "c"}, node
	fields["__t"] = "c"
	h.touch(node)
	merge(h.desired[name].(object), node, fields, h.touch)
	return nil
}

func (h *hub) operateIn(component, name string, op object) error {
	if !h.isComponent(component) {
		return fmt.Errorf("%w: component %s does not exist", errPatch, component)
	}
	fields, ok := h.desired[component].(object)
	if !ok {
		fields = object{}
		h.desired[component], h.desiredMeta[component] = fields, object{}
	}
	fields["__t"] = "c"
	reported, _ := h.reported[component].(object)
	meta := h.desiredMeta[component].(object)
	h.touch(meta)
	if err := h.operateOn(fields, reported, meta, name, op); err != nil {
		return err
	}
	if len(fields) == 1 { // the marker
		delete(h.desired, component)
		delete(h.desiredMeta, component)
	}
	return nil
}

func (h *hub) operateOn(desired, reported, meta object, name string, op object) error {
	_, isDesired := desired[name]
	_, isReported := reported[name]
	present := isDesired || isReported
	switch {
	case op["op"] == "add" && !present, op["op"] == "replace" && present:
		delete(desired, name)
		delete(meta, name)
		merge(desired, meta, object{name: op["value"]}, h.touch)
	case op["op"] == "remove" && isDesired:
		delete(desired, name)
		delete(meta, name)
	default:
		return fmt.Errorf("%w: %v", errPatch, op)
	}
	return nil
}

func (h *hub) isComponent(name string) bool {
	desired, _ := h.desired[name].(object)
	reported, _ := h.reported[name].(object)
	return desired["__t"] == "c" || reported["__t"] == "c"
}

var dtdlName = regexp.MustCompile(`^[A-Za-z](?:[A-Za-z0-9_]{0,62}[A-Za-z0-9])?$`)

// nonConformant names the leaves for which the hub refuses every digital-twin patch.
func (h *hub) nonConformant() []string {
	var bad []string
	for _, section := range []object{h.desired, h.reported} {
		for leaf, v := range h.leaves(section) {
			if !dtdlName.MatchString(leaf.Component+"a") || !conforms(object{leaf.Name: unwrap(v)}, 0) {
				bad = append(bad, leaf.String())
			}
		}
	}
	return bad
}

func conforms(v any, depth int) bool {
	if _, isArray := v.([]any); isArray || depth > 6 {
		return false
	}
	fields, _ := v.(object)
	for name, inner := range fields {
		if !dtdlName.MatchString(name) || !conforms(inner, depth+1) {
			return false
		}
	}
	return len(fields) == 0 || depth < 6
}

// leaves flattens a section by the conventions: what either side marks is a component.
func (h *hub) leaves(section object) map[twin.Leaf]any {
	leaves := map[twin.Leaf]any{}
	for name, v := range section {
		fields, isObject := v.(object)
		if !isObject || !h.isComponent(name) {
			leaves[twin.Leaf{Name: name}] = v
			continue
		}
		for key, inner := range fields {
			if key != "__t" {
				leaves[twin.Leaf{Component: name, Name: key}] = inner
			}
		}
	}
	return leaves
}

// unwrap is the value inside an acknowledgement envelope.
func unwrap(v any) any {
	if fields, ok := v.(object); ok && isEnvelope(fields) {
		return fields["value"]
	}
	return v
}

func isEnvelope(fields object) bool {
	_, hasValue := fields["value"]
	return hasValue && (fields["ac"] != nil || fields["av"] != nil)
}

// withoutBareComponents drops desired components that hold nothing but their marker. A device-twin PATCH leaves them behind,
// a digital-twin PATCH does not.
func withoutBareComponents(section object) object {
	section = maps.Clone(section)
	maps.DeleteFunc(section, func(_ string, v any) bool {
		fields, ok := v.(object)
		return ok && len(fields) == 1 && fields["__t"] == "c"
	})
	return section
}

// deviceJSON is the body of GET /twins/{id}.
func (h *hub) deviceJSON() []byte {
	section := func(fields, meta object, version int64) object {
		s := maps.Clone(fields)
		s["$metadata"], s["$version"] = meta, json.Number(fmt.Sprint(version))
		return s
	}
	return twin.EncodeValue(object{
		"deviceId": "dev1", "modelId": "dtmi:com:example:TemperatureController;1",
		"etag": h.etag(), "deviceEtag": "NjEyMDQ0NTEz", "version": json.Number(fmt.Sprint(h.version())),
		"status": "enabled", "connectionState": "Connected", "x509Thumbprint": object{"PrimaryThumbprint": nil},
		"properties": object{
			"desired":  section(h.desired, h.desiredMeta, h.desiredVersion),
			"reported": section(h.reported, h.reportedMeta, h.reportedVersion),
		},
	})
}

// digitalJSON is the body of GET /digitaltwins/{id}: the mapping of "Understand IoT Plug and Play digital twins".
func (h *hub) digitalJSON() []byte {
	root := object{"$dtId": "dev1", "$metadata": object{"$model": "dtmi:com:example:TemperatureController;1"}}
	component := func(name string) object {
		if name == "" {
			return root
		}
		if _, ok := root[name]; !ok {
			root[name] = object{"$metadata": object{}}
		}
		return root[name].(object)
	}
	for _, section := range []object{h.desired, h.reported} {
		for name := range section {
			if h.isComponent(name) {
				component(name)
			}
		}
	}
	entry := func(leaf twin.Leaf) object {
		meta := component(leaf.Component)["$metadata"].(object)
		if _, ok := meta[leaf.Name]; !ok {
			meta[leaf.Name] = object{}
		}
		return meta[leaf.Name].(object)
	}
	for leaf, v := range h.leaves(h.reported) {
		component(leaf.Component)[leaf.Name] = unwrap(v)
		h.addReport(entry(leaf), leaf, v)
	}
	for leaf, v := range h.leaves(h.desired) {
		entry(leaf)["desiredValue"] = v
		entry(leaf)["desiredVersion"] = json.Number(fmt.Sprint(highest(metaOf(h.desiredMeta, leaf))))
	}
	return twin.EncodeValue(root)
}

func (h *hub) addReport(entry object, leaf twin.Leaf, v any) {
	entry["lastUpdateTime"] = metaOf(h.reportedMeta, leaf)["$lastUpdated"]
	fields, ok := v.(object)
	if !ok || !isEnvelope(fields) {
		return
	}
	for from, to := range map[string]string{"av": "ackVersion", "ac": "ackCode", "ad": "ackDescription"} {
		if fields[from] != nil {
			entry[to] = fields[from]
		}
	}
}

func metaOf(meta object, leaf twin.Leaf) object {
	if leaf.Component != "" {
		meta = meta[leaf.Component].(object)
	}
	return meta[leaf.Name].(object)
}

func highest(meta object) int64 {
	version, _ := meta["$lastUpdatedVersion"].(json.Number).Int64()
	for _, child := range meta {
		if node, ok := child.(object); ok {
			version = max(version, highest(node))
		}
	}
	return version
}
