package simulator

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

// The debug API drives a simulator that runs as a process of its own. It is plain HTTP with JSON, without authentication,
// and meant for the loopback interface. DebugClient is its client.
//
//	GET    /info                          what runs where
//	GET    /                              a page for the browser
//	GET    /devices                       DeviceList: ?filter= part of the id, ?limit=
//	POST   /devices                       DeviceRequest: one device, or many by a pattern
//	GET    /devices/{id}                  the virtual device
//	DELETE /devices/{id}                  identity, twin and virtual device
//	PUT    /devices/{id}/behaviour        Behaviour; ?property=component.name overrides one property
//	POST   /devices/{id}/online
//	POST   /devices/{id}/offline
//	POST   /devices/{id}/reported         a merge patch, as the device would send
//	POST   /devices/{id}/desired          a merge patch, as another service would; ?by=NAME of a configuration
//	POST   /devices/{id}/tags             a merge patch
//	POST   /devices/{id}/etag             moves the deviceEtag
//	PUT    /devices/{id}/status           {"enabled":false,"reason":"…"}
//	GET    /devices/{id}/connectionstring what the device pastes into Microsoft's SDK
//	PUT    /devices/{id}/commands/{name}  CommandAnswer: how the virtual device answers
//	GET    /devices/{id}/commands         those that reached it
//	POST   /mqtt/cut                      connections of devices, without a word; ?device= for one
//	GET    /devices/{id}/twin
//	GET    /devices/{id}/digitaltwin
//	GET    /faults                        in force and spent, with what they did
//	POST   /faults                        Fault
//	DELETE /faults
//	DELETE /faults/{id}
//	GET    /policies                      with their keys
//	POST   /policies/{name}/disable       and /enable, /rekey
//	GET    /calls                         ?operation= &device= &after=SEQ &limit=
//	GET    /calls/counts                  per operation; ?device= counts for one device
//	DELETE /calls
//	GET    /settings
//	PUT    /settings                      Settings
//
// and, about events:
//
//	GET    /routes
//	PUT    /routes                        Routes; a source that is not named stays
//	GET    /events                        the newest; ?device= &limit=
//	GET    /events/counts                 per source
//	GET    /eventfaults                   in force and spent, with what they did
//	POST   /eventfaults                   EventFault
//	DELETE /eventfaults
//	DELETE /eventfaults/{id}
//	POST   /devices/{id}/telemetry        TelemetryRequest
//	POST   /devices/{id}/remember         keeps the state of the device
//	POST   /devices/{id}/rewind           puts it back, as a failover of the hub does
//	GET    /amqp                          AMQPState
//	POST   /amqp/cut                      all connections, without a word; /truncate: in the middle of a frame
//	POST   /amqp/close                    all connections, with an AMQPError
//	POST   /amqp/steal                    all readers lose to a higher owner level
//	POST   /amqp/refuse                   RefuseRequest
//	POST   /amqp/stall                    ?partition=; and /release
//	POST   /amqp/silence                  ?partition=: the receivers that there are
//	POST   /eventhub/delete               and /recreate
//	PUT    /consumergroups/{name}
//	DELETE /consumergroups/{name}
type debugAPI struct{ *Simulator }

// Info is what runs where.
type Info struct {
	HostName       string `json:"hostName"`
	Endpoint       string `json:"endpoint"`
	EventsAddress  string `json:"eventsAddress"`
	MQTTAddress    string `json:"mqttAddress"`
	Devices        int    `json:"devices"`
	VirtualDevices int    `json:"virtualDevices"`
	Calls          int    `json:"calls"`
}

// DeviceRequest creates one device (ID) or Count devices, numbered from First, whose ids Pattern makes, for example
// "line-%04d". IdentityOnly leaves out the virtual device.
type DeviceRequest struct {
	ID      string `json:"id,omitempty"`
	Pattern string `json:"pattern,omitempty"`
	Count   int    `json:"count,omitempty"`
	First   int    `json:"first,omitempty"` // number of the first one that the pattern makes
	// Tags that each of them gets, a JSON object.
	Tags         json.RawMessage `json:"tags,omitempty"`
	IdentityOnly bool            `json:"identityOnly,omitempty"`
	Spec
}

// StatusRequest enables or disables a device.
type StatusRequest struct {
	Enabled bool   `json:"enabled"`
	Reason  string `json:"reason,omitempty"`
}

// statusError is an error with the HTTP status that it is answered with.
type statusError struct {
	status int
	err    error
}

func (e statusError) Error() string { return e.err.Error() }

func badRequest(err error) error {
	if err == nil {
		return nil
	}
	return statusError{http.StatusBadRequest, err}
}

func notFound(err error) error {
	if err == nil {
		return nil
	}
	return statusError{http.StatusNotFound, err}
}

// debugHandler answers with a value to encode; nil is 204.
type debugHandler func(*http.Request) (any, error)

func (h debugHandler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	v, err := h(r)
	if err != nil {
		writeJSON(w, debugStatus(err), map[string]string{"error": err.Error()})
		return
	}
	if v == nil {
		w.WriteHeader(http.StatusNoContent)
		return
	}
	writeJSON(w, http.StatusOK, v)
}

func debugStatus(err error) int {
	var known statusError
	var refused *HubError
	switch {
	case errors.As(err, &known):
		return known.status
	case errors.As(err, &refused):
		return refused.Status
	}
	return http.StatusConflict
}

func writeJSON(w http.ResponseWriter, status int, v any) {
	body, err := json.Marshal(v)
	if err != nil { // a Go caller of the simulator gave it a value that JSON does not have, such as NaN
		status, body = http.StatusInternalServerError, []byte(`{"error":"the answer cannot be encoded"}`)
	}
	w.Header().Set("Content-Type", "application/json; charset=utf-8")
	w.WriteHeader(status)
	_, _ = w.Write(append(body, '\n')) // the client may be gone
}

func newDebugAPI(s *Simulator) http.Handler {
	d := debugAPI{s}
	mux := http.NewServeMux()
	for _, routes := range []map[string]debugHandler{d.hubRoutes(), d.connectionRoutes(), d.eventRoutes(), d.amqpRoutes()} {
		for pattern, h := range routes {
			mux.Handle(pattern, h)
		}
	}
	servePage(mux)
	return sameOrigin(mux)
}

// hubRoutes are the part of the debug API that is about the hub and its devices.
func (d debugAPI) hubRoutes() map[string]debugHandler {
	return map[string]debugHandler{
		"GET /info":                     d.info,
		"GET /devices":                  d.listDevices,
		"POST /devices":                 d.createDevices,
		"GET /devices/{id}":             d.device,
		"DELETE /devices/{id}":          d.deleteDevice,
		"PUT /devices/{id}/behaviour":   d.behave,
		"POST /devices/{id}/online":     withID(d.devices.Online),
		"POST /devices/{id}/offline":    withID(d.devices.Offline),
		"POST /devices/{id}/reported":   withPatch(d.hub.PatchReported),
		"POST /devices/{id}/desired":    d.desired,
		"POST /devices/{id}/tags":       withPatch(d.hub.SetTags),
		"POST /devices/{id}/etag":       withID(d.hub.BumpDeviceETag),
		"PUT /devices/{id}/status":      d.status,
		"GET /devices/{id}/twin":        d.twin,
		"GET /devices/{id}/digitaltwin": d.digitalTwin,
		"GET /faults":                   func(*http.Request) (any, error) { return d.faults.List(), nil },
		"POST /faults":                  d.addFault,
		"DELETE /faults":                func(*http.Request) (any, error) { d.faults.Clear(); return nil, nil },
		"DELETE /faults/{id}":           d.removeFault,
		"GET /policies":                 func(*http.Request) (any, error) { return d.policies.List(), nil },
		"POST /policies/{id}/disable":   withID(d.policies.Disable),
		"POST /policies/{id}/enable":    withID(d.policies.Enable),
		"POST /policies/{id}/rekey":     withID(d.policies.Rekey),
		"GET /calls":                    d.listCalls,
		"GET /calls/counts":             d.countCalls,
		"DELETE /calls":                 func(*http.Request) (any, error) { d.calls.Reset(); return nil, nil },
		"GET /settings":                 func(*http.Request) (any, error) { return d.settings(), nil },
		"PUT /settings":                 d.changeSettings,
	}
}

// withID adapts what needs only the id in the path; it fails where there is no such thing.
func withID(f func(id string) error) debugHandler {
	return func(r *http.Request) (any, error) { return nil, notFound(f(r.PathValue("id"))) }
}

// withPatch adapts what needs an id and the body.
func withPatch(f func(id, patch string) error) debugHandler {
	return func(r *http.Request) (any, error) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			return nil, badRequest(err)
		}
		return nil, f(r.PathValue("id"), string(body))
	}
}

func decode(r *http.Request, v any) error {
	d := json.NewDecoder(r.Body)
	d.DisallowUnknownFields()
	return badRequest(d.Decode(v))
}

func (d debugAPI) info(*http.Request) (any, error) {
	return Info{
		HostName: d.HostName(), Endpoint: d.Endpoint(), EventsAddress: d.EventsAddress(), MQTTAddress: d.MQTTAddress(),
		Devices: d.hub.Len(), VirtualDevices: d.devices.Len(), Calls: d.calls.Total(),
	}, nil
}

func (d debugAPI) createDevices(r *http.Request) (any, error) {
	var want DeviceRequest
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return nil, d.AddDevices(want)
}

// AddDevices creates what a DeviceRequest asks for, up to the first failure.
func (s *Simulator) AddDevices(want DeviceRequest) error {
	ids, err := want.ids()
	if err != nil {
		return badRequest(err)
	}
	for _, id := range ids {
		if err := s.addDevice(id, want); err != nil {
			return err
		}
	}
	return nil
}

func (s *Simulator) addDevice(id string, want DeviceRequest) error {
	if want.IdentityOnly {
		return s.hub.CreateDevice(id, WithTags(string(want.Tags)))
	}
	if err := s.devices.Add(id, want.Spec); err != nil || len(want.Tags) == 0 {
		return err
	}
	return s.hub.SetTags(id, string(want.Tags))
}

func (w DeviceRequest) ids() ([]string, error) {
	if (w.ID == "") == (w.Pattern == "") {
		return nil, errors.New("give an id, or a pattern with a count")
	}
	if w.ID != "" {
		return []string{w.ID}, nil
	}
	if w.Count < 1 || strings.Contains(fmt.Sprintf(w.Pattern, 0), "%!") || fmt.Sprintf(w.Pattern, 0) == fmt.Sprintf(w.Pattern, 1) {
		return nil, fmt.Errorf("pattern %q with count %d: want one integer verb, such as dev-%%04d, and a positive count", w.Pattern, w.Count)
	}
	ids := make([]string, w.Count)
	for i := range ids {
		ids[i] = fmt.Sprintf(w.Pattern, w.First+i)
	}
	return ids, nil
}

func (d debugAPI) device(r *http.Request) (any, error) {
	info, ok := d.devices.Get(r.PathValue("id"))
	if !ok {
		return nil, notFound(fmt.Errorf("no virtual device %q", r.PathValue("id")))
	}
	return info, nil
}

func (d debugAPI) deleteDevice(r *http.Request) (any, error) {
	id := r.PathValue("id")
	if _, ok := d.devices.Get(id); ok {
		_ = d.devices.Remove(id) // fails only if the identity is gone, which is what is wanted
	}
	return nil, d.hub.DeleteDevice(id)
}

func (d debugAPI) behave(r *http.Request) (any, error) {
	var b Behaviour
	if err := decode(r, &b); err != nil {
		return nil, err
	}
	id, property := r.PathValue("id"), r.URL.Query().Get("property")
	if _, ok := d.devices.Get(id); !ok {
		return nil, notFound(fmt.Errorf("no virtual device %q", id))
	}
	if property != "" {
		return nil, badRequest(d.devices.BehaveProperty(id, property, b))
	}
	return nil, badRequest(d.devices.Behave(id, b))
}

func (d debugAPI) desired(r *http.Request) (any, error) {
	by := r.URL.Query().Get("by")
	return withPatch(func(id, patch string) error { return d.hub.PatchDesired(id, patch, by) })(r)
}

func (d debugAPI) status(r *http.Request) (any, error) {
	var want StatusRequest
	if err := decode(r, &want); err != nil {
		return nil, err
	}
	return nil, d.hub.SetStatus(r.PathValue("id"), want.Enabled, want.Reason)
}

func (d debugAPI) twin(r *http.Request) (any, error) {
	return d.hub.Twin(r.PathValue("id"))
}

func (d debugAPI) digitalTwin(r *http.Request) (any, error) {
	t, err := d.hub.Get(r.PathValue("id"))
	if err != nil {
		return nil, err
	}
	return t.DigitalTwin(), nil
}

func (d debugAPI) addFault(r *http.Request) (any, error) {
	var f Fault
	if err := decode(r, &f); err != nil {
		return nil, err
	}
	id, err := d.faults.TryAdd(f)
	return map[string]string{"id": id}, badRequest(err)
}

func (d debugAPI) removeFault(r *http.Request) (any, error) {
	if id := r.PathValue("id"); !d.faults.Remove(id) {
		return nil, notFound(fmt.Errorf("no fault %q", id))
	}
	return nil, nil
}

func (d debugAPI) listCalls(r *http.Request) (any, error) {
	q := r.URL.Query()
	f := CallFilter{Operation: q.Get("operation"), DeviceID: q.Get("device")}
	var err1, err2 error
	f.AfterSeq, err1 = strconv.ParseUint(orZero(q.Get("after")), 10, 64)
	f.Limit, err2 = strconv.Atoi(orZero(q.Get("limit")))
	if err := errors.Join(err1, err2); err != nil {
		return nil, badRequest(err)
	}
	return append([]Call{}, d.calls.List(f)...), nil
}

func orZero(s string) string {
	if s == "" {
		return "0"
	}
	return s
}

func (d debugAPI) countCalls(r *http.Request) (any, error) {
	counts := d.calls.Counts()
	device := r.URL.Query().Get("device")
	if device == "" {
		return counts, nil
	}
	for operation := range counts {
		counts[operation] = d.calls.CountFor(operation, device)
	}
	return counts, nil
}
