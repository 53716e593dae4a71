package reasons

import "github.com/pnp-operator/pnp-operator/api/v1alpha1"

// table has one row per reason. A new reason needs a constant, a row here, and a line in the docs
// page of each kind that the row names: a test says what is missing.
var table = map[string]Row{
	// Of what is as it should be.
	v1alpha1.ReasonDeviceAcknowledged: {Device: Current},
	v1alpha1.ReasonApplied:            {Device: Current},
	v1alpha1.ReasonAuthenticated:      {Hub: Current},
	v1alpha1.ReasonStreaming:          {Hub: Beside},
	v1alpha1.ReasonSucceeded:          {Command: Current},
	v1alpha1.ReasonUsable:             {Model: Current},
	v1alpha1.ReasonConforms:           {Device: Beside},

	// Of what is under way.
	v1alpha1.ReasonProgressing:             {Device: InProgress, Command: InProgress, Model: InProgress, Heals: true},
	v1alpha1.ReasonAwaitingAcknowledgement: {Device: InProgress, Heals: true},
	v1alpha1.ReasonConnecting:              {Hub: Beside, Heals: true},
	v1alpha1.ReasonQueued:                  {Command: InProgress, Heals: true},
	v1alpha1.ReasonRunning:                 {Command: InProgress, Heals: true},
	v1alpha1.ReasonEarlierAttempt:          {Command: InProgress, Heals: true},
	v1alpha1.ReasonRetryingUnknownOutcome:  {Command: InProgress, Heals: true},

	// Of the device.
	v1alpha1.ReasonDeviceOffline:          {Device: Current | InProgress, Command: InProgress, Heals: true},
	v1alpha1.ReasonDeviceDisabled:         {Device: Current | InProgress, Command: InProgress},
	v1alpha1.ReasonDeviceNotFound:         {Device: Failed, Command: InProgress, ReadAgain: true},
	v1alpha1.ReasonTwinTooLarge:           {Device: Failed, Command: InProgress, ReadAgain: true},
	v1alpha1.ReasonAcknowledgementTimeout: {Device: Failed},
	v1alpha1.ReasonRejected:               {Device: Failed},
	v1alpha1.ReasonAdjusted:               {Device: Failed},
	v1alpha1.ReasonDeviceFailed:           {Command: Failed},
	v1alpha1.ReasonOutcomeUnknown:         {Command: Failed},

	// Of what is declared, or asked for.
	v1alpha1.ReasonInvalidDeclaration:    {Device: Failed},
	v1alpha1.ReasonDeviceAlreadyDeclared: {Device: Failed, Command: InProgress},
	v1alpha1.ReasonDrifted:               {Device: Failed},
	v1alpha1.ReasonOwnershipConflict:     {Device: Failed, Fleet: Event},
	v1alpha1.ReasonTwinNotConformant:     {Device: Failed, ReadAgain: true},
	v1alpha1.ReasonInvalidCommand:        {Command: Failed},
	v1alpha1.ReasonExpired:               {Command: Failed},
	v1alpha1.ReasonRecorded:              {Command: Current | Failed},
	v1alpha1.ReasonPnPDeviceNotFound:     {Command: InProgress},
	v1alpha1.ReasonLedgerFull:            {Command: InProgress, Heals: true},
	v1alpha1.ReasonLedgerUnreadable:      {Command: InProgress},
	v1alpha1.ReasonStatusRefused:         {Device: Failed, Hub: Failed, Command: Event, Model: Failed},

	// Of what a person stopped.
	v1alpha1.ReasonSuspended:    {Device: Failed | Beside, Hub: Beside | Event, Command: InProgress},
	v1alpha1.ReasonHubSuspended: {Device: Failed, Command: InProgress},
	v1alpha1.ReasonMassRemoval:  {Device: Failed, Hub: Failed | Beside},
	v1alpha1.ReasonConfirmed:    {Hub: Beside},

	// Of the IoTHub. It tells by Events what all of its objects wait for, and they do not.
	v1alpha1.ReasonHubNotFound: {Device: InProgress, Command: InProgress},
	v1alpha1.ReasonHubNotReady: {Device: InProgress | Failed, Command: InProgress, Heals: true, Warns: Never},

	// Of the hub, and the way to it.
	v1alpha1.ReasonHubUnavailable:   {Device: InProgress, Hub: InProgress, Command: InProgress, Heals: true, Warns: Always, ReadAgain: true},
	v1alpha1.ReasonEntraUnavailable: {Device: InProgress, Hub: InProgress, Command: InProgress, Heals: true, Warns: Always},
	v1alpha1.ReasonThrottled:        {Device: InProgress, Hub: InProgress, Command: InProgress, Heals: true, Warns: Always},
	v1alpha1.ReasonHubSlow:          {Device: InProgress, Hub: InProgress, Command: InProgress, Heals: true},
	v1alpha1.ReasonHubRefused:       {Device: Failed, Hub: Failed, Command: Failed | InProgress, ReadAgain: true},

	// Of its requests and messages.
	v1alpha1.ReasonWaitingForBudget:  {Device: InProgress, Hub: InProgress, Command: InProgress, Heals: true},
	v1alpha1.ReasonDailyMessagesUsed: {Device: InProgress, Hub: InProgress | Beside, Command: InProgress, Heals: true, Warns: Always},
	v1alpha1.ReasonQuotaExceeded:     {Device: InProgress, Hub: InProgress | Beside, Command: InProgress, Heals: true, Warns: Always},
	v1alpha1.ReasonHubThrottles:      {Hub: Beside, Heals: true},
	v1alpha1.ReasonSweepsStopped:     {Hub: Beside, Heals: true},
	v1alpha1.ReasonFollowUpsStopped:  {Hub: Beside, Heals: true},
	v1alpha1.ReasonSweepsFailing:     {Hub: Beside, Heals: true},
	v1alpha1.ReasonDevicesUnreadable: {Hub: Beside},

	// Of the credential.
	v1alpha1.ReasonAccessDenied:            {Hub: Current | InProgress | Beside, Warns: Always},
	v1alpha1.ReasonSecretNotFound:          {Hub: InProgress | Beside, Warns: Always},
	v1alpha1.ReasonSecretKeyNotFound:       {Hub: InProgress | Beside, Warns: Always},
	v1alpha1.ReasonServiceAccountNotFound:  {Hub: Current | InProgress, Warns: Always},
	v1alpha1.ReasonIdentityRefused:         {Hub: Current | Failed, Warns: Always},
	v1alpha1.ReasonInvalidConnectionString: {Hub: Failed | Beside},
	v1alpha1.ReasonHostNameMismatch:        {Hub: Failed},
	v1alpha1.ReasonHostNotAllowed:          {Hub: Failed | Beside},
	v1alpha1.ReasonInvalidEndpoint:         {Hub: Failed | Beside},
	v1alpha1.ReasonUnauthorized:            {Hub: Failed | Beside},

	// Of the event stream.
	v1alpha1.ReasonLagging:               {Hub: Beside, Heals: true},
	v1alpha1.ReasonConsumerGroupTaken:    {Hub: Beside, Heals: true},
	v1alpha1.ReasonConsumerGroupNotFound: {Hub: Beside},
	v1alpha1.ReasonConsumerGroupShared:   {Hub: Beside},
	v1alpha1.ReasonEndpointMoved:         {Hub: Beside},
	v1alpha1.ReasonEventHubBusy:          {Hub: Beside, Heals: true},
	v1alpha1.ReasonEventHubUnavailable:   {Hub: Beside, Heals: true},
	v1alpha1.ReasonCheckpointFailed:      {Hub: Beside, Heals: true},
	v1alpha1.ReasonNoTwinChangeEvents:    {Hub: Beside},

	// Of the model.
	v1alpha1.ReasonModelMismatch:         {Device: Failed, Command: InProgress},
	v1alpha1.ReasonModelViolation:        {Device: Failed | Beside, Command: Failed | Event},
	v1alpha1.ReasonModelNotReady:         {Device: InProgress | Beside, Command: InProgress},
	v1alpha1.ReasonInvalidModel:          {Model: InProgress | Failed},
	v1alpha1.ReasonMissingInterfaces:     {Model: InProgress | Failed},
	v1alpha1.ReasonModelAlreadyDefined:   {Model: InProgress | Failed},
	v1alpha1.ReasonRepositoryNotAllowed:  {Model: Failed},
	v1alpha1.ReasonRepositoryUnavailable: {Model: InProgress, Heals: true},
	v1alpha1.ReasonModelNotFound:         {Model: InProgress},
	v1alpha1.ReasonDigestMismatch:        {Model: InProgress},
	v1alpha1.ReasonSetAside:              {Model: Failed},

	// Of Events alone.
	v1alpha1.ReasonDriftCorrected:   {Device: Event},
	v1alpha1.ReasonReleased:         {Device: Event},
	v1alpha1.ReasonNotCleared:       {Device: Event},
	v1alpha1.ReasonCommandAbandoned: {Device: Event},
	v1alpha1.ReasonResumed:          {Hub: Event},
	v1alpha1.ReasonMessagesLeft:     {Hub: Event},

	// Of the rollout of a fleet.
	v1alpha1.ReasonRolloutStarted:        {Fleet: Event},
	v1alpha1.ReasonBatchPassed:           {Fleet: Event},
	v1alpha1.ReasonRolledOut:             {Fleet: Event},
	v1alpha1.ReasonFailureBudgetExceeded: {Fleet: Event},
	v1alpha1.ReasonApproved:              {Fleet: Event},
	v1alpha1.ReasonApprovalVoid:          {Fleet: Event},
	v1alpha1.ReasonMassLeaving:           {Fleet: Event},
}
