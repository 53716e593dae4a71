package command

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
	"github.com/pnp-operator/pnp-operator/internal/waits"
)

// A session goes with the Secret of its IoTHub while a command is under way, and another one comes:
// what that one's events say of the attempt counts, before the hub answers and afterwards.
func TestAFlightIsHeardByTheSessionAfterAGap(t *testing.T) {
	const s = time.Second
	for name, arrives := range map[string]time.Duration{
		"before the hub answers": 5 * s, "while its events are waited for": 11 * s, "once it rests": 15 * s,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				a := newAirport(t, offline)
				a.flight.command.Spec.ConnectTimeoutSeconds = 10
				sent := time.Now()
				time.AfterFunc(3*s, func() {
					feed := a.feed(session.NewSession(a.hub, "h", ""))
					time.AfterFunc(arrives-3*s, func() {
						feed.Handle(t.Context(), eventstream.Event{
							Kind: eventstream.Telemetry, DeviceID: "d", Partition: "1", OperationTime: sent.Add(4 * s), EnqueuedTime: sent, Telemetry: &eventstream.TelemetryMessage{},
						})
					})
				})
				a.start(a.flight)
				a.Registry.Wait()
				time.Sleep(10 * s)
				if arrives < 12*s {
					a.wantOutcome(v1alpha1.CommandUnknown, v1alpha1.ReasonOutcomeUnknown)
				} else if !a.Registry.IsDoubted(a.flight.key, "r1") {
					t.Error("nobody heard that the device was there")
				}
			})
		})
	}
}

// A command is deleted and created again between two looks at it. The new object does not wait for
// the answer to the call of the former one, which may take minutes.
func TestACommandThatReplacesAnotherDoesNotWaitForItsCall(t *testing.T) {
	for name, test := range map[string]struct {
		object types.UID
		ends   bool
	}{"another object of its name": {"2", true}, "the object that the call is for": {"1", false}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var ended error
				a := newAirport(t, func(ctx context.Context, _ iothub.Invocation) (iothub.CommandAnswer, error) {
					select {
					case <-ctx.Done():
						ended = ctx.Err()
						return iothub.CommandAnswer{}, ended
					case <-time.After(5 * time.Minute):
						return iothub.CommandAnswer{}, nil
					}
				})
				a.start(a.flight)
				synctest.Wait()
				c := a.stored()
				c.UID, c.ResourceVersion = test.object, ""
				r := &DeviceCommandReconciler{Client: a.Client, Flights: a.Flights, retries: backoff.NewLasting(&backoff.Failures{}, waits.APIServer, "")}
				if err := errors.Join(a.Client.Delete(t.Context(), a.stored()), a.Client.Create(t.Context(), c)); err != nil {
					t.Fatal(err)
				}
				if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: a.flight.key}); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				if ends := ended != nil; ends != test.ends {
					t.Errorf("the call ended early: %t, expected %t", ends, test.ends)
				}
				a.Registry.Wait()
			})
		})
	}
}

// A command that waits for a device which never comes back is forgotten once nothing of its name
// can be sent any more.
func TestADeletedCommandThatWaitedIsForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := newAirport(t, offline)
		a.start(a.flight)
		a.Registry.Wait()
		a.wantOutcome("", v1alpha1.ReasonDeviceOffline)
		a.abandon(a.flight.key)
		time.Sleep(2 * time.Hour) // notAfter is an hour away
		synctest.Wait()
		a.abandon(a.flight.key)
		if state := a.Registry.State(a.flight.key); state != command.Idle {
			t.Errorf("%s, though it is gone", state)
		}
	})
}
