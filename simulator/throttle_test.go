package simulator_test

import (
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func TestAThrottledHubDelaysAndThenRefusesAsTheHubDoes(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.sim.SetLimits(simulator.Limits{TwinWritesPerSecond: 20, HoldSeconds: 0.05})
	for range 21 { // what a second brings, and one that is held back as long as may be
		c.do("PATCH", "/twins/dev1", write).want(200)
	}
	a := c.do("PATCH", "/twins/dev1", write)
	a.wantError(429, "ThrottlingBacklogTimeout", "The request has been throttled. Wait 10 seconds and try again. Operation type: TwinWrite")
	if a.header.Get("Retry-After") != "" {
		t.Error("hubs send no Retry-After")
	}
	faults := map[string]int{}
	for _, call := range c.sim.Calls().List(simulator.CallFilter{}) {
		faults[call.Fault]++
	}
	if faults["Shaped"] != 1 || faults["Refused"] != 1 {
		t.Errorf("faults %v in the call log, expected one call that was shaped and one refused", faults)
	}
	c.do("GET", "/twins/dev1", "").want(200) // reads have a throttle of their own
	c.sim.SetLimits(simulator.Limits{})
	c.do("PATCH", "/twins/dev1", write).want(200)
}

func TestTheMessagesOfTheDayAreCountedInBlocksAndEnd(t *testing.T) {
	c := start(t)
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.sim.SetLimits(simulator.Limits{DailyMessages: 3})
	c.do("GET", "/twins/dev1", "").want(200)
	c.do("POST", "/devices/query", `{"query":"SELECT * FROM devices"}`).want(200)
	c.do("PATCH", "/twins/dev1", write).want(200)
	for _, request := range [][3]string{{"GET", "/twins/dev1", ""}, {"PATCH", "/twins/dev1", write}} {
		c.do(request[0], request[1], request[2]).wantError(403, "IotHubQuotaExceeded", "Total number of messages on IotHub exceeded the allocated quota.")
	}
	c.clock.Step(24 * time.Hour)
	c.do("GET", "/twins/dev1", "").want(200)
}

func TestLimitsCanBeSetByTheDebugAPI(t *testing.T) {
	c := start(t)
	debug := simulator.NewDebugClient(c.sim.DebugURL())
	c.must(debug.SetLimits(t.Context(), simulator.Limits{DailyMessages: 1}))
	c.must(c.sim.Hub().CreateDevice("dev1"))
	c.do("GET", "/twins/dev1", "").want(200)
	c.do("GET", "/twins/dev1", "").want(403)
	if err := debug.SetLimits(t.Context(), simulator.Limits{DailyMessages: -1}); err == nil {
		t.Error("limits below zero are taken")
	}
	c.must(debug.SetLimits(t.Context(), simulator.Limits{}))
	c.do("GET", "/twins/dev1", "").want(200)
}

// What devices and configurations do counts where it is asked for: the operator shares the hub with them.
func TestWhatOthersDoIsCounted(t *testing.T) {
	for name, test := range map[string]struct {
		limits simulator.Limits
		want   int64
	}{
		"neither":        {simulator.Limits{}, 0},
		"devices":        {simulator.Limits{CountDevices: true}, 3}, // told of two writes, and answers one
		"configurations": {simulator.Limits{CountConfigurations: true}, 1},
		"both":           {simulator.Limits{CountDevices: true, CountConfigurations: true}, 4},
	} {
		t.Run(name, func(t *testing.T) {
			c := start(t)
			c.must(c.sim.Devices().Add("dev1", simulator.Spec{Behaviour: simulator.Ignore()}))
			debug := simulator.NewDebugClient(c.sim.DebugURL())
			c.must(debug.SetLimits(t.Context(), test.limits))
			c.must(c.sim.Hub().PatchDesired("dev1", `{"x":1}`, ""))
			c.must(c.sim.Hub().PatchDesired("dev1", `{"x":2}`, "cfg"))
			c.must(c.sim.Hub().PatchReported("dev1", `{"x":{"value":2,"ac":200,"av":3}}`))
			if got := c.messagesToday(); got != test.want {
				t.Errorf("%d messages, want %d", got, test.want)
			}
		})
	}
}
