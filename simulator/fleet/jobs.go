package fleet

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// Limits of jobs. A zero one does not limit.
type Limits struct {
	Active           int     // jobs that run, wait or are scheduled
	DevicesPerSecond float64 // of all jobs together
}

// atOnce is how many devices a job calls at the same time.
const atOnce = 10

// Jobs are those of a hub, in the order of their making.
type Jobs struct {
	hub     *hub.Hub
	methods *methods.Exchange
	clock   func() time.Time
	closed  context.Context
	close   context.CancelFunc
	running sync.WaitGroup

	mu     sync.Mutex
	list   []*job
	limits Limits
	next   time.Time // when a device may be visited next
}

// SetLimits puts limits in force, for jobs that run as well.
func (s *Jobs) SetLimits(l Limits) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits, s.next = l, time.Time{}
}

// active counts the jobs that take a place: one that is scheduled does, too. The caller holds s.mu.
func (s *Jobs) active() int {
	n := 0
	for _, j := range s.list {
		if j.status == queued || j.status == scheduled || j.status == running {
			n++
		}
	}
	return n
}

// turn returns how long the next device has to wait.
func (s *Jobs) turn() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.limits.DevicesPerSecond == 0 {
		return 0
	}
	now := time.Now()
	at := now
	if s.next.After(now) {
		at = s.next
	}
	s.next = at.Add(time.Duration(float64(time.Second) / s.limits.DevicesPerSecond))
	return at.Sub(now)
}

// NewJobs returns none yet. The clock stamps them, and says how long one waits for its start, which passes in real time.
func NewJobs(h *hub.Hub, m *methods.Exchange, clock func() time.Time) *Jobs {
	s := &Jobs{hub: h, methods: m, clock: clock}
	s.closed, s.close = context.WithCancel(context.Background())
	return s
}

// Close ends jobs between two devices; the exchange of methods has to be closed before.
func (s *Jobs) Close() {
	s.close()
	s.running.Wait()
}

// Create begins a job, or schedules it.
func (s *Jobs) Create(id string, body jsontree.Object) (jsontree.Object, error) {
	j, err := parseJob(id, body, s.clock())
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.find(id) != nil {
		return nil, refuse(409, "JobAlreadyExists", 409103, "The job with id '"+id+"' already exists.")
	}
	if s.limits.Active > 0 && s.active() >= s.limits.Active {
		return nil, refuse(429, "ThrottlingMaxActiveJobCountExceeded", 429004, fmt.Sprintf("The hub has %d active jobs already.", s.active()))
	}
	s.list = append(s.list, j)
	s.running.Go(func() { s.run(j) })
	return j.document(), nil
}

// find is for a caller that holds s.mu.
func (s *Jobs) find(id string) *job {
	if i := slices.IndexFunc(s.list, func(j *job) bool { return j.id == id }); i >= 0 {
		return s.list[i]
	}
	return nil
}

// Get returns a job. One that nobody has made is of the type and the status unknown.
func (s *Jobs) Get(id string) jsontree.Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j := s.find(id); j != nil {
		return j.document()
	}
	return jsontree.Object{{Name: "jobId", Value: id}, {Name: "type", Value: "unknown"}, {Name: "status", Value: "unknown"}}
}

// List returns the jobs of a type and a status; "" is any.
func (s *Jobs) List(kind, status string) []any {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := []any{}
	for _, j := range s.list {
		if (kind == "" || kind == j.kind) && (status == "" || status == j.status) {
			all = append(all, j.document())
		}
	}
	return all
}

// Cancel ends a job that has not begun. One that runs cannot be stopped.
func (s *Jobs) Cancel(id string) (jsontree.Object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	j := s.find(id)
	if j == nil {
		return nil, refuse(404, "JobNotFound", 404002, "The job with id '"+id+"' does not exist.")
	}
	if j.status != queued && j.status != scheduled {
		return nil, refuse(405, "OperationNotAllowedInCurrentState", 405102, "The job with id '"+id+"' is "+j.status+" and cannot be cancelled.")
	}
	j.status, j.ended = cancelled, s.clock()
	close(j.cancel)
	return j.document(), nil
}

// Rows calls yield for what became of each device of each job.
func (s *Jobs) Rows(yield func(query.Row) bool) {
	for _, row := range s.rows() {
		if !yield(row) {
			return
		}
	}
}

func (s *Jobs) rows() []jobRow {
	s.mu.Lock()
	defer s.mu.Unlock()
	var all []jobRow
	for _, j := range s.list {
		for _, d := range j.devices {
			all = append(all, j.row(d))
		}
	}
	return all
}

func (s *Jobs) run(j *job) {
	timer := time.NewTimer(j.start.Sub(s.clock()))
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-j.cancel:
		return
	case <-s.closed.Done():
		return
	}
	if s.begin(j) {
		s.visit(j)
		s.end(j, completed, "")
	}
}

// begin finds the devices of a job, unless it was cancelled. A condition that is no query fails the job only now.
func (s *Jobs) begin(j *job) bool {
	t, err := parseTarget(j.condition)
	if err == nil && t.query == nil {
		err = errors.New("the query condition is empty")
	}
	if err != nil {
		s.end(j, failed, "The query condition is invalid: "+err.Error())
		return false
	}
	keys := t.matches(s.hub)
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.status == cancelled {
		return false
	}
	j.status = running
	for _, key := range keys {
		j.devices = append(j.devices, &deviceJob{device: key, status: queued})
	}
	return true
}

func (s *Jobs) end(j *job, status, failure string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if j.status != cancelled {
		j.status, j.failure, j.ended = status, failure, s.clock()
	}
}

// visit does the job at each device, at a few of them at the same time. What is not begun within its time fails.
func (s *Jobs) visit(j *job) {
	deadline := time.Now().Add(j.within)
	slots := make(chan struct{}, atOnce)
	var calls sync.WaitGroup
	for _, d := range j.devices {
		if wait := s.turn(); wait > 0 {
			select {
			case <-time.After(wait):
			case <-s.closed.Done():
			}
		}
		slots <- struct{}{}
		calls.Go(func() {
			defer func() { <-slots }()
			s.device(j, d, deadline)
		})
	}
	calls.Wait()
}

var errLate = errors.New("the job had no time left")

func (s *Jobs) device(j *job, d *deviceJob, deadline time.Time) {
	s.set(func() { d.status, d.started = running, s.clock() })
	var response any
	err := s.closed.Err()
	switch {
	case err != nil:
	case !time.Now().Before(deadline):
		err = errLate
	case j.kind == updateTwin:
		err = s.hub.MergeTwin(d.device, j.body)
	default:
		response, err = s.invoke(j, d.device)
	}
	s.set(func() {
		d.status, d.ended, d.response = completed, s.clock(), response
		if err != nil {
			d.status, d.err = failed, jsontree.Object{{Name: "code", Value: codeOf(err)}, {Name: "description", Value: err.Error()}}
		}
	})
}

func (s *Jobs) set(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
}

func (s *Jobs) invoke(j *job, device string) (any, error) {
	answer, err := s.methods.Invoke(device, j.invocation, j.timeouts)
	if err != nil {
		return nil, err
	}
	payload, err := jsontree.Parse(answer.Payload)
	if err != nil {
		payload = string(answer.Payload)
	}
	return jsontree.Object{{Name: "status", Value: answer.Status}, {Name: "payload", Value: payload}}, nil
}

// codeOf is the number that the hub gives an error.
func codeOf(err error) string {
	var refused *hub.Error
	var absent methods.NotOnlineError
	var late methods.TimeoutError
	switch {
	case errors.As(err, &refused):
		return refused.Name
	case errors.As(err, &absent):
		return "DeviceNotOnline"
	case errors.As(err, &late):
		return "GatewayTimeout"
	}
	return "ServerError"
}
