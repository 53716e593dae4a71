package twin

import (
	"errors"
	"fmt"
	"time"
)

// errNoDevice is what keeps some other JSON object, such as an error's, from passing for an empty twin.
var errNoDevice = errors.New("no device id: not a twin")

// ParseDeviceTwin reads the body of GET or PATCH /twins/{id}, or of a query row with all columns. It needs a device id and
// right types; what is missing is empty, what is unknown is ignored. No error repeats the body.
//
// An object with "__t": "c" on either side is a component, and the keys of that name on both sides are its leaves. Any other
// object is one property of the default component.
func ParseDeviceTwin(body []byte) (*Twin, error) {
	var wire deviceTwin
	if err := decode(body, &wire); err != nil {
		return nil, fmt.Errorf("decode device twin: %w", err)
	}
	t, err := wire.twin()
	if err != nil {
		return nil, fmt.Errorf("decode device twin: %w", err)
	}
	return t, nil
}

// deviceTwin is schema Twin of the IoT Hub service API 2021-04-12, plus modelId, which the hub sends and the schema lacks.
type deviceTwin struct {
	DeviceID        string `json:"deviceId"`
	ModelID         string `json:"modelId"`
	ETag            string `json:"etag"`
	DeviceETag      string `json:"deviceEtag"`
	Version         int64  `json:"version"`
	ConnectionState string `json:"connectionState"`
	Status          string `json:"status"`
	StatusReason    string `json:"statusReason"`
	StatusUpdated   string `json:"statusUpdateTime"`
	Properties      struct {
		Desired  map[string]any `json:"desired"`
		Reported map[string]any `json:"reported"`
	} `json:"properties"`
}

func (w *deviceTwin) twin() (*Twin, error) {
	if w.DeviceID == "" {
		return nil, errNoDevice
	}
	desired, err := newSection(w.Properties.Desired)
	if err != nil {
		return nil, fmt.Errorf("desired: %w", err)
	}
	reported, err := newSection(w.Properties.Reported)
	if err != nil {
		return nil, fmt.Errorf("reported: %w", err)
	}
	statusSince, _ := instant(w.StatusUpdated)
	t := &Twin{
		DeviceID: w.DeviceID, ModelID: modelOf(w.ModelID),
		ETag: unquoteETag(w.ETag), DeviceETag: unquoteETag(w.DeviceETag),
		Version: w.Version, DesiredVersion: desired.version, ReportedVersion: reported.version,
		DesiredUpdated: desired.updated(), ReportedUpdated: reported.updated(),
		ConnectionState: w.ConnectionState,
		Status:          w.Status, StatusReason: w.StatusReason, StatusSince: statusSince,
		Properties: map[Leaf]Property{}, Components: map[string]bool{},
	}
	if err := t.plausible(); err != nil {
		return nil, err
	}
	desired.markComponents(t.Components)
	reported.markComponents(t.Components)
	for name := range t.Components {
		t.setUnmarked(name, !desired.marks(name))
	}
	desired.eachLeaf(t.Components, func(leaf Leaf, value any, meta metadataPath) {
		t.setDesired(leaf, &Desired{Value: value, Version: meta.version(), By: configurationIn(meta.own())})
	})
	reported.eachLeaf(t.Components, func(leaf Leaf, value any, meta metadataPath) {
		t.setReported(leaf, newReported(value, meta.own()))
	})
	return t, nil
}

// section is desired or reported.
type section struct {
	fields   map[string]any
	metadata map[string]any
	version  int64
}

func newSection(fields map[string]any) (section, error) {
	metadata, err := object(fields, metadataKey)
	if err != nil {
		return section{}, err
	}
	v, err := version(fields, versionKey)
	if err != nil {
		return section{}, err
	}
	return section{fields: fields, metadata: metadata, version: v}, nil
}

// updated is the hub's time of the section's last write.
func (s section) updated() time.Time {
	at, _ := instant(s.metadata[lastUpdatedKey])
	return at
}

func (s section) markComponents(components map[string]bool) {
	for name := range s.fields {
		if s.marks(name) {
			components[name] = true
		}
	}
}

// marks is true if the section holds a component of that name, with its marker.
func (s section) marks(name string) bool {
	fields, isObject := s.fields[name].(map[string]any)
	return isObject && name != "" && isLeafName(name) && fields[componentMarker] == markerValue
}

// eachLeaf visits every leaf that is not null, with the metadata on the way to it.
func (s section) eachLeaf(components map[string]bool, visit func(Leaf, any, metadataPath)) {
	eachProperty(s.fields, func(name string, value any) {
		meta := metadataPath{s.metadata, s.metadata[name]}
		fields, isObject := value.(map[string]any)
		if !isObject || !components[name] {
			visit(Leaf{Name: name}, value, meta)
			return
		}
		inner, _ := s.metadata[name].(map[string]any)
		eachProperty(fields, func(key string, value any) {
			visit(Leaf{Component: name, Name: key}, value, append(meta[:2:2], inner[key]))
		})
	})
}

// eachProperty skips what is no property, and null, which means absent in a twin.
func eachProperty(fields map[string]any, visit func(name string, value any)) {
	for name, value := range fields {
		if value != nil && isLeafName(name) {
			visit(name, value)
		}
	}
}
