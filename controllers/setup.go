// Package controllers reconciles IoTHubs and PnPDevices.
package controllers

import (
	"context"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/pnp-operator/pnp-operator/internal/hubs"
)

// Options of the controllers.
type Options struct {
	// AllowedHubSuffixes are the hosts that may be sent a token.
	AllowedHubSuffixes []string
	// Concurrency is the number of PnPDevices worked on at a time.
	Concurrency int
	// HubTimeout bounds one call to a hub, 0 means the hub client's default.
	HubTimeout time.Duration
	// Grace is how long a hub may fail before status says so, 0 means DefaultGrace.
	Grace time.Duration
}

// Setup registers all controllers. Sessions with hubs live until the context ends.
func Setup(ctx context.Context, mgr manager.Manager, o Options) error {
	if err := Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	sessions, wakes, brake, written := &hubs.Registry{}, NewWakes(), NewBrake(), &latest{}
	hub := &IoTHubReconciler{
		Client: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Recorder: mgr.GetEventRecorder("pnp-operator"),
		Hubs: sessions, Wakes: wakes, Brake: brake, latest: written, AllowedHostSuffixes: o.AllowedHubSuffixes, HubTimeout: o.HubTimeout,
	}
	if err := hub.SetupWithManager(ctx, mgr); err != nil {
		return err
	}
	device := &PnPDeviceReconciler{
		Client: mgr.GetClient(), Recorder: mgr.GetEventRecorder("pnp-operator"),
		Hubs: sessions, Wakes: wakes, Brake: brake, latest: written, Concurrency: o.Concurrency, Grace: o.Grace,
	}
	return device.SetupWithManager(mgr)
}
