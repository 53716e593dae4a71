package dashboard_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
)

// recording was made by `make e2e RECORD=...`, see CONTRIBUTING.md.
const recording = "testdata/recorded.om.gz"

// prometheus serves the recording.
type prometheus struct {
	url      string
	from, to float64 // of the recording, Unix seconds
}

// series is an answer: a line over time.
type series struct {
	Metric map[string]string `json:"metric"`
	Values []sample          `json:"values"`
	Name   string            `json:"-"`
}

// sample is a point: time in Unix seconds, and value.
type sample struct{ At, Value float64 }

// UnmarshalJSON reads [seconds, "value"].
func (s *sample) UnmarshalJSON(raw []byte) error {
	var value string
	if err := json.Unmarshal(raw, &[]any{&s.At, &value}); err != nil {
		return err
	}
	var err error
	s.Value, err = strconv.ParseFloat(value, 64)
	return err
}

// legend fills {{label}} in a legend.
func (s series) legend(format string) string {
	for label, value := range s.Metric {
		format = strings.ReplaceAll(format, "{{"+label+"}}", value)
	}
	return format
}

// startPrometheus makes a database of the recording and serves it.
func startPrometheus(t *testing.T) *prometheus {
	t.Helper()
	for _, program := range []string{"promtool", "prometheus"} {
		if _, err := exec.LookPath(program); err != nil {
			if os.Getenv("PNP_REQUIRE_PROMETHEUS") != "" { // CI sets it where it has Prometheus: PNP_REQUIRE_TOOLS is for what make builds
				t.Fatal(err)
			}
			t.Skipf("%s is missing: install the Debian package prometheus", program)
		}
	}
	dir := t.TempDir()
	p := &prometheus{}
	p.load(t, dir)
	config := filepath.Join(dir, "prometheus.yml")
	if err := os.WriteFile(config, []byte("global: {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	addresses, err := freeport.Addresses(1)
	if err != nil {
		t.Fatal(err)
	}
	address := addresses[0]
	cmd := exec.Command("prometheus", "--config.file="+config, "--storage.tsdb.path="+filepath.Join(dir, "data"), "--storage.tsdb.retention.time=100y", "--web.listen-address="+address)
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
	})
	p.url = "http://" + address
	p.await(t, &log)
	return p
}

// load unpacks the recording and makes the database's blocks.
func (p *prometheus) load(t *testing.T, dir string) {
	t.Helper()
	packed, err := os.Open(recording)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = packed.Close() }()
	unpacked, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	text, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	p.from, p.to = span(text)
	path := filepath.Join(dir, "recorded.om")
	if err := os.WriteFile(path, text, 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.CommandContext(t.Context(), "promtool", "tsdb", "create-blocks-from", "openmetrics", path, filepath.Join(dir, "data")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
}

// span is from the first to the last sample.
func span(text []byte) (from, to float64) {
	from = math.Inf(1)
	for lines := bufio.NewScanner(bytes.NewReader(text)); lines.Scan(); {
		line := lines.Text()
		if at, err := strconv.ParseFloat(line[strings.LastIndexByte(line, ' ')+1:], 64); err == nil {
			from, to = min(from, at), max(to, at)
		}
	}
	return from, to
}

func (p *prometheus) await(t *testing.T, log *bytes.Buffer) {
	t.Helper()
	for end := time.Now().Add(time.Minute); time.Now().Before(end); time.Sleep(50 * time.Millisecond) {
		response, err := http.Get(p.url + "/-/ready")
		if err != nil {
			continue
		}
		_ = response.Body.Close()
		if response.StatusCode == http.StatusOK {
			return
		}
	}
	t.Fatalf("prometheus is not ready: %s", log)
}

// ask returns the series of an expression over the whole recording.
func (p *prometheus) ask(t *testing.T, expr string) []series {
	t.Helper()
	query := url.Values{"query": {expr}, "start": {fmt.Sprint(p.from)}, "end": {fmt.Sprint(p.to)}, "step": {"3"}}
	response, err := http.Get(p.url + "/api/v1/query_range?" + query.Encode())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	var answer struct {
		Status, Error string
		Data          struct{ Result []series }
	}
	if err := json.NewDecoder(response.Body).Decode(&answer); err != nil {
		t.Fatal(err)
	}
	if answer.Status != "success" {
		t.Errorf("%s: %s", expr, answer.Error)
	}
	return answer.Data.Result
}
