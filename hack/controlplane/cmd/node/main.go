// Command node is what makes pods run beside a control plane, in one binary: kubelet, kube-proxy, kube-scheduler and a
// small DNS server.
//
// It is a binary of its own because tests and the demonstration run no pods and do not wait for it. The name it was called
// by chooses the program; called by another name, its first argument chooses.
package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"

	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version metric
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
	scheduler "k8s.io/kubernetes/cmd/kube-scheduler/app"
	kubelet "k8s.io/kubernetes/cmd/kubelet/app"
)

const usage = `usage: node PROGRAM [ARGUMENT]...

PROGRAM is kubelet, kube-proxy, kube-scheduler or cluster-dns. A link of that name to this binary needs no PROGRAM.
`

// programs run with os.Args as their command line and return an exit code.
var programs = map[string]func() int{
	"kubelet":        func() int { return cli.Run(kubelet.NewKubeletCommand(context.Background())) },
	"kube-proxy":     func() int { return cli.Run(proxy.NewProxyCommand()) },
	"kube-scheduler": func() int { return cli.Run(scheduler.NewSchedulerCommand()) },
	"cluster-dns":    runDNS,
}

func main() {
	run, args := choose(os.Args)
	if run == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	os.Args = args // which the programs read themselves
	os.Exit(run())
}

// choose returns the program that args call for and the command line to give it, or nil if they name none.
func choose(args []string) (func() int, []string) {
	if len(args) == 0 {
		return nil, nil
	}
	if run, ok := programs[filepath.Base(args[0])]; ok {
		return run, args
	}
	if len(args) == 1 {
		return nil, nil
	}
	return programs[args[1]], args[1:]
}
