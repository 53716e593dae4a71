package hostile

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// limited is an operator in its container: with the limit of memory that its Deployment gives it.
type limited struct {
	demo      *harness.Testbed
	container container
	group     memoryGroup // empty: the machine has none for us
	folder    string      // of the logs
	flags     []string
	probes    string
	metrics   string
	webhook   string // its port

	mu      sync.Mutex
	process harness.Process
	started int           // how often it was
	ended   chan struct{} // closed when this start of it has ended
	how     error         // valid then
	peak    int64         // resident bytes since forgetPeak
	onDeath func(error)   // called when it ends by itself
}

// newLimited prepares an operator; more are flags beside those of a demonstration.
func newLimited(ctx context.Context, d *harness.Testbed, folder string, more ...string) (*limited, error) {
	c, err := readContainer(d.Path("config/manager/manager.yaml"))
	if err != nil {
		return nil, err
	}
	o := &limited{demo: d, container: c, folder: folder}
	group, err := newMemoryGroup(linuxCgroups, fmt.Sprintf("pnp-hostile-%d", os.Getpid()), c.limit)
	if err != nil {
		d.Out.Sayf("There is no memory cgroup for the operator (%v): GOMEMLIMIT, and what it takes is measured", err)
	}
	o.group = group
	flags, probes, err := d.WebhookFlags(ctx)
	if err != nil {
		return nil, err
	}
	addresses, err := freeport.Addresses(1)
	if err != nil {
		return nil, err
	}
	o.probes, o.metrics = probes, addresses[0]
	o.webhook = strings.TrimPrefix(flags[0], "--webhook-port=")
	o.flags = append(append(flags, "--metrics-bind-address="+o.metrics, "--metrics-secure=false"), more...)
	return o, nil
}

// start starts it, and waits until it is ready.
func (o *limited) start(ctx context.Context) error {
	p := o.demo.Manager()
	p.Log = filepath.Join(o.folder, fmt.Sprintf("manager-%02d.log", o.started))
	p.Env = o.container.env
	if o.group == "" {
		p.Env = o.container.withoutGroup()
	} else {
		p.Under = o.group.wrap()
	}
	p.Env = append(p.Env, "SSL_CERT_FILE="+o.demo.File(impostorCAFile)) // of the models repository
	how, err := o.demo.LaunchOperator(ctx, p, o.probes, o.flags...)
	if err != nil {
		return err
	}
	o.mu.Lock()
	o.process, o.ended = p, make(chan struct{})
	o.started++
	o.mu.Unlock()
	go o.watch(o.ended, how)
	return nil
}

// watch notes how it ends, and until then what it takes.
func (o *limited) watch(ended chan struct{}, how <-chan error) {
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for {
		select {
		case err := <-how:
			o.mu.Lock()
			o.how = err
			tell := o.onDeath
			o.mu.Unlock()
			close(ended)
			if tell != nil {
				tell(o.death())
			}
			return
		case <-tick.C:
			o.look()
		}
	}
}

// look notes the most that it has taken.
func (o *limited) look() {
	o.mu.Lock()
	defer o.mu.Unlock()
	if raw, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", o.process.Pid())); err == nil {
		o.peak = max(o.peak, peakOf(raw))
	}
}

// peakOf reads the most resident bytes from /proc/PID/status, 0 where it does not say.
func peakOf(status []byte) int64 {
	_, rest, _ := bytes.Cut(status, []byte("VmHWM:"))
	fields := bytes.Fields(rest)
	if len(fields) == 0 {
		return 0
	}
	kibibytes, err := strconv.ParseInt(string(fields[0]), 10, 64)
	if err != nil {
		return 0
	}
	return kibibytes << 10
}

// forgetPeak begins to measure anew.
func (o *limited) forgetPeak() {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.peak = 0
	if pid := o.process.Pid(); pid != 0 {
		const peakResident = "5"
		_ = os.WriteFile(fmt.Sprintf("/proc/%d/clear_refs", pid), []byte(peakResident), 0) // else it is the peak since it started
	}
}

// peaked returns the most resident bytes since forgetPeak.
func (o *limited) peaked() int64 {
	o.look()
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.peak
}

// running returns what is closed when it ends.
func (o *limited) running() <-chan struct{} {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.ended
}

// death says how it ended, nil while it runs.
func (o *limited) death() error {
	select {
	case <-o.running():
	default:
		return nil
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	exit, ok := errors.AsType[*exec.ExitError](o.how)
	if ok && exit.Sys().(syscall.WaitStatus).Signal() == syscall.SIGKILL {
		return errKilled
	}
	return fmt.Errorf("%w; the end of its log:\n%s", harness.EndedEarly(o.process, o.how), o.process.LogTail(20))
}

// errKilled is what a limit of memory does: nobody else kills it while it is watched.
var errKilled = errors.New("the operator was killed for want of memory")

// tellDeath has a function called when it ends by itself; nil: nobody wants to know.
func (o *limited) tellDeath(tell func(error)) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.onDeath = tell
}

// restart kills it without warning and starts it again.
func (o *limited) restart(ctx context.Context) error {
	if err := o.death(); err != nil {
		return err
	}
	o.mu.Lock()
	tell, pid := o.onDeath, o.process.Pid()
	o.onDeath = nil
	o.mu.Unlock()
	defer o.tellDeath(tell)
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return err
	}
	select {
	case <-o.running():
	case <-ctx.Done():
		return context.Cause(ctx)
	}
	return o.start(ctx)
}

// goroutines returns how many it has.
func (o *limited) goroutines(ctx context.Context) (int, error) {
	values, err := harness.Metrics(ctx, "http://"+o.metrics+"/metrics")
	return int(values["go_goroutines"]), err
}
