package rest

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/auth"
	"github.com/pnp-operator/pnp-operator/simulator/hub"
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
	InvokeMethod      = "InvokeMethod"
	InvokeCommand     = "InvokeCommand"
	Query             = "Query"

	ListModules  = "ListModules"
	GetModule    = "GetModule"
	PutModule    = "PutModule"
	DeleteModule = "DeleteModule"

	ListConfigurations  = "ListConfigurations"
	GetConfiguration    = "GetConfiguration"
	PutConfiguration    = "PutConfiguration"
	DeleteConfiguration = "DeleteConfiguration"
	TestQueries         = "TestQueries"

	PutJob           = "PutJob"
	GetJob           = "GetJob"
	CancelJob        = "CancelJob"
	QueryJobs        = "QueryJobs"
	ImportExportJobs = "ImportExportJobs"
	Unknown          = "Unknown"
)

// route is one operation. A name in braces stands for one segment of the path; {id} is the device id.
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
	{http.MethodPost, "twins/{id}/methods", InvokeMethod, auth.ServiceConnect, "DirectMethod", invokeMethod},
	{http.MethodPost, "digitaltwins/{id}/commands/{command}", InvokeCommand, auth.ServiceConnect, "DirectMethod", invokeCommand},
	{http.MethodPost, "digitaltwins/{id}/components/{component}/commands/{command}", InvokeCommand, auth.ServiceConnect, "DirectMethod", invokeCommand},

	{http.MethodGet, "devices/{id}/modules", ListModules, auth.RegistryRead, "RegistryRead", listModules},
	{http.MethodGet, "devices/{id}/modules/{module}", GetModule, auth.RegistryRead, "RegistryRead", getModule},
	{http.MethodPut, "devices/{id}/modules/{module}", PutModule, auth.RegistryWrite, "RegistryWrite", putModule},
	{http.MethodDelete, "devices/{id}/modules/{module}", DeleteModule, auth.RegistryWrite, "RegistryWrite", deleteModule},
	{http.MethodGet, "twins/{id}/modules/{module}", GetTwin, auth.ServiceConnect, "TwinRead", getTwin},
	{http.MethodPatch, "twins/{id}/modules/{module}", PatchTwin, auth.ServiceConnect, "TwinWrite", patchTwin},
	{http.MethodPut, "twins/{id}/modules/{module}", ReplaceTwin, auth.ServiceConnect, "TwinWrite", replaceTwin},
	{http.MethodPost, "twins/{id}/modules/{module}/methods", InvokeMethod, auth.ServiceConnect, "DirectMethod", invokeMethod},

	{http.MethodGet, "configurations", ListConfigurations, auth.RegistryRead, configurationRead, listConfigurations},
	{http.MethodPost, "configurations/testQueries", TestQueries, auth.RegistryRead, configurationRead, testQueries},
	{http.MethodGet, "configurations/{configuration}", GetConfiguration, auth.RegistryRead, configurationRead, getConfiguration},
	{http.MethodPut, "configurations/{configuration}", PutConfiguration, auth.RegistryWrite, configurationWrite, putConfiguration},
	{http.MethodDelete, "configurations/{configuration}", DeleteConfiguration, auth.RegistryWrite, configurationWrite, deleteConfiguration},

	{http.MethodGet, "jobs", ImportExportJobs, auth.RegistryRead, jobOperation, importExportJobs},
	{http.MethodGet, "jobs/{job}", ImportExportJobs, auth.RegistryRead, jobOperation, importExportJob},
	{http.MethodGet, "jobs/v2/query", QueryJobs, auth.ServiceConnect, jobOperation, queryJobs},
	{http.MethodGet, "jobs/v2/{job}", GetJob, auth.ServiceConnect, jobOperation, getJob},
	{http.MethodPut, "jobs/v2/{job}", PutJob, auth.ServiceConnect, jobOperation, putJob},
	{http.MethodPost, "jobs/v2/{job}/cancel", CancelJob, auth.ServiceConnect, jobOperation, cancelJob},
}

// Operation types that a 429 names; none of these is throttled here.
const (
	configurationRead  = "ConfigurationRead"
	configurationWrite = "ConfigurationWrite"
	jobOperation       = "Jobs"
)

var unknownRoute = &route{
	operation: Unknown,
	right:     auth.RegistryRead | auth.RegistryWrite | auth.ServiceConnect | auth.DeviceConnect,
	throttle:  "Unknown",
	handle: func(c *call) (reply, error) {
		return reply{}, &hub.Error{Status: 404, Name: "InvalidOperation", Number: 400003,
			Message: "No HTTP resource was found that matches the request URI '/" + c.path + "'."}
	},
}

// match finds the route of a request, with the segments that its path names. Node's Registry.list asks for /devices/ with a
// slash at the end.
func match(method, escaped string) (*route, map[string]string, string) {
	segments := strings.Split(strings.Trim(escaped, "/"), "/")
	for i, s := range segments {
		if plain, err := url.PathUnescape(s); err == nil {
			segments[i] = plain
		}
	}
	path := strings.Join(segments, "/")
	for _, r := range routes {
		if params, ok := r.match(method, segments); ok {
			return r, params, path
		}
	}
	return unknownRoute, nil, path
}

func (r *route) match(method string, segments []string) (map[string]string, bool) {
	if r.method != method {
		return nil, false
	}
	pattern := strings.Split(r.path, "/")
	if len(pattern) != len(segments) {
		return nil, false
	}
	params := map[string]string{}
	for i, p := range pattern {
		if name, ok := strings.CutPrefix(p, "{"); ok && !strings.Contains(segments[i], "/") { // an escaped one is in no id
			params[strings.TrimSuffix(name, "}")] = segments[i]
		} else if p != segments[i] {
			return nil, false
		}
	}
	return params, true
}
