package validate

import (
	"strings"
	"testing"
)

// dialects is a device whose properties are written for one reader only.
const dialects = `apiVersion: iot.pnp-operator.io/v1alpha1
kind: PnPDevice
metadata: {name: d, namespace: factory}
spec:
  hubRef: {name: h}
  twinAPI: DeviceTwin
  properties:
    %s
`

func TestTextsThatReadersTakeDifferently(t *testing.T) {
	for text, want := range map[string]string{
		// Keys.
		`schedule: {on: "06:00"}`:       `a.yaml:8: error: PnPDevice factory/d: spec.properties.schedule has the key on, which is the boolean true in YAML 1.1`,
		`schedule: {"on": "06:00"}`:     "",
		`schedule: {'y': 1}`:            "",
		`point: {x: 1, y: 2}`:           "has the key y, which is the boolean true",
		`point: {No: 1}`:                "has the key No, which is the boolean false",
		`point: {true: 1}`:              "has the key true, which is the boolean true",
		`point: {null: 1}`:              "unsupported map key",
		`point: {~: 1}`:                 "unsupported map key",
		`point: {1: 1}`:                 "has the key 1, which is a number",
		`point: {0x1F: 1}`:              "has the key 0x1F, which is a number",
		`point: {1.5: 1}`:               "has the key 1.5, which is a number",
		`point: {.5: 1}`:                "has the key .5, which is a number",
		`point: {1e3: 1}`:               "has the key 1e3, which is a number",
		`point: {12:30: 1}`:             "has the key 12:30, which is a number",
		`point: {"12:30": 1}`:           "",
		`point: {? 22:00 : 1}`:          "has the key 22:00, which is a number",
		`point: {2020-01-01: 1}`:        "has the key 2020-01-01, which is a date",
		`point: {one: 1, e3: 2, x1: 3}`: "",
		// Values.
		`mode: on`:                           `a.yaml:8: warning: PnPDevice factory/d: spec.properties.mode is on without quotes, the boolean true to kubectl and a text to kustomize: quote it, or write true`,
		`mode: "on"`:                         "",
		`mode: 'off'`:                        "",
		`mode: !!str off`:                    "",
		`mode: true`:                         "",
		`mode: False`:                        "",
		`flag: y`:                            "is y without quotes",
		`flag: NO`:                           "the boolean false to kubectl",
		`flag: yell`:                         "",
		`installed: 2020-01-01`:              "is 2020-01-01 without quotes, a time to kustomize",
		`installed: "2020-01-01"`:            "",
		`at: 2023-01-31T10:37:08.4599400Z`:   "a time to kustomize",
		`at: 2023-01-31T10:37:08Z`:           "",
		`octal: 014`:                         "is 014 without quotes, which is not the same number",
		`octal: 08`:                          "not the same number",
		`octal: 0o14`:                        "not the same number",
		`binary: 0b11`:                       "not the same number",
		`time: 12:30:45`:                     "not the same number",
		`time: 22:00`:                        "not the same number",
		`time: 06:00`:                        "",
		`under: 1_000`:                       "not the same number",
		`under: 1_000.5`:                     "not the same number",
		`under: a_1`:                         "",
		`number: 0`:                          "",
		`number: -0.5`:                       "",
		`number: 10`:                         "",
		`ip: 10.0.0.1`:                       "",
		`list: [1, {a: off}]`:                "spec.properties.list[1].a is off",
		"multi: |\n      on\n":               "",
		`anchored: [&a {"k": 1}, *a]`:        "",
		`merged: {<<: {"k": 1}, "other": 2}`: "",
		// Integers.
		`serial: 18446744073709551615`:        "error: PnPDevice factory/d: spec.properties.serial is the integer 18446744073709551615, which Kubernetes keeps as a double and would make 18446744073709552000",
		`serial: -9223372036854775809`:        "is the integer -9223372036854775809",
		`serial: [{a: 99999999999999999999}]`: "spec.properties.serial[0].a is the integer 99999999999999999999",
		`serial: "18446744073709551615"`:      "",
	} {
		t.Run(text, func(t *testing.T) {
			found := files(t, strings.Replace(dialects, "%s", text, 1)).Findings
			switch {
			case want == "" && len(found) > 0:
				t.Errorf("found %q", found)
			case want != "" && (len(found) != 1 || !strings.Contains(found[0].String(), want)):
				t.Errorf("found %q, want %q alone", found, want)
			}
		})
	}
}

func TestTextsOfOtherKindsAreTheirs(t *testing.T) {
	if found := files(t, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata: {on: y}\n").Findings; len(found) > 0 {
		t.Errorf("found %q", found)
	}
}

// What an alias stands for is looked at also where its anchor is in another object of the document.
func TestAliasesOfAnotherObject(t *testing.T) {
	list := `apiVersion: v1
kind: List
items:
- {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: &schedule {on: "06:00"}}
- {apiVersion: iot.pnp-operator.io/v1alpha1, kind: PnPDevice, metadata: {name: d, namespace: factory}, spec: {hubRef: {name: h}, twinAPI: DeviceTwin, properties: {a: *schedule, b: *schedule}}}
`
	found := files(t, list).Findings
	if len(found) != 1 || !strings.Contains(found[0].String(), "spec.properties.a has the key on") {
		t.Errorf("found %q", found)
	}
}

func TestThePlaceOfARemark(t *testing.T) {
	list := "# all\n---\napiVersion: v1\nkind: List\nitems:\n- " + strings.ReplaceAll(strings.Replace(strings.TrimSpace(dialects), "%s", "mode: on", 1), "\n", "\n  ")
	found := files(t, list).Findings
	if len(found) != 1 || !strings.HasPrefix(found[0].String(), "a.yaml:13: warning: PnPDevice factory/d: spec.properties.mode") && !strings.Contains(found[0].String(), "a.yaml:13:") {
		t.Errorf("found %q", found)
	}
}

func TestListsByAlias(t *testing.T) {
	object := "{apiVersion: iot.pnp-operator.io/v1alpha1, kind: PnPDevice, metadata: {name: d}, spec: {hubRef: {name: h}, twinAPI: DeviceTwin, properties: {mode: on}}}"
	result := files(t, "apiVersion: v1\nkind: List\nmetadata: {annotations: &a [&b "+object+"]}\nitems: *a\n---\nkind: List\nother: &c "+object+"\nitems: [*c]\n")
	if result.Objects != 2 || len(result.Findings) != 2 || result.Failed() {
		t.Errorf("%+v", result)
	}
}

func TestRemarksAreBounded(t *testing.T) {
	found := files(t, strings.Replace(dialects, "%s", "list: ["+strings.Repeat("on, ", 500)+"on]", 1)).Findings
	if len(found) != maxRemarks+1 || !strings.Contains(found[maxRemarks].String(), "and 481 more") {
		t.Errorf("%d findings, the last %q", len(found), found[len(found)-1])
	}
}

func TestNullsOfPayloads(t *testing.T) {
	for payload, want := range map[string][]string{
		"{a: null, b: 1, c: {d: ~}, e: [null, 1]}": {"warning: DeviceCommand factory/c: spec.payload.a is null, which kubectl apply takes out of objects", "spec.payload.c.d is null"},
		"null":    nil,
		"[null]":  nil,
		"[{a: }]": {"spec.payload[0].a is null"},
	} {
		found := files(t, device(""), command("  command: c\n  payload: "+payload+"\n")).Findings
		if len(found) != len(want) {
			t.Errorf("%s: found %q, want %q", payload, found, want)
			continue
		}
		for i := range want {
			if !strings.Contains(found[i].String(), want[i]) {
				t.Errorf("%s: found %q, want %q", payload, found[i], want[i])
			}
		}
	}
}

func TestIntegersOfPayloads(t *testing.T) {
	withRequest := func(schema string) string {
		return strings.Replace(strings.Replace(model, "schema: integer}}", "schema: "+schema+"}}", 1), "context;2", "context;4", 1)
	}
	for _, c := range []struct{ model, payload, want string }{
		{"", "18446744073709551615", "spec.payload is the integer 18446744073709551615, which Kubernetes keeps as a double and would make 18446744073709552000"},
		{withRequest("unsignedLong"), "18446744073709551615", "spec.payload is the integer 18446744073709551615"},
		{withRequest("unsignedLong"), "9223372036854775807", ""},
		{withRequest("unsignedLong"), "10000000000000000000", "is an integer beyond 64 bits signed"},
		{withRequest("double"), "10000000000000000000", ""},
		{"", "10000000000000000000", "is an integer beyond 64 bits signed"},
		{"", "1.5e300", ""},
	} {
		all := []string{device(""), command("  command: turn\n  payload: " + c.payload + "\n")}
		if c.model != "" {
			all = append(all, c.model)
		}
		found := files(t, all...).Findings
		if c.want == "" && len(found) > 0 || c.want != "" && (len(found) != 1 || found[0].Warning || !strings.Contains(found[0].String(), c.want)) {
			t.Errorf("%s: found %q, want %q", c.payload, found, c.want)
		}
	}
}

func TestReferencesWithinASet(t *testing.T) {
	hub := func(name, secret string) string {
		return head + "kind: IoTHub\nmetadata: {name: " + name + ", namespace: factory}\nspec:\n  hostName: factory.azure-devices.net\n  authentication:\n    connectionStringSecretRef: {name: " + secret + ", key: c}\n"
	}
	secret := func(kind, name string) string {
		version := "v1"
		if kind != "Secret" {
			version = "bitnami.com/v1alpha1"
		}
		return "apiVersion: " + version + "\nkind: " + kind + "\nmetadata: {name: " + name + ", namespace: factory}\n"
	}
	for name, c := range map[string]struct {
		texts []string
		want  []string
	}{
		"to what is there":                 {[]string{hub("h", "s"), device(""), secret("Secret", "s"), command("  command: c\n")}, nil},
		"to what is elsewhere":             {[]string{device("")}, nil},
		"to another hub than the set's":    {[]string{hub("site1-h", "s"), device("")}, []string{`spec.hubRef.name is "h", and no IoTHub`}},
		"to another device than the set's": {[]string{strings.Replace(device(""), "name: d,", "name: site1-d,", 1), command("  command: c\n")}, []string{`spec.deviceRef.name is "d", and no PnPDevice`}},
		"to a Secret with another name":    {[]string{hub("h", "s"), secret("Secret", "s-279k6h9bkb")}, []string{`connectionStringSecretRef.name is "s", and no Secret`}},
		"to a Secret that is made":         {[]string{hub("h", "s"), secret("Secret", "other"), secret("SealedSecret", "s")}, nil},
		"to a hub of another namespace":    {[]string{strings.Replace(hub("other", "s"), "namespace: factory", "namespace: office", 1), device("")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			found := files(t, c.texts...).Findings
			if len(found) != len(c.want) {
				t.Fatalf("found %q, want %q", found, c.want)
			}
			for i := range c.want {
				if !found[i].Warning || !strings.Contains(found[i].String(), c.want[i]) {
					t.Errorf("found %q, want %q", found[i], c.want[i])
				}
			}
		})
	}
}
