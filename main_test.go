package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	uberzap "go.uber.org/zap"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

func TestWatchedNamespaces(t *testing.T) {
	for text, want := range map[string]map[string]cache.Config{
		"": nil, " , ": nil, "a": {"a": {}}, "a, b,": {"a": {}, "b": {}},
	} {
		if got := watched(options{watchNamespaces: text}); !reflect.DeepEqual(got, want) {
			t.Errorf("%q: %v, want %v", text, got, want)
		}
	}
}

// TestLogLinesAreCleanAndCut feeds what devices, tenants and hubs may have logged.
func TestLogLinesAreCleanAndCut(t *testing.T) {
	const terrible = "a\x1b[2J\x07\u009b32m\u202e\r\n{\"level\":\"info\"}\x00\x9b\xff\u2028b"
	for name, text := range map[string]string{"control and format characters": terrible, "100 KB": strings.Repeat("x", 100_000)} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := zap.New(zap.WriteTo(cleanLog{&out}), zap.RawZapOpts(uberzap.WrapCore(cutTexts))).WithValues("with", text)
			log.Error(errors.New(text), "Test", "text", text, "texts", []string{terrible})
			line := strings.TrimSuffix(out.String(), "\n")
			if !json.Valid([]byte(line)) || !storable.IsClean(strings.ReplaceAll(line, "  ", " ")) {
				t.Errorf("%.500q", line)
			}
			if len(line) > 4*maxLogged {
				t.Errorf("a line of %d bytes", len(line))
			}
		})
	}
}

// filling are caches that are filled once the channel is closed.
type filling struct {
	cache.Cache
	filled chan struct{}
}

func (f filling) WaitForCacheSync(ctx context.Context) bool {
	select {
	case <-f.filled:
		return true
	case <-ctx.Done():
		return false
	}
}

func TestOperatorIsReadyOnceItsCachesAreFilled(t *testing.T) {
	caches := filling{filled: make(chan struct{})}
	ready, request := cachesFilled(caches), httptest.NewRequest(http.MethodGet, "/readyz", nil)
	if err := ready(request); err == nil {
		t.Error("ready with empty caches")
	}
	close(caches.filled)
	if err := ready(request); err != nil {
		t.Errorf("not ready with filled caches: %v", err)
	}
}

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
		"valid":       {[]string{"-f", "config/samples"}, 0, "0 errors"},
		"refused":     {[]string{"-f", "config/samples", "-f", wrong}, 1, `spec.properties.targetTemperature is "hot"`},
		"no file":     {[]string{"-f", "no/such/file"}, 2, "no/such/file"},
		"nothing":     {nil, 2, "Usage"},
		"operands":    {[]string{"-f", "config/samples", "more"}, 2, "Usage"},
		"unknown":     {[]string{"--force"}, 2, "force"},
		"asked to":    {[]string{"--help"}, 0, "Usage"},
		"empty value": {[]string{"-f"}, 2, "needs an argument"},
	} {
		var out bytes.Buffer
		if status := validateCommand(test.args, &out, &out); status != test.status || !strings.Contains(out.String(), test.says) {
			t.Errorf("%s: status %d, want %d; it says %s", name, status, test.status, out.String())
		}
	}
}

// busy is set in a process of its own that checks what takes it longer than anybody waits.
const busy = "PNP_TEST_BUSY"

func TestMain(m *testing.M) {
	if file := os.Getenv(busy); file != "" {
		fmt.Println("begun")
		os.Exit(validateCommand(slices.Repeat([]string{"-f", file}, 20), io.Discard, os.Stderr))
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
