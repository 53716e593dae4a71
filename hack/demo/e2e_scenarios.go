package main

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const (
	thermostatModel = simulator.Thermostat
	controllerModel = simulator.TemperatureController
	targetProperty  = "targetTemperature"
)

var scenarios = []scenario{
	{"first-connect", "declared before the device first connects", firstConnect},
	{"edit", "an edit of a connected device", editConnected},
	{"offline", "edited while offline, converged on reconnect", editOffline},
	{"reject", "the device rejects a value, with its reason in status", reject},
	{"slow", "a slow device: 202, then 200", slow},
	{"reboot", "the device reboots between patch and acknowledgement", rebootInPatch},
	{"cut", "the connection breaks between edit and reconnect", connectionCut},
	{"two-components", "two components in one edit: one write", twoComponents},
	{"object", "an object-valued property", objectValued},
	{"removed", "a leaf removed from the declaration", leafRemoved},
	{"swapped", "the device is swapped for one of another model", swapped},
	{"telemetry", "a thermostat that reports by itself, and sends telemetry", reportsByItself},
	{"odd-acks", "odd acknowledgements: older, newer, text, undeclared", oddAcknowledgements},
	{"bad-reports", "reports that the hub refuses", badReports},
	{"bad-tokens", "devices that the hub turns away", badTokens},
	{"command", "a command of a component", commandSucceeds},
	{"command-error", "a command that the device answers with an error", commandFails},
	{"command-offline", "a command for an offline device, run when it is back", commandWaits},
	{"command-silent", "a command without an answer: Unknown, sent once", commandTimesOut},
	{"command-reboot", "a reboot by command: once", commandReboots},
	{"fifty", "50 devices on Microsoft's SDK at once", fifty},
}

// temperature declares a temperature for a thermostat.
func temperature(value any) map[string]map[string]any {
	return map[string]map[string]any{"": {targetProperty: value}}
}

func firstConnect(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.create(ctx, id); err != nil {
		return outcome{}, err
	}
	a, err := s.apply(ctx, id, "", temperature(31))
	if err != nil {
		return outcome{}, err
	}
	if _, err := s.notReady(ctx, id, v1alpha1.ReasonDeviceOffline, a); err != nil {
		return outcome{}, err
	}
	a.at = time.Now()
	if err := s.connect(ctx, id, thermostatModel); err != nil {
		return outcome{}, err
	}
	o, err := s.acknowledged(ctx, id, "connect", a)
	if err != nil {
		return o, err
	}
	_, err = s.await(ctx, id, "model "+thermostatModel, func(d *v1alpha1.PnPDevice) bool {
		return d.Status.ModelID == thermostatModel && property(d, targetProperty).AckCode == 200
	})
	return o, err
}

func editConnected(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newDeclared(ctx, id, thermostatModel, temperature(21)); err != nil {
		return outcome{}, err
	}
	return s.converge(ctx, id, thermostatModel, temperature(22.5))
}

func editOffline(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newDeclared(ctx, id, thermostatModel, temperature(21)); err != nil {
		return outcome{}, err
	}
	if err := s.do(ctx, "stop", id, nil); err != nil {
		return outcome{}, err
	}
	a, err := s.apply(ctx, id, thermostatModel, temperature(27))
	if err != nil {
		return outcome{}, err
	}
	if _, err := s.notReady(ctx, id, v1alpha1.ReasonDeviceOffline, a); err != nil {
		return outcome{}, err
	}
	a.at = time.Now()
	if err := s.connect(ctx, id, thermostatModel); err != nil {
		return outcome{}, err
	}
	return s.acknowledged(ctx, id, "reconnect", a)
}

func reject(ctx context.Context, s stage, id string) (outcome, error) {
	const words = "targetTemperature must be between 5 and 35"
	if err := s.newConnected(ctx, id, thermostatModel); err != nil {
		return outcome{}, err
	}
	if err := s.behave(ctx, id, targetProperty, fleetCommand{"kind": "reject", "code": 400, "description": words}); err != nil {
		return outcome{}, err
	}
	a, err := s.apply(ctx, id, thermostatModel, temperature(90))
	if err != nil {
		return outcome{}, err
	}
	at, err := s.await(ctx, id, "Rejected with the device's words", func(d *v1alpha1.PnPDevice) bool {
		p := property(d, targetProperty)
		return isNotReady(d, v1alpha1.ReasonRejected) && p.State == "Rejected" && p.AckCode == 400 && p.AckDescription == words
	})
	if err != nil {
		return outcome{}, err
	}
	if err := s.behave(ctx, id, targetProperty, fleetCommand{"kind": "accept"}); err != nil {
		return outcome{}, err
	}
	_, err = s.converge(ctx, id, thermostatModel, temperature(30))
	return outcome{"apply", "rejected", at.Sub(a.at)}, err
}

func slow(ctx context.Context, s stage, id string) (outcome, error) {
	const delay = time.Second
	if err := s.newConnected(ctx, id, thermostatModel); err != nil {
		return outcome{}, err
	}
	if err := s.behave(ctx, id, targetProperty, fleetCommand{"kind": "slow", "delayMs": delay.Milliseconds()}); err != nil {
		return outcome{}, err
	}
	a, err := s.apply(ctx, id, thermostatModel, temperature(24))
	if err != nil {
		return outcome{}, err
	}
	_, err = s.await(ctx, id, "InProgress and not Ready", func(d *v1alpha1.PnPDevice) bool {
		p := property(d, targetProperty)
		return isNotReady(d, v1alpha1.ReasonAwaitingAcknowledgement) && p.State == "InProgress" && p.AckCode == 202
	})
	if err != nil {
		return outcome{}, err
	}
	o, err := s.acknowledged(ctx, id, "apply", a)
	if err == nil && o.took < delay {
		err = miss{"a slow device", "acknowledged no sooner than after " + delay.String(), o.took.String()}
	}
	return o, err
}

func rebootInPatch(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newConnected(ctx, id, controllerModel); err != nil {
		return outcome{}, err
	}
	const name = "thermostat1." + targetProperty
	if err := s.behave(ctx, id, name, fleetCommand{"kind": "reboot", "delayMs": 500}); err != nil {
		return outcome{}, err
	}
	o, err := s.converge(ctx, id, controllerModel, map[string]map[string]any{"thermostat1": {targetProperty: 28}})
	if err != nil {
		return o, err
	}
	return o, s.wrote(ctx, id, 1)
}

// wrote checks how often the operator wrote to a device.
func (s stage) wrote(ctx context.Context, id string, want int) error {
	got, err := s.patchesOf(ctx, id)
	if err == nil && got != want {
		err = miss{"writes to " + id, fmt.Sprint(want), fmt.Sprint(got)}
	}
	return err
}

func connectionCut(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newDeclared(ctx, id, thermostatModel, temperature(21)); err != nil {
		return outcome{}, err
	}
	if err := s.demo.hub.CutMQTT(ctx, id); err != nil {
		return outcome{}, err
	}
	return s.converge(ctx, id, thermostatModel, temperature(23))
}

func twoComponents(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newConnected(ctx, id, controllerModel); err != nil {
		return outcome{}, err
	}
	o, err := s.converge(ctx, id, controllerModel, map[string]map[string]any{"thermostat1": {targetProperty: 18}, "thermostat2": {targetProperty: 19.5}})
	if err != nil {
		return o, err
	}
	return o, s.wrote(ctx, id, 1)
}

func objectValued(ctx context.Context, s stage, id string) (outcome, error) {
	schedule := map[string]any{"start": "06:00", "end": "22:00", "limits": map[string]any{"low": 18, "high": 23.5}}
	if err := s.newDeclared(ctx, id, "", map[string]map[string]any{"": {"schedule": schedule}}); err != nil {
		return outcome{}, err
	}
	schedule["limits"].(map[string]any)["high"] = 25
	o, err := s.converge(ctx, id, "", map[string]map[string]any{"": {"schedule": schedule}})
	if err != nil {
		return o, err
	}
	got, err := s.reported(ctx, id, "schedule", "value")
	want := map[string]any{"start": "06:00", "end": "22:00", "limits": map[string]any{"low": 18.0, "high": 25.0}}
	if err == nil && !reflect.DeepEqual(got, want) {
		err = miss{"the object that the device holds", shown(want), shown(got)}
	}
	return o, err
}

func leafRemoved(ctx context.Context, s stage, id string) (outcome, error) {
	both := map[string]map[string]any{"thermostat1": {targetProperty: 18}, "thermostat2": {targetProperty: 19}}
	if err := s.newDeclared(ctx, id, controllerModel, both); err != nil {
		return outcome{}, err
	}
	delete(both, "thermostat2")
	o, err := s.converge(ctx, id, controllerModel, both)
	if err != nil {
		return o, err
	}
	if err := s.atHub(ctx, id, nil, "thermostat2", targetProperty); err != nil {
		return o, err
	}
	return o, s.atHub(ctx, id, 18.0, "thermostat1", targetProperty)
}

// atHub waits until the hub holds a desired value; nil is none.
func (s stage) atHub(ctx context.Context, id string, want any, path ...string) error {
	var got any
	late := func() error { return miss{"desired " + strings.Join(path, "/") + " of " + id, shown(want), shown(got)} }
	return poll(ctx, withinScenario, late, func(ctx context.Context) (done bool, err error) {
		got, _, err = s.desired(ctx, id, path...)
		return reflect.DeepEqual(got, want), err
	})
}

func swapped(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newConnected(ctx, id, thermostatModel); err != nil {
		return outcome{}, err
	}
	a, err := s.apply(ctx, id, thermostatModel, temperature(21))
	if err != nil {
		return outcome{}, err
	}
	if _, err := s.acknowledged(ctx, id, "apply", a); err != nil {
		return outcome{}, err
	}
	if err := s.do(ctx, "stop", id, nil); err != nil {
		return outcome{}, err
	}
	if err := s.connect(ctx, id, controllerModel); err != nil {
		return outcome{}, err
	}
	began := time.Now()
	if err := s.do(ctx, "telemetry", id, fleetCommand{"component": "thermostat1", "body": map[string]any{"temperature": 20}}); err != nil {
		return outcome{}, err
	}
	at, err := s.notReady(ctx, id, v1alpha1.ReasonModelMismatch, a)
	if err != nil {
		return outcome{}, err
	}
	// Nothing is written to a machine that is not the one that was declared.
	before, err := s.patchesOf(ctx, id)
	if err != nil {
		return outcome{}, err
	}
	if a, err = s.apply(ctx, id, thermostatModel, temperature(33)); err != nil {
		return outcome{}, err
	}
	if _, err := s.notReady(ctx, id, v1alpha1.ReasonModelMismatch, a); err != nil {
		return outcome{}, err
	}
	if err := s.wrote(ctx, id, before); err != nil {
		return outcome{}, err
	}
	_, err = s.converge(ctx, id, controllerModel, map[string]map[string]any{"thermostat1": {targetProperty: 33}})
	return outcome{"telemetry", "told apart", at.Sub(began)}, err
}

func reportsByItself(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newDeclared(ctx, id, controllerModel, map[string]map[string]any{"thermostat1": {targetProperty: 18}}); err != nil {
		return outcome{}, err
	}
	for range 20 {
		if err := s.do(ctx, "telemetry", id, fleetCommand{"component": "thermostat1", "body": map[string]any{"temperature": 21.5}}); err != nil {
			return outcome{}, err
		}
	}
	began := time.Now()
	ack := map[string]any{"value": 18, "ac": 500, "av": 2, "ad": "sensor lost"}
	if err := s.report(ctx, id, map[string]any{"thermostat1": map[string]any{"__t": "c", targetProperty: ack}}); err != nil {
		return outcome{}, err
	}
	at, err := s.await(ctx, id, "the device's own change of mind", func(d *v1alpha1.PnPDevice) bool {
		p := property(d, "thermostat1."+targetProperty)
		return p.AckCode == 500 && p.AckDescription == "sensor lost" && !isReady(d)
	})
	if err != nil {
		return outcome{}, err
	}
	return outcome{"report", "status", at.Sub(began)}, s.wrote(ctx, id, 1)
}

func oddAcknowledgements(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newConnected(ctx, id, thermostatModel); err != nil {
		return outcome{}, err
	}
	if err := s.behave(ctx, id, targetProperty, fleetCommand{"kind": "ignore"}); err != nil {
		return outcome{}, err
	}
	a, err := s.apply(ctx, id, thermostatModel, temperature(26))
	if err != nil {
		return outcome{}, err
	}
	if err := s.atHub(ctx, id, 26.0, targetProperty); err != nil {
		return outcome{}, err
	}
	version, _, err := s.desired(ctx, id, "$version")
	if err != nil {
		return outcome{}, err
	}
	current := int64(version.(float64))
	envelope := func(value any, code any, version any) map[string]any {
		return map[string]any{"value": value, "ac": code, "av": version}
	}
	for i, odd := range []map[string]any{
		{targetProperty: envelope(26, 200, current-1)},   // of an older declaration
		{targetProperty: envelope(26, 200, current+100)}, // of none that was ever made
		{targetProperty: envelope(26, "200", current)},   // a code that is text
		{"undeclared": envelope(1, 200, current)},        // of what nobody declared
	} {
		odd["round"] = i
		if err := s.report(ctx, id, odd); err != nil {
			return outcome{}, err
		}
		if err := s.staysOpen(ctx, id, i, a); err != nil {
			return outcome{}, err
		}
	}
	a.at = time.Now()
	if err := s.report(ctx, id, map[string]any{targetProperty: envelope(26, 200, current)}); err != nil {
		return outcome{}, err
	}
	return s.acknowledged(ctx, id, "report", a)
}

// staysOpen waits until a report is in status and checks that it has made nothing Ready.
func (s stage) staysOpen(ctx context.Context, id string, round int, a applied) error {
	if err := s.settled(ctx, id); err != nil {
		return err
	}
	now, _ := s.look(id)
	if now.device == nil || now.device.Generation < a.generation || isReady(now.device) {
		return miss{fmt.Sprintf("after odd acknowledgement %d", round), "not Ready", describe(now.device)}
	}
	return nil
}

// settled waits until the operator has worked off what the device sent: a message sent after it, of which status tells, is the
// connection's end and its return.
func (s stage) settled(ctx context.Context, id string) error {
	for _, state := range []string{"Disconnected", "Connected"} {
		act := func() error { return s.do(ctx, "stop", id, nil) }
		if state == "Connected" {
			act = func() error { return s.connectIgnoring(ctx, id) }
		}
		if err := act(); err != nil {
			return err
		}
		if _, err := s.await(ctx, id, state, func(d *v1alpha1.PnPDevice) bool { return d.Status.ConnectionState == state }); err != nil {
			return err
		}
	}
	return nil
}

// connectIgnoring connects a thermostat that leaves its target temperature alone.
func (s stage) connectIgnoring(ctx context.Context, id string) error {
	connectionString, err := s.demo.hub.ConnectionString(ctx, id)
	if err != nil {
		return err
	}
	return s.do(ctx, "start", id, fleetCommand{
		"connectionString": connectionString, "model": thermostatModel, "ca": s.ca,
		"behaviours": map[string]any{targetProperty: map[string]any{"kind": "ignore"}},
	})
}

func badReports(ctx context.Context, s stage, id string) (outcome, error) {
	if err := s.newDeclared(ctx, id, thermostatModel, temperature(21)); err != nil {
		return outcome{}, err
	}
	large := map[string]any{}
	for i := range 9 {
		large[fmt.Sprint("p", i)] = strings.Repeat("x", 4000)
	}
	for name, patch := range map[string]any{
		"a key with a dot": map[string]any{"a.b": 1}, "a key with a dollar": map[string]any{"$a": 1}, "33 KB": large,
		"an array with a null": map[string]any{"a": []any{nil}}, "a long string": map[string]any{"a": strings.Repeat("x", 4097)},
	} {
		var refused *refusal
		if err := s.report(ctx, id, patch); !errors.As(err, &refused) {
			return outcome{}, miss{"a report with " + name, "refused by the hub", fmt.Sprint(err)}
		}
	}
	return s.converge(ctx, id, thermostatModel, temperature(22))
}

func badTokens(ctx context.Context, s stage, id string) (outcome, error) {
	if err := errors.Join(s.create(ctx, id), s.create(ctx, id+"-2")); err != nil {
		return outcome{}, err
	}
	mine, err1 := s.demo.hub.ConnectionString(ctx, id)
	other, err2 := s.demo.hub.ConnectionString(ctx, id+"-2")
	if err := errors.Join(err1, err2); err != nil {
		return outcome{}, err
	}
	if _, err := s.apply(ctx, id, thermostatModel, temperature(21)); err != nil {
		return outcome{}, err
	}
	began := time.Now()
	for name, connectionString := range map[string]string{
		"another device's key": strings.Replace(other, "DeviceId="+id+"-2", "DeviceId="+id, 1),
		"an unknown device":    strings.Replace(mine, "DeviceId="+id, "DeviceId=nobody", 1),
		"another hub":          strings.Replace(mine, "HostName=", "HostName=other-", 1),
	} {
		var refused *refusal
		if err := s.connectWith(ctx, id, thermostatModel, connectionString); !errors.As(err, &refused) || refused.name != "UnauthorizedError" {
			return outcome{}, miss{"connecting with " + name, "UnauthorizedError", fmt.Sprint(err)}
		}
	}
	if err := s.demo.hub.SetStatus(ctx, id, false, "under repair"); err != nil {
		return outcome{}, err
	}
	var refused *refusal
	if err := s.connect(ctx, id, thermostatModel); !errors.As(err, &refused) || refused.name != "UnauthorizedError" {
		return outcome{}, miss{"connecting a disabled device", "UnauthorizedError", fmt.Sprint(err)}
	}
	took := time.Since(began)
	now, _ := s.look(id)
	if now.device == nil || isReady(now.device) || now.device.Status.ConnectionState == "Connected" {
		return outcome{}, miss{"status of a device that never connected", "not Ready, not Connected", describe(now.device)}
	}
	return outcome{"4 attempts", "4 refusals", took}, nil
}

func fifty(ctx context.Context, s stage, id string) (outcome, error) {
	const count = 50
	ids := make([]string, count)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%02d", id, i)
	}
	if err := all(ids, func(id string) error { return s.newConnected(ctx, id, controllerModel) }); err != nil {
		return outcome{}, err
	}
	began := time.Now()
	declared := map[string]map[string]any{"thermostat1": {targetProperty: 18}, "thermostat2": {targetProperty: 19}}
	if err := all(ids, func(id string) error {
		_, err := s.converge(ctx, id, controllerModel, declared)
		return err
	}); err != nil {
		return outcome{}, err
	}
	took := time.Since(began)
	return outcome{"apply", "all acknowledged", took}, all(ids, func(id string) error { return s.wrote(ctx, id, 1) })
}

// all does something for many devices, a few at a time.
func all(ids []string, do func(id string) error) error {
	const atOnce = 8
	errs := make([]error, len(ids))
	slots := make(chan struct{}, atOnce)
	var wg sync.WaitGroup
	for i, id := range ids {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			errs[i] = do(id)
		})
	}
	wg.Wait()
	return errors.Join(errs...)
}
