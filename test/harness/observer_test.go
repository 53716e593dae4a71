package harness

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/watch"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// An API server may end a watch at any time.
func TestAnObserverOutlivesItsWatch(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	watches := 0
	c := interceptor.NewClient(fake.NewClientBuilder().WithScheme(scheme).Build(), interceptor.Funcs{
		Watch: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) (watch.Interface, error) {
			if watches++; watches == 1 {
				ended := watch.NewFake()
				ended.Stop()
				return ended, nil
			}
			return c.Watch(ctx, list, opts...)
		},
	})
	o := &Observer{Client: c, devices: map[string]seen{}, changed: make(chan struct{})}
	events, err := o.watch(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	device := &v1alpha1.PnPDevice{ObjectMeta: metav1.ObjectMeta{Name: "device-1", Namespace: Namespace}}
	if err := c.Create(t.Context(), device); err != nil {
		t.Fatal(err)
	}
	go o.follow(t.Context(), events)
	if _, err := o.AwaitWithin(t.Context(), 10*time.Second, device.Name, "seen", func(*v1alpha1.PnPDevice) bool { return true }); err != nil {
		t.Fatal(err)
	}
}
