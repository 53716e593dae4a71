package fleet

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

func (s site) job(t *testing.T, id, body string) string {
	t.Helper()
	made, err := s.jobs.Create(id, object(t, body))
	must(t, err)
	if got := text(made, "status"); got != queued {
		t.Errorf("the job is %s at first", got)
	}
	eventually(t, "the end of the job", func() bool { got := text(s.jobs.Get(id), "status"); return got == completed || got == failed })
	return string(jsontree.Append(nil, s.jobs.Get(id)))
}

// echo answers what it is asked.
type echo struct{}

func (echo) Invoke(_ context.Context, i methods.Invocation) (methods.Answer, error) {
	return methods.Answer{Status: 200, Payload: i.Payload}, nil
}

func TestATwinJob(t *testing.T) {
	s := newSite(t, "a", "b")
	must(t, s.hub.PatchDesired("a", `{"gone":1}`, ""))
	var writers []hub.Change
	cancel := s.hub.Subscribe(func(c hub.Change) { writers = append(writers, c) })
	defer cancel()
	got := s.job(t, "job1", `{"type":"scheduleUpdateTwin","queryCondition":"deviceId IN ['a']","maxExecutionTimeInSeconds":"60",
		"updateTwin":{"etag":"*","tags":{"n":1},"properties":{"desired":{"x":1,"gone":null}}}}`)
	for _, want := range []string{`"status":"completed"`, `"deviceJobStatistics":{"deviceCount":1,"failedCount":0,"succeededCount":1,"runningCount":0,"pendingCount":0}`, `"maxExecutionTimeInSeconds":60`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if got := s.desired(t, "a") + s.desired(t, "b"); got != `{"x":1}{}` {
		t.Errorf("desired of both devices %s", got)
	}
	if len(writers) != 1 || writers[0].Service || writers[0].By != "" {
		t.Errorf("changes %+v", writers)
	}
	q, err := query.Parse("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'job1' AND status = 'completed'")
	must(t, err)
	rows := 0
	s.jobs.Rows(func(r query.Row) bool {
		if q.Matches(r) {
			rows++
		}
		return true
	})
	if rows != 1 {
		t.Errorf("%d rows", rows)
	}
}

func TestAMethodJob(t *testing.T) {
	s := newSite(t, "on", "off")
	s.exchange.Attach("on", echo{})
	got := s.job(t, "job1", `{"type":"scheduleDeviceMethod","queryCondition":"*","cloudToDeviceMethod":{"methodName":"m","payload":{"a":1},"responseTimeoutInSeconds":"30"}}`)
	if !strings.Contains(got, `"status":"completed"`) || !strings.Contains(got, `"failedCount":1,"succeededCount":1`) {
		t.Errorf("got %s", got)
	}
	outcomes := map[string]string{}
	s.jobs.Rows(func(r query.Row) bool {
		device, _ := r.Lookup([]string{"devices", "jobs", "deviceId"})
		status, _ := r.Lookup([]string{"status"})
		response, _ := r.Lookup([]string{"outcome", "deviceMethodResponse"})
		outcomes[device.(string)] = status.(string) + " " + string(jsontree.Append(nil, response))
		return true
	})
	if outcomes["on"] != `completed {"status":200,"payload":{"a":1}}` || outcomes["off"] != "failed null" {
		t.Errorf("outcomes %v", outcomes)
	}
}

func TestABadConditionFailsLater(t *testing.T) {
	s := newSite(t, "a")
	if got := s.job(t, "job1", `{"type":"scheduleUpdateTwin","queryCondition":"nonsense =","updateTwin":{"etag":"*"}}`); !strings.Contains(got, `"status":"failed"`) {
		t.Errorf("got %s", got)
	}
}

func TestJobsAreRefused(t *testing.T) {
	s := newSite(t, "a")
	const twin = `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"etag":"*"}}`
	s.job(t, "job1", twin)
	later := strings.Replace(twin, "{", `{"startTime":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`",`, 1)
	_, err := s.jobs.Create("later", object(t, later))
	must(t, err)
	if got := text(s.jobs.Get("later"), "status"); got != scheduled {
		t.Errorf("a job of the future is %s", got)
	}
	_, err = s.jobs.Cancel("later")
	must(t, err)
	if got := text(s.jobs.Get("later"), "status"); got != cancelled {
		t.Errorf("a job that was cancelled is %s", got)
	}
	for name, c := range map[string]struct {
		do   func() (jsontree.Object, error)
		want string
	}{
		"the same id": {func() (jsontree.Object, error) { return s.jobs.Create("job1", object(t, twin)) }, "JobAlreadyExists"},
		"upper case":  {func() (jsontree.Object, error) { return s.jobs.Create("Job", object(t, twin)) }, "ArgumentInvalid"},
		"no type":     {func() (jsontree.Object, error) { return s.jobs.Create("j", object(t, `{}`)) }, "ArgumentInvalid"},
		"an etag": {func() (jsontree.Object, error) {
			return s.jobs.Create("j", object(t, strings.Replace(twin, `"*"}`, `"A"}`, 1)))
		}, "ArgumentInvalid"},
		"too far ahead": {func() (jsontree.Object, error) {
			return s.jobs.Create("j", object(t, strings.Replace(twin, "{", `{"startTime":"2099-01-01T00:00:00Z",`, 1)))
		}, "ArgumentInvalid"},
		"a bad number": {func() (jsontree.Object, error) {
			return s.jobs.Create("j", object(t, strings.Replace(twin, "{", `{"maxExecutionTimeInSeconds":"x",`, 1)))
		}, "ArgumentInvalid"},
		"a job that is done": {func() (jsontree.Object, error) { return s.jobs.Cancel("job1") }, "OperationNotAllowedInCurrentState"},
		"a job of nobody":    {func() (jsontree.Object, error) { return s.jobs.Cancel("nobody") }, "JobNotFound"},
	} {
		if _, err := c.do(); nameOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if got := s.jobs.Get("nobody"); text(got, "type") != "unknown" || text(got, "status") != "unknown" {
		t.Errorf("a job of nobody is %v", got)
	}
	if got := s.jobs.List(updateTwin, cancelled); len(got) != 1 {
		t.Errorf("cancelled twin jobs: %v", got)
	}
}

func TestAHubHasSoManyActiveJobs(t *testing.T) {
	s := newSite(t, "a")
	s.jobs.SetLimits(Limits{Active: 1})
	const twin = `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"etag":"*"}}`
	later := strings.Replace(twin, "{", `{"startTime":"`+time.Now().Add(time.Hour).UTC().Format(time.RFC3339)+`",`, 1)
	_, err := s.jobs.Create("later", object(t, later))
	must(t, err)
	if _, err := s.jobs.Create("second", object(t, twin)); nameOf(err) != "ThrottlingMaxActiveJobCountExceeded" {
		t.Errorf("%v beside one that is scheduled", err)
	}
	_, err = s.jobs.Cancel("later")
	must(t, err)
	s.job(t, "second", twin)
	s.job(t, "third", twin) // one that is done takes no place
}

func TestJobsVisitSoManyDevicesASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSite(t, "a", "b", "c", "d")
		s.jobs.SetLimits(Limits{DevicesPerSecond: 10})
		start := time.Now()
		visits := make(chan time.Duration, 4)
		defer s.hub.Subscribe(func(hub.Change) { visits <- time.Since(start) })()
		_, err := s.jobs.Create("job1", object(t, `{"type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"etag":"*","tags":{"x":1}}}`))
		must(t, err)
		at := []time.Duration{<-visits, <-visits, <-visits, <-visits}
		want := []time.Duration{0, 100 * time.Millisecond, 200 * time.Millisecond, 300 * time.Millisecond}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}
