package main

import (
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

func TestNumbersHaveThreeDigits(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 0.004: "0", 1.256: "1.26", 12.34: "12.3", 100: "100", 1234.6: "1,235", 1_000_000: "1,000,000", 2: "2", 10: "10", -1500: "-1,500"} {
		if got := number(v); got != want {
			t.Errorf("%g: got %q, want %q", v, got, want)
		}
	}
}

func TestVerdicts(t *testing.T) {
	r := newResults(Options{})
	r.part = "p"
	r.add("slow", "ratio", sample{1, 3, 2}).atMost(1.5)
	r.one("fast", "ms", 1).atMost(1)
	r.one("free", "ms", 7)
	table := r.Table()
	for _, want := range []string{"1 to 3, n=3", "target 1.5: MISSED", "target 1: met", "7 ms"} {
		if !strings.Contains(table, want) {
			t.Errorf("no %q in\n%s", want, table)
		}
	}
}

func TestWrittenFiles(t *testing.T) {
	r := newResults(Options{Out: t.TempDir(), Version: "v<1>", Quick: true})
	r.add("m", "ms", sample{1, 2})
	for _, devices := range []int{1000, 100, 10_000} {
		r.point("operator devices/s", devices, 500)
		r.point("operator p99 ms", devices, 42)
	}
	if err := r.write(); err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(r.files()[0])
	if err != nil {
		t.Fatal(err)
	}
	var again Results
	if err := json.Unmarshal(raw, &again); err != nil || len(again.Rows) != 1 || again.Rows[0].High != 2 || !again.Quick {
		t.Errorf("got %+v, %v", again, err)
	}
	raw, err = os.ReadFile(r.files()[1])
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, string(raw))
	if n := len(linesOf(t, string(raw))); n != 2 {
		t.Errorf("%d lines in the chart, want 2", n)
	}
}

func wellFormed(t *testing.T, svg string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(svg))
	for {
		if _, err := d.Token(); errors.Is(err, io.EOF) {
			return
		} else if err != nil {
			t.Fatal(err, svg)
		}
	}
}
