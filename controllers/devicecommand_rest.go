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
	"github.com/pnp-operator/pnp-operator/internal/ledger"
)

const (
	// How long a command rests after an attempt that did not reach its device: offline attempts
	// count as messages of the hub.
	restOffline   = 15 * time.Minute
	restAbsent    = 5 * time.Minute
	restPostponed = 30 * time.Second
	// settleFor is how long a device that has just come back is given to take commands. It connects
	// first and registers for commands later; an attempt in between would be refused while its
	// events arrive, and count as Unknown.
	settleFor = 2 * time.Second
)

// rest is a command that is left alone for a while after an attempt.
type rest struct {
	requestID    string
	invocation   invocation
	began, until time.Time
	over         bool   // the device's events say that it is there, or that it was not
	end          func() // stops listening for its device
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
	if wait := r.Flights.restFor(key, &status, s.session, s.now); wait > 0 {
		return quietly(wait)
	}
	return nil
}

// restsAfter reports whether a command rests after that attempt.
func (f *Flights) restsAfter(key types.NamespacedName, requestID string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	r, known := f.rests[key]
	return known && r.requestID == requestID
}

// restFor is how long a command has to rest yet. While events of the time of its last attempt may
// come, it goes on.
func (f *Flights) restFor(key types.NamespacedName, status *v1alpha1.DeviceCommandStatus, s *hubs.Session, now time.Time) time.Duration {
	f.mu.Lock()
	r, known := f.rests[key]
	f.mu.Unlock()
	if !known || r.requestID != status.RequestID {
		r = restOnRecord(status)
	}
	switch wait := r.until.Sub(now); {
	case r.over:
		return 0
	case wait > 0:
		return wait
	case status.DeviceOffline != nil && s.MayTellOf(r.began):
		return restPostponed
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
	return rest{requestID: status.RequestID, began: began, until: began.Add(restOffline)}
}

// leaveAlone begins the rest of a command. An event may tell of its device before the outcome is
// recorded, which may take long; it ends the rest, so that has begun by then.
func (f *Flights) leaveAlone(one *flight, r result) {
	calls := one.session.Calls()
	now := time.Now()
	resting := rest{requestID: one.requestID, invocation: one.invocation, began: now, until: now.Add(r.rest())}
	if r.waitsForDevice() {
		resting.end = func() { calls.Forget(one.deviceID, one.key) }
	}
	f.mu.Lock()
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

// hearers are called by events of the hub.
func (f *Flights) hearers(key types.NamespacedName, requestID string, calls *hubs.Calls) (back, doubt func()) {
	return func() { f.deviceIsBack(key, requestID) },
		func() { f.doubt(key, suspicion{requestID, func() { calls.Told(key) }}) }
}

// Recall has the commands at an IoTHub listened for of which it is on record that their devices
// were offline at a destination. It is called before the first event is handled.
func (f *Flights) Recall(ctx context.Context, hub types.NamespacedName, destination string, calls *hubs.Calls) error {
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
		f.recall(one, calls)
	}
	return nil
}

func (f *Flights) recall(one *v1alpha1.DeviceCommand, calls *hubs.Calls) {
	key, status := client.ObjectKeyFromObject(one), &one.Status
	f.mu.Lock()
	if f.flying[key] != nil {
		f.mu.Unlock()
		return
	}
	if r, known := f.rests[key]; !known || r.requestID != status.RequestID {
		resting := restOnRecord(status)
		resting.invocation = invocationOf(one)
		resting.end = func() { calls.Forget(status.DeviceID, key) }
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
	return known && r.end != nil && !r.over && !doubted
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

// clear drops what is known of a command that needs it no more.
func (f *Flights) clear(key types.NamespacedName) {
	f.looks.forget(key)
	f.mu.Lock()
	r := f.rests[key]
	delete(f.rests, key)
	delete(f.unsent, key)
	delete(f.failed, key)
	f.mu.Unlock()
	if r.end != nil {
		r.end()
	}
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
