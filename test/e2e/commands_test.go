package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// reportMethod is the direct method that the command getMaxMinReport of thermostat1 is.
const reportMethod = "thermostat1*getMaxMinReport"

// newController connects a controller and declares it, as commands need.
func (s stage) newController(ctx context.Context, id string) error {
	return s.NewDeclared(ctx, id, harness.ControllerModel, map[string]map[string]any{"thermostat1": {harness.TargetProperty: 20}})
}

// command applies a DeviceCommand of the name of its device. component is empty for the default one.
func (s stage) command(ctx context.Context, id, component, command string) (time.Time, error) {
	manifest, err := json.Marshal(map[string]any{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": "DeviceCommand",
		"metadata": map[string]any{"name": id, "namespace": harness.Namespace},
		"spec": v1alpha1.DeviceCommandSpec{
			DeviceRef: v1alpha1.DeviceReference{Name: id}, Component: component, Command: command, ResponseTimeoutSeconds: 5,
			NotAfter: metav1.NewTime(time.Now().Add(10 * time.Minute)),
		},
	})
	if err != nil {
		return time.Time{}, err
	}
	began := time.Now()
	_, err = s.Kubectl.Output(ctx, string(manifest), "apply", "--server-side", "-f", "-")
	return began, err
}

// awaitCommand waits until a DeviceCommand is Ready or not for a reason.
func (s stage) awaitCommand(ctx context.Context, id, reason string) (*v1alpha1.DeviceCommand, error) {
	c, got := &v1alpha1.DeviceCommand{}, ""
	late := func() error { return harness.Missed("DeviceCommand "+id, reason, got) }
	return c, harness.Poll(ctx, harness.WithinScenario, late, func(ctx context.Context) (bool, error) {
		if err := s.Client.Get(ctx, client.ObjectKey{Namespace: harness.Namespace, Name: id}, c); err != nil {
			return false, err
		}
		ready := apimeta.FindStatusCondition(c.Status.Conditions, v1alpha1.ConditionReady)
		if ready != nil {
			got = ready.Reason + ": " + ready.Message
		}
		return ready != nil && ready.Reason == reason, nil
	})
}

// runCommand applies a command, waits for its end and checks that the device ran it once.
func (s stage) runCommand(ctx context.Context, id, component, command, reason string) (*v1alpha1.DeviceCommand, harness.Outcome, error) {
	began, err := s.command(ctx, id, component, command)
	if err != nil {
		return nil, harness.Outcome{}, err
	}
	c, err := s.awaitCommand(ctx, id, reason)
	if err != nil {
		return nil, harness.Outcome{}, err
	}
	o := harness.Outcome{From: "apply", To: strings.ToLower(string(c.Status.Outcome)), Took: time.Since(began)}
	method := strings.TrimPrefix(component+"*"+command, "*")
	if n := s.RanCommands(id, method); n != 1 {
		err = harness.Missed("how often device "+id+" ran "+method, "1", fmt.Sprint(n))
	}
	return c, o, err
}

func commandSucceeds(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.newController(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	c, o, err := s.runCommand(ctx, id, "thermostat1", "getMaxMinReport", v1alpha1.ReasonSucceeded)
	if err != nil {
		return o, err
	}
	if c.Status.StatusCode == nil || *c.Status.StatusCode != 200 || c.Status.Response == nil || !strings.Contains(string(c.Status.Response.Raw), `"maxTemp"`) {
		err = harness.Missed("the answer in status", "200 and a report", fmt.Sprintf("%v %v", c.Status.StatusCode, c.Status.Response))
	}
	return o, err
}

func commandFails(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.newController(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Do(ctx, "answer", id, harness.FleetCommand{"command": reportMethod, "answer": map[string]any{"status": 503, "payload": "no sensor"}}); err != nil {
		return harness.Outcome{}, err
	}
	c, o, err := s.runCommand(ctx, id, "thermostat1", "getMaxMinReport", v1alpha1.ReasonDeviceFailed)
	if err == nil && (*c.Status.StatusCode != 503 || string(c.Status.Response.Raw) != `"no sensor"`) {
		err = harness.Missed("the answer in status", `503 "no sensor"`, fmt.Sprintf("%d %s", *c.Status.StatusCode, c.Status.Response.Raw))
	}
	return o, err
}

func commandWaits(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.newController(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Do(ctx, "stop", id, nil); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.command(ctx, id, "thermostat1", "getMaxMinReport"); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.awaitCommand(ctx, id, v1alpha1.ReasonDeviceOffline); err != nil {
		return harness.Outcome{}, err
	}
	began := time.Now()
	if err := s.Connect(ctx, id, harness.ControllerModel); err != nil {
		return harness.Outcome{}, err
	}
	if _, err := s.awaitCommand(ctx, id, v1alpha1.ReasonSucceeded); err != nil {
		return harness.Outcome{}, err
	}
	o := harness.Outcome{From: "reconnect", To: "succeeded", Took: time.Since(began)}
	if n := s.RanCommands(id, reportMethod); n != 1 {
		return o, harness.Missed("how often the device ran the command", "1", fmt.Sprint(n))
	}
	return o, nil
}

func commandTimesOut(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.newController(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	if err := s.Do(ctx, "answer", id, harness.FleetCommand{"command": reportMethod, "answer": map[string]any{"silent": true}}); err != nil {
		return harness.Outcome{}, err
	}
	_, o, err := s.runCommand(ctx, id, "thermostat1", "getMaxMinReport", v1alpha1.ReasonOutcomeUnknown)
	return o, err
}

func commandReboots(ctx context.Context, s stage, id string) (harness.Outcome, error) {
	if err := s.newController(ctx, id); err != nil {
		return harness.Outcome{}, err
	}
	_, o, err := s.runCommand(ctx, id, "", "reboot", v1alpha1.ReasonSucceeded)
	if err != nil {
		return o, err
	}
	for _, state := range []string{"Disconnected", "Connected"} {
		if _, err := s.Await(ctx, id, state, func(d *v1alpha1.PnPDevice) bool { return d.Status.ConnectionState == state }); err != nil {
			return o, err
		}
	}
	if n := s.RanCommands(id, "reboot"); n != 1 {
		return o, harness.Missed("how often the device rebooted", "1", fmt.Sprint(n))
	}
	return o, nil
}
