package main

import (
	"context"
	"fmt"

	"github.com/pnp-operator/pnp-operator/hack/node"
)

// realName is the PnPDevice, and the device, that Microsoft's SDK plays.
const realName = "sdk-thermostat"

// realDevice has a device on Microsoft's SDK for Node connect by MQTT, where Node is there.
func (d *demo) realDevice(ctx context.Context, table *tableWatch) error {
	if err := node.Missing(); err != nil {
		d.out.sayf("left out: %v", err)
		return nil
	}
	f, err := d.startFleet(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = f.stop() }() // the hub shows whether the device did what it should
	o, err := d.observe(ctx)
	if err != nil {
		return err
	}
	s := stage{d, f, o}
	table.tell(ctx, "a device on Microsoft's SDK is declared, and connects")
	if _, err = s.apply(ctx, realName, thermostatModel, temperature(23)); err == nil {
		err = s.newConnected(ctx, realName, thermostatModel)
	}
	if err != nil {
		return err
	}
	if _, err := s.await(ctx, realName, "Ready, acknowledged by the device", isReady); err != nil {
		return err
	}
	took, err := s.converge(ctx, realName, thermostatModel, temperature(24.5))
	if err != nil {
		return err
	}
	d.out.passf("%s: an edit was acknowledged by the device, and in status, %d ms after kubectl began to apply it", realName, took.took.Milliseconds())
	if err := s.do(ctx, "stop", realName, nil); err != nil {
		return fmt.Errorf("disconnecting the device: %w", err)
	}
	_, err = s.await(ctx, realName, "Disconnected", isDisconnected)
	return err
}
