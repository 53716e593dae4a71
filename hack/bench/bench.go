// Command bench measures the operator against a bare loop, on one machine and in one run, and
// prints ratios. It never fails because of a number; it fails if what it measured did not do its
// work.
package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// Options say what is measured.
type Options struct {
	// Parts to run, all if empty.
	Parts []string
	// Devices are the numbers of devices to measure with, ascending, and Rounds how often what is compared is repeated; zero values are the usual ones.
	Devices []int
	Rounds  int
	// Quick runs with few devices, for a look at whether everything works; its ratios say little.
	Quick bool
	// Out is the folder that the results are written to.
	Out string
	// Version of the operator.
	Version string
}

// size is how much is measured.
type size struct {
	devices     []int // numbers of devices to converge, ascending
	repetitions int   // of what is compared with the floor
	edits       int   // per measurement of latency
	changes     int   // per measurement of cost
	restarts    int
	minute      time.Duration // a minute, unless it has to be quick
}

func (o Options) size() size {
	s := size{devices: []int{100, 1000, 10_000}, repetitions: 3, edits: 150, changes: 1000, restarts: 4, minute: time.Minute}
	if o.Quick {
		s = size{devices: []int{50, 300}, repetitions: 2, edits: 30, changes: 100, restarts: 2, minute: 10 * time.Second}
	}
	if len(o.Devices) > 0 {
		s.devices = o.Devices
	}
	if o.Rounds > 0 {
		s.repetitions = o.Rounds
	}
	return s
}

// rounds is how often something is repeated with that many devices: with many it takes minutes.
func (s size) rounds(count int) int {
	if count >= 5000 {
		return min(2, s.repetitions)
	}
	return s.repetitions
}

func (s size) fewest() int { return s.devices[0] }
func (s size) most() int   { return s.devices[len(s.devices)-1] }

// parts are what is measured, and can be measured alone.
var parts = []struct{ name, about string }{
	{"converge", "bring devices to what is declared, and the same by the floor and by a script"},
	{"change", "what a change costs, with few devices and with many"},
	{"chain", "from apply to the acknowledgement in status, and the same by hand"},
	{"coldstart", "restart with all devices converged, and edits meanwhile"},
	{"idle", "what it costs when nothing happens"},
	{"memory", "live heap by devices and properties"},
	{"reports", "30 devices that report three times a second"},
	{"throttled", "edits while the hub refuses calls"},
	{"telemetry", "twin events beside a flood of telemetry"},
	{"waking", "edits while all devices of a hub wake at once, and the request budget"},
	{"fairness", "edits while another tenant's hubs are slow or dead"},
}

// PartNames are the parts that can be asked for.
func PartNames() []string {
	var names []string
	for _, p := range parts {
		names = append(names, p.name)
	}
	return names
}

// step is a part, or what a part does with one number of devices.
type step struct {
	part string
	run  func(context.Context) error
}

// steps are in an order in which devices that one of them made serve the next ones: most devices first.
func (b *bench) steps() []step {
	with := func(count int, do func(context.Context, int) error) func(context.Context) error {
		return func(ctx context.Context) error { return do(ctx, count) }
	}
	most, fewest := b.size.most(), b.size.fewest()
	steps := []step{
		{"converge", b.converge},
		{"change", with(most, b.change)}, {"chain", with(most, b.chain)}, {"coldstart", b.coldStart}, {"waking", b.waking}, {"idle", b.idle}, {"memory", b.memory},
	}
	for _, count := range slices.Backward(b.size.devices[1 : len(b.size.devices)-1]) {
		steps = append(steps, step{"chain", with(count, b.chain)})
	}
	return append(steps,
		step{"throttled", b.throttled}, step{"change", with(fewest, b.change)}, step{"chain", with(fewest, b.chain)},
		step{"fairness", b.fairness}, step{"telemetry", b.telemetry}, step{"reports", b.reports})
}

func (o Options) wants(name string) bool { return len(o.Parts) == 0 || slices.Contains(o.Parts, name) }

// Check refuses parts that there are not, and numbers that cannot be compared.
func (o Options) Check() error {
	if !slices.IsSorted(o.Devices) || len(o.Devices) == 1 || slices.Contains(o.Devices, 0) {
		return fmt.Errorf("numbers of devices are %v, expected two or more that ascend", o.Devices)
	}
	for _, p := range o.Parts {
		if !slices.Contains(PartNames(), p) {
			return fmt.Errorf("part is %q, expected one of %s", p, strings.Join(PartNames(), ", "))
		}
	}
	return nil
}

// bench is one run.
type bench struct {
	*harness.Testbed

	size   size
	out    *Results
	admin  *rest.Config
	client client.WithWatch
	seen   *tracker

	present  fleet           // what is declared now
	runs     bool            // the operator
	metrics  string          // address of the operator's
	costs    map[int]float64 // of an edit in milliseconds, by number of devices
	template *v1alpha1.PnPDevice
	serial   int // makes names and values new
}

// Run measures, prints and writes what was asked for.
func Run(ctx context.Context, d *harness.Testbed, o Options) error {
	b, err := newBench(ctx, d, o)
	if err != nil {
		return err
	}
	for _, s := range b.steps() {
		if !o.wants(s.part) {
			continue
		}
		b.Out.Sayf("== %s: %s", s.part, parts[slices.Index(PartNames(), s.part)].about)
		b.out.part = s.part
		if err := s.run(ctx); err != nil {
			return fmt.Errorf("part %s: %w", s.part, err)
		}
		if err := b.out.write(); err != nil { // a run that is cut short leaves what it has
			return err
		}
	}
	slices.SortStableFunc(b.out.Rows, func(x, y *Row) int { return slices.Index(PartNames(), x.Part) - slices.Index(PartNames(), y.Part) })
	b.Out.Sayf("%s\n%s", "The results:", b.out.Table())
	b.Out.Sayf("Written to %s", strings.Join(b.out.files(), ", "))
	return nil
}

func newBench(ctx context.Context, d *harness.Testbed, o Options) (*bench, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.Kubectl.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1 // no limit: the measure must not be what is measured
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	b := &bench{Testbed: d, size: o.size(), admin: config, client: c, costs: map[int]float64{}, out: newResults(o)}
	b.seen, err = track(ctx, config)
	return b, err
}
