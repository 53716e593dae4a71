// Package hostile attacks the operator as a tenant, a device, a hub and a stranger would, while
// another tenant works.
package hostile

import (
	"context"
	"errors"
	"fmt"
	"os"
	"regexp"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// hostileFolder has the logs of the operator, one of each start.
const hostileFolder = "bin/hostile"

// hostileRun is the operator with two tenants: one whose devices are to be kept up, and one that attacks, with devices at a hub of its own.
type hostileRun struct {
	*harness.Testbed
	*harness.Observer
	operator *limited
	theirs   *harness.Testbed // the attacker's hub
	attacker client.WithWatch // as the attacker
	impostor *impostor
	idle     time.Duration // how long an edit of the victim takes while nobody attacks
	edits    int           // of the victim so far
	named    int           // objects of the victim so far
}

// attack is one way to harm the operator or another tenant.
type attack struct {
	name  string // $ATTACKS selects by it
	title string
	quick bool // it is part of a short run
	// restarts is true where the operator is killed on purpose meanwhile: the victim waits for the next one.
	restarts bool
	// alone is true where the victim cannot do anything meanwhile.
	alone bool
	// play attacks, and returns what came of it. An error is a promise that was not kept.
	play func(context.Context, *hostileRun) (string, error)
	// other is what the victim does beside edits, as often as it can, nil: nothing.
	other func(context.Context, *hostileRun) error
}

// attacks are all that is tried, those in need of a fresh operator first.
func attacks() []attack {
	return slices.Concat(admissionAttacks, deviceAttacks, hubAttacks, disasters)
}

// TestAttacks attacks the operator, in the memory that its Deployment gives it, while it works for
// another tenant: each attack that $ATTACKS matches is a test of its own, and $QUICK leaves long
// ones out. After each the operator has to be alive, the other tenant's edits have to have arrived
// in time, and what the attacker is promised has to be seen. The logs of the operator are in
// bin/hostile.
func TestAttacks(t *testing.T) {
	ctx, c, out := harness.Begin(t, "hostile", true) // it kills the API server
	chosen, err := chosenAttacks(os.Getenv("ATTACKS"), os.Getenv("QUICK") != "")
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Build(ctx, out); err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp(c.Path("bin"), "hostile-run-")
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.RemoveAll(c.Path(hostileFolder)), os.MkdirAll(c.Path(hostileFolder), 0o700)); err != nil {
		t.Fatal(err)
	}
	h := &hostileRun{Testbed: harness.NewTestbed(c, dir, out)}
	h.AckDelay = 0
	harness.Settle(t, h.Conclude(ctx, h.playAll(ctx, t, chosen)))
	harness.Settle(t, h.leave())
}

// chosenAttacks are those whose names match a pattern, or without one all of a run, short or not.
func chosenAttacks(pattern string, quick bool) ([]attack, error) {
	expression, err := regexp.Compile(pattern)
	if err != nil {
		return nil, fmt.Errorf("$ATTACKS: %w", err)
	}
	var chosen []attack
	for _, a := range attacks() {
		if expression.MatchString(a.name) && (a.quick || !quick || pattern != "") {
			chosen = append(chosen, a)
		}
	}
	if len(chosen) == 0 {
		return nil, fmt.Errorf("$ATTACKS is %q, which none of the attacks matches", pattern)
	}
	return chosen, nil
}

// playAll goes on after a failure: what an attack leaves is removed.
func (h *hostileRun) playAll(ctx context.Context, t *testing.T, chosen []attack) error {
	h.Out.Heading("Starting a control plane, two simulated hubs and the operator")
	ctx, err := h.beginHostile(ctx)
	if err != nil {
		return err
	}
	h.Out.Heading(fmt.Sprintf("%d attacks: the most memory that the operator took, of %d MiB, and the longest edit of another tenant, %s while nobody attacks",
		len(chosen), h.operator.container.limit>>20, h.idle.Round(time.Millisecond)))
	played, failed := 0, 0
	for _, a := range chosen {
		t.Run(a.name, func(t *testing.T) {
			played++
			if err := h.withstand(ctx, a); err != nil && ctx.Err() == nil {
				h.Out.Sayf("FAILED: %v", err)
				failed++
				t.Error(err)
			}
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	if err := h.checkLogs(); err != nil {
		return errors.Join(err, fmt.Errorf("%d of %d attacks did harm", failed, played))
	}
	if failed > 0 {
		return fmt.Errorf("%d of %d attacks did harm; logs of the operator are in %s", failed, played, hostileFolder)
	}
	if played == 0 {
		return errors.New("no attack has a name that -run asks for")
	}
	return nil
}

// beginHostile starts everything, up to a victim whose edits arrive.
func (h *hostileRun) beginHostile(ctx context.Context) (_ context.Context, err error) {
	if ctx, err = h.Prepare(ctx); err != nil {
		return ctx, err
	}
	if h.impostor, err = newImpostor(h.File(impostorCAFile)); err != nil {
		return ctx, err
	}
	if h.operator, err = newLimited(ctx, h.Testbed, h.Path(hostileFolder), "--allowed-model-repositories="+h.impostor.allowed()); err != nil {
		return ctx, err
	}
	for _, step := range []func(context.Context) error{h.operator.start, h.ApplyHub, h.beginVictim, h.beginAttacker} {
		if err := step(ctx); err != nil {
			return ctx, err
		}
	}
	return ctx, nil
}

// leave takes away what the demonstration does not know of.
func (h *hostileRun) leave() error {
	if h.operator == nil || h.operator.group == "" {
		return nil
	}
	return h.operator.group.remove()
}

// withstand has one attack happen while the victim works, judges it, and removes what it left.
func (h *hostileRun) withstand(ctx context.Context, a attack) error {
	began := time.Now()
	h.operator.forgetPeak()
	attacked, cancel := context.WithCancelCause(ctx)
	h.operator.tellDeath(cancel)
	v := h.watchVictim(attacked, a)
	said, broken := a.play(attacked, h)
	worst, slow := v.stop()
	h.operator.tellDeath(nil)
	cancel(nil)
	if err := h.operator.death(); err != nil {
		broken, slow = err, nil
	}
	peak := h.operator.peaked()
	if broken == nil && peak > h.operator.container.limit {
		broken = harness.Missed("memory of the operator", fmt.Sprintf("at most %d MiB", h.operator.container.limit>>20), fmt.Sprintf("%d MiB", peak>>20))
	}
	line := fmt.Sprintf("%-18s %3d MiB  edit %5.2f s (x %.0f)  %s", a.name, peak>>20, worst.Seconds(), float64(worst)/float64(h.idle), a.title)
	err := errors.Join(broken, slow)
	if err != nil {
		err = fmt.Errorf("%s: %w", line, err)
	} else {
		h.Out.Passf("%s: %s (%.0f s)", line, said, time.Since(began).Seconds())
	}
	return errors.Join(err, h.recover(ctx))
}

// recover removes what an attack left, and has an operator that runs: if there is none, it is started once what killed it is gone.
func (h *hostileRun) recover(ctx context.Context) error {
	h.impostor.reset()
	if err := errors.Join(h.theirs.Hub.ClearFaults(ctx), h.theirs.Hub.ReleasePartitions(ctx)); err != nil {
		return err
	}
	if err := h.removeTenant(ctx); err != nil {
		return err
	}
	if h.operator.death() != nil {
		if err := h.operator.start(ctx); err != nil {
			return err
		}
	}
	_, err := h.edit(ctx, time.Minute)
	return err
}
