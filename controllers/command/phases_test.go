package command

import (
	"testing"
	"time"

	"github.com/go-logr/logr"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/internal/halt"
)

func TestAnUnknownAttemptIsRetriedOnlyOnceItCannotRunAnyMore(t *testing.T) {
	// Both time-outs, 60 s, the 15 s of a lease, and a second, as the start is known to a second only.
	const over = (20 + 30 + 60 + 15 + 1) * time.Second
	now := time.Date(2026, 11, 23, 12, 0, 0, 0, time.UTC)
	tests := map[string]struct {
		policy   v1alpha1.UnknownOutcomePolicy
		age      time.Duration // of the claim
		notAfter time.Duration // from now
		reason   string        // "" if the command goes on
		after    time.Duration
	}{
		"Fail never is":             {v1alpha1.UnknownFail, time.Hour, time.Hour, v1alpha1.ReasonOutcomeUnknown, 0},
		"Retry, just claimed":       {v1alpha1.UnknownRetry, 0, time.Hour, v1alpha1.ReasonRetryingUnknownOutcome, over},
		"Retry, a second too early": {v1alpha1.UnknownRetry, over - time.Second, time.Hour, v1alpha1.ReasonRetryingUnknownOutcome, time.Second},
		"Retry, when it is over":    {v1alpha1.UnknownRetry, over, time.Hour, "", 0},
		"Retry, after notAfter":     {v1alpha1.UnknownRetry, over, 0, v1alpha1.ReasonOutcomeUnknown, 0},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			r := &DeviceCommandReconciler{Flights: NewFlights(t.Context(), nil, nil, nil, ledgerInMemory(t), logr.Discard())}
			s := &commandScope{now: now, command: &v1alpha1.DeviceCommand{
				ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{v1alpha1.AnnotationAttempt: "r1"}},
				Spec: v1alpha1.DeviceCommandSpec{
					ConnectTimeoutSeconds: 20, ResponseTimeoutSeconds: 30, OnUnknownOutcome: test.policy, NotAfter: metav1.NewTime(now.Add(test.notAfter)),
				},
				Status: v1alpha1.DeviceCommandStatus{RequestID: "r1", StartTime: &metav1.Time{Time: now.Add(-test.age)}},
			}}
			err := r.settle(t.Context(), s)
			if test.reason == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			h := halt.Of(err)
			if h == nil || h.Reason != test.reason || h.After != test.after {
				t.Fatalf("%+v, want %s after %s", h, test.reason, test.after)
			}
		})
	}
}

// ledgerInMemory is a record of commands over an API server in memory.
func ledgerInMemory(t *testing.T) *ledgerstore.Store {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).Build()
	return ledgerstore.New(t.Context(), c, c, "operator", logr.Discard())
}
