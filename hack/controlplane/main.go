// Command controlplane-multicall is etcd, kube-apiserver, kube-controller-manager and kubectl in one binary.
//
// One binary links the Kubernetes packages once instead of three times. The name it was called by chooses the program, as
// with a link from kubectl to it; called by another name, its first argument chooses.
package main

import (
	"fmt"
	"os"
	"path/filepath"
	_ "time/tzdata" // time zones for CronJobs, on machines that have none installed

	"go.etcd.io/etcd/server/v3/etcdmain"
	_ "k8s.io/client-go/plugin/pkg/client/auth" // the auth providers that a kubeconfig may name
	"k8s.io/component-base/cli"
	"k8s.io/component-base/logs"
	_ "k8s.io/component-base/logs/json/register"          // --logging-format=json
	_ "k8s.io/component-base/metrics/prometheus/clientgo" // client-go's metrics
	_ "k8s.io/component-base/metrics/prometheus/version"  // the version metric
	"k8s.io/kubectl/pkg/cmd"
	"k8s.io/kubectl/pkg/cmd/util"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
)

const usage = `usage: controlplane-multicall PROGRAM [ARGUMENT]...

PROGRAM is etcd, kube-apiserver, kube-controller-manager or kubectl. A link of that name to this binary needs no PROGRAM.
`

// program runs one of the programs with os.Args as its command line and returns its exit code.
type program func() int

// programs are what this binary can be called as.
var programs = map[string]program{
	"etcd":                    runEtcd,
	"kube-apiserver":          runAPIServer,
	"kube-controller-manager": runControllerManager,
	"kubectl":                 runKubectl,
}

func main() {
	run, args := choose(os.Args)
	if run == nil {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	// The programs read os.Args themselves, and kubectl looks for plugins by its first element.
	os.Args = args
	os.Exit(run())
}

// choose returns the program that args call for and the command line to give it, or a nil program if they name none.
func choose(args []string) (program, []string) {
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

func runEtcd() int {
	etcdmain.Main(os.Args)
	return 0
}

func runAPIServer() int {
	return cli.Run(apiserver.NewAPIServerCommand())
}

func runControllerManager() int {
	return cli.Run(controllermanager.NewControllerManagerCommand())
}

func runKubectl() int {
	// As in kubectl's own main: the verbosity has to be known before the command is made, since making it loads plugins and
	// the kuberc file. An unparsable value is reported when the flags are parsed.
	_, _ = logs.GlogSetter(cmd.GetLogVerbosity(os.Args))
	if err := cli.RunNoErrOutput(cmd.NewDefaultKubectlCommand()); err != nil {
		util.CheckErr(err)
	}
	return 0
}
