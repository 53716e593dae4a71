package main

import (
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
)

// cornersOfLine are the three corners of a line as SVG has it, which nothing else in a chart has.
var cornersOfLine = regexp.MustCompile(`<path d="M([\d.]+),([\d.]+)L([\d.]+),([\d.]+)L([\d.]+),([\d.]+)"`)

// linesOf returns the corners of each line of three points, in points from the left and from below.
func linesOf(t *testing.T, svg string) (lines [][3][2]float64) {
	t.Helper()
	for _, match := range cornersOfLine.FindAllStringSubmatch(svg, -1) {
		var line [3][2]float64
		for i, text := range match[1:] {
			v, err := strconv.ParseFloat(text, 64)
			if err != nil {
				t.Fatal(err)
			}
			line[i/2][i%2] = v
		}
		lines = append(lines, line)
	}
	return lines
}

// textsOf returns what is written in a chart.
func textsOf(svg string) (texts []string) {
	for _, match := range regexp.MustCompile(`>([^<>]+)</text>`).FindAllStringSubmatch(svg, -1) {
		texts = append(texts, match[1])
	}
	return texts
}

func chartOf(t *testing.T, r *Results) string {
	t.Helper()
	svg, err := chart(r)
	if err != nil {
		t.Fatal(err)
	}
	wellFormed(t, string(svg))
	return string(svg)
}

// measured returns a line that rises tenfold with each ten times as many devices, and two that do
// not, of points in disorder.
func measured() *Results {
	r := newResults(Options{Version: "v<1>", Quick: true})
	for _, devices := range []int{1000, 100, 10_000} {
		r.point("operator devices/s", devices, float64(devices)/10)
		r.point("operator p99 ms", devices, 90)
		r.point("by hand p99 ms", devices, 20)
	}
	return r
}

func TestChartHasEachPointInItsPlace(t *testing.T) {
	lines := linesOf(t, chartOf(t, measured()))
	if len(lines) != 3 {
		t.Fatalf("got %d lines, want 3: %v", len(lines), lines)
	}
	for i, line := range lines {
		rise, run := line[1][1]-line[0][1], line[1][0]-line[0][0]
		if run <= 0 || math.Abs(line[2][0]-line[1][0]-run) > 0.1 {
			t.Errorf("line %d: ten times the devices are not the same way to the right: %v", i, line)
		}
		if math.Abs(line[2][1]-line[1][1]-rise) > 0.1 || (rise > 1) != (i == 0) {
			t.Errorf("line %d: ten times the value is not the same way up: %v", i, line)
		}
		if (line[0][0] > float64(panelWidth)) != (i > 0) {
			t.Errorf("line %d is in the panel of another unit: %v", i, line)
		}
	}
	if byHand, operator := lines[1], lines[2]; byHand[0][1] >= operator[0][1] {
		t.Errorf("20 ms are not below 90 ms: %v, %v", byHand, operator)
	}
}

func TestChartNamesWhatItShows(t *testing.T) {
	r := measured()
	texts := textsOf(chartOf(t, r))
	for text, want := range map[string]int{
		"Devices converged a second": 1, "devices/s": 1, "operator": 1,
		"Apply to acknowledged in status": 1, "ms": 1, "operator p99": 1, "by hand p99": 1,
		"devices": 2, "10,000": 2, "1,000": 3, "100": 4, "10": 2,
		"v&lt;1&gt;, " + r.Machine + ", a quick run": 1,
	} {
		got := 0
		for _, other := range texts {
			if other == text {
				got++
			}
		}
		if got != want {
			t.Errorf("%q is written %d times, want %d, in %q", text, got, want, texts)
		}
	}
}

func TestChartWithoutPoints(t *testing.T) {
	texts := textsOf(chartOf(t, newResults(Options{})))
	if i := slices.Index(texts, "not measured in this run"); i < 0 || !slices.Contains(texts[i+1:], texts[i]) {
		t.Errorf("no two panels say that they have nothing: %q", texts)
	}
}

func TestChartOfEqualValues(t *testing.T) {
	r := newResults(Options{})
	r.point("one devices/s", 100, 10)
	svg := chartOf(t, r)
	if strings.Contains(svg, "NaN") || strings.Contains(svg, "Inf") || !slices.Contains(textsOf(svg), "one") {
		t.Error(svg)
	}
}

func TestChartLeavesOutWhatHasNoLogarithm(t *testing.T) {
	r := measured()
	r.point("operator p99 ms", 10, 0)
	r.point("script p99 ms", 100, math.NaN())
	if svg := chartOf(t, r); svg != chartOf(t, measured()) {
		t.Error(svg)
	}
}
