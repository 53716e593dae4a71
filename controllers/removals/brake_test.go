package removals

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached/cachedtest"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// braked is a cluster with one IoTHub and objects that own properties. Its API server can refuse
// what is written to a status.
type braked struct {
	client.Client

	mu      sync.Mutex
	writes  int
	refuses error
}

func newBraked(t *testing.T, owned map[string]int) *braked {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	objects := []client.Object{&v1alpha1.IoTHub{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: "hub"}, Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"},
	}}
	for name, n := range owned {
		objects = append(objects, owner(name, n))
	}
	c := &braked{}
	c.Client = cachedtest.NewClientBuilder(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.IoTHub{}).
		WithInterceptorFuncs(interceptor.Funcs{SubResourcePatch: func(
			ctx context.Context, under client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption,
		) error {
			c.mu.Lock()
			defer c.mu.Unlock()
			c.writes++
			if c.refuses != nil {
				return c.refuses
			}
			return under.SubResource(sub).Patch(ctx, o, p, opts...)
		}}).Build()
	return c
}

// owner declares p0 to p<n-1>, and the hub holds them.
func owner(name string, n int) *v1alpha1.PnPDevice {
	device := &v1alpha1.PnPDevice{
		ObjectMeta: metav1.ObjectMeta{Namespace: "factory", Name: name, UID: types.UID(name), Generation: 1},
		Spec:       v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}},
		Status:     v1alpha1.PnPDeviceStatus{Twin: &v1alpha1.TwinReference{Hub: "factory.azure-devices.net", DeviceID: name, Etag: "AAAAAAAAAAE="}},
	}
	var declared []string
	for i := range n {
		declared = append(declared, fmt.Sprintf(`"p%d":1`, i))
		device.Status.Properties = append(device.Status.Properties, v1alpha1.PropertyStatus{
			Name: fmt.Sprintf("p%d", i), Owned: true, Desired: &apiextensionsv1.JSON{Raw: []byte("1")}, State: convergence.StateOf(twin.StateApplied),
		})
	}
	device.Spec.Properties = &apiextensionsv1.JSON{Raw: []byte("{" + strings.Join(declared, ",") + "}")}
	return device
}

// life is one run of the operator, with a cache that may be behind.
type life struct {
	*Brake

	t       *testing.T
	cluster *braked
	hub     *v1alpha1.IoTHub
}

func (c *braked) start(t *testing.T) *life {
	t.Helper()
	b := New()
	b.Client, b.Reader = c, c
	p := &life{Brake: b, t: t, cluster: c}
	p.catchUp()
	return p
}

// catchUp has its cache show the IoTHub as it is.
func (p *life) catchUp() {
	p.t.Helper()
	p.hub = &v1alpha1.IoTHub{}
	if err := p.cluster.Get(p.t.Context(), types.NamespacedName{Namespace: "factory", Name: "hub"}, p.hub); err != nil {
		p.t.Fatal(err)
	}
}

// removes asks for n properties of an object at its generation 2.
func (p *life) removes(object types.UID, n int, now time.Time) (Permit, error) {
	return p.Allow(p.t.Context(), p.cluster, p.hub, removal(object, n), now)
}

func (p *life) expect(want bool, object types.UID, n int, now time.Time) {
	p.t.Helper()
	if got, err := p.removes(object, n, now); err != nil || got.Allowed != want {
		p.t.Errorf("%d removals of %s: allowed %v, expected %v (%v)", n, object, got.Allowed, want, err)
	}
}

func TestRemovalsCountBeforeTheyAreSent(t *testing.T) {
	const minute = time.Minute
	for name, do := range map[string]func(t *testing.T, c *braked, p *life){
		"in one process": func(_ *testing.T, _ *braked, p *life) {
			p.expect(true, "a", 15, aNoon)
			p.expect(false, "b", 15, aNoon.Add(minute))
			p.expect(true, "b", 5, aNoon.Add(minute))
		},
		"and no more than there were, in twenty lives": func(t *testing.T, c *braked, _ *life) {
			for i := range 20 {
				c.start(t).expect(true, types.UID(fmt.Sprint(i)), 1, aNoon)
			}
			c.start(t).expect(false, "x", 1, aNoon)
		},
		"of an object that goes, which declares them all the same": func(t *testing.T, c *braked, p *life) {
			leaving := owner("leaving", 15)
			leaving.Finalizers, leaving.Spec.DeletionPolicy = []string{v1alpha1.FinalizerClear}, v1alpha1.DeletionClear
			if err := errors.Join(c.Create(t.Context(), leaving), c.Delete(t.Context(), leaving)); err != nil {
				t.Fatal(err)
			}
			p.expect(true, "leaving", 15, aNoon)
			p.expect(true, "a", 1, aNoon.Add(minute))
			last := leaving.DeepCopy()
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(leaving), last); err != nil {
				t.Fatal(err)
			}
			last.Finalizers = nil
			if err := c.Update(t.Context(), last); err != nil {
				t.Fatal(err)
			}
			p.expect(false, "b", 15, aNoon.Add(minute))
		},
		"not if they are declared again": func(t *testing.T, c *braked, p *life) {
			p.expect(true, "others", 15, aNoon)
			p.expect(true, "b", 15, aNoon.Add(censusFor/2)) // the others are all declared, whatever was counted half a second ago
		},
		"until the window is over": func(_ *testing.T, _ *braked, p *life) {
			p.expect(true, "a", 15, aNoon)
			p.expect(true, "b", 15, aNoon.Add(10*minute))
		},
		"over a restart": func(t *testing.T, c *braked, p *life) {
			p.expect(true, "a", 15, aNoon)
			c.start(t).expect(false, "b", 15, aNoon.Add(9*minute))
		},
		"over two": func(t *testing.T, c *braked, p *life) {
			p.expect(true, "a", 10, aNoon)
			c.start(t).expect(true, "b", 10, aNoon.Add(minute))
			c.start(t).expect(false, "c", 1, aNoon.Add(2*minute))
		},
		"over a restart, until the window is over": func(t *testing.T, c *braked, p *life) {
			p.expect(true, "a", 15, aNoon)
			c.start(t).expect(true, "b", 15, aNoon.Add(10*minute+reservedFor+time.Second))
		},
		"once, if they are tried again after a restart": func(t *testing.T, c *braked, p *life) {
			p.expect(true, "a", 15, aNoon)
			next := c.start(t)
			next.expect(true, "a", 15, aNoon.Add(minute))
			next.expect(true, "b", 5, aNoon.Add(minute))
			next.expect(false, "c", 1, aNoon.Add(minute))
		},
		"not if they certainly did not happen": func(_ *testing.T, _ *braked, p *life) {
			got, _ := p.removes("a", 15, aNoon)
			p.TakeBack(client.ObjectKeyFromObject(p.hub), "a", got.Counted)
			p.expect(true, "b", 15, aNoon.Add(minute))
		},
		"with two leaders": func(t *testing.T, c *braked, p *life) {
			other := c.start(t)
			p.expect(true, "a", 10, aNoon)
			other.expect(true, "b", 10, aNoon) // its cache does not show the first one's
			other.expect(false, "c", 1, aNoon)
			p.expect(false, "d", 1, aNoon)
		},
		"with a cache that shows nothing of it": func(_ *testing.T, _ *braked, p *life) {
			for i := range 4 {
				p.expect(true, types.UID(fmt.Sprint(i)), 5, aNoon)
			}
			p.expect(false, "b", 1, aNoon)
		},
		"or are not sent": func(_ *testing.T, c *braked, p *life) {
			c.refuses = errors.New("etcd has no leader")
			if got, err := p.removes("a", 1, aNoon); got.Allowed || err == nil {
				t.Errorf("allowed %v (%v) without a record", got.Allowed, err)
			}
			c.refuses = nil
			p.expect(true, "a", 20, aNoon)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c := newBraked(t, map[string]int{"others": 30})
			do(t, c, c.start(t))
		})
	}
}

func TestARemovalIsOneSmallPatchAtMost(t *testing.T) {
	c := newBraked(t, map[string]int{"others": 30})
	p := c.start(t)
	for i := range 20 {
		p.expect(true, types.UID(fmt.Sprint(i)), 1, aNoon.Add(time.Duration(i)*time.Second))
	}
	if c.writes != 6 {
		t.Errorf("20 removals within 20 seconds took %d patches of the IoTHub, expected 6", c.writes)
	}
	p.expect(false, "x", 1, aNoon.Add(time.Minute))
	if c.writes != 6 {
		t.Error("a removal that is halted took one")
	}
}

func TestWorkersShareTheBrake(t *testing.T) {
	c := newBraked(t, map[string]int{"others": 30})
	p := c.start(t)
	var all sync.WaitGroup
	allowed := make([]bool, 40)
	for i := range allowed {
		all.Go(func() {
			got, err := p.removes(types.UID(fmt.Sprint(i)), 1, aNoon)
			if err != nil {
				t.Error(err)
			}
			allowed[i] = got.Allowed
		})
	}
	all.Wait()
	if n := len(slices.DeleteFunc(allowed, func(ok bool) bool { return !ok })); n != brakeAtLeast {
		t.Errorf("%d workers removed a property each, expected %d", n, brakeAtLeast)
	}
}

func TestWhatWaitsToBeRemoved(t *testing.T) {
	now := metav1.Now()
	for name, c := range map[string]struct {
		edit func(*v1alpha1.PnPDevice, *v1alpha1.IoTHub)
		want int
	}{
		"what left the declaration": {func(*v1alpha1.PnPDevice, *v1alpha1.IoTHub) {}, 2},
		"of a suspended object":     {func(d *v1alpha1.PnPDevice, _ *v1alpha1.IoTHub) { d.Spec.Suspend = true }, 0},
		"of one that observes":      {func(d *v1alpha1.PnPDevice, _ *v1alpha1.IoTHub) { d.Spec.Management = v1alpha1.ManagementObserve }, 0},
		"at a suspended hub":        {func(_ *v1alpha1.PnPDevice, h *v1alpha1.IoTHub) { h.Spec.Suspend = true }, 2},
		"at another hub":            {func(_ *v1alpha1.PnPDevice, h *v1alpha1.IoTHub) { h.Spec.HostName = "other.azure-devices.net" }, 0},
		"of one that goes and stays at the hub": {func(d *v1alpha1.PnPDevice, _ *v1alpha1.IoTHub) {
			d.DeletionTimestamp, d.Finalizers = &now, []string{"others.example.org/have-one"}
		}, 0},
		"all of one that goes and is cleared": {func(d *v1alpha1.PnPDevice, _ *v1alpha1.IoTHub) {
			d.DeletionTimestamp, d.Finalizers, d.Spec.DeletionPolicy = &now, []string{v1alpha1.FinalizerClear}, v1alpha1.DeletionClear
		}, 5},
		"of one that goes and cannot be cleared": {func(d *v1alpha1.PnPDevice, _ *v1alpha1.IoTHub) {
			d.DeletionTimestamp, d.Spec.DeletionPolicy = &now, v1alpha1.DeletionClear
		}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			device := owner("a", 5)
			device.Spec.Properties = &apiextensionsv1.JSON{Raw: []byte(`{"p0":1,"p1":1,"p2":1}`)}
			hub := &v1alpha1.IoTHub{Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"}}
			c.edit(device, hub)
			_, waiting, _ := ownedBy(device, twin.Declaration{{Name: "p0"}: 1, {Name: "p1"}: 1, {Name: "p2"}: 1}, hub)
			if len(waiting.Leaves) != c.want {
				t.Errorf("%v wait, expected %d", waiting.Leaves, c.want)
			}
		})
	}
}
