package simulator_test

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func TestIdentitiesOverREST(t *testing.T) {
	c := start(t)
	created := c.do("PUT", "/devices/dev1", `{"deviceId":"dev1"}`).want(200)
	if got := created.header.Get("ETag"); got != `"NjEyMDQ0NTEz"` {
		t.Errorf("ETag %q", got)
	}
	if again := c.do("GET", "/devices/dev1", "").want(200); again.body != created.body || again.header.Get("ETag") != created.header.Get("ETag") {
		t.Errorf("GET differs: %s", again.body)
	}
	c.do("PUT", "/devices/dev1", `{"deviceId":"dev1"}`).wantError(409, "DeviceAlreadyExists", "A device with ID 'dev1' is already registered.")
	c.do("PUT", "/devices/dev1", `{"deviceId":"dev1","status":"disabled"}`, "If-Match", `"*"`).want(200)
	c.do("DELETE", "/devices/dev1", "").wantError(412, "PreconditionFailed", "Precondition failed: Etag missing")
	if gone := c.do("DELETE", "/devices/dev1", "", "If-Match", `"*"`).want(204); gone.body != "" {
		t.Errorf("body %q", gone.body)
	}
	c.do("GET", "/devices/dev1", "").wantError(404, "DeviceNotFound", "dev1")
}

func TestListDevices(t *testing.T) {
	c := start(t)
	for _, id := range []string{"b", "a"} {
		c.must(c.sim.Hub().CreateDevice(id))
	}
	for _, path := range []string{"/devices", "/devices/", "/devices?top=1"} {
		var list []struct{ DeviceID string }
		c.do("GET", path, "").want(200).decode(&list)
		if len(list) == 0 || list[0].DeviceID != "a" || (len(list) == 1) != strings.Contains(path, "top") {
			t.Errorf("%s gives %v", path, list)
		}
	}
	c.do("GET", "/devices?top=1001", "").want(400)
	c.do("GET", "/statistics/devices", "").want(200).wantJSON(`{"totalDeviceCount":2,"enabledDeviceCount":2,"disabledDeviceCount":0}`)
	c.do("GET", "/statistics/service", "").want(200).wantJSON(`{"connectedDeviceCount":0}`)
}

func TestBulkOverREST(t *testing.T) {
	c := start(t)
	c.do("POST", "/devices", `[{"id":"a","importMode":"create"},{"id":"b","importMode":"create"}]`).want(200).
		wantJSON(`{"isSuccessful":true,"errors":[],"warnings":[]}`)
	partly := c.do("POST", "/devices", `[{"id":"a","importMode":"Delete"},{"id":"c","importMode":"Delete"}]`).want(400)
	partly.wantJSON(`{"isSuccessful":false,"errors":[{"deviceId":"c","errorCode":404001,"errorStatus":"c","operation":"Delete"}],"warnings":[]}`)
	if code := partly.header.Get("iothub-errorcode"); code != "BulkRegistryOperationFailure" {
		t.Errorf("iothub-errorcode %q", code)
	}
	c.do("GET", "/devices/a", "").want(404)
	c.do("GET", "/devices/b", "").want(200)
	c.do("POST", "/devices", `[]`).wantError(400, "ArgumentInvalid", "A bulk request must have between 1 and 100 devices, not 0")
	c.do("POST", "/devices", `{}`).wantError(400, "IotHubFormatError", "The request body is not valid: not a JSON array")
	c.do("POST", "/devices", `[`).wantError(400, "IotHubFormatError", "The request body is not valid: not a JSON array")

	c.policy = "registryRead"
	c.do("POST", "/devices", `[{"id":"d"}]`).want(401)
	c.policy = "registryReadWrite"
	c.do("POST", "/devices", `[{"id":"d"}]`).want(200)
	c.sim.Faults().Add(simulator.Throttled().On(simulator.OpBulkDevices, ""))
	c.do("POST", "/devices", `[{"id":"e"}]`).wantError(429, "ThrottlingBacklogTimeout",
		"The request has been throttled. Wait 10 seconds and try again. Operation type: RegistryWrite")
}

func TestIDsArePercentEncoded(t *testing.T) {
	c := start(t)
	const id = "a%b#c?d;e"
	c.must(c.sim.Hub().CreateDevice(id))
	const path = "/twins/a%25b%23c%3Fd%3Be"
	var twin struct{ DeviceID string }
	c.do("GET", path, "").want(200).decode(&twin)
	if twin.DeviceID != id {
		t.Errorf("got %q", twin.DeviceID)
	}
	if location := c.do("PATCH", "/digital"+path[1:], `[{"op":"add","path":"/p","value":1}]`).want(202).header.Get("Location"); location !=
		"https://factory.azure-devices.net/digitaltwins/a%25b%23c%3Fd%3Be?api-version=2021-04-12" {
		t.Errorf("Location %q", location)
	}
}

func TestTwinsOverREST(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	read := c.do("GET", "/twins/dev1", "").want(200)
	if read.header.Get("ETag") != "" {
		t.Error("device twins carry no ETag header")
	}
	patched := c.do("PATCH", "/twins/dev1", `{"tags":{"a":1},"properties":{"desired":{"x":1.0}}}`, "If-Match", `"AAAAAAAAAAE="`).want(200)
	var twin struct {
		ETag    string
		Version int
	}
	patched.decode(&twin)
	if twin.ETag != "AAAAAAAAAAI=" || twin.Version != 3 || !strings.Contains(patched.body, `"x":1.0`) {
		t.Errorf("got %s", patched.body)
	}
	c.do("PATCH", "/twins/dev1", `{"tags":{}}`, "If-Match", `"AAAAAAAAAAE="`).
		wantError(412, "PreconditionFailed", "Precondition failed: Device version did not match, existingVersion:2 newVersion:1")
	c.do("PUT", "/twins/dev1", `{"properties":{"desired":{"y":2}}}`).want(200)
	c.do("PATCH", "/twins/nobody", `{}`).wantError(404, "DeviceNotFound", "nobody")
	c.do("PUT", "/twins/nobody", `{}`).wantError(404, "DeviceNotFound", "nobody")
	c.do("PATCH", "/twins/dev1", `{`).want(400)
	c.do("PATCH", "/twins/dev1", `{"properties":{"desired":{"a.b":1}}}`).want(400)
}

func TestDigitalTwinsOverREST(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	read := c.do("GET", "/digitaltwins/dev1", "").want(200)
	read.wantJSON(`{"$dtId":"dev1","$metadata":{"$model":""}}`)
	etag := read.header.Get("ETag")
	if etag != `"AAAAAAAAAAE="` {
		t.Errorf("ETag %q", etag)
	}
	patch := `[{"op":"add","path":"/p","value":1}]`
	done := c.do("PATCH", "/digitaltwins/dev1", patch, "If-Match", etag).want(202)
	if done.body != "" || done.header.Get("ETag") != `"AAAAAAAAAAI="` || done.header.Get("Location") != "https://factory.azure-devices.net/digitaltwins/dev1?api-version=2021-04-12" {
		t.Errorf("got %q with %v", done.body, done.header)
	}
	c.do("PATCH", "/digitaltwins/dev1", patch, "If-Match", etag).want(412)
	c.do("PATCH", "/digitaltwins/dev1", patch, "If-Match", "*", "Content-Type", "application/json-patch+json").want(202)
	c.do("PATCH", "/digitaltwins/dev1", `[{"op":"add","path":"p","value":1}]`).wantError(400, "InvalidDigitalTwinPatch",
		"Error in path: p. 'path' string must be non-null, begin with '/' and have atleast the component name.")
	c.do("GET", "/digitaltwins/nobody", "").wantError(404, "DeviceNotFound", "nobody")
}

func TestEveryResponseHasTheHubsHeaders(t *testing.T) {
	c := start(t)
	for _, a := range []answer{c.do("GET", "/devices", ""), c.do("GET", "/twins/nobody", "")} {
		for name, want := range map[string]string{
			"Content-Type": "application/json; charset=utf-8", "Server": "Microsoft-HTTPAPI/2.0", "Vary": "Origin",
		} {
			if got := a.header.Get(name); got != want {
				t.Errorf("%s: %q", name, got)
			}
		}
		if len(a.header.Get("x-ms-request-id")) != 36 || a.header.Get("Date") == "" {
			t.Errorf("got %v", a.header)
		}
	}
}

func TestUnknownRoutesAndVersions(t *testing.T) {
	c := start(t)
	for _, path := range []string{"/nothing", "/twins/dev1/method", "/twins", "/devices/a/b/c", "/"} {
		a := c.do("POST", path, "{}")
		a.wantError(404, "InvalidOperation", fmt.Sprintf("No HTTP resource was found that matches the request URI '%s'.", path))
	}
	c.do("GET", "/devices?api-version=", "").wantError(400, "InvalidProtocolVersion", "The API version '' is not supported.")
	c.do("GET", "/devices?api-version=1999-01-01", "").wantError(400, "InvalidProtocolVersion", "The API version '1999-01-01' is not supported.")
	c.do("GET", "/devices?api-version=2020-09-30", "").want(200)
}

func TestUnauthorized(t *testing.T) {
	c := start(t)
	expired := sign("factory.azure-devices.net", "service", c.key("service"), c.clock.Now())
	const path = "/twins/dev1"
	c.do("GET", path, "", "Authorization", "").wantError(401, "IotHubUnauthorizedAccess", "Authorization header missing")
	c.do("GET", path, "", "Authorization", expired).wantError(401, "IotHubUnauthorizedAccess", "Unauthorized")
	c.do("GET", path, "", "Authorization", "Bearer x").wantError(401, "IotHubUnauthorizedAccess", "Unauthorized")
	c.do("GET", path, "", "Authorization", c.token("registryReadWrite")).
		wantError(401, "IotHubUnauthorizedAccess", "Authorization rule 'registryReadWrite' does not allow access for 'twins/dev1'")
	c.do("GET", "/devices/dev1", "", "Authorization", c.token("registryRead")).want(404)

	c.policy = "service"
	c.do("GET", path, "").want(404)
	old := c.token("service")
	c.must(c.sim.Policies().Rekey("service"))
	c.do("GET", path, "", "Authorization", old).want(401)
	c.do("GET", path, "").want(404)
	c.must(c.sim.Policies().Disable("service"))
	c.do("GET", path, "").want(401)
}

func TestBodyTooLarge(t *testing.T) {
	c := start(t)
	c.do("PATCH", "/twins/dev1", strings.Repeat(" ", 1<<20+1)).wantError(413, "MessageTooLarge", "The request is too large.")
}

func TestCertificateNames(t *testing.T) {
	c := start(t)
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(c.sim.CAPEM())
	_, port, _ := net.SplitHostPort(strings.TrimPrefix(c.sim.Endpoint(), "https://"))
	for _, name := range []string{"localhost", "127.0.0.1", "::1", "factory.azure-devices.net"} {
		conn, err := tls.Dial("tcp", "127.0.0.1:"+port, &tls.Config{RootCAs: pool, ServerName: name})
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		_ = conn.Close()
	}
}

func TestConnectionString(t *testing.T) {
	c := start(t)
	if got := c.sim.ConnectionString("service"); !strings.HasPrefix(got, "HostName=factory.azure-devices.net;SharedAccessKeyName=service;SharedAccessKey=") {
		t.Errorf("got %q", got)
	}
	if got := c.sim.ConnectionString("nobody"); got != "" {
		t.Errorf("got %q", got)
	}
	signed, err := simulator.SignSAS("h", "service", c.key("service"), time.Unix(9, 0))
	if err != nil || signed != sign("h", "service", c.key("service"), time.Unix(9, 0)) {
		t.Errorf("%s, %v", signed, err)
	}
}

func TestStartFails(t *testing.T) {
	for name, o := range map[string]simulator.Options{
		"no such address":       {Listen: "256.0.0.1:0"},
		"no such debug address": {DebugListen: "256.0.0.1:0"},
		"no such directory":     {CAFile: "/nonexistent/ca.pem"},
	} {
		if _, err := simulator.Start(t.Context(), o); err == nil {
			t.Errorf("%s: started", name)
		}
	}
}
