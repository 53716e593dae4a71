package chaos

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/test/chaos/oracle"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

func TestEachStartOfAnOperatorHasALog(t *testing.T) {
	first, second := &operator{Process: harness.Process{Name: "manager", Replica: "-0"}}, &operator{Process: harness.Process{Name: "manager", Replica: "-1"}}
	o := &operators{folder: "f", part: "first", all: []*operator{first, second}}
	for _, one := range []*operator{first, second, first} {
		o.beginLog(one)
	}
	o.part = "second"
	o.beginLog(second)
	want := []string{"f/manager-0-001-first.log", "f/manager-1-001-first.log", "f/manager-0-002-first.log", "f/manager-1-002-second.log"}
	if diff := cmp.Diff(want, o.logs); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if got := second.LogFile(); got != want[3] {
		t.Errorf("the log is %s, want %s", got, want[3])
	}
}

func TestAJournalIsReadAsItGrows(t *testing.T) {
	j := journalReader{path: filepath.Join(t.TempDir(), "journal")}
	file, err := os.Create(j.path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	for _, step := range []struct {
		written string
		want    []uint64
	}{
		{"", nil}, {`{"seq":1}` + "\n" + `{"se`, []uint64{1}}, {`q":2}` + "\n", []uint64{1, 2}}, {"", []uint64{1, 2}}, {`{"seq":3}` + "\n", []uint64{1, 2, 3}},
	} {
		if _, err := file.WriteString(step.written); err != nil {
			t.Fatal(err)
		}
		entries, err := j.read()
		if err != nil {
			t.Fatal(err)
		}
		var got []uint64
		for _, e := range entries {
			got = append(got, e.Seq)
		}
		if !slices.Equal(got, step.want) {
			t.Errorf("read %v, want %v", got, step.want)
		}
	}
}

// While the storm lasts, an object may wait for as long as it takes; what it waits for can be told.
func TestATaskThatWaitsSaysWhatFor(t *testing.T) {
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	l := newLanes(ctx, func(error) {})
	l.add("device-1", "create", func(ctx context.Context) error {
		return untilDone(ctx, func(context.Context) error { return errors.New("the one before is being deleted") })
	})
	for {
		count, tries := l.left()
		if count != 1 {
			t.Fatalf("%d tasks are left, want 1", count)
		}
		if len(tries) == 1 && strings.HasPrefix(tries[0], "create device-1, for ") && strings.HasSuffix(tries[0], ": the one before is being deleted") {
			break
		}
		time.Sleep(time.Millisecond)
	}
}

func TestNobodyWaitsForWhatIsLeftBehind(t *testing.T) {
	a, now := abandoned{since: map[string]time.Time{}, left: map[string]bool{}}, time.Now()
	orphan := []oracle.Orphan{{Device: "device-1", Leaf: oracle.Leaf{Name: "a"}, Value: 1, How: "wrote"}}
	for _, step := range []struct {
		after      time.Duration
		orphans    []oracle.Orphan
		open, left int
	}{
		{0, orphan, 1, 0}, {abandonedFor, orphan, 1, 0}, {time.Second, nil, 0, 0}, {time.Second, orphan, 1, 0}, {abandonedFor + time.Second, orphan, 0, 1},
		{time.Second, orphan, 0, 1},
	} {
		now = now.Add(step.after)
		if open := a.note(step.orphans, nil, now); len(open) != step.open || len(a.left) != step.left {
			t.Errorf("%s later, with %v: %d are open, %d left, want %+v", step.after, step.orphans, len(open), len(a.left), step)
		}
	}
}
