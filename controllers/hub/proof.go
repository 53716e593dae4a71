package hub

import (
	"context"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/hubcalls"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

const (
	// maxProofs is how many credentials are proved at a time, half of them at one endpoint.
	maxProofs = 32
	// proofTime bounds the call that proves a credential. A hub that holds back a throttled request for
	// longer is asked again.
	proofTime = 30 * time.Second
)

// proofs are the calls that prove credentials.
type proofs struct {
	*hubcalls.Pool[*proof]

	// refusals are the IoTHubs whose hubs refuse what was to be proved.
	refusals backoff.Failures
}

func newProofs(ctx context.Context, wake func(hub types.NamespacedName)) *proofs {
	return &proofs{Pool: hubcalls.New[*proof](ctx, maxProofs, wake)}
}

// proof is one call, and what it is about.
type proof struct {
	hubcalls.Common

	fingerprint string
	client      session.Hub
	gate        *session.Gate // nil if a session has the client
	anew        bool          // the call has a new token
	err         error         // of the call, once it is done
}

// take hands over what was proved with a fingerprint, once. pending is true while that is still under
// way. A proof with another fingerprint is given up.
func (p *proofs) take(hub types.NamespacedName, fingerprint string) (of *proof, pending bool) {
	of, under := p.Take(hub, func(of *proof) bool { return of.fingerprint == fingerprint })
	return of, under != nil
}

// probing tells the names of IoTHubs, for budgets and failures, from those of PnPDevices.
const probing = " probe"

// proverOf returns the caller that asks a hub on behalf of an IoTHub.
func proverOf(hub types.NamespacedName) budget.Caller {
	return budget.Caller{Key: hub.String() + probing, Priority: budget.PriorityEdit}
}

// Ask makes the cheapest call that needs ServiceConnect and no device.
func (of *proof) Ask(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	if of.anew {
		ctx = iothub.Anew(ctx)
	}
	_, of.err = session.As(of.client, proverOf(of.Object)).Query(ctx, iothub.Query{SQL: "SELECT deviceId FROM devices", MaxItems: 1})
}

// Discard leaves the client of a session alone.
func (of *proof) Discard() {
	if of.gate != nil {
		of.client.Close()
	}
}

// refused notes that a hub refused what was to be proved with a fingerprint. It returns when to ask it
// again, in a moment at first, since such answers may pass, and whether it had refused that before.
func (p *proofs) refused(hub types.NamespacedName, fingerprint string, now time.Time) (after time.Duration, again bool) {
	before, refused := p.refusals.Of(hub.String())
	again = refused && before.About == fingerprint
	return p.refusals.Fails(hub.String(), backoff.Cause{Row: waits.Credential, About: fingerprint}, now), again
}

// isRefused reports whether the hub refused what was proved last.
func (p *proofs) isRefused(hub types.NamespacedName) bool {
	_, refused := p.refusals.Of(hub.String())
	return refused
}

// accepted notes that there is no refusal any more.
func (p *proofs) accepted(hub types.NamespacedName) { p.refusals.Over(hub.String()) }

// begin has the credential of an IoTHub proved. Until that is done its status stays as it is.
func (r *IoTHubReconciler) begin(ctx context.Context, hub *v1alpha1.IoTHub, options iothub.Options, fingerprint string, b *budget.Budget) error {
	key := client.ObjectKeyFromObject(hub)
	gate := &session.Gate{
		Budget: b, Owner: key.String(), Changed: func() { r.Wakes.Hub(r.lifetime, key) },
		Workers: r.Workers, Host: cached.DestinationOf(hub), Tenant: hub.Namespace,
	}
	gate.Answered = func(class budget.Class, who string) {
		for _, wake := range r.retries.Taken(backoff.Trouble{Destination: gate.Host, Class: class}, who, time.Now()) {
			wake()
		}
	}
	options.Gate, options.Tenant = gate, hub.Namespace
	c, err := iothub.New(options)
	if err != nil {
		r.drop(ctx, hub)
		return halt.Stalled(v1alpha1.ReasonInvalidEndpoint, err.Error(), 0)
	}
	r.proofs.Begin(&proof{
		Common: hubcalls.Common{Object: key, Host: gate.Host}, fingerprint: fingerprint, client: c, gate: gate, anew: r.proofs.isRefused(key),
	})
	return halt.Quiet(0)
}
