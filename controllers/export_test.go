package controllers

import "github.com/pnp-operator/pnp-operator/api/v1alpha1"

// LedgerKey is where the text of a shard is in its ConfigMap.
const LedgerKey = ledgerKey

// LedgerName is the name of the ConfigMap that has the record of a command.
func LedgerName(c *v1alpha1.DeviceCommand) string {
	return shardNameOf(invocationOf(c)).String()
}
