package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"strings"
	"time"
)

// answer is what the hub answered to a call.
type answer struct {
	status int
	header http.Header
	body   []byte
	took   time.Duration
}

// String is the status, and the name of the error if it is one: "404 DeviceNotFound".
func (a answer) String() string {
	if a.status < 300 {
		return fmt.Sprint(a.status)
	}
	return strings.TrimSpace(fmt.Sprintf("%d %s", a.status, a.errorName()))
}

// errorName is in a header or, before a semicolon, in the message.
func (a answer) errorName() string {
	if name := a.header.Get("Iothub-Errorcode"); name != "" {
		return name
	}
	name, _, _ := strings.Cut(strings.TrimPrefix(a.message(), "ErrorCode:"), ";")
	if strings.ContainsAny(name, " {") {
		return ""
	}
	return name
}

func (a answer) message() string {
	var envelope struct{ Message string }
	_ = json.Unmarshal(a.body, &envelope) // what is no JSON has no message
	return envelope.Message
}

// detailed adds the number of the error and the time that was over, which errors of direct methods have within their message.
func (a answer) detailed() string {
	var inner struct {
		ErrorCode json.Number
		Info      struct{ Timeout string }
	}
	_ = json.Unmarshal([]byte(a.message()), &inner) // other messages have neither
	text := a.String()
	if inner.ErrorCode != "" {
		text += " " + inner.ErrorCode.String()
	}
	if inner.Info.Timeout != "" {
		text += " timeout " + inner.Info.Timeout
	}
	return text
}

// document is JSON of the hub. Numbers stay as they were written.
type document map[string]any

func parseDocument(raw []byte) (document, error) {
	d := json.NewDecoder(bytes.NewReader(raw))
	d.UseNumber()
	var doc document
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("the hub's answer is no JSON object: %w", err)
	}
	return doc, nil
}

// at returns what is at a path, nil if nothing is.
func (d document) at(path ...string) any {
	var v any = map[string]any(d)
	for _, name := range path {
		o, _ := v.(map[string]any)
		v = o[name]
	}
	return v
}

// has tells null from nothing.
func (d document) has(path ...string) bool {
	o, _ := d.at(path[:len(path)-1]...).(map[string]any)
	_, ok := o[path[len(path)-1]]
	return ok
}

// shown is JSON without blanks, with its keys in order; what is not there is "nothing".
func shown(v any) string {
	if v == nil {
		return "nothing"
	}
	raw, err := json.Marshal(v)
	if err != nil {
		return err.Error()
	}
	return string(raw)
}

func (d document) text(path ...string) string { s, _ := d.at(path...).(string); return s }

func (d document) number(path ...string) int64 {
	n, _ := d.at(path...).(json.Number)
	i, _ := n.Int64()
	return i
}

// without is a section without the metadata and the version of the hub.
func without(v any, names ...string) any {
	o, isObject := v.(map[string]any)
	if !isObject {
		return v
	}
	out := maps.Clone(o)
	for _, name := range names {
		delete(out, name)
	}
	return out
}
