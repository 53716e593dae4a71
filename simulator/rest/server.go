// Package rest is the HTTPS front end of the simulated hub: the service API of Microsoft's swagger "IotHub Gateway Service
// APIs", 2021-04-12, for the registry, modules, twins, digital twins, queries, direct methods,
// commands, configurations and jobs.
package rest

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/calls"
	"github.com/pnp-operator/pnp-operator/simulator/faults"
	"github.com/pnp-operator/pnp-operator/simulator/fleet"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/throttle"
)

// bodyLimit is far above anything that the API takes.
const bodyLimit = 1 << 20

// versions are the API versions that the live hub was seen to take.
var versions = []string{
	"2018-06-30", "2020-03-13", "2020-05-31-preview", "2020-09-30", "2021-04-12", "2024-03-31",
}

// Server answers the REST calls of one hub.
type Server struct {
	HostName string
	Hub      *hub.Hub
	Methods  *methods.Exchange
	Policies *auth.Policies

	Configurations *fleet.Configurations
	Jobs           *fleet.Jobs
	// VerifyJWT checks a token of Microsoft Entra ID and says what it grants, and to whom; nil refuses all.
	VerifyJWT func(token string) (rights auth.Right, principal string, err error)
	Faults    *faults.Set
	Calls     *calls.Log
	Throttle  *throttle.Throttle
	Clock     func() time.Time
	Log       logr.Logger
	// Closed ends hanging calls.
	Closed <-chan struct{}
}

// call is one request, read and routed.
type call struct {
	server   *Server
	route    *route
	deviceID string
	params   map[string]string // the segments that the route's path names
	path     string            // decoded, without a leading slash
	query    url.Values
	header   http.Header
	body     []byte
	ifMatch  string
	id       string
	arrived  time.Time
	fault    string // what happened within its answer, for the call log
}

// note has the call log say which faults happened within an answer.
func (c *call) note(hit []faults.Fault) {
	kinds := make([]string, len(hit))
	for i, f := range hit {
		kinds[i] = string(f.Kind)
	}
	c.fault = strings.Join(kinds, "+")
}

// ServeHTTP answers one call: log, faults, the throttle, authentication, the operation, the log again, and only then the wire.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c, readErr := s.read(r)
	seq := s.Calls.Begin(calls.Call{
		Time: s.Clock(), Operation: c.route.operation, DeviceID: c.deviceID, Method: r.Method, Path: r.URL.Path,
		IfMatch: c.ifMatch, RequestID: c.id, Body: string(c.body),
	})
	latency, fault := s.Faults.Strike(c.route.operation, c.deviceID)
	out := s.outcome(c, readErr, latency, fault, r)
	s.Calls.End(seq, out.loggedStatus(), out.fault, time.Since(c.arrived))
	s.Log.V(2).Info("Answered", "operation", c.route.operation, "deviceID", c.deviceID, "status", out.status, "fault", out.fault)
	out.send(w, c.id)
}

func (s *Server) read(r *http.Request) (*call, error) {
	c := &call{
		server: s, query: r.URL.Query(), header: r.Header, ifMatch: r.Header.Get("If-Match"),
		id: newID(), arrived: time.Now(),
	}
	c.route, c.params, c.path = match(r.Method, r.URL.EscapedPath())
	c.deviceID = c.params["id"]
	body, err := io.ReadAll(io.LimitReader(r.Body, bodyLimit+1))
	c.body = body
	if err == nil && len(body) > bodyLimit {
		err = usual[413].failure(413)
	}
	return c, err
}

// answer runs the operation without any fault.
func (s *Server) answer(c *call, readErr error) reply {
	r, err := s.try(c, readErr)
	if err != nil {
		return failed(err).reply(c.id, s.Clock())
	}
	return r
}

func (s *Server) try(c *call, readErr error) (reply, error) {
	if readErr != nil {
		return reply{}, readErr
	}
	if err := s.authorize(c); err != nil {
		return reply{}, err
	}
	version := c.query.Get("api-version")
	if !slices.Contains(versions, version) {
		return reply{}, &hub.Error{Status: 400, Name: "InvalidProtocolVersion", Number: 400001,
			Message: "The API version '" + version + "' is not supported."}
	}
	return c.route.handle(c)
}

// authorize maps what is wrong with a token to the texts of "Troubleshoot Azure IoT Hub error codes", 401003 and 401002.
func (s *Server) authorize(c *call) error {
	if token, ok := strings.CutPrefix(c.header.Get("Authorization"), "Bearer "); ok {
		return s.authorizeJWT(c, token)
	}
	err := s.Policies.Authorize(c.header.Get("Authorization"), s.HostName+"/"+c.path, c.route.right, s.Clock())
	unauthorized := usual[401].failure(401)
	switch {
	case err == nil:
		return nil
	case errors.Is(err, auth.ErrMissing):
		unauthorized.Message = "Authorization header missing"
	case errors.Is(err, auth.ErrDenied):
		unauthorized.Message = "Authorization rule '" + policyOf(c) + "' does not allow access for '" + c.path + "'"
	}
	s.Log.V(1).Info("Refused a token", "reason", err.Error())
	return unauthorized
}

// sasOnly are the operations that were seen (commands), or are reported (writes), to answer 401 to Microsoft Entra ID whatever the role.
var sasOnly = []string{InvokeCommand, PatchDigitalTwin}

func (s *Server) authorizeJWT(c *call, token string) error {
	unauthorized := usual[401].failure(401)
	if s.VerifyJWT == nil {
		return unauthorized
	}
	rights, principal, err := s.VerifyJWT(token)
	switch {
	case err != nil:
		s.Log.V(1).Info("Refused a token", "reason", err.Error())
		return unauthorized
	case slices.Contains(sasOnly, c.route.operation):
		return unauthorized
	case rights&c.route.right == 0:
		unauthorized.Message = "Principal " + principal + " is not authorized for " + c.route.method + " on /" + c.path + " due to no assigned permissions"
		return unauthorized
	}
	return nil
}

func policyOf(c *call) string {
	t, _ := auth.Parse(c.header.Get("Authorization"))
	return t.Policy
}

// object decodes the request body as a JSON object.
func (c *call) object() (jsontree.Object, error) {
	o, err := jsontree.ParseObject(c.body)
	if err != nil {
		return nil, malformed(err.Error())
	}
	return o, nil
}

func malformed(reason string) error {
	return &hub.Error{Status: http.StatusBadRequest, Name: "IotHubFormatError", Number: 400006, Message: "The request body is not valid: " + reason}
}

// newID returns a GUID.
func newID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	b[6], b[8] = b[6]&0x0f|0x40, b[8]&0x3f|0x80
	s := hex.EncodeToString(b[:])
	return s[:8] + "-" + s[8:12] + "-" + s[12:16] + "-" + s[16:20] + "-" + s[20:]
}

func (r reply) send(w http.ResponseWriter, id string) {
	h := w.Header()
	h.Set("Content-Type", "application/json; charset=utf-8")
	h.Set("Server", "Microsoft-HTTPAPI/2.0")
	h.Set("Vary", "Origin")
	h["x-ms-request-id"] = []string{id} // spelled as the hub does
	maps.Copy(h, r.header)
	if r.close {
		h.Set("Connection", "close")
	}
	if r.status != http.StatusNoContent {
		h.Set("Content-Length", strconv.Itoa(len(r.body)))
	}
	w.WriteHeader(r.status)
	_, _ = w.Write(r.body) // the client may be gone
}
