package main

import (
	"context"
	"fmt"
	"reflect"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

const (
	// A change at the hub is told by an event; a machine that is busy with other things may take longer over it.
	withinEvent = 10 * time.Second
	withinEdit  = 15 * time.Second
)

var (
	controllerTarget = harness.Target{Kind: "PnPDevice", Name: harness.ControllerObject}
	thermostatTarget = harness.Target{Kind: "PnPDevice", Name: harness.ThermostatObject}
)

// converge applies the samples as they are. The first writes are slowed down so that the table shows that they are pending.
func (d *demo) converge(ctx context.Context, table *tableWatch) error {
	slow := simulator.Fault{Kind: simulator.FaultLatency, Operation: simulator.OpPatchDigitalTwin, Latency: 800 * time.Millisecond, Count: 2}
	if _, err := d.Hub.AddFault(ctx, slow); err != nil {
		return fmt.Errorf("slowing down the hub: %w", err)
	}
	table.tell(ctx, "the samples are applied: first written to the hub, then acknowledged by the devices")
	if err := d.ApplySamples(ctx); err != nil {
		return err
	}
	if err := d.waitReady(ctx); err != nil {
		return err
	}
	if _, err := d.Kubectl.Show(ctx, "wait", "--for=condition=EventStreamReady", "hub", harness.SampleHub, "-n", harness.Namespace, "--timeout=20s"); err != nil {
		return err
	}
	d.Out.Passf("the hub's events are read")
	devices, err := d.Devices(ctx)
	if err != nil {
		return err
	}
	for _, device := range devices {
		if err := d.checkConverged(ctx, device); err != nil {
			return err
		}
	}
	return d.Check("there are two devices", "2", fmt.Sprint(len(devices)), len(devices) == 2)
}

// checkConverged checks that the hub holds what a device declares, and that it took one write.
func (d *demo) checkConverged(ctx context.Context, device *v1alpha1.PnPDevice) error {
	leaves, err := harness.LeavesOf(&device.Spec)
	if err != nil {
		return err
	}
	for _, l := range leaves {
		if err := d.ExpectAtHub(ctx, time.Second, l.Value, device.DeviceID(), l.Path...); err != nil {
			return err
		}
	}
	patches, err := d.PatchesOf(ctx, device.DeviceID())
	if err != nil {
		return err
	}
	return d.Check("the operator wrote to "+device.DeviceID()+" once", "1 PATCH in the hub's call log", fmt.Sprintf("%d PATCH", patches), patches == 1)
}

// waitReady waits until every device is Ready.
func (d *demo) waitReady(ctx context.Context) error {
	_, err := d.Kubectl.Show(ctx, "wait", "--for=condition=Ready", "pnp", "--all", "-n", harness.Namespace, "--timeout=30s")
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		table, _ := d.Kubectl.Output(ctx, "", "get", "hub,pnp", "-n", harness.Namespace)
		return harness.Missed("every PnPDevice is Ready", "condition Ready is True on all", err.Error()+"\n"+table)
	}
	d.Out.Passf("every PnPDevice is Ready")
	return nil
}

// drift changes a value at the hub, as someone with access to the hub would.
func (d *demo) drift(ctx context.Context, table *tableWatch) error {
	path := []string{"thermostat1", "targetTemperature"}
	declared, _, err := d.Desired(ctx, harness.ControllerDevice, path...)
	if err != nil {
		return err
	}
	const foreign = 55
	table.tell(ctx, "someone changed thermostat1/targetTemperature at the hub; the operator puts it back")
	d.Out.Sayf("Someone sets thermostat1/targetTemperature of %s to %d at the hub", harness.ControllerDevice, foreign)
	newest, err := d.NewestCall(ctx)
	if err != nil {
		return fmt.Errorf("reading the call log: %w", err)
	}
	began := time.Now()
	err = d.Hub.PatchDesired(ctx, harness.ControllerDevice, fmt.Sprintf(`{"thermostat1":{"__t":"c","targetTemperature":%d}}`, foreign), "")
	if err != nil {
		return fmt.Errorf("changing the value at the hub: %w", err)
	}
	took, err := d.until(ctx, began, func(ctx context.Context) (bool, error) {
		held, _, err := d.Desired(ctx, harness.ControllerDevice, path...)
		return reflect.DeepEqual(held, declared), err
	})
	if err != nil {
		return err
	}
	d.Out.Passf("thermostat1/targetTemperature is %s again at the hub, %s after the change", harness.AsJSON(declared), took)
	if err := d.checkOnlyWrites(ctx, newest); err != nil {
		return err
	}
	if err := d.expectCorrectionEvent(ctx, "thermostat1/targetTemperature", fmt.Sprint(foreign), harness.AsJSON(declared)); err != nil {
		return err
	}
	return d.expectAcknowledged(ctx, withinEvent, harness.ControllerObject)
}

// expectCorrectionEvent waits for the Event that names path, old and new value.
func (d *demo) expectCorrectionEvent(ctx context.Context, path, was, is string) error {
	command := []string{"get", "events", "-n", harness.Namespace, "--field-selector", "reason=" + v1alpha1.ReasonDriftCorrected}
	err := d.Expect(ctx, harness.Expectation{
		What:     "an Event tells path, old and new value",
		Expected: fmt.Sprintf("an Event %s that names %q, %q and %q", v1alpha1.ReasonDriftCorrected, path, was, is),
		Within:   withinEdit,
		Look: func(ctx context.Context) (string, bool, error) {
			message, err := d.Kubectl.Output(ctx, "", append(command, "-o", "jsonpath={.items[*].message}")...)
			return message, len(harness.Lacking(message, path, "from "+was+" ", "to "+is)) == 0, err
		},
	})
	if err != nil {
		return err
	}
	_, err = d.Kubectl.Show(ctx, command...)
	return err
}

// expectAcknowledged waits until a device is Ready and status speaks of the desired version that the hub holds now.
func (d *demo) expectAcknowledged(ctx context.Context, within time.Duration, name string) error {
	return d.Expect(ctx, harness.Expectation{
		What:     name + " is Ready again, acknowledged by the device",
		Expected: "Ready is True for the newest desired version at the hub",
		Within:   within,
		Look: func(ctx context.Context) (string, bool, error) {
			device, err := d.Device(ctx, name)
			if err != nil {
				return "", false, err
			}
			version, _, err := d.Desired(ctx, device.DeviceID(), "$version")
			if err != nil || device.Status.Twin == nil {
				return "no twin in status", false, err
			}
			ready := apimeta.FindStatusCondition(device.Status.Conditions, v1alpha1.ConditionReady)
			if ready == nil {
				return "no condition Ready", false, nil
			}
			current := ready.ObservedGeneration == device.Generation && harness.AsJSON(version) == fmt.Sprint(device.Status.Twin.DesiredVersion)
			return fmt.Sprintf("Ready is %s: %s; %s", ready.Status, ready.Message, device.Status.Summary), ready.Status == "True" && current, nil
		},
	})
}

// removal takes a property out of the declaration while a foreign one lives next to it.
func (d *demo) removal(ctx context.Context, table *tableWatch) error {
	d.Out.Sayf("Someone keeps a value of their own next to ours: thermostat2/hysteresis of %s", harness.ControllerDevice)
	if err := d.Hub.PatchDesired(ctx, harness.ControllerDevice, `{"thermostat2":{"__t":"c","hysteresis":0.5}}`, ""); err != nil {
		return fmt.Errorf("adding a foreign value: %w", err)
	}
	device, err := d.Device(ctx, harness.ControllerObject)
	if err != nil {
		return err
	}
	remove, err := removalOf(device, "thermostat2")
	if err != nil {
		return err
	}
	table.tell(ctx, "thermostat2 left the declaration: one value less to acknowledge")
	d.Out.Sayf("thermostat2 is removed from the YAML of %s", harness.ControllerObject)
	if err := d.ApplySamples(ctx, remove); err != nil {
		return err
	}
	if err := d.ExpectAtHub(ctx, withinEdit, nil, harness.ControllerDevice, "thermostat2", "targetTemperature"); err != nil {
		return err
	}
	if err := d.ExpectAtHub(ctx, time.Second, 0.5, harness.ControllerDevice, "thermostat2", "hysteresis"); err != nil {
		return err
	}
	return d.expectAcknowledged(ctx, withinEvent, harness.ControllerObject)
}

// removalOf is the edit that takes a component out of the declaration.
func removalOf(device *v1alpha1.PnPDevice, component string) (harness.Edit, error) {
	for i, c := range device.Spec.Components {
		if c.Name == component {
			return harness.Edit{Target: controllerTarget, Operation: harness.Operation{Op: "remove", Path: fmt.Sprintf("/spec/components/%d", i)}}, nil
		}
	}
	return harness.Edit{}, fmt.Errorf("PnPDevice %q declares no component %q", device.Name, component)
}

// rejection declares a value that the device refuses, and then one that it takes.
func (d *demo) rejection(ctx context.Context, table *tableWatch) error {
	const words = "targetTemperature must be between 5 and 35"
	if err := d.Hub.Behave(ctx, harness.ThermostatDevice, "targetTemperature", simulator.Reject(400, words)); err != nil {
		return fmt.Errorf("making the device refuse: %w", err)
	}
	table.tell(ctx, "the device refuses 90")
	d.Out.Sayf("targetTemperature of %s is changed to 90 in the YAML", harness.ThermostatObject)
	if err := d.ApplySamples(ctx, setTemperature(90)); err != nil {
		return err
	}
	if err := d.expectRejected(ctx, words); err != nil {
		return err
	}
	if err := d.Hub.Behave(ctx, harness.ThermostatDevice, "targetTemperature", simulator.Acknowledge()); err != nil {
		return fmt.Errorf("making the device accept: %w", err)
	}
	table.tell(ctx, "the value is corrected")
	d.Out.Sayf("targetTemperature of %s is changed to 22 in the YAML", harness.ThermostatObject)
	if err := d.ApplySamples(ctx, setTemperature(22)); err != nil {
		return err
	}
	if err := d.ExpectAtHub(ctx, withinEdit, 22.0, harness.ThermostatDevice, "targetTemperature"); err != nil {
		return err
	}
	if err := d.expectAcknowledged(ctx, withinEvent, harness.ThermostatObject); err != nil {
		return err
	}
	return d.waitReady(ctx)
}

func setTemperature(to int) harness.Edit {
	return harness.Edit{Target: thermostatTarget, Operation: harness.Operation{Op: "replace", Path: "/spec/properties/targetTemperature", Value: to}}
}

// expectRejected waits until the thermostat is stalled with the device's own words.
func (d *demo) expectRejected(ctx context.Context, words string) error {
	return d.Expect(ctx, harness.Expectation{
		What:     "status says that the device refused, in its own words",
		Expected: fmt.Sprintf("Ready=False, Stalled=True, reason %s, %q in the message", v1alpha1.ReasonRejected, words),
		Within:   withinEvent,
		Look: func(ctx context.Context) (string, bool, error) {
			device, err := d.Device(ctx, harness.ThermostatObject)
			if err != nil {
				return "", false, err
			}
			conditions := device.Status.Conditions
			ready := apimeta.FindStatusCondition(conditions, v1alpha1.ConditionReady)
			if ready == nil {
				return "no condition Ready", false, nil
			}
			isStalled := apimeta.IsStatusConditionTrue(conditions, v1alpha1.ConditionStalled)
			got := fmt.Sprintf("Ready=%s, Stalled=%t, reason %s: %s", ready.Status, isStalled, ready.Reason, ready.Message)
			ok := ready.Status == "False" && isStalled && ready.Reason == v1alpha1.ReasonRejected && strings.Contains(ready.Message, words)
			return got, ok, nil
		},
	})
}
