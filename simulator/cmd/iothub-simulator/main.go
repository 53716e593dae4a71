// Command iothub-simulator runs an Azure IoT Hub on this machine, for tests and demonstrations.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/go-logr/logr"
	"github.com/go-logr/logr/funcr"
	"github.com/spf13/pflag"

	"github.com/pnp-operator/pnp-operator/simulator"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	if errors.Is(err, pflag.ErrHelp) {
		return
	}
	if err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "iothub-simulator:", err)
		os.Exit(1)
	}
}

const help = `iothub-simulator runs an Azure IoT Hub on this machine: the REST API for the registry, modules, device twins, digital
twins, queries, direct methods, commands, configurations and jobs over TLS, the Event Hubs-compatible endpoint over AMQP, MQTT for devices, virtual
IoT Plug and Play devices, injected faults and a call log.

Clients connect to the printed endpoints and sign tokens for the hub's host name. With --env-file, what they need is written
as KEY=VALUE lines once everything listens:

  HUB_CONNECTION_STRING   of the policy iothubowner
  HUB_HOST_NAME           the name that tokens are signed for
  HUB_ENDPOINT            where the REST API really listens
  HUB_CA_FILE             the CA that signed the endpoints' certificate (with --ca-file)
  EVENTHUB_CONNECTION_STRING
                          of the Event Hubs-compatible endpoint, policy iothubowner
  EVENTHUB_ADDRESS        where that really listens: the custom endpoint of Microsoft's SDKs
  EVENTHUB_EMULATOR_CONNECTION_STRING
                          without TLS (with --events-plain-listen)
  MQTT_ADDRESS            where devices connect, MQTT over TLS: the gateway host name of Microsoft's device SDKs
  ENTRA_AUTHORITY         where a simulated Microsoft Entra ID issues tokens for the hub (with --entra-listen)
  ENTRA_CA_FILE           the CA that signed its certificate (with --entra-ca-file)
  SIMULATOR_DEBUG_URL     the debug API: devices, routes, faults, calls, events, settings

Examples:
  iothub-simulator --ca-file /tmp/hub-ca.pem --env-file /tmp/hub.env --devices 10
  iothub-simulator --events-plain-listen 127.0.0.1:5672 --devices 3 --telemetry-interval 5s

Flags:
`

// options are the flags.
type options struct {
	simulator.Options
	entra     entraOptions
	certFile  string
	keyFile   string
	svcKey    string
	envFile   string
	devices   int
	pattern   string
	model     string
	telemetry time.Duration
	verbosity int
	s1Units   int
}

func parse(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := pflag.NewFlagSet("iothub-simulator", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.SortFlags = false
	o.addHubFlags(flags)
	o.addEventFlags(flags)
	o.addDeviceFlags(flags)
	o.entra.addFlags(flags)
	flags.Usage = func() { _, _ = fmt.Fprint(stderr, help, flags.FlagUsages()) }
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if o.AckDelay == 0 {
		o.AckDelay = -1 // at once
	}
	if o.s1Units < 0 {
		return o, fmt.Errorf("--s1-units is %d, expected 0 or more", o.s1Units)
	}
	if o.s1Units > 0 {
		o.Limits = simulator.S1(o.s1Units)
	}
	o.Logger = newLogger(stderr, o.verbosity)
	return o, o.readSecrets()
}

// readSecrets reads what was made beforehand, so that clients could be told of it.
func (o *options) readSecrets() error {
	if (o.certFile == "") != (o.keyFile == "") {
		return errors.New("--tls-cert-file and --tls-key-file go together")
	}
	if o.certFile != "" {
		certificate, err := tls.LoadX509KeyPair(o.certFile, o.keyFile)
		if err != nil {
			return err
		}
		o.Certificate = &certificate
	}
	if o.svcKey == "" {
		return nil
	}
	key, err := os.ReadFile(o.svcKey)
	o.ServiceKey = strings.TrimSpace(string(key))
	return err
}

func (o *options) addHubFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.Listen, "listen", "127.0.0.1:0", "address of the REST API; port 0 is any free one")
	flags.StringVar(&o.MQTTListen, "mqtt-listen", "127.0.0.1:0", "address that devices connect to, MQTT over TLS")
	flags.StringVar(&o.DebugListen, "debug-listen", "127.0.0.1:0", "address of the debug API; empty turns it off")
	flags.StringVar(&o.HostName, "host-name", simulator.DefaultHostName, "host name of the hub, as tokens name it")
	flags.StringVar(&o.CAFile, "ca-file", "", "write the CA certificate to this file")
	flags.StringVar(&o.certFile, "tls-cert-file", "", "serve with this certificate, whose CA clients know, instead of one of an own CA")
	flags.StringVar(&o.keyFile, "tls-key-file", "", "its private key")
	flags.StringVar(&o.svcKey, "service-key-file", "", "the file of the key of the policy service, base64; default a generated key")
	flags.StringVar(&o.envFile, "env-file", "", "write how to connect to this file, once ready")
	flags.StringVar(&o.JournalFile, "journal-file", "", "write every change of a device to this file, a line of JSON each")
	flags.Uint64Var(&o.Seed, "seed", 0, "make generated keys repeatable; 0 makes them random")
	flags.IntVar(&o.s1Units, "s1-units", 0, "throttle like a hub with this many units of S1; 0 does not throttle")
	flags.IntVarP(&o.verbosity, "verbosity", "v", 0, "1 logs refused tokens and queries, 2 every call")
}

func (o *options) addEventFlags(flags *pflag.FlagSet) {
	flags.StringVar(&o.EventsListen, "events-listen", "127.0.0.1:0", "address of the Event Hubs-compatible endpoint, AMQP over TLS")
	flags.StringVar(&o.EventsPlainListen, "events-plain-listen", "", "address of the same without TLS, for the emulator mode of Microsoft's SDKs; empty turns it off")
	flags.IntVar(&o.EventPartitions, "event-partitions", 4, "partitions of the event hub")
	flags.IntVar(&o.MaxEvents, "max-events", 0, "how many events a partition keeps at least; 0 keeps those of a day")
	flags.StringSliceVar(&o.ConsumerGroups, "consumer-groups", []string{simulator.DefaultConsumerGroup}, "consumer groups besides $Default")
	flags.StringVar(&o.EventHubNamespace, "event-hub-namespace", "", "host name of the event hub (default iothub-ns-HUB.servicebus.windows.net)")
	flags.StringVar(&o.EventHubName, "event-hub-name", "", "name of the event hub (default iothub-ehub-HUB)")
}

func (o *options) addDeviceFlags(flags *pflag.FlagSet) {
	flags.IntVar(&o.devices, "devices", 0, "create this many virtual devices")
	flags.StringVar(&o.pattern, "device-pattern", "device-%04d", "ids of the virtual devices, numbered from 0")
	flags.StringVar(&o.model, "model", simulator.TemperatureController, "model of the virtual devices")
	flags.DurationVar(&o.AckDelay, "ack-delay", 20*time.Millisecond, "how long virtual devices take to react")
	flags.DurationVar(&o.telemetry, "telemetry-interval", 0, "how often virtual devices send telemetry; 0 is never")
}

func newLogger(w io.Writer, verbosity int) logr.Logger {
	return funcr.New(func(_, line string) { _, _ = fmt.Fprintln(w, line) }, funcr.Options{LogTimestamp: true, Verbosity: verbosity})
}

// run serves until ctx ends.
func run(ctx context.Context, args []string, stdout, stderr io.Writer) error {
	o, err := parse(args, stderr)
	if err != nil {
		return err
	}
	authority, err := o.entra.start(ctx, o.Logger)
	if err != nil {
		return err
	}
	if authority != nil {
		defer func() { _ = authority.Close() }()
		o.Entra = authority.EntraAuthority
	}
	s, err := simulator.Start(ctx, o.Options)
	if err != nil {
		return err
	}
	defer func() { _ = s.Close() }()
	if err := addDevices(s, o); err != nil {
		return err
	}
	if o.envFile != "" {
		if err := writeAtomically(o.envFile, environment(s, authority, o)); err != nil {
			return err
		}
	}
	_, _ = fmt.Fprint(stdout, ready(s, o))
	<-ctx.Done()
	return s.Close()
}

// ready is printed at once: who waits for the first line may not read on.
func ready(s *simulator.Simulator, o options) string {
	var b strings.Builder
	_, _ = fmt.Fprintf(&b, "ready: hub %s at %s, debug API at %s, %d devices\n", s.HostName(), s.Endpoint(), orNone(s.DebugURL()), o.devices)
	_, _ = fmt.Fprintf(&b, "devices connect to %s, MQTT over TLS\n", s.MQTTAddress())
	_, _ = fmt.Fprintf(&b, "events over TLS, custom endpoint %s:\n  %s\n", s.EventsAddress(), s.EventHubConnectionString("iothubowner"))
	if plain := s.EmulatorConnectionString("iothubowner"); plain != "" {
		_, _ = fmt.Fprintf(&b, "events in the emulator mode of SDKs:\n  %s\n", plain)
	}
	return b.String()
}

func addDevices(s *simulator.Simulator, o options) error {
	if o.devices == 0 {
		return nil
	}
	return s.AddDevices(simulator.DeviceRequest{Pattern: o.pattern, Count: o.devices, Spec: simulator.Spec{
		Model: o.model, Telemetry: simulator.Telemetry{Interval: o.telemetry},
	}})
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func environment(s *simulator.Simulator, authority *simulator.Entra, o options) string {
	var b strings.Builder
	for _, line := range [][2]string{
		{"HUB_CONNECTION_STRING", s.ConnectionString("iothubowner")},
		{"HUB_HOST_NAME", s.HostName()},
		{"HUB_ENDPOINT", s.Endpoint()},
		{"HUB_CA_FILE", absolute(o.CAFile)},
		{"EVENTHUB_CONNECTION_STRING", s.EventHubConnectionString("iothubowner")},
		{"EVENTHUB_ADDRESS", s.EventsAddress()},
		{"EVENTHUB_EMULATOR_CONNECTION_STRING", s.EmulatorConnectionString("iothubowner")},
		{"MQTT_ADDRESS", s.MQTTAddress()},
		{"ENTRA_AUTHORITY", authority.URL()},
		{"ENTRA_CA_FILE", absolute(o.entra.caFile)},
		{"SIMULATOR_DEBUG_URL", s.DebugURL()},
	} {
		b.WriteString(line[0] + "=" + line[1] + "\n")
	}
	return b.String()
}

// writeAtomically lets readers see all of the file or none. It holds a key, so only the owner may read it.
func writeAtomically(path, content string) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".iothub-simulator-*")
	if err != nil {
		return err
	}
	defer func() { _ = os.Remove(f.Name()) }() // fails once it is renamed, as it should
	_, err = f.WriteString(content)
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// absolute makes a path hold for readers in other directories.
func absolute(path string) string {
	if full, err := filepath.Abs(path); err == nil && path != "" {
		return full
	}
	return path
}
