package hub

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
		{0, "a", 2 * time.Second}, {5 * time.Second, "a", 5 * time.Second}, {time.Hour, "a", 30 * time.Second},
		{time.Hour, "another key", 2 * time.Second},
	} {
		before, refused := p.refusals.Of(hub.String())
		isNew := !refused || before.About != test.fingerprint
		if got, again := p.refused(hub, test.fingerprint, now.Add(test.after)); got != test.want || again == isNew || !p.isRefused(hub) {
			t.Errorf("%+v: %s, again %t", test, got, again)
		}
	}
	p.accepted(hub)
	if p.isRefused(hub) {
		t.Error("refused although accepted")
	}
}
