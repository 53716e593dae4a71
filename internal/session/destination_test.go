package session

import (
	"context"
	"testing"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const atFactory, atMallory = "factory", "factory@mallory:443"

// unsavedAt has the session of a destination know something of an object that status does not.
func unsavedAt(s *Session, object types.UID) {
	d := s.Device("d")
	d.belongs(object)
	d.save(&twin.Saved{Ownership: twin.Ownership{Held: map[twin.Leaf]twin.Owned{{Name: "p"}: {Value: 1, Version: 2}}}})
}

func TestWhatWasLearnedElsewhereIsNotHandedOver(t *testing.T) {
	for name, c := range map[string]struct {
		to   string
		want bool
	}{
		"to the same hub":                     {atFactory, true},
		"to another hub of the same name":     {atMallory, false},
		"to a hub of another name altogether": {"plant", false},
	} {
		t.Run(name, func(t *testing.T) {
			var r Registry
			from, to := NewSession(&closed{}, atFactory, ""), NewSession(&closed{}, c.to, "")
			idle := func(ctx context.Context) { <-ctx.Done() }
			r.Put(t.Context(), types.NamespacedName{Name: "from"}, from, idle)
			r.Put(t.Context(), types.NamespacedName{Name: "to"}, to, idle)
			unsavedAt(from, "uid")
			r.HandOver(to, "d", "uid")
			if got := to.Device("d").Unsaved() != nil; got != c.want {
				t.Errorf("handed over: %t, expected %t", got, c.want)
			}
		})
	}
}

// The endpoint of a hub may change, and its certificates do: what an object owns is not forgotten
// for that, and not believed either before the twin was read.
func TestASessionAtAnotherDestinationDoubtsWhatTheOneBeforeItKnew(t *testing.T) {
	for name, c := range map[string]struct {
		next            string
		knows, doubtful bool
	}{
		"the same hub":                     {atFactory, true, false},
		"another hub of the same name":     {atMallory, true, true},
		"a hub of another name, too":       {"plant", false, false},
		"another prefix is another name":   {"factory2", false, false},
		"the same hub, via another port":   {"factory@factory:8443", true, true},
		"the same hub, other certificates": {"factory@#00", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			var r Registry
			hub := types.NamespacedName{Name: "hub"}
			idle := func(ctx context.Context) { <-ctx.Done() }
			first, second := NewSession(&closed{}, atFactory, "1"), NewSession(&closed{}, c.next, "2")
			r.Put(t.Context(), hub, first, idle)
			unsavedAt(first, "uid")
			r.Put(t.Context(), hub, second, idle)
			d := second.Device("d")
			if knows, doubtful := d.Unsaved() != nil, d.Doubtful(); knows != c.knows || doubtful != c.doubtful {
				t.Errorf("it knows of the object: %t, expected %t; in doubt: %t, expected %t", knows, c.knows, doubtful, c.doubtful)
			}
			found, isThere := r.UnsavedAt(atFactory, "d", "uid")
			if (found != nil) != c.knows || isThere != (c.next == atFactory) {
				t.Errorf("what memory alone knows is found: %t, expected %t; where it was: %t", found != nil, c.knows, isThere)
			}
		})
	}
}

func TestStatusThatWasPutBackIsNoticed(t *testing.T) {
	for name, c := range map[string]struct {
		object types.UID
		is     Shown
		want   bool
	}{
		"as it was left":                  {"uid", Shown{"h", 8, 4}, false},
		"later":                           {"uid", Shown{"h", 9, 5}, false},
		"before the device answered":      {"uid", Shown{"h", 7, 4}, true},
		"before the write":                {"uid", Shown{"h", 8, 3}, true},
		"of another hub":                  {"uid", Shown{"other", 1, 1}, false},
		"of another object of the device": {"another", Shown{"h", 1, 1}, false},
		"without a twin":                  {"uid", Shown{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			var d Device
			d.belongs("uid")
			d.shows("uid", Shown{"h", 8, 4})
			d.shows("a loser", Shown{"h", 100, 100})
			d.belongs(c.object)
			if got := d.IsBehind(c.object, c.is); got != c.want {
				t.Errorf("behind: %t, expected %t", got, c.want)
			}
		})
	}
}
