package simulator

import (
	"embed"
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"
)

// page is what a browser shows of the debug API. It needs nothing from elsewhere.
//
//go:embed debugpage
var page embed.FS

// servePage serves the page at / and its parts by name.
func servePage(mux *http.ServeMux) {
	for path, file := range map[string]string{"/{$}": "index.html", "/app.js": "app.js", "/style.css": "style.css"} {
		mux.HandleFunc("GET "+path, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Security-Policy", "default-src 'self'; frame-ancestors 'none'")
			w.Header().Set("X-Content-Type-Options", "nosniff")
			http.ServeFileFS(w, r, page, "debugpage/"+file)
		})
	}
}

// sameOrigin keeps other sites that a browser has open from driving the API, which asks for no credential: a page from
// elsewhere says so, and one that had a name of its own resolve to this machine has that name in Host.
func sameOrigin(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !localHost(r.Host) || !ownOrigin(r) {
			writeJSON(w, http.StatusForbidden, map[string]string{"error": "requests of other sites are refused"})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func localHost(host string) bool {
	name, _, err := net.SplitHostPort(host)
	if err != nil {
		name = host
	}
	return name == "localhost" || net.ParseIP(strings.Trim(name, "[]")) != nil
}

func ownOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" && site != "same-origin" && site != "none" {
		return false
	}
	origin := r.Header.Get("Origin")
	if origin == "" {
		return true
	}
	u, err := url.Parse(origin)
	return err == nil && u.Host == r.Host
}

// DeviceRow is a device in a list.
type DeviceRow struct {
	ID              string `json:"id"`
	Connected       bool   `json:"connected"`
	Enabled         bool   `json:"enabled"`
	Virtual         bool   `json:"virtual"`
	Model           string `json:"model,omitempty"`
	DesiredVersion  int64  `json:"desiredVersion"`
	ReportedVersion int64  `json:"reportedVersion"`
}

// DeviceList is devices in the order of their ids, and how many more there are.
type DeviceList struct {
	Devices []DeviceRow `json:"devices"`
	More    int         `json:"more"`
}

// maxRows is as many as a page shows.
const maxRows = 500

func (d debugAPI) listDevices(r *http.Request) (any, error) {
	limit, err := strconv.Atoi(orZero(r.URL.Query().Get("limit")))
	if err != nil || limit < 0 {
		return nil, badRequest(errors.New("limit must be a number"))
	}
	if limit == 0 {
		limit = maxRows
	}
	list := DeviceList{Devices: []DeviceRow{}}
	for _, id := range d.hub.IDs() {
		t, err := d.hub.Get(id)
		switch {
		case err != nil || !strings.Contains(id, r.URL.Query().Get("filter")):
		case len(list.Devices) == limit:
			list.More++
		default:
			list.Devices = append(list.Devices, d.row(t))
		}
	}
	return list, nil
}

func (d debugAPI) row(t *Twin) DeviceRow {
	_, virtual := d.devices.Get(t.Identity.DeviceID)
	return DeviceRow{
		ID: t.Identity.DeviceID, Connected: t.Identity.Connected, Enabled: !t.Identity.Disabled, Virtual: virtual, Model: t.ModelID,
		DesiredVersion: t.DesiredVersion(), ReportedVersion: t.ReportedVersion(),
	}
}
