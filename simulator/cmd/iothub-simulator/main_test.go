package main

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/pflag"

	"github.com/pnp-operator/pnp-operator/simulator"
)

var variables = []string{
	"HUB_CONNECTION_STRING", "HUB_HOST_NAME", "HUB_ENDPOINT", "HUB_CA_FILE", "EVENTHUB_CONNECTION_STRING", "EVENTHUB_ADDRESS",
	"EVENTHUB_EMULATOR_CONNECTION_STRING", "ENTRA_AUTHORITY", "ENTRA_CA_FILE", "SIMULATOR_DEBUG_URL",
}

func TestRunUntilStopped(t *testing.T) {
	dir := t.TempDir()
	env, ca := filepath.Join(dir, "hub.env"), filepath.Join(dir, "ca.pem")
	ctx, stop := context.WithCancel(t.Context())
	out, stdout := io.Pipe()
	done := make(chan error, 1)
	go func() {
		done <- run(ctx, []string{"--env-file", env, "--ca-file", ca, "--devices", "3", "--seed", "7", "--ack-delay", "0",
			"--events-plain-listen", "127.0.0.1:0", "--entra-listen", "127.0.0.1:0", "--entra-ca-file", filepath.Join(t.TempDir(), "entra.pem")}, stdout, io.Discard)
	}()
	lines := bufio.NewReader(out)
	line, err := lines.ReadString('\n')
	if err != nil || !strings.HasPrefix(line, "ready: hub factory.azure-devices.net at https://localhost:") {
		t.Fatalf("%q, %v", line, err)
	}
	values := readEnvironment(t, env)
	for _, name := range variables {
		if values[name] == "" {
			t.Errorf("%s is missing", name)
		}
	}
	rest, _ := lines.Peek(lines.Buffered())
	for _, name := range []string{"EVENTHUB_CONNECTION_STRING", "EVENTHUB_ADDRESS", "EVENTHUB_EMULATOR_CONNECTION_STRING"} {
		if !strings.Contains(string(rest), values[name]) {
			t.Errorf("%s is not printed in %s", name, rest)
		}
	}
	info, err := simulator.NewDebugClient(values["SIMULATOR_DEBUG_URL"]).Info(ctx)
	if err != nil || info.VirtualDevices != 3 || info.Endpoint != values["HUB_ENDPOINT"] {
		t.Errorf("%+v, %v", info, err)
	}
	if pem, err := os.ReadFile(values["HUB_CA_FILE"]); err != nil || !strings.HasPrefix(string(pem), "-----BEGIN CERTIFICATE-----") {
		t.Errorf("%s, %v", pem, err)
	}
	stop()
	if err := <-done; err != nil {
		t.Errorf("stopped with %v", err)
	}
}

func readEnvironment(t *testing.T, path string) map[string]string {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(filepath.Dir(path)); err != nil || len(entries) != 2 {
		t.Errorf("something is left beside it: %v", entries)
	}
	values := map[string]string{}
	for line := range strings.Lines(string(data)) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), "=")
		values[name] = value
	}
	return values
}

func TestBadArguments(t *testing.T) {
	for name, args := range map[string][]string{
		"an unknown flag":     {"--colour"},
		"an argument":         {"now"},
		"a bad address":       {"--listen", "256.0.0.1:0"},
		"a bad event address": {"--events-listen", "256.0.0.1:0"},
		"no partition":        {"--event-partitions", "-1"},
		"a bad pattern":       {"--devices", "2", "--device-pattern", "same"},
		"a bad identity":      {"--entra-listen", "127.0.0.1:0", "--entra-application", "a,b"},
		"an unwritable file":  {"--env-file", "/nonexistent/hub.env"},
		"half a certificate":  {"--tls-cert-file", "/nonexistent/tls.crt"},
		"no such certificate": {"--tls-cert-file", "/nonexistent/tls.crt", "--tls-key-file", "/nonexistent/tls.key"},
		"no such key":         {"--service-key-file", "/nonexistent/key"},
		"a key that is none":  {"--service-key-file", "main.go"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := run(t.Context(), args, io.Discard, io.Discard); err == nil {
				t.Error("it ran")
			}
		})
	}
}

func TestHelpNamesEveryVariable(t *testing.T) {
	var help strings.Builder
	if err := run(t.Context(), []string{"--help"}, io.Discard, &help); !errors.Is(err, pflag.ErrHelp) {
		t.Errorf("got %v", err)
	}
	for _, want := range append([]string{"--ack-delay", "--debug-listen", "--events-listen"}, variables...) {
		if !strings.Contains(help.String(), want) {
			t.Errorf("%s is missing", want)
		}
	}
}

func TestUnitsOfS1SetTheLimits(t *testing.T) {
	o, err := parse([]string{"--s1-units", "2"}, io.Discard)
	if err != nil || o.Limits != simulator.S1(2) {
		t.Errorf("%+v, %v", o.Limits, err)
	}
	if o, err := parse(nil, io.Discard); err != nil || o.Limits != (simulator.Limits{}) {
		t.Errorf("by default %+v, %v", o.Limits, err)
	}
	if _, err := parse([]string{"--s1-units", "-1"}, io.Discard); err == nil {
		t.Error("-1 units are taken")
	}
}
