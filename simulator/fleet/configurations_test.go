package fleet

import (
	"fmt"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/query"
)

// put makes a configuration with device content.
func (s site) put(t *testing.T, id, condition, content string, priority int) {
	t.Helper()
	_, _, err := s.configurations.Put(id, object(t, fmt.Sprintf(
		`{"id":%q,"content":{"deviceContent":%s},"targetCondition":%q,"priority":%d}`, id, content, condition, priority)), "")
	must(t, err)
	s.configurations.Evaluate()
}

func (s site) statuses(t *testing.T, key string) string {
	t.Helper()
	return string(jsontree.Append(nil, s.twin(t, key).Configurations))
}

func TestAConfigurationIsAppliedToWhatItTargets(t *testing.T) {
	s := newSite(t, "a", "b")
	s.put(t, "cfg", "tags.site = 'a'", `{"properties.desired.thermostat1":{"__t":"c","targetTemperature":21},"properties.desired.x.y":1}`, 1)
	if got := s.desired(t, "a"); got != `{"thermostat1":{"__t":"c","targetTemperature":21},"x":{"y":1}}` {
		t.Errorf("desired %s", got)
	}
	if got := s.desired(t, "b"); got != `{}` {
		t.Errorf("another device is written: %s", got)
	}
	if got := s.statuses(t, "a"); got != `{"cfg":{"status":"Applied"}}` {
		t.Errorf("status %s", got)
	}
	if twin := string(s.twin(t, "a").JSON()); !strings.Contains(twin, `"$lastUpdatedBy":"cfg"`) {
		t.Errorf("the twin does not name its writer: %s", twin)
	}
	document, _, err := s.configurations.Get("cfg")
	must(t, err)
	if got := string(jsontree.Append(nil, document.Object("systemMetrics").Object("results"))); got != `{"targetedCount":1,"appliedCount":1}` {
		t.Errorf("metrics %s", got)
	}
}

func TestAConfigurationPutsBackWhatOthersChange(t *testing.T) {
	s := newSite(t, "a")
	s.put(t, "cfg", "*", `{"properties.desired.x":1}`, 0)
	version := s.twin(t, "a").DesiredVersion()
	s.configurations.Evaluate()
	if got := s.twin(t, "a").DesiredVersion(); got != version {
		t.Errorf("a value that holds was written: version %d after %d", got, version)
	}
	must(t, s.hub.PatchDesired("a", `{"x":2,"other":3}`, ""))
	s.configurations.Evaluate()
	if got := s.desired(t, "a"); got != `{"x":1,"other":3}` {
		t.Errorf("desired %s", got)
	}
}

func TestTheHigherPriorityWinsAPath(t *testing.T) {
	for name, c := range map[string]struct {
		first, second               string
		firstPriority, nextPriority int
		want, statuses              string
	}{
		"the same path": {`{"properties.desired.x":1}`, `{"properties.desired.x":2}`, 2, 1, `{"x":1}`, `{"first":{"status":"Applied"},"second":{"status":"Targeted"}}`},
		"a path inside": {`{"properties.desired.x":{"a":1}}`, `{"properties.desired.x.b":2}`, 1, 2, `{"x":{"b":2}}`, `{"second":{"status":"Applied"},"first":{"status":"Targeted"}}`},
		"all of it":     {`{"properties.desired":{"x":1}}`, `{"properties.desired.y":2}`, 2, 1, `{"x":1}`, `{"first":{"status":"Applied"},"second":{"status":"Targeted"}}`},
		"other paths":   {`{"properties.desired.x":1}`, `{"properties.desired.y":2}`, 1, 2, `{"y":2,"x":1}`, `{"second":{"status":"Applied"},"first":{"status":"Applied"}}`},
		"a tie":         {`{"properties.desired.x":1}`, `{"properties.desired.x":2}`, 1, 1, `{"x":2}`, `{"second":{"status":"Applied"},"first":{"status":"Targeted"}}`},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSite(t)
			s.put(t, "first", "*", c.first, c.firstPriority)
			s.put(t, "second", "*", c.second, c.nextPriority)
			must(t, s.hub.CreateDevice("a"))
			s.configurations.Evaluate()
			if got := s.desired(t, "a"); got != c.want {
				t.Errorf("desired %s, want %s", got, c.want)
			}
			if got := s.statuses(t, "a"); got != c.statuses {
				t.Errorf("status %s, want %s", got, c.statuses)
			}
		})
	}
}

func TestWhatAConfigurationWroteOutlivesIt(t *testing.T) {
	s := newSite(t, "a")
	s.put(t, "cfg", "*", `{"properties.desired.x":1}`, 0)
	must(t, s.configurations.Delete("cfg", ""))
	s.configurations.Evaluate()
	if got := s.desired(t, "a") + s.statuses(t, "a"); got != `{"x":1}{}` {
		t.Errorf("desired and status %s", got)
	}
}

func TestAConfigurationThatWritesOnce(t *testing.T) {
	s := newSite(t, "a", "b")
	s.configurations.SetOnce(true)
	s.put(t, "cfg", "tags.site = 'a'", `{"properties.desired.x":1}`, 0)
	must(t, s.hub.PatchDesired("a", `{"x":2}`, ""))
	must(t, s.hub.SetTags("b", `{"site":"a"}`))
	s.configurations.Evaluate()
	if got := s.desired(t, "a") + s.desired(t, "b"); got != `{"x":2}{"x":1}` {
		t.Errorf("desired %s: one that joins is written, what another wrote stays", got)
	}
	must(t, s.hub.SetTags("a", `{"site":"elsewhere"}`))
	s.configurations.Evaluate()
	must(t, s.hub.SetTags("a", `{"site":"a"}`))
	s.configurations.Evaluate()
	if got := s.desired(t, "a"); got != `{"x":1}` {
		t.Errorf("desired %s of a device that is targeted anew", got)
	}
}

func TestConditionsAreReadInTheHubsDialect(t *testing.T) {
	s := newSite(t, "a")
	s.put(t, "cfg", "tags.absent != 'x'", `{"properties.desired.x":1}`, 0)
	if got := s.desired(t, "a"); got != `{}` {
		t.Errorf("desired %s", got)
	}
	s.hub.SetQueryDialect(query.Dialect{MissingDiffers: true})
	s.configurations.Evaluate()
	if got := s.desired(t, "a"); got != `{"x":1}` {
		t.Errorf("desired %s", got)
	}
}

func TestAConfigurationOfModules(t *testing.T) {
	s := newSite(t, "a")
	_, err := s.hub.PutModule("a", "m", object(t, `{"moduleId":"m"}`), "")
	must(t, err)
	_, _, err = s.configurations.Put("cfg", object(t, `{"id":"cfg","content":{"moduleContent":{"properties.desired.x":1}},"targetCondition":"from devices.modules where moduleId='m'"}`), "")
	must(t, err)
	s.configurations.Evaluate()
	if got := s.desired(t, hub.ModuleKey("a", "m")) + s.desired(t, "a"); got != `{"x":1}{}` {
		t.Errorf("desired of the module and of its device: %s", got)
	}
}

func TestConfigurationsAreEvaluatedByThemselves(t *testing.T) {
	s := newSite(t, "a")
	_, _, err := s.configurations.Put("cfg", object(t, `{"id":"cfg","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"*"}`), "")
	must(t, err)
	eventually(t, "the first evaluation", func() bool { return s.desired(t, "a") == `{"x":1}` })
	must(t, s.configurations.SetInterval(1))
	must(t, s.hub.PatchDesired("a", `{"x":2}`, ""))
	eventually(t, "the next evaluation", func() bool { return s.desired(t, "a") == `{"x":1}` })
}

func TestUpdatesKeepTheContent(t *testing.T) {
	s := newSite(t)
	s.put(t, "cfg", "*", `{"properties.desired.x":1}`, 1)
	_, first, err := s.configurations.Get("cfg")
	must(t, err)
	changed := `{"id":"cfg","content":{"deviceContent":{"properties.desired.x":2}},"targetCondition":"tags.a=1","priority":"7","labels":{"l":"1"}}`
	document, second, err := s.configurations.Put("cfg", object(t, changed), `"`+first+`"`)
	must(t, err)
	got := string(jsontree.Append(nil, document))
	for _, want := range []string{`"properties.desired.x":1`, `"priority":7`, `"targetCondition":"tags.a=1"`, `"labels":{"l":"1"}`, `"etag":"Mg=="`} {
		if !strings.Contains(got, want) {
			t.Errorf("%s lacks %s", got, want)
		}
	}
	if first != "MQ==" || second != "Mg==" {
		t.Errorf("etags %s, %s", first, second)
	}
	for name, c := range map[string]struct{ id, ifMatch, want string }{
		"a stale etag":         {"cfg", `"MQ=="`, "PreconditionFailed"},
		"one without quotes":   {"cfg", "Mg==", "ConfigurationAlreadyExists"},
		"no etag":              {"cfg", "", "ConfigurationAlreadyExists"},
		"one that is not made": {"other", `"*"`, "ConfigurationNotFound"},
	} {
		_, _, err := s.configurations.Put(c.id, object(t, strings.Replace(changed, `"cfg"`, `"`+c.id+`"`, 1)), c.ifMatch)
		if got := nameOf(err); got != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	if got := nameOf(s.configurations.Delete("cfg", `"MQ=="`)); got != "PreconditionFailed" {
		t.Errorf("deleted with a stale etag: %s", got)
	}
}

func TestConfigurationsAreRefused(t *testing.T) {
	s := newSite(t)
	for name, c := range map[string]struct{ id, body, want string }{
		"upper case":             {"Cfg", `{"id":"Cfg","content":{"deviceContent":{}}}`, "ArgumentInvalid"},
		"another id":             {"cfg", `{"id":"x","content":{"deviceContent":{}}}`, "ArgumentInvalid"},
		"no content":             {"cfg", `{"id":"cfg"}`, "InvalidConfigurationContent"},
		"tags":                   {"cfg", `{"id":"cfg","content":{"deviceContent":{"tags.x":1}}}`, "InvalidConfigurationContent"},
		"a path that is none":    {"cfg", `{"id":"cfg","content":{"deviceContent":{"properties.desiredx":1}}}`, "InvalidConfigurationContent"},
		"all, no object":         {"cfg", `{"id":"cfg","content":{"deviceContent":{"properties.desired":1}}}`, "InvalidConfigurationContent"},
		"a bad condition":        {"cfg", `{"id":"cfg","content":{"deviceContent":{}},"targetCondition":"tags.x ="}`, "ArgumentInvalid"},
		"desired in a condition": {"cfg", `{"id":"cfg","content":{"deviceContent":{}},"targetCondition":"tags.x = 1 AND properties.desired.x = 1"}`, "ArgumentInvalid"},
		"a state in a condition": {"cfg", `{"id":"cfg","content":{"deviceContent":{}},"targetCondition":"connectionState = 'Connected'"}`, "ArgumentInvalid"},
		"a bad priority":         {"cfg", `{"id":"cfg","content":{"deviceContent":{}},"priority":"high"}`, "ArgumentInvalid"},
		"a bad metric":           {"cfg", `{"id":"cfg","content":{"deviceContent":{}},"metrics":{"queries":{"m":"select"}}}`, "ArgumentInvalid"},
	} {
		if _, _, err := s.configurations.Put(c.id, object(t, c.body), ""); nameOf(err) != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
}

func TestQueriesAreChecked(t *testing.T) {
	for condition, wrong := range map[string]bool{"tags.a = 1": false, "tags.a =": true, "*": true, "from devices.modules where moduleId='x'": false} {
		got := CheckQueries(object(t, fmt.Sprintf(`{"targetCondition":%q,"customMetricQueries":{"good":"select deviceId from devices","bad":"select"}}`, condition)))
		if v, _ := got.Get("targetConditionError"); (v != nil) != wrong {
			t.Errorf("%s: %v", condition, v)
		}
		if errs := got.Object("customMetricQueryErrors"); len(errs) != 1 || errs[0].Name != "bad" {
			t.Errorf("errors of metrics %v", errs)
		}
	}
}
