package harness

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"
)

// ErrShown is returned once the report has told what went wrong.
var ErrShown = errors.New("something failed")

// Report is what the user sees: lines that begin with the elapsed seconds. It is safe for
// concurrent use.
type Report struct {
	name   string // of the program, for the sum at the end
	mu     sync.Mutex
	to     io.Writer
	began  time.Time
	passed int
	failed int
}

// NewReport returns the report of a program of that name. Its time begins now.
func NewReport(name string, to io.Writer) *Report {
	return &Report{name: name, to: to, began: time.Now()}
}

func (r *Report) elapsed() float64 { return time.Since(r.began).Seconds() }

// Sayf tells of something, in one line.
func (r *Report) Sayf(format string, args ...any) { r.Print(r.stamped(fmt.Sprintf(format, args...))) }

// Heading announces the next part.
func (r *Report) Heading(title string) { r.Print("\n" + r.stamped("== "+title)) }

// Passf tells of a step that went as it should.
func (r *Report) Passf(format string, args ...any) {
	r.mu.Lock()
	r.passed++
	r.mu.Unlock()
	r.Sayf("ok: "+format, args...)
}

// Block shows the output of a program under a line of its own.
func (r *Report) Block(headline, text string) {
	var b strings.Builder
	b.WriteString(r.stamped(headline))
	for line := range strings.Lines(strings.TrimRight(text, "\n")) {
		b.WriteString("          " + strings.TrimRight(line, "\n ") + "\n")
	}
	r.Print(b.String())
}

// Fail tells of a failure, with the end of the operator's log if it may help.
func (r *Report) Fail(failure error, log string) {
	r.failed++
	r.Sayf("FAILED: %v", failure)
	if log != "" {
		r.Block("the end of the operator's log:", log)
	}
}

// Finish sums up. It returns an error if anything failed.
func (r *Report) Finish() error {
	r.Print(fmt.Sprintf("\n%s: %d steps passed, %d failed in %.0f s\n", r.name, r.passed, r.failed, r.elapsed()))
	if r.failed > 0 {
		return ErrShown
	}
	return nil
}

func (r *Report) stamped(text string) string { return fmt.Sprintf("[%5.1f s] %s\n", r.elapsed(), text) }

// Print shows a text as it is.
func (r *Report) Print(text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	_, _ = io.WriteString(r.to, text)
}

// Write shows the lines of a program as they come. It expects whole lines.
func (r *Report) Write(p []byte) (int, error) {
	for line := range strings.Lines(string(p)) {
		r.Sayf("  %s", strings.TrimRight(line, "\n"))
	}
	return len(p), nil
}
