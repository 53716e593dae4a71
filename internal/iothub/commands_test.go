package iothub

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// invocations are the two routes.
var invocations = map[Operation]func(*Client, context.Context, Invocation) (CommandAnswer, error){
	OpInvokeCommand: (*Client).InvokeCommand, OpInvokeMethod: (*Client).InvokeMethod,
}

func TestInvocationsOnTheWire(t *testing.T) {
	const version = "?api-version=2021-04-12"
	type request struct{ URI, Body string }
	tests := map[string]struct {
		invocation Invocation
		want       map[Operation]request
	}{
		"of the default component, without payload": {
			Invocation{DeviceID: "d", Command: "reboot", Response: 5 * time.Second},
			map[Operation]request{
				OpInvokeCommand: {"/digitaltwins/d/commands/reboot" + version + "&connectTimeoutInSeconds=0&responseTimeoutInSeconds=5", "null"},
				OpInvokeMethod:  {"/twins/d/methods" + version, `{"connectTimeoutInSeconds":0,"methodName":"reboot","payload":null,"responseTimeoutInSeconds":5}`},
			},
		},
		"with an explicit null": {
			Invocation{DeviceID: "d", Component: "c", Command: "reboot", Payload: []byte("null"), Response: 300 * time.Second, Connect: 300 * time.Second},
			map[Operation]request{
				OpInvokeCommand: {"/digitaltwins/d/components/c/commands/reboot" + version + "&connectTimeoutInSeconds=300&responseTimeoutInSeconds=300", "null"},
				OpInvokeMethod:  {"/twins/d/methods" + version, `{"connectTimeoutInSeconds":300,"methodName":"c*reboot","payload":null,"responseTimeoutInSeconds":300}`},
			},
		},
		"with names that a URL cannot hold, and a number that a float cannot": {
			Invocation{DeviceID: "a/b", Component: "c d", Command: "e?f", Payload: []byte("9007199254740993"), Response: 5 * time.Second},
			map[Operation]request{
				OpInvokeCommand: {"/digitaltwins/a%2Fb/components/c%20d/commands/e%3Ff" + version + "&connectTimeoutInSeconds=0&responseTimeoutInSeconds=5", "9007199254740993"},
				OpInvokeMethod:  {"/twins/a%2Fb/methods" + version, `{"connectTimeoutInSeconds":0,"methodName":"c d*e?f","payload":9007199254740993,"responseTimeoutInSeconds":5}`},
			},
		},
		"part of a second is left off": {
			Invocation{DeviceID: "d", Command: "reboot", Connect: 1900 * time.Millisecond, Response: 5900 * time.Millisecond},
			map[Operation]request{
				OpInvokeCommand: {"/digitaltwins/d/commands/reboot" + version + "&connectTimeoutInSeconds=1&responseTimeoutInSeconds=5", "null"},
				OpInvokeMethod:  {"/twins/d/methods" + version, `{"connectTimeoutInSeconds":1,"methodName":"reboot","payload":null,"responseTimeoutInSeconds":5}`},
			},
		},
	}
	for name, test := range tests {
		for op, invoke := range invocations {
			t.Run(op.String()+" "+name, func(t *testing.T) {
				p := newPeer(t, goodAnswers[op])
				if _, err := invoke(p.client(t), t.Context(), test.invocation); err != nil {
					t.Fatal(err)
				}
				got := p.log()
				if len(got) != 1 || got[0].method != http.MethodPost || got[0].header.Get("Content-Type") != contentType {
					t.Fatalf("requests %+v", got)
				}
				if diff := cmp.Diff(test.want[op], request{got[0].uri, got[0].body}); diff != "" {
					t.Errorf("(-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestAnswersOfDevices(t *testing.T) {
	const code = "x-ms-command-statuscode"
	big := strings.Repeat("x", 1<<20)
	tests := map[string]struct {
		op      Operation
		answer  http.HandlerFunc
		code    int
		payload string
		failure string // code of the error
	}{
		"a payload":                         {OpInvokeCommand, answer(200, `{"a":1}`, code, "200"), 200, `{"a":1}`, ""},
		"no payload":                        {OpInvokeCommand, answer(200, "", code, "200"), 200, "", ""},
		"a payload that is not JSON":        {OpInvokeCommand, answer(200, "it's done", code, "200"), 200, "it's done", ""},
		"1 MiB":                             {OpInvokeCommand, answer(200, big, code, "200"), 200, big, ""},
		"a failure of the device":           {OpInvokeCommand, answer(200, `"busy"`, code, "503"), 503, `"busy"`, ""},
		"a code below zero":                 {OpInvokeCommand, answer(200, "", code, "-1"), -1, "", ""},
		"the header in capitals":            {OpInvokeCommand, answer(200, "", "X-MS-COMMAND-STATUSCODE", "202"), 202, "", ""},
		"no code":                           {OpInvokeCommand, answer(200, "{}"), 0, "", CodeInvalidResponse},
		"a code that is none":               {OpInvokeCommand, answer(200, "{}", code, "ok"), 0, "", CodeInvalidResponse},
		"a code with a fraction":            {OpInvokeCommand, answer(200, "{}", code, "200.5"), 0, "", CodeInvalidResponse},
		"a code beyond 32 bits":             {OpInvokeCommand, answer(200, "{}", code, "4294967496"), 0, "", CodeInvalidResponse},
		"more than 8 MiB":                   {OpInvokeCommand, answer(200, strings.Repeat("x", maxResponseBody+1), code, "200"), 0, "", CodeTooLarge},
		"a refusal with a device's code":    {OpInvokeCommand, answer(400, "", code, "200"), 0, "", ""},
		"by method: a payload":              {OpInvokeMethod, answer(200, `{"status":200,"payload":{"a":1}}`), 200, `{"a":1}`, ""},
		"by method: no payload":             {OpInvokeMethod, answer(200, `{"status":202}`), 202, "", ""},
		"by method: null":                   {OpInvokeMethod, answer(200, `{"status":404,"payload":null}`), 404, "null", ""},
		"by method: a code below zero":      {OpInvokeMethod, answer(200, `{"status":-1}`), -1, "", ""},
		"by method: no code":                {OpInvokeMethod, answer(200, `{"payload":1}`), 0, "", CodeInvalidResponse},
		"by method: a code that is none":    {OpInvokeMethod, answer(200, `{"status":"ok"}`), 0, "", CodeInvalidResponse},
		"by method: a code with a fraction": {OpInvokeMethod, answer(200, `{"status":200.5}`), 0, "", CodeInvalidResponse},
		"by method: null for an answer":     {OpInvokeMethod, answer(200, "null"), 0, "", CodeInvalidResponse},
		"by method: not JSON":               {OpInvokeMethod, answer(200, "it's done"), 0, "", CodeInvalidResponse},
		"by method: nothing":                {OpInvokeMethod, answer(200, ""), 0, "", CodeInvalidResponse},
		"by method: half of it":             {OpInvokeMethod, answer(200, `{"status":200,"payl`), 0, "", CodeInvalidResponse},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, test.answer)
			got, err := invocations[test.op](p.client(t), t.Context(), testInvocation)
			if n := len(p.log()); n != 1 {
				t.Errorf("%d requests", n)
			}
			if test.code == 0 {
				if err == nil || CodeOf(err) != test.failure {
					t.Errorf("error %v, want code %q", err, test.failure)
				}
				return
			}
			if err != nil || got.StatusCode != test.code || string(got.Payload) != test.payload {
				t.Errorf("%v: code %d, payload %.40q", err, got.StatusCode, got.Payload)
			}
		})
	}
}

func TestAnOfflineDeviceIsToldByNumberTextAndTime(t *testing.T) {
	const text = "Timed out waiting for device to connect."
	at := time.Date(2024, 3, 14, 9, 54, 49, 653656700, time.UTC)
	for op, call := range calls {
		if invocations[op] == nil {
			continue
		}
		inner := `{\"errorCode\":404103,\"trackingId\":\"t\",\"message\":\"` + text + `\",\"info\":{\"timeout\":\"00:00:10\"},\"timestampUtc\":\"2024-03-14T09:54:49.6536567Z\"}`
		err := call(t.Context(), newPeer(t, answer(404, `{"Message":"`+inner+`","ExceptionMessage":""}`, "iothub-errorcode", "DeviceNotOnline")).client(t))
		e, ok := errors.AsType[*Error](err)
		if !ok || e.StatusCode != http.StatusNotFound || e.Number != 404103 || e.Message != text || e.Waited == nil || *e.Waited != 10*time.Second || !e.At.Equal(at) || e.Err != nil {
			t.Errorf("%s: %+v", op, err)
		}
	}
}

func TestPayloadsThatAreNotJSONAreNotSentAsMethods(t *testing.T) {
	p := newPeer(t, goodAnswers[OpInvokeMethod])
	_, err := p.client(t).InvokeMethod(t.Context(), Invocation{DeviceID: "d", Command: "reboot", Payload: []byte("{")})
	if CodeOf(err) != CodeInvalidPayload || ClassOf(err) != Terminal || len(p.log()) != 0 {
		t.Errorf("%v, %d requests", err, len(p.log()))
	}
}

func TestTheClientWaitsLongerThanTheHub(t *testing.T) {
	if got := testInvocation.call(OpInvokeCommand).timeout; got != 70*time.Second {
		t.Errorf("%s for 10 s to connect and 30 s in all", got)
	}
}

func TestCommandsEndWithTheirCaller(t *testing.T) {
	for op, call := range calls {
		if invocations[op] == nil {
			continue
		}
		ctx, cancel := context.WithCancel(t.Context())
		p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
			cancel()
			hang(w, r)
		})
		if err := call(ctx, p.client(t)); CodeOf(err) != CodeCanceled {
			t.Errorf("%s: %v", op, err)
		}
		if n := len(p.log()); n != 1 {
			t.Errorf("%s: %d requests", op, n)
		}
	}
}
