package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/cache"
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
