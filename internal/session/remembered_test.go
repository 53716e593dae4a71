package session

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// TestRememberedAreValues has memory go on after it was asked.
func TestRememberedAreValues(t *testing.T) {
	leaf := twin.Leaf{Name: "speed"}
	d := &Device{}
	p := &Pass{Device: d}
	read := &twin.Twin{ETag: twin.ETagOf(3), Version: 5, DesiredVersion: 3}
	if _, err := p.Read(func() (*twin.Twin, error) { return read, nil }); err != nil {
		t.Fatal(err)
	}
	d.withhold(map[twin.Leaf]twin.Sent{leaf: {Value: "1", Version: 4}})
	d.Corrected(leaf, nil, time.Unix(1, 0))
	was := d.Remembered()
	if _, err := p.Write([]twin.Change{{Leaf: leaf, Value: "1"}}, read, func() (Answer, error) { return Answer{}, nil }); err != nil {
		t.Fatal(err)
	}
	d.Corrected(leaf, d.Corrections(leaf, time.Time{}), time.Unix(2, 0))
	d.Doubt()
	is := d.Remembered()
	for name, c := range map[string]struct{ got, want any }{
		"writes before":      {was.Attempts(), twin.Attempts{}},
		"withheld before":    {was.IsWithheld(leaf, twin.Sent{Value: "1", Version: 4}), true},
		"corrections before": {len(was.CorrectionsAfter(leaf, time.Time{})), 1},
		"doubt before":       {was.IsDoubtful, false},
		"counters before":    {was.Position, read.Position()},
		"writes after":       {is.Attempts(), twin.Attempts{leaf: {{Value: "1", Version: 4, ETag: read.ETag, Taken: true}}}},
		"withheld after":     {is.IsWithheld(leaf, twin.Sent{Value: "1", Version: 4}), false},
		"corrections after":  {len(is.CorrectionsAfter(leaf, time.Time{})), 2},
		"doubt after":        {is.IsDoubtful, true},
	} {
		if diff := cmp.Diff(c.want, c.got); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
	if was.Newest != read || was.ETag != read.ETag || was.IsModelInDoubt || !was.ReadSince(was.ReadAt) || was.ReadAt.IsZero() {
		t.Errorf("of the read: %+v", was)
	}
}
