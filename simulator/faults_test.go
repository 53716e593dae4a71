package simulator_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

const write = `{"properties":{"desired":{"x":1}}}`

func (c *client) version() int64 {
	c.t.Helper()
	twin, err := c.sim.Hub().Get("dev1")
	c.must(err)
	return twin.Version()
}

// startBroken returns a client of a simulator with a device and a fault.
func startBroken(t *testing.T, f simulator.Fault) *client {
	t.Helper()
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.sim.Faults().Add(f)
	return c
}

func TestStatusFaults(t *testing.T) {
	tests := map[string]struct {
		fault         simulator.Fault
		status        int
		code, message string
	}{
		"429":  {simulator.Throttled(), 429, "ThrottlingBacklogTimeout", "The request has been throttled. Wait 10 seconds and try again. Operation type: TwinWrite"},
		"500":  {simulator.ServerError(), 500, "ServerError", "A server error occurred; please try again."},
		"503":  {simulator.Unavailable(), 503, "ServiceUnavailable", "Service is busy or unavailable, please try again."},
		"any":  {simulator.Fault{Kind: simulator.FaultStatus, Status: 403, Code: "IotHubQuotaExceeded", Message: "no more"}, 403, "IotHubQuotaExceeded", "no more"},
		"rare": {simulator.Fault{Kind: simulator.FaultStatus, Status: 418}, 418, "GenericError", "Injected by the simulator"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			c := startBroken(t, test.fault)
			a := c.do("PATCH", "/twins/dev1", write)
			a.wantError(test.status, test.code, test.message)
			if a.header.Get("Retry-After") != "" {
				t.Error("hubs send no Retry-After")
			}
			if c.version() != 2 {
				t.Error("the write was applied")
			}
			c.do("PATCH", "/twins/dev1", write).want(200)
		})
	}
}

func TestThrottlingClosesTheConnection(t *testing.T) {
	c := startBroken(t, simulator.Throttled())
	resp, err := c.request(t.Context(), "GET", "/twins/dev1", "")
	c.must(err)
	_ = resp.Body.Close()
	if !resp.Close {
		t.Error("no connection: close")
	}
}

func TestGatewayTimeoutIsAnE3(t *testing.T) {
	c := startBroken(t, simulator.GatewayTimeout())
	a := c.do("GET", "/twins/dev1", "").want(504)
	var e1 struct{ Message, ExceptionMessage string }
	a.decode(&e1)
	var e2 struct {
		ErrorCode                         int
		TrackingID, Message, TimestampUTC string
		Info                              map[string]any
	}
	c.must(json.Unmarshal([]byte(e1.Message), &e2))
	if e2.ErrorCode != 504101 || e2.Message != "Timed out waiting for the response from device." || e1.ExceptionMessage != "" || e2.Info == nil {
		t.Errorf("got %s", a.body)
	}
	if e2.TimestampUTC != "2026-01-02T04:01:00.1234567Z" || !strings.HasSuffix(e2.TrackingID, "-TimeStamp:01/02/2026 04:01:00") || strings.Count(e2.TrackingID, "-") != 1 {
		t.Errorf("got %+v", e2)
	}
	if a.header.Get("iothub-errorcode") != "GatewayTimeout" {
		t.Errorf("got %v", a.header)
	}
}

func TestE2Envelope(t *testing.T) {
	c := startBroken(t, simulator.Fault{Kind: simulator.FaultStatus, Status: 409, Code: "ModuleAlreadyExistsOnDevice", Number: 409301, Message: "m", Envelope: simulator.EnvelopeE2})
	a := c.do("GET", "/twins/dev1", "").want(409)
	var e2 map[string]any
	a.decode(&e2)
	if e2["errorCode"] != float64(409301) || e2["message"] != "m" || e2["trackingId"] == nil || e2["timestampUtc"] == nil || len(e2) != 4 {
		t.Errorf("got %s", a.body)
	}
}

func TestResetBeforeTheWrite(t *testing.T) {
	c := startBroken(t, simulator.Broken(simulator.FaultResetBefore))
	err := c.failure(t.Context(), "PATCH", "/twins/dev1", write)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if c.version() != 2 {
		t.Error("the write was applied")
	}
	c.wantOneCall(0, "ResetBefore")
}

func TestLostReply(t *testing.T) {
	c := startBroken(t, simulator.Broken(simulator.FaultResetAfter))
	err := c.failure(t.Context(), "PATCH", "/twins/dev1", write)
	if !errors.Is(err, syscall.ECONNRESET) {
		t.Errorf("got %v", err)
	}
	if c.version() != 3 {
		t.Error("the write was not applied")
	}
	c.wantOneCall(0, "ResetAfter")
}

func (c *client) wantOneCall(status int, fault string) {
	c.t.Helper()
	list := c.sim.Calls().List(simulator.CallFilter{Operation: simulator.OpPatchTwin})
	if len(list) != 1 || list[0].Status != status || list[0].Fault != fault || !list[0].Done {
		c.t.Errorf("got %+v", list)
	}
}

func TestHalfABody(t *testing.T) {
	c := startBroken(t, simulator.Broken(simulator.FaultHalfBody))
	resp, err := c.request(t.Context(), "PATCH", "/twins/dev1", write)
	c.must(err)
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if resp.StatusCode != http.StatusOK || len(body) == 0 || !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("status %d, %d bytes, %v", resp.StatusCode, len(body), err)
	}
	c.wantOneCall(200, "HalfBody")
}

func TestInvalidJSON(t *testing.T) {
	c := startBroken(t, simulator.Broken(simulator.FaultInvalidJSON))
	a := c.do("PATCH", "/twins/dev1", write).want(200)
	if json.Valid([]byte(a.body)) || c.version() != 3 {
		t.Errorf("version %d, %s", c.version(), a.body)
	}
}

func TestHangEndsWhenTheClientGivesUp(t *testing.T) {
	c := startBroken(t, simulator.Broken(simulator.FaultHang))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		_ = c.sim.Calls().AwaitCount(ctx, simulator.OpPatchTwin, 1)
		cancel()
	}()
	if err := c.failure(ctx, "PATCH", "/twins/dev1", write); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if c.version() != 2 {
		t.Error("the write was applied")
	}
}

func TestHangEndsWithTheSimulator(t *testing.T) {
	c := startBroken(t, simulator.Broken(simulator.FaultHang))
	go func() {
		_ = c.sim.Calls().AwaitCount(t.Context(), simulator.OpGetTwin, 1)
		_ = c.sim.Close()
	}()
	if err := c.failure(t.Context(), "GET", "/twins/dev1", ""); err == nil {
		t.Error("an answer came")
	}
}

func TestLatency(t *testing.T) {
	c := startBroken(t, simulator.Slow(30*time.Millisecond))
	start := time.Now()
	c.do("PATCH", "/twins/dev1", write).want(200)
	if took := time.Since(start); took < 30*time.Millisecond {
		t.Errorf("took %s", took)
	}
	if list := c.sim.Calls().List(simulator.CallFilter{}); list[0].Duration < 30*time.Millisecond || list[0].Fault != "Latency" {
		t.Errorf("got %+v", list)
	}
}

func TestLatencyOutlastsTheClient(t *testing.T) {
	c := startBroken(t, simulator.Slow(time.Hour))
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	var timeout net.Error
	if err := c.failure(ctx, "PATCH", "/twins/dev1", write); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v", err)
	}
	if c.version() != 2 {
		t.Error("the write was applied")
	}
}

func TestFaultsHitWhatTheyMatch(t *testing.T) {
	c := startBroken(t, simulator.ServerError().On("PatchTwin", "dev*").Times(simulator.Forever))
	c.must(c.sim.Hub().CreateDevice("other"))
	c.do("GET", "/twins/dev1", "").want(200)
	c.do("PATCH", "/twins/other", write).want(200)
	c.do("PATCH", "/twins/dev1", write).want(500)
	c.do("PATCH", "/twins/dev1", write).want(500)
	c.sim.Faults().Clear()
	c.do("PATCH", "/twins/dev1", write).want(200)
}

func TestCallLog(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	sent := c.do("PATCH", "/twins/dev1", write, "If-Match", `"*"`).want(200)
	c.do("GET", "/nothing", "").want(404)
	list := c.sim.Calls().List(simulator.CallFilter{DeviceID: "dev1"})
	if len(list) != 1 {
		t.Fatalf("got %+v", list)
	}
	got := list[0]
	if got.Operation != "PatchTwin" || got.Method != http.MethodPatch || got.Status != 200 || got.IfMatch != `"*"` || got.Body != write ||
		got.RequestID != sent.header.Get("x-ms-request-id") || !got.Time.Equal(c.clock.Now()) || !got.Done {
		t.Errorf("got %+v", got)
	}
	if c.sim.Calls().Count(simulator.OpUnknown) != 1 || c.sim.Calls().CountFor(simulator.OpPatchTwin, "dev1") != 1 {
		t.Errorf("got %v", c.sim.Calls().Counts())
	}
}
