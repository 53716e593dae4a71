package main

import (
	"context"
	"fmt"

	"github.com/pnp-operator/pnp-operator/hack/node"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// realName is the PnPDevice, and the device, that Microsoft's SDK plays.
const realName = "sdk-thermostat"

// realDevice has a device on Microsoft's SDK for Node connect by MQTT, where Node is there.
func (d *demo) realDevice(ctx context.Context, table *tableWatch) error {
	if err := node.Missing(); err != nil {
		d.Out.Sayf("left out: %v", err)
		return nil
	}
	f, err := d.StartFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.Stop() }() // the hub shows whether the device did what it should
	o, err := d.Observe(ctx)
	if err != nil {
		return err
	}
	s := harness.Stage{Testbed: d.Testbed, Fleet: f, Observer: o}
	table.tell(ctx, "a device on Microsoft's SDK is declared, and connects")
	if _, err = s.Apply(ctx, realName, harness.ThermostatModel, harness.Temperature(23)); err == nil {
		err = s.NewConnected(ctx, realName, harness.ThermostatModel)
	}
	if err != nil {
		return err
	}
	if _, err := s.Await(ctx, realName, "Ready, acknowledged by the device", harness.IsReady); err != nil {
		return err
	}
	took, err := s.Converge(ctx, realName, harness.ThermostatModel, harness.Temperature(24.5))
	if err != nil {
		return err
	}
	d.Out.Passf("%s: an edit was acknowledged by the device, and in status, %d ms after kubectl began to apply it", realName, took.Took.Milliseconds())
	if err := s.Do(ctx, "stop", realName, nil); err != nil {
		return fmt.Errorf("disconnecting the device: %w", err)
	}
	_, err = s.Await(ctx, realName, "Disconnected", harness.IsDisconnected)
	return err
}
