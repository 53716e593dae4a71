// Package controllers wires the reconcilers of IoTHubs, PnPDevices, DeviceCommands and DeviceModels,
// which are in packages of their own below it.
package controllers

import (
	"context"
	"errors"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/manager"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/command"
	"github.com/pnp-operator/pnp-operator/controllers/device"
	"github.com/pnp-operator/pnp-operator/controllers/finish"
	"github.com/pnp-operator/pnp-operator/controllers/hub"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/controllers/metrics"
	"github.com/pnp-operator/pnp-operator/controllers/model"
	"github.com/pnp-operator/pnp-operator/controllers/removals"
	"github.com/pnp-operator/pnp-operator/controllers/triggers"
	"github.com/pnp-operator/pnp-operator/internal/backoff"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/places"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// Options of the controllers.
type Options struct {
	// AllowedHubSuffixes are the hosts that may be sent a token.
	AllowedHubSuffixes []string
	// AllowedEventHubSuffixes are the hosts of event hubs that may be sent a token.
	AllowedEventHubSuffixes []string
	// Namespace of the operator, where it keeps its checkpoints and the record of commands.
	Namespace string
	// StreamTiming of event streams; zero fields have defaults.
	StreamTiming eventstream.Timing
	// EchoWithin is how long the event of a write may take, 0 means session.DefaultEchoWithin.
	EchoWithin time.Duration
	// Concurrency is the number of PnPDevices of one hub, and of DeviceCommands, worked on at a time.
	Concurrency int
	// HubTimeout bounds one call to a hub, 0 means the hub client's default.
	HubTimeout time.Duration
	// Models are what declarations and commands are checked against.
	Models *models.Library
	// Authority of tokens of Microsoft Entra ID.
	Authority hub.Authority
	// Grace is how long a hub may fail before status says so, 0 means DefaultGrace.
	Grace time.Duration
	// ClearWithin is how long a session is kept for clearing, 0 means DefaultClearWithin.
	ClearWithin time.Duration
	// Fence is asked just before a write or a command goes out to a hub; its error keeps it back.
	// Nil: none is kept back.
	Fence func() error
}

// Setup registers all controllers. Sessions with hubs live until the context ends.
func Setup(ctx context.Context, mgr manager.Manager, o Options) error {
	if err := cached.Index(ctx, mgr.GetFieldIndexer()); err != nil {
		return err
	}
	// The look-ups fill the caches of the other kinds in replicas that wait; IoTHubs have none.
	if _, err := mgr.GetCache().GetInformer(ctx, &v1alpha1.IoTHub{}, cache.BlockUntilSynced(false)); err != nil {
		return err
	}
	sessions, wakes, brake := &session.Registry{}, triggers.New(), removals.New()
	objects := client.Reader(mgr.GetClient())
	if err := errors.Join(mgr.Add(metrics.Objects.WhileLeading(&objects)), mgr.Add(metrics.Budgets.WhileLeading(&sessions.Budgets))); err != nil {
		return err
	}
	failures := &backoff.Failures{}
	workers := places.New(device.WorkersOf(o.Concurrency), time.Now)
	brake.Client, brake.Reader = mgr.GetClient(), mgr.GetAPIReader()
	recorder := finish.NewRecorder(mgr.GetEventRecorder("pnp-operator"), mgr.GetScheme())
	log := mgr.GetLogger().WithName("commands")
	record := ledgerstore.New(ctx, mgr.GetClient(), mgr.GetAPIReader(), o.Namespace, log)
	flights := command.NewFlights(ctx, mgr.GetClient(), mgr.GetAPIReader(), recorder, record, log)
	devices := &device.PnPDeviceReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Hubs: sessions, Wakes: wakes, Workers: workers, Brake: brake, Failures: failures, Models: o.Models,
		Commands: flights.Registry, Restored: record.Verify, Concurrency: o.Concurrency, Grace: o.Grace,
	}
	hubs := &hub.IoTHubReconciler{
		Client: mgr.GetClient(), Secrets: mgr.GetAPIReader(), Recorder: recorder, Hubs: sessions, Wakes: wakes, Workers: workers, Brake: brake, Failures: failures,
		Commands: flights.At, Declarations: devices.Declarations, Restored: record.Verify, Namespace: o.Namespace, Authority: o.Authority, ClearWithin: o.ClearWithin,
		AllowedHostSuffixes: o.AllowedHubSuffixes, HubTimeout: o.HubTimeout, Fence: o.Fence,
		AllowedEventHubSuffixes: o.AllowedEventHubSuffixes, StreamTiming: o.StreamTiming, EchoWithin: o.EchoWithin,
	}
	devices.GoneHub = hubs.Gone
	counts := &hub.DeviceCounts{Client: mgr.GetClient(), Recorder: recorder}
	commands := &command.DeviceCommandReconciler{
		Client: mgr.GetClient(), Recorder: recorder, Hubs: sessions, Wakes: wakes, Models: o.Models, Flights: flights, Concurrency: o.Concurrency,
	}
	definitions := &model.DeviceModelReconciler{Client: mgr.GetClient(), Recorder: recorder, Library: o.Models, Wakes: wakes}
	if err := errors.Join(
		hubs.SetupWithManager(ctx, mgr), counts.SetupWithManager(mgr), devices.SetupWithManager(mgr), commands.SetupWithManager(mgr),
		definitions.SetupWithManager(ctx, mgr), mgr.Add(manager.RunnableFunc(flights.Drain)), mgr.Add(record),
	); err != nil {
		return err
	}
	return mgr.Add(manager.RunnableFunc(func(stopping context.Context) error {
		<-stopping.Done()
		if err := devices.ShowUnshown(stopping); err != nil {
			mgr.GetLogger().Error(err, "Not every write is in status; their devices are read after the next start")
		}
		<-ctx.Done()
		sessions.Drain()
		return nil
	}))
}
