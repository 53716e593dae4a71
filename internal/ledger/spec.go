package ledger

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strconv"
	"strings"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Key names an invocation within a namespace.
type Key struct {
	// Name of the DeviceCommand.
	Name string
	// Spec is the digest of its spec.
	Spec string
}

// KeyOf is the key of a command.
func KeyOf(c *v1alpha1.DeviceCommand) Key { return Key{Name: c.Name, Spec: digest(&c.Spec)} }

// digestSize is how many characters of a digest are kept: 96 bits. A collision would need two
// commands of one name in one namespace, both of the same author.
const digestSize = 16

// digest of a spec. Specs that mean the same have the same one: no payload and null, a number
// however it is written, an instant in whatever zone. A default is left out, so that a
// field that a later version adds does not make another command of a stored one.
func digest(spec *v1alpha1.DeviceCommandSpec) string {
	means := map[string]any{
		"deviceRef": spec.DeviceRef.Name, "component": spec.Component, "command": spec.Command, "notAfter": spec.NotAfter.Unix(),
	}
	if spec.Payload != nil && len(spec.Payload.Raw) > 0 {
		if payload := canonical(spec.Payload.Raw); payload != nil {
			means["payload"] = payload
		}
	}
	if spec.ConnectTimeoutSeconds != 0 {
		means["connectTimeoutSeconds"] = spec.ConnectTimeoutSeconds
	}
	if spec.ResponseTimeoutSeconds != 30 && spec.ResponseTimeoutSeconds != 0 {
		means["responseTimeoutSeconds"] = spec.ResponseTimeoutSeconds
	}
	if spec.OnUnknownOutcome == v1alpha1.UnknownRetry {
		means["onUnknownOutcome"] = spec.OnUnknownOutcome
	}
	if spec.TTLSecondsAfterFinished != nil {
		means["ttlSecondsAfterFinished"] = *spec.TTLSecondsAfterFinished
	}
	text, err := json.Marshal(means) // keys in order
	if err != nil {
		panic(err) // nothing in it cannot be encoded
	}
	sum := sha256.Sum256(text)
	return base64.RawURLEncoding.EncodeToString(sum[:])[:digestSize]
}

// canonical is a JSON value with each number written in one way. Text that is no JSON, which the API
// server never stores, stays as it is.
func canonical(raw []byte) any {
	decoder := json.NewDecoder(strings.NewReader(string(raw)))
	decoder.UseNumber()
	var value any
	if decoder.Decode(&value) != nil {
		return string(raw)
	}
	return plain(value)
}

func plain(value any) any {
	switch v := value.(type) {
	case map[string]any:
		for key := range v {
			v[key] = plain(v[key])
		}
	case []any:
		for i := range v {
			v[i] = plain(v[i])
		}
	case json.Number:
		if _, err := strconv.ParseInt(v.String(), 10, 64); err == nil {
			return v
		}
		f, err := v.Float64()
		if err != nil {
			return v.String()
		}
		if i := int64(f); float64(i) == f && i > -1<<53 && i < 1<<53 {
			return json.Number(strconv.FormatInt(i, 10))
		}
		return f
	}
	return value
}
