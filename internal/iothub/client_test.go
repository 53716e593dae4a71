package iothub

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestGetTwinReadsTheTwin(t *testing.T) {
	p := newPeer(t, goodAnswers[OpGetTwin])
	got, err := p.client(t).GetTwin(t.Context(), "dev1")
	if err != nil {
		t.Fatal(err)
	}
	if got.DeviceID != "dev1" || got.ETag != "AAAAAAAAAAY=" || got.Version != 7 || got.DesiredVersion != 5 {
		t.Errorf("twin = %+v", got)
	}
}

func TestRequestsAreWhatMicrosoftDocuments(t *testing.T) {
	type request struct{ Method, URI, Host, Proto, IfMatch, Accept, ContentType, Body string }
	tests := map[Operation]request{
		OpGetTwin: {Method: "GET", URI: "/twins/dev1?api-version=2021-04-12"},
		OpPatchTwin: {
			Method: "PATCH", URI: "/twins/dev1?api-version=2021-04-12", IfMatch: `"AAAAAAAAAAU="`,
			ContentType: contentType, Body: `{"properties":{"desired":{"a":1}}}`,
		},
		OpGetDigitalTwin: {Method: "GET", URI: "/digitaltwins/dev1?api-version=2021-04-12"},
		OpPatchDigitalTwin: {
			Method: "PATCH", URI: "/digitaltwins/dev1?api-version=2021-04-12", IfMatch: `"AAAAAAAAAAU="`,
			ContentType: contentType, Body: `[{"op":"add","path":"/a","value":1}]`,
		},
		OpQuery: {
			Method: "POST", URI: "/devices/query?api-version=2021-04-12",
			ContentType: contentType, Body: `{"query":"SELECT * FROM devices"}`,
		},
		OpInvokeCommand: {
			Method:      "POST",
			URI:         "/digitaltwins/dev1/components/c/commands/reboot?api-version=2021-04-12&connectTimeoutInSeconds=10&responseTimeoutInSeconds=30",
			ContentType: contentType, Body: `{"delay":5}`,
		},
		OpInvokeMethod: {
			Method: "POST", URI: "/twins/dev1/methods?api-version=2021-04-12", ContentType: contentType,
			Body: `{"connectTimeoutInSeconds":10,"methodName":"c*reboot","payload":{"delay":5},"responseTimeoutInSeconds":30}`,
		},
	}
	for op, want := range tests {
		t.Run(op.String(), func(t *testing.T) {
			p := newPeer(t, goodAnswers[op])
			if err := calls[op](t.Context(), p.client(t)); err != nil {
				t.Fatal(err)
			}
			r := p.log()[0]
			got := request{
				r.method, r.uri, r.host, r.proto, r.header.Get("If-Match"), r.header.Get("Accept"), r.header.Get("Content-Type"), r.body,
			}
			want.Host, want.Proto, want.Accept = testHost, "HTTP/1.1", "application/json"
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("request (-want +got):\n%s", diff)
			}
			if len(r.header.Get("Request-Id")) != 36 || !strings.HasPrefix(r.header.Get("Authorization"), "SharedAccessSignature sr="+testHost) {
				t.Errorf("Request-Id %q, Authorization %.40q", r.header.Get("Request-Id"), r.header.Get("Authorization"))
			}
			if len(r.transferEncoding) != 0 || r.contentLength != int64(len(r.body)) {
				t.Errorf("Transfer-Encoding %v, Content-Length %d", r.transferEncoding, r.contentLength)
			}
		})
	}
}

func TestEachCallHasItsOwnRequestID(t *testing.T) {
	p := newPeer(t, goodAnswers[OpGetTwin])
	c := p.client(t)
	for range 2 {
		if err := calls[OpGetTwin](t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if log := p.log(); log[0].header.Get("Request-Id") == log[1].header.Get("Request-Id") {
		t.Error("two calls share a Request-Id")
	}
}

func TestDeviceIDsAreEscapedInThePath(t *testing.T) {
	const id = `a-:.+%_#*?!(),=@;$'/b c`
	const escaped = `a-%3A.%2B%25_%23%2A%3F%21%28%29%2C%3D%40%3B%24%27%2Fb%20c`
	p := newPeer(t, answer(404, `{"Message":"ErrorCode:DeviceNotFound;x"}`))
	c := p.client(t)
	_, _ = c.GetTwin(t.Context(), id)
	_, _ = c.PatchDigitalTwin(t.Context(), id, []byte("[]"), testETag)
	got := []string{p.log()[0].uri, p.log()[1].uri}
	want := []string{"/twins/" + escaped + "?api-version=2021-04-12", "/digitaltwins/" + escaped + "?api-version=2021-04-12"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("paths (-want +got):\n%s", diff)
	}
}

func TestDeviceIDsThatCannotBeAddressedAreRefusedUnsent(t *testing.T) {
	p := newPeer(t, goodAnswers[OpGetTwin])
	c := p.client(t)
	for _, id := range []string{"", ".", ".."} {
		_, getErr := c.GetTwin(t.Context(), id)
		_, patchErr := c.PatchDigitalTwin(t.Context(), id, []byte("[]"), testETag)
		for _, err := range []error{getErr, patchErr} {
			if CodeOf(err) != CodeInvalidDeviceID || ClassOf(err) != Terminal {
				t.Errorf("device ID %q: %v", id, err)
			}
		}
	}
	if n := len(p.log()); n != 0 {
		t.Errorf("%d requests sent", n)
	}
}

func TestWritesAreConditional(t *testing.T) {
	tests := map[string]struct {
		etag string
		want string // header, "" if refused
	}{
		"a bare etag is quoted":               {"AAAAAAAAAAU=", `"AAAAAAAAAAU="`},
		"a quoted etag stays as it is":        {`"AAAAAAAAAAU="`, `"AAAAAAAAAAU="`},
		"a weak etag is made strong":          {`W/"AAAAAAAAAAU="`, `"AAAAAAAAAAU="`},
		"no etag is refused":                  {"", ""},
		"an empty quoted etag is refused":     {`""`, ""},
		"a wildcard is refused":               {"*", ""},
		"a quoted wildcard is refused":        {`"*"`, ""},
		"a list of etags is refused":          {`"a", "b"`, ""},
		"a line break in an etag is refused":  {"a\r\nX: y", ""},
		"a character beyond ASCII is refused": {"é", ""},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			p := newPeer(t, goodAnswers[OpPatchTwin], goodAnswers[OpPatchDigitalTwin])
			c := p.client(t)
			_, err1 := c.PatchTwin(t.Context(), "dev1", []byte("{}"), tc.etag)
			_, err2 := c.PatchDigitalTwin(t.Context(), "dev1", []byte("[]"), tc.etag)
			var got []string
			for _, r := range p.log() {
				got = append(got, r.header["If-Match"]...)
			}
			if tc.want == "" {
				if CodeOf(err1) != CodeInvalidETag || CodeOf(err2) != CodeInvalidETag || len(got) != 0 {
					t.Errorf("errors %v, %v, sent %q", err1, err2, got)
				}
				return
			}
			if diff := cmp.Diff([]string{tc.want, tc.want}, got); diff != "" || err1 != nil || err2 != nil {
				t.Errorf("errors %v, %v, If-Match (-want +got):\n%s", err1, err2, diff)
			}
		})
	}
}

func TestPatchDigitalTwinReturnsTheNewETag(t *testing.T) {
	tests := map[string]struct {
		answer http.HandlerFunc
		want   string
	}{
		"the header unquoted":          {answer(202, "", "ETag", `"AAAAAAAAAAY="`), "AAAAAAAAAAY="},
		"a bare header as it is":       {answer(202, "", "ETag", "AAAAAAAAAAY="), "AAAAAAAAAAY="},
		"empty without a header":       {answer(202, ""), ""},
		"whatever the body of the 202": {answer(202, "{", "ETag", `"AAAAAAAAAAY="`), "AAAAAAAAAAY="},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			got, err := newPeer(t, tc.answer).client(t).PatchDigitalTwin(t.Context(), "dev1", []byte("[]"), testETag)
			if got != tc.want || err != nil {
				t.Errorf("got %q, %v, want %q", got, err, tc.want)
			}
		})
	}
}

func TestGetDigitalTwinTakesTheETagFromTheHeader(t *testing.T) {
	got, err := newPeer(t, goodAnswers[OpGetDigitalTwin]).client(t).GetDigitalTwin(t.Context(), "dev1")
	if err != nil || got.ETag != "AAAAAAAAAAY=" {
		t.Errorf("twin %+v, error %v", got, err)
	}
}

func TestQueryPages(t *testing.T) {
	p := newPeer(t,
		answer(200, `[{"deviceId":"a"},{"deviceId":"b"}]`, "x-ms-continuation", "page2==", "x-ms-item-type", "Raw"),
		answer(200, `[]`))
	c := p.client(t)
	first, err := c.Query(t.Context(), Query{SQL: "SELECT deviceId FROM devices", MaxItems: 2})
	if err != nil {
		t.Fatal(err)
	}
	want := QueryPage{Items: []json.RawMessage{[]byte(`{"deviceId":"a"}`), []byte(`{"deviceId":"b"}`)}, Continuation: "page2=="}
	if diff := cmp.Diff(want, first); diff != "" {
		t.Errorf("first page (-want +got):\n%s", diff)
	}
	second, err := c.Query(t.Context(), Query{SQL: "SELECT deviceId FROM devices", Continuation: first.Continuation})
	if err != nil || len(second.Items) != 0 || second.Continuation != "" {
		t.Errorf("second page %+v, %v", second, err)
	}
	type paging struct{ items, continuation []string }
	var got []paging
	for _, r := range p.log() {
		got = append(got, paging{r.header["X-Ms-Max-Item-Count"], r.header["X-Ms-Continuation"]})
	}
	if diff := cmp.Diff([]paging{{items: []string{"2"}}, {continuation: []string{"page2=="}}}, got, cmp.AllowUnexported(paging{})); diff != "" {
		t.Errorf("headers (-want +got):\n%s", diff)
	}
}

func TestFiftyCallsShareOneConnection(t *testing.T) {
	ops := []Operation{OpGetTwin, OpPatchTwin, OpGetDigitalTwin, OpPatchDigitalTwin, OpQuery}
	var answers []http.HandlerFunc
	for i := range 50 {
		answers = append(answers, goodAnswers[ops[i%len(ops)]])
	}
	p := newPeer(t, answers...)
	c := p.client(t)
	for i := range 50 {
		if err := calls[ops[i%len(ops)]](t.Context(), c); err != nil {
			t.Fatal(err)
		}
	}
	if n := p.accepted(); n != 1 {
		t.Errorf("%d connections for 50 calls", n)
	}
}

func TestCloseEndsIdleConnections(t *testing.T) {
	p := newPeer(t, goodAnswers[OpGetTwin])
	c := p.client(t)
	for range 2 {
		if err := calls[OpGetTwin](t.Context(), c); err != nil {
			t.Fatal(err)
		}
		c.Close()
	}
	if n := p.accepted(); n != 2 {
		t.Errorf("%d connections, want 2: one before and one after Close", n)
	}
}

func TestConcurrentCalls(t *testing.T) {
	p := newPeer(t, goodAnswers[OpGetTwin])
	c := p.client(t)
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 10 {
				if err := calls[OpGetTwin](t.Context(), c); err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	tokens := map[string]bool{}
	for _, r := range p.log() {
		tokens[r.header.Get("Authorization")] = true
	}
	if len(p.log()) != 320 || len(tokens) != 1 {
		t.Errorf("%d requests with %d tokens, want 320 with 1", len(p.log()), len(tokens))
	}
}

// hang answers nothing until the caller is gone.
func hang(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// hangInBody begins an answer and leaves it unfinished until the caller is gone.
func hangInBody(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Length", "1000")
	_, _ = w.Write([]byte("{"))
	w.(http.Flusher).Flush()
	hang(w, r)
}

func TestAHangingHubTimesOut(t *testing.T) {
	for name, handler := range map[string]http.HandlerFunc{"before the answer": hang, "within the body": hangInBody} {
		for op, call := range calls {
			if op == OpInvokeCommand || op == OpInvokeMethod {
				continue // they bring a time-out of their own
			}
			t.Run(op.String()+" "+name, func(t *testing.T) {
				p := newPeer(t, goodAnswers[op], handler)
				c := p.client(t)
				if err := call(t.Context(), c); err != nil { // a handshake may take longer than the time-out below
					t.Fatal(err)
				}
				c.timeout = 100 * time.Millisecond
				err := call(t.Context(), c)
				if CodeOf(err) != CodeTimeout || ClassOf(err) != Transient || !errors.Is(err, context.DeadlineExceeded) {
					t.Errorf("error %v, class %s", err, ClassOf(err))
				}
				if n := len(p.log()); n > 2 {
					t.Errorf("%d requests for 2 calls", n)
				}
			})
		}
	}
}

func TestTheCallersEndIsNotATimeout(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	p := newPeer(t, func(w http.ResponseWriter, r *http.Request) {
		cancel()
		hang(w, r)
	})
	_, err := p.client(t).GetTwin(ctx, "dev1")
	if CodeOf(err) != CodeCanceled || ClassOf(err) != Transient || !errors.Is(err, context.Canceled) {
		t.Errorf("error %v, class %s", err, ClassOf(err))
	}
	if _, err := p.client(t).GetTwin(ctx, "dev1"); CodeOf(err) != CodeCanceled || len(p.log()) != 1 {
		t.Errorf("error %v, %d requests: an ended caller must send nothing", err, len(p.log()))
	}
}

func TestObserveSeesEveryExchangeOnce(t *testing.T) {
	type exchange struct {
		Op     Operation
		Status int
		Code   string
	}
	var got []exchange
	p := newPeer(t, goodAnswers[OpGetTwin],
		answer(429, "", "iothub-errorcode", "ThrottlingBacklogTimeout"), answer(200, "{"), written("", false))
	c := p.client(t, func(o *Options) {
		o.Observe = func(op Operation, status int, code string, d time.Duration) {
			if d <= 0 {
				t.Errorf("duration %s", d)
			}
			got = append(got, exchange{op, status, code})
		}
	})
	for range 4 {
		_ = calls[OpGetTwin](t.Context(), c)
	}
	_, _ = c.GetTwin(t.Context(), "")
	c.base = "https://attacker.example"
	_ = calls[OpGetTwin](t.Context(), c)
	want := []exchange{
		{OpGetTwin, 200, ""}, {OpGetTwin, 429, "ThrottlingBacklogTimeout"}, {OpGetTwin, 200, CodeInvalidResponse}, {OpGetTwin, 0, CodeConnection},
	}
	if diff := cmp.Diff(want, got, cmp.AllowUnexported(Operation{})); diff != "" {
		t.Errorf("exchanges (-want +got):\n%s", diff)
	}
}

func TestNewRefusesUnusableOptions(t *testing.T) {
	tests := map[string]struct {
		change func(*Options)
		want   string
	}{
		"no connection string": {func(o *Options) { o.ConnectionString = ConnectionString{} }, "connection string is missing"},
		"another hub's connection string": {
			func(o *Options) { o.ConnectionString.HostName = "other.azure-devices.net" },
			`connection string is for "other.azure-devices.net", not for "factory.azure-devices.net"`,
		},
		"no certificate in the bundle": {func(o *Options) { o.CABundle = []byte("x") }, "caBundle holds no PEM certificate"},
		"a negative time-out":          {func(o *Options) { o.Timeout = -1 }, "timeout is negative"},
		"no allowed hosts": {
			func(o *Options) { o.AllowedHostSuffixes = nil },
			`host "factory.azure-devices.net" is not among those that credentials may be sent to; see --allowed-hub-suffixes`,
		},
	}
	for name, tc := range tests {
		t.Run(name, func(t *testing.T) {
			o := newPeer(t, goodAnswers[OpGetTwin]).options(t)
			tc.change(&o)
			_, err := New(o)
			if err == nil || err.Error() != tc.want || ClassOf(err) != Terminal {
				t.Errorf("got %v, want %s", err, tc.want)
			}
		})
	}
}

func TestTheHostNameIsDialledWithoutAnEndpoint(t *testing.T) {
	for host, want := range map[string]string{testHost: "https://" + testHost, "::1": "https://[::1]"} {
		if got := (Options{HostName: host}).base(); got != want {
			t.Errorf("base of %q = %q, want %q", host, got, want)
		}
	}
}
