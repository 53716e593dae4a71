package controllers

import (
	"time"

	"github.com/pnp-operator/pnp-operator/internal/budget"
	"github.com/pnp-operator/pnp-operator/internal/convergence"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// waitRow is a row of the register of waits: what an object waits for, and what ends that. Whatever
// sleeps, backs off or comes back later takes its time from a row. Operations.md shows the register.
type waitRow struct {
	// kind of the object, and why it waits.
	kind, cause string
	// event that ends the wait at once; empty: only asking tells.
	event string
	// first and most bound the time until the object asks again without an event: in between it is as
	// long as the cause has lasted. A wait without first is of one length.
	first, most time.Duration
	// each makes the time longer where many wait for one hub: it is as many times this.
	each time.Duration
	// shared is true of a trouble that is the hub's: a success of another object there ends the wait.
	// alike is true where only that of another object does which waited for the same.
	shared, alike bool
	// proof is the name of the test, or a text of the spec, that walks the row.
	proof string
}

// register adds a row.
func register(row waitRow) *waitRow {
	waits = append(waits, &row)
	return &row
}

// waits is the register, in the order of the rows.
var waits []*waitRow

// after is when to ask again once a cause has lasted for a time: after as long again, within the
// bounds of the row. A clock that was set back makes that no longer.
func (w *waitRow) after(lasted time.Duration) time.Duration {
	if w.first == 0 {
		return w.most
	}
	return min(max(lasted, w.first), w.most)
}

// among is the same where so many wait for one hub: together they ask no more often than a few do.
func (w *waitRow) among(many int, lasted time.Duration) time.Duration {
	return max(w.after(lasted), time.Duration(many)*w.each)
}

const (
	// retryTerminal is how often a failure that a user has to mend is tried again where a try is dear.
	retryTerminal = convergence.RetryTerminal
	// retryAbsent is how often a device is looked at that is not the declared one.
	retryAbsent = convergence.RetryAbsent
	// soon is the delay of a pass that has to start over with what it just wrote to status.
	soon = convergence.Soon
)

// safetyNet is the time beside an event that should come by itself.
const safetyNet = 30 * time.Second

// Rows of PnPDevices.
var (
	waitHubFails = register(waitRow{
		kind: "PnPDevice", cause: "The hub fails: HubUnavailable, Throttled",
		event: "a success of another object at the hub, unless that throttles; an edit; an event of the device; `reconcile-requested-at`",
		first: 500 * time.Millisecond, most: safetyNet, each: 2 * time.Second, shared: true, proof: "an outage of writes with ten edits in it",
	})
	waitHubRefuses = register(waitRow{
		kind: "PnPDevice", cause: "The hub refuses a request: HubRefused",
		event: "an edit; an event of the device; a success of another one that was refused; `reconcile-requested-at`",
		first: 5 * time.Second, most: safetyNet, each: 10 * time.Second, alike: true, proof: "a write that is refused for a while",
	})
	waitDeviceAbsent = register(waitRow{
		kind: "PnPDevice", cause: "The hub does not know the device: DeviceNotFound",
		event: "an event of the device; a sweep that finds it; `reconcile-requested-at`",
		first: 5 * time.Second, most: safetyNet, each: 10 * time.Second, proof: "a device that the hub denies and that reports",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "Its IoTHub is being connected, or not Ready: HubNotReady",
		event: "the IoTHub", most: safetyNet, proof: "the IoTHub fails while it is connected",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "The device owes an answer and no events tell of it: AwaitingAcknowledgement",
		event: "the event of the answer; the loss of the stream has the device read", first: session.FirstFollowUp, most: session.LastFollowUp,
		proof: "the stream dies after a write",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "Something that a person mends, at the hub or in Git: TwinNotConformant, TwinTooLarge, DeviceAlreadyDeclared, a device that is disabled",
		event: "an edit; an event of the device; another PnPDevice or IoTHub", most: retryTerminal, proof: "TestWhatMayUnblockAWriteIsUrgent",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "The device has another model: ModelMismatch",
		event: "an event of the device that announces its model", most: retryAbsent, proof: "keeps a wrong declaration from the device that announced the model, and lets a mended one through",
	})
	waitEvent = register(waitRow{
		kind: "PnPDevice", cause: "It fails, and its device does something",
		event: "whatever ends the failure", most: 2 * time.Second, each: 2 * time.Second, proof: "a device that the hub denies and that reports",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "The requests of the hub are used up for now: WaitingForBudget",
		event: "its turn; limits that are changed", most: budget.MaxWait, proof: "TestWaitsEndWithLimits",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "The messages of the day are used up: DailyMessagesUsed, QuotaExceeded",
		event: "limits that are changed, of any IoTHub of the hub; the hub answers again; 00:00 UTC", most: budget.MaxQuotaWait,
		proof: "the low number of another IoTHub that is deleted",
	})
	_ = register(waitRow{
		kind: "PnPDevice", cause: "The hub answers slowly: HubSlow",
		event: "its turn", most: session.LaterLook, proof: "has others wait for nothing, with a hub that does not answer in time",
	})
	waitLine = register(waitRow{
		kind: "PnPDevice", cause: "Its model is parsed, after others of its namespace",
		most: 2 * time.Second, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	waitLarge = register(waitRow{
		kind: "PnPDevice", cause: "Another twin of more than 1 MiB is being written",
		most: 10 * time.Second, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
)

// Rows of all kinds.
var (
	waitAPIServer = register(waitRow{
		kind: "any", cause: "The API server fails", first: 500 * time.Millisecond, most: safetyNet, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	waitContended = register(waitRow{
		kind: "any", cause: "Somebody else wrote the object", event: "an edit", first: 500 * time.Millisecond, most: 5 * time.Second,
		proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	waitCache = register(waitRow{
		kind: "any", cause: "The cache is behind a write of the operator", event: "the write", most: 100 * time.Millisecond,
		proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	waitStatusRefused = register(waitRow{
		kind: "any", cause: "The API server refuses the status: StatusRefused", event: "an edit",
		first: 10 * time.Second, most: safetyNet, each: 50 * time.Millisecond, proof: "TestAWaitWhoseStatusIsRefusedIsNotTriedAtEachEvent",
	})
)

// Rows of DeviceCommands.
var waitOutcome = register(waitRow{
	kind: "DeviceCommand", cause: "The API server refuses to record its outcome", event: "it is deleted",
	first: 10 * time.Second, most: 5 * time.Minute, proof: "TestAnOutcomeThatIsRefusedIsOfferedLessAndLess",
})

// Rows of IoTHubs.
var (
	waitConnect = register(waitRow{
		kind: "IoTHub", cause: "The hub fails while it is connected: HubUnavailable, EntraUnavailable",
		event: "a success of another IoTHub at the hub; an edit; any annotation", first: 500 * time.Millisecond, most: safetyNet, shared: true,
		proof: "the IoTHub fails while it is connected",
	})
	waitCredential = register(waitRow{
		kind: "IoTHub", cause: "The hub, or Microsoft Entra ID, refuses the credential or the call that proves it: Unauthorized, HubRefused, IdentityRefused",
		event: "the Secret; an edit; any annotation", first: 2 * time.Second, most: safetyNet, proof: "one refusal of the call that proves a credential",
	})
	waitRight = register(waitRow{
		kind: "IoTHub", cause: "A Secret or a ServiceAccount may not be used: AccessDenied",
		event: "an edit", first: time.Second, most: safetyNet, proof: "is asked for ever more rarely, without a watch, and without a word more in status",
	})
	_ = register(waitRow{
		kind: "IoTHub", cause: "The messages of the day stopped the sweep: SweepsStopped",
		event: "limits that are changed; 00:00 UTC", most: budget.MaxQuotaWait, proof: "sweeps that the day's messages stopped",
	})
	waitDoubt = register(waitRow{
		kind: "IoTHub", cause: "The hub refused a call, and is asked whether it takes the credential",
		first: session.AskFirst, most: session.AskMost, proof: "TestDoubtsThatGoOnAreAskedAboutLessAndLess",
	})
	_ = register(waitRow{
		kind: "IoTHub", cause: "Another IoTHub has the consumer group: ConsumerGroupShared",
		event: "that one's session, or its stream, ends", most: session.IdleFor, proof: "a consumer group of an IoTHub that cannot read",
	})
	_ = register(waitRow{
		kind: "IoTHub", cause: "The event stream breaks off, or is taken: ConsumerGroupTaken, EventHubUnavailable",
		event: "five seconds of reading begin the back-off anew", first: 500 * time.Millisecond, most: eventstream.DefaultRetry,
		proof: "TestAPauseIsThatOfItsIncident",
	})
	waitCount = register(waitRow{
		kind: "IoTHub", cause: "Devices are counted, and what is no trouble any more leaves status",
		event: "a change of trouble", most: time.Minute, proof: "TestTriesAreAsFarApartAsACauseHasLasted",
	})
	waitRecount = register(waitRow{
		kind: "IoTHub", cause: "A PnPDevice changed, and those of its IoTHub are counted anew: one count for all that change meanwhile",
		most: 3 * time.Second, proof: "counts anew seconds after Ready changed (T21)",
	})
	waitCensus = register(waitRow{
		kind: "IoTHub", cause: "What is halted is counted again after edits", most: time.Second, proof: "removals that were halted and put back",
	})
	_ = register(waitRow{
		kind: "IoTHub", cause: "Removals are halted: MassRemoval",
		event: "an edit of a PnPDevice of the IoTHub; `confirm-removals`", most: time.Minute, proof: "removals that were halted and put back",
	})
)
