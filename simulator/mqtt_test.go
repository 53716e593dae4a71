package simulator_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha1" //nolint:gosec // thumbprints may be SHA-1
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/big"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
)

const notAuthorized = 5

func TestWhoMayConnect(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.must(c.sim.Hub().CreateDevice("dev2"))
	c.must(c.sim.Hub().CreateDevice("off", simulator.WithStatus(false, "")))
	policyToken := func(name string) string {
		p, _ := c.sim.Policies().Get(name)
		token, err := auth.Sign("factory.azure-devices.net", name, p.Key, c.clock.Now().Add(time.Hour))
		c.must(err)
		return token
	}
	tests := map[string]struct {
		change func(*login)
		want   int
	}{
		"its own token": {func(*login) {}, 0},
		"the name it listens on": {func(l *login) {
			l.user = strings.Replace(l.user, "factory.azure-devices.net", "Factory.Azure-Devices.net", 1)
		}, 0},
		"no API version":             {func(l *login) { l.user = "factory.azure-devices.net/dev1" }, 0},
		"a policy that may":          {func(l *login) { l.password = policyToken("device") }, 0},
		"a policy that may not":      {func(l *login) { l.password = policyToken("service") }, notAuthorized},
		"no password":                {func(l *login) { l.password = "" }, notAuthorized},
		"garbage":                    {func(l *login) { l.password = "let me in" }, notAuthorized},
		"an expired token":           {func(l *login) { l.password = c.deviceToken("dev1", "dev1", -time.Minute) }, notAuthorized},
		"a token for another device": {func(l *login) { l.password = c.deviceToken("dev2", "dev1", time.Hour) }, notAuthorized},
		"another device's key":       {func(l *login) { l.password = c.deviceToken("dev1", "dev2", time.Hour) }, notAuthorized},
		"another hub":                {func(l *login) { l.user = strings.Replace(l.user, "factory", "farm", 1) }, notAuthorized},
		"another device's user name": {func(l *login) { l.user = strings.Replace(l.user, "dev1", "dev2", 1) }, notAuthorized},
		"an unknown API version":     {func(l *login) { l.user = strings.Replace(l.user, "2021", "1999", 1) }, notAuthorized},
		"a model id that is none":    {func(l *login) { l.user += "&model-id=thermostat" }, notAuthorized},
		"an unknown device":          {func(l *login) { l.client, l.user = "nobody", strings.Replace(l.user, "dev1", "nobody", 1) }, notAuthorized},
		"a module":                   {func(l *login) { l.client, l.user = "dev1/m", strings.Replace(l.user, "dev1", "dev1/m", 1) }, notAuthorized},
		"a disabled device":          {func(l *login) { *l = c.login("off", "") }, notAuthorized},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			l := c.login("dev1", "")
			test.change(&l)
			if _, code := c.dial(l); code != test.want {
				t.Errorf("CONNACK %d, want %d", code, test.want)
			}
		})
	}
}

// certificate makes a self-signed certificate and returns its thumbprints.
func certificate(t *testing.T) (tls.Certificate, string, string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	short, long := sha1.Sum(der), sha256.Sum256(der) //nolint:gosec // thumbprints may be SHA-1
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, strings.ToUpper(hex.EncodeToString(short[:])), hex.EncodeToString(long[:])
}

func TestThumbprints(t *testing.T) {
	c := start(t)
	mine, short, long := certificate(t)
	other, _, _ := certificate(t)
	for i, thumbprint := range []string{short, long} {
		id := fmt.Sprint("x509-", i)
		body := fmt.Sprintf(`{"deviceId":%q,"authentication":{"type":"selfSigned","x509Thumbprint":{"secondaryThumbprint":%q}}}`, id, thumbprint)
		c.do("PUT", "/devices/"+id, body).want(200)
		for want, shown := range map[int]*tls.Certificate{0: &mine, notAuthorized: &other} {
			l := login{client: id, user: "factory.azure-devices.net/" + id + "/?api-version=2021-04-12", keepAlive: 60, certificate: shown}
			if _, code := c.dial(l); code != want {
				t.Errorf("CONNACK %d, want %d", code, want)
			}
		}
		if _, code := c.dial(login{client: id, user: "factory.azure-devices.net/" + id + "/", password: "x"}); code != notAuthorized {
			t.Errorf("without a certificate: CONNACK %d", code)
		}
		if s, err := c.sim.DeviceConnectionString(id); err != nil || !strings.Contains(s, ";x509=true;") {
			t.Errorf("%s, %v", s, err)
		}
	}
}

func TestConnectionShowsInTheHub(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	d, code := c.dial(c.login("dev1", simulator.Thermostat))
	twin, err := c.sim.Hub().Get("dev1")
	if code != 0 || err != nil || !twin.Identity.Connected || twin.ModelID != simulator.Thermostat {
		t.Fatalf("CONNACK %d, %v, %+v", code, err, twin)
	}
	_ = d.conn.Close()
	c.awaitDevice("dev1", func(t *simulator.Twin) bool { return !t.Identity.Connected })
	c.must(c.sim.Router().Flush(t.Context()))
	var got []string
	for _, e := range c.sim.Router().Recent(0) {
		got = append(got, e.OpType)
	}
	if diff := cmp.Diff([]string{"createDeviceIdentity", "deviceConnected", "deviceDisconnected"}, got); diff != "" {
		t.Error(diff)
	}
}

// awaitDevice waits for a state of a device.
func (c *client) awaitDevice(id string, ok func(*simulator.Twin) bool) {
	c.t.Helper()
	if t, err := c.sim.Hub().Await(c.t.Context(), id, ok); err != nil {
		c.t.Fatalf("%v: %+v", err, t)
	}
}

func TestWhatEndsAConnection(t *testing.T) {
	tests := map[string]struct {
		act       func(*client, *mqttDevice)
		connected bool // afterwards
	}{
		"a second connection":           {func(c *client, _ *mqttDevice) { c.connect("dev1", "") }, true},
		"disabling the device":          {func(c *client, _ *mqttDevice) { c.must(c.sim.Hub().SetStatus("dev1", false, "")) }, false},
		"deleting the device":           {func(c *client, _ *mqttDevice) { c.must(c.sim.Hub().DeleteDevice("dev1")) }, false},
		"a cut":                         {func(c *client, _ *mqttDevice) { c.sim.CutMQTT("dev1") }, false},
		"QoS 2":                         {func(_ *client, d *mqttDevice) { d.publish(d.telemetryTopic(), `{}`, 2) }, false},
		"an unknown topic":              {func(_ *client, d *mqttDevice) { d.publish("factory/line3", `{}`, 0) }, false},
		"another device's topic":        {func(_ *client, d *mqttDevice) { d.publish("devices/dev2/messages/events/", `{}`, 0) }, false},
		"a twin request without $rid":   {func(_ *client, d *mqttDevice) { d.publish("$iothub/twin/GET/", ` `, 0) }, false},
		"a method answer of no status":  {func(_ *client, d *mqttDevice) { d.publish("$iothub/methods/res/ok/?$rid=1", `{}`, 0) }, false},
		"properties that are malformed": {func(_ *client, d *mqttDevice) { d.publish("devices/dev1/messages/events/a=%zz", `{}`, 0) }, false},
		"a message of more than 256 KB": {func(_ *client, d *mqttDevice) { d.publish(d.telemetryTopic(), strings.Repeat("x", 256<<10+1), 1) }, false},
		"a packet far larger":           {func(_ *client, d *mqttDevice) { d.publish(d.telemetryTopic(), strings.Repeat("x", 1<<20), 0) }, false},
		"somebody else's messages": {func(_ *client, d *mqttDevice) {
			pk := packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Subscribe, Qos: 1}, ProtocolVersion: 4, PacketID: 9,
				Filters: packets.Subscriptions{{Filter: "devices/+/messages/events/#"}}}
			d.write(pk.SubscribeEncode)
		}, false},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			c.must(c.sim.Hub().CreateDevice("dev1"))
			d := c.connect("dev1", "")
			test.act(c, d)
			d.wantEnd()
			c.awaitDevice("dev1", func(t *simulator.Twin) bool { return t == nil || t.Identity.Connected == test.connected })
		})
	}
}

func TestASilentDeviceIsDropped(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	l := c.login("dev1", "")
	l.keepAlive = 1
	if _, code := c.dial(l); code != 0 {
		t.Fatal(code)
	}
	c.awaitDevice("dev1", func(t *simulator.Twin) bool { return !t.Identity.Connected })
}

func TestATokenThatExpiresEndsTheConnection(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	l := c.login("dev1", "")
	l.password = c.deviceToken("dev1", "dev1", time.Second)
	d, code := c.dial(l)
	if code != 0 {
		t.Fatal(code)
	}
	d.wantEnd()
}

func TestTheLastWill(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	l := c.login("dev1", "")
	l.will = "devices/dev1/messages/events/a=1"
	d, _ := c.dial(l)
	_ = d.conn.NetConn().Close()
	c.awaitDevice("dev1", func(t *simulator.Twin) bool { return !t.Identity.Connected })
	c.must(c.sim.Router().Flush(t.Context()))
	if got := c.sim.Router().Counts()[simulator.SourceTelemetry]; got != 1 {
		t.Errorf("%d messages", got)
	}
}

func TestTwinOverMQTT(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1", simulator.WithDesired(`{"a":1}`)))
	d := c.connect("dev1", "")

	d.publish("$iothub/twin/GET/?$rid=g1", " ", 0)
	topic, body := d.received()
	if topic != "$iothub/twin/res/200/?$rid=g1" {
		t.Error(topic)
	}
	wantJSON(t, body, `{"desired":{"a":1,"$version":2},"reported":{"$version":1}}`)

	if topic, body = d.report(`{"t":{"__t":"c","x":{"value":1,"ac":200,"av":2}}}`); topic != "$iothub/twin/res/204/?$rid=7&$version=2" || body != "" {
		t.Errorf("%s %s", topic, body)
	}
	c.do("PATCH", "/twins/dev1", `{"properties":{"desired":{"a":null,"t":{"__t":"c","x":2}}}}`).want(200)
	topic, body = d.received()
	if topic != "$iothub/twin/PATCH/properties/desired/?$version=3" {
		t.Error(topic)
	}
	wantJSON(t, body, `{"a":null,"t":{"__t":"c","x":2},"$version":3}`)
	twin, err := c.sim.Hub().Get("dev1")
	c.must(err)
	if v, _ := twin.ReportedAt("t", "x", "ac"); fmt.Sprint(v) != "200" {
		t.Errorf("reported %v", v)
	}
}

func TestReportsThatAreRefused(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	d := c.connect("dev1", "")
	large := map[string]string{}
	for i := range 9 {
		large[fmt.Sprint(i)] = strings.Repeat("x", 4000)
	}
	tooLarge, err := json.Marshal(large)
	c.must(err)
	for name, patch := range map[string]string{
		"no JSON": `{`, "an array": `[1]`, "a bad key": `{"a.b":1}`, "33 KB": string(tooLarge), "a null in an array": `{"a":[null]}`,
	} {
		topic, body := d.report(patch)
		var e2 struct {
			ErrorCode                int
			TrackingID, TimestampUtc string
			Message                  string
		}
		if err := json.Unmarshal([]byte(body), &e2); err != nil || topic != "$iothub/twin/res/400/?$rid=7" {
			t.Fatalf("%s: %s %s", name, topic, body)
		}
		if e2.ErrorCode != 400004 || e2.Message == "" || e2.TrackingID == "" || e2.TimestampUtc == "" {
			t.Errorf("%s: %s", name, body)
		}
	}
	if twin, err := c.sim.Hub().Get("dev1"); err != nil || twin.ReportedVersion() != 1 {
		t.Errorf("%v, %v", twin.ReportedVersion(), err)
	}
}

func TestTelemetryOverMQTT(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	d := c.connect("dev1", simulator.TemperatureController)
	d.publish(d.telemetryTopic("$.sub", "thermostat1", "$.ct", "application/json", "$.ce", "utf-8", "$.mid", "m1", "line", "3 & 4"), `{"temperature":21}`, 1)
	if ack := d.await(packets.Puback); ack.PacketID != d.next {
		t.Errorf("PUBACK %d", ack.PacketID)
	}
	c.must(c.sim.Router().Flush(t.Context()))
	events := c.sim.Router().Recent(1)
	if len(events) != 1 || events[0].Component != "thermostat1" || events[0].Body != `{"temperature":21}` {
		t.Errorf("%+v", events)
	}
}

func TestSubscriptions(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	d, _ := c.dial(c.login("dev1", ""))
	ack := d.subscribe("devices/dev1/messages/devicebound/#", "$iothub/methods/POST/#")
	if diff := cmp.Diff([]byte{1, 1}, ack.ReasonCodes); diff != "" {
		t.Error(diff)
	}
	c.must(c.sim.Hub().PatchDesired("dev1", `{"a":1}`, "")) // nobody asked for it
	d.publish("$iothub/twin/GET/?$rid=1", " ", 0)           // nor for this
	d.subscribe("$iothub/twin/res/#")
	d.publish("$iothub/twin/GET/?$rid=2", " ", 0)
	if topic, _ := d.received(); topic != "$iothub/twin/res/200/?$rid=2" {
		t.Error(topic)
	}
}

func TestDirectMethodsOverMQTT(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	d := c.connect("dev1", "")
	go d.answerMethods(t)
	for path, test := range map[string]struct{ body, want, code string }{
		"/twins/dev1/methods":                                  {`{"methodName":"echo","payload":{"x":1}}`, `{"status":201,"payload":{"name":"echo","got":{"x":1}}}`, ""},
		"/twins/dev1/methods?":                                 {`{"methodName":"echo"}`, `{"status":201,"payload":{"name":"echo","got":null}}`, ""},
		"/digitaltwins/dev1/commands/echo":                     {`[1]`, `{"name":"echo","got":[1]}`, "201"},
		"/digitaltwins/dev1/components/thermostat1/commands/r": {``, `{"name":"thermostat1*r","got":null}`, "201"},
	} {
		a := c.do("POST", path, test.body).want(200)
		a.wantJSON(test.want)
		if got := a.header.Get("x-ms-command-statuscode"); got != test.code {
			t.Errorf("%s: x-ms-command-statuscode %q", path, got)
		}
	}
}

// answerMethods answers each direct method with 201 and what came.
func (d *mqttDevice) answerMethods(t *testing.T) {
	for {
		pk, err := d.read()
		if err != nil {
			return
		}
		name, rid, ok := strings.Cut(strings.TrimPrefix(pk.TopicName, "$iothub/methods/POST/"), "/?$rid=")
		if !ok {
			t.Errorf("topic %s", pk.TopicName)
			return
		}
		d.publish("$iothub/methods/res/201/?$rid="+rid, fmt.Sprintf(`{"name":%q,"got":%s}`, name, pk.Payload), 0)
	}
}

func TestDirectMethodsThatFail(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.must(c.sim.Hub().CreateDevice("mute"))
	c.connect("mute", "")
	large := `{"methodName":"r","payload":"` + strings.Repeat("x", 128<<10) + `"}`
	tests := map[string]struct {
		path, body   string
		status, code int
		info         string
	}{
		"offline":             {"/twins/dev1/methods", `{"methodName":"r"}`, 404, 404103, `{"timeout":"00:00:00"}`},
		"offline for a while": {"/twins/dev1/methods", `{"methodName":"r","connectTimeoutInSeconds":1,"responseTimeoutInSeconds":5}`, 404, 404103, `{"timeout":"00:00:01"}`},
		"times as texts":      {"/twins/dev1/methods", `{"methodName":"r","connectTimeoutInSeconds":"1","responseTimeoutInSeconds":"30"}`, 404, 404103, `{"timeout":"00:00:01"}`},
		"an empty text":       {"/twins/dev1/methods", `{"methodName":"r","responseTimeoutInSeconds":""}`, 404, 404103, `{"timeout":"00:00:00"}`},
		"a command, offline":  {"/digitaltwins/dev1/commands/r", ``, 404, 404103, `{"timeout":"00:00:00"}`},
		"no answer":           {"/digitaltwins/mute/commands/r?responseTimeoutInSeconds=5", ``, 504, 504101, `{"timeout":"00:00:05"}`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			a := c.do("POST", test.path, test.body).want(test.status)
			var e1 struct{ Message, ExceptionMessage string }
			a.decode(&e1)
			var e2 struct {
				ErrorCode int
				Info      json.RawMessage
			}
			if err := json.Unmarshal([]byte(e1.Message), &e2); err != nil || e2.ErrorCode != test.code || string(e2.Info) != test.info {
				t.Errorf("%v in %s", err, a.body)
			}
		})
	}
	for name, refused := range map[string]struct {
		path, body, code string
		status           int
	}{
		"unknown device":       {"/twins/nobody/methods", `{"methodName":"r"}`, "DeviceNotFound", 404},
		"no name":              {"/twins/dev1/methods", `{}`, "ArgumentInvalid", 400},
		"response too short":   {"/twins/dev1/methods", `{"methodName":"r","responseTimeoutInSeconds":4}`, "ArgumentInvalid", 400},
		"a text, too short":    {"/twins/dev1/methods", `{"methodName":"r","responseTimeoutInSeconds":"4"}`, "ArgumentInvalid", 400},
		"a text, no number":    {"/twins/dev1/methods", `{"methodName":"r","responseTimeoutInSeconds":"soon"}`, "ArgumentInvalid", 400},
		"response too long":    {"/twins/dev1/methods", `{"methodName":"r","responseTimeoutInSeconds":301}`, "ArgumentInvalid", 400},
		"connect over all":     {"/twins/dev1/methods", `{"methodName":"r","connectTimeoutInSeconds":31}`, "ArgumentInvalid", 400},
		"a time that is none":  {"/digitaltwins/dev1/commands/r?connectTimeoutInSeconds=soon", ``, "ArgumentInvalid", 400},
		"a payload not JSON":   {"/digitaltwins/dev1/commands/r", `{`, "ArgumentInvalid", 400},
		"more than 128 KB":     {"/twins/dev1/methods", large, "MessageTooLarge", 413},
		"a command, too large": {"/digitaltwins/dev1/commands/r", `"` + strings.Repeat("x", 128<<10) + `"`, "MessageTooLarge", 413},
	} {
		if a := c.do("POST", refused.path, refused.body); a.status != refused.status || a.header.Get("iothub-errorcode") != refused.code {
			t.Errorf("%s: %d %s", name, a.status, a.body)
		}
	}
}

func TestADeviceThatIsSaidToBeOfflineRanTheCommand(t *testing.T) {
	for _, connect := range []string{"0", "1"} {
		for name, call := range map[string]struct{ operation, path, body string }{
			"command": {simulator.OpInvokeCommand, "/digitaltwins/dev1/commands/reboot?connectTimeoutInSeconds=" + connect, "5"},
			"method":  {simulator.OpInvokeMethod, "/twins/dev1/methods", `{"methodName":"reboot","payload":5,"connectTimeoutInSeconds":` + connect + `}`},
		} {
			t.Run(name+" "+connect, func(t *testing.T) {
				c := start(t)
				c.must(c.sim.Devices().Add("offline", simulator.Spec{Model: simulator.TemperatureController}))
				c.must(c.sim.Devices().Offline("offline"))
				c.must(c.sim.Devices().Add("dev1", simulator.Spec{Model: simulator.TemperatureController}))
				c.sim.Faults().Add(simulator.Broken(simulator.FaultOfflineAfter).On(call.operation, ""))
				began := time.Now()
				lie := c.do("POST", call.path, call.body).want(404)
				took := time.Since(began)
				ran, err := c.sim.Devices().Commands("dev1")
				if err != nil || len(ran) != 1 || string(ran[0].Payload) != "5" {
					t.Errorf("%v, %+v", err, ran)
				}
				truth := c.do("POST", strings.Replace(call.path, "dev1", "offline", 1), call.body).want(404)
				varies := regexp.MustCompile(`trackingId[^,]*|timestampUtc[^,]*`)
				if diff := cmp.Diff(varies.ReplaceAllString(truth.body, ""), varies.ReplaceAllString(lie.body, "")); diff != "" || lie.header.Get("iothub-errorcode") != "DeviceNotOnline" {
					t.Errorf("an offline device differs (-want +got):\n%s", diff)
				}
				if !strings.Contains(lie.body, "00:00:0"+connect) || connect == "1" && took < time.Second {
					t.Errorf("after %s: %s", took, lie.body)
				}
			})
		}
	}
}

func TestAFailureAfterTheDeviceRanTheCommand(t *testing.T) {
	c := start(t)
	c.must(c.sim.Devices().Add("dev1", simulator.Spec{Model: simulator.TemperatureController}))
	c.sim.Faults().Add(simulator.Fault{
		Operation: simulator.OpInvokeCommand, Kind: simulator.FaultStatusAfter, Status: 404, Code: "DeviceNotOnline", Number: 404103, Envelope: "E3",
	})
	c.do("POST", "/digitaltwins/dev1/commands/reboot", `5`).want(404)
	ran, err := c.sim.Devices().Commands("dev1")
	if err != nil || len(ran) != 1 || ran[0].Name != "reboot" || string(ran[0].Payload) != "5" {
		t.Errorf("%v, %+v", err, ran)
	}
	c.must(c.sim.Devices().AnswerCommand("dev1", "reboot", simulator.CommandAnswer{Status: 503, Payload: []byte(`"busy"`)}))
	a := c.do("POST", "/digitaltwins/dev1/commands/reboot", ``).want(200)
	if a.body != `"busy"` || a.header.Get("x-ms-command-statuscode") != "503" {
		t.Errorf("%s %v", a.body, a.header)
	}
	if a := c.do("POST", "/digitaltwins/dev1/commands/fly", ``).want(200); a.header.Get("x-ms-command-statuscode") != "404" {
		t.Errorf("%s %v", a.body, a.header)
	}
}
