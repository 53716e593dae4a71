package twin

import (
	"encoding/json"
	"reflect"
	"slices"
	"strconv"
)

// Keys of an acknowledgement envelope, by the IoT Plug and Play conventions on writable properties.
const (
	envelopeValue       = "value"
	envelopeCode        = "ac"
	envelopeVersion     = "av"
	envelopeDescription = "ad"
)

// newReported takes an acknowledgement envelope apart: an object with "value" and "ac" or "av". One whose "ac" or "av" is
// missing or not an integer acknowledges nothing, but its value is still what the device holds. Of a valid one, what meta
// shows to be left over from earlier reports is left out.
func newReported(value, meta any) *Reported {
	r := &Reported{Value: value}
	r.LastUpdated, _ = newestUpdate(meta)
	envelope, ok := value.(map[string]any)
	if !ok || !isEnvelope(envelope) {
		return r
	}
	r.Value = envelope[envelopeValue]
	r.Ack = newAck(envelope[envelopeVersion], envelope[envelopeCode], envelope[envelopeDescription])
	r.leaveOut(meta)
	r.keep(envelope)
	return r
}

// keep keeps the envelope if value and acknowledgement do not tell all of it.
func (r *Reported) keep(envelope map[string]any) {
	r.Envelope = nil
	if !r.Ack.tellsAllOf(envelope, r.Value) {
		r.Envelope = envelope
	}
}

func isEnvelope(fields map[string]any) bool {
	_, code := fields[envelopeCode]
	_, version := fields[envelopeVersion]
	_, value := fields[envelopeValue]
	return value && (code || version)
}

// newAck is nil without an integer version and code.
func newAck(version, code, description any) *Ack {
	av, okVersion := integer(version)
	ac, okCode := integer(code)
	if !okVersion || !okCode {
		return nil
	}
	ad, _ := description.(string)
	return &Ack{Version: av, Code: ac, Description: ad}
}

// tellsAllOf is true if the envelope can be rebuilt from the acknowledgement and the value.
func (a *Ack) tellsAllOf(envelope map[string]any, value any) bool {
	if a == nil {
		return false
	}
	rebuilt := a.envelope(value)
	return len(rebuilt) == len(envelope) &&
		rebuilt[envelopeCode] == envelope[envelopeCode] && rebuilt[envelopeVersion] == envelope[envelopeVersion] &&
		rebuilt[envelopeDescription] == envelope[envelopeDescription] && reflect.DeepEqual(value, envelope[envelopeValue])
}

// envelope is the object that a device reports for the acknowledgement and a value.
func (a *Ack) envelope(value any) map[string]any {
	fields := map[string]any{
		envelopeValue:   value,
		envelopeCode:    json.Number(strconv.FormatInt(a.Code, 10)),
		envelopeVersion: json.Number(strconv.FormatInt(a.Version, 10)),
	}
	if a.Description != "" {
		fields[envelopeDescription] = a.Description
	}
	return fields
}

// possibleEnvelopes are those that an acknowledgement and a value may have come from.
func possibleEnvelopes(ack *Ack, values []any) []any {
	var all []any
	for _, v := range withLeftovers(values) {
		more := ack.envelope(v)
		more[unknownKey] = unknown{}
		all = append(all, ack.envelope(v), more)
	}
	return all
}

// possiblyEnveloped are the values as they are and, if the patch writes what belongs into an envelope, in one without a
// valid acknowledgement. To suspect one behind every plain value would cost a read for each object that a device updates.
func possiblyEnveloped(values []any, patch any) []any {
	if !touchesEnvelope(patch) {
		return values
	}
	all := values
	for _, v := range values {
		all = append(all,
			map[string]any{envelopeValue: v, envelopeCode: unknown{}},
			map[string]any{envelopeValue: v, envelopeVersion: unknown{}})
	}
	return all
}

func touchesEnvelope(patch any) bool {
	fields, _ := patch.(map[string]any)
	return touches(fields, envelopeValue, envelopeCode, envelopeVersion, envelopeDescription)
}

// touches is true if a patch writes or removes one of some keys.
func touches(patch map[string]any, keys ...string) bool {
	return slices.ContainsFunc(keys, func(key string) bool { _, ok := patch[key]; return ok })
}
