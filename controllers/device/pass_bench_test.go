package device

import (
	"context"
	"encoding/json"
	"fmt"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// plain is a cluster with one IoTHub and one device, which keeps the status that is written.
type plain struct {
	client.Client

	hub    *v1alpha1.IoTHub
	device *v1alpha1.PnPDevice
}

func (p *plain) Get(_ context.Context, _ client.ObjectKey, into client.Object, _ ...client.GetOption) error {
	switch o := into.(type) {
	case *v1alpha1.PnPDevice:
		*o = *p.device
	case *v1alpha1.IoTHub:
		p.hub.DeepCopyInto(o)
	}
	return nil
}

func (p *plain) List(_ context.Context, list client.ObjectList, _ ...client.ListOption) error {
	if devices, ok := list.(*v1alpha1.PnPDeviceList); ok {
		devices.Items = []*v1alpha1.PnPDevice{p.device}
	}
	return nil
}

func (p *plain) Status() client.SubResourceWriter { return statusOf{cluster: p} }

type statusOf struct {
	client.SubResourceWriter

	cluster *plain
}

func (s statusOf) Patch(_ context.Context, changed client.Object, _ client.Patch, _ ...client.SubResourcePatchOption) error {
	s.cluster.device = changed.(*v1alpha1.PnPDevice).DeepCopy()
	return nil
}

// settledHub has a device that holds and acknowledges all that was declared.
type settledHub struct {
	session.Hub

	twin *twin.Twin
}

func (h settledHub) GetTwin(context.Context, string) (*twin.Twin, error) { return h.twin, nil }

func (settledHub) Close() {}

// BenchmarkPassOverASettledDevice is what each device costs the operator that has nothing to do for it: ten thousand of them come at once when it starts.
func BenchmarkPassOverASettledDevice(b *testing.B) {
	for _, properties := range []int{3, 20} {
		b.Run(fmt.Sprintf("%d properties", properties), func(b *testing.B) {
			r, device := settledPass(b, properties)
			b.ReportAllocs()
			for b.Loop() {
				if result, err := r.Reconcile(b.Context(), device); err != nil || result.RequeueAfter != 0 {
					b.Fatalf("the device is not settled: %v, %v", result, err)
				}
			}
		})
	}
}

// settledPass makes the one pass that settles a device.
func settledPass(b *testing.B, properties int) (*PnPDeviceReconciler, ctrl.Request) {
	b.Helper()
	declared := map[string]any{}
	held := &twin.Twin{DeviceID: "press", ETag: "AAAAAAAAAAI=", Version: 5, DesiredVersion: 2, ConnectionState: convergence.Connected, Properties: map[twin.Leaf]twin.Property{}}
	for i := range properties {
		name, value := fmt.Sprintf("setting%02d", i), fmt.Sprintf("value %d", i)
		declared[name] = value
		held.Properties[twin.Leaf{Name: name}] = twin.Property{
			Desired:  &twin.Desired{Value: value, Version: 2},
			Reported: &twin.Reported{Value: value, Ack: &twin.Ack{Version: 2, Code: 200, Description: "ok"}},
		}
	}
	raw, err := json.Marshal(declared)
	if err != nil {
		b.Fatal(err)
	}
	cluster := &plain{
		hub: &v1alpha1.IoTHub{
			ObjectMeta: metav1.ObjectMeta{Name: "factory-hub", Namespace: "factory"}, Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"},
		},
		device: &v1alpha1.PnPDevice{
			ObjectMeta: metav1.ObjectMeta{Name: "press", Namespace: "factory", Generation: 1},
			Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "factory-hub"}, Properties: &apiextensionsv1.JSON{Raw: raw}},
		},
	}
	conditions.SetVerdict(cluster.hub, conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonAuthenticated})
	registry := &session.Registry{}
	registry.Put(b.Context(), client.ObjectKeyFromObject(cluster.hub), session.NewSession(settledHub{twin: held}, cluster.hub.Spec.HostName, ""), func(context.Context) {})
	r := &PnPDeviceReconciler{
		Client: cluster, Hubs: registry, Wakes: triggers.New(), Brake: removals.New(), Models: models.NewLibrary(cached.Models{Reader: cluster}, nil), Grace: halt.DefaultGrace,
	}
	request := ctrl.Request{NamespacedName: client.ObjectKeyFromObject(cluster.device)}
	if _, err := r.Reconcile(b.Context(), request); err != nil || !conditions.IsTrue(cluster.device, v1alpha1.ConditionReady) {
		b.Fatalf("the device is not settled: %v: %v", err, conditions.ReadyOf(cluster.device))
	}
	return r, request
}
