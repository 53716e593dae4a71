package chaos

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strconv"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// commandChaos is many commands while things break.
type commandChaos struct {
	*chaosRun
	commands, devices int
	changes           int // of the operator, at least
	random            *rand.Rand
	edits             int // made while nobody led

	lost   map[string]bool // commands whose answer was lost
	looked uint64          // the newest call of the hub that was looked at
}

// TestStormOfCommands runs $COMMANDS over $DEVICES while one answer of the hub in twenty is lost
// and the operator is killed every few seconds or, with $REPLICAS, has its leader changed, $CHANGES
// times at least. In the end no command may have reached its device twice, each has an outcome,
// what Succeeded was run, and what is Unknown has its answer lost, its operator cut off, or two of
// them at work. The logs of the operators are in bin/chaos-commands.
func TestStormOfCommands(t *testing.T) {
	ctx, c, out := harness.Begin(t, "chaos-commands", false)
	harness.Settle(t, stormOfCommands(ctx, c, out))
}

// stormOfCommands reads what is asked for, and plays it.
func stormOfCommands(ctx context.Context, c harness.Clone, out *harness.Report) error {
	k := &commandChaos{lost: map[string]bool{}}
	var replicas int
	for _, setting := range []struct {
		name      string
		into      *int
		otherwise int
	}{{"COMMANDS", &k.commands, 10_000}, {"DEVICES", &k.devices, 200}, {"REPLICAS", &replicas, 1}, {"CHANGES", &k.changes, 1}} {
		if err := harness.NumberFromEnvironment(setting.name, setting.into, setting.otherwise); err != nil {
			return err
		}
	}
	run, err := newChaosRun(ctx, c, out, "bin/chaos-commands", replicas)
	if err != nil {
		return err
	}
	k.chaosRun = run
	k.AckDelay = 0 // the edits measure how soon the operator acts, not the device
	k.random = rand.New(rand.NewPCG(k.seed, 0))
	return k.Conclude(ctx, k.play(ctx))
}

func (k *commandChaos) play(ctx context.Context) (err error) {
	k.Out.Heading(fmt.Sprintf("%d commands over %d devices, %d replicas, seed %d", k.commands, k.devices, len(k.operators.all), k.seed))
	if ctx, err = k.begin(ctx); err != nil {
		return err
	}
	if err := k.declare(ctx); err != nil {
		return err
	}
	if err := k.delay(ctx); err != nil {
		return err
	}
	k.operators.edit = k.edit
	lost := simulator.Fault{Operation: simulator.OpInvokeCommand, Kind: simulator.FaultResetAfter, Probability: 0.05, Seed: k.seed, Count: simulator.Forever}
	if _, err := k.Hub.AddFault(ctx, lost); err != nil {
		return err
	}
	k.Out.Passf("%d devices are declared; one answer in twenty is lost from now on", k.devices)
	if err := k.disturbUntilDone(ctx); err != nil {
		return err
	}
	return k.judge(ctx)
}

func (k *commandChaos) device(i int) string { return fmt.Sprintf("device-%04d", i) }

// declare connects virtual devices and has each declared.
func (k *commandChaos) declare(ctx context.Context) error {
	if err := k.Hub.AddDevices(ctx, "device-%04d", k.devices, simulator.Spec{Model: simulator.TemperatureController}); err != nil {
		return err
	}
	for i := range k.devices {
		device := &v1alpha1.PnPDevice{
			ObjectMeta: metav1.ObjectMeta{Name: k.device(i), Namespace: harness.Namespace},
			Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: harness.SampleHub}},
		}
		if err := k.Client.Create(ctx, device); err != nil {
			return err
		}
	}
	for i := range k.devices {
		if _, err := k.Await(ctx, k.device(i), "Ready", harness.IsReady); err != nil {
			return err
		}
	}
	return nil
}

// delay has each device take its time with commands, so that some are under way whenever the operator is disturbed.
func (k *commandChaos) delay(ctx context.Context) error {
	for i := range k.devices {
		slow := simulator.CommandAnswer{Status: http.StatusOK, Delay: 300 * time.Millisecond}
		if err := k.Hub.AnswerCommand(ctx, k.device(i), "thermostat1*getMaxMinReport", slow); err != nil {
			return err
		}
	}
	return nil
}

// create applies commands, from one number up to another. The payload of each is its name, so that devices can tell them apart.
func (k *commandChaos) create(ctx context.Context, from, to int) error {
	var names []string
	for i := from; i < to; i++ {
		names = append(names, fmt.Sprintf("command-%05d", i))
	}
	return harness.ForEach(names, func(name string) error {
		i, err := strconv.Atoi(name[len("command-"):])
		if err != nil {
			return err
		}
		return k.Client.Create(ctx, &v1alpha1.DeviceCommand{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: harness.Namespace},
			Spec: v1alpha1.DeviceCommandSpec{
				DeviceRef: v1alpha1.DeviceReference{Name: k.device(i % k.devices)}, Component: "thermostat1", Command: "getMaxMinReport",
				Payload: &apiextensionsv1.JSON{Raw: []byte(strconv.Quote(name))}, NotAfter: metav1.NewTime(time.Now().Add(time.Hour)), ResponseTimeoutSeconds: 5,
			},
		})
	})
}

// edit changes a device, and tells when it has acknowledged that.
func (k *commandChaos) edit(ctx context.Context) (<-chan reconciled, error) {
	k.edits++
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: k.device(0), Namespace: harness.Namespace}}
	patch := fmt.Appendf(nil, `{"spec":{"components":[{"name":"thermostat1","properties":{"targetTemperature":%d}}]}}`, k.edits)
	if err := k.Client.Patch(ctx, device, client.RawPatch(types.MergePatchType, patch)); err != nil {
		return nil, fmt.Errorf("editing PnPDevice %q: %w", device.Name, err)
	}
	done := make(chan reconciled, 1)
	go func() {
		at, err := k.AwaitWithin(ctx, withinFailover, device.Name, "an edit acknowledged by the next leader",
			func(d *v1alpha1.PnPDevice) bool { return d.Generation >= device.Generation && harness.IsReady(d) })
		done <- reconciled{at, err}
	}()
	return done, nil
}

// disturbUntilDone does something to the operator every few seconds until all commands have an outcome. Should they end before all was done to it
// that is to be done, more follow.
func (k *commandChaos) disturbUntilDone(ctx context.Context) error {
	const patience = time.Minute
	created := make(chan error, 1)
	go func() { created <- k.create(ctx, 0, k.commands) }()
	done, moved := -1, time.Now()
	for isCreated := false; ; {
		pause := time.NewTimer(2*time.Second + time.Duration(k.random.IntN(4000))*time.Millisecond)
		select {
		case err := <-created:
			if err != nil {
				return err
			}
			isCreated = true
			continue
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-pause.C:
		}
		finished := k.finished()
		k.Out.Sayf("%d of %d commands have an outcome; so far %v", finished, k.commands, k.disturbed)
		if isCreated && finished == k.commands {
			if k.isDisturbed() {
				return nil
			}
			from := k.commands
			k.commands += 4 * k.devices
			isCreated = false
			go func(to int) { created <- k.create(ctx, from, to) }(k.commands)
		}
		if finished > done {
			done, moved = finished, time.Now()
		}
		if time.Since(moved) > patience {
			return harness.Missed("commands with an outcome", fmt.Sprint(k.commands), fmt.Sprintf("%d, and none more for %s", finished, patience))
		}
		if err := k.disturb(ctx); err != nil {
			return err
		}
	}
}

// disturb does the next thing to the operator. One that ended by itself, as it does when a slow API server costs it its lease, is started again.
func (k *commandChaos) disturb(ctx context.Context) error {
	if err := k.noteLost(ctx); err != nil {
		return err
	}
	what, err := k.operators.disturb(ctx)
	if _, gone := errors.AsType[*goneError](err); gone {
		_, err := k.operators.tend(ctx)
		return err
	}
	if err == nil {
		k.disturbed[what]++
	}
	return err
}

// noteLost looks at the calls that were answered, or not, since it did so last: the hub's log is bounded.
func (k *commandChaos) noteLost(ctx context.Context) error {
	calls, err := k.Hub.Calls(ctx, simulator.CallFilter{Operation: simulator.OpInvokeCommand, AfterSeq: k.looked})
	if err != nil {
		return err
	}
	for _, c := range calls {
		if !c.Done {
			break // it is looked at next time, and so are those after it
		}
		k.looked = c.Seq
		if c.Fault == "" {
			continue
		}
		name, err := strconv.Unquote(c.Body)
		if err != nil {
			return fmt.Errorf("reading the payload %s: %w", c.Body, err)
		}
		k.lost[name] = true
	}
	return nil
}

// isDisturbed reports whether everything was done to the operator, and often enough.
func (k *commandChaos) isDisturbed() bool {
	changes := 0
	for _, what := range k.operators.disturbances() {
		if k.disturbed[what] == 0 {
			return false
		}
		changes += k.disturbed[what]
	}
	return changes >= k.changes
}

// judge holds what status says against what the devices counted.
func (k *commandChaos) judge(ctx context.Context) error {
	var ids []string
	for i := range k.devices {
		ids = append(ids, k.device(i))
	}
	outcomes, err := k.judgeCommands(ctx, ids, k.commands)
	errs := []error{err, k.judgeUnknown(ctx), k.Check("commands that Succeeded", "more than a quarter", fmt.Sprintf("%d; outcomes %v", outcomes[v1alpha1.CommandSucceeded], outcomes),
		4*outcomes[v1alpha1.CommandSucceeded] > k.commands)}
	k.tellOfFailover()
	errs = append(errs, k.Check("what was done to the operator", fmt.Sprintf("each of %q, %d in all", k.operators.disturbances(), k.changes), fmt.Sprint(k.disturbed), k.isDisturbed()))
	return errors.Join(errs...)
}

func (k *commandChaos) tellOfFailover() {
	for _, what := range k.operators.disturbances() {
		if took := slices.Sorted(slices.Values(k.operators.without[what])); len(took) > 0 {
			k.Out.Sayf("After it was %s, nobody led for %s in the median, %s at most", what, rounded(took[len(took)/2]), rounded(took[len(took)-1]))
		}
		if took := slices.Sorted(slices.Values(k.operators.idle[what])); len(took) > 0 {
			k.Out.Sayf("After it was %s, the next reconcile came %s later in the median, %s at most: an edit made once it had ended was acknowledged by the device",
				what, rounded(took[len(took)/2]), rounded(took[len(took)-1]))
		}
	}
}

// judgeUnknown wants a reason for each command that is Unknown.
func (k *commandChaos) judgeUnknown(ctx context.Context) error {
	if err := k.noteLost(ctx); err != nil {
		return err
	}
	var list v1alpha1.DeviceCommandList
	if err := k.Client.List(ctx, &list, client.InNamespace(harness.Namespace)); err != nil {
		return err
	}
	d := oracle.Doubted(list.Items, k.lost, k.operators.cutOff(), k.operators.rivals)
	return k.Check("commands that are Unknown for no reason", "none", fmt.Sprintf("%d; %d had their answer lost, %d were under way when an operator was cut off, %d while two were at work; %s",
		len(d.Unfounded), d.Lost, d.Cut, d.Contested, listedLines(d.Unfounded)), len(d.Unfounded) == 0)
}

func rounded(d time.Duration) time.Duration { return d.Round(100 * time.Millisecond) }
