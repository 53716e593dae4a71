package model

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

func TestADeviceModelWaitsForAnotherOneBeforeItIsStalled(t *testing.T) {
	const reason = v1alpha1.ReasonMissingInterfaces
	now := time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC)
	is := func(kind, reason string, since time.Duration, generation int64) []metav1.Condition {
		return []metav1.Condition{{
			Type: kind, Status: metav1.ConditionTrue, Reason: reason, ObservedGeneration: generation, LastTransitionTime: metav1.NewTime(now.Add(-since)),
		}}
	}
	for name, c := range map[string]struct {
		before []metav1.Condition
		left   time.Duration // 0: Stalled
	}{
		"at first":                         {nil, waits.Other.Most},
		"after a while":                    {is(v1alpha1.ConditionReconciling, reason, time.Minute, 2), waits.Other.Most - time.Minute},
		"after minutes":                    {is(v1alpha1.ConditionReconciling, reason, waits.Other.Most, 2), 0},
		"after hours":                      {is(v1alpha1.ConditionStalled, reason, time.Hour, 2), 0},
		"after it was edited":              {is(v1alpha1.ConditionStalled, reason, time.Hour, 1), waits.Other.Most},
		"after it was parsed for long":     {is(v1alpha1.ConditionReconciling, v1alpha1.ReasonProgressing, time.Hour, 2), waits.Other.Most},
		"after it was invalid, by another": {is(v1alpha1.ConditionStalled, v1alpha1.ReasonInvalidModel, time.Hour, 2), waits.Other.Most},
	} {
		t.Run(name, func(t *testing.T) {
			object := &v1alpha1.DeviceModel{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: v1alpha1.DeviceModelStatus{Conditions: c.before}}
			f := finding{verdict: conditions.Verdict{Stalled: true, Reason: reason}}
			if left := f.waits(object, now); left != c.left || f.verdict.Stalled != (c.left == 0) {
				t.Errorf("waits for %s, stalled %v", left, f.verdict.Stalled)
			}
		})
	}
}
