package fleet

import (
	"fmt"
	"regexp"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// Types of jobs.
const (
	updateTwin   = "scheduleUpdateTwin"
	deviceMethod = "scheduleDeviceMethod"
)

// rowKinds are the types of jobs as rows of devices.jobs spell them.
var rowKinds = map[string]string{updateTwin: "scheduleTwinUpdate", deviceMethod: deviceMethod}

// Status of a job, and of a device in it.
const (
	queued    = "queued"
	scheduled = "scheduled"
	running   = "running"
	completed = "completed"
	failed    = "failed"
	cancelled = "cancelled"
)

const (
	maxAhead         = 168 * time.Hour
	defaultExecution = 3600
	defaultMethod    = 30
	maxMethod        = 300
)

var jobIDs = regexp.MustCompile(`^[a-z0-9\-']{1,64}$`)

// job is one job. Jobs.mu guards all below the line.
type job struct {
	id, kind   string
	condition  string
	body       jsontree.Object // updateTwin or cloudToDeviceMethod
	created    time.Time
	start      time.Time
	within     time.Duration // maxExecutionTimeInSeconds
	invocation methods.Invocation
	timeouts   methods.Timeouts

	status  string
	failure string
	ended   time.Time
	devices []*deviceJob
	cancel  chan struct{}
}

// deviceJob is what became of one device, a row of devices.jobs.
type deviceJob struct {
	device, status string
	started, ended time.Time
	response       any
	err            any // null, or an object
}

// parseJob checks the body of a PUT. Whether the condition is a query shows when the job runs.
func parseJob(id string, body jsontree.Object, now time.Time) (*job, error) {
	if !jobIDs.MatchString(id) {
		return nil, argumentInvalid(fmt.Sprintf("The job id %q is invalid: it has 1 to 64 of a-z, 0-9, - and '", id))
	}
	j := &job{id: id, kind: text(body, "type"), condition: text(body, "queryCondition"), created: now, start: now, status: queued, cancel: make(chan struct{})}
	seconds, err := whole(body, "maxExecutionTimeInSeconds", defaultExecution)
	if err != nil {
		return nil, err
	}
	j.within = time.Duration(seconds) * time.Second
	if err := j.parseStart(text(body, "startTime")); err != nil {
		return nil, err
	}
	switch j.kind {
	case updateTwin:
		return j, j.parseTwin(body.Object("updateTwin"))
	case deviceMethod:
		return j, j.parseMethod(body.Object("cloudToDeviceMethod"))
	}
	return nil, argumentInvalid(fmt.Sprintf("The type of the job is %q, but must be %s or %s", j.kind, updateTwin, deviceMethod))
}

func (j *job) parseStart(start string) error {
	if start == "" {
		return nil
	}
	at, err := time.Parse(time.RFC3339, start)
	if err != nil {
		return argumentInvalid(fmt.Sprintf("startTime is %q, but must be a time of RFC 3339", start))
	}
	if ahead := at.Sub(j.created); ahead > maxAhead {
		return argumentInvalid(fmt.Sprintf("startTime is %q, but must be at most %v from now", start, maxAhead))
	} else if ahead > 0 {
		j.start, j.status = at, scheduled
	}
	return nil
}

// parseTwin: the hub wants an etag, and takes but one.
func (j *job) parseTwin(twin jsontree.Object) error {
	j.body = twin
	if etag := text(twin, "etag"); etag != "*" {
		return argumentInvalid(fmt.Sprintf("The etag of updateTwin is %q, but must be \"*\"", etag))
	}
	return nil
}

func (j *job) parseMethod(method jsontree.Object) error {
	j.body = method
	j.invocation.Name = text(method, "methodName")
	if j.invocation.Name == "" {
		return argumentInvalid("methodName is missing")
	}
	payload, _ := method.Get("payload")
	j.invocation.Payload = jsontree.Append(nil, payload)
	connect, err := whole(method, "connectTimeoutInSeconds", 0)
	if err != nil {
		return err
	}
	response, err := whole(method, "responseTimeoutInSeconds", defaultMethod)
	if err != nil {
		return err
	}
	if max(connect, response) > maxMethod {
		return argumentInvalid(fmt.Sprintf("The time-outs of the method are %d and %d seconds, but at most %d are allowed", connect, response, maxMethod))
	}
	j.timeouts = methods.Timeouts{Connect: time.Duration(connect) * time.Second, Response: time.Duration(response) * time.Second}
	return nil
}

// whole is a member that is a whole number, which may be written as a text.
func whole(o jsontree.Object, name string, usually int64) (int64, error) {
	v, _ := o.Get(name)
	if v == nil {
		return usually, nil
	}
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 64)
	if err != nil || n < 0 {
		return 0, argumentInvalid(fmt.Sprintf("%s is %v, but must be a whole number of 0 or more", name, v))
	}
	return n, nil
}

// document is the job as the hub returns it. The caller holds Jobs.mu.
func (j *job) document() jsontree.Object {
	o := jsontree.Object{
		{Name: "jobId", Value: j.id},
		{Name: "queryCondition", Value: j.condition},
		{Name: "createdTime", Value: utc(j.created)},
		{Name: "startTime", Value: utc(j.start)},
		{Name: "maxExecutionTimeInSeconds", Value: int64(j.within / time.Second)},
		{Name: "type", Value: j.kind},
		{Name: map[string]string{updateTwin: "updateTwin", deviceMethod: "cloudToDeviceMethod"}[j.kind], Value: j.body},
		{Name: "status", Value: j.status},
	}
	if !j.ended.IsZero() {
		o = append(o, jsontree.Member{Name: "endTime", Value: utc(j.ended)})
	}
	if j.failure != "" {
		o = append(o, jsontree.Member{Name: "failureReason", Value: j.failure})
	}
	return append(o, jsontree.Member{Name: "deviceJobStatistics", Value: j.statistics()})
}

func (j *job) statistics() jsontree.Object {
	by := map[string]int{}
	for _, d := range j.devices {
		by[d.status]++
	}
	return jsontree.Object{
		{Name: "deviceCount", Value: len(j.devices)},
		{Name: "failedCount", Value: by[failed]},
		{Name: "succeededCount", Value: by[completed]},
		{Name: "runningCount", Value: by[running]},
		{Name: "pendingCount", Value: by[queued]},
	}
}

// row is a device of the job as queries of devices.jobs see it.
func (j *job) row(d *deviceJob) jobRow {
	changed := d.started
	if !d.ended.IsZero() {
		changed = d.ended
	}
	o := jsontree.Object{
		{Name: "deviceId", Value: d.device}, {Name: "jobId", Value: j.id}, {Name: "jobType", Value: rowKinds[j.kind]}, {Name: "status", Value: d.status},
		{Name: "startTimeUtc", Value: utc(d.started)}, {Name: "endTimeUtc", Value: utc(d.ended)},
		{Name: "createdDateTimeUtc", Value: utc(j.created)}, {Name: "lastUpdatedDateTimeUtc", Value: utc(changed)},
		{Name: "outcome", Value: jsontree.Object{{Name: "deviceMethodResponse", Value: d.response}}},
	}
	if d.err != nil {
		o = append(o, jsontree.Member{Name: "error", Value: d.err})
	}
	return jobRow{o}
}

// jobRow answers for paths with and without the name of the collection in front.
type jobRow struct{ document jsontree.Object }

func (r jobRow) Lookup(path []string) (any, bool) {
	if len(path) > 2 && path[0] == "devices" && path[1] == "jobs" {
		path = path[2:]
	}
	var v any = r.document
	for _, name := range path {
		o, _ := v.(jsontree.Object)
		var ok bool
		if v, ok = o.Get(name); !ok {
			return nil, false
		}
	}
	return v, true
}

var _ query.Row = jobRow{}
