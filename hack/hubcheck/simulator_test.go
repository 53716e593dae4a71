package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"maps"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/messaging/azeventhubs/v2"

	"github.com/pnp-operator/pnp-operator/simulator"
)

const devicesFolder = "../../test/e2e/devices"

// install brings the packages of the device once, before runs that would all do it at the same time.
var install = sync.OnceValue(func() error { return installPackages(context.Background(), devicesFolder) })

// withNode has make hubcheck-simulator run what needs node, and nothing else.
func withNode(t *testing.T) {
	t.Helper()
	if os.Getenv("PNP_HUBCHECK_SIMULATOR") == "" {
		t.Skip("make hubcheck-simulator runs it: it needs node and npm")
	}
	must(t, install())
}

// toggle is a switch of the simulator's behaviour. Facts have to tell its two positions apart.
type toggle struct {
	first, second func(*simulator.Simulator)
	play          string // ids of the facts to play, a regular expression
	tells         string // ids of those that tell the positions apart
	args          []string
}

func usually(*simulator.Simulator) {}

// toggles are all settings and routes of the simulator, by their names in its debug API.
var toggles = map[string]toggle{
	"indexLag": {usually, func(s *simulator.Simulator) { s.Hub().SetIndexLag(time.Hour) }, `^query\.late`, "query.late", nil},
	"countLag": {usually, func(s *simulator.Simulator) { s.Hub().SetCountLag(time.Hour) }, `^query\.(count|group)`, "query.count query.group", nil},
	"missingDiffers": {usually, func(s *simulator.Simulator) { s.Hub().SetQueryDialect(simulator.QueryDialect{MissingDiffers: true}) },
		`^query\.(nin|unequal|drifted|undefined)`, "query.nin query.unequal", nil},
	"noQueryMetadata": {usually, func(s *simulator.Simulator) { s.Hub().SetQueryDialect(simulator.QueryDialect{NoMetadata: true}) },
		`^query\.metadata`, "query.metadata", nil},
	"configurationsOnce": {oftenConfigured, func(s *simulator.Simulator) { oftenConfigured(s); s.Configurations().SetOnce(true) },
		`^configuration\.drift`, "configuration.drift", nil},
	"configurationInterval": {usually, oftenConfigured,
		`^configuration\.`, "configuration.drift", nil},
	"lenientDigitalTwins": {usually, func(s *simulator.Simulator) { s.Hub().SetLenientDigitalTwins(true) }, `^dt\.`,
		"dt.below.missing dt.component.missing dt.remove.missing dt.replace.missing", nil},
	"wholeConfigurationEvents": {usually, func(s *simulator.Simulator) { s.Hub().SetWholeConfigurationEvents(true) }, `^configuration\.(stamps|event)`,
		"configuration.event", nil},
	"queryRows": {manyDevices, func(s *simulator.Simulator) { manyDevices(s); s.Hub().SetQueryRows(1000) }, `^query\.page`, "query.page", nil},
	"limits": {usually, func(s *simulator.Simulator) { s.SetLimits(simulator.Limits{QueriesPerMinute: 20}) },
		`^throttle\.`, "throttle.held throttle.refused", []string{"--throttle"}},
	"clockOffset":        {usually, func(s *simulator.Simulator) { s.SetClockOffset(-5 * time.Minute) }, `^clock`, "clock", nil},
	"telemetry":          {usually, withRoutes(func(r *simulator.Routes) { r.Telemetry = false }), `^event\.telemetry`, "event.telemetry", nil},
	"twinChanges":        {usually, withRoutes(func(r *simulator.Routes) { r.TwinChanges = false }), `^event\.patch`, "event.patch", nil},
	"lifecycle":          {usually, withRoutes(func(r *simulator.Routes) { r.Lifecycle = false }), `^event\.created`, "event.created", nil},
	"connectionState":    {usually, withRoutes(func(r *simulator.Routes) { r.ConnectionState = false }), `^event\.connected`, "event.connected", nil},
	"digitalTwinChanges": {usually, withRoutes(func(r *simulator.Routes) { r.DigitalTwinChanges = true }), `^event\.digitaltwin`, "event.digitaltwin", nil},
}

// withRoutes changes one of the routes.
func withRoutes(change func(*simulator.Routes)) func(*simulator.Simulator) {
	return func(s *simulator.Simulator) {
		r := s.Router().Routes()
		change(&r)
		s.Router().SetRoutes(r)
	}
}

func oftenConfigured(s *simulator.Simulator) {
	_ = s.Configurations().SetInterval(200 * time.Millisecond)
}

func manyDevices(s *simulator.Simulator) {
	_ = s.AddDevices(simulator.DeviceRequest{Pattern: "other-%03d", Count: 120, IdentityOnly: true})
}

// counted are settings that only say what is the case.
var counted = []string{"messagesToday"}

// A switch that the simulator gets has to be told by some fact, or nobody would learn at a real hub how it stands.
func TestEverySwitchIsPlayed(t *testing.T) {
	for _, of := range []any{simulator.Settings{}, simulator.Routes{}} {
		for field := range reflect.TypeOf(of).Fields() {
			name, _, _ := strings.Cut(field.Tag.Get("json"), ",")
			if _, ok := toggles[name]; !ok && !slices.Contains(counted, name) {
				t.Errorf("%s of %T is a switch of the simulator that no fact tells", name, of)
			}
		}
	}
}

func TestEverySwitchMakesADifference(t *testing.T) {
	withNode(t)
	for name, one := range toggles {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			args := append([]string{"--only", one.play, "--patience=3s", "--configuration", "--configuration-patience=3s"}, one.args...)
			first, _ := playAt(t, one.first, args...)
			second, _ := playAt(t, one.second, args...)
			var told []string
			for i, r := range first {
				if r.seen != second[i].seen || r.verdict != second[i].verdict {
					told = append(told, r.id)
				}
			}
			slices.Sort(told)
			if name == "limits" { // the facts of the throttle are played nowhere else
				agreed(t, second, theThrottle)
			}
			if got := strings.Join(told, " "); got == "" || got != one.tells {
				t.Errorf("told apart by %q, want %q\n%s\n%s", got, one.tells, table(first), table(second))
			}
		})
	}
}

// Everything that is believed holds at the simulator: else it would be a wrong picture of a hub.
func TestEveryFactHoldsAtTheSimulator(t *testing.T) {
	withNode(t)
	t.Parallel()
	rows, printed := playAt(t, func(s *simulator.Simulator) {
		manyDevices(s)
		toggles["digitalTwinChanges"].second(s)
		toggles["configurationInterval"].second(s)
	}, "--patience=10s", "--configuration", "--configuration-patience=10s")
	agreed(t, rows, aDevice|someEvents|aConfiguration)
	said := regexp.MustCompile(`messages: about (\d+)`).FindStringSubmatch(printed)
	if n, err := strconv.Atoi(said[len(said)-1]); err != nil || n < 200 || n > 350 { // a hub that is slow is asked more often
		t.Errorf("%d messages of %d: %v", n, mostMessages, err)
	}
}

// The tests that need no node run with all others.
func TestFactsOfTheServiceHoldAtTheSimulator(t *testing.T) {
	rows, _ := playAt(t, func(s *simulator.Simulator) {
		manyDevices(s)
		toggles["digitalTwinChanges"].second(s)
	}, "--service-only", "--patience=10s", "--only", `^(clock|client|twin|dt|command|query|event)`)
	agreed(t, rows, someEvents)
}

func TestAnotherReaderOfTheConsumerGroupIsNamed(t *testing.T) {
	sim := startSimulator(t, usually)
	roots, err := rootsOf(sim.CAPEM())
	must(t, err)
	other, err := azeventhubs.NewConsumerClientFromConnectionString(sim.EventHubConnectionString("service"), "", "$Default", &azeventhubs.ConsumerClientOptions{
		CustomEndpoint: sim.EventsAddress(), TLSConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
	})
	must(t, err)
	defer func() { _ = other.Close(context.Background()) }()
	all, err := other.GetEventHubProperties(t.Context(), nil)
	must(t, err)
	for _, id := range all.PartitionIDs {
		p, err := other.NewPartitionClient(id, &azeventhubs.PartitionClientOptions{OwnerLevel: new(int64)})
		must(t, err)
		go func() { _, _ = p.ReceiveEvents(t.Context(), 1000, nil) }()
	}
	_, err = eventually(t.Context(), 10*time.Second, func() (bool, error) { return len(sim.AMQP().Receivers()) == len(all.PartitionIDs), nil })
	must(t, err)
	rows, _ := playOn(t, sim, "--service-only", "--only", `^event\.patch`, "--patience=3s")
	if rows[0].verdict != failed || !strings.Contains(rows[0].seen, "consumer group $Default") {
		t.Errorf("%s: %s", rows[0].verdict, rows[0].seen)
	}
	if rows, _ := playOn(t, sim, "--service-only", "--only", `^event\.patch`, "--consumer-group", simulator.DefaultConsumerGroup, "--patience=10s"); rows[0].verdict != agrees {
		t.Errorf("in another group: %s: %s", rows[0].verdict, rows[0].seen)
	}
}

func TestTwoRunsDoNotCollide(t *testing.T) {
	sim := startSimulator(t, usually)
	done := make(chan []row)
	for range 2 {
		go func() {
			rows, _ := playOn(t, sim, "--service-only", "--only", `^(twin|dt)\.`)
			done <- rows
		}()
	}
	for range 2 {
		agreed(t, <-done, someEvents)
	}
	if ids := sim.Hub().IDs(); len(ids) > 0 {
		t.Errorf("left behind: %v", ids)
	}
}

// agreed is that everything was played which what was allowed allows, and agrees.
func agreed(t *testing.T, rows []row, allowed needs) {
	t.Helper()
	for _, r := range rows {
		want := agrees
		if r.needs.missing(allowed) != "" {
			want = notPlayed
		}
		if r.verdict != want {
			t.Errorf("%s: %s: expected %s, saw %s", r.id, r.verdict, r.expected, r.seen)
		}
	}
}

func startSimulator(t *testing.T, set func(*simulator.Simulator)) *simulator.Simulator {
	t.Helper()
	sim, err := simulator.Start(t.Context(), simulator.Options{AckDelay: -1})
	must(t, err)
	t.Cleanup(func() { _ = sim.Close() })
	set(sim)
	return sim
}

// playAt plays facts at a simulator of its own, which has nothing of them afterwards.
func playAt(t *testing.T, set func(*simulator.Simulator), args ...string) ([]row, string) {
	t.Helper()
	sim := startSimulator(t, set)
	before := sim.Hub().IDs()
	rows, printed := playOn(t, sim, args...)
	if after := sim.Hub().IDs(); !slices.Equal(before, after) || len(sim.Configurations().List()) > 0 {
		t.Errorf("left behind: %v and %d configurations", after, len(sim.Configurations().List()))
	}
	return rows, printed
}

func playOn(t *testing.T, sim *simulator.Simulator, args ...string) ([]row, string) {
	t.Helper()
	dir := t.TempDir()
	files := map[string]string{
		"ca": string(sim.CAPEM()), "hub": sim.ConnectionString("iothubowner"), "events": sim.EventHubConnectionString("iothubowner"),
	}
	for name, content := range files {
		must(t, os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600))
	}
	o, err := parseOptions(append([]string{
		"--connection-string-file", filepath.Join(dir, "hub"), "--events-connection-string-file", filepath.Join(dir, "events"), "--ca-file", filepath.Join(dir, "ca"),
		"--endpoint", sim.Endpoint(), "--gateway", sim.MQTTAddress(), "--events-endpoint", sim.EventsAddress(),
		"--devices-folder", devicesFolder,
	}, args...), &bytes.Buffer{})
	must(t, err)
	var out bytes.Buffer
	var secrets hider
	rows, err := o.check(t.Context(), &secrets, &out)
	if err != nil {
		t.Error(err)
	}
	for _, secret := range slices.Concat(secrets.secrets, slices.Collect(maps.Values(files))) {
		if strings.Contains(out.String(), secret) {
			t.Error("a secret is printed")
		}
	}
	return rows, out.String()
}
