package simulator_test

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestModulesOverREST(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	const identity, twin = "/devices/dev1/modules/m1", "/twins/dev1/modules/m1"
	made := c.do("PUT", identity, `{"moduleId":"m1","deviceId":"dev1"}`).want(200)
	if shown := c.do("GET", identity, "").want(200); shown.body != made.body || shown.header.Get("ETag") == "" {
		t.Errorf("made %s, shown %s", made.body, shown.body)
	}
	c.do("GET", "/devices/dev1/modules", "").want(200).wantJSON("[" + made.body + "]")
	again := c.do("PUT", identity, `{"moduleId":"m1","deviceId":"dev1"}`).want(409)
	var e2 struct{ ErrorCode int }
	if again.decode(&e2); e2.ErrorCode != 409301 || again.header.Get("iothub-errorcode") != "ModuleAlreadyExistsOnDevice" {
		t.Errorf("made again: %s", again.body)
	}
	c.do("PATCH", twin, `{"properties":{"desired":{"a":1}}}`, "If-Match", `"AAAAAAAAAAE="`).want(200)
	c.do("PATCH", twin, `{"properties":{"desired":{"a":2}}}`, "If-Match", `"AAAAAAAAAAE="`).want(412)
	c.do("PUT", twin, `{"properties":{"desired":{"b":1}}}`).want(200)
	if got := c.do("GET", twin, "").want(200).body; !strings.Contains(got, `"moduleId":"m1"`) || !strings.Contains(got, `"desired":{"b":1,`) {
		t.Errorf("twin %s", got)
	}
	if got := c.do("GET", "/twins/dev1", "").want(200).body; !strings.Contains(got, `"version":2,`) {
		t.Errorf("the device's twin is written: %s", got)
	}
	c.do("POST", twin+"/methods", `{"methodName":"r"}`).want(404)
	c.do("POST", "/devices/query", `{"query":"select moduleId, deviceId from devices.modules where properties.desired.b = 1"}`).want(200).
		wantJSON(`[{"moduleId":"m1","deviceId":"dev1"}]`)
	c.do("POST", "/devices/query", `{"query":"select deviceId from devices"}`).want(200).wantJSON(`[{"deviceId":"dev1"}]`)
	c.do("GET", "/devices/dev1%2Fm1", "").want(404)
	c.do("GET", "/twins/dev1%2Fm1", "").want(404)
	c.do("DELETE", identity, "", "If-Match", "*").want(204)
	c.do("GET", identity, "").want(404)
	c.do("GET", twin, "").wantError(404, "DeviceNotFound", "dev1/m1")
	c.do("GET", "/devices/nobody/modules", "").want(401)
	c.must(c.sim.Hub().SetStatus("dev1", false, ""))
	c.do("GET", "/devices/dev1/modules", "").want(401)
}

func TestEventsOfModulesNameThem(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.do("PUT", "/devices/dev1/modules/m1", `{"moduleId":"m1"}`).want(200)
	c.do("PATCH", "/twins/dev1/modules/m1", `{"properties":{"desired":{"a":1}}}`).want(200)
	c.must(c.sim.Hub().PatchDesired("dev1", `{"a":1}`, ""))
	c.must(c.sim.Router().Flush(t.Context()))
	var got []any
	for _, e := range c.sim.Events().Partitions() {
		for _, m := range e.Read(0, 100) {
			got = append(got, []any{m.Message.Application["opType"], m.Message.Application["moduleId"], m.Message.Annotations["iothub-connection-module-id"]})
		}
	}
	want := []any{
		[]any{"createDeviceIdentity", nil, nil}, []any{"createModuleIdentity", "m1", "m1"}, []any{"updateTwin", "m1", "m1"}, []any{"updateTwin", nil, nil},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestConfigurationsOverREST(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.must(c.sim.Hub().SetTags("dev1", `{"site":"a"}`))
	body := `{"id":"cfg","content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"tags.site = 'a'","priority":1,"metrics":{"queries":{"mine":"select deviceId from devices where properties.desired.x = 1"}}}`
	made := c.do("PUT", "/configurations/cfg", body).want(200)
	made.wantJSON(`{"id":"cfg","schemaVersion":null,"labels":{},"content":{"deviceContent":{"properties.desired.x":1}},"targetCondition":"tags.site = 'a'",
		"createdTimeUtc":"2026-01-02T04:01:00.1234567Z","lastUpdatedTimeUtc":"2026-01-02T04:01:00.1234567Z","priority":1,
		"systemMetrics":{"results":{},"queries":{"targetedCount":"select deviceId from devices where tags.site = 'a'",
			"appliedCount":"select deviceId from devices where configurations.[[cfg]].status = 'Applied'"}},
		"metrics":{"results":{},"queries":{"mine":"select deviceId from devices where properties.desired.x = 1"}},"etag":"MQ=="}`)
	if got := made.header.Get("ETag"); got != `"MQ=="` {
		t.Errorf("ETag %q", got)
	}
	c.sim.Configurations().Evaluate()
	if got := c.do("GET", "/configurations/cfg", "").want(200).body; !strings.Contains(got, `"results":{"targetedCount":1,"appliedCount":1}`) || !strings.Contains(got, `"results":{"mine":1}`) {
		t.Errorf("metrics in %s", got)
	}
	c.do("POST", "/devices/query", `{"query":"select deviceId from devices where configurations.[[cfg]].status = 'Applied'"}`).want(200).wantJSON(`[{"deviceId":"dev1"}]`)
	c.do("PUT", "/configurations/cfg", body).wantError(409, "ConfigurationAlreadyExists", "The configuration with id 'cfg' already exists.")
	c.do("POST", "/configurations/testQueries", `{"targetCondition":"tags.x = 1"}`).want(200).wantJSON(`{"targetConditionError":null,"customMetricQueryErrors":{}}`)
	c.do("DELETE", "/configurations/cfg", "").want(204)
	c.do("GET", "/configurations/cfg", "").wantError(404, "ConfigurationNotFound", "The configuration with id 'cfg' does not exist.")
	c.do("GET", "/configurations", "").want(200).wantJSON("[]")
	c.policy = "service"
	c.do("GET", "/configurations", "").want(401)
}

func TestJobsOverREST(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	for _, id := range []string{"one", "two"} {
		c.do("PUT", "/jobs/v2/"+id, `{"jobId":"`+id+`","type":"scheduleUpdateTwin","queryCondition":"*","updateTwin":{"etag":"*","tags":{"`+id+`":1}}}`).want(200)
		deadline := time.Now().Add(20 * time.Second)
		for !strings.Contains(c.do("GET", "/jobs/v2/"+id, "").want(200).body, `"status":"completed"`) {
			if time.Now().After(deadline) {
				t.Fatal("the job is not done after 20 s")
			}
		}
	}
	first := c.do("GET", "/jobs/v2/query?jobType=scheduleUpdateTwin&jobStatus=completed", "", "x-ms-max-item-count", "1").want(200)
	next := first.header.Get("x-ms-continuation")
	second := c.do("GET", "/jobs/v2/query", "", "x-ms-max-item-count", "1", "x-ms-continuation", next).want(200)
	if !strings.Contains(first.body, `"jobId":"one"`) || !strings.Contains(second.body, `"jobId":"two"`) || second.header.Get("x-ms-continuation") != "" {
		t.Errorf("pages %s and %s", first.body, second.body)
	}
	var rows []struct{ JobID, DeviceID, Status string }
	page := c.do("POST", "/devices/query", `{"query":"select * from devices.jobs where devices.jobs.status = 'completed'"}`, "x-ms-max-item-count", "1").want(200)
	page.decode(&rows)
	more := page.header.Get("x-ms-continuation")
	var rest []struct{ JobID, DeviceID, Status string }
	c.do("POST", "/devices/query", `{"query":"select * from devices.jobs where devices.jobs.status = 'completed'"}`, "x-ms-continuation", more).want(200).decode(&rest)
	if got := slices.Concat(rows, rest); len(got) != 2 || got[0].JobID != "one" || got[1].JobID != "two" || got[1].DeviceID != "dev1" {
		t.Errorf("rows %v", got)
	}
	c.do("POST", "/jobs/v2/one/cancel", "").wantError(405, "OperationNotAllowedInCurrentState", "The job with id 'one' is completed and cannot be cancelled.")
	c.do("GET", "/jobs/v2/nobody", "").want(200).wantJSON(`{"jobId":"nobody","type":"unknown","status":"unknown"}`)
	c.do("GET", "/jobs", "").want(200).wantJSON("[]")
	c.do("GET", "/jobs/nobody", "").want(404)
}

func TestChildrenOfAnEdgeDeviceAreFound(t *testing.T) {
	c := start(t)
	var edge struct{ DeviceScope string }
	c.do("PUT", "/devices/edge", `{"deviceId":"edge","capabilities":{"iotEdge":true}}`).want(200).decode(&edge)
	c.do("PUT", "/devices/leaf", `{"deviceId":"leaf","deviceScope":"`+edge.DeviceScope+`"}`).want(200)
	c.do("POST", "/devices/query", `{"query":"select deviceId from devices where array_contains(parentScopes, '`+edge.DeviceScope+`')"}`).want(200).
		wantJSON(`[{"deviceId":"leaf"}]`)
}

func TestTelemetryIsActivity(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.must(c.sim.Router().PublishTelemetry("dev1", "", "", []byte(`{}`)))
	if got := c.do("GET", "/devices/dev1", "").want(200).body; !strings.Contains(got, `"lastActivityTime":"2026-01-02T04:01:00.1234567Z"`) {
		t.Errorf("got %s", got)
	}
}
