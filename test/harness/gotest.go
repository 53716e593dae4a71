package harness

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/go-logr/logr"
	"k8s.io/klog/v2"
	"sigs.k8s.io/controller-runtime/pkg/log"
)

// SilenceClients has the clients of Kubernetes in this process print nothing: what matters is in a
// report.
func SilenceClients() {
	log.SetLogger(logr.Discard())
	klog.SetLogger(logr.Discard())
}

// EndSignals returns the signals that end a run like an interrupt: with a clean-up. A reader of its
// output that goes away is one as well, unless the run breaks connections on purpose: then it gets
// that signal for them, and nobody has to end.
func EndSignals(breaksConnections bool) []os.Signal {
	ends := []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP}
	if breaksConnections {
		signal.Ignore(syscall.SIGPIPE)
		return ends
	}
	return append(ends, syscall.SIGPIPE)
}

// errEnded is why a test of the whole does not begin after a signal ended the one before it.
var errEnded error

// timeToCleanUp is how long before the end of go test's -timeout a test of the whole ends, since go
// test leaves behind whatever runs then.
const timeToCleanUp = time.Minute

// Begin begins a test of the whole, which tells what it does in the report of that name on standard
// output. The context ends with a signal of EndSignals, and before the time of go test is over.
//
// Such a test takes minutes, so that it is skipped unless -run names it: `go test ./...` goes on
// without, and the make target that the skip names runs it.
func Begin(t *testing.T, name string, breaksConnections bool) (context.Context, Clone, *Report) {
	t.Helper()
	if !isNamed(t.Name(), flag.Lookup("test.run").Value.String()) {
		t.Skipf("it takes minutes: make %s runs it, or go test with -v and -run %s", name, t.Name())
	}
	if errEnded != nil {
		t.Fatalf("not begun: %v", errEnded)
	}
	c, err := FindClone()
	if err != nil {
		t.Fatal(err)
	}
	SilenceClients()
	ctx, stop := signal.NotifyContext(context.Background(), EndSignals(breaksConnections)...)
	t.Cleanup(func() {
		if ctx.Err() != nil {
			errEnded = context.Cause(ctx)
		}
		stop()
	})
	if deadline, ok := t.Deadline(); ok {
		late := fmt.Errorf("the -timeout of go test is over in %s: give it a longer one, or 0", timeToCleanUp)
		limited, cancel := context.WithDeadlineCause(ctx, deadline.Add(-timeToCleanUp), late)
		t.Cleanup(cancel)
		ctx = limited
	}
	return ctx, c, NewReport(name, os.Stdout)
}

// SubtestPattern returns the part of -run that is for the tests within a test, and nothing where
// there is none.
func SubtestPattern(t *testing.T) string {
	t.Helper()
	return patternWithin(t.Name(), flag.Lookup("test.run").Value.String())
}

// patternWithin returns what follows the name of a test in a pattern.
func patternWithin(test, pattern string) string {
	_, within, _ := strings.Cut(pattern, test)
	_, within, _ = strings.Cut(within, "/")
	return within
}

// isNamed reports whether the pattern of -run means a test by its name.
func isNamed(test, pattern string) bool { return strings.Contains(pattern, test) }

// Settle fails a test unless there is no error. One that a report has shown is not shown again.
func Settle(t *testing.T, err error) {
	t.Helper()
	switch {
	case errors.Is(err, ErrShown):
		t.Fail()
	case err != nil:
		t.Error(err)
	}
}
