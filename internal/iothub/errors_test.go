package iothub

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/allowlist"
	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// failure is what callers see of an error.
type failure struct {
	Code   string
	Number int
	Class  Class
	Traits string // names of the Is functions that hold
}

func failureOf(t *testing.T, err error) failure {
	t.Helper()
	var e *Error
	if !errors.As(err, &e) {
		t.Fatalf("%v is a %T", err, err)
	}
	var traits []string
	for _, is := range []struct {
		name string
		f    func(error) bool
	}{
		{"NotFound", IsNotFound}, {"Unauthorized", IsUnauthorized}, {"PreconditionFailed", IsPreconditionFailed},
		{"Throttled", IsThrottled}, {"InvalidPatch", IsInvalidPatch}, {"QuotaExceeded", IsQuotaExceeded},
	} {
		if is.f(fmt.Errorf("wrapped: %w", err)) {
			traits = append(traits, is.name)
		}
	}
	wrapped := fmt.Errorf("wrapped: %w", err)
	return failure{CodeOf(wrapped), e.Number, ClassOf(wrapped), strings.Join(traits, " ")}
}

// documented is the expectation for each number of "Understand and resolve Azure IoT Hub error codes", written down
// apart from the table under test.
var documented = []failure{
	{"InvalidProtocolVersion", 400001, Terminal, ""},
	{"InvalidOperation", 400003, Terminal, ""},
	{"ArgumentInvalid", 400004, Terminal, ""},
	{"ArgumentNull", 400005, Terminal, ""},
	{"IotHubFormatError", 400006, Terminal, ""},
	{"DeviceDefinedMultipleTimes", 400011, Terminal, ""},
	{"BulkRegistryOperationFailure", 400013, Terminal, ""},
	{"ConnectionForcefullyClosedOnNewConnection", 400027, Terminal, ""},
	{"InvalidDigitalTwinJsonPatch", 400505, Terminal, "InvalidPatch"},
	{"InvalidDigitalTwinPayload", 400506, Terminal, "InvalidPatch"},
	{"InvalidDigitalTwinPatch", 400507, Terminal, "InvalidPatch"},
	{"InvalidDigitalTwinPatchPath", 400508, Terminal, "InvalidPatch"},
	{"IotHubUnauthorizedAccess", 401002, Terminal, "Unauthorized"},
	{"IotHubUnauthorized", 401003, Terminal, "Unauthorized"},
	{"IotHubQuotaExceeded", 403002, Waiting, "QuotaExceeded"},
	{"JobQuotaExceeded", 403003, Terminal, ""},
	{"DeviceMaximumQueueDepthExceeded", 403004, Terminal, ""},
	{"OperationNotAvailableInCurrentTier", 403010, Terminal, ""},
	{"DeviceDisabled", 403012, Waiting, ""},
	{"DeviceMaximumInflightMethodExceeded", 403800, Waiting, ""},
	{"DeviceNotFound", 404001, Terminal, "NotFound"},
	{"JobNotFound", 404002, Terminal, ""},
	{"ModuleNotFound", 404010, Terminal, ""},
	{"DeviceNotOnline", 404103, Waiting, ""},
	{"DeviceConnectionClosedRemotely", 404104, Transient, ""},
	{"ConfigurationNotFound", 404301, Terminal, ""},
	{"OperationNotAllowedInCurrentState", 405102, Terminal, ""},
	{"DeviceAlreadyExists", 409001, Terminal, ""},
	{"LinkCreationConflict", 409002, Transient, ""},
	{"JobAlreadyExists", 409103, Terminal, ""},
	{"ModuleAlreadyExistsOnDevice", 409301, Terminal, ""},
	{"ConfigurationAlreadyExists", 409401, Terminal, ""},
	{"PreconditionFailed", 412001, Transient, "PreconditionFailed"},
	{"DeviceMessageLockLost", 412002, Transient, ""},
	{"MessageTooLarge", 413001, Terminal, ""},
	{"TooManyDevices", 413002, Terminal, ""},
	{"ConfigurationCountLimitExceeded", 413101, Terminal, ""},
	{"GenericTooManyRequests", 429000, Waiting, "Throttled"},
	{"ThrottlingException", 429001, Waiting, "Throttled"},
	{"ThrottleBacklogLimitExceeded", 429002, Waiting, "Throttled"},
	{"ThrottlingBacklogTimeout", 429003, Waiting, "Throttled"},
	{"ThrottlingMaxActiveJobCountExceeded", 429004, Waiting, "Throttled"},
	{"DeviceThrottlingLimitExceeded", 429005, Waiting, "Throttled"},
	{"ServerError", 500001, Transient, ""},
	{"GenericTimeout", 500008, Transient, ""},
	{"ServiceUnavailable", 503001, Transient, ""},
	{"IotHubActivationFailed", 503004, Transient, ""},
	{"ServerBusy", 503005, Transient, "Throttled"},
	{"IotHubRestoring", 503006, Transient, ""},
	{"ReceiveLinkOpensThrottled", 503008, Transient, ""},
	{"ConnectionUnavailable", 503101, Transient, ""},
	{"DeviceUnavailable", 503102, Transient, ""},
	{"GenericGatewayTimeout", 504000, Transient, ""},
	{"GatewayTimeout", 504101, Transient, ""},
}

// envelopes are the ways in which the hub words one error.
var envelopes = map[string]func(f failure) http.HandlerFunc{
	"header only": func(f failure) http.HandlerFunc {
		return answer(f.Number/1000, "", "iothub-errorcode", f.Code)
	},
	"header and text": func(f failure) http.HandlerFunc {
		return answer(f.Number/1000, e1(f.Code, "text"), "iothub-errorcode", f.Code)
	},
	"text": func(f failure) http.HandlerFunc {
		return answer(f.Number/1000, e1(f.Code, "text"))
	},
	"number": func(f failure) http.HandlerFunc {
		return answer(f.Number/1000, e2(f.Number))
	},
	"number within text": func(f failure) http.HandlerFunc {
		return answer(f.Number/1000, e3(f.Number))
	},
	"number within text, and header": func(f failure) http.HandlerFunc {
		return answer(f.Number/1000, e3(f.Number), "iothub-errorcode", f.Code)
	},
}

func e1(code, text string) string {
	return fmt.Sprintf(`{"Message":"ErrorCode:%s;%s","ExceptionMessage":"Tracking ID:6a61b5b5-G:0-TimeStamp:08/15/2026 09:19:06"}`, code, text)
}

func e2(number int) string {
	return fmt.Sprintf(`{"errorCode":%d,"trackingId":"6a61b5b5-G:0-TimeStamp:08/15/2026 09:19:06","message":"text","timestampUtc":"2026-08-15T09:19:06.1Z"}`, number)
}

func e3(number int) string {
	return fmt.Sprintf(`{"Message":%q,"ExceptionMessage":""}`, e2(number))
}

func TestEveryDocumentedErrorInEveryEnvelope(t *testing.T) {
	for form, envelope := range envelopes {
		t.Run(form, func(t *testing.T) {
			var answers []http.HandlerFunc
			for _, f := range documented {
				answers = append(answers, envelope(f))
			}
			p := newPeer(t, answers...)
			c := p.client(t)
			for _, want := range documented {
				_, err := c.GetTwin(t.Context(), "dev1")
				if diff := cmp.Diff(want, failureOf(t, err)); diff != "" {
					t.Errorf("%s (-want +got):\n%s", want.Code, diff)
				}
			}
			if n := len(p.log()); n != len(documented) {
				t.Errorf("%d requests for %d calls", n, len(documented))
			}
		})
	}
}

func TestTheTableHasNoRowThatIsNotTested(t *testing.T) {
	tested := map[int]bool{}
	for _, f := range documented {
		tested[f.Number] = true
	}
	for _, r := range hubErrors {
		if r.number != 0 && (!tested[r.number] || r.number/1000 != r.status) {
			t.Errorf("row %+v", r)
		}
	}
}

func TestOtherAnswers(t *testing.T) {
	tests := map[string]struct {
		status       int
		body, header string
		want         failure
	}{
		"a hub that does not exist":            {404, e1("IotHubNotFound", "x"), "", failure{"IotHubNotFound", 0, Terminal, ""}},
		"a proxy's 404":                        {404, "<html>not here</html>", "", failure{"", 0, Transient, ""}},
		"a bare 400":                           {400, "", "", failure{"", 0, Terminal, ""}},
		"an unknown code under 400":            {400, e1("Novel", "x"), "", failure{"Novel", 0, Terminal, ""}},
		"an unknown number under 400":          {400, e2(400501), "", failure{"", 400501, Terminal, ""}},
		"a bare 401":                           {401, "", "", failure{"", 0, Terminal, "Unauthorized"}},
		"a bare 403":                           {403, "", "", failure{"", 0, Terminal, "Unauthorized"}},
		"an unknown code under 401":            {401, e1("Novel", "x"), "", failure{"Novel", 0, Terminal, "Unauthorized"}},
		"an unknown code under 403":            {403, e1("Novel", "x"), "", failure{"Novel", 0, Terminal, ""}},
		"an unknown number under 403":          {403, e2(403999), "", failure{"", 403999, Terminal, ""}},
		"a bare 405":                           {405, "", "", failure{"", 0, Terminal, ""}},
		"a bare 407":                           {407, "", "", failure{"", 0, Transient, ""}},
		"a bare 408":                           {408, "", "", failure{"", 0, Transient, ""}},
		"a bare 409":                           {409, "", "", failure{"", 0, Transient, ""}},
		"a bare 410":                           {410, "", "", failure{"", 0, Transient, ""}},
		"a bare 412":                           {412, "", "", failure{"", 0, Transient, "PreconditionFailed"}},
		"a bare 413":                           {413, "", "", failure{"", 0, Terminal, ""}},
		"a bare 415":                           {415, "", "", failure{"", 0, Terminal, ""}},
		"a bare 418":                           {418, "", "", failure{"", 0, Transient, ""}},
		"a bare 429":                           {429, "", "", failure{"", 0, Waiting, "Throttled"}},
		"an unknown number under 429":          {429, e2(429999), "", failure{"", 429999, Waiting, "Throttled"}},
		"a bare 500":                           {500, "", "", failure{"", 0, Transient, ""}},
		"a bare 502":                           {502, "bad gateway", "", failure{"", 0, Transient, ""}},
		"a bare 503":                           {503, "", "", failure{"", 0, Transient, ""}},
		"a bare 504":                           {504, "", "", failure{"", 0, Transient, ""}},
		"a bare 304":                           {304, "", "", failure{"", 0, Transient, ""}},
		"a gateway that quotes a code":         {502, e1("DeviceNotFound", "x"), "", failure{"DeviceNotFound", 0, Transient, ""}},
		"a gateway that quotes a number":       {503, e3(404001), "", failure{"", 404001, Transient, ""}},
		"the header wins over the text":        {400, e1("ArgumentInvalid", "x"), "InvalidDigitalTwinPatch", failure{"InvalidDigitalTwinPatch", 400507, Terminal, "InvalidPatch"}},
		"the number wins for the class":        {403, e2(403012), "Novel", failure{"Novel", 403012, Waiting, ""}},
		"the header helps an unknown number":   {404, e2(404999), "DeviceNotFound", failure{"DeviceNotFound", 404999, Terminal, "NotFound"}},
		"a header that is no code is ignored":  {404, e1("DeviceNotFound", "x"), "Device Not Found", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a number as a string":                 {404, `{"errorCode":"404001","message":"x"}`, "", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a number in the text":                 {404, e1("404001", "x"), "", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a number in the header":               {404, "", "404001", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a name in errorCode":                  {404, `{"errorCode":"DeviceNotFound"}`, "", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a code without text":                  {404, `{"Message":"ErrorCode:DeviceNotFound"}`, "", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a Message that is the JSON null":      {404, `{"Message":"null","errorCode":404001}`, "", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a Message of another type":            {404, `{"Message":{"a":1},"errorCode":404001}`, "", failure{"DeviceNotFound", 404001, Terminal, "NotFound"}},
		"a negative number":                    {404, e2(-404001), "", failure{"", 0, Transient, ""}},
		"a number with fraction":               {400, `{"errorCode":400004.5}`, "", failure{"400004.5", 0, Terminal, ""}},
		"JSON that is no object":               {500, `[1]`, "", failure{"", 0, Transient, ""}},
		"an envelope that is cut but complete": {400, `{"Message":"ErrorCode:ArgumentInvalid;x"`, "", failure{"", 0, Terminal, ""}},
		"a query that is too long":             {412, e1("PreconditionFailed", "x"), "", failure{"PreconditionFailed", 412001, Transient, "PreconditionFailed"}},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newPeer(t, answer(tc.status, tc.body, "iothub-errorcode", tc.header)).client(t).GetTwin(t.Context(), "dev1")
			if diff := cmp.Diff(tc.want, failureOf(t, err)); diff != "" {
				t.Errorf("failure (-want +got):\n%s", diff)
			}
		})
	}
}

func TestErrorsCarryWhatSupportAsksFor(t *testing.T) {
	const id = "0f8fad5b-d9cb-469f-a165-70867728950e"
	_, err := newPeer(t, answer(404, e1("DeviceNotFound", "dev1"), "iothub-errorcode", "DeviceNotFound", "x-ms-request-id", id)).
		client(t).GetTwin(t.Context(), "dev1")
	want := &Error{
		Op: OpGetTwin, DeviceID: "dev1", StatusCode: 404, Code: "DeviceNotFound", Number: 404001, Message: "dev1",
		RequestID: id, TrackingID: "6a61b5b5-G:0-TimeStamp:08/15/2026 09:19:06", Sent: true, Class: Terminal,
	}
	if diff := cmp.Diff(error(want), err, cmp.AllowUnexported(Operation{})); diff != "" {
		t.Errorf("error (-want +got):\n%s", diff)
	}
	const text = `GetTwin "dev1": 404 DeviceNotFound (404001): dev1 ` +
		`(request 0f8fad5b-d9cb-469f-a165-70867728950e, tracking 6a61b5b5-G:0-TimeStamp:08/15/2026 09:19:06)`
	if err.Error() != text {
		t.Errorf("text\n got %s\nwant %s", err, text)
	}
	if got := want.Stable(); got != "404 DeviceNotFound (404001): dev1" {
		t.Errorf("stable text %s", got)
	}
}

func TestWithoutTheHubsRequestIDOursIsReported(t *testing.T) {
	p := newPeer(t, answer(500, "", "x-ms-request-id", "not an <id>"), written("", false))
	c := p.client(t)
	for i := range 2 {
		var e *Error
		if err := calls[OpQuery](t.Context(), c); !errors.As(err, &e) || e.RequestID != p.log()[i].header.Get("Request-Id") {
			t.Errorf("error %v, sent %s", err, p.log()[i].header.Get("Request-Id"))
		}
	}
}

// TestOneRequestPerCall is the rule that only callers retry: they hold the budget.
func TestOneRequestPerCall(t *testing.T) {
	half := func(body string) string { s := whole(body); return s[:len(s)-len(body)/2-1] }
	tests := map[string]struct {
		answer http.HandlerFunc
		want   failure
	}{
		"504101":                     {answer(504, e3(504101), "iothub-errorcode", "GatewayTimeout"), failure{"GatewayTimeout", 504101, Transient, ""}},
		"503":                        {answer(503, ""), failure{"", 0, Transient, ""}},
		"503 with Retry-After":       {answer(503, "", "Retry-After", "0"), failure{"", 0, Transient, ""}},
		"500":                        {answer(500, ""), failure{"", 0, Transient, ""}},
		"408":                        {answer(408, ""), failure{"", 0, Transient, ""}},
		"429":                        {answer(429, "", "Connection", "close"), failure{"", 0, Waiting, "Throttled"}},
		"a cut before the answer":    {written("", false), failure{CodeConnection, 0, Transient, ""}},
		"a reset before the answer":  {written("", true), failure{CodeConnection, 0, Transient, ""}},
		"a cut in the header":        {written("HTTP/1.1 200 OK\r\nContent-", false), failure{CodeConnection, 0, Transient, ""}},
		"a cut in the body":          {written(half(twinBody), false), failure{CodeConnection, 0, Transient, ""}},
		"a reset in the body":        {written(half(twinBody), true), failure{CodeConnection, 0, Transient, ""}},
		"a cut in a chunk":           {written("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{", false), failure{CodeConnection, 0, Transient, ""}},
		"a cut between chunks":       {written("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", false), failure{CodeConnection, 0, Transient, ""}},
		"a cut in an error's body":   {written("HTTP/1.1 401 Unauthorized\r\niothub-errorcode: IotHubUnauthorized\r\nContent-Length: 9\r\n\r\n{", false), failure{CodeConnection, 0, Transient, ""}},
		"something other than HTTP":  {written("SSH-2.0-x\r\n\r\n", false), failure{CodeConnection, 0, Transient, ""}},
		"a header that is too large": {answer(200, "[]", "X", strings.Repeat("x", maxResponseHeaders+4096)), failure{CodeConnection, 0, Transient, ""}},
	}
	for name, tc := range tests {
		for op, call := range calls {
			t.Run(op.String()+" "+name, func(t *testing.T) {
				p := newPeer(t, goodAnswers[op], tc.answer)
				c := p.client(t)
				if err := call(t.Context(), c); err != nil { // so that the connection is a reused one, where net/http repeats requests
					t.Fatal(err)
				}
				err := call(t.Context(), c)
				if err == nil {
					t.Fatal("no error")
				}
				if diff := cmp.Diff(tc.want, failureOf(t, err)); diff != "" {
					t.Errorf("%v: failure (-want +got):\n%s", err, diff)
				}
				if !wasSent(t, err) {
					t.Errorf("%v: said not to be sent", err)
				}
				if n := len(p.log()); n != 2 {
					t.Errorf("%d requests for 2 calls", n)
				}
			})
		}
	}
}

func TestUnusableSuccessesAreTransient(t *testing.T) {
	tests := map[string]struct {
		ops    []Operation
		answer http.HandlerFunc
	}{
		"no body":        {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery}, answer(200, "")},
		"204":            {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery}, answer(204, "")},
		"half a body":    {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery}, answer(200, twinBody[:len(twinBody)/2])},
		"HTML":           {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery}, answer(200, "<html>log in</html>")},
		"null":           {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery}, answer(200, "null")},
		"more than JSON": {[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery}, answer(200, twinBody+"{")},
		"a cut without length": {
			[]Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpQuery},
			written("HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"+twinBody[:len(twinBody)/2], false),
		},
		"another device":       {[]Operation{OpGetTwin, OpPatchTwin}, answer(200, strings.Replace(twinBody, "dev1", "dev2", 1))},
		"another digital twin": {[]Operation{OpGetDigitalTwin}, answer(200, strings.Replace(digitalTwinBody, "dev1", "dev2", 1))},
		"an object for a page": {[]Operation{OpQuery}, answer(200, "{}")},
		"half a page":          {[]Operation{OpQuery}, answer(200, `[{"deviceId":"a"},{"devi`)},
	}
	for name, tc := range tests {
		for _, op := range tc.ops {
			t.Run(op.String()+" "+name, func(t *testing.T) {
				err := calls[op](t.Context(), newPeer(t, tc.answer).client(t))
				if err == nil {
					t.Fatal("no error")
				}
				if diff := cmp.Diff(failure{CodeInvalidResponse, 0, Transient, ""}, failureOf(t, err)); diff != "" {
					t.Errorf("failure (-want +got):\n%s", diff)
				}
			})
		}
	}
}

func TestAnAnswerOfTheLargestSizeIsRead(t *testing.T) {
	body := `["` + strings.Repeat("x", maxResponseBody-4) + `"]`
	page, err := newPeer(t, answer(200, body)).client(t).Query(t.Context(), Query{SQL: "x"})
	if err != nil || len(page.Items) != 1 {
		t.Errorf("%d items, %v", len(page.Items), err)
	}
}

func wasSent(t *testing.T, err error) bool {
	t.Helper()
	e, ok := errors.AsType[*Error](err)
	if !ok {
		t.Fatalf("%T: %v", err, err)
	}
	return e.Sent
}

func TestFailuresToConnect(t *testing.T) {
	tests := map[string]struct {
		change func(t *testing.T, p *peer, o *Options)
		want   string
	}{
		"a certificate that nobody vouches for": {func(_ *testing.T, _ *peer, o *Options) { o.CABundle = nil }, CodeTLS},
		"a certificate for another host": {func(_ *testing.T, _ *peer, o *Options) {
			o.Endpoint = strings.Replace(o.Endpoint, "127.0.0.1", "localhost", 1)
			o.AllowedHostSuffixes = append(o.AllowedHostSuffixes, "localhost")
		}, CodeTLS},
		"a host without a name": {func(_ *testing.T, _ *peer, o *Options) {
			o.Endpoint, o.AllowedHostSuffixes = "https://hub.invalid", append(o.AllowedHostSuffixes, ".invalid")
		}, CodeDNS},
		"nobody listening": {func(_ *testing.T, p *peer, _ *Options) { p.Close() }, CodeConnection},
		"a peer without TLS": {func(t *testing.T, _ *peer, o *Options) {
			plain := newPlainPeer(t)
			o.Endpoint = strings.Replace(plain, "http:", "https:", 1)
		}, CodeTLS},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, goodAnswers[OpGetTwin])
			err := calls[OpGetTwin](t.Context(), p.client(t, func(o *Options) { tc.change(t, p, o) }))
			if err == nil {
				t.Fatal("no error")
			}
			if diff := cmp.Diff(failure{tc.want, 0, Transient, ""}, failureOf(t, err)); diff != "" {
				t.Errorf("%v: failure (-want +got):\n%s", err, diff)
			}
			if len(p.log()) != 0 || wasSent(t, err) {
				t.Errorf("%v: a request was sent, or said to be", err)
			}
		})
	}
}

func TestClassOfErrorsFromElsewhere(t *testing.T) {
	tests := map[string]struct {
		err   error
		code  string
		class Class
	}{
		"anything":                 {errors.New("x"), "", Transient},
		"an end by the caller":     {context.Canceled, CodeCanceled, Transient},
		"a deadline":               {fmt.Errorf("x: %w", context.DeadlineExceeded), CodeTimeout, Transient},
		"a reset":                  {syscall.ECONNRESET, "", Transient},
		"a refused host":           {fmt.Errorf("x: %w", (allowlist.List{}).Check("a", "")), CodeHostNotAllowed, Terminal},
		"an unusable setting":      {&ConfigError{Field: "a", Problem: "b"}, CodeInvalidConfiguration, Terminal},
		"a wrapped error of ours":  {fmt.Errorf("x: %w", &Error{Code: "a", Class: Waiting}), "a", Waiting},
		"one of several":           {errors.Join(errors.New("x"), &Error{Code: "a", Class: Terminal}), "a", Terminal},
		"ours around the caller's": {&Error{Code: CodeCanceled, Class: Transient, Err: context.Canceled}, CodeCanceled, Transient},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			if got := ClassOf(tc.err); got != tc.class {
				t.Errorf("class %s, want %s", got, tc.class)
			}
			if got := CodeOf(tc.err); got != tc.code {
				t.Errorf("code %q, want %q", got, tc.code)
			}
			if _, ours := errors.AsType[*Error](tc.err); !ours && (IsNotFound(tc.err) || IsThrottled(tc.err)) {
				t.Error("a stranger's error has a trait")
			}
		})
	}
}

func TestRepeatedFailuresHaveOneStableText(t *testing.T) {
	tests := map[string]struct{ first, second http.HandlerFunc }{
		"another tracking id and time": {
			answer(429, `{"Message":"ErrorCode:ThrottlingBacklogTimeout;Wait 10 seconds and try again. Tracking ID:6a61b5b5-G:0-TimeStamp:08/15/2026 09:19:06"}`),
			answer(429, `{"Message":"ErrorCode:ThrottlingBacklogTimeout;Wait 9 seconds and try again. Tracking ID:ffffb5b5-G:3-TimeStamp:08/16/2026 19:19:06"}`),
		},
		"another id within the text": {
			answer(500, `{"Message":"ErrorCode:ServerError;0f8fad5b-d9cb-469f-a165-70867728950e at 2026-08-15T09:19:06.123Z"}`),
			answer(500, `{"Message":"ErrorCode:ServerError;1f8fad5b-d9cb-469f-a165-70867728950e at 2026-08-15T09:20:06Z"}`),
		},
		"other versions": {
			answer(412, e1("PreconditionFailed", "Device version did not match, existingVersion:343060357 newVersion:343060356")),
			answer(412, e1("PreconditionFailed", "Device version did not match, existingVersion:343060399 newVersion:343060398")),
		},
		"another local port": {written("", true), written("", true)},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			c := newPeer(t, tc.first, tc.second).client(t)
			stable := func() string {
				_, err := c.GetTwin(t.Context(), "dev1")
				e, ok := errors.AsType[*Error](err)
				if !ok {
					t.Fatal(err)
				}
				return e.Stable()
			}
			if a, b := stable(), stable(); a != b || a == "" {
				t.Errorf("two texts:\n%s\n%s", a, b)
			}
		})
	}
}

func TestStableKeepsADeviceIDThatLooksLikeARequestID(t *testing.T) {
	const id = "0f8fad5b-d9cb-469f-a165-70867728950e"
	e := &Error{DeviceID: id, StatusCode: 404, Code: "DeviceNotFound", Message: id + ", 1f8fad5b-d9cb-469f-a165-70867728950e"}
	if got, want := e.Stable(), "404 DeviceNotFound: "+id+", ..."; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestMessagesAreOneShortLine(t *testing.T) {
	tests := map[string]struct{ body, want string }{
		"line breaks":             {"a\r\nb\tc\x00d\u2028e", "a b c d e"},
		"text direction":          {"a\u202Eb", "a b"},
		"bytes that are no UTF-8": {"a\xffb", "ab"},
		"512 bytes stay":          {strings.Repeat("é", 256), strings.Repeat("é", 256)},
		"what is more is cut":     {strings.Repeat("é", 257), strings.Repeat("é", 254) + "…"},
		"a page of 100 KB":        {strings.Repeat("x ", 50_000), strings.Repeat("x ", 254) + "x…"},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			_, err := newPeer(t, answer(502, tc.body)).client(t).GetTwin(t.Context(), "dev1")
			e, ok := errors.AsType[*Error](err)
			if !ok || e.Message != tc.want {
				t.Errorf("message %q", e.Message)
			}
			if text := err.Error(); strings.ContainsAny(text, "\r\n\t\x00") || !utf8.ValidString(text) {
				t.Errorf("text %q", text)
			}
		})
	}
}

func FuzzParseEnvelope(f *testing.F) {
	for _, body := range []string{
		"", "null", "{}", "[]", `"x"`, e1("DeviceNotFound", "x"), e2(404001), e3(404103), e3(504101),
		`{"Message":"{\"errorCode\":404103,\"message\":\"{\\\"errorCode\\\":1}\"}"}`,
		`{"Message":1,"ExceptionMessage":[],"errorCode":{},"trackingId":true}`,
		`{"Message":"ErrorCode:;","errorCode":1e9}`, "sig=abc", "\xff\xfe", `{"Message":"ErrorCode:sig=abc;sig=abc"}`,
	} {
		f.Add("", []byte(body))
		f.Add("DeviceNotFound", []byte(body))
	}
	f.Fuzz(func(t *testing.T, header string, body []byte) {
		e := parseEnvelope(header, body)
		for _, s := range []string{e.message, e.trackingID} {
			if !utf8.ValidString(s) || len(s) > redact.MaxText || strings.ContainsAny(s, "\r\n\x00") {
				t.Fatalf("text %q", s)
			}
		}
		if e.code != "" && !identifier.MatchString(e.code) || e.number < 0 {
			t.Fatalf("code %q, number %d", e.code, e.number)
		}
		for _, status := range []int{200, 400, 404, 429, 503} {
			if c := lookUp(status, e.number, e.code).class; c != Transient && c != Waiting && c != Terminal {
				t.Fatalf("class %q", c)
			}
		}
	})
}

func TestDidNothing(t *testing.T) {
	answer := func(status int) error { return &Error{StatusCode: status, Sent: true} }
	for name, c := range map[string]struct {
		err  error
		want bool
	}{
		"no token of the budget":        {errors.New("the gate is shut"), true},
		"no connection":                 {&Error{Code: CodeConnection, Err: errors.New("refused")}, true},
		"no credential":                 {&Error{Code: CodeNoToken, Err: errors.New("no")}, true},
		"a stale etag":                  {answer(http.StatusPreconditionFailed), true},
		"throttled":                     {answer(http.StatusTooManyRequests), true},
		"refused":                       {answer(http.StatusForbidden), true},
		"a failure of the hub":          {answer(http.StatusInternalServerError), false},
		"unavailable":                   {answer(http.StatusServiceUnavailable), false},
		"the hub gave up":               {answer(http.StatusRequestTimeout), false},
		"an answer that is cut":         {&Error{Code: CodeConnection, Sent: true, Err: errors.New("reset")}, false},
		"a refusal that is cut":         {&Error{StatusCode: 412, Sent: true, Err: errors.New("reset")}, false},
		"an answer that is not read":    {&Error{StatusCode: 200, Sent: true, Err: errors.New("html")}, false},
		"a redirect, whoever gave that": {answer(http.StatusTemporaryRedirect), false},
	} {
		if got := DidNothing(c.err); got != c.want {
			t.Errorf("%s: certainly did nothing: %v, want %v", name, got, c.want)
		}
	}
}
