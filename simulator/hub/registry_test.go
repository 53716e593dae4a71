package hub

import (
	"encoding/base64"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

func TestIdentityIsTheRecordedOne(t *testing.T) {
	h := newDevice(t, WithKeys(strings.Repeat("A", 44), strings.Repeat("B", 44)))
	const want = `{"deviceId":"dev1","generationId":"639029232601234567","etag":"NjEyMDQ0NTEz","connectionState":"Disconnected","status":"enabled",` +
		`"statusReason":null,"connectionStateUpdatedTime":"0001-01-01T00:00:00","statusUpdatedTime":"0001-01-01T00:00:00",` +
		`"lastActivityTime":"0001-01-01T00:00:00","cloudToDeviceMessageCount":0,` +
		`"authentication":{"symmetricKey":{"primaryKey":"AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA","secondaryKey":"BBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBBB"},` +
		`"x509Thumbprint":{"primaryThumbprint":null,"secondaryThumbprint":null},"type":"sas"},"capabilities":{"iotEdge":false}}`
	got := string(jsontree.Append(nil, state(t, h, "dev1").Identity.Document()))
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got), to the byte\n%s", diff)
	}
}

func TestIdentityETagIsADecimalNumberInBase64(t *testing.T) {
	raw, err := base64.StdEncoding.DecodeString(state(t, newDevice(t), "dev1").Identity.ETag)
	must(t, err)
	if _, err := strconv.Atoi(string(raw)); err != nil {
		t.Error(err)
	}
}

func TestPutIdentity(t *testing.T) {
	tests := map[string]struct {
		id, ifMatch string
		status      int
		code        string
	}{
		"without If-Match it creates":               {"new", "", 0, ""},
		"with an empty If-Match it creates":         {"new", `""`, 0, ""},
		"without If-Match it does not update":       {"dev1", "", 409, "DeviceAlreadyExists"},
		"with an empty If-Match it does not update": {"dev1", `""`, 409, "DeviceAlreadyExists"},
		"a bare star updates":                       {"dev1", "*", 0, ""},
		"a quoted star updates":                     {"dev1", `"*"`, 0, ""},
		"the quoted etag updates":                   {"dev1", `"NjEyMDQ0NTEz"`, 0, ""},
		"the bare etag updates":                     {"dev1", `NjEyMDQ0NTEz`, 0, ""},
		"a stale etag is refused":                   {"dev1", `"MQ=="`, 412, "PreconditionFailed"},
		"a star does not create":                    {"new", "*", 404, "DeviceNotFound"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			_, err := h.PutIdentity(test.id, jsontree.Object{{Name: "deviceId", Value: test.id}}, test.ifMatch)
			if test.status == 0 {
				must(t, err)
				return
			}
			wantRefused(t, err, test.status, test.code)
		})
	}
}

func TestIdentityErrorTexts(t *testing.T) {
	h := newDevice(t)
	_, err := h.PutIdentity("dev1", object(t, `{"deviceId":"dev1"}`), "")
	if want := "DeviceAlreadyExists (409001): A device with ID 'dev1' is already registered."; err.Error() != want {
		t.Errorf("got %q", err)
	}
	_, err = h.PutIdentity("dev1", object(t, `{"deviceId":"dev1"}`), `"MQ=="`)
	if want := "PreconditionFailed (412001): Precondition failed: Device version did not match, existingVersion:612044513 newVersion:1"; err.Error() != want {
		t.Errorf("got %q", err)
	}
}

func TestIdentityValidation(t *testing.T) {
	key16, key15, key65 := b64(16), b64(15), b64(65)
	hex40 := strings.Repeat("aB", 20)
	tests := map[string]struct {
		id, body string
		valid    bool
	}{
		"every allowed character":        {`aZ9-:.+%_#*?!(),=@;$'`, `{}`, true},
		"128 characters":                 {strings.Repeat("a", 128), `{}`, true},
		"129 characters":                 {strings.Repeat("a", 129), `{}`, false},
		"a space":                        {`a b`, `{}`, false},
		"a slash":                        {`a/b`, `{}`, false},
		"a letter beyond ASCII":          {`é`, `{}`, false},
		"another id in the body":         {`a`, `{"deviceId":"b"}`, false},
		"enabled":                        {`a`, `{"status":"enabled"}`, true},
		"another status":                 {`a`, `{"status":"broken"}`, false},
		"a long reason":                  {`a`, `{"statusReason":"` + strings.Repeat("r", 129) + `"}`, false},
		"null keys are generated":        {`a`, `{"authentication":{"type":"sas","symmetricKey":{"primaryKey":null,"secondaryKey":null}}}`, true},
		"two keys":                       {`a`, `{"authentication":{"symmetricKey":{"primaryKey":"` + key16 + `","secondaryKey":"` + key16 + `"}}}`, true},
		"one key":                        {`a`, `{"authentication":{"symmetricKey":{"primaryKey":"` + key16 + `"}}}`, false},
		"keys too short":                 {`a`, `{"authentication":{"symmetricKey":{"primaryKey":"` + key15 + `","secondaryKey":"` + key15 + `"}}}`, false},
		"keys too long":                  {`a`, `{"authentication":{"symmetricKey":{"primaryKey":"` + key65 + `","secondaryKey":"` + key65 + `"}}}`, false},
		"keys that are not base64":       {`a`, `{"authentication":{"symmetricKey":{"primaryKey":"!","secondaryKey":"!"}}}`, false},
		"type none":                      {`a`, `{"authentication":{"type":"none"}}`, false},
		"certificateAuthority":           {`a`, `{"authentication":{"type":"certificateAuthority"}}`, true},
		"selfSigned with a thumbprint":   {`a`, `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"` + hex40 + `"}}}`, true},
		"selfSigned without one":         {`a`, `{"authentication":{"type":"selfSigned"}}`, true},
		"a thumbprint with separators":   {`a`, `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"AA:BB"}}}`, false},
		"a thumbprint of another length": {`a`, `{"authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"AABB"}}}`, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h, _ := newHub(t)
			body := object(t, test.body)
			if _, given := body.Get("deviceId"); !given {
				body = body.With("deviceId", test.id)
			}
			_, err := h.PutIdentity(test.id, body, "")
			if test.valid {
				must(t, err)
				return
			}
			wantRefused(t, err, 400, "ArgumentInvalid")
		})
	}
}

func b64(n int) string { return base64.StdEncoding.EncodeToString(make([]byte, n)) }

func TestUpdateWithoutAuthenticationMintsNewKeys(t *testing.T) {
	h := newDevice(t)
	before := state(t, h, "dev1").Identity
	after, err := h.PutIdentity("dev1", object(t, `{"deviceId":"dev1"}`), "*")
	must(t, err)
	if before.Authentication.PrimaryKey == after.Authentication.PrimaryKey {
		t.Error("the keys stayed")
	}
	if len(after.Authentication.PrimaryKey) != 44 || before.GenerationID != after.GenerationID {
		t.Errorf("key %q, generation %s, was %s", after.Authentication.PrimaryKey, after.GenerationID, before.GenerationID)
	}
}

func TestEveryIdentityWriteMovesDeviceETagButNotTheTwin(t *testing.T) {
	tests := map[string]func(*Hub) error{
		"update": func(h *Hub) error {
			_, err := h.PutIdentity("dev1", jsontree.Object{{Name: "deviceId", Value: "dev1"}}, "*")
			return err
		},
		"rekey":   func(h *Hub) error { return h.Rekey("dev1") },
		"bump":    func(h *Hub) error { return h.BumpDeviceETag("dev1") },
		"disable": func(h *Hub) error { return h.SetStatus("dev1", false, "broken") },
	}
	for name, do := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t, WithDesired(`{"a":1}`))
			before := state(t, h, "dev1")
			must(t, do(h))
			after := state(t, h, "dev1")
			if after.Identity.ETag == before.Identity.ETag || after.ETag() != before.ETag() || after.Version() != before.Version() {
				t.Errorf("deviceEtag %s then %s, etag %s then %s", before.Identity.ETag, after.Identity.ETag, before.ETag(), after.ETag())
			}
		})
	}
}

func TestConnectingMovesTheConnectionStateOnly(t *testing.T) {
	h, c := newHub(t)
	must(t, h.CreateDevice("dev1"))
	before := state(t, h, "dev1")
	c.Step(time.Second)
	must(t, h.SetConnected("dev1", true, Model))
	after := state(t, h, "dev1")
	if after.Identity.ETag != before.Identity.ETag || after.ETag() != before.ETag() || after.Version() != before.Version() {
		t.Error("an etag or a version moved")
	}
	if after.Identity.ConnectionState() != "Connected" || after.ModelID != Model || after.Identity.ConnectedUpdated != c.Now() {
		t.Errorf("got %+v", after.Identity)
	}
	must(t, h.SetConnected("dev1", false, ""))
	if s := state(t, h, "dev1"); s.Identity.Connected || s.ModelID != Model {
		t.Error("the model must stay when the device goes")
	}
}

func TestDisabledDevice(t *testing.T) {
	h := newDevice(t)
	must(t, h.SetConnected("dev1", true, ""))
	must(t, h.SetStatus("dev1", false, "broken"))
	if s := state(t, h, "dev1"); s.Identity.Connected || s.Identity.StatusReason != "broken" || s.Identity.StatusUpdated.IsZero() {
		t.Errorf("got %+v", s.Identity)
	}
	wantRefused(t, h.SetConnected("dev1", true, ""), 403, "DeviceDisabled")
}

func TestUpdatingTheStatusDisconnects(t *testing.T) {
	h, c := newHub(t)
	must(t, h.CreateDevice("dev1"))
	must(t, h.SetConnected("dev1", true, ""))
	kept, err := h.PutIdentity("dev1", object(t, `{"deviceId":"dev1","status":"enabled"}`), "*")
	must(t, err)
	if !kept.Connected || !kept.StatusUpdated.IsZero() {
		t.Errorf("an update that keeps the status changed it: %+v", kept)
	}
	disabled, err := h.PutIdentity("dev1", object(t, `{"deviceId":"dev1","status":"disabled"}`), "*")
	must(t, err)
	if disabled.Connected || !disabled.StatusUpdated.Equal(c.Now()) {
		t.Errorf("got %+v", disabled)
	}
}

func TestDelete(t *testing.T) {
	tests := map[string]struct {
		id, ifMatch string
		status      int
		code        string
	}{
		"needs an If-Match":   {"dev1", "", 412, "PreconditionFailed"},
		"a quoted star does":  {"dev1", `"*"`, 0, ""},
		"the etag does":       {"dev1", `"NjEyMDQ0NTEz"`, 0, ""},
		"a stale etag is not": {"dev1", `"MQ=="`, 412, "PreconditionFailed"},
		"a missing device":    {"dev2", "*", 404, "DeviceNotFound"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			h := newDevice(t)
			err := h.DeleteIdentity(test.id, test.ifMatch)
			if test.status != 0 {
				wantRefused(t, err, test.status, test.code)
				return
			}
			must(t, err)
			_, err = h.Get("dev1")
			wantRefused(t, err, 404, "DeviceNotFound")
		})
	}
}

func TestRecreatedDeviceStartsAnew(t *testing.T) {
	h := newDevice(t, WithDesired(`{"a":1}`), WithTags(`{"b":1}`), WithModel(Model))
	before := state(t, h, "dev1")
	must(t, h.DeleteDevice("dev1"))
	must(t, h.CreateDevice("dev1"))
	after := state(t, h, "dev1")
	if after.Identity.GenerationID <= before.Identity.GenerationID || after.Identity.ETag == before.Identity.ETag {
		t.Errorf("generation %s then %s", before.Identity.GenerationID, after.Identity.GenerationID)
	}
	if after.Version() != 2 || after.ETag() != "AAAAAAAAAAE=" || len(after.Desired()) > 0 || after.Tags() != nil || after.ModelID != "" {
		t.Errorf("something survived: %s", after.JSON())
	}
}

func TestStatistics(t *testing.T) {
	h := newDevice(t)
	must(t, h.CreateDevice("dev2", WithStatus(false, "")))
	must(t, h.SetConnected("dev1", true, ""))
	if got, want := h.Statistics(), (Statistics{Total: 2, Enabled: 1, Disabled: 1, Connected: 1}); got != want {
		t.Errorf("got %+v", got)
	}
}
