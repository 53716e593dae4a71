package command

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/log"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/cached"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// A command rests after an attempt that did not reach its device. How long, and what ends that, is
// for package command to say; this file brings it what the API server and the hub know.

// rest leaves a command alone after an attempt that did not reach its device. The ledger is never
// behind; status in the cache may be, or be that of another object.
func (r *DeviceCommandReconciler) rest(_ context.Context, s *commandScope) error {
	key, status := client.ObjectKeyFromObject(s.command), s.command.Status
	if e := s.entry; e != nil && e.Released && r.Flights.restsAfter(key, e.Request) {
		status.RequestID = e.Request
	}
	is := r.Flights.restOf(key, &status)
	if is.Over || isElsewhere(is, s) {
		return nil
	}
	r.Flights.listen(s, is)
	left := is.Left(s.facts(&status, is), s.now)
	switch {
	case left == 0:
		return nil
	case s.isBehind || s.command.Status.RequestID != is.RequestID || claimOf(s.command) != "":
		return halt.Quiet(left)
	}
	return &halt.Error{Verdict: conditions.Verdict{Reason: is.Reason, Message: is.Message}, After: left}
}

// facts returns what is known of the device while a command rests.
func (s *commandScope) facts(status *v1alpha1.DeviceCommandStatus, is command.Rest) command.Facts {
	seen := s.session.Device(s.device.DeviceID()).Sighting()
	return command.Facts{
		Asked: seen.Asked, Connected: seen.Connected, Enabled: seen.Enabled,
		HearsEvents: s.session.HearsEvents(), MayTell: status.DeviceOffline != nil && s.session.MayTellOf(is.Began),
	}
}

// isElsewhere reports whether a rest is about a device of another hub than the one that the command
// would be sent to.
func isElsewhere(is command.Rest, s *commandScope) bool {
	at := is.At.Host
	if offline := s.command.Status.DeviceOffline; at == "" && offline != nil {
		at = iothub.HostOf(offline.Hub)
	}
	return at != "" && at != s.session.HostName()
}

// restsAfter reports whether a command rests after that attempt.
func (f *Flights) restsAfter(key types.NamespacedName, requestID string) bool {
	_, rests := f.Registry.RestOf(key, requestID)
	return rests
}

// restOf returns the rest after the last attempt of a command, by what this process knows, or by
// what is on record.
func (f *Flights) restOf(key types.NamespacedName, status *v1alpha1.DeviceCommandStatus) command.Rest {
	if is, known := f.Registry.RestOf(key, status.RequestID); known {
		return is
	}
	return restOnRecord(status)
}

// restOnRecord returns the rest after an attempt of which this process heard nothing. That its
// device was offline is believed, without hearing its events, after the time that an offline device
// is left alone for.
func restOnRecord(status *v1alpha1.DeviceCommandStatus) command.Rest {
	if status.DeviceOffline == nil || status.StartTime == nil {
		return command.Rest{Over: true}
	}
	began := status.StartTime.Time
	return command.Rest{
		RequestID: status.RequestID, Reason: offlineVerdict.Reason, Message: offlineVerdict.Message, Awaits: command.AwaitsConnection,
		Began: began, Until: began.Add(command.RestOffline),
	}
}

// leaveAlone begins the rest of a command.
func (f *Flights) leaveAlone(one *flight, r result) {
	says := conditions.ReadyOf(one.outcome(r))
	one.slot.Rest(command.Rest{
		RequestID: one.requestID, Record: one.invocation.Key, NotAfter: one.command.Spec.NotAfter.Time,
		Reason: says.Reason, Message: says.Message, Awaits: r.attempt.Awaits(r.meaning),
	})
}

// listen has what the device does end the rest of a command at the session that its IoTHub has now:
// the one that it began at may be gone, or may have been another process's.
func (f *Flights) listen(s *commandScope, is command.Rest) {
	at := s.session.CommandSite(cached.HubKey(s.device))
	if is.At.Host != "" {
		f.Registry.Move(client.ObjectKeyFromObject(s.command), at)
		return
	}
	if _, streams := s.session.Stream(); !streams && s.command.Status.DeviceOffline != nil { // else Resume does it, before the first event
		f.recall(s.command, at)
	}
}

// recall has a command rest by what is on record of it.
func (f *Flights) recall(one *v1alpha1.DeviceCommand, at command.Site) {
	is := restOnRecord(&one.Status)
	is.Record, is.NotAfter, is.At = ledgerstore.InvocationOf(one).Key, one.Spec.NotAfter.Time, at
	f.Registry.Recall(client.ObjectKeyFromObject(one), is, one.Status.DeviceID, windowOf(one.Status.DeviceOffline))
}

// hubCommands are the commands that hear the events of one session.
type hubCommands struct {
	*command.Ear

	flights     *Flights
	at          command.Site
	destination string
}

// At returns the commands that hear the events of a session.
func (f *Flights) At(hub types.NamespacedName, s *session.Session) session.Commands {
	at := s.CommandSite(hub)
	return &hubCommands{f.Registry.At(at), f, at, s.Destination}
}

// Resume has the commands of the hub heard that rest since before its session, and those of which
// it is on record that their devices were offline. Those that cannot be found rest longer.
func (c *hubCommands) Resume(ctx context.Context) {
	c.Ear.Resume()
	if err := c.recall(ctx); err != nil {
		log.FromContext(ctx).Error(err, "Commands for offline devices wait for their timers")
	}
}

func (c *hubCommands) recall(ctx context.Context) error {
	var list v1alpha1.DeviceCommandList
	if err := c.flights.Client.List(ctx, &list, client.InNamespace(c.at.IoTHub.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing commands: %w", err)
	}
	for i := range list.Items {
		one := &list.Items[i]
		offline := one.Status.DeviceOffline
		if one.Finished() || offline == nil || offline.Hub != c.destination || claimOf(one) != "" {
			continue
		}
		device := &v1alpha1.PnPDevice{}
		err := c.flights.Client.Get(ctx, client.ObjectKey{Namespace: one.Namespace, Name: one.Spec.DeviceRef.Name}, device)
		if err != nil || cached.HubKey(device) != c.at.IoTHub {
			continue // should its device be here again, it has not been heard
		}
		c.flights.recall(one, c.at)
	}
	return nil
}

// offlinePeriod puts on record when a device was waited for in vain.
func offlinePeriod(destination string, w command.Window) *v1alpha1.OfflinePeriod {
	p := &v1alpha1.OfflinePeriod{Hub: destination}
	if !w.Until.IsZero() {
		// Whole microseconds are stored. None of the time may be lost.
		p.From = &metav1.MicroTime{Time: w.From.Truncate(time.Microsecond)}
		p.Until = &metav1.MicroTime{Time: w.Until.Add(time.Microsecond - 1).Truncate(time.Microsecond)}
	}
	return p
}

func windowOf(p *v1alpha1.OfflinePeriod) command.Window {
	if p.From == nil || p.Until == nil {
		return command.Window{}
	}
	return command.Window{From: p.From.Time, Until: p.Until.Time}
}
