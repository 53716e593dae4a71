// Package cluster runs a real Kubernetes cluster of one or two nodes on a machine that does not notice it: each node has
// namespaces of its own for mounts, network, processes, IPC, host name and cgroups, and ends with its first process.
package cluster

import (
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"syscall"
)

// The commands of this package, which a program that starts clusters hands on to Execute. They are stages of a node's start:
// the first one joins cgroups, the second one is process 1 within the node's namespaces.
const (
	enterCommand = "cluster-enter"
	nodeCommand  = "cluster-node"
)

// lifeline is the descriptor whose other end a starter may keep: the node ends with it.
const lifeline = 3

// Execute runs one of this package's commands and returns its exit status; ok is false for other command lines.
func Execute(args []string, stderr io.Writer) (status int, ok bool) {
	if len(args) == 0 {
		return 0, false
	}
	stages := map[string]func(node, bool) error{enterCommand: enter, nodeCommand: node.run}
	stage := stages[args[0]]
	if stage == nil {
		return 0, false
	}
	n, lifeline, err := parseNode(args[1:])
	if err == nil {
		err = stage(n, lifeline)
	}
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "%s: %v\n", args[0], err)
		return 1, true
	}
	return 0, true
}

func parseNode(args []string) (node, bool, error) {
	var n node
	flags := flag.NewFlagSet("cluster", flag.ContinueOnError)
	flags.SetOutput(io.Discard)
	flags.StringVar(&n.site, "site", "", "the cluster's folder")
	flags.StringVar(&n.programs, "programs", "", "the folder of its programs")
	flags.IntVar(&n.number, "node", 1, "which node")
	flags.IntVar(&n.of, "of", 1, "how many nodes")
	lifeline := flags.Bool("lifeline", false, "end when descriptor 3 is closed at its other end")
	err := flags.Parse(args)
	n.site = filepath.Clean(n.site)
	return n, *lifeline, err
}

// args are the command line of a stage.
func (n node) args(stage string, lifeline bool) []string {
	return []string{
		stage, "--site=" + n.site + "/", "--programs=" + n.programs, fmt.Sprintf("--node=%d", n.number), fmt.Sprintf("--of=%d", n.of),
		fmt.Sprintf("--lifeline=%t", lifeline),
	}
}

// enter joins cgroups of the node's own below ours and becomes what makes the other namespaces: within, these are the roots.
func enter(n node, lifeline bool) error {
	all, err := ourHierarchies()
	if err != nil {
		return fmt.Errorf("finding our cgroups: %w", err)
	}
	if _, err := join(n.cgroup(), all); err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	unshare, err := programPath("unshare")
	if err != nil {
		return err
	}
	args := append([]string{
		"unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "--kill-child=SIGKILL", "--mount-proc=/proc", self,
	}, n.args(nodeCommand, lifeline)...)
	return fmt.Errorf("becoming %s: %w", unshare, syscall.Exec(unshare, args, os.Environ()))
}
