package chaos

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	chaosFolder = "bin/chaos"
	journalFile = "journal.jsonl"
	actionsFile = "actions.log"
	// differencesFile has those that there were when Kubernetes and the hub were compared last.
	differencesFile = "differences.txt"
	// sweepEvery is short: what events fail to tell has to be found within the run.
	sweepEvery = 10
)

// storm is everything going wrong at random.
type storm struct {
	*chaosRun
	options   oracle.Options
	plan      oracle.Plan
	history   *oracle.History
	log       *os.File
	entries   journalReader
	lanes     *lanes
	server    []string // the command line of the API server, while it is down
	isDown    bool
	down      time.Time           // since when it is, or was last
	told      time.Time           // when the report told last what the run waits for
	faults    map[string][]string // of single devices
	passing   []passing           // faults of all devices
	abandoned abandoned
	acted     map[string]uint64 // the newest change of the journal when the last action of a plot began, by device
	// replacing is held by a plot that replaces a device, and shared by what acts beside plots.
	replacing sync.RWMutex

	commands  int
	confirmed int   // halted removals that were let go on
	unfounded []int // how many there were to halt, where that was too few
	restarted int   // operators that ended by themselves
	baseline  map[*operator]footprint
}

// TestStorm has users edit, devices answer and not answer, others write, and hub, event hub, API
// server and operator fail, all at random from $SEED, for $DURATION, over $DEVICES, with $REPLICAS
// of the operator. Once all that has ended, status has to say what the hub holds, and the hub has
// to hold what is declared or status has to say why not. The logs are in bin/chaos.
func TestStorm(t *testing.T) {
	ctx, c, out := harness.Begin(t, "chaos", true) // it kills the API server
	harness.Settle(t, storms(ctx, c, out))
}

// storms reads what is asked for, and plays it.
func storms(ctx context.Context, c harness.Clone, out *harness.Report) error {
	k := &storm{history: oracle.NewHistory(), faults: map[string][]string{}, acted: map[string]uint64{}, abandoned: abandoned{since: map[string]time.Time{}, left: map[string]bool{}}, options: oracle.Options{Hub: harness.SampleHub}}
	for _, setting := range []struct {
		name      string
		into      *int
		otherwise int
	}{{"DEVICES", &k.options.Devices, 30}, {"REPLICAS", &k.options.Replicas, 1}} {
		if err := harness.NumberFromEnvironment(setting.name, setting.into, setting.otherwise); err != nil {
			return err
		}
	}
	var err error
	if k.options.Duration, err = harness.DurationFromEnvironment("DURATION", 4*time.Minute); err != nil {
		return err
	}
	if k.chaosRun, err = newChaosRun(ctx, c, out, chaosFolder, k.options.Replicas); err != nil {
		return err
	}
	k.options.Seed = k.seed
	k.plan = oracle.New(k.options)
	if err := k.keepRecords(); err != nil {
		return err
	}
	defer func() { _ = k.log.Close() }()
	return k.Conclude(ctx, k.reproducible(k.play(ctx)))
}

// keepRecords begins the files that a run leaves.
func (k *storm) keepRecords() (err error) {
	k.operators.crashes = 20
	k.operators.patience = 3 * time.Minute // without an API server nobody leads
	if k.options.Replicas > 1 {
		k.operators.peace = 5 * time.Second
	}
	k.entries.path = filepath.Join(k.folder, journalFile)
	k.HubArgs = []string{"--journal-file=" + k.entries.path, "--ack-delay=100ms"}
	k.log, err = os.Create(filepath.Join(k.folder, actionsFile))
	return err
}

// reproducible adds to a failure how to see it again.
func (k *storm) reproducible(failure error) error {
	if failure == nil {
		return nil
	}
	return fmt.Errorf("%w\n          what happened is in %s; the same actions again: make chaos SEED=%d DEVICES=%d DURATION=%s REPLICAS=%d",
		failure, chaosFolder, k.seed, k.options.Devices, k.options.Duration, k.options.Replicas)
}

func (k *storm) play(ctx context.Context) (err error) {
	k.Out.Heading(fmt.Sprintf("Chaos over %d devices for %s, %d replicas, seed %d", k.options.Devices, k.options.Duration, k.options.Replicas, k.seed))
	if ctx, err = k.begin(ctx); err != nil {
		return err
	}
	if err := k.follow(ctx, &v1alpha1.PnPDevice{}, func(o any) { k.history.Record(o.(*v1alpha1.PnPDevice), time.Now()) }); err != nil {
		return err
	}
	k.lanes = newLanes(ctx, k.Abort)
	if err := k.declareAll(ctx); err != nil {
		return err
	}
	err = k.parts(ctx)
	left := slices.Sorted(maps.Keys(k.abandoned.left))
	return errors.Join(err, k.Check("properties that the operator left at the hub", "none", listedLines(left), len(left) == 0))
}

// parts are the two storms, with what is judged after each.
func (k *storm) parts(ctx context.Context) error {
	for _, part := range []struct {
		name, title    string
		storm, settle  []oracle.Action
		keepsOperators bool
	}{
		{"first", "Everything goes wrong, and the operator is " + fmt.Sprint(k.operators.disturbances()), k.plan.First, k.plan.Between, false},
		{"second", "Everything goes wrong, and the operator stays", k.plan.Second, k.plan.End, true},
	} {
		k.Out.Heading(part.title)
		k.operators.part = part.name
		err := k.weather(ctx, part.storm, part.keepsOperators)
		if err == nil {
			err = k.settle(ctx, part.settle)
		}
		if err != nil {
			return k.verdictBeside(err)
		}
		if err := k.judge(ctx); err != nil {
			return err
		}
		if err := k.measure(ctx); err != nil {
			return err
		}
	}
	return nil
}

// errWrong is that the operator wrote what it must not have written: no time mends that.
var errWrong = errors.New("the operator made a write that should not have been")

// verdictBeside judges what was written, whatever it was that the part failed for.
func (k *storm) verdictBeside(failure error) error {
	trace, err := k.trace()
	if err != nil {
		return errors.Join(failure, err)
	}
	verdict := k.judgeWrites(trace)
	if errors.Is(failure, errWrong) {
		return verdict
	}
	return errors.Join(failure, verdict)
}

// declareAll makes the devices and their objects, before anything goes wrong.
func (k *storm) declareAll(ctx context.Context) error {
	err := k.Client.Patch(ctx, &v1alpha1.IoTHub{ObjectMeta: harness.ObjectMeta(harness.SampleHub)},
		client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"spec":{"sweepIntervalSeconds":%d}}`, sweepEvery)))
	if err != nil {
		return err
	}
	if err := k.Client.Create(ctx, elsewhere()); err != nil {
		return err
	}
	if err := k.Hub.AddDevices(ctx, "device-%04d", k.options.Devices, deviceSpec()); err != nil {
		return err
	}
	if err := k.perform(ctx, k.plan.Begin); err != nil {
		return err
	}
	if err := k.lanes.drain(ctx, func(context.Context, []string) error { return nil }); err != nil {
		return err
	}
	for _, a := range k.plan.Begin {
		if _, err := k.AwaitWithin(ctx, 2*time.Minute, a.Device, "Ready", harness.IsReady); err != nil {
			return err
		}
	}
	k.Out.Passf("%d devices are declared and have acknowledged", k.options.Devices)
	return nil
}

// elsewhere is an IoTHub that is never ready: there is no Secret for it.
func elsewhere() *v1alpha1.IoTHub {
	return &v1alpha1.IoTHub{ObjectMeta: harness.ObjectMeta(oracle.Elsewhere), Spec: v1alpha1.IoTHubSpec{
		HostName:       "elsewhere.azure-devices.net",
		Authentication: v1alpha1.HubAuthentication{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: "absent", Key: "connectionString"}},
	}}
}

func deviceSpec() simulator.Spec { return simulator.Spec{Model: simulator.TemperatureController} }

// weather has a part's actions happen, with the operator disturbed beside them unless it is to be kept.
func (k *storm) weather(ctx context.Context, actions []oracle.Action, keep bool) error {
	over := make(chan struct{})
	cared := make(chan error, 1)
	go func() { cared <- k.careFor(ctx, over, keep) }()
	err := k.perform(ctx, actions)
	close(over)
	if err := errors.Join(err, <-cared); err != nil {
		return err
	}
	journal, err := k.journal()
	if err != nil {
		return err
	}
	k.Out.Passf("%d actions; so far the operator was %v, ended %d times by itself, and wrote %d times", len(actions), k.disturbed, k.restarted, oracle.Writes(journal))
	return nil
}

// careFor disturbs the operator every few seconds, unless it is to be kept, and starts it again where it ends by itself, until the part is over.
func (k *storm) careFor(ctx context.Context, over <-chan struct{}, keep bool) error {
	random := rand.New(rand.NewPCG(k.seed, 2))
	next := k.pauseBeforeNext(random)
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case <-over:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-tick.C:
		}
		err := k.tend(ctx)
		if err == nil && !keep && time.Now().After(next) {
			err = k.disturb(ctx)
			next = k.pauseBeforeNext(random)
		}
		if err != nil {
			k.Abort(err) // what waits for the operator waits in vain
			return err
		}
	}
}

// tend starts those again that ended by themselves.
func (k *storm) tend(ctx context.Context) error {
	restarted, err := k.operators.tend(ctx)
	if restarted == 0 || err != nil {
		return err
	}
	k.restarted += restarted
	newest, err := k.newestChange()
	k.history.Interrupt(newest, newest)
	return err
}

// interrupted notes that what the operator wrote since a change of the journal may never have been recorded.
func (k *storm) interrupted(since uint64) error {
	newest, err := k.newestChange()
	k.history.Interrupt(since, newest)
	return err
}

func (k *storm) newestChange() (uint64, error) {
	journal, err := k.journal()
	if err != nil || len(journal) == 0 {
		return 0, err
	}
	return journal[len(journal)-1].Seq, nil
}

func (k *storm) pauseBeforeNext(random *rand.Rand) time.Time {
	return time.Now().Add(2*time.Second + time.Duration(random.IntN(4000))*time.Millisecond)
}

// disturb does the next thing to the operator. One that has just ended by itself is left to tend. One that is terminated has the time to record what it
// wrote: it may forget nothing.
func (k *storm) disturb(ctx context.Context) error {
	before, err := k.newestChange()
	if err != nil {
		return err
	}
	began := time.Now()
	what, err := k.operators.disturb(ctx)
	if what == paused {
		k.history.Blind(oracle.Span{From: began, To: time.Now()})
	}
	_, gone := errors.AsType[*goneError](err)
	if gone || what != terminated {
		if err := k.interrupted(before); err != nil {
			return err
		}
	}
	if gone {
		return nil
	}
	k.disturbed[what]++
	k.record("operator " + what)
	return err
}

// record writes a line to the log of actions.
func (k *storm) record(line string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	_, _ = fmt.Fprintf(k.log, "%s %s\n", time.Now().Format("15:04:05.000"), line) // the log is for people: the run goes on without it
}
