package controllers

import (
	"cmp"
	"sync"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
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

// seen is a predicate that lets everything pass.
func (a *arrivals) seen() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc: func(e event.CreateEvent) bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			put(&a.first, e.Object.GetUID(), e.Object.GetResourceVersion())
			return true
		},
		DeleteFunc: func(e event.DeleteEvent) bool {
			a.mu.Lock()
			defer a.mu.Unlock()
			delete(a.first, e.Object.GetUID())
			return true
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
	return cmp.Or(x.CreationTimestamp.Compare(y.CreationTimestamp.Time), orderOf(a.of(x), a.of(y)), cmp.Compare(x.Name, y.Name))
}

// lookInLine has the command of a device reconciled that is first now. One that found no place need not
// be that any more.
func (f *Flights) lookInLine(command types.NamespacedName, device string) {
	go func() {
		first, err := heads(f.lifetime, f.Client, &f.arrivals, client.InNamespace(command.Namespace), client.MatchingFields{indexUnfinished: device})
		if err != nil {
			f.look(command)
			return
		}
		for _, one := range first {
			f.look(client.ObjectKeyFromObject(one))
		}
	}()
}
