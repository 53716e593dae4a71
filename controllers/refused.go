package controllers

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// What becomes of a status that the API server refuses: less of it is written, with the reason StatusRefused. Statuses are
// made so that this does not happen; rules that others have for objects may be stricter.

const (
	// maxRefusal is what a message quotes of the API server, in bytes.
	maxRefusal = 512
	// withheldReason is that of a twin.Omitted in a status that was refused whole.
	withheldReason = "StatusRefused"
)

// refusedError is a status of which the API server took less, or nothing.
type refusedError struct {
	// wait is how long the same is not tried again.
	wait time.Duration
	err  error
}

func (e *refusedError) Error() string { return "the API server refused the status: " + e.err.Error() }

func (e *refusedError) Unwrap() error { return e.err }

// isRefusal reports whether the API server will not take what it was sent however often it is. That an object is too large
// for etcd it says in words alone.
func isRefusal(err error) bool {
	refusal, ok := errors.AsType[*apierrors.StatusError](err)
	if !ok {
		return false
	}
	switch refusal.ErrStatus.Code {
	case http.StatusBadRequest, http.StatusForbidden, http.StatusRequestEntityTooLarge, http.StatusUnprocessableEntity:
		return true
	case http.StatusInternalServerError:
		return isTooLarge(refusal.ErrStatus.Message)
	}
	return false
}

func isTooLarge(message string) bool {
	return strings.Contains(message, "request is too large") || strings.Contains(message, "message larger than max")
}

// refusedVerdict is what an object says whose status was refused.
func refusedVerdict(err error) conditions.Verdict {
	why := storable.Text(err.Error(), maxRefusal)
	if isTooLarge(err.Error()) { // how large differs from try to try
		why = "with it the object would be larger than etcd takes"
	}
	return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonStatusRefused, Message: "The API server refused the status, and this shows less of it: " + why}
}

func announceRefusal(to events.EventRecorder, o conditioned, err error) {
	v := refusedVerdict(err)
	to.Eventf(o, nil, corev1.EventTypeWarning, v.Reason, actionReconcile, "%s", v.Message)
}

// statusRefused is why the status of an object is not tried at each event. An edit ends that.
func statusRefused(o client.Object) backoff.Cause {
	return backoff.Cause{Row: waits.StatusRefused, At: backoff.Trouble{Destination: "the API server"}, About: backoff.About(o)}
}

// lessOf makes what is offered in place of a refused status of a device: what facts rest on, or else
// what status said before, with a reason. Memory keeps the rest.
func lessOf(before, device *v1alpha1.PnPDevice, refused error) (all []conditioned) {
	for _, status := range []v1alpha1.PnPDeviceStatus{factsOf(&device.Status), unconfirmedOf(before)} {
		less := device.DeepCopy()
		less.Status = status
		conditions.SetVerdict(less, refusedVerdict(refused))
		all = append(all, less)
	}
	return all
}

// factsOf is a status without the values and texts that devices and tenants gave it.
func factsOf(status *v1alpha1.PnPDeviceStatus) v1alpha1.PnPDeviceStatus {
	less := *status.DeepCopy()
	less.Properties = factsIn(less.Properties, &less.NotShown)
	for i := range less.Components {
		less.Components[i].Properties = factsIn(less.Components[i].Properties, &less.NotShown)
	}
	return less
}

func factsIn(properties []v1alpha1.PropertyStatus, notShown *int32) []v1alpha1.PropertyStatus {
	all := len(properties)
	properties = slices.DeleteFunc(properties, func(p v1alpha1.PropertyStatus) bool { return p.State == convergence.StateOf(twin.StateReported) })
	*notShown += int32(all - len(properties)) //nolint:gosec // bounded by the schema
	for i := range properties {
		p := &properties[i]
		p.AckDescription = ""
		for value, set := range convergence.ValuesOf(p) {
			set(&apiextensionsv1.JSON{Raw: storable.Omit(convergence.FactOf(value), withheldReason)})
		}
	}
	return properties
}

// unconfirmedOf is what status said before, which is not to be believed without a read.
func unconfirmedOf(before *v1alpha1.PnPDevice) v1alpha1.PnPDeviceStatus {
	less := *before.Status.DeepCopy()
	less.ObservedGeneration = before.Generation
	if less.Twin != nil {
		less.Twin.Unconfirmed = true
	}
	return less
}

// withoutAnswer drops what the device said: that a command was sent, and what became of it, has to be on record.
func withoutAnswer(command *v1alpha1.DeviceCommand) {
	status := &command.Status
	status.Response, status.ResponseTruncated = nil, status.ResponseTruncated || status.Response != nil
}
