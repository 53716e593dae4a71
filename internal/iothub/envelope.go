package iothub

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// envelope is what an error answer says, cleaned.
type envelope struct {
	code       string
	number     int
	message    string
	trackingID string
	waited     *time.Duration
	at         time.Time
}

// identifier is the form of codes and ids that are copied from an answer.
var identifier = regexp.MustCompile(`^[A-Za-z0-9_.:-]{1,128}$`)

// errorBody has the fields of all envelopes. They are of any type, so that one odd field does not hide the others.
//
//	{"Message":"ErrorCode:DeviceNotFound;dev1","ExceptionMessage":"Tracking ID:..."}     most answers
//	{"errorCode":409301,"trackingId":"...","message":"...","timestampUtc":"..."}         modules
//	{"Message":"{\"errorCode\":404103,\"message\":\"...\"}","ExceptionMessage":""}       methods, some 401
type errorBody struct {
	Message, ExceptionMessage, ErrorCode, TrackingID, Info, TimestampUTC any
}

// parseEnvelope reads an error answer: the code from the header iothub-errorcode if that is set, else from the body.
func parseEnvelope(header string, body []byte) envelope {
	e := parseBody(body)
	e.setCode(header)
	return e
}

// maxErrorBody is how many bytes an answer has at most that is decoded as an error: those of hubs
// have less than one KB, and decoded, their values may take fifty times as much.
const maxErrorBody = 16 << 10

func parseBody(body []byte) envelope {
	outer, ok := decodeBody(body)
	if !ok {
		return envelope{message: redact.Text(string(body[:min(len(body), redact.MaxInput)]))}
	}
	message, _ := outer.Message.(string)
	if inner, ok := decodeBody([]byte(message)); ok && inner.ErrorCode != nil {
		return inner.envelope()
	}
	return outer.envelope()
}

func decodeBody(body []byte) (errorBody, bool) {
	var b errorBody
	if len(body) > maxErrorBody {
		return b, false
	}
	d := json.NewDecoder(bytes.NewReader(body))
	d.UseNumber()
	return b, d.Decode(&b) == nil
}

func (b errorBody) envelope() envelope {
	var e envelope
	e.setCode(b.ErrorCode)
	message, _ := b.Message.(string)
	if rest, ok := strings.CutPrefix(message, "ErrorCode:"); ok {
		code, text, _ := strings.Cut(rest, ";")
		e.setCode(strings.TrimSpace(code))
		message = text
	}
	e.message = redact.Text(message)
	e.trackingID, e.waited, e.at = b.tracking(), b.waited(), b.at()
	return e
}

// setCode takes a name, or a number in either JSON type.
func (e *envelope) setCode(v any) {
	var s string
	switch v := v.(type) {
	case string:
		s = v
	case json.Number:
		s = v.String()
	}
	if n, err := strconv.Atoi(s); err == nil {
		e.number = max(n, 0)
		return
	}
	if identifier.MatchString(s) {
		e.code = s
	}
}

// waited reads {"timeout":"00:00:30"}.
func (b errorBody) waited() *time.Duration {
	info, _ := b.Info.(map[string]any)
	text, _ := info["timeout"].(string)
	at, err := time.Parse(time.TimeOnly, text)
	if err != nil {
		return nil
	}
	return new(at.Sub(time.Date(0, 1, 1, 0, 0, 0, 0, time.UTC)))
}

// at reads the time of the hub, which is in UTC whether it says so or not.
func (b errorBody) at() time.Time {
	text, _ := b.TimestampUTC.(string)
	at, err := time.Parse("2006-01-02T15:04:05", strings.TrimSuffix(text, "Z"))
	if err != nil {
		return time.Time{}
	}
	return at
}

func (b errorBody) tracking() string {
	if id, ok := b.TrackingID.(string); ok && id != "" {
		return redact.Text(id)
	}
	text, _ := b.ExceptionMessage.(string)
	id, ok := strings.CutPrefix(strings.TrimSpace(text), "Tracking ID:")
	if !ok {
		return ""
	}
	return redact.Text(id)
}
