package simulator

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/devices"
	"github.com/pnp-operator/pnp-operator/simulator/faults"
)

// DebugClient drives a simulator in another process by its debug API.
type DebugClient struct {
	base string
	http *http.Client
}

// NewDebugClient returns a client of the debug API at a URL such as Simulator.DebugURL returns.
func NewDebugClient(baseURL string) *DebugClient {
	return &DebugClient{base: baseURL, http: &http.Client{Timeout: time.Minute}}
}

// call sends in, unless it is nil, and decodes the answer into out, unless that is nil.
func (c *DebugClient) call(ctx context.Context, method, path string, in, out any) error {
	body, err := encode(in)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, bytes.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode >= http.StatusBadRequest:
		return &debugError{method, path, resp.Status, resp.StatusCode, string(bytes.TrimSpace(answer))}
	case out == nil:
		return nil
	}
	return json.Unmarshal(answer, out)
}

// debugError is a refusal of the debug API.
type debugError struct {
	method, path, status string
	code                 int
	answer               string
}

func (e *debugError) Error() string {
	return fmt.Sprintf("simulator: %s %s: %s: %s", e.method, e.path, e.status, e.answer)
}

// IsNotFound reports whether the debug API said that there is no such thing.
func IsNotFound(err error) bool {
	refused, ok := errors.AsType[*debugError](err)
	return ok && refused.code == http.StatusNotFound
}

// get asks for a value.
func get[T any](ctx context.Context, c *DebugClient, path string) (T, error) {
	var v T
	err := c.call(ctx, http.MethodGet, path, nil, &v)
	return v, err
}

func encode(v any) ([]byte, error) {
	switch v := v.(type) {
	case nil:
		return nil, nil
	case string: // already JSON
		return []byte(v), nil
	}
	return json.Marshal(v)
}

func device(id, rest string) string { return "/devices/" + url.PathEscape(id) + rest }

// Info returns what runs where.
func (c *DebugClient) Info(ctx context.Context) (Info, error) {
	return get[Info](ctx, c, "/info")
}

// AddDevice creates a virtual device, and its identity if the hub lacks it.
func (c *DebugClient) AddDevice(ctx context.Context, id string, s Spec) error {
	return c.CreateDevices(ctx, DeviceRequest{ID: id, Spec: s})
}

// AddDevices creates count virtual devices whose ids the pattern makes, for example "line-%04d".
func (c *DebugClient) AddDevices(ctx context.Context, pattern string, count int, s Spec) error {
	return c.CreateDevices(ctx, DeviceRequest{Pattern: pattern, Count: count, Spec: s})
}

// CreateDevices creates devices.
func (c *DebugClient) CreateDevices(ctx context.Context, r DeviceRequest) error {
	return c.call(ctx, http.MethodPost, "/devices", r, nil)
}

// Device returns a virtual device.
func (c *DebugClient) Device(ctx context.Context, id string) (devices.Info, error) {
	return get[devices.Info](ctx, c, device(id, ""))
}

// DeleteDevice deletes a device with its identity and twin.
func (c *DebugClient) DeleteDevice(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, device(id, ""), nil, nil)
}

// Behave changes how a device reacts; a property, as component.name, restricts it to that one.
func (c *DebugClient) Behave(ctx context.Context, id, property string, b Behaviour) error {
	return c.call(ctx, http.MethodPut, device(id, "/behaviour?property="+url.QueryEscape(property)), b, nil)
}

// Online connects a virtual device.
func (c *DebugClient) Online(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, device(id, "/online"), nil, nil)
}

// Offline disconnects a virtual device.
func (c *DebugClient) Offline(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, device(id, "/offline"), nil, nil)
}

// PatchReported merges a JSON object into the reported properties, as the device would.
func (c *DebugClient) PatchReported(ctx context.Context, id, patch string) error {
	return c.call(ctx, http.MethodPost, device(id, "/reported"), patch, nil)
}

// PatchDesired merges a JSON object into the desired properties, as another service, or the configuration by, would.
func (c *DebugClient) PatchDesired(ctx context.Context, id, patch, by string) error {
	return c.call(ctx, http.MethodPost, device(id, "/desired?by="+url.QueryEscape(by)), patch, nil)
}

// SetTags merges a JSON object into the tags.
func (c *DebugClient) SetTags(ctx context.Context, id, patch string) error {
	return c.call(ctx, http.MethodPost, device(id, "/tags"), patch, nil)
}

// BumpDeviceETag moves the deviceEtag.
func (c *DebugClient) BumpDeviceETag(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodPost, device(id, "/etag"), nil, nil)
}

// SetStatus enables or disables a device.
func (c *DebugClient) SetStatus(ctx context.Context, id string, enabled bool, reason string) error {
	return c.call(ctx, http.MethodPut, device(id, "/status"), StatusRequest{enabled, reason}, nil)
}

// Twin returns the device twin.
func (c *DebugClient) Twin(ctx context.Context, id string) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, device(id, "/twin"))
}

// DigitalTwin returns the digital twin.
func (c *DebugClient) DigitalTwin(ctx context.Context, id string) (json.RawMessage, error) {
	return get[json.RawMessage](ctx, c, device(id, "/digitaltwin"))
}

// AddFault puts a fault in force and returns its id.
func (c *DebugClient) AddFault(ctx context.Context, f Fault) (string, error) {
	var added struct{ ID string }
	err := c.call(ctx, http.MethodPost, "/faults", f, &added)
	return added.ID, err
}

// Faults returns the faults in force, and those that are spent.
func (c *DebugClient) Faults(ctx context.Context) ([]faults.State, error) {
	return get[[]faults.State](ctx, c, "/faults")
}

// RemoveFault ends a fault.
func (c *DebugClient) RemoveFault(ctx context.Context, id string) error {
	return c.call(ctx, http.MethodDelete, "/faults/"+url.PathEscape(id), nil, nil)
}

// ClearFaults ends all faults.
func (c *DebugClient) ClearFaults(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/faults", nil, nil)
}

// ListPolicies returns the hub's policies with their keys.
func (c *DebugClient) ListPolicies(ctx context.Context) ([]Policy, error) {
	return get[[]Policy](ctx, c, "/policies")
}

// DisablePolicy makes the hub refuse a policy's tokens.
func (c *DebugClient) DisablePolicy(ctx context.Context, name string) error {
	return c.policy(ctx, name, "disable")
}

// EnablePolicy ends DisablePolicy.
func (c *DebugClient) EnablePolicy(ctx context.Context, name string) error {
	return c.policy(ctx, name, "enable")
}

// RekeyPolicy gives a policy a new key.
func (c *DebugClient) RekeyPolicy(ctx context.Context, name string) error {
	return c.policy(ctx, name, "rekey")
}

func (c *DebugClient) policy(ctx context.Context, name, verb string) error {
	return c.call(ctx, http.MethodPost, "/policies/"+url.PathEscape(name)+"/"+verb, nil, nil)
}

// Calls returns the calls that the filter selects, oldest first.
func (c *DebugClient) Calls(ctx context.Context, f CallFilter) ([]Call, error) {
	q := url.Values{
		"operation": {f.Operation}, "device": {f.DeviceID},
		"after": {strconv.FormatUint(f.AfterSeq, 10)}, "limit": {strconv.Itoa(f.Limit)},
	}
	return get[[]Call](ctx, c, "/calls?"+q.Encode())
}

// CallCounts returns the calls per operation, of one device unless deviceID is empty.
func (c *DebugClient) CallCounts(ctx context.Context, deviceID string) (map[string]int, error) {
	return get[map[string]int](ctx, c, "/calls/counts?device="+url.QueryEscape(deviceID))
}

// ResetCalls forgets calls and counters.
func (c *DebugClient) ResetCalls(ctx context.Context) error {
	return c.call(ctx, http.MethodDelete, "/calls", nil, nil)
}

// SetIndexLag lets queries trail behind; 0 ends it.
func (c *DebugClient) SetIndexLag(ctx context.Context, lag time.Duration) error {
	s := lag.String()
	return c.call(ctx, http.MethodPut, "/settings", Settings{IndexLag: &s}, nil)
}

// SetCountLag lets aggregates of queries trail behind; 0 ends it.
func (c *DebugClient) SetCountLag(ctx context.Context, lag time.Duration) error {
	s := lag.String()
	return c.call(ctx, http.MethodPut, "/settings", Settings{CountLag: &s}, nil)
}

// SetLenientDigitalTwins is Hub.SetLenientDigitalTwins.
func (c *DebugClient) SetLenientDigitalTwins(ctx context.Context, lenient bool) error {
	return c.call(ctx, http.MethodPut, "/settings", Settings{LenientDigitalTwins: &lenient}, nil)
}

// SetLimits has the hub throttle by limits, or not at all with zero ones.
func (c *DebugClient) SetLimits(ctx context.Context, l Limits) error {
	return c.call(ctx, http.MethodPut, "/settings", Settings{Limits: &l}, nil)
}

// SetConfigurationInterval changes how long the hub's configurations rest between evaluations.
func (c *DebugClient) SetConfigurationInterval(ctx context.Context, d time.Duration) error {
	s := d.String()
	return c.call(ctx, http.MethodPut, "/settings", Settings{ConfigurationInterval: &s}, nil)
}

// SetClockOffset is Simulator.SetClockOffset.
func (c *DebugClient) SetClockOffset(ctx context.Context, ahead time.Duration) error {
	s := ahead.String()
	return c.call(ctx, http.MethodPut, "/settings", Settings{ClockOffset: &s}, nil)
}
