package main

import (
	"os"
	"strings"
	"testing"
	"time"
)

func TestProcessorTimeOfAProcessWithAnOddName(t *testing.T) {
	got, err := parseCPU([]byte("42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 150 25 13 14 15\n"))
	if err != nil || got != 1750*time.Millisecond {
		t.Errorf("got %s, %v, want 1.75s", got, err)
	}
	if _, err := parseCPU([]byte("42 (a) S 1 2")); err == nil {
		t.Error("a line that is cut short: no error")
	}
}

func TestUsageOfThisProcess(t *testing.T) {
	if _, err := cpuOf(os.Getpid()); err != nil {
		t.Error(err)
	}
	io, err := ioOf(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"write_bytes", "wchar"} {
		if _, ok := io[name]; !ok {
			t.Errorf("no %s in %v", name, io)
		}
	}
}

func TestMetrics(t *testing.T) {
	m, err := parseMetrics(strings.NewReader(`# HELP requests Of all kinds.
requests{code="200",verb="PATCH"} 3
requests{code="409",verb="PATCH"} 1
requests{code="200",verb="GET"} 40
requests_total{verb="PATCH"} 1000
goroutines 1.5e+02
`))
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		got, want float64
	}{{m.sum("requests", `verb="PATCH"`), 4}, {m.sum("requests"), 44}, {m.sum("requests", `verb="PATCH"`, `code="409"`), 1}, {m.sum("goroutines"), 150}, {m.sum("absent"), 0}} {
		if c.got != c.want {
			t.Errorf("got %g, want %g", c.got, c.want)
		}
	}
	if _, err := parseMetrics(strings.NewReader("requests many\n")); err == nil {
		t.Error("a value that is no number: no error")
	}
}

func TestUsageSince(t *testing.T) {
	before := usage{cpu: map[string]time.Duration{operator: time.Second}, written: map[string]int64{etcd: 10}, sent: map[string]int64{}, calls: map[string]int{"GetTwin": 2, "Query": 1}, statusPatches: 5}
	after := usage{cpu: map[string]time.Duration{operator: 3 * time.Second, etcd: time.Second}, written: map[string]int64{etcd: 30}, sent: map[string]int64{}, calls: map[string]int{"GetTwin": 2, "Query": 4, "PatchTwin": 7}, statusPatches: 9}
	used := after.since(before)
	if used.processor() != 3*time.Second || used.written[etcd] != 20 || used.statusPatches != 4 {
		t.Errorf("got %+v", used)
	}
	if used.hubCalls() != 7 || used.callText() != "PatchTwin 7, Query 3" {
		t.Errorf("got %d calls, %q", used.hubCalls(), used.callText())
	}
}
