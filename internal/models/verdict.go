// Package models checks what people declare against the DTDL models of their devices.
package models

import "github.com/pnp-operator/pnp-operator/internal/declaration"

// Verdict is what the DeviceModel of a device says to a declaration or a command.
type Verdict = declaration.Conformity
