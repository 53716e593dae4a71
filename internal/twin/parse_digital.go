package twin

import "fmt"

// ParseDigitalTwin reads the body of GET /digitaltwins/{id}; etag is the response's ETag header, which is the device twin's
// etag, quoted or not. The layout is Microsoft's "Understand IoT Plug and Play digital twins": the value of a property is the
// reported one, and $metadata beside it holds the desired value and the acknowledgement. No error repeats the body.
//
// Of the device twin's fields the dialect lacks DeviceETag, Version, ReportedVersion, the sections' times, ConnectionState, Status and Desired.By,
// and DesiredVersion is only the highest that a property shows.
func ParseDigitalTwin(body []byte, etag string) (*Twin, error) {
	var root map[string]any
	if err := decode(body, &root); err != nil {
		return nil, fmt.Errorf("decode digital twin: %w", err)
	}
	t, err := newDigitalTwin(root)
	if err != nil {
		return nil, fmt.Errorf("decode digital twin: %w", err)
	}
	t.ETag = unquoteETag(etag)
	if err := t.plausible(); err != nil {
		return nil, fmt.Errorf("decode digital twin: %w", err)
	}
	return t, nil
}

func newDigitalTwin(root map[string]any) (*Twin, error) {
	id, err := text(root, "$dtId")
	if err != nil {
		return nil, err
	}
	if id == "" {
		return nil, errNoDevice
	}
	metadata, err := object(root, metadataKey)
	if err != nil {
		return nil, err
	}
	model, err := text(metadata, "$model")
	if err != nil {
		return nil, err
	}
	t := &Twin{DeviceID: id, ModelID: modelOf(model), Properties: map[Leaf]Property{}, Components: map[string]bool{}}
	return t, t.addDigital(root, metadata)
}

// addDigital adds the default component and, from among its keys, the other ones.
func (t *Twin) addDigital(root, metadata map[string]any) error {
	plain := map[string]any{}
	for name, value := range root {
		fields, inner := digitalComponent(name, value)
		if inner == nil {
			plain[name] = value
			continue
		}
		t.Components[name] = true
		if err := t.addDigitalComponent(name, fields, inner); err != nil {
			return err
		}
	}
	return t.addDigitalComponent("", plain, metadata)
}

// digitalComponent tells a component from an object-valued property: it has its own $metadata, which is returned.
func digitalComponent(name string, value any) (fields, metadata map[string]any) {
	if name == "" || !isLeafName(name) {
		return nil, nil
	}
	fields, _ = value.(map[string]any)
	metadata, _ = fields[metadataKey].(map[string]any)
	return fields, metadata
}

func (t *Twin) addDigitalComponent(component string, fields, metadata map[string]any) error {
	eachProperty(fields, func(name string, value any) {
		t.setReported(Leaf{Component: component, Name: name}, &Reported{Value: value})
	})
	for name := range metadata {
		if !isLeafName(name) {
			continue
		}
		if err := t.addDigitalMetadata(Leaf{Component: component, Name: name}, metadata); err != nil {
			return err
		}
	}
	return nil
}

func (t *Twin) addDigitalMetadata(leaf Leaf, metadata map[string]any) error {
	entry, err := object(metadata, leaf.Name)
	if err != nil {
		return err
	}
	desired, err := version(entry, "desiredVersion")
	if err != nil {
		return fmt.Errorf("property %s: %w", quote(leaf.String()), err)
	}
	if value := entry["desiredValue"]; value != nil {
		t.setDesired(leaf, &Desired{Value: value, Version: desired})
		t.DesiredVersion = max(t.DesiredVersion, desired)
	}
	if reported := t.Properties[leaf].Reported; reported != nil {
		t.setReported(leaf, newDigitalReport(reported.Value, entry))
	}
	return nil
}

// newDigitalReport puts the acknowledgement, if there is one, back around the value.
func newDigitalReport(value any, entry map[string]any) *Reported {
	meta := map[string]any{lastUpdatedKey: entry["lastUpdateTime"]} // the dialect has one time for the property
	envelope := map[string]any{envelopeValue: value}
	for from, to := range map[string]string{"ackVersion": envelopeVersion, "ackCode": envelopeCode, "ackDescription": envelopeDescription} {
		if v := entry[from]; v != nil {
			envelope[to] = v
		}
	}
	if !isEnvelope(envelope) {
		updated, _ := newestUpdate(meta)
		return &Reported{Value: value, LastUpdated: updated}
	}
	return newReported(envelope, meta)
}
