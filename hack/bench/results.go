package main

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"text/tabwriter"
	"time"
)

// Results are what a run measured.
type Results struct {
	Started time.Time `json:"started"`
	Version string    `json:"version"`
	Machine string    `json:"machine"`
	// Quick is true if few devices were used: the ratios say little then.
	Quick  bool     `json:"quick"`
	Rows   []*Row   `json:"rows"`
	Points []*Point `json:"points"`

	part string // that rows are added for
	dir  string
}

// Row is one measure.
type Row struct {
	Part    string `json:"part"`
	Measure string `json:"measure"`
	Unit    string `json:"unit"`
	// Value is the median of the samples, and Low and High are the smallest and the largest.
	Value   float64 `json:"value"`
	Low     float64 `json:"low"`
	High    float64 `json:"high"`
	Samples int     `json:"samples"`
	// Limit is the target: at most this much. nil: the measure has none.
	Limit *float64 `json:"limit,omitempty"`
	Note  string   `json:"note,omitempty"`
}

// Point is one point of a line of the chart.
type Point struct {
	Line    string  `json:"line"`
	Devices int     `json:"devices"`
	Value   float64 `json:"value"`
}

func newResults(o Options) *Results {
	return &Results{Started: time.Now().UTC().Truncate(time.Second), Version: o.Version, Machine: machine(), Quick: o.Quick, dir: o.Out}
}

// machine says what the run depends on most.
func machine() string {
	model := "unknown processor"
	if raw, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range strings.Lines(string(raw)) {
			if name, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	return fmt.Sprintf("%d × %s, %s, %s/%s", runtime.NumCPU(), model, runtime.Version(), runtime.GOOS, runtime.GOARCH)
}

// add adds a measure. Its value is the median of the samples.
func (r *Results) add(measure, unit string, s sample) *Row {
	row := &Row{Part: r.part, Measure: measure, Unit: unit, Value: s.median(), Low: s.quantile(0), High: s.quantile(1), Samples: len(s)}
	r.Rows = append(r.Rows, row)
	return row
}

// one adds a measure that was taken once.
func (r *Results) one(measure, unit string, value float64) *Row {
	return r.add(measure, unit, sample{value})
}

// atMost sets the target.
func (r *Row) atMost(limit float64) *Row {
	r.Limit = &limit
	return r
}

func (r *Row) notef(format string, args ...any) *Row {
	r.Note = fmt.Sprintf(format, args...)
	return r
}

func (r *Results) point(line string, devices int, value float64) {
	r.Points = append(r.Points, &Point{line, devices, value})
}

// Table shows the rows.
func (r *Results) Table() string {
	var b strings.Builder
	fmt.Fprintf(&b, "\n%s, %s, %s\n", r.Version, r.Machine, r.Started.Format(time.RFC3339))
	if r.Quick {
		b.WriteString("A quick run with few devices: it shows that everything works, its numbers say little.\n")
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', 0)
	part := ""
	for _, row := range r.Rows {
		if row.Part != part {
			part = row.Part
			_, _ = fmt.Fprintf(w, "\n%s\n", part)
		}
		_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%s\n", row.Measure, row.value(), row.spread(), row.target())
	}
	_ = w.Flush() // into memory
	return b.String()
}

// Markdown is the table as docs/scale.md has it.
func (r *Results) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s, %s%s\n\n| part | measure | result | smallest to largest | target |\n| --- | --- | --- | --- | --- |\n",
		r.Version, r.Machine, r.Started.Format(time.RFC3339), quickly(r.Quick))
	for _, row := range r.Rows {
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s |\n", row.Part, row.Measure, row.value(), row.spread(), row.target())
	}
	return b.String()
}

func (r *Row) value() string {
	if r.Unit == "ratio" {
		return number(r.Value)
	}
	return number(r.Value) + " " + r.Unit
}

func (r *Row) spread() string {
	if r.Samples < 2 {
		return ""
	}
	return fmt.Sprintf("%s to %s, n=%d", number(r.Low), number(r.High), r.Samples)
}

func (r *Row) target() string {
	words := []string{}
	if r.Limit != nil {
		words = append(words, fmt.Sprintf("target %s: %s", number(*r.Limit), r.verdict()))
	}
	if r.Note != "" {
		words = append(words, r.Note)
	}
	return strings.Join(words, "; ")
}

func (r *Row) verdict() string {
	if r.Value <= *r.Limit {
		return "met"
	}
	return "MISSED"
}

// number has three digits that count, and no more.
func number(v float64) string {
	if math.IsNaN(v) {
		return "none"
	}
	if math.Abs(v) >= 100 {
		return thousands(int(math.Round(v)))
	}
	digits := 2
	if math.Abs(v) >= 10 {
		digits = 1
	}
	text := strconv.FormatFloat(v, 'f', digits, 64)
	if strings.Contains(text, ".") {
		text = strings.TrimRight(strings.TrimRight(text, "0"), ".")
	}
	return text
}

// thousands are set apart by commas.
func thousands(n int) string {
	text := strconv.Itoa(n)
	for at := len(text) - 3; at > 0 && text[at-1] != '-'; at -= 3 {
		text = text[:at] + "," + text[at:]
	}
	return text
}

func (r *Results) files() []string {
	name := "bench"
	if r.Quick {
		name = "bench-quick"
	}
	stamp := r.Started.Format("20060102-150405")
	at := filepath.Join(r.dir, name+"-"+stamp)
	return []string{at + ".json", at + ".svg", at + ".md"}
}

// write puts everything into the files, over what was there: the numbers also if they cannot be
// drawn.
func (r *Results) write() error {
	if err := os.MkdirAll(r.dir, 0o755); err != nil {
		return fmt.Errorf("making the folder of the results: %w", err)
	}
	raw, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encoding the results: %w", err)
	}
	picture, drawing := chart(r)
	contents := [][]byte{append(raw, '\n'), picture, []byte(r.Markdown())}
	for i, file := range r.files() {
		if err := os.WriteFile(file, contents[i], 0o644); err != nil {
			return fmt.Errorf("writing the results: %w", err)
		}
	}
	return drawing
}
