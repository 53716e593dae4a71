package convergence

import (
	"fmt"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/storable"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// NotFoundText is what an object says of a device that its hub does not know.
const NotFoundText = "The hub does not know the device: create its identity at the hub"

// MaxShown is what a message quotes of a value, in bytes.
const MaxShown = 200

// ShownValue returns a value as a message quotes it.
func ShownValue(v any) string { return storable.Shown(v, MaxShown) }

// UnmarkedText names what a component lacks at the hub, and what follows from that.
func UnmarkedText(component string) string {
	return fmt.Sprintf(`%q without the marker "__t": "c", by which devices tell a component`, component)
}

// NotReadyText says of a DeviceModel why it cannot be used.
func NotReadyText(v declaration.Conformity) string {
	return fmt.Sprintf("DeviceModel %q cannot be used: %s", v.Model, v.NotReady)
}

// LeavesOf returns the leaves of changes, in their order.
func LeavesOf(changes []twin.Change) []twin.Leaf {
	leaves := make([]twin.Leaf, len(changes))
	for i, c := range changes {
		leaves[i] = c.Leaf
	}
	return leaves
}

// Listed names up to three leaves.
func Listed(prefix string, leaves []twin.Leaf) string {
	const most = 3
	names := make([]string, 0, most)
	for i, leaf := range leaves {
		if i == most {
			return prefix + strings.Join(names, ", ") + fmt.Sprintf(" and %d more", len(leaves)-most)
		}
		names = append(names, leaf.String())
	}
	return prefix + strings.Join(names, ", ")
}
