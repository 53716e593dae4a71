package command

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/lazymap"
	"github.com/pnp-operator/pnp-operator/internal/revision"
)

// arrivals are the resource versions with which commands were seen first. A creation is known to the
// second, and a name says nothing of it: by name, one that comes later goes ahead of another that is
// about to run. Resource versions of one kind grow with each write, and the first of an object is that
// of its creation. Later ones are not: so it is kept, and after a start of the operator it is the one
// that the object has then. The zero value is ready to use.
type arrivals struct {
	mu    sync.Mutex
	first map[types.UID]string
}

// observer keeps the first version of each command.
func (a *arrivals) observer() handler.Funcs {
	return handler.Funcs{
		CreateFunc: func(_ context.Context, e event.CreateEvent, _ triggers.Queue) {
			a.mu.Lock()
			defer a.mu.Unlock()
			lazymap.Put(&a.first, e.Object.GetUID(), e.Object.GetResourceVersion())
		},
		DeleteFunc: func(_ context.Context, e event.DeleteEvent, _ triggers.Queue) {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.first, e.Object.GetUID())
		},
	}
}

// of is the first version of a command. The cache may have one that was not seen yet.
func (a *arrivals) of(o client.Object) string {
	a.mu.Lock()
	defer a.mu.Unlock()
	if version, seen := a.first[o.GetUID()]; seen {
		return version
	}
	return o.GetResourceVersion()
}

// inOrder compares two commands by when they were created.
func (a *arrivals) inOrder(x, y *v1alpha1.DeviceCommand) int {
	return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), revision.Compare(a.of(x), a.of(y)), cmp.Compare(x.Name, y.Name))
}

// heads lists, of the commands that are not finished, the first one of each device. They are the cache's
// own: not to be changed.
func (f *Flights) heads(ctx context.Context, c client.Reader, which ...client.ListOption) ([]*v1alpha1.DeviceCommand, error) {
	var list v1alpha1.DeviceCommandList
	if err := c.List(ctx, &list, append(which, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, fmt.Errorf("listing the commands that are not finished: %w", err)
	}
	first := map[string]*v1alpha1.DeviceCommand{}
	for i := range list.Items {
		one := &list.Items[i]
		if one.Finished() || !one.DeletionTimestamp.IsZero() || f.hasEnded(one) {
			continue
		}
		if before := first[one.Spec.DeviceRef.Name]; before == nil || f.arrivals.inOrder(one, before) < 0 {
			first[one.Spec.DeviceRef.Name] = one
		}
	}
	return slices.SortedFunc(maps.Values(first), f.arrivals.inOrder), nil
}

// hasEnded reports whether a command has ended although its status does not say so: the API server
// refuses that.
func (f *Flights) hasEnded(command *v1alpha1.DeviceCommand) bool {
	return f.Registry.IsPassedBy(client.ObjectKeyFromObject(command), command.UID)
}

// passBy notes that a command has ended whose status the API server refuses, and has the next one of its
// device looked at.
func (f *Flights) passBy(command *v1alpha1.DeviceCommand) {
	key := client.ObjectKeyFromObject(command)
	if f.Registry.PassBy(key, command.UID) {
		f.lookInLine(key, command.Spec.DeviceRef.Name)
	}
}

// lookInLine has the command of a device reconciled that is first now. One that found no place need not
// be that any more.
func (f *Flights) lookInLine(command types.NamespacedName, device string) {
	go func() {
		first, err := f.heads(f.lifetime, f.Client, client.InNamespace(command.Namespace), client.MatchingFields{cached.IndexUnfinished: device})
		if err != nil {
			f.look(command)
			return
		}
		for _, one := range first {
			f.look(client.ObjectKeyFromObject(one))
		}
	}()
}
