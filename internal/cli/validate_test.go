package cli

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// samples is a folder without errors.
const samples = "../../config/samples"

func TestValidateCommand(t *testing.T) {
	wrong := filepath.Join(t.TempDir(), "wrong.yaml")
	text := "apiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: d}\nspec: {hubRef: {name: h}, modelID: \"dtmi:com:example:Thermostat;1\", properties: {targetTemperature: hot}}\n"
	if err := os.WriteFile(wrong, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, test := range map[string]struct {
		args   []string
		status int
		says   string
	}{
		"valid":       {[]string{"-f", samples}, 0, "0 errors"},
		"refused":     {[]string{"-f", samples, "-f", wrong}, 1, `spec.properties.targetTemperature is "hot"`},
		"no file":     {[]string{"-f", "no/such/file"}, 2, "no/such/file"},
		"nothing":     {nil, 2, "Usage"},
		"operands":    {[]string{"-f", samples, "more"}, 2, "Usage"},
		"unknown":     {[]string{"--force"}, 2, "force"},
		"asked to":    {[]string{"--help"}, 0, "Usage"},
		"empty value": {[]string{"-f"}, 2, "needs an argument"},
	} {
		var out bytes.Buffer
		if status := Validate(test.args, &out, &out); status != test.status || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: status %d, want %d; it says %s", name, status, test.status, out.String())
		}
	}
}

// busy is set in a process of its own that checks what takes it longer than anybody waits.
const busy = "PNP_TEST_BUSY"

func TestMain(m *testing.M) {
	if file := os.Getenv(busy); file != "" {
		fmt.Println("begun")
		os.Exit(Validate(slices.Repeat([]string{"-f", file}, 20), io.Discard, os.Stderr))
	}
	os.Exit(m.Run())
}

func TestASignalEndsValidate(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lists.yaml")
	if err := os.WriteFile(file, []byte("a: ["+strings.Repeat("[],", 1_000_000)+"]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, signal := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT} {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		cmd := exec.CommandContext(ctx, os.Args[0])
		cmd.Env = append(os.Environ(), busy+"="+file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := bufio.NewReader(out).ReadString('\n'); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(signal); err != nil {
			t.Fatal(err)
		}
		_ = cmd.Wait() // it was ended
		if is := cmd.ProcessState.Sys().(syscall.WaitStatus); !is.Signaled() || is.Signal() != signal {
			t.Errorf("%s: it ended with %v, want it ended by the signal", signal, cmd.ProcessState)
		}
	}
}
