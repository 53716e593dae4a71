package command

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/managedfields"
)

// A command that is being deleted is there for as long as finalizers of others hold it. It is not
// sent any more, and what becomes of an attempt is recorded as ever: the answer of one that is
// under way is waited for, and events may tell of one that did not reach its device.
// Flights.abandon is for what goes with the object.

const heldCommandText = "Being deleted; the command is not sent any more, and the object is held by finalizers of others: "

// leave has a command that is being deleted, and that only the finalizers of others hold, say that,
// and wait for nothing.
func (r *DeviceCommandReconciler) leave(_ context.Context, s *commandScope) error {
	if s.command.DeletionTimestamp.IsZero() {
		return nil
	}
	r.Flights.leaveLine(client.ObjectKeyFromObject(s.command))
	held := managedfields.OtherFinalizers(s.command)
	if held == "" {
		return halt.Quiet(0)
	}
	return halt.Waiting(v1alpha1.ReasonProgressing, heldCommandText+held, 0)
}
