package session

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// answered is the event of an answer at a time, in seconds after noon: metadata for all that it says.
func answered(t *testing.T, version, section int64, value, keys string, at int) *twin.Notification {
	t.Helper()
	node := `{"$lastUpdated":"` + stamp(at) + `"`
	return notification(t, `{"version":%d,"properties":{"reported":{"target":{"value":%s,"ac":200,"av":4},
		"$metadata":%s,"target":%s,"value":%s%s},"ac":%s},"av":%s}}},"$version":%d}}}`,
		version, value, node, node, node, keys, node, node, section)
}

func key(name string, at int) string { return `,"` + name + `":{"$lastUpdated":"` + stamp(at) + `"}` }

// TestLeftoversAreToldWithoutARead: status has no times, but memory knows when the section was written last.
func TestLeftoversAreToldWithoutARead(t *testing.T) {
	decoded := func(raw string) any {
		v, err := twin.DecodeValue([]byte(raw))
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	believed := func() Belief {
		b := believed()
		b.Twin.Properties[target] = twin.Property{
			Desired:  &twin.Desired{Value: decoded(`{"a":1}`), Version: 4},
			Reported: &twin.Reported{Value: decoded(`{"a":1,"d":5}`), Ack: &twin.Ack{Version: 3, Code: 200}},
		}
		return b
	}
	for name, c := range map[string]struct {
		seen bool // memory has the time of the section, from a read
		at   int  // of the answer, after the read at 0
		want News
	}{
		"after a read":                           {true, 9, FromDevice},
		"at the time of the last report":         {true, 0, Urgent},
		"after a start, which knows of no times": {false, 9, Urgent},
	} {
		t.Run(name, func(t *testing.T) {
			d := &Device{}
			if c.seen {
				read := read(10, 5)
				read.ReportedUpdated = noon
				d.observe(read, d.beginRead())
				d.persisted(read)
			}
			if got := d.Fold(answered(t, 11, 6, `{"a":1}`, key("a", c.at), c.at), place(1), believed); got != c.want {
				t.Fatalf("news: got %v, want %v", got, c.want)
			}
			if d.Doubtful() != (c.want == Urgent) {
				t.Errorf("doubtful: %v", d.Doubtful())
			}
			if c.want != FromDevice {
				return
			}
			if diff := cmp.Diff(decoded(`{"a":1}`), d.Unpersisted().Properties[target].Reported.Value); diff != "" {
				t.Errorf("reported (-want +got):\n%s", diff)
			}
		})
	}
}

// TestAnAnswerDuringAWriteIsToldWithoutARead: it is folded into what the answer to a digital-twin patch tells.
func TestAnAnswerDuringAWriteIsToldWithoutARead(t *testing.T) {
	d := &Device{}
	before := read(10, 5)
	before.ReportedUpdated = noon
	d.observe(before, d.beginRead())
	d.persisted(before)
	d.beginPass()
	written := *believed().Twin
	written.ETag, written.DesiredVersion = twin.ETagOf(6), 5
	written.Properties = map[twin.Leaf]twin.Property{target: {
		Desired:  &twin.Desired{Value: map[string]any{"a": "x"}, Version: 5},
		Reported: &twin.Reported{Value: map[string]any{"a": "x", "d": "y"}, Ack: &twin.Ack{Version: 4, Code: 200}},
	}}
	d.Fold(desired(t, 11, 5, `"target":{"d":null},`, 8), place(1), believed)
	d.Fold(answered(t, 12, 6, `{"a":"x"}`, key("a", 9), 9), place(2), believed)
	d.accepted(&written)
	if d.Doubtful() {
		t.Fatal("the twin has to be read")
	}
	if diff := cmp.Diff(map[string]any{"a": "x"}, d.Unpersisted().Properties[target].Reported.Value); diff != "" {
		t.Errorf("reported (-want +got):\n%s", diff)
	}
}
