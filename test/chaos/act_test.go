package chaos

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// commandWithin is how long a command may wait for its device.
const commandWithin = 45 * time.Second

// perform has actions happen one after the other.
func (k *storm) perform(ctx context.Context, actions []oracle.Action) error {
	for _, a := range actions {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(a.Pause):
		}
		if err := k.endFaults(ctx); err != nil {
			return err
		}
		if a.Plot {
			if err := k.keepUp(ctx, a.Device); err != nil {
				return err
			}
			k.lanes.add(a.Device, string(a.Kind), func(ctx context.Context) error { return k.actInPlot(ctx, a) })
			continue
		}
		k.record(a.String())
		if err := k.act(ctx, a); err != nil {
			return fmt.Errorf("%s: %w", a, err)
		}
	}
	return nil
}

// keepUp waits for a while if more actions of plots wait for a device than it can do soon: on a
// busy machine a storm takes longer, and does not leave more to do than its end has time for. It
// does not wait for ever, since what the device waits for may come later in the storm.
func (k *storm) keepUp(ctx context.Context, device string) error {
	const enough, patience = 8, 2 * time.Second
	return harness.PollEvery(ctx, 50*time.Millisecond, patience, func() error { return nil }, func(context.Context) (bool, error) {
		return k.isDown || k.lanes.length(device) < enough, nil
	})
}

// act does what needs the API server in the lane of the object, and all else at once.
func (k *storm) act(ctx context.Context, a oracle.Action) error {
	if a.Kind == oracle.Command {
		k.commands++
		k.lanes.add(a.Name, string(a.Kind), func(ctx context.Context) error { return k.command(ctx, a) })
		return nil
	}
	if do, ok := k.usersDo(a); ok {
		k.lanes.add(a.Device, string(a.Kind), func(ctx context.Context) error { return do(ctx, a) })
		return nil
	}
	k.replacing.RLock()
	defer k.replacing.RUnlock()
	return k.actAtHub(ctx, a)
}

func (k *storm) usersDo(a oracle.Action) (func(context.Context, oracle.Action) error, bool) {
	do, ok := map[oracle.Kind]func(context.Context, oracle.Action) error{
		oracle.Create: k.create, oracle.Edit: k.edit, oracle.Delete: k.remove, oracle.Resend: k.request, oracle.Refresh: k.request,
		oracle.SuspendHub: k.suspendHub, oracle.ResumeHub: k.suspendHub, oracle.Confirm: k.confirm,
	}[a.Kind]
	return do, ok
}

// awaitWithin is how long an action of a plot waits for what it awaits: the operator or the API server may be down, or there may be nothing to do.
var awaitWithin = map[string]time.Duration{oracle.Seen: 20 * time.Second, oracle.Written: 8 * time.Second}

// actInPlot does an action in the lane of its device, once it is time. The device may have disappeared since it was planned.
func (k *storm) actInPlot(ctx context.Context, a oracle.Action) error {
	if err := k.isTime(ctx, a); err != nil {
		return err
	}
	since, err := k.newestChange()
	if err != nil {
		return err
	}
	k.mu.Lock()
	k.acted[a.Device] = since
	k.mu.Unlock()
	k.record(a.String())
	if do, ok := k.usersDo(a); ok {
		return do(ctx, a)
	}
	if err := k.actAtHub(ctx, a); !simulator.IsNotFound(err) {
		return err
	}
	return nil
}

func (k *storm) isTime(ctx context.Context, a oracle.Action) error {
	k.mu.Lock()
	since := k.acted[a.Device]
	k.mu.Unlock()
	began := time.Now()
	look := map[string]func(context.Context) (bool, error){
		"":             func(context.Context) (bool, error) { return true, nil },
		oracle.Seen:    func(ctx context.Context) (bool, error) { return k.isSeen(ctx, a.Device, time.Since(began)) },
		oracle.Written: func(context.Context) (bool, error) { return k.isWritten(a.Device, since) },
	}[a.Await]
	if err := harness.PollEvery(ctx, 20*time.Millisecond, awaitWithin[a.Await], func() error { return nil }, look); err != nil {
		return err
	}
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(a.Wait):
		return nil
	}
}

// isSeen reports whether status speaks of the declaration in force. It need not say so while writes fail: if it has all properties, some time is enough. Without
// an API server nobody knows.
func (k *storm) isSeen(ctx context.Context, name string, waited time.Duration) (bool, error) {
	const enough = 1500 * time.Millisecond
	var device v1alpha1.PnPDevice
	if isKnown := k.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: name}, &device) == nil; !isKnown {
		return false, nil
	}
	declared, err := oracle.Declared(&device.Spec)
	shown := oracle.Shown(&device.Status)
	for leaf := range declared {
		if _, ok := shown[leaf]; !ok {
			return false, err
		}
	}
	return device.Status.ObservedGeneration == device.Generation || waited > enough, err
}

// isWritten reports whether the operator wrote to the device after a change of the journal.
func (k *storm) isWritten(device string, since uint64) (bool, error) {
	journal, err := k.journal()
	for _, e := range slices.Backward(journal) {
		if e.Seq <= since {
			break
		}
		if e.DeviceID == device && e.Service && e.Desired != nil {
			return true, err
		}
	}
	return false, err
}

func (k *storm) actAtHub(ctx context.Context, a oracle.Action) error {
	do, ok := map[oracle.Kind]func() error{
		oracle.Foreign:     func() error { return k.Hub.PatchDesired(ctx, a.Device, string(a.Patch), a.By) },
		oracle.Report:      func() error { return k.Hub.PatchReported(ctx, a.Device, string(a.Patch)) },
		oracle.Behave:      func() error { return k.Hub.Behave(ctx, a.Device, a.Property, *a.Behaviour) },
		oracle.Offline:     func() error { return k.Hub.Offline(ctx, a.Device) },
		oracle.Online:      func() error { return k.Hub.Online(ctx, a.Device) },
		oracle.Vanish:      func() error { return k.Hub.DeleteDevice(ctx, a.Device) },
		oracle.Recreate:    func() error { return k.recreate(ctx, a) },
		oracle.Remember:    func() error { return k.Hub.Remember(ctx, a.Device) },
		oracle.Rewind:      func() error { return k.Hub.Rewind(ctx, a.Device) },
		oracle.Return:      func() error { return k.Hub.AddDevice(ctx, a.Device, deviceSpec()) },
		oracle.Tag:         func() error { return k.Hub.SetTags(ctx, a.Device, string(a.Patch)) },
		oracle.Rekey:       func() error { return k.Hub.BumpDeviceETag(ctx, a.Device) },
		oracle.Fault:       func() error { return k.fault(ctx, a) },
		oracle.Mend:        func() error { return k.mend(ctx, a.Device) },
		oracle.EventFault:  func() error { _, err := k.Hub.AddEventFault(ctx, *a.EventFault); return err },
		oracle.Stream:      func() error { return k.disturbStream(ctx, a.Name) },
		oracle.ClockJump:   func() error { return k.Hub.SetClockOffset(ctx, a.Offset) },
		oracle.IndexLag:    func() error { return k.Hub.SetIndexLag(ctx, a.Offset) },
		oracle.ClearFaults: func() error { return k.clearFaults(ctx) },
		oracle.ServerDown:  func() error { return k.stopServer(ctx) },
		oracle.ServerUp:    func() error { return k.startServer(ctx) },
	}[a.Kind]
	if !ok {
		return fmt.Errorf("nobody knows how to %s", a.Kind)
	}
	return do()
}

// faultsLast is how long faults of all devices wait for calls. Without an end they would gather while no operator calls, and the next one would have to use up all
// of them first, with a back-off for each.
const faultsLast = 5 * time.Second

// passing is a fault of all devices, and when it ends.
type passing struct {
	id  string
	end time.Time
}

// fault breaks calls of the hub. Those of one device alone can be mended alone.
func (k *storm) fault(ctx context.Context, a oracle.Action) error {
	id, err := k.Hub.AddFault(ctx, *a.Fault)
	k.mu.Lock()
	defer k.mu.Unlock()
	if a.Device != "" {
		k.faults[a.Device] = append(k.faults[a.Device], id)
	} else {
		k.passing = append(k.passing, passing{id, time.Now().Add(faultsLast)})
	}
	return err
}

// endFaults ends those whose time is up.
func (k *storm) endFaults(ctx context.Context) error {
	k.mu.Lock()
	i := slices.IndexFunc(k.passing, func(p passing) bool { return time.Now().Before(p.end) })
	if i < 0 {
		i = len(k.passing)
	}
	ended := k.passing[:i]
	k.passing = k.passing[i:]
	k.mu.Unlock()
	for _, p := range ended {
		if err := k.Hub.RemoveFault(ctx, p.id); err != nil && !simulator.IsNotFound(err) {
			return err
		}
	}
	return nil
}

func (k *storm) mend(ctx context.Context, device string) error {
	k.mu.Lock()
	ids := k.faults[device]
	delete(k.faults, device)
	k.mu.Unlock()
	for _, id := range ids {
		if err := k.Hub.RemoveFault(ctx, id); err != nil && !simulator.IsNotFound(err) {
			return err
		}
	}
	return nil
}

// recreate replaces a device by a new one, and has others write to it until its etag is that of the one before: the counter in it counts writes.
func (k *storm) recreate(ctx context.Context, a oracle.Action) error {
	wanted, err := k.writesOf(ctx, a.Device)
	if err != nil {
		return err
	}
	if err := k.replace(ctx, a.Device); err != nil {
		return err
	}
	patch := string(a.Patch)
	for range 200 {
		if err := k.Hub.PatchDesired(ctx, a.Device, patch, ""); err != nil {
			return err
		}
		writes, err := k.writesOf(ctx, a.Device)
		if err != nil || writes >= wanted {
			return err
		}
		patch = fmt.Sprintf(`{"owner":"v%d"}`, writes)
	}
	return nil
}

// replace makes a new device under the id of another one. Actions beside its plot find one of the
// two.
func (k *storm) replace(ctx context.Context, device string) error {
	k.replacing.Lock()
	defer k.replacing.Unlock()
	return errors.Join(k.Hub.DeleteDevice(ctx, device), k.Hub.AddDevice(ctx, device, deviceSpec()))
}

// writesOf is the counter in a twin's etag.
func (k *storm) writesOf(ctx context.Context, device string) (uint64, error) {
	raw, err := k.Hub.Twin(ctx, device)
	if err != nil {
		return 0, err
	}
	var twin struct{ ETag []byte }
	if err := json.Unmarshal(raw, &twin); err != nil || len(twin.ETag) != 8 {
		return 0, fmt.Errorf("the etag in %s is no counter: %w", raw, err)
	}
	return binary.BigEndian.Uint64(twin.ETag), nil
}

func (k *storm) disturbStream(ctx context.Context, what string) error {
	const times = 3
	return map[string]func() error{
		oracle.Cut:          func() error { return k.Hub.CutConnections(ctx) },
		oracle.Truncate:     func() error { return k.Hub.TruncateFrames(ctx) },
		oracle.Close:        func() error { return k.Hub.CloseConnections(ctx, simulator.AMQPError{}) },
		oracle.Steal:        func() error { return k.Hub.StealReceivers(ctx) },
		oracle.RefuseLinks:  func() error { return k.Hub.Refuse(ctx, simulator.RefuseRequest{Links: times}) },
		oracle.RefuseTokens: func() error { return k.Hub.Refuse(ctx, simulator.RefuseRequest{Tokens: times}) },
		oracle.Stall:        func() error { return k.Hub.StallPartition(ctx, "") },
		oracle.Release:      func() error { return k.Hub.ReleasePartitions(ctx) },
	}[what]()
}

func (k *storm) clearFaults(ctx context.Context) error {
	return errors.Join(k.Hub.ClearFaults(ctx), k.Hub.ClearEventFaults(ctx), k.Hub.ReleasePartitions(ctx), k.Hub.SetClockOffset(ctx, 0), k.Hub.SetIndexLag(ctx, 0))
}

// untilDone repeats what fails while the API server is away or the object is not as it has to be. It has no time limit of its own: while the storm lasts, an
// object may have to wait for a hub that is resumed, or removals that are confirmed, later in the same storm. Once it is over, settle has one.
func untilDone(ctx context.Context, do func(context.Context) error) error {
	for {
		err := do(ctx)
		if err == nil || apierrors.IsInvalid(err) || apierrors.IsForbidden(err) {
			return err
		}
		noteTry(ctx, err)
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// create makes an object. One of that name that is being deleted has to go first; one that is not was made by a try whose answer was lost.
func (k *storm) create(ctx context.Context, a oracle.Action) error {
	if err := k.history.Declare(a.Device, a.Spec, time.Now()); err != nil {
		return err
	}
	var there *v1alpha1.PnPDevice
	err := untilDone(ctx, func(ctx context.Context) error {
		there = &v1alpha1.PnPDevice{ObjectMeta: harness.ObjectMeta(a.Device), Spec: *a.Spec}
		err := k.Client.Create(ctx, there)
		if !apierrors.IsAlreadyExists(err) {
			return err
		}
		if err := k.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: a.Device}, there); err != nil {
			return err
		}
		if there.DeletionTimestamp != nil {
			return fmt.Errorf("the one before is being deleted, since %s: %s", there.DeletionTimestamp.Format("15:04:05"), harness.DescribeDevice(there))
		}
		return nil
	})
	if err != nil {
		return err
	}
	// Not when it was asked for: while the API server is down, the one before may go on for long.
	k.history.Born(a.Device, there.CreationTimestamp.Time)
	k.history.Applied(a.Device, time.Now())
	return nil
}

func (k *storm) edit(ctx context.Context, a oracle.Action) error {
	if err := k.history.Declare(a.Device, a.Spec, time.Now()); err != nil {
		return err
	}
	err := untilDone(ctx, func(ctx context.Context) error {
		var device v1alpha1.PnPDevice
		if err := k.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: a.Device}, &device); err != nil {
			return err
		}
		device.Spec = *a.Spec
		return k.Client.Update(ctx, &device)
	})
	if err != nil {
		return err
	}
	k.history.Applied(a.Device, time.Now())
	return nil
}

// remove deletes an object. One that is to be cleared, and that no operator has seen since that was declared, has no finalizer yet and goes at once.
func (k *storm) remove(ctx context.Context, a oracle.Action) error {
	k.history.Delete(a.Device, time.Now())
	err := untilDone(ctx, func(ctx context.Context) error {
		var device v1alpha1.PnPDevice
		if err := k.Client.Get(ctx, types.NamespacedName{Namespace: harness.Namespace, Name: a.Device}, &device); err != nil {
			return client.IgnoreNotFound(err)
		}
		if !slices.Contains(device.Finalizers, v1alpha1.FinalizerClear) {
			k.history.Excuse(a.Device, time.Now())
		}
		return client.IgnoreNotFound(k.Client.Delete(ctx, &device, client.Preconditions{ResourceVersion: &device.ResourceVersion}))
	})
	if err != nil {
		return err
	}
	k.history.Applied(a.Device, time.Now())
	return nil
}

// request sets one of the annotations that ask for something.
func (k *storm) request(ctx context.Context, a oracle.Action) error {
	key := v1alpha1.AnnotationReconcileRequestedAt
	if a.Kind == oracle.Resend {
		key = v1alpha1.AnnotationResendRequestedAt
		newest, err := k.newestChange()
		if err != nil {
			return err
		}
		k.history.Resend(a.Device, newest)
	}
	return k.annotate(ctx, &v1alpha1.PnPDevice{ObjectMeta: harness.ObjectMeta(a.Device)}, key, a.Name)
}

func (k *storm) annotate(ctx context.Context, object client.Object, key, value string) error {
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"annotations": map[string]any{key: value}}})
	if err != nil {
		return err
	}
	return untilDone(ctx, func(ctx context.Context) error {
		return k.Client.Patch(ctx, object, client.RawPatch(types.MergePatchType, patch))
	})
}

func (k *storm) suspendHub(ctx context.Context, a oracle.Action) error {
	patch := fmt.Appendf(nil, `{"spec":{"suspend":%t}}`, a.Kind == oracle.SuspendHub)
	return untilDone(ctx, func(ctx context.Context) error {
		return k.Client.Patch(ctx, &v1alpha1.IoTHub{ObjectMeta: harness.ObjectMeta(harness.SampleHub)}, client.RawPatch(types.MergePatchType, patch))
	})
}

// command creates a DeviceCommand whose payload is its name, so that devices can tell them apart.
func (k *storm) command(ctx context.Context, a oracle.Action) error {
	return untilDone(ctx, func(ctx context.Context) error {
		err := k.Client.Create(ctx, &v1alpha1.DeviceCommand{ObjectMeta: harness.ObjectMeta(a.Name), Spec: v1alpha1.DeviceCommandSpec{
			DeviceRef: v1alpha1.DeviceReference{Name: a.Device}, Component: "thermostat1", Command: "getMaxMinReport",
			Payload:  &apiextensionsv1.JSON{Raw: []byte(strconv.Quote(a.Name))},
			NotAfter: metav1.NewTime(time.Now().Add(commandWithin)), ResponseTimeoutSeconds: 5, ConnectTimeoutSeconds: 2,
		}})
		if apierrors.IsAlreadyExists(err) { // the answer to the first try was lost
			return nil
		}
		return err
	})
}
