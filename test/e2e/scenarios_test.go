package e2e

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
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

func firstConnect(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.Create(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	a, err := s.Apply(ctx, id, "", harness.Temperature(31))
	if err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.NotReady(ctx, id, v1alpha1.ReasonDeviceOffline, a); err != nil {
		return harness.Outcome{}, err
	}
	a.At = time.Now()
	if err := s.Connect(ctx, id, harness.ThermostatModel); err != nil {
		return harness.Outcome{}, err
	}
	o, err := s.Acknowledged(ctx, id, "connect", a)
	if err != nil {
		return o, err
	}
	_, err = s.Await(ctx, id, "model "+harness.ThermostatModel, func(d *v1alpha1.PnPDevice) bool {
		return d.Status.ModelID == harness.ThermostatModel && harness.PropertyOf(d, harness.TargetProperty).AckCode == 200
	})
	return o, err
}

func editConnected(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewDeclared(ctx, id, harness.ThermostatModel, harness.Temperature(21)); err != nil {
		return harness.Outcome{}, err
	}
	return s.Converge(ctx, id, harness.ThermostatModel, harness.Temperature(22.5))
}

func editOffline(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewDeclared(ctx, id, harness.ThermostatModel, harness.Temperature(21)); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Do(ctx, "stop", id, nil); err != nil {
		return harness.Outcome{}, err
	}
	a, err := s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(27))
	if err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.NotReady(ctx, id, v1alpha1.ReasonDeviceOffline, a); err != nil {
		return harness.Outcome{}, err
	}
	a.At = time.Now()
	if err := s.Connect(ctx, id, harness.ThermostatModel); err != nil {
		return harness.Outcome{}, err
	}
	return s.Acknowledged(ctx, id, "reconnect", a)
}

func reject(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	const words = "targetTemperature must be between 5 and 35"
	if err := s.NewConnected(ctx, id, harness.ThermostatModel); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Behave(ctx, id, harness.TargetProperty, harness.FleetCommand{"kind": "reject", "code": 400, "description": words}); err != nil {
		return harness.Outcome{}, err
	}
	a, err := s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(90))
	if err != nil {
		return harness.Outcome{}, err
	}
	at, err := s.Await(ctx, id, "Rejected with the device's words", func(d *v1alpha1.PnPDevice) bool {
		p := harness.PropertyOf(d, harness.TargetProperty)
		return harness.IsNotReady(d, v1alpha1.ReasonRejected) && p.State == "Rejected" && p.AckCode == 400 && p.AckDescription == words
	})
	if err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Behave(ctx, id, harness.TargetProperty, harness.FleetCommand{"kind": "accept"}); err != nil {
		return harness.Outcome{}, err
	}
	_, err = s.Converge(ctx, id, harness.ThermostatModel, harness.Temperature(30))
	return harness.Outcome{From: "apply", To: "rejected", Took: at.Sub(a.At)}, err
}

func slow(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	const delay = time.Second
	if err := s.NewConnected(ctx, id, harness.ThermostatModel); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Behave(ctx, id, harness.TargetProperty, harness.FleetCommand{"kind": "slow", "delayMs": delay.Milliseconds()}); err != nil {
		return harness.Outcome{}, err
	}
	a, err := s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(24))
	if err != nil {
		return harness.Outcome{}, err
	}
	_, err = s.Await(ctx, id, "InProgress and not Ready", func(d *v1alpha1.PnPDevice) bool {
		p := harness.PropertyOf(d, harness.TargetProperty)
		return harness.IsNotReady(d, v1alpha1.ReasonAwaitingAcknowledgement) && p.State == "InProgress" && p.AckCode == 202
	})
	if err != nil {
		return harness.Outcome{}, err
	}
	o, err := s.Acknowledged(ctx, id, "apply", a)
	if err == nil && o.Took < delay {
		err = harness.Missed("a slow device", "acknowledged no sooner than after "+delay.String(), o.Took.String())
	}
	return o, err
}

func rebootInPatch(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewConnected(ctx, id, harness.ControllerModel); err != nil {
		return harness.Outcome{}, err
	}
	const name = "thermostat1." + harness.TargetProperty
	if err := s.Behave(ctx, id, name, harness.FleetCommand{"kind": "reboot", "delayMs": 500}); err != nil {
		return harness.Outcome{}, err
	}
	o, err := s.Converge(ctx, id, harness.ControllerModel, map[string]map[string]any{"thermostat1": {harness.TargetProperty: 28}})
	if err != nil {
		return o, err
	}
	return o, s.wrote(ctx, id, 1)
}

// wrote checks how often the operator wrote to a device.
func (s stage) wrote(ctx context.Context, id string, want int) error {
	got, err := s.PatchesOf(ctx, id)
	if err == nil && got != want {
		err = harness.Missed("writes to "+id, fmt.Sprint(want), fmt.Sprint(got))
	}
	return err
}

func connectionCut(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewDeclared(ctx, id, harness.ThermostatModel, harness.Temperature(21)); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Hub.CutMQTT(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	return s.Converge(ctx, id, harness.ThermostatModel, harness.Temperature(23))
}

func twoComponents(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewConnected(ctx, id, harness.ControllerModel); err != nil {
		return harness.Outcome{}, err
	}
	o, err := s.Converge(ctx, id, harness.ControllerModel, map[string]map[string]any{"thermostat1": {harness.TargetProperty: 18}, "thermostat2": {harness.TargetProperty: 19.5}})
	if err != nil {
		return o, err
	}
	return o, s.wrote(ctx, id, 1)
}

func objectValued(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	schedule := map[string]any{"start": "06:00", "end": "22:00", "limits": map[string]any{"low": 18, "high": 23.5}}
	if err := s.NewDeclared(ctx, id, "", map[string]map[string]any{"": {"schedule": schedule}}); err != nil {
		return harness.Outcome{}, err
	}
	schedule["limits"].(map[string]any)["high"] = 25
	o, err := s.Converge(ctx, id, "", map[string]map[string]any{"": {"schedule": schedule}})
	if err != nil {
		return o, err
	}
	got, err := s.reported(ctx, id, "schedule", "value")
	want := map[string]any{"start": "06:00", "end": "22:00", "limits": map[string]any{"low": 18.0, "high": 25.0}}
	if err == nil && !reflect.DeepEqual(got, want) {
		err = harness.Missed("the object that the device holds", harness.AsJSON(want), harness.AsJSON(got))
	}
	return o, err
}

func leafRemoved(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	both := map[string]map[string]any{"thermostat1": {harness.TargetProperty: 18}, "thermostat2": {harness.TargetProperty: 19}}
	if err := s.NewDeclared(ctx, id, harness.ControllerModel, both); err != nil {
		return harness.Outcome{}, err
	}
	delete(both, "thermostat2")
	o, err := s.Converge(ctx, id, harness.ControllerModel, both)
	if err != nil {
		return o, err
	}
	if err := s.atHub(ctx, id, nil, "thermostat2", harness.TargetProperty); err != nil {
		return o, err
	}
	return o, s.atHub(ctx, id, 18.0, "thermostat1", harness.TargetProperty)
}

// atHub waits until the hub holds a desired value; nil is none.
func (s stage) atHub(ctx context.Context, id string, want any, path ...string) error {
	var got any
	late := func() error {
		return harness.Missed("desired "+strings.Join(path, "/")+" of "+id, harness.AsJSON(want), harness.AsJSON(got))
	}
	return harness.Poll(ctx, harness.WithinScenario, late, func(ctx context.Context) (done bool, err error) {
		got, _, err = s.Desired(ctx, id, path...)
		return reflect.DeepEqual(got, want), err
	})
}

func swapped(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewConnected(ctx, id, harness.ThermostatModel); err != nil {
		return harness.Outcome{}, err
	}
	a, err := s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(21))
	if err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.Acknowledged(ctx, id, "apply", a); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Do(ctx, "stop", id, nil); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Connect(ctx, id, harness.ControllerModel); err != nil {
		return harness.Outcome{}, err
	}
	began := time.Now()
	if err := s.Do(ctx, "telemetry", id, harness.FleetCommand{"component": "thermostat1", "body": map[string]any{"temperature": 20}}); err != nil {
		return harness.Outcome{}, err
	}
	at, err := s.NotReady(ctx, id, v1alpha1.ReasonModelMismatch, a)
	if err != nil {
		return harness.Outcome{}, err
	}
	// Nothing is written to a machine that is not the one that was declared.
	before, err := s.PatchesOf(ctx, id)
	if err != nil {
		return harness.Outcome{}, err
	}
	if a, err = s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(33)); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.NotReady(ctx, id, v1alpha1.ReasonModelMismatch, a); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.wrote(ctx, id, before); err != nil {
		return harness.Outcome{}, err
	}
	_, err = s.Converge(ctx, id, harness.ControllerModel, map[string]map[string]any{"thermostat1": {harness.TargetProperty: 33}})
	return harness.Outcome{From: "telemetry", To: "told apart", Took: at.Sub(began)}, err
}

func reportsByItself(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewDeclared(ctx, id, harness.ControllerModel, map[string]map[string]any{"thermostat1": {harness.TargetProperty: 18}}); err != nil {
		return harness.Outcome{}, err
	}
	for range 20 {
		if err := s.Do(ctx, "telemetry", id, harness.FleetCommand{"component": "thermostat1", "body": map[string]any{"temperature": 21.5}}); err != nil {
			return harness.Outcome{}, err
		}
	}
	began := time.Now()
	ack := map[string]any{"value": 18, "ac": 500, "av": 2, "ad": "sensor lost"}
	if err := s.Report(ctx, id, map[string]any{"thermostat1": map[string]any{"__t": "c", harness.TargetProperty: ack}}); err != nil {
		return harness.Outcome{}, err
	}
	at, err := s.Await(ctx, id, "the device's own change of mind", func(d *v1alpha1.PnPDevice) bool {
		p := harness.PropertyOf(d, "thermostat1."+harness.TargetProperty)
		return p.AckCode == 500 && p.AckDescription == "sensor lost" && !harness.IsReady(d)
	})
	if err != nil {
		return harness.Outcome{}, err
	}
	return harness.Outcome{From: "report", To: "status", Took: at.Sub(began)}, s.wrote(ctx, id, 1)
}

func oddAcknowledgements(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewConnected(ctx, id, harness.ThermostatModel); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Behave(ctx, id, harness.TargetProperty, harness.FleetCommand{"kind": "ignore"}); err != nil {
		return harness.Outcome{}, err
	}
	a, err := s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(26))
	if err != nil {
		return harness.Outcome{}, err
	}
	if err := s.atHub(ctx, id, 26.0, harness.TargetProperty); err != nil {
		return harness.Outcome{}, err
	}
	version, _, err := s.Desired(ctx, id, "$version")
	if err != nil {
		return harness.Outcome{}, err
	}
	current := int64(version.(float64))
	envelope := func(value any, code any, version any) map[string]any {
		return map[string]any{"value": value, "ac": code, "av": version}
	}
	for i, odd := range []map[string]any{
		{harness.TargetProperty: envelope(26, 200, current-1)},   // of an older declaration
		{harness.TargetProperty: envelope(26, 200, current+100)}, // of none that was ever made
		{harness.TargetProperty: envelope(26, "200", current)},   // a code that is text
		{"undeclared": envelope(1, 200, current)},                // of what nobody declared
	} {
		odd["round"] = i
		if err := s.Report(ctx, id, odd); err != nil {
			return harness.Outcome{}, err
		}
		if err := s.staysOpen(ctx, id, i, a); err != nil {
			return harness.Outcome{}, err
		}
	}
	a.At = time.Now()
	if err := s.Report(ctx, id, map[string]any{harness.TargetProperty: envelope(26, 200, current)}); err != nil {
		return harness.Outcome{}, err
	}
	return s.Acknowledged(ctx, id, "report", a)
}

// staysOpen waits until a report is in status and checks that it has made nothing Ready.
func (s stage) staysOpen(ctx context.Context, id string, round int, a harness.Applied) error {
	if err := s.settled(ctx, id); err != nil {
		return err
	}
	now, _ := s.Look(id)
	if now.Device == nil || now.Device.Generation < a.Generation || harness.IsReady(now.Device) {
		return harness.Missed(fmt.Sprintf("after odd acknowledgement %d", round), "not Ready", harness.DescribeDevice(now.Device))
	}
	return nil
}

// settled waits until the operator has worked off what the device sent: a message sent after it, of
// which status tells, is the connection's end and its return.
func (s stage) settled(ctx context.Context, id string) error {
	for _, state := range []string{"Disconnected", "Connected"} {
		act := func() error { return s.Do(ctx, "stop", id, nil) }
		if state == "Connected" {
			act = func() error { return s.connectIgnoring(ctx, id) }
		}
		if err := act(); err != nil {
			return err
		}
		if _, err := s.Await(ctx, id, state, func(d *v1alpha1.PnPDevice) bool { return d.Status.ConnectionState == state }); err != nil {
			return err
		}
	}
	return nil
}

// connectIgnoring connects a thermostat that leaves its target temperature alone.
func (s stage) connectIgnoring(ctx context.Context, id string) error {
	connectionString, err := s.Hub.ConnectionString(ctx, id)
	if err != nil {
		return err
	}
	return s.Do(ctx, "start", id, harness.FleetCommand{
		"connectionString": connectionString, "model": harness.ThermostatModel, "ca": s.CA,
		"behaviours": map[string]any{harness.TargetProperty: map[string]any{"kind": "ignore"}},
	})
}

func badReports(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.NewDeclared(ctx, id, harness.ThermostatModel, harness.Temperature(21)); err != nil {
		return harness.Outcome{}, err
	}
	large := map[string]any{}
	for i := range 9 {
		large[fmt.Sprint("p", i)] = strings.Repeat("x", 4000)
	}
	for name, patch := range map[string]any{
		"a key with a dot": map[string]any{"a.b": 1}, "a key with a dollar": map[string]any{"$a": 1}, "33 KB": large,
		"an array with a null": map[string]any{"a": []any{nil}}, "a long string": map[string]any{"a": strings.Repeat("x", 4097)},
	} {
		var refused *harness.RefusalError
		if err := s.Report(ctx, id, patch); !errors.As(err, &refused) {
			return harness.Outcome{}, harness.Missed("a report with "+name, "refused by the hub", fmt.Sprint(err))
		}
	}
	return s.Converge(ctx, id, harness.ThermostatModel, harness.Temperature(22))
}

func badTokens(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := errors.Join(s.Create(ctx, id), s.Create(ctx, id+"-2")); err != nil {
		return harness.Outcome{}, err
	}
	mine, err1 := s.Hub.ConnectionString(ctx, id)
	other, err2 := s.Hub.ConnectionString(ctx, id+"-2")
	if err := errors.Join(err1, err2); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.Apply(ctx, id, harness.ThermostatModel, harness.Temperature(21)); err != nil {
		return harness.Outcome{}, err
	}
	began := time.Now()
	for name, connectionString := range map[string]string{
		"another device's key": strings.Replace(other, "DeviceId="+id+"-2", "DeviceId="+id, 1),
		"an unknown device":    strings.Replace(mine, "DeviceId="+id, "DeviceId=nobody", 1),
		"another hub":          strings.Replace(mine, "HostName=", "HostName=other-", 1),
	} {
		var refused *harness.RefusalError
		if err := s.ConnectWith(ctx, id, harness.ThermostatModel, connectionString); !errors.As(err, &refused) || refused.Name != "UnauthorizedError" {
			return harness.Outcome{}, harness.Missed("connecting with "+name, "UnauthorizedError", fmt.Sprint(err))
		}
	}
	if err := s.Hub.SetStatus(ctx, id, false, "under repair"); err != nil {
		return harness.Outcome{}, err
	}
	var refused *harness.RefusalError
	if err := s.Connect(ctx, id, harness.ThermostatModel); !errors.As(err, &refused) || refused.Name != "UnauthorizedError" {
		return harness.Outcome{}, harness.Missed("connecting a disabled device", "UnauthorizedError", fmt.Sprint(err))
	}
	took := time.Since(began)
	now, _ := s.Look(id)
	if now.Device == nil || harness.IsReady(now.Device) || now.Device.Status.ConnectionState == "Connected" {
		return harness.Outcome{}, harness.Missed("status of a device that never connected", "not Ready, not Connected", harness.DescribeDevice(now.Device))
	}
	return harness.Outcome{From: "4 attempts", To: "4 refusals", Took: took}, nil
}

func fifty(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	const count = 50
	ids := make([]string, count)
	for i := range ids {
		ids[i] = fmt.Sprintf("%s-%02d", id, i)
	}
	if err := harness.ForEach(ids, func(id string) error { return s.NewConnected(ctx, id, harness.ControllerModel) }); err != nil {
		return harness.Outcome{}, err
	}
	began := time.Now()
	declared := map[string]map[string]any{"thermostat1": {harness.TargetProperty: 18}, "thermostat2": {harness.TargetProperty: 19}}
	if err := harness.ForEach(ids, func(id string) error {
		_, err := s.Converge(ctx, id, harness.ControllerModel, declared)
		return err
	}); err != nil {
		return harness.Outcome{}, err
	}
	took := time.Since(began)
	return harness.Outcome{From: "apply", To: "all acknowledged", Took: took}, harness.ForEach(ids, func(id string) error { return s.wrote(ctx, id, 1) })
}
