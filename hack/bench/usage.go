package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// Programs of the plant.
const (
	operator  = "manager"
	hub       = "iothub-simulator"
	apiServer = "kube-apiserver"
	etcd      = "etcd"
)

var programs = []string{operator, hub, apiServer, etcd}

// usage is what was used up to some moment. That of a program counts from its start.
type usage struct {
	at            time.Time
	cpu           map[string]time.Duration // by program
	written       map[string]int64         // bytes written to files, by program
	sent          map[string]int64         // bytes written to files and connections, by program
	calls         map[string]int           // of the hub, by operation
	statusPatches float64                  // of PnPDevices, as the API server counts them
	requests      float64                  // to the API server, of any kind
}

func (b *bench) usage(ctx context.Context) (usage, error) {
	u := usage{at: time.Now(), cpu: map[string]time.Duration{}, written: map[string]int64{}, sent: map[string]int64{}}
	for _, program := range programs {
		pid := b.pidOf(program)
		if pid == 0 {
			continue
		}
		cpu, err := cpuOf(pid)
		if err != nil {
			return u, err
		}
		io, err := ioOf(pid)
		if err != nil {
			return u, err
		}
		u.cpu[program], u.written[program], u.sent[program] = cpu, io["write_bytes"], io["wchar"]
	}
	var err error
	if u.calls, err = b.Hub.CallCounts(ctx, ""); err != nil {
		return u, fmt.Errorf("counting the hub's calls: %w", err)
	}
	m, err := b.apiServerMetrics(ctx)
	u.statusPatches = m.sum("apiserver_request_total", `resource="pnpdevices"`, `subresource="status"`, `verb="PATCH"`)
	u.requests = m.sum("apiserver_request_total")
	return u, err
}

// since is what was used between two moments.
func (u usage) since(before usage) usage {
	d := usage{
		at: u.at, cpu: maps.Clone(u.cpu), written: maps.Clone(u.written), sent: maps.Clone(u.sent), calls: maps.Clone(u.calls),
		statusPatches: u.statusPatches - before.statusPatches, requests: u.requests - before.requests,
	}
	for _, program := range programs {
		d.cpu[program] -= before.cpu[program]
		d.written[program] -= before.written[program]
		d.sent[program] -= before.sent[program]
	}
	for op := range d.calls {
		d.calls[op] -= before.calls[op]
	}
	maps.DeleteFunc(d.calls, func(_ string, n int) bool { return n == 0 })
	return d
}

// processor is the processor time of some programs, of all that serve a change unless named.
func (u usage) processor(of ...string) time.Duration {
	if len(of) == 0 {
		of = []string{operator, apiServer, etcd}
	}
	var sum time.Duration
	for _, program := range of {
		sum += u.cpu[program]
	}
	return sum
}

// hubCalls are all calls but those of the sweep, which go by the clock.
func (u usage) hubCalls() int {
	n := 0
	for op, count := range u.calls {
		if op != simulator.OpQuery {
			n += count
		}
	}
	return n
}

func (u usage) callText() string {
	var words []string
	for _, op := range slices.Sorted(maps.Keys(u.calls)) {
		words = append(words, fmt.Sprintf("%s %d", op, u.calls[op]))
	}
	if len(words) == 0 {
		return "none"
	}
	return strings.Join(words, ", ")
}

// clockTick is what Linux counts processor time in, whatever the machine.
const clockTick = 10 * time.Millisecond

// cpuOf is the processor time of a process, its threads included.
func cpuOf(pid int) (time.Duration, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, fmt.Errorf("reading the processor time of a process: %w", err)
	}
	return parseCPU(raw)
}

func parseCPU(stat []byte) (time.Duration, error) {
	_, rest, _ := bytes.Cut(stat[max(0, bytes.LastIndexByte(stat, ')')):], []byte(" ")) // the name before may hold anything
	fields := strings.Fields(string(rest))
	const user, system = 11, 12 // counted from the state
	if len(fields) <= system {
		return 0, fmt.Errorf("processor time: got %q", stat)
	}
	u, err1 := strconv.ParseInt(fields[user], 10, 64)
	s, err2 := strconv.ParseInt(fields[system], 10, 64)
	if err1 != nil || err2 != nil {
		return 0, fmt.Errorf("processor time: got %q", stat)
	}
	return time.Duration(u+s) * clockTick, nil
}

func ioOf(pid int) (map[string]int64, error) {
	raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/io", pid))
	if err != nil {
		return nil, fmt.Errorf("reading what a process wrote: %w", err)
	}
	counts := map[string]int64{}
	for line := range strings.Lines(string(raw)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), ": ")
		n, err := strconv.ParseInt(value, 10, 64)
		if err != nil {
			return nil, fmt.Errorf("what a process wrote: got %q", line)
		}
		counts[name] = n
	}
	return counts, nil
}

// metrics are series in Prometheus' text form.
type metrics map[string]float64

func parseMetrics(r io.Reader) (metrics, error) {
	m := metrics{}
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		line := lines.Text()
		at := strings.LastIndexByte(line, ' ')
		if strings.HasPrefix(line, "#") || at < 0 {
			continue
		}
		value, err := strconv.ParseFloat(line[at+1:], 64)
		if err != nil {
			return nil, fmt.Errorf("metrics: got %q", line)
		}
		m[line[:at]] = value
	}
	return m, lines.Err()
}

// sum adds up the series of a metric that have all the labels.
func (m metrics) sum(name string, labels ...string) float64 {
	total := 0.0
	for series, value := range m {
		metric, all, _ := strings.Cut(series, "{")
		if metric == name && !slices.ContainsFunc(labels, func(l string) bool { return !strings.Contains(all, l) }) {
			total += value
		}
	}
	return total
}

func (b *bench) apiServerMetrics(ctx context.Context) (metrics, error) {
	raw, err := b.seen.client.Get().AbsPath("/metrics").Do(ctx).Raw()
	if err != nil {
		return nil, fmt.Errorf("reading the API server's metrics: %w", err)
	}
	return parseMetrics(bytes.NewReader(raw))
}

func (b *bench) operatorMetrics(ctx context.Context) (metrics, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.metrics+"/metrics", nil)
	if err != nil {
		return nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return nil, fmt.Errorf("reading the operator's metrics: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("reading the operator's metrics: %s", response.Status)
	}
	return parseMetrics(response.Body)
}
