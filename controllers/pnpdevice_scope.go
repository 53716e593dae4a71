package controllers

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/hubs"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	connected    = "Connected"
	disconnected = "Disconnected"
	// disabled is what status says of a device that the hub lets in no more.
	disabled = "Disabled"
)

// scope is one pass over one PnPDevice. Phases fill it in order; summarise turns it into status at the end. A phase
// never writes status itself.
type scope struct {
	device *v1alpha1.PnPDevice
	now    time.Time
	// origin is why the object is reconciled, nil if neither a user nor a start of the operator is the reason.
	origin *origin

	hub *v1alpha1.IoTHub
	// hubGone is true if hub is what the IoTHub was when it went.
	hubGone bool
	session *hubs.Session
	// destination that the twin is at: the session's, or what status says of a twin that is carried.
	destination string
	// memory is the handle on what is known of the device; nil: the pass has no business with that.
	memory *hubs.Pass

	declared twin.Declaration
	// spelled is the declaration in the words of the spec; declared has those of the hub where they
	// mean the same.
	spelled twin.Declaration
	lexicon *lexicon
	entries entries // what status said of each property at the beginning, less what no longer counts
	// hubBefore is the hub that status was about when the pass began, empty if it was about none.
	hubBefore string
	// base is what status said of the device when the pass began.
	base twin.Recorded
	// recorded is what status recorded as the object's, owned is what is the object's as of twin.
	recorded, owned twin.Ownership
	// sent are the values that status records as about to be sent, or that this pass has it record.
	sent map[twin.Leaf]twin.Sent

	// twin is what is known of the device now: read in this pass, accepted by the hub in this pass, or believed from
	// status. nil: the pass ended before that was settled, and status keeps what it said.
	twin *twin.Twin
	// conformity is what the DeviceModel of the device says to the declaration; nil: it was not asked.
	conformity *models.Verdict
	// gone is true if the hub does not know the device.
	gone bool
	// lost is true if another object has the device: nothing is told of it any more.
	lost bool
	// wasRead is true once this pass asked the hub and had an answer, if only that there is no such device.
	wasRead bool
	// written leaves went to the hub in this pass; corrected ones among them had been changed by someone else.
	written, corrected map[twin.Leaf]bool
	// mustTell is true once the pass corrected or removed something: nobody but status remembers that.
	mustTell bool
	// counted are the removals that the brake took note of for this round, and did not know before.
	counted []twin.Leaf
	// conflicts are leaves that are left to another writer for now, with the name of its configuration if known.
	conflicts map[twin.Leaf]string
	// claiming is true if this pass only records in status what the next one sends; claimed are the leaves that it adds there.
	claiming bool
	claimed  []twin.Leaf
	// isAdopted is true if status is about this device at this host; isInherited once it turned out to be about another twin.
	isAdopted, isInherited bool
	// isUnconfirmed is true once a call failed in a way that leaves open what the hub holds.
	isUnconfirmed bool
	// wrote is true once the hub took a write in this pass.
	wrote bool
	// waiting is true if the pass ended for want of a token: what memory holds is for the next one.
	waiting bool
	// inLine is true if the pass ended because as many workers wait for its hub as may: it is called.
	inLine bool
	// holdsLarge is true while the pass is one of those that hold a large twin, see mayHold.
	holdsLarge bool
	// rerendered is true once a patch was rendered anew because the hub found it invalid.
	rerendered bool
	// clearsPlainly has a deletion go through the device twin, where the digital twin cannot be patched.
	clearsPlainly bool
	// resent is true once a requested resend went out.
	resent bool
	// carried is what this pass, which has no session, has status show of the twin that it is
	// about.
	carried *scope
	// isCarried is true of that scope: status records the writes of which nobody knows what became
	// of them.
	isCarried bool
}

func newScope(device *v1alpha1.PnPDevice, now time.Time) *scope {
	hubBefore := ""
	if device.Status.Twin != nil {
		hubBefore = device.Status.Twin.Hub
	}
	return &scope{
		device: device, now: now, hubBefore: hubBefore, entries: entriesOf(&device.Status), sent: sentOf(&device.Status), lexicon: remembering(device),
		written: map[twin.Leaf]bool{}, corrected: map[twin.Leaf]bool{}, conflicts: map[twin.Leaf]string{},
	}
}

// reading is the twin as this pass read it, false if it did not.
func (s *scope) reading() (twin.Read, bool) {
	return twin.Read{Twin: s.twin}, s.wasRead && s.twin != nil && !s.twin.Partial
}

// dialect is the API that writes go through.
func (s *scope) dialect() twin.Dialect {
	if s.clearsPlainly {
		return twin.DeviceTwin
	}
	return declaration.Dialect(&s.device.Spec, s.hub)
}

func (s *scope) observes() bool { return s.device.Spec.Management == v1alpha1.ManagementObserve }

// adopted reports whether status is about this device at this destination.
func adopted(device *v1alpha1.PnPDevice, destination string) bool {
	return isOfHost(device, iothub.HostOf(destination)) && device.Status.Twin.Hub == destination
}

// isOfHost reports whether status is about this device at a host, by whatever endpoint it was
// reached. What it records as the object's is that, unless a read of the twin speaks against it.
func isOfHost(device *v1alpha1.PnPDevice, hostName string) bool {
	t := device.Status.Twin
	return t != nil && t.Etag != "" && iothub.HostOf(t.Hub) == hostName && t.DeviceID == device.DeviceID()
}

// readRequested reports whether someone asked for a fresh read that has not been made.
func (s *scope) readRequested() bool {
	return isOpenRequest(s.annotation(v1alpha1.AnnotationReconcileRequestedAt), s.device.Status.LastHandledReconcileAt)
}

// resendRequested reports whether someone asked to write unanswered values again.
func (s *scope) resendRequested() bool {
	return isOpenRequest(s.annotation(v1alpha1.AnnotationResendRequestedAt), s.device.Status.LastHandledResendAt) && !s.resent
}

// isOpenRequest reports whether the value of an annotation asks for something that status does not
// echo yet. An annotation that is taken away asks for nothing: Flux removes those of kubectl.
func isOpenRequest(asked, handled string) bool { return asked != "" && asked != handled }

// annotation is a request in the object's metadata, as far as status can echo it.
func (s *scope) annotation(key string) string { return echoable(s.device.Annotations[key]) }

// maxEcho is what status has of an annotation, in bytes.
const maxEcho = 256

// echoable is as much of an annotation as status has room for, on one line.
func echoable(value string) string { return storable.Text(value, maxEcho) }
