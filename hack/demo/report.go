package main

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// errShown is returned once the report has told what went wrong.
var errShown = errors.New("something failed")

// report is what the user sees: lines that begin with the elapsed seconds. It is safe for concurrent use.
type report struct {
	name   string // of the program, for the sum at the end
	mu     sync.Mutex
	to     io.Writer
	began  time.Time
	passed int
	failed int
}

func newReport(name string, to io.Writer) *report {
	return &report{name: name, to: to, began: time.Now()}
}

func (r *report) elapsed() float64 { return time.Since(r.began).Seconds() }

func (r *report) sayf(format string, args ...any) { r.write(r.stamped(fmt.Sprintf(format, args...))) }

// scenario announces the next part.
func (r *report) scenario(title string) { r.write("\n" + r.stamped("== "+title)) }

// passf tells of a step that went as it should.
func (r *report) passf(format string, args ...any) {
	r.mu.Lock()
	r.passed++
	r.mu.Unlock()
	r.sayf("ok: "+format, args...)
}

// block shows the output of a program under a line of its own.
func (r *report) block(headline, text string) {
	var b strings.Builder
	b.WriteString(r.stamped(headline))
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		b.WriteString("          " + strings.TrimRight(line, "\n ") + "\n")
	}
	r.write(b.String())
}

// fail tells of a failure, with the end of the operator's log if it may help.
func (r *report) fail(failure error, log string) {
	r.failed++
	r.sayf("FAILED: %v", failure)
	if log != "" {
		r.block("the end of the operator's log:", log)
	}
}

// finish sums up. It returns an error if anything failed.
func (r *report) finish() error {
	r.write(fmt.Sprintf("\n%s: %d steps passed, %d failed in %.0f s\n", r.name, r.passed, r.failed, r.elapsed()))
	if r.failed > 0 {
		return errShown
	}
	return nil
}

func (r *report) stamped(text string) string { return fmt.Sprintf("[%5.1f s] %s\n", r.elapsed(), text) }

func (r *report) write(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.to, text)
}

// Write shows the lines of a program as they come. It expects whole lines.
func (r *report) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		r.sayf("  %s", strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}
