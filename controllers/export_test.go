package controllers

import (
	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/controllers/ledgerstore"
)

// LedgerKey is where the text of a shard is in its ConfigMap.
const LedgerKey = ledgerstore.DataKey

// LedgerName is the name of the ConfigMap that has the record of a command.
func LedgerName(c *v1alpha1.DeviceCommand) string {
	return ledgerstore.ConfigMapOf(c)
}
