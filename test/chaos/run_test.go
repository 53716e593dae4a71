// Package chaos has everything go wrong at random while the operator works, and asks package oracle
// what it thinks of the result.
package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"sync"
	"time"

	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// chaosRun is what both kinds of chaos have: an operator that things are done to, and commands that are counted.
type chaosRun struct {
	*harness.Testbed
	*harness.Observer
	folder    string // of what is left of the run
	seed      uint64
	operators *operators
	disturbed map[string]int // by what was done to the operator

	mu   sync.Mutex
	done map[string]bool // the commands that have an outcome
}

// newChaosRun builds what a run needs, and empties the folder for what it leaves: the log of each start of an operator at least. The seed is $SEED, or that of the
// day.
func newChaosRun(ctx context.Context, c harness.Clone, out *harness.Report, folder string, replicas int) (*chaosRun, error) {
	var seed int
	if err := harness.NumberFromEnvironment("SEED", &seed, int(time.Now().UnixNano()%1_000_000)); err != nil {
		return nil, err
	}
	if err := c.Build(ctx, out); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "chaos-run-")
	if err != nil {
		return nil, fmt.Errorf("making the folder of the run: %w", err)
	}
	k := &chaosRun{Testbed: harness.NewTestbed(c, dir, out), folder: c.Path(folder), seed: uint64(seed), disturbed: map[string]int{}, done: map[string]bool{}}
	if err := errors.Join(os.RemoveAll(k.folder), os.MkdirAll(k.folder, 0o700)); err != nil {
		return nil, err
	}
	k.operators, err = newOperators(k.Testbed, k.folder, replicas)
	return k, err
}

// begin starts everything, up to an operator that knows the hub.
func (k *chaosRun) begin(ctx context.Context) (_ context.Context, err error) {
	if ctx, err = k.Prepare(ctx); err != nil {
		return ctx, err
	}
	if err := k.operators.launch(ctx); err != nil {
		return ctx, err
	}
	if err := k.ApplyHub(ctx); err != nil {
		return ctx, err
	}
	if k.Observer, err = k.Observe(ctx); err != nil {
		return ctx, err
	}
	return ctx, k.count(ctx)
}

// count keeps track of the commands that have an outcome.
func (k *chaosRun) count(ctx context.Context) error {
	return k.follow(ctx, &v1alpha1.DeviceCommand{}, func(o any) { k.note(o.(*v1alpha1.DeviceCommand)) })
}

// follow has each state of the objects of a kind seen, as far as the API server is there to tell.
func (k *chaosRun) follow(ctx context.Context, kind client.Object, see func(any)) error {
	config, err := clientcmd.BuildConfigFromFlags("", k.Kubectl.Kubeconfig)
	if err != nil {
		return err
	}
	objects, err := cache.New(config, cache.Options{Scheme: k.Client.Scheme(), DefaultNamespaces: map[string]cache.Config{harness.Namespace: {}}})
	if err != nil {
		return err
	}
	go func() { _ = objects.Start(ctx) }() // ends with ctx only
	informer, err := objects.GetInformer(ctx, kind)
	if err != nil {
		return fmt.Errorf("watching %T: %w", kind, err)
	}
	_, err = informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: see, UpdateFunc: func(_, o any) { see(o) }})
	return err
}

func (k *chaosRun) note(command *v1alpha1.DeviceCommand) {
	if !command.Finished() {
		return
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.done[command.Name] = true
}

func (k *chaosRun) finished() int {
	k.mu.Lock()
	defer k.mu.Unlock()
	return len(k.done)
}

// judgeCommands holds what status says of commands against what the devices counted.
func (k *chaosRun) judgeCommands(ctx context.Context, devices []string, count int) (map[v1alpha1.CommandOutcome]int, error) {
	ran := map[string]int{}
	for _, id := range devices {
		commands, err := k.Hub.Commands(ctx, id)
		if err != nil {
			return nil, err
		}
		for _, c := range commands {
			var name string
			if err := json.Unmarshal(c.Payload, &name); err != nil {
				return nil, err
			}
			ran[name]++
		}
	}
	var list v1alpha1.DeviceCommandList
	if err := k.Client.List(ctx, &list, client.InNamespace(harness.Namespace)); err != nil {
		return nil, err
	}
	outcomes := map[v1alpha1.CommandOutcome]int{}
	var twice, lies []string
	for _, c := range list.Items {
		outcomes[c.Status.Outcome]++
		if ran[c.Name] > 1 {
			twice = append(twice, c.Name)
		}
		if c.Status.Outcome == v1alpha1.CommandSucceeded && ran[c.Name] == 0 {
			lies = append(lies, c.Name)
		}
	}
	return outcomes, errors.Join(
		k.Check("commands that reached a device twice", "none", fmt.Sprintf("%v of %d that ran", twice, len(ran)), len(twice) == 0),
		k.Check("commands that Succeeded and were not run", "none", fmt.Sprint(lies), len(lies) == 0),
		k.Check("commands without an outcome", "0", fmt.Sprint(outcomes[""]), outcomes[""] == 0),
		k.Check("commands", fmt.Sprint(count), fmt.Sprint(len(list.Items)), len(list.Items) == count),
	)
}
