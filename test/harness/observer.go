package harness

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// Observer sees every state of the PnPDevices as a watch tells it, and when.
type Observer struct {
	Client client.WithWatch

	mu      sync.Mutex
	devices map[string]seen
	changed chan struct{} // closed, and replaced, at every change
}

type seen struct {
	Device *v1alpha1.PnPDevice
	at     time.Time
}

// Observe watches until ctx ends.
func (d *Testbed) Observe(ctx context.Context) (*Observer, error) {
	config, err := clientcmd.BuildConfigFromFlags("", d.Kubectl.Kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS, config.Burst = 200, 400
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		return nil, err
	}
	c, err := client.NewWithWatch(config, client.Options{Scheme: scheme})
	if err != nil {
		return nil, err
	}
	o := &Observer{Client: c, devices: map[string]seen{}, changed: make(chan struct{})}
	events, err := o.watch(ctx)
	if err != nil {
		return nil, fmt.Errorf("watching PnPDevices: %w", err)
	}
	go o.follow(ctx, events)
	return o, nil
}

// watch sees what there is, and returns what becomes of it.
func (o *Observer) watch(ctx context.Context) (watch.Interface, error) {
	var list v1alpha1.PnPDeviceList
	if err := o.Client.List(ctx, &list, client.InNamespace(Namespace)); err != nil {
		return nil, err
	}
	for _, device := range list.Items {
		o.see(device)
	}
	return o.Client.Watch(ctx, &v1alpha1.PnPDeviceList{}, client.InNamespace(Namespace),
		&client.ListOptions{Raw: &metav1.ListOptions{ResourceVersion: list.ResourceVersion}})
}

// follow sees what a watch tells. An API server ends one whose reader is slow, as on a busy machine: then another one follows.
func (o *Observer) follow(ctx context.Context, events watch.Interface) {
	const pause = 200 * time.Millisecond
	for ctx.Err() == nil {
		for e := range events.ResultChan() {
			if device, ok := e.Object.(*v1alpha1.PnPDevice); ok {
				o.see(device)
			}
		}
		events.Stop()
		next, err := o.watch(ctx)
		if err != nil { // the API server is down; what has ended ends once more
			time.Sleep(pause)
			continue
		}
		events = next
	}
}

func (o *Observer) see(device *v1alpha1.PnPDevice) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.devices[device.Name] = seen{device, time.Now()}
	close(o.changed)
	o.changed = make(chan struct{})
}

// Look returns the newest state of a device, and a channel that is closed when there is a newer
// one.
func (o *Observer) Look(name string) (seen, <-chan struct{}) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.devices[name], o.changed
}

// Await waits until a device is as wanted, and returns when it came to be.
func (o *Observer) Await(ctx context.Context, name, wanted string, ok func(*v1alpha1.PnPDevice) bool) (time.Time, error) {
	return o.AwaitWithin(ctx, WithinScenario, name, wanted, ok)
}

// AwaitWithin is Await with a limit of its own.
func (o *Observer) AwaitWithin(ctx context.Context, within time.Duration, name, wanted string, ok func(*v1alpha1.PnPDevice) bool) (time.Time, error) {
	limit := time.NewTimer(within)
	defer limit.Stop()
	for {
		now, changed := o.Look(name)
		if now.Device != nil && ok(now.Device) {
			return now.at, nil
		}
		select {
		case <-changed:
		case <-limit.C:
			return time.Time{}, miss{"status of " + name, wanted, DescribeDevice(now.Device) + ", after " + within.String()}
		case <-ctx.Done():
			return time.Time{}, context.Cause(ctx)
		}
	}
}

// DescribeDevice sums a device up for a failure.
func DescribeDevice(device *v1alpha1.PnPDevice) string {
	if device == nil {
		return "no such PnPDevice"
	}
	var parts []string
	for _, c := range device.Status.Conditions {
		parts = append(parts, fmt.Sprintf("%s=%s %s: %s", c.Type, c.Status, c.Reason, c.Message))
	}
	for _, p := range allProperties(device) {
		parts = append(parts, fmt.Sprintf("%s is %s (ac %d, av %d, %q)", p.Name, p.State, p.AckCode, p.AckVersion, p.AckDescription))
	}
	return device.Status.Summary + "; " + strings.Join(parts, "; ")
}

// allProperties lists what status says of properties, those of components as component.name.
func allProperties(device *v1alpha1.PnPDevice) []v1alpha1.PropertyStatus {
	all := append([]v1alpha1.PropertyStatus{}, device.Status.Properties...)
	for _, c := range device.Status.Components {
		for _, p := range c.Properties {
			p.Name = c.Name + "." + p.Name
			all = append(all, p)
		}
	}
	return all
}

// PropertyOf returns what status says of one property.
func PropertyOf(device *v1alpha1.PnPDevice, name string) v1alpha1.PropertyStatus {
	for _, p := range allProperties(device) {
		if p.Name == name {
			return p
		}
	}
	return v1alpha1.PropertyStatus{}
}

// IsReady reports whether the device acknowledged what the object declares now.
func IsReady(device *v1alpha1.PnPDevice) bool {
	ready := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionTrue && ready.ObservedGeneration == device.Generation &&
		device.Status.Acknowledged == device.Status.Declared
}

// IsNotReady reports whether what the object declares now is not Ready for a reason.
func IsNotReady(device *v1alpha1.PnPDevice, reason string) bool {
	ready := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionReady)
	return ready != nil && ready.Status == metav1.ConditionFalse && ready.Reason == reason && ready.ObservedGeneration == device.Generation
}

// IsDisconnected reports whether status says that the device is offline.
func IsDisconnected(device *v1alpha1.PnPDevice) bool {
	return device.Status.ConnectionState == "Disconnected"
}
