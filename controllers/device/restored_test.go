package device

import (
	"errors"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

// The last written object is newer than anything that the cache will show, if etcd was put back to
// a time before it.
func TestAWriteOfALostHistoryIsForgotten(t *testing.T) {
	conflict := apierrors.NewConflict(schema.GroupResource{}, "a", errors.New("it changed"))
	for name, c := range map[string]struct {
		happen func(*latest, *v1alpha1.PnPDevice)
		kept   bool
	}{
		"refused once: the cache may be behind": {func(l *latest, w *v1alpha1.PnPDevice) { l.refused(w, conflict) }, true},
		"refused again":                         {func(l *latest, w *v1alpha1.PnPDevice) { l.refused(w, conflict); l.refused(w, conflict) }, false},
		"the API server fails": {func(l *latest, w *v1alpha1.PnPDevice) {
			l.refused(w, errors.New("dead"))
			l.refused(w, errors.New("dead"))
		}, true},
		"another base was refused": {func(l *latest, w *v1alpha1.PnPDevice) {
			l.refused(version("9"), conflict)
			l.refused(version("9"), conflict)
		}, true},
		"the cache goes back": {func(l *latest, w *v1alpha1.PnPDevice) {
			l.observer().Update(t.Context(), event.UpdateEvent{ObjectOld: version("6"), ObjectNew: version("4")}, nil)
		}, false},
		"the cache catches up, but not with it": {func(l *latest, w *v1alpha1.PnPDevice) {
			l.observer().Update(t.Context(), event.UpdateEvent{ObjectOld: version("5"), ObjectNew: version("6")}, nil)
		}, true},
		"refused, then written anew, and that is refused": {func(l *latest, w *v1alpha1.PnPDevice) {
			l.refused(w, conflict)
			l.remember(version("8"))
			l.refused(l.written(types.NamespacedName{Name: "a"}), conflict)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			var l latest
			written := version("7")
			l.remember(written)
			c.happen(&l, written)
			if kept := len(l.objects) == 1; kept != c.kept {
				t.Errorf("remembered: %t, expected %t", kept, c.kept)
			}
			if len(l.doubted) > len(l.objects) {
				t.Errorf("%d doubts of %d objects", len(l.doubted), len(l.objects))
			}
		})
	}
}

func TestAnObjectThatIsBackFromItsDeletionIsClearedAgain(t *testing.T) {
	var c clearing
	deleted, is := version("8"), version("7")
	deleted.DeletionTimestamp = &metav1.Time{Time: time.Now()}
	c.settle(deleted)
	c.observer().Update(t.Context(), event.UpdateEvent{ObjectOld: deleted, ObjectNew: deleted}, nil)
	if !c.isSettled(deleted) {
		t.Fatal("it is to be cleared again while it is being deleted")
	}
	c.observer().Update(t.Context(), event.UpdateEvent{ObjectOld: deleted, ObjectNew: is}, nil)
	if c.isSettled(is) {
		t.Error("its next deletion would leave its values behind")
	}
}
