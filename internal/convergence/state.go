package convergence

import (
	"time"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	// Connected is how the hub calls a device that is there, in a twin and in status.
	Connected = "Connected"
	// Disconnected is how it calls the others.
	Disconnected = "Disconnected"
	// Disabled is what status says of a device that the hub lets in no more.
	Disabled = "Disabled"
)

const (
	// RetryTerminal is how often a failure that a user has to mend is tried again where a try is
	// dear.
	RetryTerminal = 10 * time.Minute
	// RetryAbsent is how often a device is looked at that is not the declared one.
	RetryAbsent = 5 * time.Minute
	// Soon is the delay of a pass that has to start over with what was just written to status.
	Soon = time.Millisecond
)

// Facts are what a pass found out beside the twin. Those that move while it is under way, which
// are all that memory has, are found out anew after each call of the hub.
type Facts struct {
	// Device is a copy of the object. Its status is what was said last, and what the pass says in
	// the end.
	Device *v1alpha1.PnPDevice
	// Now is the time of the pass.
	Now time.Time
	// Hub is the IoTHub, nil if it is not known.
	Hub *v1alpha1.IoTHub
	// Destination that the twin is at: the session's, or what status says of a twin that is
	// carried. It is empty if there is no session.
	Destination string
	// Memory is what is known of the device beyond status; nil: the pass has no business with that.
	Memory *twin.Remembered
	// Model returns what the DeviceModel of a device says of its properties, nil if nothing, and
	// how sure that is. It is dear: it is asked when texts differ, and once.
	Model func(modelID string) (*dtdl.Interface, declaration.Conformity)

	// EventsTrusted is true while events tell of all that happens to the device, EventsExpected if
	// they are about to tell of an answer.
	EventsTrusted, EventsExpected bool
	// PresentSince is since when a device did something that the hub calls disconnected, as an
	// answer to OwesWhileOffline; zero: it did nothing.
	PresentSince time.Time
	// FollowUpDue is true if a read is due after a write, as an answer to FollowsUp.
	FollowUpDue bool
	// Resumes is true if an earlier pass read the twin, and had no token to write it.
	Resumes bool
	// IsLeaving is true of an object that is being deleted whose values are to be removed: nothing
	// is declared any more.
	IsLeaving bool
}

// State is one pass over one PnPDevice: its facts, and what was made of them so far.
type State struct {
	Facts

	// Declared is what the object declares; nil: that is not known yet.
	Declared twin.Declaration
	// spelled is the declaration in the words of the spec; Declared has those of the hub where they
	// mean the same.
	spelled twin.Declaration
	lexicon lexicon
	// Entries are what status said of each property at the beginning, less what no longer counts.
	Entries Entries
	// hubBefore is the hub that status was about when the pass began, empty if it was about none.
	hubBefore string
	// base is what status said of the device when the pass began.
	base twin.Recorded
	// recorded is what status recorded as the object's, Owned is what is the object's as of Twin.
	recorded, Owned twin.Ownership
	// sent are the values that status records as about to be sent, or that this pass has it record.
	sent map[twin.Leaf]twin.Sent

	// Twin is what is known of the device now: read in this pass, accepted by the hub in this pass,
	// or believed from status. nil: the pass ended before that was settled, and status keeps what
	// it said.
	Twin *twin.Twin
	// Conformity is what the DeviceModel of the device says to the declaration; nil: it was not
	// asked.
	Conformity *declaration.Conformity
	// Gone is true if the hub does not know the device.
	Gone bool
	// Lost is true if another object has the device, or only others hold the object: nothing is
	// told of the device any more.
	Lost bool
	// WasRead is true once this pass asked the hub and had an answer, if only that there is no such
	// device.
	WasRead bool
	// Written leaves went to the hub in this pass; corrected ones among them had been changed by
	// someone else.
	Written, corrected map[twin.Leaf]bool
	// MustTell is true once the pass corrected or removed something: nobody but status remembers
	// that.
	MustTell bool
	// Conflicts are leaves that are left to another writer for now, with the name of its
	// configuration if known.
	Conflicts map[twin.Leaf]string
	// Claiming is true if this pass only records in status what the next one sends; claimed are the
	// leaves that it adds there.
	Claiming bool
	claimed  []twin.Leaf
	// isAdopted is true if status is about this device at this host; isInherited once it turned out
	// to be about another twin.
	isAdopted, isInherited bool
	// IsUnconfirmed is true once a call failed in a way that leaves open what the hub holds.
	IsUnconfirmed bool
	// Wrote is true once the hub took a write in this pass.
	Wrote bool
	// resent is true once a requested resend went out.
	resent bool
	// isCarried is true of a state that only shows what memory knows: status records the writes of
	// which nobody knows what became of them.
	isCarried bool

	previous v1alpha1.PnPDeviceStatus // what status said when the pass began to describe
	progress progress
	duties   Duties
}

// New returns the state of a pass that begins.
func New(facts Facts) *State {
	status := &facts.Device.Status
	hubBefore := ""
	if status.Twin != nil {
		hubBefore = status.Twin.Hub
	}
	return &State{
		Facts: facts, hubBefore: hubBefore, Entries: EntriesOf(status), sent: SentOf(status),
		Written: map[twin.Leaf]bool{}, corrected: map[twin.Leaf]bool{}, Conflicts: map[twin.Leaf]string{},
	}
}

// Duties are what memory has to be told of, once each.
type Duties struct {
	// Forget is a twin that is another one than writes were made to, nil if there is none.
	Forget *twin.Twin
	// Keep is true if memory is to keep what the object owns: Saved has that.
	Keep  bool
	Saved *twin.Saved
	// Settle is true if what was kept shows what became of every write.
	Settle bool
}

// TakeDuties returns what memory has to be told of since the last time.
func (s *State) TakeDuties() Duties {
	d := s.duties
	s.duties = Duties{}
	return d
}

// Halt ends a pass with what the object is to say.
type Halt struct {
	conditions.Verdict
	// After is when to try again without being woken; 0: only when woken.
	After time.Duration
	// IsUnchanged keeps the conditions as they are, though not what was learned, unless they are
	// about something else by now.
	IsUnchanged bool
	// Because is what the pass that halted could not do.
	Because Cause
}

// Cause is why a pass halts, as far as what follows depends on it.
type Cause int

const (
	// Otherwise means that nothing but the verdict follows.
	Otherwise Cause = iota
	// Dialect means that the digital-twin API has no words for a change, or for what is there.
	Dialect
	// Refusal means that the hub refuses a request for good.
	Refusal
)

func stalled(reason, message string, after time.Duration) *Halt {
	return &Halt{Verdict: conditions.Verdict{Stalled: true, Reason: reason, Message: message}, After: after}
}

func waiting(reason, message string) *Halt {
	return &Halt{Verdict: conditions.Verdict{Reason: reason, Message: message}}
}

func notConformant(message string) *Halt {
	h := stalled(v1alpha1.ReasonTwinNotConformant, message, RetryTerminal)
	h.Because = Dialect
	return h
}

// reading is the twin as this pass read it, false if it did not.
func (s *State) reading() (twin.Read, bool) {
	return twin.Read{Twin: s.Twin}, s.WasRead && s.Twin != nil && !s.Twin.Partial
}

// Dialect is the API that writes go through.
func (s *State) Dialect() twin.Dialect {
	if s.progress.clearsPlainly {
		return twin.DeviceTwin
	}
	return declaration.Dialect(&s.Device.Spec, s.Hub)
}

// Observes reports whether the hub is only looked at.
func (s *State) Observes() bool { return s.Device.Spec.Management == v1alpha1.ManagementObserve }

// IsAdopted reports whether status is about this device at a destination.
func IsAdopted(device *v1alpha1.PnPDevice, destination string) bool {
	t := device.Status.Twin
	return t != nil && t.Hub == destination && IsOfHost(device, t.HostName())
}

// IsOfHost reports whether status is about this device at a host, by whatever endpoint it was
// reached. Its record of the object's values stands, unless a read of the twin speaks against it.
func IsOfHost(device *v1alpha1.PnPDevice, hostName string) bool {
	t := device.Status.Twin
	return t != nil && t.Etag != "" && t.HostName() == hostName && t.DeviceID == device.DeviceID()
}

// readRequested reports whether someone asked for a fresh read that has not been made.
func (s *State) readRequested() bool {
	return IsOpenRequest(s.annotation(v1alpha1.AnnotationReconcileRequestedAt), s.Device.Status.LastHandledReconcileAt)
}

// resendRequested reports whether someone asked to write unanswered values again.
func (s *State) resendRequested() bool {
	return IsOpenRequest(s.annotation(v1alpha1.AnnotationResendRequestedAt), s.Device.Status.LastHandledResendAt) && !s.resent
}

// IsOpenRequest reports whether the value of an annotation asks for something that status does not
// echo yet. An annotation that is taken away asks for nothing: Flux removes those of kubectl.
func IsOpenRequest(asked, handled string) bool { return asked != "" && asked != handled }

// annotation is a request in the object's metadata, as far as status can echo it.
func (s *State) annotation(key string) string { return Echoable(s.Device.Annotations[key]) }

// MaxEcho is what status has of an annotation, in bytes.
const MaxEcho = 256

// Echoable is as much of an annotation as status has room for, on one line.
func Echoable(value string) string { return storable.Text(value, MaxEcho) }
