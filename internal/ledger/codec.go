package ledger

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// format is the version of what is stored. One that is not known is not read, so that commands are
// held and not repeated.
const format = 1

// document is how a shard is stored: entries by name and digest, times in seconds.
type document struct {
	Format  int                `json:"format"`
	Entries map[string]written `json:"entries"`
}

type written struct {
	UID       string          `json:"uid"`
	Request   string          `json:"request"`
	By        string          `json:"by,omitempty"`
	At        int64           `json:"at,omitempty"`
	Until     int64           `json:"until,omitempty"`
	NotAfter  int64           `json:"notAfter"`
	Released  bool            `json:"released,omitempty"`
	Offline   bool            `json:"offline,omitempty"`
	Outcome   string          `json:"outcome,omitempty"`
	Code      *int32          `json:"code,omitempty"`
	Message   string          `json:"message,omitempty"`
	Response  json.RawMessage `json:"response,omitempty"`
	Truncated bool            `json:"truncated,omitempty"`
	Ended     int64           `json:"ended,omitempty"`
}

// Encode makes the text of a shard.
func (s Entries) Encode() (string, error) {
	d := document{Format: format, Entries: make(map[string]written, len(s))}
	for key, e := range s {
		w := written{
			UID: e.UID, Request: e.Request, By: e.By, At: floor(e.At), Until: ceil(e.Until), NotAfter: ceil(e.NotAfter), Released: e.Released, Offline: e.Offline,
		}
		if o := e.Outcome; o != nil {
			w.Outcome, w.Code, w.Message, w.Response, w.Truncated, w.Ended = string(o.Outcome), o.Code, o.Message, o.Response, o.Truncated, floor(o.At)
		}
		d.Entries[key.Name+"/"+key.Spec] = w
	}
	raw, err := json.Marshal(d)
	if err != nil {
		return "", fmt.Errorf("encoding the record of commands: %w", err)
	}
	return string(raw), nil
}

// Decode reads a shard. A damaged one is an error, and never fewer entries.
func Decode(text string) (Entries, error) {
	var d document
	if err := json.Unmarshal([]byte(text), &d); err != nil {
		return nil, fmt.Errorf("decoding the record of commands: %w", err)
	}
	if d.Format != format {
		return nil, fmt.Errorf("decoding the record of commands: format %d, want %d", d.Format, format)
	}
	if d.Entries == nil {
		return nil, errors.New("decoding the record of commands: it has no entries")
	}
	s := make(Entries, len(d.Entries))
	for name, w := range d.Entries {
		key, ok := keyOf(name)
		if !ok || w.Request == "" || w.NotAfter == 0 {
			return nil, fmt.Errorf("decoding the record of commands: entry %q is not whole", name)
		}
		s[key] = w.entry()
	}
	return s, nil
}

func keyOf(text string) (Key, bool) {
	name, spec, ok := strings.Cut(text, "/")
	return Key{Name: name, Spec: spec}, ok && name != "" && spec != ""
}

func (w written) entry() Entry {
	e := Entry{UID: w.UID, Request: w.Request, By: w.By, At: instant(w.At), Until: instant(w.Until), NotAfter: instant(w.NotAfter), Released: w.Released, Offline: w.Offline}
	if w.Outcome != "" {
		e.Outcome = &Outcome{
			Outcome: v1alpha1.CommandOutcome(w.Outcome), Code: w.Code, Message: w.Message, Response: w.Response, Truncated: w.Truncated, At: instant(w.Ended),
		}
	}
	return e
}

// floor is for when something happened: no attempt seems to have been made after its operator had
// ended.
func floor(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Unix()
}

// ceil is for when something is over: an attempt never is too early.
func ceil(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.Add(time.Second - 1).Unix()
}

func instant(seconds int64) time.Time {
	if seconds == 0 {
		return time.Time{}
	}
	return time.Unix(seconds, 0)
}
