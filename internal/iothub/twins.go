package iothub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// GetTwin reads a device twin: GET /twins/{id}.
func (c *Client) GetTwin(ctx context.Context, deviceID string) (*twin.Twin, error) {
	return c.deviceTwin(ctx, call{op: OpGetTwin, deviceID: deviceID, method: http.MethodGet})
}

// PatchTwin merges patch, a partial device twin, into the twin if its etag is still the given one, and returns the whole
// twin as it then is: PATCH /twins/{id}. A stale etag is an error that IsPreconditionFailed knows. When the answer was
// lost or unreadable, the hub may have written all the same.
func (c *Client) PatchTwin(ctx context.Context, deviceID string, patch []byte, etag string) (*twin.Twin, error) {
	q := call{op: OpPatchTwin, deviceID: deviceID, method: http.MethodPatch, body: patch}
	var err error
	if q.header, err = ifMatch(q, etag); err != nil {
		return nil, err
	}
	return c.deviceTwin(ctx, q)
}

func (c *Client) deviceTwin(ctx context.Context, q call) (t *twin.Twin, err error) {
	if q.path, err = devicePath(q, "/twins/"); err != nil {
		return nil, err
	}
	q.decode = func(_ http.Header, body []byte) (err error) {
		t, err = twin.ParseDeviceTwin(body)
		return sameDevice(t, err, q.deviceID)
	}
	if err := c.do(ctx, q); err != nil {
		return nil, err
	}
	return t, nil
}

// GetDigitalTwin reads a digital twin: GET /digitaltwins/{id}. Its etag is that of the device twin.
func (c *Client) GetDigitalTwin(ctx context.Context, deviceID string) (t *twin.Twin, err error) {
	q := call{op: OpGetDigitalTwin, deviceID: deviceID, method: http.MethodGet}
	if q.path, err = devicePath(q, "/digitaltwins/"); err != nil {
		return nil, err
	}
	q.decode = func(header http.Header, body []byte) (err error) {
		t, err = twin.ParseDigitalTwin(body, header.Get("ETag"))
		return sameDevice(t, err, deviceID)
	}
	if err := c.do(ctx, q); err != nil {
		return nil, err
	}
	return t, nil
}

// PatchDigitalTwin applies patch, a JSON Patch array, to the desired properties if the etag is still the given one: PATCH
// /digitaltwins/{id}. The hub answers 202 without a body; newETag is unquoted, and "" if the hub sent none. The errors
// are as for PatchTwin, and IsInvalidPatch knows a patch that the hub cannot apply.
func (c *Client) PatchDigitalTwin(ctx context.Context, deviceID string, patch []byte, etag string) (newETag string, err error) {
	q := call{op: OpPatchDigitalTwin, deviceID: deviceID, method: http.MethodPatch, body: patch}
	if q.path, err = devicePath(q, "/digitaltwins/"); err != nil {
		return "", err
	}
	if q.header, err = ifMatch(q, etag); err != nil {
		return "", err
	}
	q.decode = func(header http.Header, _ []byte) error {
		newETag = unquote(header.Get("ETag"))
		return nil
	}
	if err := c.do(ctx, q); err != nil {
		return "", err
	}
	return newETag, nil
}

// sameDevice refuses the twin of another device, which a confused proxy or cache could send.
func sameDevice(t *twin.Twin, err error, deviceID string) error {
	if err != nil {
		return err
	}
	if t.DeviceID != deviceID {
		return fmt.Errorf("answer is about device %q", t.DeviceID)
	}
	return nil
}

// ifMatch makes a write conditional. Neither "" nor the wildcard is: both would overwrite what nobody has read.
func ifMatch(q call, etag string) (http.Header, error) {
	etag = unquote(etag)
	if etag == "" || etag == "*" || strings.ContainsFunc(etag, notInETag) {
		return nil, localError(q, CodeInvalidETag, Transient, errors.New("a write needs the etag that was read"))
	}
	return http.Header{"If-Match": {`"` + etag + `"`}}, nil
}

func notInETag(r rune) bool { return r <= ' ' || r == '"' || r > '~' }

// unquote takes `"AAAA"` or `W/"AAAA"` of a header to the bare AAAA of a body.
func unquote(etag string) string { return strings.Trim(strings.TrimPrefix(etag, "W/"), `"`) }

// devicePath appends a device ID to a collection. "." and ".." cannot be addressed: escaped or not, they are path syntax.
func devicePath(q call, collection string) (string, error) {
	if q.deviceID == "" || q.deviceID == "." || q.deviceID == ".." {
		return "", localError(q, CodeInvalidDeviceID, Terminal, errors.New("device ID cannot be part of a URL"))
	}
	return collection + escape(q.deviceID), nil
}

// escape is JavaScript's encodeURIComponent, as Microsoft's SDKs use it, except that it escapes !*'() as well.
func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }
