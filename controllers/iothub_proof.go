package controllers

import (
	"context"
	"fmt"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/places"
)

const (
	// maxProofs is how many credentials are proved at a time, half of them at one endpoint.
	maxProofs = 32
	// proofTime bounds the call that proves a credential. A hub that holds back a throttled request for
	// longer is asked again.
	proofTime = 30 * time.Second
)

// proofs are the calls that prove credentials. They run beside the workers: an endpoint that is dead,
// or says nothing, keeps nobody else's IoTHub waiting.
type proofs struct {
	pool     *places.Pool
	lifetime context.Context
	wake     func(hub types.NamespacedName)

	mu     sync.Mutex
	under  map[types.NamespacedName]*proof
	serial int
	// refusals are the IoTHubs whose hubs refuse what was to be proved.
	refusals failingObjects
}

func newProofs(ctx context.Context, wake func(types.NamespacedName)) *proofs {
	return &proofs{pool: places.New(maxProofs, time.Now), lifetime: ctx, wake: wake, under: map[types.NamespacedName]*proof{}}
}

// proof is one call, and what it is about.
type proof struct {
	hub         types.NamespacedName
	fingerprint string
	host        string
	client      hubs.Hub
	gate        *hubs.Gate    // nil if a session has the client
	after       time.Duration // that the call is put off for
	anew        bool          // the call has a new token
	key         string        // of its place
	cancel      context.CancelFunc
	done        bool
	err         error // of the call, once it is done
}

// take hands over what was proved with a fingerprint, once. pending is true while that is still under
// way. A proof with another fingerprint is given up.
func (p *proofs) take(hub types.NamespacedName, fingerprint string) (of *proof, pending bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	of = p.under[hub]
	switch {
	case of == nil:
		return nil, false
	case of.fingerprint != fingerprint:
		p.drop(of)
		return nil, false
	case !of.done:
		return nil, true
	}
	delete(p.under, hub)
	return of, false
}

// begin proves the credential of a client, after a while and once there is a place, and wakes the
// IoTHub when that is done.
func (p *proofs) begin(of *proof) {
	ctx, cancel := context.WithCancel(p.lifetime)
	of.cancel = cancel
	p.mu.Lock()
	p.serial++
	of.key = fmt.Sprintf("%s %d", of.hub, p.serial)
	p.under[of.hub] = of
	p.mu.Unlock()
	if of.after == 0 {
		p.enter(ctx, of)
		return
	}
	time.AfterFunc(of.after, func() {
		if ctx.Err() == nil {
			p.enter(ctx, of)
		}
	})
}

func (p *proofs) enter(ctx context.Context, of *proof) {
	run := func() { go p.run(ctx, of) }
	if _, ok := p.pool.Take(places.Who{Host: of.host, Tenant: of.hub.Namespace, Key: of.key}, run); ok {
		run()
	}
}

func (p *proofs) run(ctx context.Context, of *proof) {
	defer p.pool.Leave(of.key)
	defer of.cancel()
	err := prove(ctx, of)
	p.mu.Lock()
	of.done, of.err = true, err
	isWanted := p.under[of.hub] == of
	p.mu.Unlock()
	if !isWanted {
		of.client.Close()
		return
	}
	p.wake(of.hub)
}

// probing tells the names of IoTHubs, for budgets and failures, from those of PnPDevices.
const probing = " probe"

// prove makes the cheapest call that needs ServiceConnect and no device.
func prove(ctx context.Context, of *proof) error {
	ctx, cancel := context.WithTimeout(ctx, proofTime)
	defer cancel()
	ctx = budget.With(ctx, budget.Caller{Key: of.hub.String() + probing, Priority: budget.PriorityEdit})
	if of.anew {
		ctx = iothub.Anew(ctx)
	}
	_, err := of.client.Query(ctx, iothub.Query{SQL: "SELECT deviceId FROM devices", MaxItems: 1})
	return err
}

// refused notes that a hub refused what was to be proved with a fingerprint. It returns when to ask it
// again, in a moment at first, since such answers may pass, and whether it had refused that before.
func (p *proofs) refused(hub types.NamespacedName, fingerprint string, now time.Time) (after time.Duration, again bool) {
	again = p.refusals.isAbout(hub.String(), fingerprint)
	return p.refusals.fails(hub.String(), cause{row: waitCredential, about: fingerprint}, now), again
}

// isRefused reports whether the hub refused what was proved last.
func (p *proofs) isRefused(hub types.NamespacedName) bool { return p.refusals.has(hub.String()) }

// accepted notes that there is no refusal any more.
func (p *proofs) accepted(hub types.NamespacedName) { p.refusals.over(hub.String()) }

// forget gives up what is under way for an IoTHub that is gone.
func (p *proofs) forget(hub types.NamespacedName) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if of := p.under[hub]; of != nil {
		p.drop(of)
	}
}

// drop is called with the lock held.
func (p *proofs) drop(of *proof) {
	delete(p.under, of.hub)
	of.cancel()
	if of.done {
		of.client.Close()
		return
	}
	go p.pool.Leave(of.key) // its place in line; a place is given back at the end of the call
}

// begin has the credential of an IoTHub proved. Until that is done its status stays as it is.
func (r *IoTHubReconciler) begin(ctx context.Context, hub *v1alpha1.IoTHub, options iothub.Options, fingerprint string, b *budget.Budget) error {
	key := client.ObjectKeyFromObject(hub)
	gate := &hubs.Gate{
		Budget: b, Owner: key.String(), Changed: func() { r.Wakes.hub(r.lifetime, key) },
		Workers: r.Workers, Host: destinationOf(hub), Tenant: hub.Namespace,
	}
	gate.Answered = func(class budget.Class, who string) {
		for _, wake := range r.retries.taken(trouble{gate.Host, class}, who, time.Now()) {
			wake()
		}
	}
	options.Gate, options.Tenant = gate, hub.Namespace
	c, err := iothub.New(options)
	if err != nil {
		r.drop(ctx, hub)
		return stalled(v1alpha1.ReasonInvalidEndpoint, err.Error(), 0)
	}
	r.proofs.begin(&proof{hub: key, fingerprint: fingerprint, host: gate.Host, client: c, gate: gate, anew: r.proofs.isRefused(key)})
	return quietly(0)
}
