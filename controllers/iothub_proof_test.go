package controllers

import (
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
)

func TestARefusedCredentialIsTriedAgainSoonAndThenLessOften(t *testing.T) {
	p, hub, now := newProofs(t.Context(), nil), types.NamespacedName{Name: "hub"}, time.Now()
	for _, test := range []struct {
		after       time.Duration
		fingerprint string
		want        time.Duration
	}{
		{0, "a", 5 * time.Second}, {5 * time.Second, "a", 5 * time.Second}, {time.Minute, "a", time.Minute}, {time.Hour, "a", 10 * time.Minute},
		{time.Hour, "another key", 5 * time.Second},
	} {
		if got := p.refused(hub, test.fingerprint, now.Add(test.after)); got != test.want || !p.isRefused(hub) {
			t.Errorf("%+v: %s", test, got)
		}
	}
	p.accepted(hub)
	if p.isRefused(hub) {
		t.Error("refused although accepted")
	}
}
