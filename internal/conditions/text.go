package conditions

import (
	"fmt"
	"strings"
)

// SomeOf names the first three.
func SomeOf(names []string) string {
	const most = 3
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}
