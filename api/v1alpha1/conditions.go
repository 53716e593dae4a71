package v1alpha1

// Condition types. They follow kstatus: Ready is always present, Reconciling and Stalled only while they are true, and never both.
const (
	// ConditionReady is true if the object is what its spec asks for.
	ConditionReady = "Ready"
	// ConditionReconciling is true if the object is not Ready and the operator, the hub or the device is still expected to act.
	ConditionReconciling = "Reconciling"
	// ConditionStalled is true if nothing more happens until a person acts.
	ConditionStalled = "Stalled"
	// ConditionSynced is true if the twin at the hub holds every declared value.
	ConditionSynced = "Synced"
	// ConditionAcknowledged is true if the device acknowledged every declared value.
	ConditionAcknowledged = "Acknowledged"
	// ConditionAuthenticated is true on an IoTHub if the hub accepted the credential when it was
	// last tried.
	ConditionAuthenticated = "Authenticated"
	// ConditionRemovalsHalted is true on an IoTHub if one sync would remove more properties than the brake allows.
	ConditionRemovalsHalted = "RemovalsHalted"
	// ConditionThrottled is true on an IoTHub while work waits because the hub refuses requests, or messages of the day are used up. It is absent otherwise.
	ConditionThrottled = "Throttled"
	// ConditionSuspended is true on an IoTHub or a PnPDevice while spec.suspend is. It is absent otherwise.
	ConditionSuspended = "Suspended"
	// ConditionSweepsIncomplete is true on an IoTHub while sweeps do not look after all its devices. It is absent otherwise.
	ConditionSweepsIncomplete = "SweepsIncomplete"
	// ConditionConformsToModel is true on a PnPDevice if a DeviceModel of its namespace allows what it declares. It is absent where there is none.
	ConditionConformsToModel = "ConformsToModel"
	// ConditionEventStreamReady is true on an IoTHub if the hub's events are read. It is absent without spec.events.
	ConditionEventStreamReady = "EventStreamReady"
)

// Reasons of the condition EventStreamReady.
const (
	// ReasonStreaming surfaces when events are read.
	ReasonStreaming = "Streaming"
	// ReasonConnecting surfaces until the event stream is open.
	ReasonConnecting = "Connecting"
	// ReasonLagging surfaces when events wait at the hub for longer than a minute, or a
	// stream that was opened has not read them yet.
	ReasonLagging = "Lagging"
	// ReasonConsumerGroupTaken surfaces when another reader took, or keeps, partitions of the consumer group.
	ReasonConsumerGroupTaken = "ConsumerGroupTaken"
	// ReasonConsumerGroupNotFound surfaces when the consumer group does not exist.
	ReasonConsumerGroupNotFound = "ConsumerGroupNotFound"
	// ReasonConsumerGroupShared surfaces when another IoTHub of this cluster reads the same consumer group.
	ReasonConsumerGroupShared = "ConsumerGroupShared"
	// ReasonEndpointMoved surfaces when the event hub of the Secret does not exist: a failover gives the hub another one.
	ReasonEndpointMoved = "EndpointMoved"
	// ReasonEventHubBusy surfaces when the event hub turns the operator away because of its load or limits.
	ReasonEventHubBusy = "EventHubBusy"
	// ReasonEventHubUnavailable surfaces when the event hub cannot be reached.
	ReasonEventHubUnavailable = "EventHubUnavailable"
	// ReasonCheckpointFailed surfaces when the operator cannot read or write its checkpoint.
	ReasonCheckpointFailed = "CheckpointFailed"
	// ReasonNoTwinChangeEvents surfaces when the operator's own writes do not come back as events: no route sends them.
	ReasonNoTwinChangeEvents = "NoTwinChangeEvents"
)

// Reasons of the condition Throttled, beside QuotaExceeded.
const (
	// ReasonHubThrottles surfaces when the hub refuses requests: they are made at half the rate, and less.
	ReasonHubThrottles = "HubThrottles"
	// ReasonSweepsStopped surfaces when 80 percent of spec.requestBudget.dailyMessages are used.
	ReasonSweepsStopped = "SweepsStopped"
	// ReasonFollowUpsStopped surfaces when 90 percent of them are used.
	ReasonFollowUpsStopped = "FollowUpsStopped"
	// ReasonDailyMessagesUsed surfaces when all of them are used; on a PnPDevice and a DeviceCommand if it waits for that.
	ReasonDailyMessagesUsed = "DailyMessagesUsed"
)

// Reasons of Events about an IoTHub alone.
const (
	// ReasonResumed surfaces as an Event when an IoTHub is suspended no more.
	ReasonResumed = "Resumed"
	// ReasonMessagesLeft surfaces as an Event when there are messages of the day again.
	ReasonMessagesLeft = "MessagesLeft"
)

// Reasons of the condition SweepsIncomplete.
const (
	// ReasonDevicesUnreadable surfaces when the twins of some devices cannot be read by query.
	ReasonDevicesUnreadable = "DevicesUnreadable"
	// ReasonSweepsFailing surfaces when two sweeps in a row were ended by an error.
	ReasonSweepsFailing = "SweepsFailing"
)

// Reasons of an IoTHub.
const (
	// ReasonAuthenticated surfaces when the hub accepted the credential.
	ReasonAuthenticated = "Authenticated"
	// ReasonAccessDenied surfaces when the operator may not read the referenced Secret, or make tokens of the ServiceAccount. With Ready=True the right was
	// withdrawn, and the session goes on.
	ReasonAccessDenied = "AccessDenied"
	// ReasonSecretNotFound surfaces when the referenced Secret does not exist.
	ReasonSecretNotFound = "SecretNotFound"
	// ReasonSecretKeyNotFound surfaces when the Secret lacks the referenced key.
	ReasonSecretKeyNotFound = "SecretKeyNotFound"
	// ReasonServiceAccountNotFound surfaces when the ServiceAccount of the workload identity does not exist. With Ready=True it was deleted, and the session
	// goes on until its token expires.
	ReasonServiceAccountNotFound = "ServiceAccountNotFound"
	// ReasonIdentityRefused surfaces when Microsoft Entra ID does not take the ServiceAccount for the workload identity. With Ready=True the session goes on until its token expires.
	ReasonIdentityRefused = "IdentityRefused"
	// ReasonEntraUnavailable surfaces when Microsoft Entra ID, which issues the tokens, cannot be reached or fails; on a PnPDevice only after a grace time.
	ReasonEntraUnavailable = "EntraUnavailable"
	// ReasonInvalidConnectionString surfaces when the connection string cannot be parsed.
	ReasonInvalidConnectionString = "InvalidConnectionString"
	// ReasonHostNameMismatch surfaces when the connection string is for another hub than spec.hostName.
	ReasonHostNameMismatch = "HostNameMismatch"
	// ReasonHostNotAllowed surfaces when the host is outside the operator's --allowed-hub-suffixes, or that of the event hub
	// outside --allowed-event-hub-suffixes.
	ReasonHostNotAllowed = "HostNotAllowed"
	// ReasonInvalidEndpoint surfaces when spec.endpoint or spec.caBundle cannot be used.
	ReasonInvalidEndpoint = "InvalidEndpoint"
	// ReasonUnauthorized surfaces when the hub refuses the credential or its rights.
	ReasonUnauthorized = "Unauthorized"
	// ReasonHubUnavailable surfaces when the hub cannot be reached or fails; on a PnPDevice only after a grace time.
	ReasonHubUnavailable = "HubUnavailable"
	// ReasonHubRefused surfaces when the hub refuses a request for good.
	ReasonHubRefused = "HubRefused"
	// ReasonMassRemoval surfaces when removals are halted until a person confirms them.
	ReasonMassRemoval = "MassRemoval"
	// ReasonConfirmed surfaces on RemovalsHalted=False after a person confirmed the removals.
	ReasonConfirmed = "Confirmed"
)

// Reasons of a PnPDevice.
const (
	// ReasonDeviceAcknowledged surfaces when the device acknowledged every declared value.
	ReasonDeviceAcknowledged = "DeviceAcknowledged"
	// ReasonApplied surfaces when the hub holds every declared value.
	ReasonApplied = "Applied"
	// ReasonProgressing surfaces when declared values are on their way to the hub.
	ReasonProgressing = "Progressing"
	// ReasonAwaitingAcknowledgement surfaces when the device has not answered yet.
	ReasonAwaitingAcknowledgement = "AwaitingAcknowledgement"
	// ReasonDeviceOffline surfaces when the device has not answered and the hub says that it is not
	// connected. With Ready=True the hub holds every declared value, and spec.readyWhen is
	// Reachable.
	ReasonDeviceOffline = "DeviceOffline"
	// ReasonAcknowledgementTimeout surfaces when a connected device stayed silent longer than spec.acknowledgeWithinSeconds.
	ReasonAcknowledgementTimeout = "AcknowledgementTimeout"
	// ReasonRejected surfaces when the device refused a declared value.
	ReasonRejected = "Rejected"
	// ReasonAdjusted surfaces when the device took another value than the declared one.
	ReasonAdjusted = "Adjusted"
	// ReasonDrifted surfaces when the hub differs from the declaration and spec.management is Observe.
	ReasonDrifted = "Drifted"
	// ReasonDriftCorrected surfaces as an Event when a foreign change of a declared value was put back.
	ReasonDriftCorrected = "DriftCorrected"
	// ReasonReleased surfaces as an Event when a removed property was left alone because the hub no longer held our value.
	ReasonReleased = "Released"
	// ReasonOwnershipConflict surfaces when another writer keeps changing a declared value.
	ReasonOwnershipConflict = "OwnershipConflict"
	// ReasonHubNotFound surfaces when the IoTHub of spec.hubRef does not exist.
	ReasonHubNotFound = "HubNotFound"
	// ReasonHubNotReady surfaces when the IoTHub of spec.hubRef is not Ready.
	ReasonHubNotReady = "HubNotReady"
	// ReasonHubSuspended surfaces when the IoTHub is suspended and something would have to be written.
	ReasonHubSuspended = "HubSuspended"
	// ReasonSuspended surfaces when the object is suspended: in Ready if something would have to be written.
	ReasonSuspended = "Suspended"
	// ReasonDeviceNotFound surfaces when the hub does not know the device.
	ReasonDeviceNotFound = "DeviceNotFound"
	// ReasonModelMismatch surfaces when the device announced another model than spec.modelID.
	ReasonModelMismatch = "ModelMismatch"
	// ReasonInvalidDeclaration surfaces when a declared value breaks the twin's own rules.
	ReasonInvalidDeclaration = "InvalidDeclaration"
	// ReasonDeviceAlreadyDeclared surfaces when another PnPDevice declares the same device.
	ReasonDeviceAlreadyDeclared = "DeviceAlreadyDeclared"
	// ReasonTwinNotConformant surfaces when the twin holds something that makes the hub refuse every digital-twin patch.
	ReasonTwinNotConformant = "TwinNotConformant"
	// ReasonWaitingForBudget surfaces when something that has to be done waits for spec.requestBudget of the IoTHub.
	ReasonWaitingForBudget = "WaitingForBudget"
	// ReasonTwinTooLarge surfaces when the device's twin has more than the operator reads: what it reports has to be reduced.
	ReasonTwinTooLarge = "TwinTooLarge"
	// ReasonHubSlow surfaces when the hub takes so long that something that has to be done waits for other requests to it.
	ReasonHubSlow = "HubSlow"
	// ReasonThrottled surfaces when the hub refuses requests because of its throttles.
	ReasonThrottled = "Throttled"
	// ReasonNotCleared surfaces as an Event when deletionPolicy Clear could not be carried out.
	ReasonNotCleared = "NotCleared"
	// ReasonStatusRefused surfaces when the API server refuses the status of the object, which then shows less.
	ReasonStatusRefused = "StatusRefused"
)

// Reasons of a DeviceCommand, beside those of a PnPDevice that it shares.
const (
	// ReasonSucceeded surfaces when the device answered with a code of 200 to 299.
	ReasonSucceeded = "Succeeded"
	// ReasonDeviceFailed surfaces when the device answered with another code.
	ReasonDeviceFailed = "DeviceFailed"
	// ReasonInvalidCommand surfaces when the command cannot be sent as it is.
	ReasonInvalidCommand = "InvalidCommand"
	// ReasonOutcomeUnknown surfaces when the command was sent and nobody can tell whether the device ran it.
	ReasonOutcomeUnknown = "OutcomeUnknown"
	// ReasonExpired surfaces when notAfter passed before the command was sent.
	ReasonExpired = "Expired"
	// ReasonRunning surfaces while the hub is being called.
	ReasonRunning = "Running"
	// ReasonQueued surfaces while other commands are before this one.
	ReasonQueued = "Queued"
	// ReasonRetryingUnknownOutcome surfaces when nobody can tell whether the device ran the command, and it is about to be sent again.
	ReasonRetryingUnknownOutcome = "RetryingUnknownOutcome"
	// ReasonPnPDeviceNotFound surfaces when the PnPDevice of spec.deviceRef does not exist.
	ReasonPnPDeviceNotFound = "PnPDeviceNotFound"
	// ReasonDeviceDisabled surfaces when the hub has the device disabled.
	ReasonDeviceDisabled = "DeviceDisabled"
	// ReasonQuotaExceeded surfaces when the hub's messages of the day are used up.
	ReasonQuotaExceeded = "QuotaExceeded"
	// ReasonRecorded surfaces when an earlier object of the same name and spec has the outcome, and
	// nothing was sent for this one.
	ReasonRecorded = "Recorded"
	// ReasonEarlierAttempt surfaces while an attempt for an earlier object of the same name and
	// spec may still run.
	ReasonEarlierAttempt = "EarlierAttempt"
	// ReasonLedgerFull surfaces when the operator's record of the namespace's commands has no room
	// for another one.
	ReasonLedgerFull = "LedgerFull"
	// ReasonLedgerUnreadable surfaces when the operator's record of the namespace's commands cannot
	// be read.
	ReasonLedgerUnreadable = "LedgerUnreadable"
	// ReasonCommandAbandoned surfaces as an Event when a DeviceCommand was deleted while the hub was being called.
	ReasonCommandAbandoned = "CommandAbandoned"
)

// Reasons of a DeviceModel, and of those who are checked against one.
const (
	// ReasonUsable surfaces when declarations and commands are checked against the model.
	ReasonUsable = "Usable"
	// ReasonInvalidModel surfaces when the model breaks DTDL.
	ReasonInvalidModel = "InvalidModel"
	// ReasonMissingInterfaces surfaces when the model needs interfaces that no DeviceModel of the namespace has.
	ReasonMissingInterfaces = "MissingInterfaces"
	// ReasonModelAlreadyDefined surfaces when an older DeviceModel of the namespace has the same modelID.
	ReasonModelAlreadyDefined = "ModelAlreadyDefined"
	// ReasonRepositoryNotAllowed surfaces when the repository's host is outside the operator's --allowed-model-repositories.
	ReasonRepositoryNotAllowed = "RepositoryNotAllowed"
	// ReasonRepositoryUnavailable surfaces when the repository cannot be reached or fails.
	ReasonRepositoryUnavailable = "RepositoryUnavailable"
	// ReasonModelNotFound surfaces when the repository does not have the model, or what it needs.
	ReasonModelNotFound = "ModelNotFound"
	// ReasonDigestMismatch surfaces when the repository gives another model than the one that was pinned.
	ReasonDigestMismatch = "DigestMismatch"
	// ReasonSetAside surfaces when the operator ended while it parsed the model.
	ReasonSetAside = "SetAside"
	// ReasonConforms surfaces when a declaration is as its DeviceModel has it.
	ReasonConforms = "Conforms"
	// ReasonModelViolation surfaces when a declaration or a command is not as its DeviceModel has it.
	ReasonModelViolation = "ModelViolation"
	// ReasonModelNotReady surfaces when a declaration or a command cannot be checked, because its DeviceModel is not Ready.
	ReasonModelNotReady = "ModelNotReady"
)

// AnnotationAttempt on a DeviceCommand is the request ID of the attempt that was begun last. It is the claim of the one who may send it, written
// before anything is sent: leave it alone.
const AnnotationAttempt = "iot.pnp-operator.io/attempt"

// Annotations are those that the operator reads.
var Annotations = []string{AnnotationAttempt, AnnotationReconcileRequestedAt, AnnotationResendRequestedAt, AnnotationConfirmRemovals}

// Annotations that people and tools set.
const (
	// AnnotationReconcileRequestedAt asks for a fresh read of the hub. Any new value counts; status.lastHandledReconcileAt echoes it.
	// On an IoTHub or a DeviceModel it asks for a new attempt, without an echo.
	AnnotationReconcileRequestedAt = "iot.pnp-operator.io/reconcile-requested-at"
	// AnnotationResendRequestedAt asks to write Applied and Rejected values once more. status.lastHandledResendAt echoes it.
	AnnotationResendRequestedAt = "iot.pnp-operator.io/resend-requested-at"
	// AnnotationConfirmRemovals on an IoTHub lets halted removals go on. Any new value counts; status.lastConfirmedRemovals echoes it.
	AnnotationConfirmRemovals = "iot.pnp-operator.io/confirm-removals"
)

// FinalizerClear keeps a PnPDevice with deletionPolicy Clear until its properties are removed from the twin.
const FinalizerClear = "iot.pnp-operator.io/clear"

// Reasons of Events about a DeviceFleet, beside OwnershipConflict.
const (
	// ReasonRolloutStarted surfaces when the batches of a revision are cut.
	ReasonRolloutStarted = "RolloutStarted"
	// ReasonBatchPassed surfaces when a batch lets the rollout through.
	ReasonBatchPassed = "BatchPassed"
	// ReasonRolledOut surfaces when the last batch does.
	ReasonRolledOut = "RolledOut"
	// ReasonFailureBudgetExceeded surfaces when more members of a batch failed than it allows.
	ReasonFailureBudgetExceeded = "FailureBudgetExceeded"
	// ReasonApproved surfaces when a batch was approved.
	ReasonApproved = "Approved"
	// ReasonApprovalVoid surfaces when an approval is for a batch that waits for none.
	ReasonApprovalVoid = "ApprovalVoid"
	// ReasonMassLeaving surfaces when too many devices leave for what they hold to be removed.
	ReasonMassLeaving = "MassLeaving"
)
