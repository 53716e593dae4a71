package fleet

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/go-logr/logr"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// DefaultInterval is how often a hub looks whether its configurations hold.
const DefaultInterval = 5 * time.Minute

// Configurations are those of a hub. They are evaluated shortly after each change of one of them and then at an interval: what a
// targeted twin lacks is written, what somebody else has changed is put back.
type Configurations struct {
	hub   *hub.Hub
	clock func() time.Time
	log   logr.Logger
	wake  chan struct{}
	stop  chan struct{}
	done  chan struct{}

	mu       sync.Mutex
	interval time.Duration
	list     map[string]*configuration
	made     uint64
	once     bool

	evaluating sync.Mutex // one evaluation at a time
}

// NewConfigurations returns none yet. The clock stamps them; the interval passes in real time.
func NewConfigurations(h *hub.Hub, clock func() time.Time, log logr.Logger) *Configurations {
	c := &Configurations{
		hub: h, clock: clock, log: log, interval: DefaultInterval, list: map[string]*configuration{},
		wake: make(chan struct{}, 1), stop: make(chan struct{}), done: make(chan struct{}),
	}
	go c.run()
	return c
}

// Close ends the evaluations.
func (c *Configurations) Close() {
	close(c.stop)
	<-c.done
}

func (c *Configurations) run() {
	defer close(c.done)
	for {
		timer := time.NewTimer(c.Interval())
		select {
		case <-c.stop:
			timer.Stop()
			return
		case <-c.wake:
		case <-timer.C:
		}
		timer.Stop()
		c.Evaluate()
	}
}

func (c *Configurations) kick() {
	select {
	case c.wake <- struct{}{}:
	default:
	}
}

// Interval returns how long configurations rest between evaluations.
func (c *Configurations) Interval() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.interval
}

// SetInterval changes it, and begins with an evaluation.
func (c *Configurations) SetInterval(d time.Duration) error {
	if d <= 0 {
		return fmt.Errorf("the interval of configurations is %v, expected more than 0", d)
	}
	c.mu.Lock()
	c.interval = d
	c.mu.Unlock()
	c.kick()
	return nil
}

// SetOnce has configurations write to a twin once, and not put back what somebody else changes later. Whether a hub puts it back
// is not documented, and was reported either way.
func (c *Configurations) SetOnce(once bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.once = once
}

// Once returns what SetOnce set.
func (c *Configurations) Once() bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.once
}

// List returns the documents of all configurations, by id.
func (c *Configurations) List() []any {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := make([]any, 0, len(c.list))
	for _, id := range slices.Sorted(maps.Keys(c.list)) {
		all = append(all, c.list[id].document())
	}
	return all
}

// Get returns the document of a configuration and its etag.
func (c *Configurations) Get(id string) (jsontree.Object, string, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	one := c.list[id]
	if one == nil {
		return nil, "", notFound(id)
	}
	return one.document(), one.etagText(), nil
}

func notFound(id string) error {
	return refuse(404, "ConfigurationNotFound", 404301, "The configuration with id '"+id+"' does not exist.")
}

// condition is an If-Match, which counts only in quotes: without them the hub takes a PUT for one that creates.
func condition(ifMatch string) (etag string, given bool) {
	s := strings.TrimSpace(ifMatch)
	if len(s) < 3 || s[0] != '"' || s[len(s)-1] != '"' {
		return "", false
	}
	return s[1 : len(s)-1], true
}

func (c *configuration) match(etag string) error {
	if etag == "*" || etag == c.etagText() {
		return nil
	}
	return refuse(412, "PreconditionFailed", 412001, "Precondition failed: the etag of the configuration is "+c.etagText()+", not "+etag)
}

// Put creates a configuration or, with an If-Match, updates it: all but its content, which the hub silently keeps.
func (c *Configurations) Put(id string, body jsontree.Object, ifMatch string) (jsontree.Object, string, error) {
	want, err := parseConfiguration(id, body)
	if err != nil {
		return nil, "", err
	}
	defer c.kick()
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.clock()
	want.created, want.updated = now, now
	if err := c.place(want, ifMatch); err != nil {
		return nil, "", err
	}
	c.list[id] = want
	return want.document(), want.etagText(), nil
}

// place gives a configuration what it has of the one before it, or of its being new. c.mu is held.
func (c *Configurations) place(want *configuration, ifMatch string) error {
	etag, update := condition(ifMatch)
	was := c.list[want.id]
	switch {
	case update && was == nil:
		return notFound(want.id)
	case update:
		content, _ := was.body.Get("content")
		want.body, want.settings = want.body.With("content", content), was.settings
		want.created, want.number, want.etag = was.created, was.number, was.etag+1
		return was.match(etag)
	case was != nil:
		return refuse(409, "ConfigurationAlreadyExists", 409401, "The configuration with id '"+want.id+"' already exists.")
	case len(c.list) >= maxConfigurations:
		return refuse(413, "ConfigurationCountLimitExceeded", 413101, fmt.Sprintf("The hub has %d configurations already.", maxConfigurations))
	}
	c.made++
	want.number, want.etag = c.made, 1
	return nil
}

// Delete deletes a configuration. What it has written stays.
func (c *Configurations) Delete(id, ifMatch string) error {
	defer c.kick()
	c.mu.Lock()
	defer c.mu.Unlock()
	was := c.list[id]
	if was == nil {
		return notFound(id)
	}
	if etag, given := condition(ifMatch); given {
		if err := was.match(etag); err != nil {
			return err
		}
	}
	delete(c.list, id)
	return nil
}

// CheckQueries says what is wrong with a target condition, and with metrics.
func CheckQueries(body jsontree.Object) jsontree.Object {
	var wrong any
	wanted := text(body, "targetCondition")
	if _, err := parseCondition(wanted); err != nil {
		wrong = err.Error()
	} else if strings.TrimSpace(wanted) == "*" {
		wrong = "The target condition * cannot be tested."
	}
	metrics := jsontree.Object{}
	for _, m := range body.Object("customMetricQueries") {
		if _, err := query.Parse(fmt.Sprint(m.Value)); err != nil {
			metrics = append(metrics, jsontree.Member{Name: m.Name, Value: err.Error()})
		}
	}
	return jsontree.Object{{Name: "targetConditionError", Value: wrong}, {Name: "customMetricQueryErrors", Value: metrics}}
}

// inOrder returns the configurations, those that win first.
func (c *Configurations) inOrder() []*configuration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.SortedFunc(maps.Values(c.list), (*configuration).above)
}
