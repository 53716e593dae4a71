package argocd_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/cli-utils/pkg/kstatus/status"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/integrations/argocd"
)

const message = "what the operator says"

// ready, stalled and reconciling are the conditions of the three verdicts, as controllers.setVerdict writes them.
func ready(reason string) []metav1.Condition {
	return []metav1.Condition{condition(v1alpha1.ConditionReady, metav1.ConditionTrue, reason)}
}

func stalled(reason string) []metav1.Condition {
	return []metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason), condition(v1alpha1.ConditionStalled, metav1.ConditionTrue, reason),
	}
}

func reconciling(reason string) []metav1.Condition {
	return []metav1.Condition{
		condition(v1alpha1.ConditionReady, metav1.ConditionFalse, reason), condition(v1alpha1.ConditionReconciling, metav1.ConditionTrue, reason),
	}
}

func condition(kind string, is metav1.ConditionStatus, reason string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: is, Reason: reason, Message: message, ObservedGeneration: 2}
}

func meta() metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "factory", Name: "one", Generation: 2}
}

func command(outcome v1alpha1.CommandOutcome, conditions []metav1.Condition) *v1alpha1.DeviceCommand {
	return &v1alpha1.DeviceCommand{
		ObjectMeta: meta(), Spec: v1alpha1.DeviceCommandSpec{DeviceRef: v1alpha1.DeviceReference{Name: "d"}, Command: "reboot"},
		Status: v1alpha1.DeviceCommandStatus{ObservedGeneration: 2, Outcome: outcome, Conditions: conditions},
	}
}

// device is a PnPDevice with the details that its controller writes after the verdict.
func device(conditions []metav1.Condition, edits ...func(*v1alpha1.PnPDevice)) *v1alpha1.PnPDevice {
	d := &v1alpha1.PnPDevice{
		ObjectMeta: meta(), Spec: v1alpha1.PnPDeviceSpec{HubRef: v1alpha1.HubReference{Name: "hub"}},
		Status: v1alpha1.PnPDeviceStatus{ObservedGeneration: 2, Conditions: append(conditions,
			condition(v1alpha1.ConditionSynced, conditions[0].Status, conditions[0].Reason), condition(v1alpha1.ConditionAcknowledged, metav1.ConditionFalse, conditions[0].Reason),
		)},
	}
	for _, edit := range edits {
		edit(d)
	}
	return d
}

func model(conditions []metav1.Condition) *v1alpha1.DeviceModel {
	return &v1alpha1.DeviceModel{ObjectMeta: meta(), Status: v1alpha1.DeviceModelStatus{ObservedGeneration: 2, Conditions: conditions}}
}

func hub(conditions []metav1.Condition, edits ...func(*v1alpha1.IoTHub)) *v1alpha1.IoTHub {
	h := &v1alpha1.IoTHub{
		ObjectMeta: meta(), Spec: v1alpha1.IoTHubSpec{HostName: "factory.azure-devices.net"},
		Status: v1alpha1.IoTHubStatus{ObservedGeneration: 2, Conditions: conditions},
	}
	for _, edit := range edits {
		edit(h)
	}
	return h
}

func suspendDevice(d *v1alpha1.PnPDevice) { d.Spec.Suspend = true }
func suspendHub(h *v1alpha1.IoTHub)       { h.Spec.Suspend = true }

type verdicts struct{ Argo, KStatus, Message string }

func TestArgoCDSaysWhatKstatusSays(t *testing.T) {
	const (
		healthy, progressing, degraded, suspended = "Healthy", "Progressing", "Degraded", "Suspended"
		waits                                     = "Waiting for the operator"
	)
	tests := map[string]struct {
		object any
		want   verdicts
	}{
		"a command that nobody has looked at": {
			&v1alpha1.DeviceCommand{ObjectMeta: meta(), Status: v1alpha1.DeviceCommandStatus{ObservedGeneration: -1}},
			verdicts{progressing, "InProgress", waits},
		},
		"a command that is queued":             {command("", reconciling(v1alpha1.ReasonQueued)), verdicts{progressing, "InProgress", message}},
		"a command that runs":                  {command("", reconciling(v1alpha1.ReasonRunning)), verdicts{progressing, "InProgress", message}},
		"a command whose device is offline":    {command("", reconciling(v1alpha1.ReasonDeviceOffline)), verdicts{progressing, "InProgress", message}},
		"a command whose device is suspended":  {command("", reconciling(v1alpha1.ReasonSuspended)), verdicts{progressing, "InProgress", message}},
		"a command whose hub is suspended":     {command("", reconciling(v1alpha1.ReasonHubSuspended)), verdicts{progressing, "InProgress", message}},
		"a command that is retried":            {command("", reconciling(v1alpha1.ReasonRetryingUnknownOutcome)), verdicts{progressing, "InProgress", message}},
		"a command that succeeded":             {command(v1alpha1.CommandSucceeded, ready(v1alpha1.ReasonSucceeded)), verdicts{healthy, "Current", message}},
		"a command that the device refused":    {command(v1alpha1.CommandFailed, stalled(v1alpha1.ReasonDeviceFailed)), verdicts{degraded, "Failed", message}},
		"a command that the hub refused":       {command(v1alpha1.CommandFailed, stalled(v1alpha1.ReasonHubRefused)), verdicts{degraded, "Failed", message}},
		"a command that cannot be sent":        {command(v1alpha1.CommandFailed, stalled(v1alpha1.ReasonInvalidCommand)), verdicts{degraded, "Failed", message}},
		"a command whose outcome is not known": {command(v1alpha1.CommandUnknown, stalled(v1alpha1.ReasonOutcomeUnknown)), verdicts{degraded, "Failed", message}},
		"a command that expired":               {command(v1alpha1.CommandExpired, stalled(v1alpha1.ReasonExpired)), verdicts{degraded, "Failed", message}},

		"a device that nobody has looked at": {
			device(ready(v1alpha1.ReasonApplied), func(d *v1alpha1.PnPDevice) {
				d.Generation, d.Status = 1, v1alpha1.PnPDeviceStatus{ObservedGeneration: -1}
			}), verdicts{progressing, "InProgress", waits},
		},
		"a device that was edited": {
			device(ready(v1alpha1.ReasonApplied), func(d *v1alpha1.PnPDevice) { d.Generation = 3 }), verdicts{progressing, "InProgress", waits},
		},
		"a device that was edited after it stalled": {
			device(stalled(v1alpha1.ReasonRejected), func(d *v1alpha1.PnPDevice) { d.Generation = 3 }), verdicts{progressing, "InProgress", waits},
		},
		"a device that is deleted": {
			device(ready(v1alpha1.ReasonApplied), func(d *v1alpha1.PnPDevice) { d.DeletionTimestamp = &metav1.Time{Time: time.Now()} }),
			verdicts{progressing, "Terminating", "Being deleted"},
		},
		"a device that acknowledged":             {device(ready(v1alpha1.ReasonDeviceAcknowledged)), verdicts{healthy, "Current", message}},
		"a device that need not acknowledge":     {device(ready(v1alpha1.ReasonApplied)), verdicts{healthy, "Current", message}},
		"a device that is written to":            {device(reconciling(v1alpha1.ReasonProgressing)), verdicts{progressing, "InProgress", message}},
		"a device that is offline":               {device(reconciling(v1alpha1.ReasonDeviceOffline)), verdicts{progressing, "InProgress", message}},
		"a device that need not be online":       {device(ready(v1alpha1.ReasonDeviceOffline)), verdicts{healthy, "Current", message}},
		"a device whose hub is missing":          {device(reconciling(v1alpha1.ReasonHubNotFound)), verdicts{progressing, "InProgress", message}},
		"a device that rejected a value":         {device(stalled(v1alpha1.ReasonRejected)), verdicts{degraded, "Failed", message}},
		"a device that drifted":                  {device(stalled(v1alpha1.ReasonDrifted)), verdicts{degraded, "Failed", message}},
		"a device without identity":              {device(stalled(v1alpha1.ReasonDeviceNotFound)), verdicts{degraded, "Failed", message}},
		"a device behind the brake":              {device(stalled(v1alpha1.ReasonMassRemoval)), verdicts{degraded, "Failed", message}},
		"a suspended device with changes":        {device(stalled(v1alpha1.ReasonSuspended), suspendDevice), verdicts{suspended, "Failed", message}},
		"a suspended device without":             {device(ready(v1alpha1.ReasonDeviceAcknowledged), suspendDevice), verdicts{suspended, "Current", message}},
		"a suspended device of someone else":     {device(stalled(v1alpha1.ReasonDeviceAlreadyDeclared), suspendDevice), verdicts{degraded, "Failed", message}},
		"a device with changes, hub suspended":   {device(stalled(v1alpha1.ReasonHubSuspended)), verdicts{suspended, "Failed", message}},
		"a suspended device that is edited":      {device(ready(v1alpha1.ReasonApplied), suspendDevice, func(d *v1alpha1.PnPDevice) { d.Generation = 3 }), verdicts{progressing, "InProgress", waits}},
		"a hub that accepted the credential":     {hub(ready(v1alpha1.ReasonAuthenticated)), verdicts{healthy, "Current", message}},
		"a hub whose Secret is missing":          {hub(reconciling(v1alpha1.ReasonSecretNotFound)), verdicts{progressing, "InProgress", message}},
		"a hub that cannot be reached":           {hub(reconciling(v1alpha1.ReasonHubUnavailable)), verdicts{progressing, "InProgress", message}},
		"a hub that refused the credential":      {hub(stalled(v1alpha1.ReasonUnauthorized)), verdicts{degraded, "Failed", message}},
		"a suspended hub":                        {hub(ready(v1alpha1.ReasonAuthenticated), suspendHub), verdicts{suspended, "Current", message}},
		"a suspended hub that refuses":           {hub(stalled(v1alpha1.ReasonUnauthorized), suspendHub), verdicts{degraded, "Failed", message}},
		"a suspended hub that cannot be reached": {hub(reconciling(v1alpha1.ReasonHubUnavailable), suspendHub), verdicts{progressing, "InProgress", message}},
		"a device that breaks its model":         {device(stalled(v1alpha1.ReasonModelViolation)), verdicts{degraded, "Failed", message}},
		"a device that only a warning is about": {
			device(append(ready(v1alpha1.ReasonApplied), condition(v1alpha1.ConditionConformsToModel, metav1.ConditionFalse, v1alpha1.ReasonModelViolation))),
			verdicts{healthy, "Current", message},
		},
		"a model that is used":          {model(ready(v1alpha1.ReasonUsable)), verdicts{healthy, "Current", message}},
		"a model that breaks DTDL":      {model(stalled(v1alpha1.ReasonInvalidModel)), verdicts{degraded, "Failed", message}},
		"a model that is to be fetched": {model(reconciling(v1alpha1.ReasonRepositoryUnavailable)), verdicts{progressing, "InProgress", message}},
		"a hub whose event stream is not read": {
			hub(append(ready(v1alpha1.ReasonAuthenticated), condition(v1alpha1.ConditionEventStreamReady, metav1.ConditionFalse, v1alpha1.ReasonConsumerGroupTaken))),
			verdicts{healthy, "Current", message},
		},
		"a hub whose removals are halted": {
			hub(append(stalled(v1alpha1.ReasonMassRemoval), condition(v1alpha1.ConditionAuthenticated, metav1.ConditionTrue, v1alpha1.ReasonAuthenticated),
				condition(v1alpha1.ConditionRemovalsHalted, metav1.ConditionTrue, v1alpha1.ReasonMassRemoval))),
			verdicts{degraded, "Failed", message},
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			o := asStored(t, test.object)
			health, err := argocd.HealthOf(o)
			if err != nil {
				t.Fatal(err)
			}
			computed, err := status.Compute(o)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, verdicts{health.Status, computed.Status.String(), health.Message}); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
			if err := argocd.Agree(health.Status, computed.Status.String()); err != nil {
				t.Error(err)
			}
		})
	}
}

// asStored gives an object its kind and the form in which tools read it.
func asStored(t *testing.T, o any) *unstructured.Unstructured {
	t.Helper()
	fields, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		t.Fatal(err)
	}
	u := &unstructured.Unstructured{Object: fields}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(reflect.TypeOf(o).Elem().Name()))
	return u
}
