package declaration

import (
	"slices"
	"strings"
)

// Conformity is what the DeviceModel of a device says to a declaration or a command.
type Conformity struct {
	// Model is the name of the DeviceModel, empty if the namespace has none of that modelID: then
	// nothing is checked.
	Model string
	// NotReady says why the DeviceModel cannot be used yet, empty if it can. Then nothing was
	// checked either.
	NotReady string
	// Of says what was asked: the modelID alone if the namespace has no DeviceModel of it, else
	// with the object and its generation.
	Of string
	// Violations lists what is wrong, one sentence each: path, expected, got. They are sorted.
	Violations []string
	// Warn is true if violations are to be told only, not refused.
	Warn bool
	// Rounded lists integers that Kubernetes cannot have kept as they were written, one sentence
	// each. They are refused whatever the model says, and without one.
	Rounded []string
}

// Refuses reports whether the declaration or command must not go through.
func (v Conformity) Refuses() bool {
	return len(v.Rounded) > 0 || len(v.Violations) > 0 && !v.Warn
}

// IsCoveredBy reports whether an earlier answer, whose Of was kept, is about the same model and
// content. While there was no DeviceModel anything was allowed: one that is there now and cannot be
// used takes nothing back.
func (v Conformity) IsCoveredBy(earlier string) bool {
	modelID, _, _ := strings.Cut(v.Of, " ")
	return earlier == v.Of || earlier == modelID
}

// Text is all violations in one line.
func (v Conformity) Text() string {
	return strings.Join(append(slices.Clip(v.Rounded), v.Violations...), "; ")
}
