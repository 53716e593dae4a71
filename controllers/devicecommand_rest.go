package controllers

import (
	"context"
	"fmt"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/command"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

const (
	// How long a command rests after an attempt that did not reach its device: offline attempts
	// count as messages of the hub.
	restOffline = 15 * time.Minute
	restAbsent  = 5 * time.Minute
	// restLeast and restMost bound the rest of a command that the hub refused for now.
	restLeast = 2 * time.Second
	restMost  = 30 * time.Second
	// settleFor is how long a device that has just come back is given to take commands. It connects
	// first and registers for commands later; an attempt in between would be refused while its
	// events arrive, and count as Unknown.
	settleFor = 2 * time.Second
)

// rest is a command that is left alone for a while after an attempt.
type rest struct {
	requestID    string
	invocation   invocation
	verdict      verdict         // what status says meanwhile
	awaits       command.Awaited // what ends it, beside time
	began, until time.Time
	refused      time.Time  // since when the hub has refused the command for now, zero: it waits for its device
	over         bool       // the device's events say that it is there, or that it was not
	listening    *listening // for its device; nil: nothing that the device does ends it
}

// listening is where the hub's events are listened to for a device. Sessions of the hub that follow each
// other share it, unless there was none for a while.
type listening struct {
	hub         types.NamespacedName
	destination string
	deviceID    string
	calls       *hubs.Calls
}

// endsAt is when a rest ends because of what a read showed of the device, false if it does not. That
// read began after the attempt had ended.
func (r *rest) endsAt(seen hubs.Sighting) (time.Time, bool) {
	isBack := false
	switch r.awaits {
	case command.AwaitsConnection:
		isBack = seen.Connected
	case command.AwaitsEnabling:
		isBack = seen.Enabled
	case command.AwaitsIdentity:
		isBack = true
	case command.AwaitsNothing:
	}
	return seen.Asked.Add(settleFor), isBack && seen.Asked.After(r.began)
}

// suspicion is an attempt that may have reached its device after all.
type suspicion struct {
	requestID string
	told      func() // it is on record
}

// rest leaves a command alone after an attempt that did not reach its device. The ledger is never
// behind; status in the cache may be, or be that of another object.
func (r *DeviceCommandReconciler) rest(_ context.Context, s *commandScope) error {
	key, status := client.ObjectKeyFromObject(s.command), s.command.Status
	if e := s.entry; e != nil && e.Released && r.Flights.restsAfter(key, e.Request) {
		status.RequestID = e.Request
	}
	is := r.Flights.restOf(key, &status)
	if is.over || is.isElsewhere(s) {
		return nil
	}
	r.Flights.listen(s, &is)
	left := is.left(&status, s.session, s.session.Device(s.device.DeviceID()).Sighting(), s.now)
	switch {
	case left == 0:
		return nil
	case s.isBehind || s.command.Status.RequestID != is.requestID || claimOf(s.command) != "":
		return quietly(left)
	}
	return &halt{verdict: is.verdict, after: left}
}

// isElsewhere reports whether a rest is about a device of another hub than the one that the command
// would be sent to.
func (r *rest) isElsewhere(s *commandScope) bool {
	at := ""
	if r.listening != nil {
		at = r.listening.destination
	} else if offline := s.command.Status.DeviceOffline; offline != nil {
		at = offline.Hub
	}
	return at != "" && iothub.HostOf(at) != s.session.HostName()
}

// restsAfter reports whether a command rests after that attempt.
func (f *Flights) restsAfter(key types.NamespacedName, requestID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, known := f.rests[key]
	return known && r.requestID == requestID
}

// restOf is the rest after the last attempt of a command, by what this process knows, or by what is on
// record.
func (f *Flights) restOf(key types.NamespacedName, status *v1alpha1.DeviceCommandStatus) rest {
	f.mu.Lock()
	defer f.mu.Unlock()
	if r, known := f.rests[key]; known && r.requestID == status.RequestID {
		return r
	}
	return restOnRecord(status)
}

// left is how long a command has to rest yet. While events of the time of its last attempt may come, it
// goes on. A read that shows that the device is back ends it where no events tell.
func (r *rest) left(status *v1alpha1.DeviceCommandStatus, s *hubs.Session, seen hubs.Sighting, now time.Time) time.Duration {
	wait := r.until.Sub(now)
	at, isBack := r.endsAt(seen)
	mayHaveRun := r.awaits == command.AwaitsConnection
	switch {
	case r.over:
		return 0
	case isBack && (!mayHaveRun || !s.HearsEvents()):
		return max(0, min(wait, at.Sub(now)))
	case wait > 0:
		return wait
	case status.DeviceOffline != nil && s.MayTellOf(r.began):
		return waitRefused.most
	}
	return 0
}

// restOnRecord is the rest after an attempt of which this process heard nothing. That its device
// was offline is believed, without hearing its events, after the time that an offline device is
// left alone for.
func restOnRecord(status *v1alpha1.DeviceCommandStatus) rest {
	if status.DeviceOffline == nil || status.StartTime == nil {
		return rest{over: true}
	}
	began := status.StartTime.Time
	return rest{requestID: status.RequestID, verdict: offlineVerdict, awaits: command.AwaitsConnection, began: began, until: began.Add(waitOffline.most)}
}

// leaveAlone begins the rest of a command. An event may tell of its device before the outcome is
// recorded, which may take long; it ends the rest, so that has begun by then.
func (f *Flights) leaveAlone(one *flight, r result) {
	calls := one.session.Calls()
	now := time.Now()
	says := readyOf(one.outcome(r))
	resting := rest{requestID: one.requestID, invocation: one.invocation, verdict: verdict{reason: says.Reason, message: says.Message}, awaits: r.awaits(), began: now}
	if r.waitsForDevice() {
		resting.until = now.Add(r.rest())
		resting.listening = &listening{hub: one.hub, destination: one.destination, deviceID: one.deviceID, calls: calls}
	}
	f.mu.Lock()
	if !r.waitsForDevice() {
		before := f.rests[one.key]
		resting.refused = before.refusedSince(now)
		resting.until = now.Add(waitRefused.after(now.Sub(resting.refused)))
	}
	f.rests[one.key] = resting
	f.mu.Unlock()
	if !r.waitsForDevice() {
		return
	}
	back, doubt := f.hearers(one.key, one.requestID, calls)
	if r.meaning != command.Undelivered { // the hub says for certain that it did not ask the device
		doubt = nil
	}
	calls.Await(one.deviceID, one.key, back, doubt)
}

// refusedSince is since when the hub has refused a command for now, given the rest before. Once that has
// been over for a while, it is another incident.
func (r *rest) refusedSince(now time.Time) time.Time {
	if r.refused.IsZero() || now.Sub(r.until) > waitRefused.most {
		return now
	}
	return r.refused
}

// hearers are called by events of the hub.
func (f *Flights) hearers(key types.NamespacedName, requestID string, calls *hubs.Calls) (back, doubt func()) {
	return func() { f.deviceIsBack(key, requestID) },
		func() { f.doubt(key, suspicion{requestID, func() { calls.Told(key) }}) }
}

// listen has what the device does end the rest of a command at the session that its IoTHub has now: the
// one that it began at may be gone, or may have been another process's.
func (f *Flights) listen(s *commandScope, is *rest) {
	key, hub := client.ObjectKeyFromObject(s.command), hubKey(s.device)
	if is.listening != nil {
		f.move(key, listening{hub, s.session.Destination, is.listening.deviceID, s.session.Calls()})
		return
	}
	if _, streams := s.session.Stream(); !streams && s.command.Status.DeviceOffline != nil { // else Recall does it, before the first event
		f.recall(s.command, hub, s.session.Destination, s.session.Calls())
	}
}

// move has a resting command listened for somewhere else.
func (f *Flights) move(key types.NamespacedName, to listening) {
	f.mu.Lock()
	r, from := f.rests[key], (*hubs.Calls)(nil)
	if r.listening != nil {
		from = r.listening.calls
		r.listening = &to
		f.rests[key] = r
	}
	f.mu.Unlock()
	if from != nil && from != to.calls {
		_, doubt := f.hearers(key, r.requestID, to.calls)
		from.MoveTo(to.calls, to.deviceID, key, doubt)
	}
}

// Recall has the commands at an IoTHub listened for that rest since before its session, and those of
// which it is on record that their devices were offline. It is called before the first event is handled.
func (f *Flights) Recall(ctx context.Context, hub types.NamespacedName, destination string, calls *hubs.Calls) error {
	f.moveAll(hub, destination, calls)
	var list v1alpha1.DeviceCommandList
	if err := f.Client.List(ctx, &list, client.InNamespace(hub.Namespace), client.UnsafeDisableDeepCopy); err != nil {
		return fmt.Errorf("listing commands: %w", err)
	}
	for i := range list.Items {
		one := &list.Items[i]
		offline := one.Status.DeviceOffline
		if one.Finished() || offline == nil || offline.Hub != destination || claimOf(one) != "" {
			continue
		}
		device := &v1alpha1.PnPDevice{}
		err := f.Client.Get(ctx, client.ObjectKey{Namespace: one.Namespace, Name: one.Spec.DeviceRef.Name}, device)
		if err != nil || hubKey(device) != hub {
			continue // should its device be here again, it has not been heard
		}
		f.recall(one, hub, destination, calls)
	}
	return nil
}

// moveAll has those commands listened for at a new session of their IoTHub that rest in memory, and
// those of objects that are gone: what they did may yet be told.
func (f *Flights) moveAll(hub types.NamespacedName, destination string, calls *hubs.Calls) {
	f.mu.Lock()
	moving := map[types.NamespacedName]listening{}
	for key, r := range f.rests {
		if at := r.listening; at != nil && at.hub == hub && iothub.HostOf(at.destination) == iothub.HostOf(destination) {
			moving[key] = listening{hub, destination, at.deviceID, calls}
		}
	}
	f.mu.Unlock()
	for key, to := range moving {
		f.move(key, to)
	}
}

func (f *Flights) recall(one *v1alpha1.DeviceCommand, hub types.NamespacedName, destination string, calls *hubs.Calls) {
	key, status := client.ObjectKeyFromObject(one), &one.Status
	f.mu.Lock()
	if f.flying[key] != nil {
		f.mu.Unlock()
		return
	}
	if r, known := f.rests[key]; !known || r.requestID != status.RequestID {
		resting := restOnRecord(status)
		resting.invocation = invocationOf(one)
		resting.listening = &listening{hub, destination, status.DeviceID, calls}
		f.rests[key] = resting
	}
	f.mu.Unlock()
	back, doubt := f.hearers(key, status.RequestID, calls)
	calls.Recall(status.DeviceID, key, windowOf(status.DeviceOffline), back, doubt)
}

// deviceIsBack ends the rest of a command whose device did something. It does not wait: events of
// the hub call it.
func (f *Flights) deviceIsBack(key types.NamespacedName, requestID string) {
	time.AfterFunc(settleFor, func() {
		f.mu.Lock()
		if r, ok := f.rests[key]; ok && r.requestID == requestID {
			r.over = true
			f.rests[key] = r
		}
		f.mu.Unlock()
		f.look(key)
	})
}

// doubt notes that the device was there while it was sent a command that the hub said it had not
// been given. Events of the hub call it.
func (f *Flights) doubt(key types.NamespacedName, s suspicion) {
	f.mu.Lock()
	f.doubts[key] = s
	f.mu.Unlock()
	f.look(key)
}

// isDoubted reports whether an attempt that was released may have reached its device.
func (f *Flights) isDoubted(key types.NamespacedName, requestID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return requestID != "" && f.doubts[key].requestID == requestID
}

// keepsListening reports whether an object that is gone left an attempt whose device may yet tell
// that it was there. If it has, the ledger has it.
func (f *Flights) keepsListening(key types.NamespacedName) bool {
	f.mu.Lock()
	r, known := f.rests[key]
	doubted := known && f.doubts[key].requestID == r.requestID
	f.mu.Unlock()
	if doubted {
		f.Ledger.ConcludeLater(r.invocation, ledger.Entry{
			Request: r.requestID, NotAfter: time.Now(), Outcome: &ledger.Outcome{Outcome: v1alpha1.CommandUnknown, Message: doubtText, At: time.Now()},
		})
	}
	return known && r.listening != nil && !r.over && !doubted
}

// told drops a doubt that is on record, or that does not matter any more.
func (f *Flights) told(key types.NamespacedName) {
	f.mu.Lock()
	s, doubted := f.doubts[key]
	delete(f.doubts, key)
	f.mu.Unlock()
	if doubted {
		s.told()
	}
}

// stopListening has nothing that the device does matter any more.
func (r *rest) stopListening(key types.NamespacedName) {
	if r.listening != nil {
		r.listening.calls.Forget(r.listening.deviceID, key)
	}
}

// clear drops what is known of a command that needs it no more.
func (f *Flights) clear(key types.NamespacedName) {
	f.looks.forget(key)
	f.mu.Lock()
	r := f.rests[key]
	delete(f.rests, key)
	delete(f.unsent, key)
	delete(f.failed, key)
	delete(f.ended, key)
	f.mu.Unlock()
	r.stopListening(key)
	f.told(key)
}

// offlinePeriod puts on record when a device was waited for in vain.
func offlinePeriod(destination string, w hubs.Window) *v1alpha1.OfflinePeriod {
	p := &v1alpha1.OfflinePeriod{Hub: destination}
	if !w.Until.IsZero() {
		// Whole microseconds are stored. None of the time may be lost.
		p.From = &metav1.MicroTime{Time: w.From.Truncate(time.Microsecond)}
		p.Until = &metav1.MicroTime{Time: w.Until.Add(time.Microsecond - 1).Truncate(time.Microsecond)}
	}
	return p
}

func windowOf(p *v1alpha1.OfflinePeriod) hubs.Window {
	if p.From == nil || p.Until == nil {
		return hubs.Window{}
	}
	return hubs.Window{From: p.From.Time, Until: p.Until.Time}
}
