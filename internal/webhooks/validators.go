package webhooks

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/go-logr/logr"
	"k8s.io/apimachinery/pkg/api/equality"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/webhook/admission"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// +kubebuilder:webhookconfiguration:mutating=false,name=pnp-operator
// +kubebuilder:webhook:path=/validate-iot-pnp-operator-io-v1alpha1-pnpdevice,mutating=false,failurePolicy=ignore,matchPolicy=Equivalent,sideEffects=None,timeoutSeconds=3,groups=iot.pnp-operator.io,resources=pnpdevices,verbs=create;update,versions=v1alpha1,name=pnpdevices.iot.pnp-operator.io,admissionReviewVersions=v1,serviceName=pnp-operator-webhook,serviceNamespace=pnp-system
// +kubebuilder:webhook:path=/validate-iot-pnp-operator-io-v1alpha1-devicecommand,mutating=false,failurePolicy=ignore,matchPolicy=Equivalent,sideEffects=None,timeoutSeconds=3,groups=iot.pnp-operator.io,resources=devicecommands,verbs=create,versions=v1alpha1,name=devicecommands.iot.pnp-operator.io,admissionReviewVersions=v1,serviceName=pnp-operator-webhook,serviceNamespace=pnp-system
// +kubebuilder:webhook:path=/validate-iot-pnp-operator-io-v1alpha1-devicemodel,mutating=false,failurePolicy=ignore,matchPolicy=Equivalent,sideEffects=None,timeoutSeconds=3,groups=iot.pnp-operator.io,resources=devicemodels,verbs=create;update,versions=v1alpha1,name=devicemodels.iot.pnp-operator.io,admissionReviewVersions=v1,serviceName=pnp-operator-webhook,serviceNamespace=pnp-system

const (
	// The API server cuts a warning at 256 bytes, and drops all of them beyond 4096.
	maxWarning  = 256
	maxWarnings = 12
)

// deviceValidator checks PnPDevices.
type deviceValidator struct {
	models  *models.Library
	objects client.Reader
}

// ValidateCreate refuses a declaration that the rules of twins or the device's model forbid.
func (v deviceValidator) ValidateCreate(ctx context.Context, device *v1alpha1.PnPDevice) (admission.Warnings, error) {
	hub := &v1alpha1.IoTHub{}
	if err := v.objects.Get(ctx, client.ObjectKey{Namespace: device.Namespace, Name: device.Spec.HubRef.Name}, hub); err != nil {
		hub = nil
	}
	leaves, violations := declaration.Check(&device.Spec, hub)
	if len(violations) == 0 {
		violations = declaration.Unanswerable(&device.Spec, leaves)
	}
	if len(violations) > 0 {
		return nil, denied(violations...)
	}
	verdict, err := v.models.CheckDevice(ctx, device.Namespace, device.ModelID(), leaves)
	warnings, err := conclude(ctx, verdict, err)
	return append(warnings, warningsOf(misread(leaves))...), err
}

// ValidateUpdate looks at changes of the declaration only: an object that was let in can always be labelled, finalized,
// suspended and deleted.
func (v deviceValidator) ValidateUpdate(ctx context.Context, before, device *v1alpha1.PnPDevice) (admission.Warnings, error) {
	switch {
	case !device.DeletionTimestamp.IsZero():
		return nil, nil
	case !equality.Semantic.DeepEqual(declared(before), declared(device)):
		return v.ValidateCreate(ctx, device)
	case before.Spec.ReadyWhen != device.Spec.ReadyWhen:
		return nil, unanswerable(&device.Spec)
	}
	return nil, nil
}

// unanswerable refuses a declaration that waits for an acknowledgement that cannot come.
func unanswerable(spec *v1alpha1.PnPDeviceSpec) error {
	leaves, err := declaration.Of(spec)
	if err != nil {
		return denied(err.Error())
	}
	if violations := declaration.Unanswerable(spec, leaves); len(violations) > 0 {
		return denied(violations...)
	}
	return nil
}

// misread lists names that were on, off or the like before a reader of YAML 1.1 took them for booleans.
func misread(leaves twin.Declaration) []string {
	var found []string
	for _, leaf := range slices.SortedFunc(maps.Keys(leaves), twin.CompareLeaves) {
		if isBoolean(leaf.Component) {
			found = append(found, misreadText(leaf.String(), leaf.Component))
		}
		if isBoolean(leaf.Name) {
			found = append(found, misreadText(leaf.String(), leaf.Name))
		}
		found = append(found, misreadIn(leaf.String(), leaves[leaf])...)
	}
	return found
}

func misreadIn(path string, value any) (found []string) {
	switch value := value.(type) {
	case map[string]any:
		for _, name := range slices.Sorted(maps.Keys(value)) {
			if isBoolean(name) {
				found = append(found, misreadText(path+"."+name, name))
			}
			found = append(found, misreadIn(path+"."+name, value[name])...)
		}
	case []any:
		for i, item := range value {
			found = append(found, misreadIn(fmt.Sprintf("%s[%d]", path, i), item)...)
		}
	}
	return found
}

func isBoolean(name string) bool { return name == "true" || name == "false" }

func misreadText(path, name string) string {
	return fmt.Sprintf("%s has the name %q: if on, off, y or n was meant, quote it in the YAML", path, name)
}

// declared is what of a spec is checked.
func declared(device *v1alpha1.PnPDevice) v1alpha1.PnPDeviceSpec {
	spec := device.Spec
	return v1alpha1.PnPDeviceSpec{
		HubRef: spec.HubRef, ModelID: spec.ModelID, TwinAPI: spec.TwinAPI, Properties: spec.Properties, Components: spec.Components,
	}
}

// ValidateDelete is not called.
func (deviceValidator) ValidateDelete(context.Context, *v1alpha1.PnPDevice) (admission.Warnings, error) {
	return nil, nil
}

// commandValidator checks DeviceCommands. Their spec never changes.
type commandValidator struct {
	models  *models.Library
	objects client.Reader
}

// ValidateCreate refuses a command that the model of its device forbids, and one whose numbers were changed on the way here.
// Its device may come later; then the operator checks.
func (v commandValidator) ValidateCreate(ctx context.Context, command *v1alpha1.DeviceCommand) (admission.Warnings, error) {
	device := &v1alpha1.PnPDevice{}
	err := v.objects.Get(ctx, client.ObjectKey{Namespace: command.Namespace, Name: command.Spec.DeviceRef.Name}, device)
	if client.IgnoreNotFound(err) != nil {
		return conclude(ctx, models.Verdict{}, err)
	}
	isKnown := err == nil
	verdict, err := v.models.CheckCommand(ctx, command.Namespace, device.ModelID(), &command.Spec)
	if !isKnown || verdict.NotReady != "" { // its model may say that a double is meant
		verdict.Rounded = nil
	}
	return conclude(ctx, verdict, err)
}

// ValidateUpdate is not called.
func (commandValidator) ValidateUpdate(context.Context, *v1alpha1.DeviceCommand, *v1alpha1.DeviceCommand) (admission.Warnings, error) {
	return nil, nil
}

// ValidateDelete is not called.
func (commandValidator) ValidateDelete(context.Context, *v1alpha1.DeviceCommand) (admission.Warnings, error) {
	return nil, nil
}

// modelValidator checks DeviceModels.
type modelValidator struct{ models *models.Library }

// ValidateCreate refuses a model that breaks DTDL. What it needs of other DeviceModels may come later.
func (v modelValidator) ValidateCreate(ctx context.Context, model *v1alpha1.DeviceModel) (admission.Warnings, error) {
	violations, warnings, err := v.models.CheckModel(ctx, model)
	if err != nil {
		return admission.Warnings{"not checked at admission, since other models are being parsed; the operator checks it and says so in status"}, nil //nolint:nilerr // the reconciler checks it
	}
	if len(violations) > 0 {
		return nil, denied(violations...)
	}
	return warningsOf(warnings), nil
}

// ValidateUpdate looks at changes of the model only: Enforce and Warn can always be exchanged.
func (v modelValidator) ValidateUpdate(ctx context.Context, before, model *v1alpha1.DeviceModel) (admission.Warnings, error) {
	was, is := before.Spec, model.Spec
	was.Validation = is.Validation
	if !model.DeletionTimestamp.IsZero() || equality.Semantic.DeepEqual(was, is) {
		return nil, nil
	}
	return v.ValidateCreate(ctx, model)
}

// ValidateDelete is not called.
func (modelValidator) ValidateDelete(context.Context, *v1alpha1.DeviceModel) (admission.Warnings, error) {
	return nil, nil
}

// conclude turns a verdict into an answer. Trouble of our own refuses nothing.
func conclude(ctx context.Context, verdict models.Verdict, err error) (admission.Warnings, error) {
	switch {
	case err != nil:
		logOf(ctx).Error(err, "Could not check an object at admission")
		return admission.Warnings{"not checked against its DeviceModel at admission; the operator checks it again"}, nil
	case verdict.NotReady != "":
		return warningsOf([]string{fmt.Sprintf("not checked: DeviceModel %q cannot be used: %s", verdict.Model, verdict.NotReady)}), nil
	case len(verdict.Rounded) > 0:
		return nil, denied(verdict.Rounded...)
	case verdict.Refuses():
		return nil, refusal(verdict)
	}
	return warningsOf(verdict.Violations), nil
}

// refusal says what to do as well where the model is about to change: Flux tries all objects of a
// folder against the cluster before it applies any, so that a model and what needs it never get in
// together.
func refusal(verdict models.Verdict) error {
	return denied(fmt.Sprintf("%s (DeviceModel %q as the cluster has it; if the same commit changes it, have it applied first: keep models in a folder of their own, or change the model one commit earlier)",
		verdict.Text(), verdict.Model))
}

func warningsOf(texts []string) admission.Warnings {
	var warnings admission.Warnings
	for _, text := range texts[:min(len(texts), maxWarnings)] {
		warnings = append(warnings, storable.Text(text, maxWarning))
	}
	return warnings
}

func logOf(ctx context.Context) logr.Logger { return log.FromContext(ctx).WithName("webhooks") }
