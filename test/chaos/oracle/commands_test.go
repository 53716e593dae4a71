package oracle

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

func TestACommandIsUnknownForAReason(t *testing.T) {
	second := func(s float64) time.Time {
		return time.Unix(1_800_000_000, 0).Add(time.Duration(s * float64(time.Second)))
	}
	stored := func(s float64) *metav1.Time { return &metav1.Time{Time: second(s).Truncate(time.Second)} }
	for name, test := range map[string]struct {
		outcome v1alpha1.CommandOutcome
		start   *metav1.Time
		twice   bool // there are two such commands of the device
		lost    bool
		cuts    []time.Time
		rivals  []Span
		want    Doubts // Unfounded counts only by its length
	}{
		"it succeeded":                                  {outcome: v1alpha1.CommandSucceeded, start: stored(10)},
		"its answer was lost":                           {outcome: v1alpha1.CommandUnknown, start: stored(10), lost: true, want: Doubts{Lost: 1}},
		"the operator was killed meanwhile":             {outcome: v1alpha1.CommandUnknown, start: stored(10.9), cuts: []time.Time{second(11)}, want: Doubts{Cut: 1}},
		"the operator was killed in its last second":    {outcome: v1alpha1.CommandUnknown, start: stored(10), cuts: []time.Time{second(14.9)}, want: Doubts{Cut: 1}},
		"the operator was killed once for two":          {outcome: v1alpha1.CommandUnknown, start: stored(10), twice: true, cuts: []time.Time{second(11)}, want: Doubts{Cut: 1, Unfounded: []string{""}}},
		"the operator was killed twice for two":         {outcome: v1alpha1.CommandUnknown, start: stored(10), twice: true, cuts: []time.Time{second(11), second(12)}, want: Doubts{Cut: 2}},
		"two operators were at work when it ended":      {outcome: v1alpha1.CommandUnknown, start: stored(10), rivals: []Span{{second(14.9), second(16)}}, want: Doubts{Contested: 1}},
		"two operators were at work before it ended":    {outcome: v1alpha1.CommandUnknown, start: stored(10), rivals: []Span{{second(11), second(13.9)}}, want: Doubts{Unfounded: []string{""}}},
		"nothing happened":                              {outcome: v1alpha1.CommandUnknown, start: stored(10), want: Doubts{Unfounded: []string{""}}},
		"the operator was killed before and after it":   {outcome: v1alpha1.CommandUnknown, start: stored(10), cuts: []time.Time{second(9.9), second(15)}, want: Doubts{Unfounded: []string{""}}},
		"the operator was killed before it had a time":  {outcome: v1alpha1.CommandUnknown, cuts: []time.Time{second(6)}, want: Doubts{Cut: 1}},
		"the operator was killed before it was created": {outcome: v1alpha1.CommandUnknown, cuts: []time.Time{second(4)}, want: Doubts{Unfounded: []string{""}}},
	} {
		t.Run(name, func(t *testing.T) {
			c := v1alpha1.DeviceCommand{
				ObjectMeta: metav1.ObjectMeta{Name: "command", CreationTimestamp: *stored(5)},
				Status:     v1alpha1.DeviceCommandStatus{Outcome: test.outcome, StartTime: test.start, CompletionTime: stored(14.5)},
			}
			commands := []v1alpha1.DeviceCommand{c}
			if test.twice {
				commands = append(commands, c)
			}
			got := Doubted(commands, map[string]bool{"command": test.lost}, test.cuts, test.rivals)
			if diff := cmp.Diff(test.want, got, cmp.Comparer(func(a, b []string) bool { return len(a) == len(b) })); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}
