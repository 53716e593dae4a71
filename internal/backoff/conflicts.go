package backoff

import (
	"context"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// Calm has a pass that lost to another writer of its object made again without an error in the log: that is what the optimistic
// lock of every write is for. The wait grows as after any failure.
func Calm(inner reconcile.Reconciler) reconcile.Reconciler {
	tries := New(waits.Contended)
	return reconcile.Func(func(ctx context.Context, req reconcile.Request) (reconcile.Result, error) {
		result, err := inner.Reconcile(ctx, req)
		if apierrors.IsConflict(err) {
			return reconcile.Result{RequeueAfter: tries.When(req)}, nil
		}
		tries.Forget(req)
		return result, err
	})
}
