// Command hubcheck compares what this project believes of Azure IoT Hub with a hub that is really there: it makes a device of its
// own, plays one fact after the other with it, prints what was expected and what was seen, and removes the device. It writes nothing
// else, unless it is asked to, and takes fewer than 500 messages.
//
// The facts are those that Microsoft does not document, that were inferred, or that somebody saw once: the files facts_*.go.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/pflag"
)

// Exit codes.
const (
	allAgree    = 0
	someDiffer  = 1
	couldNotRun = 2
)

func main() { os.Exit(status()) }

func status() int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	return run(ctx, os.Args[1:], os.Stdout, os.Stderr)
}

// run plays the facts that the arguments select, and returns the exit code.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) int {
	o, err := parseOptions(args, stderr)
	if errors.Is(err, pflag.ErrHelp) {
		return allAgree
	}
	var rows []row
	var secrets hider
	if err == nil {
		rows, err = o.check(ctx, &secrets, stdout)
	}
	if err != nil {
		_, _ = fmt.Fprintln(stderr, "hubcheck:", secrets.hide(err.Error()))
		return couldNotRun
	}
	return exitCode(rows)
}

// check makes the device, plays the facts, prints the table and removes the device whatever happened.
func (o options) check(ctx context.Context, secrets *hider, out io.Writer) (rows []row, err error) {
	s, err := o.site(ctx, secrets)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, s.close()) }()
	_, _ = fmt.Fprintf(out, "hub %s, device %s, %d facts\n", s.hub.hostName, s.id, len(o.facts))
	if err := s.begin(ctx); err != nil {
		return nil, err
	}
	for _, c := range o.facts {
		r := s.playOne(ctx, c)
		r.seen = secrets.hide(r.seen)
		_, _ = io.WriteString(out, progress(r))
		rows = append(rows, r)
	}
	_, _ = io.WriteString(out, "\n"+table(rows)+summary(rows, s.meter))
	if ctx.Err() != nil {
		return rows, errors.New("interrupted")
	}
	return rows, nil
}
