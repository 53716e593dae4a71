package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

// converged is what it took to converge some devices.
type converged struct {
	took    time.Duration // from the first read of a twin on
	started time.Duration // from the start of the process to that
	used    usage
}

// converge compares the operator with the floor and with a script, in turn, for each number of devices.
func (b *bench) converge(ctx context.Context) error {
	f, err := b.newFloor(ctx)
	if err != nil {
		return err
	}
	for _, count := range b.size.devices {
		var floors, operators, scripts, starts, calls, patches, processor, bytes sample
		for n := range b.size.rounds(count) {
			b.Out.Sayf("  %d devices, round %d of %d", count, n+1, b.size.rounds(count))
			took, err := b.convergeByFloor(ctx, f, count)
			if err != nil {
				return err
			}
			floors = append(floors, took.Seconds())
			if took, err = b.convergeByScript(ctx, count); err != nil {
				return err
			}
			scripts = append(scripts, took.Seconds())
			c, err := b.convergeByOperator(ctx, count)
			if err != nil {
				return err
			}
			operators, starts = append(operators, c.took.Seconds()), append(starts, c.started.Seconds())
			calls = append(calls, float64(c.used.hubCalls())/float64(count))
			patches = append(patches, c.used.statusPatches/float64(count))
			processor = append(processor, milliseconds(c.used.processor())/float64(count))
			bytes = append(bytes, float64(c.used.written[etcd])/float64(count)/1024)
			b.Out.Sayf("    floor %.2f s, script %.2f s, operator %.2f s, ratio %.2f; %s; %.0f status patches",
				floors[n], scripts[n], operators[n], operators[n]/floors[n], c.used.callText(), c.used.statusPatches)
		}
		row := b.out.add(fmt.Sprintf("converge %s devices, operator / floor", thousands(count)), "ratio", ratios(operators, floors))
		if count == b.size.most() {
			row.atMost(1.25)
		}
		b.out.add(fmt.Sprintf("converge %s devices, operator / script on azure-iothub, which writes no status", thousands(count)), "ratio", ratios(operators, scripts))
		b.out.add(fmt.Sprintf("converge %s devices, calls of the hub a device", thousands(count)), "calls", calls)
		b.out.add(fmt.Sprintf("converge %s devices, status patches a device", thousands(count)), "patches", patches)
		b.out.add(fmt.Sprintf("converge %s devices, processor time a device of operator, API server and etcd", thousands(count)), "ms", processor)
		b.out.add(fmt.Sprintf("converge %s devices, written by etcd a device", thousands(count)), "KiB", bytes)
		b.out.add(fmt.Sprintf("start to the first call of the hub, %s devices to converge", thousands(count)), "s", starts)
		for name, took := range map[string]sample{"floor": floors, "operator": operators, "script": scripts} {
			b.out.point(name+" devices/s", count, float64(count)/took.median())
		}
	}
	return nil
}

// convergeByOperator measures from its first read on; what comes before that does not grow with what it is compared to, and is told separately.
func (b *bench) convergeByOperator(ctx context.Context, count int) (c converged, err error) {
	if err := b.prepare(ctx, count); err != nil {
		return c, err
	}
	if err := b.connectHub(ctx); err != nil {
		return c, err
	}
	if err := b.Hub.ResetCalls(ctx); err != nil {
		return c, err
	}
	before, err := b.usage(ctx)
	if err != nil {
		return c, err
	}
	began := time.Now()
	if err := b.start(ctx, lifted...); err != nil {
		return c, err
	}
	first, err := b.firstCall(ctx, simulator.OpGetTwin)
	if err != nil {
		return c, err
	}
	if err := b.awaitSettled(ctx); err != nil {
		return c, err
	}
	c.took, c.started = time.Since(first), first.Sub(began)
	after, err := b.usage(ctx)
	if err != nil {
		return c, err
	}
	c.used = after.since(before)
	if writes := c.used.calls[simulator.OpPatchDigitalTwin]; writes != count {
		return c, fmt.Errorf("the hub took %d writes for %d devices", writes, count)
	}
	return c, nil
}

// firstCall waits for the hub's first call of that kind and returns when it came.
func (b *bench) firstCall(ctx context.Context, operation string) (time.Time, error) {
	var calls []simulator.Call
	err := b.until(ctx, "calls", func() (int, int) {
		calls, _ = b.Hub.Calls(ctx, simulator.CallFilter{Operation: operation})
		return len(calls), 1
	})
	if err != nil {
		return time.Time{}, err
	}
	return calls[0].Time, nil
}

// prepare declares devices while the operator does not run.
func (b *bench) prepare(ctx context.Context, count int) error {
	if err := b.stop(); err != nil {
		return err
	}
	if err := b.clear(ctx); err != nil {
		return err
	}
	return b.declare(ctx, b.fresh(count, 3))
}

func (b *bench) convergeByFloor(ctx context.Context, f *floor, count int) (time.Duration, error) {
	if err := b.prepare(ctx, count); err != nil {
		return 0, err
	}
	var list v1alpha1.PnPDeviceList
	if err := b.client.List(ctx, &list, client.InNamespace(namespace)); err != nil {
		return 0, err
	}
	began := time.Now()
	done := b.progress(ctx, "by the floor", func() (int, int) { _, n, _, _ := b.seen.counts(); return n, count })
	defer done()
	err := each(ctx, count, concurrency, func(ctx context.Context, i int) error { return f.converge(ctx, list.Items[i]) })
	if err != nil {
		return 0, fmt.Errorf("the floor: %w", err)
	}
	took := time.Since(began)
	return took, b.awaitSettled(ctx)
}

// convergeByScript runs what one would write with Microsoft's client for Node. It needs no objects, and writes no status.
func (b *bench) convergeByScript(ctx context.Context, count int) (time.Duration, error) {
	f := b.fresh(count, 3)
	if err := b.Hub.AddDevices(ctx, f.prefix+"-%05d", f.count, simulator.Spec{Model: simulator.TemperatureController}); err != nil {
		return 0, err
	}
	if err := b.Hub.ResetCalls(ctx); err != nil {
		return 0, err
	}
	folder := b.Path("test/conformance/service")
	cmd := exec.CommandContext(ctx, "node", "--require", folder+"/hook.js", b.Path("hack/bench/node/update.js"))
	env := b.HubEnv
	cmd.Env = append(os.Environ(), "NODE_PATH="+folder+"/node_modules", "NODE_EXTRA_CA_CERTS="+env["HUB_CA_FILE"],
		"HUB_CONNECTION_STRING="+env["HUB_CONNECTION_STRING"], "HUB_HOST_NAME="+env["HUB_HOST_NAME"], "HUB_ENDPOINT="+env["HUB_ENDPOINT"],
		"PREFIX="+f.prefix, "COUNT="+strconv.Itoa(count), "CONCURRENCY="+strconv.Itoa(concurrency))
	var problem strings.Builder
	cmd.Stderr = &problem
	out, err := cmd.Output()
	if err != nil {
		return 0, fmt.Errorf("the script: %w: %s", err, problem.String())
	}
	var said struct{ Seconds float64 }
	if err := json.Unmarshal(out, &said); err != nil {
		return 0, fmt.Errorf("the script said %q: %w", out, err)
	}
	counts, err := b.Hub.CallCounts(ctx, "")
	if err == nil && counts[simulator.OpPatchTwin] != count {
		err = fmt.Errorf("the script wrote %d twins of %d", counts[simulator.OpPatchTwin], count)
	}
	if err != nil {
		return 0, err
	}
	err = each(ctx, count, clients, func(ctx context.Context, i int) error { return b.Hub.DeleteDevice(ctx, f.name(i)) })
	return time.Duration(said.Seconds * float64(time.Second)), err
}
