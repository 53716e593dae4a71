package fleet

import (
	"maps"
	"slices"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// Status of a configuration in a twin.
const (
	targeted = "Targeted"
	applied  = "Applied"
)

// Evaluate has every configuration hold at the twins that it targets, and counts.
func (c *Configurations) Evaluate() {
	c.evaluating.Lock()
	defer c.evaluating.Unlock()
	list := c.inOrder()
	byTwin := map[string][]*configuration{}
	for _, one := range list {
		for _, key := range one.target.matches(c.hub) {
			byTwin[key] = append(byTwin[key], one)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(byTwin)) {
		c.hold(key, byTwin[key])
	}
	c.forget(byTwin)
	for _, one := range list {
		c.count(one)
	}
}

// hold writes what a twin lacks of the configurations that target it, and notes their status.
func (c *Configurations) hold(key string, list []*configuration) {
	statuses := jsontree.Object{}
	once := c.Once()
	for i, one := range list {
		status := targeted
		if one.yields(list[:i]) {
			if once && c.applied(key, one.id) {
				status = applied
			} else if err := c.hub.Configure(key, one.id, one.patches()); err != nil {
				c.log.V(1).Info("A configuration could not be applied", "configuration", one.id, "twin", key, "error", err.Error())
			} else {
				status = applied
			}
		}
		statuses = append(statuses, jsontree.Member{Name: one.id, Value: jsontree.Object{{Name: "status", Value: status}}})
	}
	c.note(key, statuses)
}

// applied reports whether a twin was written by a configuration that has targeted it since.
func (c *Configurations) applied(key, id string) bool {
	t, err := c.hub.Get(key)
	return err == nil && text(t.Configurations.Object(id), "status") == applied
}

// yields reports whether a configuration has something to set of which none of those above it sets a part.
func (c *configuration) yields(above []*configuration) bool {
	for _, other := range above {
		for _, s := range c.settings {
			if slices.ContainsFunc(other.settings, s.overlaps) {
				return false
			}
		}
	}
	return len(c.settings) > 0
}

func (c *configuration) patches() []jsontree.Object {
	patches := make([]jsontree.Object, len(c.settings))
	for i, s := range c.settings {
		patches[i] = s.patch
	}
	return patches
}

// forget takes away the status of twins that no configuration targets any more.
func (c *Configurations) forget(byTwin map[string][]*configuration) {
	var left []string
	see := func(t *hub.Twin) bool {
		key := hub.ModuleKey(t.Identity.DeviceID, t.Identity.ModuleID)
		if byTwin[key] == nil && len(t.Configurations) > 0 {
			left = append(left, key)
		}
		return true
	}
	c.hub.Rows("", see)
	c.hub.ModuleRows("", see)
	for _, key := range left {
		c.note(key, nil)
	}
}

func (c *Configurations) note(key string, statuses jsontree.Object) {
	if err := c.hub.SetConfigurations(key, statuses); err != nil {
		c.log.V(1).Info("A twin is gone that a configuration targets", "twin", key, "error", err.Error())
	}
}

// count gives a configuration its metrics, unless it was replaced meanwhile.
func (c *Configurations) count(one *configuration) {
	r := results{system: jsontree.Object{}, custom: jsontree.Object{}}
	for _, m := range one.systemQueries() {
		q, err := query.Parse(m.Value.(string))
		if err == nil {
			r.system = append(r.system, jsontree.Member{Name: m.Name, Value: count(len(matches(c.hub, q)))})
		}
	}
	for _, name := range slices.Sorted(maps.Keys(one.metrics)) {
		r.custom = append(r.custom, jsontree.Member{Name: name, Value: count(len(matches(c.hub, one.metrics[name])))})
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.list[one.id] == one {
		next := *one
		next.results = r
		c.list[one.id] = &next
	}
}
