package twin

import (
	"cmp"
	"fmt"
	"slices"
)

// maxReportedSize is what the hub grants the reported section. It takes maxDepth levels there, too.
const maxReportedSize = 32 * 1024

// envelopeSize is what an acknowledgement takes beside the value: three keys and two numbers.
const envelopeSize = len(envelopeValue) + len(envelopeCode) + numberSize + len(envelopeVersion) + numberSize

const noAnswerWanted = ", or set readyWhen: Applied for a device that acknowledges nothing"

// ValidateAnswer finds what a hub would take and no device can acknowledge, sorted by path: the answer repeats each value one
// level deeper, under "value", with two numbers beside it, and the hub has the same limits for what is reported. Other
// reports of the device take room as well, which nobody knows.
func ValidateAnswer(d Declaration) []Violation {
	var found []Violation
	for leaf, value := range d {
		below := 1
		if leaf.Component != "" {
			below++
		}
		for _, path := range deepestPaths(leafPath(leaf), value, below) {
			found = append(found, Violation{Path: path, Rule: fmt.Sprintf(
				"is nested %d levels below desired, components included, and %d in its acknowledgement, under \"value\"; the hub takes at most %d: nest at most %d%s",
				maxDepth, maxDepth+1, maxDepth, maxDepth-1, noAnswerWanted)})
		}
	}
	if size := desiredSize(d) + len(d)*envelopeSize; size > maxReportedSize {
		found = append(found, Violation{Path: "spec", Rule: fmt.Sprintf(
			"takes %d bytes of the reported properties once all of it is acknowledged, %d for each property beside its value; the hub takes at most %d: declare less%s",
			size, envelopeSize, maxReportedSize, noAnswerWanted)})
	}
	slices.SortFunc(found, func(a, b Violation) int { return cmp.Compare(a.Path, b.Path) })
	return found
}

// deepestPaths are where a value has an object or an array at the last level that the hub takes.
func deepestPaths(path string, value any, below int) (paths []string) {
	visit := func(inner string, value any) { paths = append(paths, deepestPaths(inner, value, below+1)...) }
	switch value := value.(type) {
	case map[string]any:
		if below >= maxDepth {
			return []string{path}
		}
		for name, field := range value {
			visit(fieldPath(path, name), field)
		}
	case []any:
		if below >= maxDepth {
			return []string{path}
		}
		for i, item := range value {
			visit(fmt.Sprintf("%s[%d]", path, i), item)
		}
	}
	return paths
}
