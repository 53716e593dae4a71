package rest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/simulator/auth"
	"github.com/pnp-operator/pnp-operator/internal/simulator/hub"
)

// Names of operations, as faults and the call log use them.
const (
	ListDevices       = "ListDevices"
	GetDevice         = "GetDevice"
	PutDevice         = "PutDevice"
	DeleteDevice      = "DeleteDevice"
	BulkDevices       = "BulkDevices"
	DeviceStatistics  = "DeviceStatistics"
	ServiceStatistics = "ServiceStatistics"
	GetTwin           = "GetTwin"
	PatchTwin         = "PatchTwin"
	ReplaceTwin       = "ReplaceTwin"
	GetDigitalTwin    = "GetDigitalTwin"
	PatchDigitalTwin  = "PatchDigitalTwin"
	Query             = "Query"
	Unknown           = "Unknown"
)

// route is one operation. {id} in the path stands for one segment, the device id.
type route struct {
	method    string
	path      string
	operation string
	right     auth.Right
	throttle  string // the operation type that a 429 names
	handle    func(*call) (reply, error)
}

var routes = []*route{
	{http.MethodGet, "devices", ListDevices, auth.RegistryRead, "RegistryRead", listDevices},
	{http.MethodPost, "devices", BulkDevices, auth.RegistryWrite, "RegistryWrite", bulkDevices},
	{http.MethodPost, "devices/query", Query, auth.ServiceConnect, "Query", runQuery},
	{http.MethodGet, "devices/{id}", GetDevice, auth.RegistryRead, "RegistryRead", getDevice},
	{http.MethodPut, "devices/{id}", PutDevice, auth.RegistryWrite, "RegistryWrite", putDevice},
	{http.MethodDelete, "devices/{id}", DeleteDevice, auth.RegistryWrite, "RegistryWrite", deleteDevice},
	{http.MethodGet, "statistics/devices", DeviceStatistics, auth.RegistryRead, "RegistryRead", deviceStatistics},
	{http.MethodGet, "statistics/service", ServiceStatistics, auth.RegistryRead, "RegistryRead", serviceStatistics},
	{http.MethodGet, "twins/{id}", GetTwin, auth.ServiceConnect, "TwinRead", getTwin},
	{http.MethodPatch, "twins/{id}", PatchTwin, auth.ServiceConnect, "TwinWrite", patchTwin},
	{http.MethodPut, "twins/{id}", ReplaceTwin, auth.ServiceConnect, "TwinWrite", replaceTwin},
	{http.MethodGet, "digitaltwins/{id}", GetDigitalTwin, auth.ServiceConnect, "TwinRead", getDigitalTwin},
	{http.MethodPatch, "digitaltwins/{id}", PatchDigitalTwin, auth.ServiceConnect, "TwinWrite", patchDigitalTwin},
}

var unknownRoute = &route{
	operation: Unknown,
	right:     auth.RegistryRead | auth.RegistryWrite | auth.ServiceConnect | auth.DeviceConnect,
	throttle:  "Unknown",
	handle: func(c *call) (reply, error) {
		return reply{}, &hub.Error{Status: 404, Name: "InvalidOperation", Number: 400003,
			Message: "No HTTP resource was found that matches the request URI '/" + c.path + "'."}
	},
}

// match finds the route of a request. Node's Registry.list asks for /devices/ with a slash at the end.
func match(method, escaped string) (*route, string, string) {
	segments := strings.Split(strings.Trim(escaped, "/"), "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			segments[i] = plain
		}
	}
	path := strings.Join(segments, "/")
	for _, r := range routes {
		if id, ok := r.match(method, segments); ok {
			return r, id, path
		}
	}
	return unknownRoute, "", path
}

func (r *route) match(method string, segments []string) (string, bool) {
	if r.method != method {
		return "", false
	}
	pattern := strings.Split(r.path, "/")
	if len(pattern) != len(segments) {
		return "", false
	}
	id := ""
	for i, p := range pattern {
		if p == "{id}" {
			id = segments[i]
		} else if p != segments[i] {
			return "", false
		}
	}
	return id, true
}
