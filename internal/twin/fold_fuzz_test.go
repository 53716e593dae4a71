package twin_test

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func FuzzParseNotification(f *testing.F) {
	f.Add([]byte(`{"version":4,"properties":{"reported":{"t1":{"__t":"c","a":98.34},"$metadata":{"$lastUpdated":"2020-10-21T14:13:39.36491Z","t1":{"a":{}}},"$version":3}}}`))
	f.Add([]byte(`{"version":7,"tags":{"tag1":null},"properties":{"desired":{"a":null,"":{"__t":"c"},"$version":6,"$metadata":{"a":[3]}}}}`))
	f.Add([]byte(`{"version":2e0,"properties":{"desired":{"$version":"1"}}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		n, err := twin.ParseNotification(body)
		if err != nil {
			if n != nil || len(err.Error()) > 500 {
				t.Fatalf("notification %v, error of %d bytes", n, len(err.Error()))
			}
			return
		}
		for _, tw := range []*twin.Twin{{}, {Partial: true}} {
			n.Leaves(tw)
			tw.Position().Order(n)
			tw.Position().After(n)
			if _, err := tw.Fold(n); err != nil && !errors.Is(err, twin.ErrDoubtful) {
				t.Fatalf("Fold: %v", err)
			}
		}
	})
}

// FuzzFold compares what Fold makes of a twin with what a read of the merged sections shows.
func FuzzFold(f *testing.F) {
	f.Add([]byte(`{"a":1,"t1":{"__t":"c","b":{"c":1}}}`), []byte(`{"a":{"value":1,"ac":200,"av":1},"t1":{"d":[1]}}`), []byte(`{"a":null,"t1":{"b":{"c":null}}}`), []byte(`{"a":{"value":2},"t1":{"d":{}}}`))
	f.Add([]byte(`{"x":1}`), []byte(`{"x":{"__t":"c"},"e":{"value":1,"av":"?"}}`), []byte(`{"x":{"__t":"c"}}`), []byte(`{"x":{"a":1},"e":{"ac":1,"av":1,"more":{}}}`))
	f.Fuzz(func(t *testing.T, desired, reported, desiredPatch, reportedPatch []byte) {
		before, ok := fuzzTwin(7, 4, 5, desired, reported)
		if !ok {
			return
		}
		n, ok := fuzzNotification(desiredPatch, reportedPatch)
		if !ok {
			return
		}
		before.Fold(n) // only to see below that it changes nothing
		got, err := before.Fold(n)
		if unchanged, _ := fuzzTwin(7, 4, 5, desired, reported); !reflect.DeepEqual(unchanged, before) {
			t.Fatalf("Fold changed the twin: %+v", before)
		}
		partial := *before
		partial.Partial = true
		partial.Fold(n) // only not to panic
		if err != nil {
			return
		}
		want, ok := fuzzTwin(8, 5, 6, mergeSection(desired, desiredPatch), mergeSection(reported, reportedPatch))
		if !ok {
			t.Fatal("the merged twin cannot be read")
		}
		for leaf, p := range got.Properties {
			if p.Desired != nil {
				p.Desired.Version = 0 // the merged one has no metadata
			}
			got.Properties[leaf] = p
		}
		if !reflect.DeepEqual(want, got) { // cmp.Diff takes exponential time on deep arrays
			t.Fatalf("Fold() = %s, want %s", show(got), show(want))
		}
	})
}

// show is what a twin holds, as text.
func show(tw *twin.Twin) string {
	var b strings.Builder
	for _, leaf := range slices.SortedFunc(maps.Keys(tw.Properties), twin.CompareLeaves) {
		p := tw.Properties[leaf]
		fmt.Fprintf(&b, "%s", leaf)
		if p.Desired != nil {
			fmt.Fprintf(&b, " desired %+v", *p.Desired)
		}
		if p.Reported != nil {
			fmt.Fprintf(&b, " reported %+v", *p.Reported)
		}
		b.WriteString("; ")
	}
	return b.String()
}

// plainSection is an object without the keys of the hub.
func plainSection(raw []byte) (object, bool) {
	v, err := twin.DecodeValue(raw)
	fields, ok := v.(object)
	for key := range fields {
		if strings.HasPrefix(key, "$") {
			return nil, false
		}
	}
	return fields, ok && err == nil
}

func fuzzTwin(counter, desiredVersion, reportedVersion int64, desired, reported []byte) (*twin.Twin, bool) {
	_, okDesired := plainSection(desired)
	_, okReported := plainSection(reported)
	if !okDesired || !okReported {
		return nil, false
	}
	return counted(counter, desiredVersion, reportedVersion, string(desired), string(reported)), true
}

func fuzzNotification(desired, reported []byte) (*twin.Notification, bool) {
	d, okDesired := plainSection(desired)
	r, okReported := plainSection(reported)
	if !okDesired || !okReported {
		return nil, false
	}
	n, err := twin.ParseNotification(twin.EncodeValue(object{"version": 14, "properties": object{
		"desired": withMetadata(d, 5), "reported": withMetadata(r, 6),
	}}))
	return n, err == nil
}

func withMetadata(fields object, version int64) object {
	fields["$metadata"], fields["$version"] = object{}, version
	return fields
}

func mergeSection(section, patch []byte) []byte {
	into, _ := plainSection(section)
	from, _ := plainSection(patch)
	merge(into, object{}, from, func(object) {})
	return twin.EncodeValue(into)
}
