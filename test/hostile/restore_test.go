package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// lateDevice is declared after the backup, so that its object is not in the copy.
const lateDevice = "late"

// restoreEtcd puts etcd back to a copy while the operator runs, and has Git apply again what was made since. Then it
// restarts the operator, as the pages tell people to.
func restoreEtcd(ctx context.Context, h *hostileRun) (string, error) {
	if _, err := h.edit(ctx, withinPromise); err != nil {
		return "", err
	}
	if _, err := h.Await(ctx, victimDevice, "Ready", harness.IsReady); err != nil {
		return "", err
	}
	backedUp := float64(h.edits)
	if err := h.withoutControlPlane(ctx, h.copyEtcd); err != nil {
		return "", err
	}
	late, command, err := h.liveOn(ctx)
	if err != nil {
		return "", err
	}
	if err := h.withoutControlPlane(ctx, h.putEtcdBack); err != nil {
		return "", err
	}
	if err := h.untilRestored(ctx, backedUp, late); err != nil {
		return "", err
	}
	if err := h.applyAgain(ctx, late, command); err != nil {
		return "", err
	}
	return "the value of the copy is at the hub, the command ran once, and nothing else moved", h.restartQuietly(ctx)
}

// liveOn does what the copy of etcd does not know: an edit, a device and a command that runs.
func (h *hostileRun) liveOn(ctx context.Context) (*v1alpha1.PnPDevice, *v1alpha1.DeviceCommand, error) {
	if _, err := h.edit(ctx, withinPromise); err != nil {
		return nil, nil, err
	}
	if err := h.Hub.AddDevice(ctx, lateDevice, simulator.Spec{Model: simulator.Thermostat}); err != nil {
		return nil, nil, err
	}
	late := &v1alpha1.PnPDevice{ObjectMeta: harness.ObjectMeta(lateDevice), Spec: v1alpha1.PnPDeviceSpec{
		HubRef: v1alpha1.HubReference{Name: harness.SampleHub}, Properties: jsonOf(map[string]any{harness.TargetProperty: 7}), DeletionPolicy: v1alpha1.DeletionClear,
	}}
	command := &v1alpha1.DeviceCommand{ObjectMeta: harness.ObjectMeta(lateDevice), Spec: v1alpha1.DeviceCommandSpec{
		DeviceRef: v1alpha1.DeviceReference{Name: lateDevice}, Command: "getMaxMinReport", ResponseTimeoutSeconds: 5,
		NotAfter: metav1.NewTime(time.Now().Add(time.Hour).Truncate(time.Second)),
	}}
	for _, object := range []client.Object{late.DeepCopy(), command.DeepCopy()} {
		if err := h.Client.Create(ctx, object); err != nil {
			return nil, nil, err
		}
	}
	return late, command, errors.Join(h.untilReady(ctx, late.DeepCopy()), h.untilOutcome(ctx, command.DeepCopy(), v1alpha1.CommandSucceeded))
}

func (h *hostileRun) untilReady(ctx context.Context, device *v1alpha1.PnPDevice) error {
	return h.untilTrue(ctx, device, v1alpha1.ConditionReady, func() []metav1.Condition { return device.Status.Conditions })
}

// untilOutcome waits for the end of a command.
func (h *hostileRun) untilOutcome(ctx context.Context, command *v1alpha1.DeviceCommand, want v1alpha1.CommandOutcome) error {
	late := func() error {
		return harness.Missed("DeviceCommand "+command.Name, string(want), fmt.Sprintf("%q; %s", command.Status.Outcome, said(command.Status.Conditions)))
	}
	return harness.PollEvery(ctx, 100*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		err := h.Client.Get(ctx, client.ObjectKeyFromObject(command), command)
		return command.Status.Outcome == want, err
	})
}

// untilRestored waits until the hub holds what the copy declares, and status says so. The object that the copy does not
// have is gone, and has left its value: nobody asked for its removal.
func (h *hostileRun) untilRestored(ctx context.Context, want float64, late *v1alpha1.PnPDevice) error {
	if err := h.Client.Get(ctx, client.ObjectKeyFromObject(late), &v1alpha1.PnPDevice{}); client.IgnoreNotFound(err) != nil || err == nil {
		return fmt.Errorf("the control plane was not put back: PnPDevice %s is there, or %w", late.Name, err)
	}
	if err := h.ExpectAtHub(ctx, time.Minute, want, victimDevice, harness.TargetProperty); err != nil {
		return err
	}
	if err := h.untilReady(ctx, &v1alpha1.PnPDevice{ObjectMeta: harness.ObjectMeta(victimDevice)}); err != nil {
		return err
	}
	return h.ExpectAtHub(ctx, withinPromise, 7.0, lateDevice, harness.TargetProperty)
}

// applyAgain has Git make the device and the command anew: one costs no write, the other no run.
func (h *hostileRun) applyAgain(ctx context.Context, late *v1alpha1.PnPDevice, command *v1alpha1.DeviceCommand) error {
	writes, err := h.PatchesOf(ctx, lateDevice)
	if err != nil {
		return err
	}
	for _, object := range []client.Object{late, command} {
		if err := h.Client.Create(ctx, object); err != nil {
			return err
		}
	}
	if err := errors.Join(h.untilReady(ctx, late), h.untilOutcome(ctx, command, v1alpha1.CommandSucceeded)); err != nil {
		return err
	}
	return h.unmoved(ctx, lateDevice, writes)
}

// restartQuietly starts the operator anew. It has to find everything as it should be.
func (h *hostileRun) restartQuietly(ctx context.Context) error {
	writes := map[string]int{}
	for _, name := range []string{victimDevice, lateDevice} {
		n, err := h.PatchesOf(ctx, name)
		if err != nil {
			return err
		}
		writes[name] = n
	}
	if err := h.operator.restart(ctx); err != nil {
		return err
	}
	if _, err := h.edit(ctx, withinPromise); err != nil {
		return err
	}
	return errors.Join(h.unmoved(ctx, victimDevice, writes[victimDevice]+1), h.unmoved(ctx, lateDevice, writes[lateDevice]))
}

// unmoved checks how many writes a device got, and that it ran at most one command.
func (h *hostileRun) unmoved(ctx context.Context, name string, want int) error {
	writes, err := h.PatchesOf(ctx, name)
	if err != nil {
		return err
	}
	ran, err := h.Hub.Commands(ctx, name)
	switch {
	case err != nil:
		return err
	case writes != want:
		return harness.Missed("writes to "+name, fmt.Sprint(want), fmt.Sprint(writes))
	case len(ran) > 1:
		return harness.Missed("commands that "+name+" ran", "at most 1", fmt.Sprint(len(ran)))
	}
	return nil
}

func (h *hostileRun) etcdData() string { return h.File(harness.ControlPlaneFolder) + "/etcd" }
func (h *hostileRun) etcdCopy() string { return h.File("etcd-copy") }

func (h *hostileRun) copyEtcd(ctx context.Context) error {
	return harness.NewCommand(ctx, "cp", "-a", h.etcdData(), h.etcdCopy()).Run()
}

func (h *hostileRun) putEtcdBack(context.Context) error {
	return errors.Join(os.RemoveAll(h.etcdData()), os.Rename(h.etcdCopy(), h.etcdData()))
}

// withoutControlPlane does something while neither the API server nor its etcd runs, and starts both as they were.
func (h *hostileRun) withoutControlPlane(ctx context.Context, do func(context.Context) error) error {
	servers := []harness.Process{h.APIServer(), {Name: "etcd", Dir: h.File(harness.ControlPlaneFolder)}}
	lines := make([][]string, len(servers))
	for i, p := range servers {
		line, err := p.Kill(ctx)
		if err != nil {
			return err
		}
		lines[i] = line
	}
	if err := do(ctx); err != nil {
		return err
	}
	var ended <-chan error
	for i, p := range slices.Backward(servers) {
		var err error
		if ended, err = p.Start(lines[i][0], lines[i][1:]...); err != nil {
			return err
		}
	}
	return servers[0].Await(ctx, ended, time.Minute, func() error {
		return h.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: harness.SampleHub}, &v1alpha1.IoTHub{})
	})
}
