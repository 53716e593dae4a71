package fleet

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// leafID numbers a leaf, and valueID a value, within one State.
type (
	leafID  uint16
	valueID uint32
)

const (
	// valueAbsent stands for a leaf that the hub does not hold.
	valueAbsent valueID = iota
	// valueForeign stands for any value that no revision declares.
	valueForeign
	// firstValue is the first value that a revision declares.
	firstValue
)

// revisionNameBytes of the digest are in the name of a revision.
const revisionNameBytes = 8

// RevisionHash returns what tells a revision from others of the fleet: a hash of the declaration in
// hexadecimal, the same exactly for equal declarations.
func RevisionHash(d twin.Declaration) string {
	sum := sha256.New()
	leaves := make([]twin.Leaf, 0, len(d))
	for leaf := range d {
		leaves = append(leaves, leaf)
	}
	slices.SortFunc(leaves, twin.CompareLeaves)
	for _, leaf := range leaves {
		sum.Write(twin.EncodeValue([]any{leaf.Component, leaf.Name, twin.Digest(d[leaf])}))
	}
	return hex.EncodeToString(sum.Sum(nil)[:revisionNameBytes])
}

// want is one leaf of a revision.
type want struct {
	leaf  leafID
	value valueID
}

// revision is what was declared once. wants are sorted by leaf.
type revision struct {
	name  string
	wants []want
}

// value returns what the revision declares for a leaf, valueAbsent if nothing.
func (r *revision) value(leaf leafID) valueID {
	if r == nil {
		return valueAbsent
	}
	if at, ok := slices.BinarySearchFunc(r.wants, leaf, compareWant); ok {
		return r.wants[at].value
	}
	return valueAbsent
}

func compareWant(w want, leaf leafID) int { return int(w.leaf) - int(leaf) }

// vocabulary numbers the leaves and values that revisions declare.
type vocabulary struct {
	leaves  []twin.Leaf
	leafIDs map[twin.Leaf]leafID
	// values are those from firstValue on. One whose revision is gone is a twin.Omitted, which
	// compares by its digest.
	values   []any
	valueIDs map[string]valueID // by digest
}

func newVocabulary() vocabulary {
	return vocabulary{leafIDs: map[twin.Leaf]leafID{}, valueIDs: map[string]valueID{}}
}

// leaf returns the number of a leaf, which it gives if need be.
func (v *vocabulary) leaf(leaf twin.Leaf) leafID {
	id, ok := v.leafIDs[leaf]
	if !ok {
		id = leafID(len(v.leaves)) //nolint:gosec // a declaration has at most 1,000 leaves, and 20 revisions are kept
		v.leaves = append(v.leaves, leaf)
		v.leafIDs[leaf] = id
	}
	return id
}

// value returns the number of a declared value, which it gives if need be.
func (v *vocabulary) value(value any) valueID {
	digest := twin.Digest(value)
	id, ok := v.valueIDs[digest]
	if !ok {
		id = firstValue + valueID(len(v.values)) //nolint:gosec // far fewer
		v.values = append(v.values, value)
		v.valueIDs[digest] = id
		return id
	}
	if _, isOmitted := v.values[id-firstValue].(twin.Omitted); isOmitted {
		v.values[id-firstValue] = value
	}
	return id
}

// find returns the number of a value that the hub holds.
func (v *vocabulary) find(value any) valueID {
	if id, ok := v.valueIDs[twin.Digest(value)]; ok {
		return id
	}
	return valueForeign
}

// content returns a declared value, nil for any other number.
func (v *vocabulary) content(id valueID) any {
	if id < firstValue || int(id-firstValue) >= len(v.values) {
		return nil
	}
	return v.values[id-firstValue]
}

// revision numbers a declaration.
func (v *vocabulary) revision(name string, d twin.Declaration) *revision {
	r := &revision{name: name, wants: make([]want, 0, len(d))}
	leaves := make([]twin.Leaf, 0, len(d))
	for leaf := range d {
		leaves = append(leaves, leaf)
	}
	slices.SortFunc(leaves, twin.CompareLeaves)
	for _, leaf := range leaves {
		r.wants = append(r.wants, want{v.leaf(leaf), v.value(d[leaf])})
	}
	slices.SortFunc(r.wants, func(a, b want) int { return int(a.leaf) - int(b.leaf) })
	return r
}

// digest returns the number of a value of which only the digest is known.
func (v *vocabulary) digest(digest string) valueID {
	id, ok := v.valueIDs[digest]
	if !ok {
		id = firstValue + valueID(len(v.values)) //nolint:gosec // far fewer
		v.values = append(v.values, twin.Omitted{Reason: "its revision is gone", Digest: digest})
		v.valueIDs[digest] = id
	}
	return id
}
