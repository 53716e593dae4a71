// Package removals has the brake: it counts the properties that are removed at a hub, and halts
// removals when one sync would remove unusually many.
package removals

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/revision"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// One sync may remove a tenth of a hub's owned properties, and always this many, before a person is asked.
	brakeShare   = 10
	brakeAtLeast = 20
	// A census of a hub's objects is good for this long: ten thousand of them may ask at once.
	censusFor = time.Second
)

// Brake halts the removals of a hub when one sync, a wrong path in Git for example, would remove a large share of what its
// PnPDevices own. A removal is counted before it is sent, in the IoTHub's status: neither a lost
// answer nor another process makes it forgotten. The halt is kept there as well; memory holds what
// is not there yet.
type Brake struct {
	// Client writes the status of IoTHubs.
	Client client.Client
	// Reader of the API server, not of a cache.
	Reader client.Reader

	mu   sync.Mutex
	hubs map[types.NamespacedName]*guard
}

var errHubContended = errors.New("the status of the IoTHub changed during every attempt to note removals in it")

// guard is what the brake knows of one hub.
type guard struct {
	mu      sync.Mutex
	takenAt time.Time
	census  census
	window  window
	known   bool             // status was looked at
	written *v1alpha1.IoTHub // by this process last
	halted  bool
	pulls   int       // counts what made it so
	pending int       // properties that were to be removed then
	told    time.Time // when the IoTHub was last told of halted removals
	reset   time.Time // the confirmation that the window began anew with
}

// Permit is the brake's answer.
type Permit struct {
	Allowed bool
	Counted []twin.Leaf // those that count now and did not before: they can be taken back
	News    bool        // the IoTHub does not say yet that these are halted
}

// New returns a brake that is off.
func New() *Brake { return &Brake{hubs: map[types.NamespacedName]*guard{}} }

// Allow says whether properties of one object's device may be removed now. If so they count, on
// record, as removed; what a person confirmed does not. Without an IoTHub they count in memory,
// which is where the session is as well.
func (b *Brake) Allow(ctx context.Context, cache client.Reader, hub *v1alpha1.IoTHub, one Request, now time.Time) (Permit, error) {
	g := b.of(client.ObjectKeyFromObject(hub))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.written != nil && revision.IsNewer(g.written, hub) {
		hub = g.written
	}
	const tries = 3 // others write the status as well
	for range tries {
		if hub != g.written {
			g.look(hub)
		}
		if confirmedAt(hub).has(one.Member) {
			return Permit{Allowed: true}, nil
		}
		if conditions.IsTrue(hub, v1alpha1.ConditionRemovalsHalted) {
			return g.halt(haltedAt(hub).has(one.Member), now), nil
		}
		exceeds, err := g.exceeds(ctx, cache, hub, one, now)
		if err != nil {
			return Permit{}, err
		}
		if exceeds {
			g.pull(confirmedAt(hub))
			return Permit{News: true}, nil
		}
		if one.Unrecorded || g.window.covers(one, now) {
			return Permit{Allowed: true, Counted: g.window.count(one, now)}, nil
		}
		if hub, err = b.reserve(ctx, g, hub, g.window.reserve(one, now)); err != nil {
			return Permit{}, fmt.Errorf("noting removals in the status of the IoTHub: %w", err)
		}
	}
	return Permit{}, errHubContended
}

// pull halts removals until that is on record, or released.
func (g *guard) pull(confirmed members) {
	if !g.halted {
		g.pending = 0
	}
	g.halted, g.pending = true, max(g.pending, g.census.pending(confirmed))
	g.pulls++
}

// halt is the answer while removals are halted. The IoTHub need not look at each of ten thousand by
// itself.
func (g *guard) halt(named bool, now time.Time) Permit {
	if named || now.Sub(g.told) < censusFor {
		return Permit{}
	}
	g.told = now
	return Permit{News: true}
}

// TakeBack takes back what allow counted: it certainly was not removed.
func (b *Brake) TakeBack(hub types.NamespacedName, object types.UID, counted []twin.Leaf) {
	g := b.of(hub)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.window.takeBack(object, counted)
}

// reserve has status count removals, and returns the IoTHub as it is then. If it was changed by
// somebody else, nothing is written.
func (b *Brake) reserve(ctx context.Context, g *guard, hub *v1alpha1.IoTHub, r reservation) (*v1alpha1.IoTHub, error) {
	changed := hub.DeepCopy()
	noteRecent(&changed.Status, r)
	err := b.Client.Status().Patch(ctx, changed, client.MergeFromWithOptions(hub, client.MergeFromWithOptimisticLock{}))
	switch {
	case err == nil:
		metrics.StatusPatches.WithLabelValues("IoTHub").Inc()
		g.window.own, g.written = r, changed
		return changed, nil
	case apierrors.IsConflict(err):
		live := &v1alpha1.IoTHub{}
		return live, b.Reader.Get(ctx, client.ObjectKeyFromObject(hub), live)
	}
	return nil, err
}

func noteRecent(status *v1alpha1.IoTHubStatus, r reservation) {
	if status.Removals == nil {
		status.Removals = &v1alpha1.HubRemovals{}
	}
	status.Removals.Recent = &v1alpha1.RecentRemovals{Count: int32(r.count), Until: metav1.NewTime(r.until), Members: r.members} //nolint:gosec // properties
}

// recentOf is what status counts.
func recentOf(status *v1alpha1.IoTHubStatus) reservation {
	if status.Removals == nil || status.Removals.Recent == nil {
		return reservation{}
	}
	recent := status.Removals.Recent
	return reservation{count: int(recent.Count), until: recent.Until.Time, members: recent.Members}
}

// look takes what status counts for others' removals, unless this process wrote it: it was another
// one before, or another that still believes to lead. A confirmation begins the window anew.
func (g *guard) look(hub *v1alpha1.IoTHub) {
	if at := confirmationOf(hub); at.After(g.reset) {
		g.window, g.halted, g.reset = window{}, false, at
	}
	recent := recentOf(&hub.Status)
	if g.known && recent.count == g.window.own.count && recent.until.Equal(g.window.own.until) {
		return
	}
	g.known = true
	g.window.carried, g.window.own = recent, reservation{}
}

// exceeds reports whether the sync that is going on is larger than one may be. One whose object the
// cache does not show yet counts as well. The brake is not pulled for what waited when it was last
// counted.
func (g *guard) exceeds(ctx context.Context, cache client.Reader, hub *v1alpha1.IoTHub, one Request, now time.Time) (bool, error) {
	g.window.expire(now)
	isFresh := now.Sub(g.takenAt) >= censusFor
	if isFresh {
		if err := g.count(ctx, cache, hub, now); err != nil {
			return false, err
		}
	}
	if !g.isLarge(one, confirmedAt(hub)) {
		return false, nil
	}
	if isFresh || g.halted {
		return true, nil
	}
	if err := g.count(ctx, cache, hub, now); err != nil {
		return false, err
	}
	return g.isLarge(one, confirmedAt(hub)), nil
}

func (g *guard) isLarge(one Request, confirmed members) bool {
	g.census.waiting[one.Object] = one
	return g.window.exceeds(g.census, confirmed)
}

// recedes reports whether declarations were put back, so that what is still halted is no more than one
// sync may remove. Time alone does not do that: what was removed before the halt counts for as long as
// it lasts. Nor do declarations that are added, or objects that are suspended to look into it.
func (b *Brake) recedes(hub *v1alpha1.IoTHub, c census) bool {
	g := b.of(client.ObjectKeyFromObject(hub))
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.written == nil || !revision.IsNewer(g.written, hub) {
		g.look(hub)
	}
	from := g.pending
	if on := hub.Status.Removals; on != nil && on.Halted != nil {
		from = int(on.Halted.Properties)
	}
	return c.pending(confirmedAt(hub)) < from && !g.window.exceeds(c, confirmedAt(hub))
}

func (g *guard) count(ctx context.Context, reader client.Reader, hub *v1alpha1.IoTHub, now time.Time) error {
	c, err := takeCensus(ctx, reader, hub, &g.window)
	if err != nil {
		return err
	}
	g.takenAt, g.census = now, c
	return nil
}

func (b *Brake) of(hub types.NamespacedName) *guard {
	b.mu.Lock()
	defer b.mu.Unlock()
	g, ok := b.hubs[hub]
	if !ok {
		g = &guard{}
		b.hubs[hub] = g
	}
	return g
}

// Halted reports whether the brake was pulled and not released. The pull is what release takes.
func (b *Brake) Halted(hub types.NamespacedName) (pull int, is bool) {
	b.mu.Lock()
	g := b.hubs[hub] // of a hub that nobody knows there is none to be made
	b.mu.Unlock()
	if g == nil {
		return 0, false
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.pulls, g.halted
}

// release lets go of a brake that was pulled, because nothing is left that is halted, or a person
// confirmed: it is pulled again if need be. A brake that was pulled since stays so.
func (b *Brake) release(hub types.NamespacedName, pull int) {
	g := b.of(hub)
	g.mu.Lock()
	defer g.mu.Unlock()
	g.halted = g.halted && g.pulls != pull
}

// Forget drops what is known of a hub, its halt included.
func (b *Brake) Forget(hub types.NamespacedName) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.hubs, hub)
}
