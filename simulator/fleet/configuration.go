package fleet

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// Limits of configurations.
const (
	maxConfigurations = 100
	maxMetrics        = 5
)

var configurationIDs = regexp.MustCompile(`^[a-z0-9\-+%_*!']{1,128}$`)

// configuration is one, as it was put. It never changes; the next write makes a new one.
type configuration struct {
	id               string
	body             jsontree.Object // as it came: schemaVersion, labels, content, targetCondition, metrics
	priority         int64
	target           target
	metrics          map[string]*query.Query
	settings         []setting
	created, updated time.Time
	number           uint64 // of its making, and of its etag
	etag             uint64
	results          results
}

// results are what an evaluation counted; nil before the first.
type results struct{ system, custom jsontree.Object }

// setting is one path of desired properties, and the merge patch that sets it.
type setting struct {
	path  []string
	patch jsontree.Object
}

// parseConfiguration checks the body of a PUT.
func parseConfiguration(id string, body jsontree.Object) (*configuration, error) {
	if !configurationIDs.MatchString(id) {
		return nil, argumentInvalid(fmt.Sprintf("The configuration id %q is invalid: it has 1 to 128 of a-z, 0-9 and -+%%_*!'", id))
	}
	if text(body, "id") != id {
		return nil, argumentInvalid(fmt.Sprintf("The id of the body is %q, but must be %q", text(body, "id"), id))
	}
	c := &configuration{id: id, body: body}
	var err error
	if c.target, err = parseCondition(text(body, "targetCondition")); err != nil {
		return nil, argumentInvalid("The target condition is invalid: " + err.Error())
	}
	if c.priority, err = parsePriority(body); err != nil {
		return nil, err
	}
	if c.metrics, err = parseMetrics(body.Object("metrics").Object("queries")); err != nil {
		return nil, err
	}
	c.settings, err = parseContent(body.Object("content"), c.target)
	return c, err
}

// parsePriority takes a number as a text, too, as the hub does elsewhere.
func parsePriority(body jsontree.Object) (int64, error) {
	v, _ := body.Get("priority")
	if v == nil {
		return 0, nil
	}
	n, err := strconv.ParseInt(fmt.Sprint(v), 10, 32)
	if err != nil || n < 0 {
		return 0, argumentInvalid(fmt.Sprintf("The priority is %v, but must be a whole number of 0 or more", v))
	}
	return n, nil
}

func parseMetrics(queries jsontree.Object) (map[string]*query.Query, error) {
	if len(queries) > maxMetrics {
		return nil, argumentInvalid(fmt.Sprintf("There are %d metrics, but at most %d are allowed", len(queries), maxMetrics))
	}
	metrics := map[string]*query.Query{}
	for _, m := range queries {
		q, err := query.Parse(fmt.Sprint(m.Value))
		if err != nil {
			return nil, argumentInvalid(fmt.Sprintf("The query of the metric %q is invalid: %v", m.Name, err))
		}
		metrics[m.Name] = q
	}
	return metrics, nil
}

func invalidContent(message string) error {
	return refuse(400, "InvalidConfigurationContent", 400, message)
}

// parseContent reads the settings of deviceContent or moduleContent. modulesContent, of IoT Edge, is kept and not applied.
func parseContent(content jsontree.Object, t target) ([]setting, error) {
	member := "deviceContent"
	if t.modules() {
		member = "moduleContent"
	}
	if edge := content.Object("modulesContent"); edge != nil {
		return nil, nil
	}
	wanted := content.Object(member)
	if wanted == nil {
		return nil, invalidContent("The content has neither modulesContent nor, as the target condition would have it, " + member)
	}
	var all []setting
	for _, m := range wanted {
		s, err := parseSetting(m)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, nil
}

const desiredPath = "properties.desired"

func parseSetting(m jsontree.Member) (setting, error) {
	rest, ok := strings.CutPrefix(m.Name, desiredPath)
	if !ok || rest != "" && rest[0] != '.' {
		return setting{}, invalidContent(fmt.Sprintf("%q is none of the paths %s and %s.NAME", m.Name, desiredPath, desiredPath))
	}
	var s setting
	if rest != "" {
		s.path = strings.Split(rest[1:], ".")
	}
	value := m.Value
	for _, name := range slices.Backward(s.path) {
		value = jsontree.Object{{Name: name, Value: value}}
	}
	s.patch, ok = value.(jsontree.Object)
	if !ok {
		return s, invalidContent(fmt.Sprintf("%q must be an object", m.Name))
	}
	return s, nil
}

// overlaps reports whether a setting is of the same path as another, or of one above or below it.
func (s setting) overlaps(other setting) bool {
	for i := range min(len(s.path), len(other.path)) {
		if s.path[i] != other.path[i] {
			return false
		}
	}
	return true
}

// above orders configurations: the higher priority comes first, of equal ones that which was made last.
func (c *configuration) above(other *configuration) int {
	switch {
	case c.priority != other.priority:
		return int(other.priority - c.priority)
	case c.number > other.number:
		return -1
	}
	return 1
}

func (c *configuration) etagText() string {
	return base64.StdEncoding.EncodeToString(strconv.AppendUint(nil, c.etag, 10))
}

// document is the configuration as the hub returns it.
func (c *configuration) document() jsontree.Object {
	member := func(name string) any { v, _ := c.body.Get(name); return v }
	labels := member("labels")
	if labels == nil {
		labels = jsontree.Object{}
	}
	return jsontree.Object{
		{Name: "id", Value: c.id},
		{Name: "schemaVersion", Value: member("schemaVersion")},
		{Name: "labels", Value: labels},
		{Name: "content", Value: member("content")},
		{Name: "targetCondition", Value: text(c.body, "targetCondition")},
		{Name: "createdTimeUtc", Value: utc(c.created)},
		{Name: "lastUpdatedTimeUtc", Value: utc(c.updated)},
		{Name: "priority", Value: c.priority},
		{Name: "systemMetrics", Value: jsontree.Object{{Name: "results", Value: orEmpty(c.results.system)}, {Name: "queries", Value: c.systemQueries()}}},
		{Name: "metrics", Value: jsontree.Object{
			{Name: "results", Value: orEmpty(c.results.custom)},
			{Name: "queries", Value: orEmpty(c.body.Object("metrics").Object("queries"))},
		}},
		{Name: "etag", Value: c.etagText()},
	}
}

func (c *configuration) systemQueries() jsontree.Object {
	if c.target.query == nil {
		return jsontree.Object{}
	}
	from := "select deviceId from devices"
	if c.target.modules() {
		from = "select deviceId, moduleId " + fromModules
	}
	return jsontree.Object{
		{Name: "targetedCount", Value: c.target.text},
		{Name: "appliedCount", Value: from + " where configurations.[[" + c.id + "]].status = 'Applied'"},
	}
}

func orEmpty(o jsontree.Object) jsontree.Object {
	if o == nil {
		return jsontree.Object{}
	}
	return o
}

func utc(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.9999999Z") }

func count(n int) json.Number { return json.Number(strconv.Itoa(n)) }
