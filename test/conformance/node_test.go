// Package conformance_test holds what Microsoft's clients read from the simulator's event hub against what was appended, and checks the
// simulator's service API with Microsoft's service client.
package conformance_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/pnp-operator/pnp-operator/simulator"
	"github.com/pnp-operator/pnp-operator/simulator/eventhub"
)

const (
	taskTime    = 2 * time.Minute
	installTime = 5 * time.Minute
)

// task is what read.js is to do.
type task struct {
	Do               string // read, own, properties
	ConnectionString string
	CustomEndpoint   string
	Group            string
	TimeoutMs        int64
	Counts           map[string]int // read: how many events to wait for, by partition
	Sample           int            // read
	Partition        string         // own
}

// ways are those in which Node's client can reach the simulator.
var ways = map[string]func(*simulator.Simulator, task) task{
	"over TLS, at a custom endpoint": func(sim *simulator.Simulator, k task) task {
		k.ConnectionString, k.CustomEndpoint = sim.EventHubConnectionString("service"), "sb://"+sim.EventsAddress()
		return k
	},
	"in emulator mode": func(sim *simulator.Simulator, k task) task {
		k.ConnectionString = sim.EmulatorConnectionString("service")
		return k
	},
}

func TestClientsReadWhatWasAppended(t *testing.T) {
	sim := start(t)
	want := appendEvents(t, sim.Events())
	t.Run("Go's, over TLS", func(t *testing.T) { compare(t, want, readWithGo(t, sim, want)) })
	for name, way := range ways {
		t.Run("Node's, "+name, func(t *testing.T) {
			counts := map[string]int{}
			for id, records := range want {
				counts[id] = len(records)
			}
			var got struct{ Records map[string][]record }
			runNode(t, sim, way(sim, task{Do: "read", Counts: counts, Sample: sample}), &got)
			compare(t, want, got.Records)
		})
	}
}

func compare(t *testing.T, want, got map[string][]record) {
	t.Helper()
	if diff := cmp.Diff(want, got, cmpopts.EquateEmpty()); diff != "" {
		t.Fatalf("what was read is not what was appended (-want +got):\n%.8000s", diff)
	}
	events, details, bytes := 0, 0, map[string]bool{}
	for _, records := range got {
		for _, r := range records {
			events++
			bytes[r.Body] = true
			if r.Details != nil {
				details++
			}
		}
	}
	t.Logf("%d events of %d partitions, %d different bodies; %d in all details", events, len(got), len(bytes), details)
}

func TestNodesReadersLoseAPartitionToAHigherLevel(t *testing.T) {
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			sim := start(t)
			sim.Events().Append(1, eventhub.Message{Body: []byte("x")})
			var got struct{ Error, Evicted, Lower, Without string }
			runNode(t, sim, way(sim, task{Do: "own", Partition: "1"}), &got)
			for what, c := range map[string]struct{ got, words string }{
				"the one that was there":                 {got.Evicted, "with higher epoch of '2' is created hence current receiver"},
				"one that comes with a lower level":      {got.Lower, "with a higher epoch '2' already exists"},
				"one that comes without any owner level": {got.Without, "At least one receiver for the endpoint is created with epoch of '2'"},
			} {
				if !strings.HasPrefix(c.got, "ReceiverDisconnectedError: ") || !strings.Contains(c.got, c.words) {
					t.Errorf("%s: %q, want ReceiverDisconnectedError: … %s (%s)", what, c.got, c.words, got.Error)
				}
			}
		})
	}
}

func TestNodesClientIsRefusedWithAWrongKey(t *testing.T) {
	sim := start(t)
	key, _ := sim.Policies().Get("service")
	for name, way := range ways {
		for _, do := range []string{"properties", "read"} {
			t.Run(do+" "+name, func(t *testing.T) {
				k := way(sim, task{Do: do, Counts: map[string]int{"0": 1}, Sample: 1})
				k.ConnectionString = strings.Replace(k.ConnectionString, key.Key, "d3Jvbmc=", 1)
				var got struct{ Error string }
				runNode(t, sim, k, &got)
				if !strings.HasPrefix(got.Error, "UnauthorizedError: ") {
					t.Errorf("got %q, want UnauthorizedError", got.Error)
				}
			})
		}
	}
}

// partitionProperties are as Node's client shows them.
type partitionProperties struct {
	ID, Hub, LastOffset   string
	Begin, Last, LastTime int64
	IsEmpty               bool
}

func TestNodesClientSeesTheProperties(t *testing.T) {
	sim := start(t)
	for i := range partitions - 1 { // the last one stays empty
		for range 3 * i {
			sim.Events().Append(i, eventhub.Message{Body: []byte("four")})
		}
	}
	sim.Events().Partitions()[2].Expire(1)
	name := sim.Events().Name()
	want := make([]partitionProperties, partitions)
	for i, p := range sim.Events().Partitions() {
		last := p.Info().LastTime.UnixMilli()
		want[i] = partitionProperties{ID: strconv.Itoa(i), Hub: name, LastOffset: "-1", Last: -1, LastTime: last, IsEmpty: true}
	}
	want[1].IsEmpty, want[1].Last, want[1].LastOffset = false, 2, "8"
	want[2].IsEmpty, want[2].Begin, want[2].Last, want[2].LastOffset = false, 5, 5, "20"
	for way, with := range ways {
		t.Run(way, func(t *testing.T) {
			var got struct {
				Error, Name string
				Partitions  []partitionProperties
			}
			runNode(t, sim, with(sim, task{Do: "properties"}), &got)
			if diff := cmp.Diff(want, got.Partitions); diff != "" || got.Name != name {
				t.Errorf("event hub %q, %s (-want +got):\n%s", got.Name, got.Error, diff)
			}
		})
	}
}

// runNode has read.js do a task.
func runNode(t *testing.T, sim *simulator.Simulator, k task, result any) {
	t.Helper()
	eventsClient.need(t)
	k.Group, k.TimeoutMs = simulator.DefaultConsumerGroup, taskTime.Milliseconds()
	input, err := json.Marshal(k)
	must(t, err)
	ca := t.TempDir() + "/ca.pem"
	must(t, os.WriteFile(ca, sim.CAPEM(), 0o600))
	output, err := eventsClient.command(t, taskTime+10*time.Second, input, []string{"NODE_EXTRA_CA_CERTS=" + ca}, "node", "read.js")
	must(t, err)
	must(t, json.Unmarshal(output, result))
}

// nodeClient is a folder with a client of Node and a program that uses it.
type nodeClient struct {
	folder  string
	install sync.Once
}

var (
	eventsClient  = &nodeClient{folder: "node"}
	serviceClient = &nodeClient{folder: "service"}
)

// command runs a program in the client's folder, and kills it when its time is up.
func (n *nodeClient) command(t *testing.T, limit time.Duration, input []byte, env []string, name string, args ...string) ([]byte, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	var complaints bytes.Buffer
	c := exec.CommandContext(ctx, name, args...)
	c.Dir, c.Env, c.WaitDelay = n.folder, append(os.Environ(), env...), 5*time.Second
	c.Stdin, c.Stderr = bytes.NewReader(input), &complaints
	output, err := c.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s", name, err, complaints.String())
	}
	return output, nil
}

// need skips the test if there is no Node or the client cannot be had, unless PNP_REQUIRE_NODE=1. It is installed once at most.
func (n *nodeClient) need(t *testing.T) {
	t.Helper()
	missing := t.Skipf
	if os.Getenv("PNP_REQUIRE_NODE") == "1" {
		missing = t.Fatalf
	}
	if _, err := exec.LookPath("node"); err != nil {
		missing("Node is missing, so nothing is known of its client: %v", err)
	}
	if n.installed() {
		return
	}
	if _, err := exec.LookPath("npm"); err != nil {
		missing("npm is missing, and test/conformance/%s/node_modules too: %v", n.folder, err)
	}
	n.install.Do(func() {
		if _, err := n.command(t, installTime, nil, nil, "npm", "ci", "--no-audit", "--no-fund"); err != nil {
			t.Log(err)
		}
	})
	if !n.installed() {
		missing("npm ci failed in test/conformance/%s", n.folder)
	}
}

// installed looks for what npm writes last.
func (n *nodeClient) installed() bool {
	_, err := os.Stat(n.folder + "/node_modules/.package-lock.json")
	return err == nil
}
