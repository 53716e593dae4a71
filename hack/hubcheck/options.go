package main

import (
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"regexp"
	"strings"
	"time"

	"github.com/spf13/pflag"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/iothub"
)

const help = `hubcheck compares what this project believes of Azure IoT Hub with a hub, of any tier, that is really there. It makes a device
hubcheck-..., plays facts with it by Microsoft's device SDK for Node, prints a table and removes the device. It writes nothing else, unless
--configuration is given, and takes fewer than 500 messages of the hub's day.

Exit codes: 0 all facts agree that were played, 1 some differ, 2 something failed.

Flags:
`

// options are the flags, and what follows from them.
type options struct {
	hubFile, eventsFile     string
	endpoint, gateway       string // of a simulator
	eventsEndpoint, caFile  string
	consumerGroup, devices  string
	only                    string
	patience, configuration time.Duration
	serviceOnly, throttle   bool
	withConfiguration       bool

	facts   []check // selected
	allowed needs   // what may be used, or is there
}

func parseOptions(args []string, stderr io.Writer) (options, error) {
	var o options
	flags := pflag.NewFlagSet("hubcheck", pflag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.SortFlags = false
	flags.StringVar(&o.hubFile, "connection-string-file", "", "file with the connection string of the policy iothubowner, or of one with RegistryWrite and ServiceConnect")
	flags.StringVar(&o.eventsFile, "events-connection-string-file", "", "file with the connection string of the Event Hubs-compatible endpoint; without it facts of events are not played")
	flags.StringVar(&o.consumerGroup, "consumer-group", "$Default", "consumer group to read events in; no other reader is disturbed")
	flags.StringVar(&o.only, "only", "", "play only facts whose id matches this regular expression")
	flags.BoolVar(&o.serviceOnly, "service-only", false, "play only what needs no device that connects, and so no node")
	flags.BoolVar(&o.withConfiguration, "configuration", false, "also make a configuration of automatic device management for the device, and remove it: up to a quarter of an hour")
	flags.BoolVar(&o.throttle, "throttle", false, "also ask more queries than S1 and the free tier allow: those of others are held back for a minute")
	flags.DurationVar(&o.patience, "patience", time.Minute, "how long to wait for what comes late")
	flags.DurationVar(&o.configuration, "configuration-patience", 7*time.Minute, "how long to wait for the hub to evaluate a configuration")
	flags.StringVar(&o.devices, "devices-folder", "test/e2e/devices", "folder of the device on Microsoft's SDK")
	flags.StringVar(&o.endpoint, "endpoint", "", "https://host:port to dial instead of the hub, for a simulator")
	flags.StringVar(&o.gateway, "gateway", "", "host:port that the device connects to instead of the hub, for a simulator")
	flags.StringVar(&o.eventsEndpoint, "events-endpoint", "", "host:port to dial instead of the event hub, for a simulator")
	flags.StringVar(&o.caFile, "ca-file", "", "CA certificates to trust instead of the system's, for a simulator")
	flags.Usage = func() { _, _ = fmt.Fprint(stderr, help, flags.FlagUsages()) }
	if err := flags.Parse(args); err != nil {
		return o, err
	}
	if flags.NArg() > 0 {
		return o, fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	return o, o.complete()
}

// complete derives the rest from the flags.
func (o *options) complete() error {
	if o.hubFile == "" {
		return errors.New("--connection-string-file is missing: make hubcheck CONNECTION_STRING_FILE=...; the Azure CLI prints the string " +
			"by az iot hub connection-string show --policy-name iothubowner")
	}
	pattern, err := regexp.Compile(o.only)
	if err != nil {
		return fmt.Errorf("--only is %q, which is no regular expression", o.only)
	}
	if o.facts = selected(allFacts(), pattern); len(o.facts) == 0 {
		return fmt.Errorf("--only is %q, which matches none of the %d facts", o.only, len(allFacts()))
	}
	for _, n := range []struct {
		given bool
		what  needs
	}{{!o.serviceOnly, aDevice}, {o.eventsFile != "", someEvents}, {o.withConfiguration, aConfiguration}, {o.throttle, theThrottle}} {
		if n.given {
			o.allowed |= n.what
		}
	}
	return nil
}

// used is what the selected facts need of what is allowed.
func (o options) used() needs {
	var all needs
	for _, c := range o.facts {
		if c.needs&^o.allowed == 0 {
			all |= c.needs
		}
	}
	return all
}

// readSecret reads a file that holds a connection string. No error repeats what is in it.
func readSecret(path string) (string, error) {
	raw, err := os.ReadFile(path)
	return strings.TrimSpace(string(raw)), err
}

// hubString reads and checks the hub's connection string.
func (o options) hubString() (string, iothub.ConnectionString, error) {
	text, err := readSecret(o.hubFile)
	if err != nil {
		return "", iothub.ConnectionString{}, err
	}
	parsed, err := iothub.ParseConnectionString(text)
	if err != nil {
		err = fmt.Errorf("%s: %w", o.hubFile, err)
	}
	return text, parsed, err
}

// eventsConfig reads and checks the connection string of the event endpoint.
func (o options) eventsConfig() (eventstream.Config, error) {
	text, err := readSecret(o.eventsFile)
	if err != nil {
		return eventstream.Config{}, err
	}
	c, err := eventstream.ParseConnectionString(text)
	if err != nil {
		return c, fmt.Errorf("%s: %w", o.eventsFile, err)
	}
	return c, c.Check()
}

// bundle returns the CA certificates to trust, none for the system's.
func (o options) bundle() ([]byte, error) {
	if o.caFile == "" {
		return nil, nil
	}
	return os.ReadFile(o.caFile)
}

// rootsOf reads CA certificates; nil are the system's.
func rootsOf(bundle []byte) (*x509.CertPool, error) {
	if len(bundle) == 0 {
		return nil, nil
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(bundle) {
		return nil, errors.New("--ca-file holds no PEM certificate")
	}
	return roots, nil
}

// fieldOf returns a field of a connection string.
func fieldOf(connectionString, name string) string {
	for part := range strings.SplitSeq(connectionString, ";") {
		if key, value, ok := strings.Cut(part, "="); ok && strings.EqualFold(strings.TrimSpace(key), name) {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
