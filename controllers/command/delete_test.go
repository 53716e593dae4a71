package command

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

// hold has finalizers of others hold the command once it is deleted.
func (f *factory) hold(finalizers ...string) {
	f.t.Helper()
	c := f.stored()
	c.Finalizers = finalizers
	if err := f.api.Update(context.Background(), c); err != nil {
		f.t.Fatal(err)
	}
}

func (f *factory) delete() {
	f.t.Helper()
	if err := f.api.Delete(context.Background(), f.stored()); err != nil {
		f.t.Fatal(err)
	}
}

// says is what the command says of itself.
func (f *factory) says() (outcome v1alpha1.CommandOutcome, message string) {
	c := f.stored()
	return c.Status.Outcome, conditions.ReadyOf(c).Message
}

func TestADeletedCommandThatOthersHoldSaysWhatIsSo(t *testing.T) {
	isHeld := heldCommandText + "example.com/keep"
	unknown := "The command was sent, and nobody can tell whether the device ran it: "
	tests := map[string]struct {
		answer  func(iothub.Invocation) (iothub.CommandAnswer, error)
		retries bool
		// suspended keeps it from being sent at first.
		suspended bool
		crash     crash
		// after which time it is deleted, and looked at
		after, until time.Duration
		outcome      v1alpha1.CommandOutcome
		message      string
		deliveries   int
	}{
		"never sent":                  {okAnswer, false, true, crash{never, false}, time.Minute, time.Minute, "", isHeld, 0},
		"notAfter passes":             {okAnswer, false, true, crash{never, false}, time.Minute, 2 * time.Hour, v1alpha1.CommandExpired, "notAfter passed before the command was sent; last: " + isHeld, 0},
		"answered after the deletion": {slowly(okAnswer), false, false, crash{never, false}, 5 * time.Second, time.Minute, v1alpha1.CommandSucceeded, "The device answered with code 200", 1},
		"unknown after the deletion": {slowly(refusing(500, 500001, "")), true, false, crash{never, false}, 5 * time.Second, 30 * time.Minute,
			v1alpha1.CommandUnknown, unknown, 1},
		"unknown before it": {refusing(500, 500001, ""), true, false, crash{never, false}, 5 * time.Second, 30 * time.Minute, v1alpha1.CommandUnknown, unknown, 1},
		"sent by an operator that died": {okAnswer, true, false, crash{calling, true}, 5 * time.Second, 30 * time.Minute,
			v1alpha1.CommandUnknown, diedText, 1},
		"throttled": {refusing(429, 429001, ""), false, false, crash{never, false}, time.Second, 30 * time.Minute, "", isHeld, 1},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFactory(t, func(spec *v1alpha1.DeviceCommandSpec) {
					if test.retries {
						spec.OnUnknownOutcome = v1alpha1.UnknownRetry
					}
				})
				f.answer = test.answer
				f.hold("example.com/keep", metav1.FinalizerDeleteDependents)
				f.suspend(test.suspended)
				first := f.start(test.crash)
				first.run(test.after)
				f.delete()
				f.suspend(false)
				p := first
				if first.dead.Err() != nil {
					p = f.start(crash{never, false})
				}
				defer first.stop()
				defer p.stop()
				p.run(test.until)
				outcome, message := f.says()
				if outcome != test.outcome || !strings.HasPrefix(message, test.message) || f.deliveries() != test.deliveries {
					t.Errorf("%q: %s, %d deliveries", outcome, message, f.deliveries())
				}
			})
		})
	}
}

// slowly is an answer that takes a while.
func slowly(answer func(iothub.Invocation) (iothub.CommandAnswer, error)) func(iothub.Invocation) (iothub.CommandAnswer, error) {
	return func(i iothub.Invocation) (iothub.CommandAnswer, error) {
		<-time.After(10 * time.Second)
		return answer(i)
	}
}

// suspend suspends the PnPDevice, or ends that.
func (f *factory) suspend(is bool) {
	f.t.Helper()
	device := &v1alpha1.PnPDevice{}
	if err := f.api.Get(context.Background(), client.ObjectKey{Namespace: "factory", Name: "d"}, device); err != nil {
		f.t.Fatal(err)
	}
	device.Spec.Suspend = is
	if err := f.api.Update(context.Background(), device); err != nil {
		f.t.Fatal(err)
	}
}

func TestARetryGoesOnSayingWhyTheOutcomeIsUnknown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFactory(t, func(spec *v1alpha1.DeviceCommandSpec) {
			spec.OnUnknownOutcome, spec.NotAfter = v1alpha1.UnknownRetry, metav1.NewTime(time.Now().Add(time.Minute))
		})
		f.answer = refusing(500, 500001, "")
		p := f.start(crash{never, false})
		p.run(10 * time.Second)
		_, before := f.says()
		p.stop()
		next := f.start(crash{never, false}) // knows it from status alone
		defer next.stop()
		next.run(10 * time.Minute)
		outcome, after := f.says()
		why := "The command was sent, and nobody can tell whether the device ran it: "
		if !strings.HasPrefix(before, why) || !strings.HasSuffix(before, againOnceText) {
			t.Errorf("it waits: %s", before)
		}
		if outcome != v1alpha1.CommandUnknown || after != strings.TrimSuffix(before, againOnceText) {
			t.Errorf("in the end %q: %s", outcome, after)
		}
	})
}
