package hub

import (
	"errors"
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestModules(t *testing.T) {
	h := newDevice(t)
	made, err := h.PutModule("dev1", "m1", object(t, `{"moduleId":"m1","deviceId":"dev1","managedBy":"me","authentication":{"type":"none"}}`), "")
	must(t, err)
	if made.ModuleID != "m1" || made.ManagedBy != "me" || made.Authentication.Type != "sas" || made.Authentication.PrimaryKey == "" {
		t.Errorf("made %+v", made)
	}
	twin, err := h.PatchTwin(ModuleKey("dev1", "m1"), object(t, `{"properties":{"desired":{"a":1}}}`), "")
	must(t, err)
	document := twin.Document()
	if id, _ := document.Get("moduleId"); id != "m1" || twin.ETag() != "AAAAAAAAAAI=" {
		t.Errorf("twin %v", document)
	}
	if etag, _ := document.Get("deviceEtag"); etag != made.ETag {
		t.Errorf("deviceEtag %v, want that of the module's identity, %s", etag, made.ETag)
	}
	if device := state(t, h, "dev1"); device.DesiredVersion() != 1 || h.Len() != 1 {
		t.Errorf("the device's twin is of version %d, and there are %d devices", device.DesiredVersion(), h.Len())
	}
	must(t, h.DeleteDevice("dev1"))
	if _, err := h.Get(ModuleKey("dev1", "m1")); err == nil {
		t.Error("the module outlives its device")
	}
}

func TestModulesAreRefused(t *testing.T) {
	h := newDevice(t)
	_, err := h.PutModule("dev1", "m1", object(t, `{"moduleId":"m1"}`), "")
	must(t, err)
	for name, c := range map[string]struct{ device, module, body, ifMatch, want string }{
		"one that exists":       {"dev1", "m1", `{"moduleId":"m1"}`, "", "ModuleAlreadyExistsOnDevice"},
		"of no device":          {"nobody", "m1", `{"moduleId":"m1"}`, "", "DeviceNotFound"},
		"another name inside":   {"dev1", "m2", `{"moduleId":"m1"}`, "", "ArgumentInvalid"},
		"another device inside": {"dev1", "m2", `{"moduleId":"m2","deviceId":"x"}`, "", "ArgumentInvalid"},
		"a name with a slash":   {"dev1", "m/2", `{"moduleId":"m/2"}`, "", "ArgumentInvalid"},
		"an update of none":     {"dev1", "m2", `{"moduleId":"m2"}`, "*", "DeviceNotFound"},
		"a stale update":        {"dev1", "m1", `{"moduleId":"m1"}`, `"AAAA"`, "PreconditionFailed"},
	} {
		_, err := h.PutModule(c.device, c.module, object(t, c.body), c.ifMatch)
		if refused, ok := errors.AsType[*Error](err); !ok || refused.Name != c.want {
			t.Errorf("%s: %v, want %s", name, err, c.want)
		}
	}
	for i := range maxModules - 1 {
		id := fmt.Sprintf("n%d", i)
		_, err := h.PutModule("dev1", id, object(t, `{"moduleId":"`+id+`"}`), "")
		must(t, err)
	}
	_, err = h.PutModule("dev1", "n50", object(t, `{"moduleId":"n50"}`), "")
	if refused, ok := errors.AsType[*Error](err); !ok || refused.Name != "TooManyModulesOnDevice" {
		t.Errorf("one too many: %v", err)
	}
}

func TestSubscribersOfDevicesHearNothingOfModules(t *testing.T) {
	h := newDevice(t)
	var devices, all []string
	defer h.Subscribe(func(c Change) { devices = append(devices, string(c.Kind)+" "+c.DeviceID+c.ModuleID) })()
	defer h.SubscribeAll(func(c Change) { all = append(all, string(c.Kind)+" "+c.DeviceID+" "+c.ModuleID) })()
	_, err := h.PutModule("dev1", "m1", object(t, `{"moduleId":"m1"}`), "")
	must(t, err)
	must(t, h.PatchDesired(ModuleKey("dev1", "m1"), `{"a":1}`, ""))
	must(t, h.DeleteDevice("dev1"))
	want := []string{"Created dev1 m1", "TwinUpdated dev1 m1", "Deleted dev1 m1", "Deleted dev1 "}
	if diff := cmp.Diff(want, all); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]string{"Deleted dev1"}, devices); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

func TestScopesOfEdgeDevices(t *testing.T) {
	h, _ := newHub(t)
	edge, err := h.PutIdentity("e-1", object(t, `{"deviceId":"e-1","capabilities":{"iotEdge":true}}`), "")
	must(t, err)
	scope := "ms-azure-iot-edge://e-1-" + edge.GenerationID
	if got, _ := edge.Document().Get("deviceScope"); got != scope {
		t.Errorf("scope %v, want %s", got, scope)
	}
	if modules, err := h.Modules("e-1"); err != nil || len(modules) != 2 || modules[0].ModuleID != "$edgeAgent" || modules[1].ModuleID != "$edgeHub" {
		t.Errorf("modules %v, %v", modules, err)
	}
	leaf, err := h.PutIdentity("leaf", object(t, `{"deviceId":"leaf","deviceScope":"`+scope+`"}`), "")
	must(t, err)
	if parents, _ := leaf.Document().Get("parentScopes"); cmp.Diff([]any{scope}, parents) != "" {
		t.Errorf("parents %v", parents)
	}
	leaf, err = h.PutIdentity("leaf", object(t, `{"deviceId":"leaf","deviceScope":"","parentScopes":["`+scope+`"]}`), "*")
	must(t, err)
	if _, there := leaf.Document().Get("parentScopes"); there {
		t.Error("a device without a scope has parents")
	}
	inner, err := h.PutIdentity("inner", object(t, `{"deviceId":"inner","capabilities":{"iotEdge":true},"parentScopes":["`+scope+`"]}`), "")
	must(t, err)
	if parents, _ := inner.Document().Get("parentScopes"); cmp.Diff([]any{scope}, parents) != "" {
		t.Errorf("parents of an edge device %v", parents)
	}
	if _, err := h.PutIdentity("x", object(t, `{"deviceId":"x","deviceScope":"`+scope+`0"}`), ""); err == nil {
		t.Error("a scope of nobody is taken")
	}
}

func TestActivity(t *testing.T) {
	h, clock := newHub(t)
	must(t, h.CreateDevice("dev1"))
	if at := state(t, h, "dev1").Identity.LastActivity; !at.IsZero() {
		t.Errorf("a fresh device was active at %v", at)
	}
	announced := 0
	defer h.Subscribe(func(Change) { announced++ })()
	before := state(t, h, "dev1")
	must(t, h.Active("dev1"))
	after := state(t, h, "dev1")
	if got, _ := after.Document().Get("lastActivityTime"); got != twinTime(clock.Now()) || announced > 0 {
		t.Errorf("active at %v, announced %d times", got, announced)
	}
	if after.ETag() != before.ETag() || after.Version() != before.Version() {
		t.Error("the twin's version moved")
	}
}

func TestAConfigurationWritesWhatATwinLacks(t *testing.T) {
	h := newDevice(t, WithDesired(`{"a":1,"c":{"__t":"c","x":1,"y":2}}`))
	var by []string
	defer h.Subscribe(func(c Change) { by = append(by, c.By) })()
	patches := func(texts ...string) (all []jsonObject) {
		for _, s := range texts {
			all = append(all, object(t, s))
		}
		return all
	}
	must(t, h.Configure("dev1", "cfg", patches(`{"a":1}`, `{"c":{"y":2}}`, `{"gone":null}`)))
	if len(by) > 0 {
		t.Errorf("what holds already was written: %v", by)
	}
	must(t, h.Configure("dev1", "cfg", patches(`{"c":{"x":5}}`, `{"c":{"z":6}}`, `{"a":null}`)))
	wantJSON(t, state(t, h, "dev1").Desired(), `{"c":{"__t":"c","x":5,"y":2,"z":6}}`)
	if diff := cmp.Diff([]string{"cfg"}, by); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}
