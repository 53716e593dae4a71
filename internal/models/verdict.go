// Package models checks what people declare against the DTDL models of their devices.
package models

import "strings"

// Verdict is what the DeviceModel of a device says to a declaration or a command.
type Verdict struct {
	// Model is the name of the DeviceModel, empty if the namespace has none of that modelID: then nothing is checked.
	Model string
	// NotReady says why the DeviceModel cannot be used yet, empty if it can. Then nothing was checked either.
	NotReady string
	// Violations lists what is wrong, one sentence each: path, expected, got. They are sorted.
	Violations []string
	// Warn is true if violations are to be told only, not refused.
	Warn bool
}

// Refuses reports whether the declaration or command must not go through.
func (v Verdict) Refuses() bool { return len(v.Violations) > 0 && !v.Warn }

// Text is all violations in one line.
func (v Verdict) Text() string { return strings.Join(v.Violations, "; ") }
