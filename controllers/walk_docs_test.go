package controllers_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/reasons"
)

// notWalked are reasons that docs list and the walk does not come to, with the test that does.
var notWalked = map[string]string{
	"CheckpointFailed":   "the API server would have to fail for one ConfigMap: TestStreamIsToldInItsPhase",
	"EventHubBusy":       "the simulator's event hub has room for all: TestStreamIsToldInItsPhase",
	"NoTwinChangeEvents": "takes a minute: finds out that twin changes are not routed, and goes on reading after writes",
	"DevicesUnreadable":  "writes 8 MiB: is set aside by sweeps, which go on with the others, and says so",
	"TwinTooLarge":       "writes 8 MiB: is set aside by sweeps, which go on with the others, and says so",
	"HubSlow":            "needs a hub that hangs with as many requests as may be: has others wait for nothing, with a hub that does not answer in time",
	"SetAside":           "ends the operator twice: that is large is parsed once that is on record, and is set aside where the operator ended twice meanwhile",
	"NotCleared":         "of an Event about an object that is gone: Deletion",
	"DriftCorrected":     "of an Event: a foreign change was put back",
	"Released":           "of an Event: a value was released to another writer",
	"CommandAbandoned":   "of an Event about a command that is gone: an earlier object of it may still run",
	"Resumed":            "of an Event: shows that one is suspended, and Events tell (T8)",
	"MessagesLeft":       "of an Event: shows that there are no messages, and Events tell (T13)",
}

// kstatusIn is what kstatus says as the table of reasons has it.
var kstatusIn = map[string]reasons.Says{"Current": reasons.Current, "InProgress": reasons.InProgress, "Failed": reasons.Failed}

// Each state of the walk is one that the table of reasons knows.
func TestTheWalkAgreesWithTheTableOfReasons(t *testing.T) {
	for _, tour := range tours {
		for name, w := range tour.walks {
			status, reason, _ := strings.Cut(w.shows.ready, "/")
			says, lives := kstatusIn[w.shows.kstatus]
			switch row := reasons.Of(reason); {
			case lives && !row.Allows(tour.kind, says):
				t.Errorf("%s: %s: the table of reasons has no %s as %s", tour.kind, name, reason, w.shows.kstatus)
			case !lives && row.On(tour.kind) == 0:
				t.Errorf("%s: %s: the table of reasons has no %s", tour.kind, name, reason)
			case lives && (status == "True") != (says == reasons.Current):
				t.Errorf("%s: %s: Ready is %s, and kstatus %s", tour.kind, name, status, w.shows.kstatus)
			}
			kind, with, ok := strings.Cut(w.shows.with, "=")
			_, beside, _ := strings.Cut(with, "/")
			if ok && kind != v1alpha1.ConditionReady && reasons.Of(beside).On(tour.kind)&reasons.Beside == 0 {
				t.Errorf("%s: %s: the table of reasons has no %s beside Ready", tour.kind, name, beside)
			}
		}
	}
}

// Each reason that docs list is walked, or a test is named that plays it.
func TestEachReasonOfDocsIsWalked(t *testing.T) {
	var docs strings.Builder
	for _, page := range []string{"pnpdevice", "iothub", "devicecommand", "devicemodel"} {
		raw, err := os.ReadFile("../docs/" + page + ".md")
		if err != nil {
			t.Fatal(err)
		}
		docs.Write(raw)
	}
	var walked []string
	for _, tour := range tours {
		for _, w := range tour.walks {
			walked = append(walked, w.shows.reasons()...)
		}
	}
	for _, reason := range reasons.All() {
		_, excused := notWalked[reason]
		switch isWalked := slices.Contains(walked, reason); {
		case isWalked && excused:
			t.Errorf("reason %s is walked, and listed as not", reason)
		case !isWalked && !excused && strings.Contains(docs.String(), "`"+reason+"`"):
			t.Errorf("docs list reason %s, and no walk shows it", reason)
		}
	}
}

// The walk has at least as many states as issue 20 asks for.
func TestStatesAreMany(t *testing.T) {
	n := 0
	for _, tour := range tours {
		n += len(tour.walks)
	}
	if n < 75 {
		t.Errorf("the walk has %d states, want 75 at least", n)
	}
}

// rowOfWalk is a line of the table: object and state.
var rowOfWalk = regexp.MustCompile(`(?m)^\| ([^|]+) \| ([^|]+) \| `)

// The page shows the states of the walk, and no others.
func TestPageShowsTheWalk(t *testing.T) {
	raw, err := os.ReadFile(operationsPage)
	if err != nil {
		t.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(raw), walkBegins)
	table, _, found := strings.Cut(rest, walkEnds)
	if !found {
		t.Fatalf("%s has no %s", operationsPage, walkBegins)
	}
	var shown, want []string
	for _, row := range rowOfWalk.FindAllStringSubmatch(strings.TrimPrefix(table, walkHead), -1) {
		shown = append(shown, row[1]+": "+row[2])
	}
	for _, tour := range tours {
		for name := range tour.walks {
			want = append(want, tour.kind+": "+name)
		}
	}
	for _, state := range want {
		if !slices.Contains(shown, state) {
			t.Errorf("docs do not show state %q: make walk", state)
		}
	}
	for _, state := range shown {
		if !slices.Contains(want, state) {
			t.Errorf("docs show state %q, which is not walked any more: make walk", state)
		}
	}
}
