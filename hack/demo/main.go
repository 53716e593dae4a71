// Command demo shows pnp-operator at work on this machine: a real Kubernetes API server, a simulated IoT hub with virtual
// devices, and the operator as a process of its own, with no more rights than its ServiceAccount has.
//
// It works from any folder of a clone and builds what it needs. It needs Linux's /proc.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

const usage = `usage: demo COMMAND

Commands:
  run    show and check what the operator does, scenario by scenario, and clean up; exits 1 if anything is not as it should be
  cluster
         leave a real cluster of one node running in bin/cluster, where pods run; needs root and Debian's containerd and runc
  cluster-down
         stop what cluster started and remove bin/cluster
  up     leave a control plane, a simulated hub, devices and the operator running in bin/demo
  down   stop what up started and remove bin/demo
  dev    like up, with the log of the operator here, rebuilt and restarted after each change of a source; an interrupt stops all
`

// errUsage is returned for a command line that usage answers.
var errUsage = errors.New("unusable command line")

func main() { os.Exit(status()) }

// status runs the command line of this process and returns its exit status.
func status() int {
	if status, ok := cluster.Execute(os.Args[1:], os.Stderr); ok {
		return status
	}
	ctx, stop := signal.NotifyContext(context.Background(), harness.EndSignals(false)...)
	defer stop()
	harness.SilenceClients()
	err := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errUsage):
		return 2
	case !errors.Is(err, harness.ErrShown):
		_, _ = fmt.Fprintf(os.Stderr, "demo: %v\n", err)
	}
	return 1
}

// execute runs one command line.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	if len(args) != 1 {
		_, _ = io.WriteString(stderr, usage)
		return errUsage
	}
	command, ok := map[string]func(context.Context, harness.Clone, *harness.Report) error{
		"run": run, "up": up, "down": down, "dev": dev,
		"cluster": clusterUp, "cluster-down": clusterDown,
	}[args[0]]
	if !ok {
		_, _ = io.WriteString(stderr, usage)
		return errUsage
	}
	c, err := harness.FindClone()
	if err != nil {
		return err
	}
	return command(ctx, c, harness.NewReport(nameOf(args[0]), stdout))
}

// nameOf is what the report calls itself.
func nameOf(command string) string {
	switch command {
	case "cluster", "cluster-down":
		return command
	}
	return "demo"
}
