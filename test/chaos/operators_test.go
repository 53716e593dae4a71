package chaos

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// operators is the operator, or its replicas.
type operators struct {
	demo *harness.Testbed
	all  []*operator
	next int // of the disturbances
	// without is for how long nobody led, by what was done.
	without map[string][]time.Duration
	// edit changes a device when the leader has ended, so that only the next one can see it, and tells when it was reconciled; nil if nobody asks.
	edit func(ctx context.Context) (<-chan reconciled, error)
	// idle is for how long nothing was reconciled, by what was done: until the device had acknowledged that edit.
	idle map[string][]time.Duration
	// folder takes the log of each start, named by part, replica and generation.
	folder, part string
	logs         []string
	// crashes is how often one may end while it starts, as it does without an API server, before it is given up.
	crashes int
	// patience is how long nobody may lead.
	patience time.Duration
	// peace is how long one leads before anything is done to it. Where the API server goes down as well, it may have just become the leader, and none would ever
	// come to do anything.
	peace time.Duration

	mu sync.Mutex
	// cuts are when one ended otherwise than in order, or was stopped: what it was doing may not have been recorded.
	cuts []time.Time
	// rivals are when one that had lost its lease did not know that yet.
	rivals []oracle.Span
}

type operator struct {
	harness.Process
	ended   <-chan error
	address string // of its metrics, each time it starts
	probes  string // the address of its probes, the same
	// generation is how often it was started.
	generation int
}

// reconciled is when a device had acknowledged an edit.
type reconciled struct {
	at  time.Time
	err error
}

// withinFailover is three leases.
const withinFailover = 45 * time.Second

const (
	killed     = "killed"
	paused     = "paused past its lease"
	terminated = "terminated"
)

// newOperators returns one that acts alone, without a lease: one that is killed every few seconds never gets the lease of the one before. Or
// replicas with leader election.
func newOperators(d *harness.Testbed, folder string, replicas int) (*operators, error) {
	o := &operators{demo: d, folder: folder, part: "start", patience: withinFailover, without: map[string][]time.Duration{}, idle: map[string][]time.Duration{}}
	addresses, err := freeport.Addresses(2 * replicas)
	if err != nil {
		return nil, err
	}
	for i := range replicas {
		p := d.Manager()
		p.Replica = fmt.Sprintf("-%d", i)
		o.all = append(o.all, &operator{Process: p, address: addresses[2*i], probes: addresses[2*i+1]})
		d.Replicas = append(d.Replicas, p)
	}
	return o, nil
}

func (o *operators) launch(ctx context.Context) error {
	for _, one := range o.all {
		if err := o.start(ctx, one); err != nil {
			return err
		}
	}
	return nil
}

func (o *operators) start(ctx context.Context, one *operator) (err error) {
	for range 1 + o.crashes {
		if err = o.startOnce(ctx, one); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (o *operators) startOnce(ctx context.Context, one *operator) error {
	o.beginLog(one)
	args := []string{"--metrics-bind-address=" + one.address, "--metrics-secure=false"}
	if len(o.all) > 1 {
		args = append(args, "--leader-elect", "--leader-election-namespace="+harness.OperatorNamespace)
	}
	ended, err := o.demo.LaunchOperator(ctx, one.Process, one.probes, args...)
	if err != nil {
		return err
	}
	one.ended = o.timed(ended)
	return nil
}

// beginLog names the log of the next start by part, replica and generation.
func (o *operators) beginLog(one *operator) {
	one.generation++
	one.Log = filepath.Join(o.folder, fmt.Sprintf("%s%s-%03d-%s.log", one.Name, one.Replica, one.generation, o.part))
	o.logs = append(o.logs, one.Log)
}

// timed passes on how an operator ended, and notes when, unless it did so in order.
func (o *operators) timed(ended <-chan error) <-chan error {
	noted := make(chan error, 1)
	go func() {
		err := <-ended
		if err != nil {
			o.cut()
		}
		noted <- err
	}()
	return noted
}

func (o *operators) cut() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.cuts = append(o.cuts, time.Now())
}

// cutOff returns when operators were cut off so far.
func (o *operators) cutOff() []time.Time {
	o.mu.Lock()
	defer o.mu.Unlock()
	return slices.Clone(o.cuts)
}

// tend starts those again that ended by themselves, as a kubelet does, and says how many. A program that crashed, rather than gave up, is an error.
func (o *operators) tend(ctx context.Context) (int, error) {
	restarted := 0
	for _, one := range o.all {
		select {
		case how := <-one.ended:
			if exit, ok := errors.AsType[*exec.ExitError](how); !ok || exit.ExitCode() != 1 {
				return restarted, fmt.Errorf("%w; the end of its log:\n%s", harness.EndedEarly(one.Process, how), one.LogTail(40))
			}
			restarted++
			if err := o.start(ctx, one); err != nil {
				return restarted, err
			}
		default:
		}
	}
	return restarted, nil
}

// disturbances are what disturb does, in turn.
func (o *operators) disturbances() []string {
	if len(o.all) == 1 {
		return []string{killed}
	}
	return []string{paused, terminated, killed}
}

// disturb does the next thing to the operator that leads, and says what.
func (o *operators) disturb(ctx context.Context) (string, error) {
	what := o.disturbances()[o.next%len(o.disturbances())]
	o.next++
	leader, err := o.leader(ctx, nil)
	if err != nil {
		return what, err
	}
	select {
	case <-ctx.Done():
		return what, context.Cause(ctx)
	case <-time.After(o.peace):
	}
	if what == paused {
		return what, o.pause(ctx, leader)
	}
	began := time.Now()
	if err := map[string]func(*operator) error{killed: o.kill, terminated: o.terminate}[what](leader); err != nil {
		return what, err
	}
	if len(o.all) == 1 {
		return what, o.start(ctx, leader)
	}
	return what, o.follow(ctx, what, began, leader)
}

// follow starts the leader that has ended again, and measures how long it took until another one led, and until that had reconciled something.
func (o *operators) follow(ctx context.Context, what string, began time.Time, ended *operator) error {
	var next <-chan reconciled
	if o.edit != nil {
		var err error
		if next, err = o.edit(ctx); err != nil {
			return err
		}
	}
	if err := o.start(ctx, ended); err != nil {
		return err
	}
	if _, err := o.leader(ctx, nil); err != nil {
		return err
	}
	o.without[what] = append(o.without[what], time.Since(began))
	if next == nil {
		return nil
	}
	first := <-next
	if first.err == nil {
		o.idle[what] = append(o.idle[what], first.at.Sub(began))
	}
	return first.err
}

// leader waits for one that leads, other than the one given.
func (o *operators) leader(ctx context.Context, but *operator) (leader *operator, err error) {
	if len(o.all) == 1 {
		return o.all[0], nil
	}
	late := func() error { return harness.Missed("a replica that leads", "one within "+o.patience.String(), "none") }
	err = harness.Poll(ctx, o.patience, late, func(context.Context) (bool, error) {
		for _, one := range o.all {
			if one != but && one.leads() {
				leader = one
			}
		}
		return leader != nil, nil
	})
	return leader, err
}

// leads goes by the log, which each start begins anew.
func (one *operator) leads() bool {
	log, err := os.ReadFile(one.LogFile())
	return err == nil && strings.Contains(string(log), "Successfully acquired lease")
}

func (one *operator) signal(s syscall.Signal) error {
	pid := one.Pid()
	if pid == 0 {
		return &goneError{one}
	}
	return syscall.Kill(pid, s)
}

// goneError is an operator that ended by itself.
type goneError struct{ one *operator }

func (e *goneError) Error() string {
	return fmt.Sprintf("%s%s ended by itself; the end of its log:\n%s", e.one.Name, e.one.Replica, e.one.LogTail(10))
}

func (o *operators) kill(one *operator) error {
	if err := one.signal(syscall.SIGKILL); err != nil {
		return err
	}
	if err := <-one.ended; err == nil {
		return errors.New("the operator ended by itself")
	}
	return nil
}

// terminate is what a rollout does. The operator has to end well, and its lease must go to another at once.
func (o *operators) terminate(one *operator) error {
	if err := one.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if err := <-one.ended; err != nil {
		return fmt.Errorf("ending %s%s: %w; the end of its log:\n%s", one.Name, one.Replica, err, one.LogTail(10))
	}
	return nil
}

// pause stops one in the middle of what it does, like a virtual machine that is moved, until another has led for a while. Resumed, it believes
// to lead until it looks, and then has to end.
func (o *operators) pause(ctx context.Context, one *operator) error {
	if err := one.signal(syscall.SIGSTOP); err != nil {
		return err
	}
	o.cut()
	if _, err := o.leader(ctx, one); err != nil {
		return errors.Join(err, one.signal(syscall.SIGCONT))
	}
	time.Sleep(time.Second) // for the other one to begin
	resumed := time.Now()
	if err := one.signal(syscall.SIGCONT); err != nil {
		return err
	}
	select {
	case err := <-one.ended:
		o.rivals = append(o.rivals, oracle.Span{From: resumed, To: time.Now()})
		if err == nil {
			return errors.New("an operator that lost its lease ended as if all were well")
		}
	case <-time.After(20 * time.Second):
		return harness.Missed("a replica that lost its lease", "ends", "still runs after 20 s")
	}
	return o.start(ctx, one)
}
