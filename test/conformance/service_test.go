package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"os"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// checkTime is far more than all checks take: one of them waits 10 seconds before it tries again.
const checkTime = 3 * time.Minute

func TestNodesServiceClient(t *testing.T) {
	serviceClient.need(t)
	sim, err := simulator.Start(t.Context(), simulator.Options{DebugListen: "127.0.0.1:0"})
	must(t, err)
	t.Cleanup(func() { must(t, sim.Close()) })
	for _, c := range runChecks(t, sim) {
		t.Run(c.Name, func(t *testing.T) {
			if !c.OK {
				t.Error(c.Detail)
			}
		})
	}
}

// check is a line that checks.js prints.
type check struct {
	Name   string
	OK     bool
	Detail string
}

// runChecks runs the unchanged client: hook.js has it dial the simulator when it means port 443 of the hub.
func runChecks(t *testing.T, sim *simulator.Simulator) []check {
	t.Helper()
	ca := t.TempDir() + "/ca.pem"
	must(t, os.WriteFile(ca, sim.CAPEM(), 0o600))
	output, err := serviceClient.command(t, checkTime, nil, []string{
		"NODE_EXTRA_CA_CERTS=" + ca,
		"HUB_HOST_NAME=" + sim.HostName(),
		"HUB_ENDPOINT=" + sim.Endpoint(),
		"HUB_CONNECTION_STRING=" + sim.ConnectionString("iothubowner"),
		"SIMULATOR_DEBUG_URL=" + sim.DebugURL(),
	}, "node", "--require", "./hook.js", "checks.js")
	must(t, err)
	var checks []check
	lines := bufio.NewScanner(bytes.NewReader(output))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var c check
		must(t, json.Unmarshal(lines.Bytes(), &c))
		checks = append(checks, c)
	}
	must(t, lines.Err())
	return checks
}
