// Package fleet is what a hub does to many devices by itself: automatic device management, which is configurations, and jobs. Both
// are writers of twins beside whoever else writes them.
//
// The rules are those of "Automatic IoT device and module management" and of "Schedule jobs on multiple devices". Where they are
// silent, docs/simulator.md says what is inferred.
package fleet

import (
	"fmt"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// refuse is an error of the hub.
func refuse(status int, name string, number int, message string) *hub.Error {
	return &hub.Error{Status: status, Name: name, Number: number, Message: message}
}

func argumentInvalid(message string) error { return refuse(400, "ArgumentInvalid", 400004, message) }

// target is which twins a condition is about.
type target struct {
	text  string // the query that finds their ids
	query *query.Query
}

const fromModules = "from devices.modules"

// parseTarget reads a condition: "*" is all devices, "" is none, "FROM devices.modules WHERE …" is about modules.
func parseTarget(condition string) (target, error) {
	condition = strings.TrimSpace(condition)
	text := "select deviceId from devices where " + condition
	switch {
	case condition == "":
		return target{}, nil
	case condition == "*":
		text = "select deviceId from devices"
	case strings.HasPrefix(strings.ToLower(condition), fromModules):
		text = "select deviceId, moduleId " + condition
	}
	q, err := query.Parse(text)
	return target{text, q}, err
}

// parseCondition is parseTarget for a configuration, which knows less of a twin than a query does.
func parseCondition(condition string) (target, error) {
	t, err := parseTarget(condition)
	if err != nil || t.query == nil {
		return t, err
	}
	for _, path := range t.query.Conditions() {
		if !targetable(path) {
			return t, fmt.Errorf("%s is none of deviceId, moduleId, tags and properties.reported", strings.Join(path, "."))
		}
	}
	return t, nil
}

// targetable reports whether the condition of a configuration may be about a path.
func targetable(path []string) bool {
	switch strings.ToLower(path[0]) {
	case "deviceid", "moduleid", "tags":
		return true
	case "properties":
		return len(path) > 1 && strings.EqualFold(path[1], "reported")
	}
	return false
}

// modules reports whether the target is modules rather than devices.
func (t target) modules() bool { return t.query != nil && t.query.From == query.Modules }

// matches returns the keys of the twins that the index of queries shows to fit.
func (t target) matches(h *hub.Hub) []string { return matches(h, t.query) }

func matches(h *hub.Hub, q *query.Query) []string {
	var keys []string
	add := func(t *hub.Twin) bool {
		if q.Matches(t) {
			keys = append(keys, hub.ModuleKey(t.Identity.DeviceID, t.Identity.ModuleID))
		}
		return true
	}
	switch {
	case q == nil:
	case q.From == query.Modules:
		q = q.In(h.QueryDialect())
		h.ModuleRows("", add)
	case q.From == query.Devices:
		q = q.In(h.QueryDialect())
		h.Rows("", add)
	}
	return keys
}

// text is a member that is a text.
func text(o jsontree.Object, name string) string {
	v, _ := o.Get(name)
	s, _ := v.(string)
	return s
}
