package chaos

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	// quietWithin covers the longest back-off of the operator, five minutes and its jitter.
	quietWithin = 8 * time.Minute
	// brakeAtLeast is how many removals in ten minutes the brake always allows.
	brakeAtLeast = 20
	// brakeWindow is how long removals count, and how far the clock of the hub may have been behind.
	brakeWindow = 20 * time.Minute
)

// settle ends what goes wrong and waits until status says what the hub holds, all commands have an outcome, and nothing moves any more.
func (k *storm) settle(ctx context.Context, actions []oracle.Action) error {
	began := time.Now()
	k.told = began
	if err := k.perform(ctx, actions); err != nil {
		return err
	}
	err := k.lanes.drain(ctx, func(ctx context.Context, tries []string) error {
		k.tell(fmt.Sprintf("%d edits are still under way", len(tries)), tries)
		return k.nurse(ctx)
	})
	if err != nil {
		return err
	}
	var differences []string
	hub := stillness{}
	late := func() error {
		return harness.Missed("differences between status and hub once everything works again", "none within "+quietWithin.String(), listedLines(differences))
	}
	err = harness.PollEvery(ctx, time.Second, quietWithin, late, func(ctx context.Context) (_ bool, err error) {
		if err := k.nurse(ctx); err != nil {
			return false, err
		}
		if differences, err = k.differences(ctx); err != nil {
			return false, err
		}
		k.tell(fmt.Sprintf("still %d differences", len(differences)), differences)
		newest, err := k.newestChange()
		return hub.lasts(newest, time.Now()) && len(differences) == 0, err
	})
	if err != nil {
		return err
	}
	k.Out.Passf("status says what the hub holds, %s after everything works again", rounded(time.Since(began)))
	return k.standsStill(ctx)
}

// tell says every 15 seconds what the run waits for, and one example.
func (k *storm) tell(what string, all []string) {
	if time.Since(k.told) < 15*time.Second {
		return
	}
	k.told = time.Now()
	k.Out.Sayf("%s, such as: %s", what, listedLines(all[:min(1, len(all))]))
}

// answersWithin is longer than any device of the plan delays its answer.
const answersWithin = 4 * time.Second

// stillness is since when the hub has not changed. While a device owes an answer, status may be right and about to move.
type stillness struct {
	newest uint64
	since  time.Time
}

func (s *stillness) lasts(newest uint64, now time.Time) bool {
	if newest != s.newest || s.since.IsZero() {
		s.newest, s.since = newest, now
	}
	return now.Sub(s.since) >= answersWithin
}

func listedLines(lines []string) string {
	const most = 12
	text := strings.Join(lines[:min(len(lines), most)], "\n                    ")
	if len(lines) > most {
		text += fmt.Sprintf("\n                    and %d more", len(lines)-most)
	}
	return text
}

// nurse does what has to be done from outside: it starts operators again that ended, and confirms removals that are halted.
func (k *storm) nurse(ctx context.Context) error {
	if err := k.tend(ctx); err != nil {
		return err
	}
	return k.confirm(ctx, oracle.Action{Name: fmt.Sprintf("nurse-%d", time.Now().UnixNano())})
}

// confirm lets halted removals go on, and notes a brake that had no reason.
func (k *storm) confirm(ctx context.Context, a oracle.Action) error {
	var hub v1alpha1.IoTHub
	if err := untilDone(ctx, func(ctx context.Context) error {
		return k.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: harness.SampleHub}, &hub)
	}); err != nil {
		return err
	}
	if !apimeta.IsStatusConditionTrue(hub.Status.Conditions, v1alpha1.ConditionRemovalsHalted) {
		return nil
	}
	removals, err := k.removals(ctx)
	if err != nil {
		return err
	}
	k.halted(removals)
	return k.annotate(ctx, &hub, v1alpha1.AnnotationConfirmRemovals, a.Name)
}

// halted counts a halt. Users confirm some, and the run itself others.
func (k *storm) halted(removals int) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.confirmed++
	if 2*removals <= brakeAtLeast { // after a kill up to twice as many count: status is ahead
		k.unfounded = append(k.unfounded, removals)
	}
}

// removals counts what the operator removed lately, and what it is about to.
func (k *storm) removals(ctx context.Context) (int, error) {
	journal, err := k.journal()
	if err != nil {
		return 0, err
	}
	objects, err := k.objects(ctx)
	if err != nil {
		return 0, err
	}
	return oracle.Removals(journal, time.Now().Add(-brakeWindow)) + oracle.Pending(objects), nil
}

func (k *storm) objects(ctx context.Context) ([]*v1alpha1.PnPDevice, error) {
	var list v1alpha1.PnPDeviceList
	err := untilDone(ctx, func(ctx context.Context) error {
		return k.Client.List(ctx, &list, client.InNamespace(harness.Namespace))
	})
	return list.Items, err
}

// journal returns what the simulator has written so far.
func (k *storm) journal() ([]simulator.JournalEntry, error) { return k.entries.read() }

// journalReader reads a journal that grows. It is safe for concurrent use.
type journalReader struct {
	path string

	mu      sync.Mutex
	offset  int64
	entries []simulator.JournalEntry
}

// read decodes what is new, and returns all there is.
func (j *journalReader) read() ([]simulator.JournalEntry, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	file, err := os.Open(j.path)
	if err != nil {
		return nil, err
	}
	defer func() { _ = file.Close() }()
	data, err := io.ReadAll(io.NewSectionReader(file, j.offset, math.MaxInt64-j.offset))
	if err != nil {
		return nil, err
	}
	data = data[:bytes.LastIndexByte(data, '\n')+1] // a line may be under way
	for line := range bytes.Lines(data) {
		var e simulator.JournalEntry
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("decoding the journal: %w", err)
		}
		j.entries = append(j.entries, e)
	}
	j.offset += int64(len(data))
	return slices.Clip(j.entries), nil
}

// differences lists where Kubernetes and the hub do not agree, and commands without an outcome.
func (k *storm) differences(ctx context.Context) ([]string, error) {
	if err := k.excuse(); err != nil {
		return nil, err
	}
	objects, err := k.objects(ctx)
	if err != nil {
		return nil, err
	}
	twins := map[string]json.RawMessage{}
	for _, o := range objects {
		if twins[o.DeviceID()], err = k.twinOf(ctx, o.DeviceID()); err != nil {
			return nil, err
		}
	}
	trace, err := k.trace() // after the twins: it has all that they show
	if err != nil {
		return nil, err
	}
	if len(trace.Wrong) > 0 {
		return nil, errWrong
	}
	all := k.abandoned.note(trace.Orphans(k.history), objects, time.Now())
	for _, o := range objects {
		wrong, err := trace.Compare(o, twins[o.DeviceID()])
		if err != nil {
			return nil, err
		}
		all = append(all, wrong...)
	}
	if finished := k.finished(); finished < k.commands {
		all = append(all, fmt.Sprintf("%d of %d commands have an outcome", finished, k.commands))
	}
	return all, os.WriteFile(filepath.Join(k.folder, differencesFile), []byte(strings.Join(all, "\n")+"\n"), 0o600)
}

// abandonedFor is how long the operator may be done with a property that it should have removed: a read that is due may bring it back to it.
const abandonedFor = 75 * time.Second

// abandoned are what the operator should have removed and is done with.
type abandoned struct {
	since map[string]time.Time
	left  map[string]bool // for good: no time mends it, so that nobody needs to wait for it
}

// note returns what may still be removed.
func (a *abandoned) note(orphans []oracle.Orphan, objects []*v1alpha1.PnPDevice, now time.Time) (open []string) {
	is := map[string]bool{}
	for _, o := range orphans {
		text := o.String()
		i := slices.IndexFunc(objects, func(d *v1alpha1.PnPDevice) bool { return d.DeviceID() == o.Device })
		if i < 0 || o.IsAbandoned(objects[i]) {
			is[text] = true
			if a.since[text].IsZero() {
				a.since[text] = now
			}
			if now.Sub(a.since[text]) > abandonedFor {
				a.left[text] = true
			}
		}
		if !a.left[text] {
			open = append(open, text)
		}
	}
	maps.DeleteFunc(a.since, func(text string, _ time.Time) bool { return !is[text] })
	return open
}

func (k *storm) trace() (*oracle.Trace, error) {
	journal, err := k.journal()
	if err != nil {
		return nil, err
	}
	return oracle.Follow(journal, k.history)
}

// twinOf returns nil for a device that the hub does not know.
func (k *storm) twinOf(ctx context.Context, id string) (json.RawMessage, error) {
	raw, err := k.Hub.Twin(ctx, id)
	if simulator.IsNotFound(err) {
		return nil, nil
	}
	return raw, err
}

// excuse finds the objects that were deleted without clearing: the operator has to say so, and then nothing has to leave the hub.
func (k *storm) excuse() error {
	return k.eachLogLine(func(line string) error {
		if !strings.Contains(line, `"Deleting without clearing the twin"`) {
			return nil
		}
		var said struct {
			TS       time.Time `json:"ts"` // cut to the second
			DeviceID string    `json:"deviceID"`
		}
		if err := json.Unmarshal([]byte(line), &said); err != nil {
			return fmt.Errorf("decoding a line of the operator's log: %w", err)
		}
		k.history.Excuse(said.DeviceID, said.TS.Add(time.Second))
		return nil
	})
}

// eachLogLine visits the log lines of all operators there were.
func (k *storm) eachLogLine(visit func(line string) error) error {
	for _, path := range k.operators.logs {
		file, err := os.Open(path)
		if err != nil {
			return err
		}
		lines := bufio.NewScanner(file)
		lines.Buffer(nil, 1<<20)
		for lines.Scan() && err == nil {
			err = visit(lines.Text())
		}
		if err = errors.Join(err, lines.Err(), file.Close()); err != nil {
			return err
		}
	}
	return nil
}

// standsStill waits for two rounds of the sweep and wants nothing else to happen until then: no write at the hub, no command, no write of status.
func (k *storm) standsStill(ctx context.Context) error {
	const within = 2 * time.Minute
	newest, err := k.NewestCall(ctx)
	if err != nil {
		return err
	}
	before, err := k.objects(ctx)
	if err != nil {
		return err
	}
	var others []string
	late := func() error { return harness.Missed("rounds of the sweep", "two within "+within.String(), "fewer") }
	err = harness.PollEvery(ctx, time.Second, within, late, func(ctx context.Context) (bool, error) {
		var sweeps int
		var err error
		sweeps, others, err = k.CallsAfter(ctx, newest)
		return sweeps >= 2, err
	})
	if err != nil {
		return err
	}
	// Reads may come: after 2, 10 and 60 seconds where the event of a write was lost, and every few minutes for a device that the hub does not have.
	others = slices.DeleteFunc(others, func(call string) bool { return strings.HasPrefix(call, simulator.OpGetTwin+" ") })
	after, err := k.objects(ctx)
	if err != nil {
		return err
	}
	moved := oracle.Moved(before, after)
	return errors.Join(
		k.Check("calls of the hub while nothing happens, beside sweeps and reads", "none", listedLines(append(others, "")), len(others) == 0),
		k.Check("objects whose status moved meanwhile", "none", fmt.Sprint(moved), len(moved) == 0))
}

// judge looks at the whole of what happened so far: what the operator wrote, what it sent to devices, and what it logged.
func (k *storm) judge(ctx context.Context) error {
	trace, err := k.trace()
	if err != nil {
		return err
	}
	var devices []string
	for i := range k.options.Devices {
		if id := fmt.Sprintf("device-%04d", i); !oracle.MayVanish(i) {
			devices = append(devices, id)
		}
	}
	_, commands := k.judgeCommands(ctx, devices, k.commands)
	var panics []string
	failed := k.eachLogLine(func(line string) error {
		if strings.Contains(strings.ToLower(line), "panic") {
			panics = append(panics, line)
		}
		return nil
	})
	unguarded, err := k.unguarded(ctx)
	k.Out.Sayf("The operator wrote %d times, %d values; %d it rewrote on request, and %d it may have forgotten over an interruption", trace.Writes, trace.Values, trace.Rewrites, trace.Forgotten)
	return errors.Join(err, failed, commands, k.judgeWrites(trace),
		k.Check("writes without an etag", "none", fmt.Sprint(unguarded), len(unguarded) == 0),
		k.Check("panics in the operator's log", "none", listedLines(panics), len(panics) == 0),
		k.Check(fmt.Sprintf("halts over %d removals or fewer", brakeAtLeast/2), "none", fmt.Sprintf("%d of %d, over %v", len(k.unfounded), k.confirmed, k.unfounded), len(k.unfounded) == 0))
}

func (k *storm) judgeWrites(trace *oracle.Trace) error {
	return k.Check("writes of the operator that should not have been", "none", fmt.Sprintf("%d; %s", len(trace.Wrong), listedLines(trace.Wrong)), len(trace.Wrong) == 0)
}

// unguarded lists the operator's writes that do not say which state of the twin they are meant for.
func (k *storm) unguarded(ctx context.Context) ([]string, error) {
	var found []string
	for _, operation := range []string{simulator.OpPatchTwin, simulator.OpPatchDigitalTwin} {
		calls, err := k.Hub.Calls(ctx, simulator.CallFilter{Operation: operation})
		if err != nil {
			return nil, err
		}
		for _, c := range calls {
			if c.IfMatch == "" || c.IfMatch == "*" {
				found = append(found, c.Path)
			}
		}
	}
	return found, nil
}
