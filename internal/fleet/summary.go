package fleet

import (
	"cmp"
	"fmt"
	"slices"
	"time"
	"unicode/utf8"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
)

const (
	// maxDescription is how many characters of a device's own text are shown.
	maxDescription = 256
	// maxFailureReasons are shown, the most frequent first.
	maxFailureReasons = 10
)

// Summary writes all that the state tells into a status, and leaves the conditions and what the
// controller has handled as they are. It is the header of the record as well: Load reads it.
func (s *State) Summary(status *v1alpha1.DeviceFleetStatus) {
	status.Revision, status.StableRevision = s.Revision()
	status.LastHandledRetryAt, status.LeavingHalted = s.retried, s.leavers.isHalted
	status.Devices = s.devices()
	status.Differ, status.Unread = small(s.total.differ), small(s.total.unread)
	status.Leaving = small(s.leaving)
	status.Excepted, status.Conflicting = s.deniedCounts()
	status.Joined = nil
	if s.joins.count > 0 {
		status.Joined = &v1alpha1.FleetJoins{Day: s.joins.day, Count: small(s.joins.count)}
	}
	s.summariseRollout(status)
	status.Failures, status.FailureReasons = s.failures(), s.failureReasons()
}

func small(n int) int32 { return int32(min(max(n, 0), 1<<31-1)) }

func (s *State) devices() v1alpha1.FleetDevices {
	t := &s.total
	return v1alpha1.FleetDevices{
		Total: small(t.members), Acknowledged: small(t.states[stateAcknowledged]), InFlight: small(t.states[stateInFlight]),
		Failed: small(s.failedInAll()), Offline: small(t.states[stateOffline]), Pending: small(t.states[statePending]),
	}
}

func (s *State) deniedCounts() (excepted, conflicting int32) {
	for _, d := range s.denied {
		if len(d.exception) > 0 {
			excepted++
		}
		if len(d.conflict) > 0 {
			conflicting++
		}
	}
	return excepted, conflicting
}

func timeOf(t time.Time) *metav1.Time {
	if t.IsZero() {
		return nil
	}
	return &metav1.Time{Time: t}
}

func (s *State) summariseRollout(status *v1alpha1.DeviceFleetStatus) {
	status.Rollout, status.Batches, status.Summary = nil, nil, ""
	r := &s.rollout
	if r.number == 0 {
		return
	}
	status.Rollout = &v1alpha1.FleetRolloutStatus{
		Number: r.number, Kind: r.kind, StartedAt: metav1.Time{Time: r.startedAt}, CompletedAt: timeOf(r.completedAt),
	}
	if stop := r.stopped; stop != nil {
		status.Rollout.Stopped = &v1alpha1.FleetStop{
			Batch: stop.Batch, Failed: small(stop.Failed), Allowed: small(stop.Allowed), Time: metav1.Time{Time: stop.At},
		}
	}
	for i := range r.batches {
		status.Batches = append(status.Batches, s.batchStatus(i))
	}
	if r.open > 0 {
		status.Summary = fmt.Sprintf("%d/%d %s", r.open, len(r.batches), r.batches[r.open-1].name)
	}
}

func (s *State) batchStatus(i int) v1alpha1.FleetBatchStatus {
	b := &s.rollout.batches[i]
	status := v1alpha1.FleetBatchStatus{
		Name: b.name, Size: small(b.size), State: s.batchState(i), Acknowledged: small(b.tally.states[stateAcknowledged]),
		Failed: small(b.tally.failed()), Allowed: small(s.allowed(b, b.tally.writtenTotal)), Offline: small(b.tally.states[stateOffline]),
		StartedAt: timeOf(b.openedAt), CompletedAt: timeOf(b.passedAt), ApprovedBy: b.startBy, AcceptedBy: b.passBy, Accepted: small(b.accepted),
	}
	if !b.isLast && !b.byTags {
		status.Through = b.through.String()
	}
	return status
}

func (s *State) failures() (all []v1alpha1.FleetFailure) {
	for _, f := range s.newest {
		shown := v1alpha1.FleetFailure{
			DeviceID: f.DeviceID, State: stateNames[f.State], Code: f.Code, Description: cutRunes(f.Description), Time: metav1.Time{Time: f.Time},
		}
		if f.Leaf.Name != "" {
			shown.Property = f.Leaf.String()
		}
		all = append(all, shown)
	}
	return all
}

// cutRunes cuts a text after maxDescription characters.
func cutRunes(text string) string {
	if utf8.RuneCountInString(text) <= maxDescription {
		return text
	}
	return string([]rune(text)[:maxDescription])
}

func (s *State) failureReasons() (all []v1alpha1.FleetFailureReason) {
	for r, n := range s.reasons {
		all = append(all, v1alpha1.FleetFailureReason{State: stateNames[r.state], Code: int64(r.code), Count: small(n)})
	}
	slices.SortFunc(all, func(a, b v1alpha1.FleetFailureReason) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), cmp.Compare(a.State, b.State), cmp.Compare(a.Code, b.Code))
	})
	return all[:min(len(all), maxFailureReasons)]
}

// Differing returns up to n members that are known not to hold the declaration, in the fleet's
// order of joining.
func (s *State) Differing(n int) (ids []string) {
	for at, m := range s.members.all {
		if len(ids) == n {
			break
		}
		if !m.is(flagLeaving) && s.compare(at, m, s.wantedRevision()) == differsFromIt {
			ids = append(ids, m.id)
		}
	}
	return ids
}
