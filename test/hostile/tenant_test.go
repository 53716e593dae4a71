package hostile

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	attackerNamespace = "tenant-a"
	attackerUser      = "mallory"
	// theirHub is the IoTHub, and its Secret, of the attacker.
	theirHub = "plant"
	// withinPromise is how long something may take to show on a machine that is busy with an attack.
	withinPromise = 30 * time.Second
)

// beginAttacker starts the second hub, and gives a tenant a namespace with the ClusterRole edit, which is what teams usually have.
func (h *hostileRun) beginAttacker(ctx context.Context) error {
	theirs := *h.Testbed
	theirs.Dir = h.File("theirs")
	theirs.HubArgs = []string{"--host-name=" + theirHub + ".azure-devices.net", "--event-partitions=32"}
	if err := os.Mkdir(theirs.Dir, 0o700); err != nil {
		return err
	}
	if err := os.Link(h.File(harness.KeysFile), theirs.File(harness.KeysFile)); err != nil {
		return err
	}
	if err := theirs.StartHub(ctx); err != nil {
		return err
	}
	h.theirs = &theirs
	h.Replicas = append(h.Replicas, theirs.Simulator())
	for _, words := range [][]string{
		{"create", "namespace", attackerNamespace},
		{"apply", "-k", h.Path("config/tenant"), "-n", attackerNamespace},
		{"create", "rolebinding", attackerUser, "--clusterrole=edit", "--user=" + attackerUser, "-n", attackerNamespace},
	} {
		if _, err := h.Kubectl.Show(ctx, words...); err != nil {
			return err
		}
	}
	return h.impersonate(ctx)
}

// impersonate returns once the attacker may do what the role says: it is put together from others.
func (h *hostileRun) impersonate(ctx context.Context) error {
	config, err := clientcmd.BuildConfigFromFlags("", h.Kubectl.Kubeconfig)
	if err != nil {
		return err
	}
	config.QPS, config.Burst = 500, 1000
	config.Impersonate = rest.ImpersonationConfig{UserName: attackerUser}
	scheme := runtime.NewScheme()
	if err := errors.Join(v1alpha1.AddToScheme(scheme), corev1.AddToScheme(scheme)); err != nil {
		return err
	}
	if h.attacker, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return err
	}
	var last error
	late := func() error { return fmt.Errorf("the attacker's rights: %w", last) }
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		last = h.attacker.List(ctx, &v1alpha1.IoTHubList{}, client.InNamespace(attackerNamespace))
		return last == nil, nil
	})
}

// inTheirs is the metadata of an object of the attacker.
func inTheirs(name string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Name: name, Namespace: attackerNamespace}
}

// secretOf is a Secret with the connection strings of the attacker's hub.
func (h *hostileRun) secretOf(name string) *corev1.Secret {
	return &corev1.Secret{ObjectMeta: inTheirs(name), StringData: map[string]string{
		harness.SecretKey: h.theirs.HubEnv["HUB_CONNECTION_STRING"], harness.EventsKey: h.theirs.HubEnv["EVENTHUB_CONNECTION_STRING"],
	}}
}

// hubOf is an IoTHub for the attacker's hub, with a budget that holds nothing up.
func (h *hostileRun) hubOf(name string) (*v1alpha1.IoTHub, error) {
	ca, err := os.ReadFile(h.theirs.File(harness.HubCAFile))
	return &v1alpha1.IoTHub{ObjectMeta: inTheirs(name), Spec: v1alpha1.IoTHubSpec{
		HostName: h.theirs.HubEnv["HUB_HOST_NAME"], Endpoint: h.theirs.HubEnv["HUB_ENDPOINT"], CABundle: string(ca),
		TwinAPI:        v1alpha1.TwinAPIDeviceTwin, // a hub refuses digital-twin patches while the device reports what digital twins cannot hold
		Authentication: v1alpha1.HubAuthentication{ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: theirHub, Key: harness.SecretKey}},
		RequestBudget: v1alpha1.RequestBudget{
			TwinReadsPerSecond: 10_000, TwinWritesPerSecond: 10_000, QueriesPerMinute: 100_000, CommandsPerSecond: 10_000, DailyMessages: 1_000_000_000,
		},
	}}, err
}

// addTheirHub has the attacker declare the hub, which has to become Ready. change may be nil.
func (h *hostileRun) addTheirHub(ctx context.Context, change func(*v1alpha1.IoTHubSpec)) error {
	hub, err := h.hubOf(theirHub)
	if err != nil {
		return err
	}
	if change != nil {
		change(&hub.Spec)
	}
	if err := h.createAll(ctx, h.secretOf(theirHub), hub); err != nil {
		return err
	}
	return h.untilTrue(ctx, hub, v1alpha1.ConditionReady, func() []metav1.Condition { return hub.Status.Conditions })
}

// withEvents has the IoTHub read events.
func (h *hostileRun) withEvents(spec *v1alpha1.IoTHubSpec) {
	spec.Events = &v1alpha1.EventSource{
		ConnectionStringSecretRef: &v1alpha1.SecretKeyReference{Name: theirHub, Key: harness.EventsKey},
		Endpoint:                  h.theirs.HubEnv["EVENTHUB_ADDRESS"], CABundle: spec.CABundle,
	}
}

func (h *hostileRun) createAll(ctx context.Context, objects ...client.Object) error {
	for _, o := range objects {
		if err := h.attacker.Create(ctx, o); err != nil {
			return fmt.Errorf("creating %T %q: %w", o, o.GetName(), err)
		}
	}
	return nil
}

// untilTrue waits for a condition of an object.
func (h *hostileRun) untilTrue(ctx context.Context, object client.Object, kind string, conditions func() []metav1.Condition) error {
	late := func() error {
		return harness.Missed(fmt.Sprintf("%T %q", object, object.GetName()), kind+" within "+withinPromise.String(), said(conditions()))
	}
	return harness.PollEvery(ctx, 200*time.Millisecond, withinPromise, late, func(ctx context.Context) (bool, error) {
		err := h.Client.Get(ctx, client.ObjectKeyFromObject(object), object)
		return isTrue(conditions(), kind), err
	})
}

// isTrue is whether a condition is.
func isTrue(conditions []metav1.Condition, kind string) bool {
	return apimeta.IsStatusConditionTrue(conditions, kind)
}

// said sums conditions up for a failure.
func said(conditions []metav1.Condition) string {
	var parts []string
	for _, c := range conditions {
		parts = append(parts, fmt.Sprintf("%s=%s %s: %.200q", c.Type, c.Status, c.Reason, c.Message))
	}
	if len(parts) == 0 {
		return "no condition"
	}
	return strings.Join(parts, "; ")
}

// deviceOf is a PnPDevice of the attacker with a declared value.
func deviceOf(name string) *v1alpha1.PnPDevice {
	return &v1alpha1.PnPDevice{ObjectMeta: inTheirs(name), Spec: v1alpha1.PnPDeviceSpec{
		HubRef: v1alpha1.HubReference{Name: theirHub}, Properties: jsonOf(map[string]any{harness.TargetProperty: 20}),
	}}
}

// declareTheirs connects devices at the attacker's hub and declares them; each has to become Ready. change may be nil.
func (h *hostileRun) declareTheirs(ctx context.Context, change func(*v1alpha1.PnPDeviceSpec), names ...string) error {
	for _, name := range names {
		if err := h.connectTheirs(ctx, name); err != nil {
			return err
		}
		device := deviceOf(name)
		if change != nil {
			change(&device.Spec)
		}
		if err := h.createAll(ctx, device); err != nil {
			return err
		}
	}
	for _, name := range names {
		device := deviceOf(name)
		if err := h.untilTrue(ctx, device, v1alpha1.ConditionReady, func() []metav1.Condition { return device.Status.Conditions }); err != nil {
			return err
		}
	}
	return nil
}

// connectTheirs has a new device at the attacker's hub: what an earlier attack did to one of that name is gone.
func (h *hostileRun) connectTheirs(ctx context.Context, name string) error {
	if err := h.theirs.Hub.DeleteDevice(ctx, name); err != nil && !simulator.IsNotFound(err) {
		return err
	}
	return h.theirs.Hub.AddDevice(ctx, name, simulator.Spec{Model: simulator.Thermostat})
}

// reports has a device report the members of an object, a few at a time as the hub wants it.
func (h *hostileRun) reports(ctx context.Context, device string, members []member, each int) error {
	for part := range slices.Chunk(members, each) {
		if err := h.theirs.Hub.PatchReported(ctx, device, objectOf(part)); err != nil {
			return err
		}
	}
	return nil
}

// member is one of a JSON object; the value is JSON.
type member struct{ name, value string }

func objectOf(members []member) string {
	var b strings.Builder
	for i, m := range members {
		if i > 0 {
			b.WriteByte(',')
		}
		name, _ := json.Marshal(m.name) //nolint:errchkjson // a string has a JSON form
		b.Write(name)
		b.WriteString(":" + m.value)
	}
	return "{" + b.String() + "}"
}

// theirValue waits until the attacker's hub holds a value.
func (h *hostileRun) theirValue(ctx context.Context, want any, device, name string) error {
	return h.theirValueWithin(ctx, withinPromise, want, device, name)
}

func (h *hostileRun) theirValueWithin(ctx context.Context, within time.Duration, want any, device, name string) error {
	var got any
	late := func() error {
		return harness.Missed(name+" of "+device+" at its hub", fmt.Sprint(want)+" within "+within.String(), fmt.Sprint(got))
	}
	return harness.PollEvery(ctx, 100*time.Millisecond, within, late, func(ctx context.Context) (_ bool, err error) {
		got, _, err = h.theirs.Desired(ctx, device, name)
		return got == want, err
	})
}

// theirDevice returns a PnPDevice of the attacker as it is now.
func (h *hostileRun) theirDevice(ctx context.Context, name string) (*v1alpha1.PnPDevice, error) {
	var device v1alpha1.PnPDevice
	return &device, h.Client.Get(ctx, types.NamespacedName{Namespace: attackerNamespace, Name: name}, &device)
}

// together does something n times at once.
func together(n int, do func(i int) error) []error {
	errs := make([]error, n)
	var all sync.WaitGroup
	for i := range n {
		all.Go(func() { errs[i] = do(i) })
	}
	all.Wait()
	return errs
}

// kinds are lists of all that the attacker may have made, those first that others need.
func kinds() []client.ObjectList {
	return []client.ObjectList{&v1alpha1.PnPDeviceList{}, &v1alpha1.DeviceCommandList{}, &v1alpha1.DeviceModelList{}, &v1alpha1.IoTHubList{}}
}

// removeTenant deletes all objects of the attacker, whatever holds them. A request that fails is made again: the attack may still keep the API server busy.
func (h *hostileRun) removeTenant(ctx context.Context) error {
	const within = 3 * time.Minute
	left, last := 0, error(nil)
	late := func() error {
		return errors.Join(harness.Missed("objects of the attacker", "none within "+within.String(), fmt.Sprint(left)), last)
	}
	return harness.PollEvery(ctx, 100*time.Millisecond, within, late, func(ctx context.Context) (bool, error) {
		left, last = 0, h.attacker.DeleteAllOf(ctx, &corev1.Secret{}, client.InNamespace(attackerNamespace))
		for _, list := range kinds() {
			n, err := h.removeKind(ctx, list)
			left, last = left+n, errors.Join(last, err)
		}
		return left == 0 && last == nil, nil
	})
}

// removeKind has objects of a kind go, and returns how many there were. Finalizers are taken off first: what they are for is not looked at here, and an object
// as large as etcd takes could not be marked as deleted.
func (h *hostileRun) removeKind(ctx context.Context, list client.ObjectList) (int, error) {
	if err := h.Client.List(ctx, list, client.InNamespace(attackerNamespace)); err != nil {
		return 0, err
	}
	items, err := apimeta.ExtractList(list)
	if err != nil {
		return 0, err
	}
	without := client.RawPatch(types.MergePatchType, []byte(`{"metadata":{"finalizers":null}}`))
	errs := together(len(items), func(i int) error {
		object := items[i].(client.Object)
		err := h.Client.Patch(ctx, object, without)
		if err == nil {
			err = h.Client.Delete(ctx, object)
		}
		return client.IgnoreNotFound(err)
	})
	return len(items), errors.Join(errs...)
}
