// Package revision orders the resource versions of objects, and notices objects that were put back
// to older copies.
package revision

import (
	"k8s.io/apimachinery/pkg/util/resourceversion"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// IsNewer reports whether a was written after b. Versions that do not compare are treated as older.
func IsNewer(a, b client.Object) bool {
	return Compare(a.GetResourceVersion(), b.GetResourceVersion()) > 0
}

// Compare compares two resource versions of one kind, 0 if they do not compare.
func Compare(a, b string) int {
	order, err := resourceversion.CompareResourceVersion(a, b)
	if err != nil {
		return 0
	}
	return order
}
