package models

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strconv"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

// longInteger has as many digits as an integer beyond 64 bits signed at least.
var longInteger = regexp.MustCompile(`[0-9]{19}`)

// requestOf is the schema of a command's payload, nil if there is none.
func requestOf(device *dtdl.Interface, spec *v1alpha1.DeviceCommandSpec) *dtdl.Schema {
	holder := device
	if device != nil && spec.Component != "" {
		holder, _ = componentOf(device, spec.Component)
	}
	if holder == nil {
		return nil
	}
	command := holder.Command(spec.Command)
	if command == nil || command.Request == nil {
		return nil
	}
	return command.Request.Schema
}

// rounded lists the integers of a payload that are beyond 64 bits signed: the API server keeps doubles of them, so that
// nobody can tell what was written. Where the schema has a double or a float, that is what was meant.
func rounded(schema *dtdl.Schema, payload *apiextensionsv1.JSON) []string {
	if payload == nil || len(payload.Raw) > declaration.MaxPayload || !longInteger.Match(payload.Raw) {
		return nil
	}
	var found declaration.Violations
	roundedIn(schema, declaration.Value(payload), "spec.payload", &found)
	return found.Texts()
}

func roundedIn(schema *dtdl.Schema, value any, path string, found *declaration.Violations) {
	switch v := value.(type) {
	case json.Number:
		isFloating := schema != nil && (schema.Kind == dtdl.Double || schema.Kind == dtdl.Float)
		if _, err := strconv.ParseInt(string(v), 10, 64); err == nil || isFloating || strings.ContainsAny(string(v), ".eE") {
			return
		}
		found.Add(func() string {
			return fmt.Sprintf("%s is an integer beyond 64 bits signed, which Kubernetes keeps as a double and makes %s, whatever was written: send it as text, or one from -9223372036854775808 to 9223372036854775807", path, v)
		})
	case []any:
		for i, item := range v {
			roundedIn(elementOf(schema), item, fmt.Sprintf("%s[%d]", path, i), found)
		}
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(v)) {
			part := elementOf(schema)
			if schema != nil && schema.Fields[name] != nil {
				part = schema.Fields[name].Schema
			}
			roundedIn(part, v[name], path+"."+name, found)
		}
	}
}

func elementOf(schema *dtdl.Schema) *dtdl.Schema {
	if schema == nil {
		return nil
	}
	return schema.Element
}
