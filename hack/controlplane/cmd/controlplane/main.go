// Command controlplane starts and stops a Kubernetes control plane for development and tests: etcd, kube-apiserver with RBAC
// and kube-controller-manager, on free loopback ports, with everything they write in one folder. It needs Linux's /proc.
//
// It uses only the standard library, so it builds in a second and runs any release's binaries.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"
	"time"
)

const usage = `usage: controlplane COMMAND [FLAG]... DIR

Commands:
  up      start a control plane in DIR and leave it running; does nothing if one runs there
  run     start a control plane in DIR and stop it on SIGINT or SIGTERM
  down    stop the control plane of DIR
  status  tell what runs in DIR; exits 1 unless the control plane is ready
  keys    write keys and kubeconfigs for a cluster with nodes to DIR, and start nothing: keys -service ADDRESS DIR NAME=ADDRESS...

DIR is made if it does not exist. DIR/kubeconfig is the administrator's kubeconfig, DIR/*.log are the logs. Each start begins
with an empty cluster: what an earlier one left in DIR is removed.

Flags:
`

// errUsage is returned for a command line that usage answers.
var errUsage = errors.New("unusable command line")

// options are what the command line says.
type options struct {
	command string
	dir     string
	assets  string
	timeout time.Duration
	grace   time.Duration
	service net.IP
	nodes   []node
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	err := execute(ctx, os.Args[1:], os.Stdout, os.Stderr)
	switch {
	case errors.Is(err, errUsage):
		os.Exit(2)
	case err != nil:
		fmt.Fprintf(os.Stderr, "controlplane: %v\n", err)
		os.Exit(1)
	}
}

// execute runs one command line. It prints what was done to stdout, and the usage to stderr.
func execute(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	opts, err := parse(args, stderr)
	if err != nil {
		return err
	}
	cp := &controlPlane{dir: opts.dir, grace: opts.grace, out: stdout}
	switch opts.command {
	case "down":
		return cp.down(ctx)
	case "status":
		return cp.status(ctx)
	case "keys":
		return writeNodeKeys(opts.dir, opts.service, opts.nodes)
	}
	if cp.assets, err = findAssets(opts.assets); err != nil {
		return err
	}
	if opts.command == "up" {
		return cp.up(ctx, opts.timeout)
	}
	return cp.run(ctx, opts.timeout)
}

// parse reads the command line.
func parse(args []string, stderr io.Writer) (options, error) {
	var opts options
	flags := flag.NewFlagSet("controlplane", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() {
		_, _ = fmt.Fprint(stderr, usage)
		flags.PrintDefaults()
	}
	flags.StringVar(&opts.assets, "assets", "", "the `folder` of the binaries; by default $KUBEBUILDER_ASSETS or that of this program")
	flags.DurationVar(&opts.timeout, "timeout", 2*time.Minute, "how long a start may take")
	flags.DurationVar(&opts.grace, "grace", 20*time.Second, "how long each process may take to stop before it is killed")
	flags.Func("service", "for keys: the `address` of Service kubernetes", func(text string) error {
		opts.service = net.ParseIP(text)
		if opts.service == nil {
			return errors.New("no IP address")
		}
		return nil
	})
	if len(args) > 0 {
		opts.command, args = args[0], args[1:]
	}
	switch opts.command {
	case "up", "run", "down", "status", "keys":
	default:
		flags.Usage()
		return opts, errUsage
	}
	if err := flags.Parse(args); err != nil {
		return opts, errUsage // the flag set has told why
	}
	keys := opts.command == "keys"
	if flags.NArg() == 0 || flags.Arg(0) == "" || keys != (flags.NArg() > 1) || keys != (opts.service != nil) {
		flags.Usage()
		return opts, errUsage
	}
	for _, text := range flags.Args()[1:] {
		n, err := parseNode(text)
		if err != nil {
			return opts, err
		}
		opts.nodes = append(opts.nodes, n)
	}
	dir, err := filepath.Abs(flags.Arg(0))
	if err != nil {
		return opts, fmt.Errorf("finding folder %q: %w", flags.Arg(0), err)
	}
	opts.dir = dir
	return opts, nil
}

// findAssets returns the folder that the binaries are in: the one named, else $KUBEBUILDER_ASSETS, else this program's own.
func findAssets(named string) (string, error) {
	dir := named
	if dir == "" {
		dir = os.Getenv("KUBEBUILDER_ASSETS")
	}
	if dir == "" {
		self, err := os.Executable()
		if err != nil {
			return "", fmt.Errorf("finding this program's folder: %w", err)
		}
		dir = filepath.Dir(self)
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", fmt.Errorf("finding folder %q: %w", dir, err)
	}
	for _, name := range []string{etcd, apiServer} {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			return "", fmt.Errorf("folder %q has no %s: build it with hack/controlplane/build.sh or name another folder: %w", dir, name, err)
		}
	}
	return dir, nil
}
