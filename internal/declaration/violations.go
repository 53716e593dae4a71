package declaration

import (
	"fmt"
	"slices"
	"unicode/utf8"
)

const (
	// MaxViolations is how many violations a person is told at once.
	MaxViolations = 20
	// maxText bounds the bytes of one.
	maxText = 1024
)

// Violations collects what is wrong with an object, as much as a person reads at once. What is
// beyond that is counted only.
type Violations struct {
	texts []string
	more  int
}

// Add takes a violation. Its text is made only if it is kept.
func (v *Violations) Add(text func() string) {
	if len(v.texts) == MaxViolations {
		v.more++
		return
	}
	v.texts = append(v.texts, cut(text()))
}

// Texts lists the violations in their order, and last how many more there are.
func (v *Violations) Texts() []string {
	if v.more == 0 {
		return v.texts
	}
	return append(slices.Clip(v.texts), fmt.Sprintf("and %d more", v.more))
}

// cut shortens a text at a rune's boundary.
func cut(text string) string {
	if len(text) <= maxText {
		return text
	}
	end := maxText
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + "…"
}
