// Package cli has the commands of the operator's program, beside the operator itself: each takes
// its arguments and returns its exit status.
package cli

import "strings"

// DefaultModelRepositories are the hosts that models may be fetched from, unless a flag says
// otherwise.
const DefaultModelRepositories = "devicemodels.azure.com"

// SplitList returns the items of a list of a flag, which commas separate.
func SplitList(s string) []string {
	var items []string
	for item := range strings.SplitSeq(s, ",") {
		if item = strings.TrimSpace(item); item != "" {
			items = append(items, item)
		}
	}
	return items
}
