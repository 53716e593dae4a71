package waits

import (
	"time"

	"github.com/pnp-operator/pnp-operator/internal/command"
)

// Rival is the row of PnPDevices that are one of several for a device.
var Rival = add(Row{
	kind: "PnPDevice", cause: "Another PnPDevice has the device: DeviceAlreadyDeclared",
	event: "that one goes or moves; its IoTHub goes, moves or is refused", Most: RetryTerminal,
	proof: "have one writer, which reads what it wins back",
})

// Rows of DeviceCommands.
var (
	_ = add(Row{
		kind: "DeviceCommand", cause: "The device is offline: DeviceOffline",
		event: "an event of the device; where no events are read, a read that finds it connected; another hub", Most: command.RestOffline,
		proof: "A command that waits for its device",
	})
	_ = add(Row{
		kind: "DeviceCommand", cause: "The hub does not know the device, or has disabled it: DeviceNotFound, DeviceDisabled",
		event: "an event of the device; a read that finds it", Most: command.RestAbsent, proof: "A command that waits for its device",
	})
	_ = add(Row{
		kind: "DeviceCommand", cause: "The hub refused the command for now, or there was no connection: Throttled, HubUnavailable",
		First: command.RestLeast, Most: command.RestMost, proof: "A command that the hub refused once",
	})
	Turn = add(Row{
		kind: "DeviceCommand", cause: "Earlier commands of the device come first, or the hub is given no more at a time: Queued",
		event: "the end of one of them, also if its status is refused", Most: placeRetry, proof: "Commands after one whose status the API server refuses",
	})
	Holder = add(Row{
		kind: "DeviceCommand", cause: "Another PnPDevice has the device: DeviceAlreadyDeclared",
		event: "what has that one lose it", Most: RetryTerminal, proof: "have one writer, which reads what it wins back",
	})
	Look = add(Row{
		kind: "DeviceCommand", cause: "The hub would not show the device, whose model matters", event: "a read of the PnPDevice", Most: retryLook,
		proof: "TestFactsDecideWhetherACommandIsSent",
	})
	Ledger = add(Row{
		kind: "DeviceCommand", cause: "The record of commands cannot be read, or has no room: LedgerUnreadable, LedgerFull", Most: ledgerRetry,
		proof: "that is full holds the commands of its namespace, and no other's",
	})
)

// Rows of DeviceModels.
var (
	Repository = add(Row{
		kind: "DeviceModel", cause: "Its repository fails: RepositoryUnavailable, ModelNotFound, DigestMismatch",
		event: "an edit; `reconcile-requested-at`", Most: fetchRetry, proof: "is asked for again by itself",
	})
	Other = add(Row{
		kind: "DeviceModel", cause: "Another DeviceModel is not there, or has its modelID: MissingInterfaces, ModelAlreadyDefined",
		event: "a change of any DeviceModel of the namespace", Most: otherWithin, proof: "A DeviceModel that waits for another one",
	})
)

// retryLook is how soon a device is looked at again that the hub would not show.
const retryLook = 30 * time.Second

const (
	// placeRetry is how often a command asks for a place that was not offered.
	placeRetry = 10 * time.Second
	// ledgerRetry is how often a command looks whether the ledger has room, or can be read.
	ledgerRetry = 30 * time.Second
)

const (
	// fetchRetry is how often a repository that failed is asked again.
	fetchRetry = 30 * time.Second
	// otherWithin is how long a DeviceModel waits for another one before a person is to look: they are applied one after the
	// other, and a pipeline may give up what is Stalled.
	otherWithin = 5 * time.Minute
)
