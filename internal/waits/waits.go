// Package waits is the register of waits: what objects wait for, what ends that at once, and how often they ask
// meanwhile.
package waits

import (
	"time"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// Row is a row of the register of waits: what an object waits for, and what ends that. Whatever
// sleeps, backs off or comes back later takes its time from a row. Operations.md shows the register.
type Row struct {
	// kind of the object, and why it waits.
	kind, cause string
	// event that ends the wait at once; empty: only asking tells.
	event string
	// First and Most bound the time until the object asks again without an event: in between it is as
	// long as the cause has lasted. A wait without First is of one length.
	First, Most time.Duration
	// Each makes the time longer where many wait for one hub: it is as many times this.
	Each time.Duration
	// Shared is true of a trouble that is the hub's: a success of another object there ends the wait.
	// Alike is true where only that of another object does which waited for the same.
	Shared, Alike bool
	// proof is the name of the test, or a text of the spec, that walks the row.
	proof string
}

// add adds a row.
func add(row Row) *Row {
	Register = append(Register, &row)
	return &row
}

// Register is the register, in the order of the rows.
var Register []*Row

// After is when to ask again once a cause has lasted for a time: after as long again, within the
// bounds of the row. A clock that was set back makes that no longer.
func (w *Row) After(lasted time.Duration) time.Duration {
	if w.First == 0 {
		return w.Most
	}
	return min(max(lasted, w.First), w.Most)
}

// Among is the same where so many wait for one hub: together they ask no more often than a few do.
func (w *Row) Among(many int, lasted time.Duration) time.Duration {
	return max(w.After(lasted), time.Duration(many)*w.Each)
}

const (
	// RetryTerminal is how often a failure that a user has to mend is tried again where a try is dear.
	RetryTerminal = convergence.RetryTerminal
	// RetryAbsent is how often a device is looked at that is not the declared one.
	RetryAbsent = convergence.RetryAbsent
	// Soon is the delay of a pass that has to start over with what it just wrote to status.
	Soon = convergence.Soon
)

// SafetyNet is the time beside an event that should come by itself.
const SafetyNet = 30 * time.Second

// Rows of PnPDevices.
var (
	HubFails = add(Row{
		kind: "PnPDevice", cause: "The hub fails: HubUnavailable, Throttled",
		event: "a success of another object at the hub, unless that throttles; an edit; an event of the device; `reconcile-requested-at`",
		First: 500 * time.Millisecond, Most: SafetyNet, Each: 2 * time.Second, Shared: true, proof: "an outage of writes with ten edits in it",
	})
	HubRefuses = add(Row{
		kind: "PnPDevice", cause: "The hub refuses a request: HubRefused",
		event: "an edit; an event of the device; a success of another one that was refused; `reconcile-requested-at`",
		First: 5 * time.Second, Most: SafetyNet, Each: 10 * time.Second, Alike: true, proof: "a write that is refused for a while",
	})
	DeviceAbsent = add(Row{
		kind: "PnPDevice", cause: "The hub does not know the device: DeviceNotFound",
		event: "an event of the device; a sweep that finds it; `reconcile-requested-at`",
		First: 5 * time.Second, Most: SafetyNet, Each: 10 * time.Second, proof: "a device that the hub denies and that reports",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "Its IoTHub is being connected, or not Ready: HubNotReady",
		event: "the IoTHub", Most: SafetyNet, proof: "the IoTHub fails while it is connected",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "The device owes an answer and no events tell of it: AwaitingAcknowledgement",
		event: "the event of the answer; the loss of the stream has the device read", First: session.FirstFollowUp, Most: session.LastFollowUp,
		proof: "the stream dies after a write",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "Something that a person mends, at the hub or in Git: TwinNotConformant, TwinTooLarge, DeviceAlreadyDeclared, a device that is disabled",
		event: "an edit; an event of the device; another PnPDevice or IoTHub", Most: RetryTerminal, proof: "TestWhatMayUnblockAWriteIsUrgent",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "The device has another model: ModelMismatch",
		event: "an event of the device that announces its model", Most: RetryAbsent, proof: "keeps a wrong declaration from the device that announced the model, and lets a mended one through",
	})
	Event = add(Row{
		kind: "PnPDevice", cause: "It fails, and its device does something",
		event: "whatever ends the failure", Most: 2 * time.Second, Each: 2 * time.Second, proof: "a device that the hub denies and that reports",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "The requests of the hub are used up for now: WaitingForBudget",
		event: "its turn; limits that are changed", Most: budget.MaxWait, proof: "TestWaitsEndWithLimits",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "The messages of the day are used up: DailyMessagesUsed, QuotaExceeded",
		event: "limits that are changed, of any IoTHub of the hub; the hub answers again; 00:00 UTC", Most: budget.MaxQuotaWait,
		proof: "the low number of another IoTHub that is deleted",
	})
	_ = add(Row{
		kind: "PnPDevice", cause: "The hub answers slowly: HubSlow",
		event: "its turn", Most: session.LaterLook, proof: "has others wait for nothing, with a hub that does not answer in time",
	})
	Line = add(Row{
		kind: "PnPDevice", cause: "Its model is parsed, after others of its namespace",
		Most: 2 * time.Second, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	LargeTwin = add(Row{
		kind: "PnPDevice", cause: "Another twin of more than 1 MiB is being written",
		Most: 10 * time.Second, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
)

// Rows of all kinds.
var (
	APIServer = add(Row{
		kind: "any", cause: "The API server fails", First: 500 * time.Millisecond, Most: SafetyNet, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	Contended = add(Row{
		kind: "any", cause: "Somebody else wrote the object", event: "an edit", First: 500 * time.Millisecond, Most: 5 * time.Second,
		proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	Cache = add(Row{
		kind: "any", cause: "The cache is behind a write of the operator", event: "the write", Most: 100 * time.Millisecond,
		proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	StatusRefused = add(Row{
		kind: "any", cause: "The API server refuses the status: StatusRefused", event: "an edit",
		First: 10 * time.Second, Most: SafetyNet, Each: 50 * time.Millisecond, proof: "TestAWaitWhoseStatusIsRefusedIsNotTriedAtEachEvent",
	})
)

// Outcome is a row of DeviceCommands.
var Outcome = add(Row{
	kind: "DeviceCommand", cause: "The API server refuses to record its outcome", event: "it is deleted",
	First: 10 * time.Second, Most: 5 * time.Minute, proof: "TestAnOutcomeThatIsRefusedIsOfferedLessAndLess",
})

// Rows of IoTHubs.
var (
	Connect = add(Row{
		kind: "IoTHub", cause: "The hub fails while it is connected: HubUnavailable, EntraUnavailable",
		event: "a success of another IoTHub at the hub; an edit; any annotation", First: 500 * time.Millisecond, Most: SafetyNet, Shared: true,
		proof: "the IoTHub fails while it is connected",
	})
	Credential = add(Row{
		kind: "IoTHub", cause: "The hub, or Microsoft Entra ID, refuses the credential or the call that proves it: Unauthorized, HubRefused, IdentityRefused",
		event: "the Secret; an edit; any annotation", First: 2 * time.Second, Most: SafetyNet, proof: "one refusal of the call that proves a credential",
	})
	Right = add(Row{
		kind: "IoTHub", cause: "A Secret or a ServiceAccount may not be used: AccessDenied",
		event: "an edit", First: time.Second, Most: SafetyNet, proof: "is asked for ever more rarely, without a watch, and without a word more in status",
	})
	_ = add(Row{
		kind: "IoTHub", cause: "The messages of the day stopped the sweep: SweepsStopped",
		event: "limits that are changed; 00:00 UTC", Most: budget.MaxQuotaWait, proof: "sweeps that the day's messages stopped",
	})
	Doubt = add(Row{
		kind: "IoTHub", cause: "The hub refused a call, and is asked whether it takes the credential",
		First: session.AskFirst, Most: session.AskMost, proof: "TestDoubtsThatGoOnAreAskedAboutLessAndLess",
	})
	_ = add(Row{
		kind: "IoTHub", cause: "Another IoTHub has the consumer group: ConsumerGroupShared",
		event: "that one's session, or its stream, ends", Most: session.IdleFor, proof: "a consumer group of an IoTHub that cannot read",
	})
	_ = add(Row{
		kind: "IoTHub", cause: "The event stream breaks off, or is taken: ConsumerGroupTaken, EventHubUnavailable",
		event: "five seconds of reading begin the back-off anew", First: 500 * time.Millisecond, Most: eventstream.DefaultRetry,
		proof: "TestAPauseIsThatOfItsIncident",
	})
	Count = add(Row{
		kind: "IoTHub", cause: "Devices are counted, and what is no trouble any more leaves status",
		event: "a change of trouble", Most: time.Minute, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	Recount = add(Row{
		kind: "IoTHub", cause: "A PnPDevice changed, and those of its IoTHub are counted anew: one count for all that change meanwhile",
		Most: 3 * time.Second, proof: "counts anew seconds after Ready changed (T21)",
	})
	Census = add(Row{
		kind: "IoTHub", cause: "What is halted is counted again after edits", Most: time.Second, proof: "removals that were halted and put back",
	})
	_ = add(Row{
		kind: "IoTHub", cause: "Removals are halted: MassRemoval",
		event: "an edit of a PnPDevice of the IoTHub; `confirm-removals`", Most: time.Minute, proof: "removals that were halted and put back",
	})
)
