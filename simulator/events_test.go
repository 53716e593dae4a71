package simulator_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"
	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/simulator"
)

// withEmulator runs a simulator that SDKs in their emulator mode can read.
func withEmulator(t *testing.T, edits ...func(*simulator.Options)) *simulator.Simulator {
	t.Helper()
	o := simulator.Options{Seed: 1, AckDelay: -1, DebugListen: "127.0.0.1:0", EventsPlainListen: "127.0.0.1:0"}
	for _, edit := range edits {
		edit(&o)
	}
	sim, err := simulator.Start(t.Context(), o)
	must(t, err)
	t.Cleanup(func() { must(t, sim.Close()) })
	return sim
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// within bounds what a test waits for.
func within(t testing.TB) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

// consumer is Microsoft's client, which gives up at the first error.
func consumer(t *testing.T, connectionString, group string, o azeventhubs.ConsumerClientOptions) *azeventhubs.ConsumerClient {
	t.Helper()
	o.RetryOptions.MaxRetries = -1
	c, err := azeventhubs.NewConsumerClientFromConnectionString(connectionString, "", group, &o)
	must(t, err)
	t.Cleanup(func() { _ = c.Close(context.WithoutCancel(t.Context())) })
	return c
}

// reader reads the partition of a device from the beginning.
func reader(t *testing.T, sim *simulator.Simulator, c *azeventhubs.ConsumerClient, device string) *azeventhubs.PartitionClient {
	t.Helper()
	p, err := c.NewPartitionClient(strconv.Itoa(sim.Events().PartitionFor(device)), &azeventhubs.PartitionClientOptions{
		StartPosition: azeventhubs.StartPosition{Earliest: new(true)}, OwnerLevel: new(int64(1)),
	})
	must(t, err)
	t.Cleanup(func() { _ = p.Close(context.WithoutCancel(t.Context())) })
	return p
}

func emulated(t *testing.T, sim *simulator.Simulator) *azeventhubs.ConsumerClient {
	t.Helper()
	return consumer(t, sim.EmulatorConnectionString("service"), simulator.DefaultConsumerGroup, azeventhubs.ConsumerClientOptions{})
}

func TestMicrosoftsClientReadsWhatHappens(t *testing.T) {
	sim := withEmulator(t)
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(sim.CAPEM())
	clients := map[string]func(*testing.T) *azeventhubs.ConsumerClient{
		"over TLS, at a custom endpoint": func(t *testing.T) *azeventhubs.ConsumerClient {
			return consumer(t, sim.EventHubConnectionString("service"), simulator.DefaultConsumerGroup, azeventhubs.ConsumerClientOptions{
				CustomEndpoint: sim.EventsAddress(), TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			})
		},
		"over TLS, in the default group": func(t *testing.T) *azeventhubs.ConsumerClient {
			return consumer(t, sim.EventHubConnectionString("iothubowner"), azeventhubs.DefaultConsumerGroup, azeventhubs.ConsumerClientOptions{
				CustomEndpoint: sim.EventsAddress(), TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
			})
		},
		"in emulator mode": func(t *testing.T) *azeventhubs.ConsumerClient { return emulated(t, sim) },
	}
	must(t, sim.Devices().Add("dev1", simulator.Spec{Model: simulator.Thermostat}))
	if _, err := sim.Hub().Await(within(t), "dev1", func(t *simulator.Twin) bool { return t != nil && t.ReportedVersion() > 1 }); err != nil {
		t.Fatal(err)
	}
	must(t, sim.Devices().SendTelemetry("dev1", "probe", []byte(`{"temperature":3}`)))
	for name, client := range clients {
		t.Run(name, func(t *testing.T) {
			c := client(t)
			hub, err := c.GetEventHubProperties(within(t), nil)
			must(t, err)
			if hub.Name != "iothub-ehub-factory" || len(hub.PartitionIDs) != 4 {
				t.Errorf("got %+v", hub)
			}
			events, err := reader(t, sim, c, "dev1").ReceiveEvents(within(t), 4, nil)
			must(t, err)
			var got []string
			for _, e := range events {
				got = append(got, fmt.Sprint(e.SystemProperties["iothub-message-source"], " ", e.Properties["opType"], " ", e.PartitionKey == nil))
			}
			want := []string{
				"deviceLifecycleEvents createDeviceIdentity true", "deviceConnectionStateEvents deviceConnected true",
				"twinChangeEvents updateTwin true", "Telemetry <nil> true",
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
			last := events[len(events)-1]
			if last.SystemProperties["dt-subject"] != "probe" || last.SystemProperties["dt-dataschema"] != simulator.Thermostat || string(last.Body) != `{"temperature":3}` {
				t.Errorf("got %v %s", last.SystemProperties, last.Body)
			}
			if _, ok := last.SystemProperties["iothub-enqueuedtime"].(time.Time); !ok {
				t.Errorf("enqueued %v", last.SystemProperties["iothub-enqueuedtime"])
			}
		})
	}
}

func TestOrderPerDeviceThroughTheEventHub(t *testing.T) {
	const devices, writes = 50, 20
	sim := withEmulator(t, func(o *simulator.Options) { o.EventPartitions = 1 })
	sim.Router().SetRoutes(simulator.Routes{TwinChanges: true})
	for i := range devices {
		must(t, sim.Hub().CreateDevice(fmt.Sprintf("dev%d", i)))
	}
	for range writes {
		for i := range devices {
			must(t, sim.Hub().PatchReported(fmt.Sprintf("dev%d", i), `{"a":1}`))
		}
	}
	p := reader(t, sim, emulated(t, sim), "dev0")
	seen := map[any]int{}
	for n := 0; n < devices*writes; {
		events, err := p.ReceiveEvents(within(t), 100, nil)
		must(t, err)
		for _, e := range events {
			device := e.Properties["deviceId"]
			seen[device]++
			if want := fmt.Sprintf(`{"version":%d,`, seen[device]+2); !strings.HasPrefix(string(e.Body), want) {
				t.Fatalf("%s: %s, want %s", device, e.Body, want)
			}
		}
		n += len(events)
	}
}

func TestPoliciesOfTheEventHub(t *testing.T) {
	sim := withEmulator(t)
	must(t, sim.Hub().CreateDevice("dev1"))
	for name, test := range map[string]struct {
		policy string
		ok     bool
	}{
		"the owner may read":            {"iothubowner", true},
		"a service may read":            {"service", true},
		"a device may not":              {"device", false},
		"who reads the registry cannot": {"registryRead", false},
	} {
		t.Run(name, func(t *testing.T) {
			c := consumer(t, sim.EmulatorConnectionString(test.policy), simulator.DefaultConsumerGroup, azeventhubs.ConsumerClientOptions{})
			if _, err := reader(t, sim, c, "dev1").ReceiveEvents(within(t), 1, nil); (err == nil) != test.ok {
				t.Errorf("got %v", err)
			}
		})
	}
	if sim.EmulatorConnectionString("nobody") != "" || sim.EventHubConnectionString("nobody") != "" {
		t.Error("a connection string of nobody")
	}
}

func TestEventOptions(t *testing.T) {
	sim := withEmulator(t, func(o *simulator.Options) {
		o.HostName, o.EventPartitions, o.ConsumerGroups = "plant.azure-devices.net", 2, []string{"a", "b"}
		o.EventsPlainListen = ""
	})
	key, _ := sim.Policies().Get("service")
	want := "Endpoint=sb://iothub-ns-plant.servicebus.windows.net/;SharedAccessKeyName=service;SharedAccessKey=" + key.Key + ";EntityPath=iothub-ehub-plant"
	if diff := cmp.Diff(want, sim.EventHubConnectionString("service")); diff != "" {
		t.Error(diff)
	}
	if sim.EmulatorConnectionString("service") != "" {
		t.Error("the emulator mode is not off")
	}
	if len(sim.Events().Partitions()) != 2 || !sim.Events().HasGroup("b") || sim.Events().HasGroup(simulator.DefaultConsumerGroup) {
		t.Error("not the event hub that was asked for")
	}
	for name, o := range map[string]simulator.Options{
		"no partitions":       {EventPartitions: -1},
		"a bad address":       {EventsListen: "256.0.0.1:0"},
		"a bad plain address": {EventsPlainListen: "256.0.0.1:0"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := simulator.Start(t.Context(), o); err == nil {
				t.Error("started")
			}
		})
	}
}

func TestDebugAMQP(t *testing.T) {
	ctx := t.Context()
	tests := map[string]struct {
		act  func(*simulator.DebugClient) error
		ok   func(error) bool
		what func(simulator.AMQPState) int
	}{
		"connections are cut": {
			func(d *simulator.DebugClient) error { return d.CutConnections(ctx) },
			func(err error) bool { return code(err) == azeventhubs.ErrorCodeConnectionLost },
			func(s simulator.AMQPState) int { return s.Faults.Cut },
		},
		"connections are closed": {
			func(d *simulator.DebugClient) error {
				return d.CloseConnections(ctx, simulator.AMQPError{Description: "maintenance"})
			},
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "maintenance") },
			func(s simulator.AMQPState) int { return s.Faults.Closed },
		},
		"frames are truncated": {
			func(d *simulator.DebugClient) error { return d.TruncateFrames(ctx) },
			func(err error) bool { return code(err) == azeventhubs.ErrorCodeConnectionLost },
			func(s simulator.AMQPState) int { return s.Faults.Truncated },
		},
		"readers are evicted": {
			func(d *simulator.DebugClient) error { return d.StealReceivers(ctx) },
			func(err error) bool { return code(err) == azeventhubs.ErrorCodeOwnershipLost },
			func(s simulator.AMQPState) int { return s.Faults.Detached },
		},
		"the event hub goes": {
			func(d *simulator.DebugClient) error { return d.DeleteEventHub(ctx) },
			func(err error) bool { return err != nil && strings.Contains(err.Error(), "amqp:not-found") },
			func(s simulator.AMQPState) int { return s.Faults.Detached },
		},
		"links are refused after the next cut": {
			func(d *simulator.DebugClient) error {
				return errors.Join(d.Refuse(ctx, simulator.RefuseRequest{Links: 1, AMQPError: simulator.AMQPError{Condition: "amqp:not-found"}}), d.CutConnections(ctx))
			},
			func(err error) bool { return err != nil },
			func(s simulator.AMQPState) int { return s.Faults.Cut },
		},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			sim := withEmulator(t)
			d := simulator.NewDebugClient(sim.DebugURL())
			must(t, sim.Hub().CreateDevice("dev1"))
			p := reader(t, sim, emulated(t, sim), "dev1")
			_, err := p.ReceiveEvents(within(t), 1, nil)
			must(t, err)
			state, err := d.AMQP(ctx)
			must(t, err)
			if len(state.Receivers) != 1 || state.Receivers[0].Group != simulator.DefaultConsumerGroup || state.Receivers[0].Epoch != 1 {
				t.Errorf("receivers %+v", state.Receivers)
			}
			must(t, test.act(d))
			must(t, sim.Hub().PatchReported("dev1", `{"a":1}`)) // something to notice it by
			if _, err := p.ReceiveEvents(within(t), 1, nil); !test.ok(err) {
				t.Errorf("got %v", err)
			}
			if state, err = d.AMQP(ctx); err != nil || test.what(state) != 1 {
				t.Errorf("%+v, %v", state, err)
			}
		})
	}
}

func TestDebugStallsAndRecreates(t *testing.T) {
	sim := withEmulator(t)
	ctx, d := t.Context(), simulator.NewDebugClient(sim.DebugURL())
	must(t, sim.Hub().CreateDevice("dev1"))
	c := emulated(t, sim)
	p := reader(t, sim, c, "dev1")
	_, err := p.ReceiveEvents(within(t), 1, nil)
	must(t, err)

	t.Run("a stalled partition sends nothing until it is released", func(t *testing.T) {
		must(t, d.StallPartition(ctx, strconv.Itoa(sim.Events().PartitionFor("dev1"))))
		must(t, sim.Hub().PatchReported("dev1", `{"a":1}`))
		must(t, sim.Router().Flush(within(t)))
		soon, cancel := context.WithTimeout(ctx, 50*time.Millisecond)
		defer cancel()
		if events, err := p.ReceiveEvents(soon, 1, nil); err == nil {
			t.Errorf("received %s", events[0].Body)
		}
		must(t, d.ReleasePartitions(ctx))
		_, err := p.ReceiveEvents(within(t), 1, nil)
		must(t, err)
	})
	t.Run("consumer groups come and go", func(t *testing.T) {
		must(t, d.AddConsumerGroup(ctx, "other"))
		must(t, d.RemoveConsumerGroup(ctx, simulator.DefaultConsumerGroup))
		if !sim.Events().HasGroup("other") || sim.Events().HasGroup(simulator.DefaultConsumerGroup) {
			t.Error("not the groups that were asked for")
		}
		must(t, d.AddConsumerGroup(ctx, simulator.DefaultConsumerGroup))
	})
	t.Run("a new event hub is empty and younger", func(t *testing.T) {
		before := sim.Events().Created()
		must(t, d.RecreateEventHub(ctx))
		if state, err := d.AMQP(ctx); err != nil || state.Faults.Detached != 1 {
			t.Errorf("%+v, %v", state, err)
		}
		properties, err := c.GetPartitionProperties(within(t), strconv.Itoa(sim.Events().PartitionFor("dev1")), nil)
		must(t, err)
		if !properties.IsEmpty || !sim.Events().Created().After(before) {
			t.Errorf("got %+v", properties)
		}
	})
	t.Run("tokens are refused", func(t *testing.T) {
		must(t, d.Refuse(ctx, simulator.RefuseRequest{Tokens: 1}))
		if _, err := reader(t, sim, emulated(t, sim), "dev1").ReceiveEvents(within(t), 1, nil); code(err) != azeventhubs.ErrorCodeUnauthorizedAccess {
			t.Errorf("got %v", err)
		}
		if state, err := d.AMQP(ctx); err != nil || state.Faults.RefusedToken != 1 {
			t.Errorf("%+v, %v", state, err)
		}
	})
}

func code(err error) azeventhubs.ErrorCode {
	if known, ok := errors.AsType[*azeventhubs.Error](err); ok {
		return known.Code
	}
	return ""
}
