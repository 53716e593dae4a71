package finish

import (
	"errors"
	"net/http"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/tools/events"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// RefusedError is a status of which the API server took less, or nothing.
type RefusedError struct {
	// Wait is how long the same is not tried again.
	Wait time.Duration
	Err  error // of the API server
}

// Error names the refusal.
func (e *RefusedError) Error() string { return "the API server refused the status: " + e.Err.Error() }

// Unwrap returns the refusal.
func (e *RefusedError) Unwrap() error { return e.Err }

// IsRefusal reports whether the API server will not take what it was sent however often it is. That
// an object is too large for etcd it says in words alone.
func IsRefusal(err error) bool {
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

// RefusedVerdict is what an object says whose status was refused.
func RefusedVerdict(err error) conditions.Verdict {
	why := storable.Text(err.Error(), maxRefusal)
	if isTooLarge(err.Error()) { // how large differs from try to try
		why = "with it the object would be larger than etcd takes"
	}
	return conditions.Verdict{Stalled: true, Reason: v1alpha1.ReasonStatusRefused, Message: "The API server refused the status, and this shows less of it: " + why}
}

// AnnounceRefusal emits an Event about a status that the API server refused.
func AnnounceRefusal(to events.EventRecorder, o Object, err error) {
	v := RefusedVerdict(err)
	to.Eventf(o, nil, corev1.EventTypeWarning, v.Reason, ActionReconcile, "%s", v.Message)
}

// maxRefusal is what a message quotes of the API server, in bytes.
const maxRefusal = 512
