package controllers

import "github.com/pnp-operator/pnp-operator/internal/command"

// Rows of PnPDevices that are one of several for a device.
var waitRival = register(waitRow{
	kind: "PnPDevice", cause: "Another PnPDevice has the device: DeviceAlreadyDeclared",
	event: "that one goes or moves; its IoTHub goes, moves or is refused", most: retryTerminal,
	proof: "have one writer, which reads what it wins back",
})

// Rows of DeviceCommands.
var (
	_ = register(waitRow{
		kind: "DeviceCommand", cause: "The device is offline: DeviceOffline",
		event: "an event of the device; where no events are read, a read that finds it connected; another hub", most: command.RestOffline,
		proof: "A command that waits for its device",
	})
	_ = register(waitRow{
		kind: "DeviceCommand", cause: "The hub does not know the device, or has disabled it: DeviceNotFound, DeviceDisabled",
		event: "an event of the device; a read that finds it", most: command.RestAbsent, proof: "A command that waits for its device",
	})
	_ = register(waitRow{
		kind: "DeviceCommand", cause: "The hub refused the command for now, or there was no connection: Throttled, HubUnavailable",
		first: command.RestLeast, most: command.RestMost, proof: "A command that the hub refused once",
	})
	waitTurn = register(waitRow{
		kind: "DeviceCommand", cause: "Earlier commands of the device come first, or the hub is given no more at a time: Queued",
		event: "the end of one of them, also if its status is refused", most: placeRetry, proof: "Commands after one whose status the API server refuses",
	})
	waitHolder = register(waitRow{
		kind: "DeviceCommand", cause: "Another PnPDevice has the device: DeviceAlreadyDeclared",
		event: "what has that one lose it", most: retryTerminal, proof: "have one writer, which reads what it wins back",
	})
	waitLook = register(waitRow{
		kind: "DeviceCommand", cause: "The hub would not show the device, whose model matters", event: "a read of the PnPDevice", most: retryLook,
		proof: "TestFactsDecideWhetherACommandIsSent",
	})
	waitLedger = register(waitRow{
		kind: "DeviceCommand", cause: "The record of commands cannot be read, or has no room: LedgerUnreadable, LedgerFull", most: ledgerRetry,
		proof: "that is full holds the commands of its namespace, and no other's",
	})
)

// Rows of DeviceModels.
var (
	waitRepository = register(waitRow{
		kind: "DeviceModel", cause: "Its repository fails: RepositoryUnavailable, ModelNotFound, DigestMismatch",
		event: "an edit; `reconcile-requested-at`", most: fetchRetry, proof: "is asked for again by itself",
	})
	waitOther = register(waitRow{
		kind: "DeviceModel", cause: "Another DeviceModel is not there, or has its modelID: MissingInterfaces, ModelAlreadyDefined",
		event: "a change of any DeviceModel of the namespace", most: otherWithin, proof: "A DeviceModel that waits for another one",
	})
)
