package simulator_test

import (
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// browse asks the debug API as a browser would; headers come in pairs, and Host is one of them.
func browse(t *testing.T, c *client, method, path string, headers ...string) (int, http.Header, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, c.sim.DebugURL()+path, nil)
	c.must(err)
	for i := 0; i < len(headers); i += 2 {
		if headers[i] == "Host" {
			r.Host = headers[i+1]
		}
		r.Header.Set(headers[i], headers[i+1])
	}
	resp, err := c.http.Do(r)
	c.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	c.must(err)
	return resp.StatusCode, resp.Header, string(body)
}

func TestDebugPage(t *testing.T) {
	c := start(t)
	for path, kind := range map[string]string{"/": "text/html", "/app.js": "text/javascript", "/style.css": "text/css"} {
		status, header, body := browse(t, c, "GET", path)
		if status != 200 || !strings.HasPrefix(header.Get("Content-Type"), kind) || !strings.Contains(header.Get("Content-Security-Policy"), "default-src 'self'") {
			t.Errorf("%s: %d %v", path, status, header)
		}
		if strings.Contains(body, "://") || strings.Contains(body, "innerHTML") || strings.Contains(body, "onclick") {
			t.Errorf("%s loads something from elsewhere, or takes data for markup", path)
		}
	}
	if status, _, _ := browse(t, c, "GET", "/nothing"); status != 404 {
		t.Errorf("/nothing: %d", status)
	}
}

// asked finds the calls of the debug API in the page's script.
var asked = regexp.MustCompile("api\\('([A-Z]+)', [`']([^`']+)[`']")

func TestThePageAsksForWhatThereIs(t *testing.T) {
	c := start(t)
	c.must(c.sim.Devices().Add("dev1", simulator.Spec{}))
	_, _, script := browse(t, c, "GET", "/app.js")
	_, _, markup := browse(t, c, "GET", "/")
	calls := asked.FindAllStringSubmatch(script, -1)
	for _, path := range regexp.MustCompile(`data-hub="([^"]+)"`).FindAllStringSubmatch(markup, -1) {
		calls = append(calls, []string{"", "POST", path[1]})
	}
	if len(calls) < 15 {
		t.Fatalf("found only %d calls", len(calls))
	}
	for _, call := range calls {
		for _, kind := range []string{"faults", "eventfaults"} {
			path := strings.NewReplacer("${devicePath(chosen)}", "/devices/dev1", "${kind}", kind, "${section}", "tags", "${b.dataset.post}", "online",
				"${encodeURIComponent((f.fault ?? f).id)}", "1", "${encodeURIComponent(filter)}", "d").Replace(call[2])
			status, _, body := browse(t, c, call[1], path)
			if status == 405 || status == 404 && !strings.Contains(body, `"error"`) || strings.Contains(path, "$") {
				t.Errorf("%s %s: %d %s", call[1], path, status, body)
			}
		}
	}
}

func TestOtherSitesMayNotDriveTheDebugAPI(t *testing.T) {
	c := start(t)
	host := strings.TrimPrefix(c.sim.DebugURL(), "http://")
	_, port, _ := strings.Cut(host, ":")
	tests := map[string]struct {
		headers []string
		want    int
	}{
		"no browser":           {nil, 200},
		"the page itself":      {[]string{"Origin", "http://" + host, "Sec-Fetch-Site", "same-origin"}, 200},
		"typed in":             {[]string{"Sec-Fetch-Site", "none"}, 200},
		"as localhost":         {[]string{"Host", "localhost:" + port}, 200},
		"another site":         {[]string{"Origin", "https://example.com"}, 403},
		"another port":         {[]string{"Origin", "http://127.0.0.1:1"}, 403},
		"a site says so":       {[]string{"Sec-Fetch-Site", "cross-site"}, 403},
		"a sandboxed page":     {[]string{"Origin", "null"}, 403},
		"a name that is bound": {[]string{"Host", "evil.example.com:" + port}, 403},
	}
	for name, test := range tests {
		if status, _, body := browse(t, c, "GET", "/policies", test.headers...); status != test.want {
			t.Errorf("%s: %d %s", name, status, body)
		}
	}
}

func TestDeviceList(t *testing.T) {
	c := start(t)
	c.must(c.sim.Devices().Add("line-1", simulator.Spec{Model: simulator.Thermostat}))
	c.must(c.sim.Hub().CreateDevice("line-2", simulator.WithStatus(false, "")))
	c.must(c.sim.Hub().CreateDevice("other"))
	_, _, body := browse(t, c, "GET", "/devices?filter=line&limit=1")
	if !strings.Contains(body, `"id":"line-1","connected":true,"enabled":true,"virtual":true,"model":"dtmi:com:example:Thermostat;1"`) || !strings.Contains(body, `"more":1`) {
		t.Error(body)
	}
	_, _, body = browse(t, c, "GET", "/devices")
	if !strings.Contains(body, `"id":"line-2","connected":false,"enabled":false,"virtual":false`) || !strings.Contains(body, `"more":0`) {
		t.Error(body)
	}
	if status, _, _ := browse(t, c, "GET", "/devices?limit=x"); status != 400 {
		t.Error(status)
	}
}
