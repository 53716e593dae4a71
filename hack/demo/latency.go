package main

import (
	"bufio"
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// latency has a device go offline and come back, and measures how long the table takes to show it.
func (d *demo) latency(ctx context.Context, table *tableWatch) error {
	newest, err := d.NewestCall(ctx)
	if err != nil {
		return fmt.Errorf("reading the call log: %w", err)
	}
	table.tell(ctx, "the thermostat went offline, and came back; what it does within five seconds is shown together")
	took, err := d.untilShown(ctx, harness.ThermostatObject, "Disconnected", func() error { return d.Hub.Offline(ctx, harness.ThermostatDevice) })
	if err != nil {
		return err
	}
	d.Out.Passf("kubectl get pnp -w shows the device as offline %s after it was", took)
	if _, err := d.untilShown(ctx, harness.ThermostatObject, " Connected", func() error { return d.Hub.Online(ctx, harness.ThermostatDevice) }); err != nil {
		return err
	}
	return d.checkOnlySweeps(ctx, newest)
}

// untilShown does something, and returns how long `kubectl get --watch` took to print a row with some text.
func (d *demo) untilShown(ctx context.Context, object, text string, act func() error) (time.Duration, error) {
	ctx, end := context.WithTimeout(ctx, withinEvent)
	defer end()
	cmd := d.Kubectl.Command(ctx, "get", harness.DevicesResource, object, "-n", harness.Namespace, "--watch", "--no-headers")
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return 0, fmt.Errorf("watching %s: %w", object, err)
	}
	defer func() { end(); _ = cmd.Wait() }() // it is we who end it
	rows := bufio.NewScanner(out)
	if !rows.Scan() {
		return 0, fmt.Errorf("watching %s: no row", object)
	}
	began := time.Now()
	if err := act(); err != nil {
		return 0, fmt.Errorf("changing the device: %w", err)
	}
	for rows.Scan() {
		if strings.Contains(rows.Text(), text) {
			return time.Since(began).Round(time.Millisecond), nil
		}
	}
	return 0, harness.Missed("the table shows what the device did", fmt.Sprintf("%q in the row of %s", text, object), "nothing within "+withinEvent.String())
}

// until polls closely and returns how long something took. An error counts as not yet.
func (d *demo) until(ctx context.Context, began time.Time, ok func(context.Context) (bool, error)) (time.Duration, error) {
	late := func() error {
		return harness.Missed("what someone else changed is put back", "within "+withinEvent.String(), "not yet")
	}
	err := harness.Poll(ctx, withinEvent, late, func(ctx context.Context) (bool, error) {
		done, err := ok(ctx)
		return done && err == nil, nil
	})
	return time.Since(began).Round(time.Millisecond), err
}

// checkOnlyWrites checks that the operator wrote once since a call, and read nothing.
func (d *demo) checkOnlyWrites(ctx context.Context, seq uint64) error {
	_, calls, err := d.CallsAfter(ctx, seq)
	if err != nil {
		return fmt.Errorf("reading the call log: %w", err)
	}
	got := strings.Join(calls, ", ")
	ok := len(calls) == 1 && strings.HasPrefix(calls[0], simulator.OpPatchDigitalTwin)
	return d.Check("that took one write and no read", "1 "+simulator.OpPatchDigitalTwin, got, ok)
}
