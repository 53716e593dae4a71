package diagnostics_test

import (
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"testing"
	"time"

	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/healthz"

	"github.com/pnp-operator/pnp-operator/internal/diagnostics"
)

// flood opens connections that send headers without an end, and returns how many MiB they have the
// process hold.
func flood(t *testing.T, dial func() (net.Conn, error)) (mib int64) {
	t.Helper()
	before := inUse()
	line := "X-A: " + strings.Repeat("a", 1000) + "\r\n"
	for range 100 {
		conn, err := dial()
		if err != nil {
			continue
		}
		t.Cleanup(func() { _ = conn.Close() })
		_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
		_, err = io.WriteString(conn, "GET /metrics HTTP/1.1\r\nHost: a\r\n")
		for left := 1000; err == nil && left > 0; left-- {
			_, err = io.WriteString(conn, line)
		}
	}
	return (inUse() - before) >> 20
}

// inUse is how many bytes of the heap are.
func inUse() int64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapAlloc)
}

// A stranger who reaches a port fills no memory without a credential, and keeps nobody else from
// it.
func TestConnectionsToThePortsAreBounded(t *testing.T) {
	nowhere := &rest.Config{Host: "http://127.0.0.1:1"}
	probes, err := diagnostics.Probes{Healthz: map[string]healthz.Checker{"ping": healthz.Ping}}.Server(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		address, path string
		secure        bool
		status        int
	}{
		"metrics":          {serve(t, nowhere, diagnostics.Options{}), "/metrics", false, http.StatusOK},
		"probes":           {start(t, probes), "/healthz", false, http.StatusOK},
		"metrics by HTTPS": {serve(t, nowhere, diagnostics.Options{Secure: true, CertDir: t.TempDir()}), "/metrics", true, http.StatusUnauthorized},
	} {
		t.Run(name, func(t *testing.T) {
			scheme, dial := "http://", func() (net.Conn, error) { return net.DialTimeout("tcp", c.address, 5*time.Second) }
			if c.secure {
				scheme, dial = "https://", func() (net.Conn, error) {
					return tls.DialWithDialer(&net.Dialer{Timeout: 5 * time.Second}, "tcp", c.address, &tls.Config{InsecureSkipVerify: true}) //nolint:gosec // the server is the test's own
				}
			}
			if more := flood(t, dial); more > 8 {
				t.Errorf("%d MiB more are in use", more)
			}
			for range 100 { // and say nothing
				conn, err := net.Dial("tcp", c.address)
				if err != nil {
					t.Fatal(err)
				}
				t.Cleanup(func() { _ = conn.Close() })
			}
			if status, body := get(t, scheme+c.address+c.path, ""); status != c.status {
				t.Errorf("%d %.100s", status, body)
			}
		})
	}
}

func TestProbesTellWhatIsWrong(t *testing.T) {
	wrong := func(*http.Request) error { return errors.New("not yet") }
	probes, err := diagnostics.Probes{
		Healthz: map[string]healthz.Checker{"ping": healthz.Ping}, Readyz: map[string]healthz.Checker{"caches": wrong, "webhook": healthz.Ping},
	}.Server(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := start(t, probes)
	for path, want := range map[string]int{
		"/healthz": http.StatusOK, "/healthz/ping": http.StatusOK, "/readyz": http.StatusInternalServerError, "/readyz/webhook": http.StatusOK,
		"/readyz/caches": http.StatusInternalServerError, "/metrics": http.StatusNotFound,
	} {
		if status, body := get(t, "http://"+address+path, ""); status != want {
			t.Errorf("%s: %d, want %d: %s", path, status, want, body)
		}
	}
}

func TestPortsThatAreTurnedOffAreNone(t *testing.T) {
	probes, err := diagnostics.Probes{}.Server(t.Context(), "0")
	if probes != nil || err != nil {
		t.Error(probes, err)
	}
	server, err := diagnostics.Server(t.Context(), diagnostics.Options{Address: "0", Secure: true}, &rest.Config{}, http.DefaultClient)
	if server != nil || err != nil {
		t.Error(server, err)
	}
}
