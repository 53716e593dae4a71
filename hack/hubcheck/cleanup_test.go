package main

import (
	"bytes"
	"context"
	"encoding/pem"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const (
	hubKey    = "aHViLWtleS1odWIta2V5"
	deviceKey = "ZGV2aWNlLWtleS1kZXZpY2Uta2V5"
)

// fakeHub answers what a test wants it to, and keeps what it was asked.
type fakeHub struct {
	answer func(w http.ResponseWriter, r *http.Request, nth int) // nth request of its kind, from 1

	mu    sync.Mutex
	asked []string
}

func (h *fakeHub) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := r.Method + " /" + strings.Split(r.URL.Path, "/")[1]
	h.mu.Lock()
	h.asked = append(h.asked, kind)
	nth := 0
	for _, k := range h.asked {
		if k == kind {
			nth++
		}
	}
	h.mu.Unlock()
	h.answer(w, r, nth)
}

func (h *fakeHub) count(kind string) int {
	h.mu.Lock()
	defer h.mu.Unlock()
	n := 0
	for _, k := range h.asked {
		if k == kind {
			n++
		}
	}
	return n
}

// usual is a hub that has the device and its twin, and refuses everything else.
func usual(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Method == http.MethodDelete:
		w.WriteHeader(http.StatusNoContent)
	case r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/devices/"):
		_, _ = w.Write([]byte(`{"authentication":{"symmetricKey":{"primaryKey":"` + deviceKey + `","secondaryKey":"` + deviceKey + `"}}}`))
	case r.Method == http.MethodGet:
		_, _ = fmt.Fprintf(w, `{"deviceId":%q,"etag":"AAAAAAAAAAE="}`, filepath.Base(r.URL.Path))
	default:
		w.Header().Set("iothub-errorcode", "ArgumentInvalid")
		w.WriteHeader(http.StatusBadRequest)
	}
}

// serve starts a fake hub and returns the arguments that lead to it.
func serve(t *testing.T, h *fakeHub) []string {
	t.Helper()
	server := httptest.NewTLSServer(h)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	ca, cs := filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cs")
	must(t, os.WriteFile(ca, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	must(t, os.WriteFile(cs, []byte("HostName=h.azure-devices.net;SharedAccessKeyName=iothubowner;SharedAccessKey="+hubKey+"\n"), 0o600))
	return []string{"--connection-string-file", cs, "--ca-file", ca, "--endpoint", server.URL, "--service-only", "--patience=1ms"}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func TestTheDeviceIsRemovedWhateverHappens(t *testing.T) {
	for name, test := range map[string]struct {
		answer  func(w http.ResponseWriter, r *http.Request, nth int)
		code    int
		deletes int
		says    string
	}{
		"facts differ": {func(w http.ResponseWriter, r *http.Request, _ int) { usual(w, r) }, someDiffer, 1, ""},
		"the answer to its making is lost": {func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.Method == http.MethodPut {
				panic(http.ErrAbortHandler)
			}
			usual(w, r)
		}, couldNotRun, 1, "making a device"},
		"its twin cannot be read": {func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.Method == http.MethodGet {
				w.WriteHeader(http.StatusUnauthorized)
				return
			}
			usual(w, r)
		}, couldNotRun, 1, "RegistryWrite and ServiceConnect"},
		"the first deletion fails": {func(w http.ResponseWriter, r *http.Request, nth int) {
			if r.Method == http.MethodDelete && nth == 1 {
				w.WriteHeader(http.StatusTooManyRequests)
				return
			}
			usual(w, r)
		}, someDiffer, 2, ""},
		"it is gone already": {func(w http.ResponseWriter, r *http.Request, _ int) {
			if r.Method == http.MethodDelete {
				w.WriteHeader(http.StatusNotFound)
				return
			}
			usual(w, r)
		}, someDiffer, 1, ""},
		"it was never made": {func(w http.ResponseWriter, _ *http.Request, _ int) { w.WriteHeader(http.StatusUnauthorized) }, couldNotRun, 0, "RegistryWrite and ServiceConnect"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &fakeHub{answer: test.answer}
			var out, errs bytes.Buffer
			code := run(t.Context(), append(serve(t, h), "--only", `^dt\.accumulated$`), &out, &errs)
			if code != test.code || h.count("DELETE /devices") != test.deletes || !strings.Contains(errs.String(), test.says) {
				t.Errorf("exit code %d, %d deletions, %s%s", code, h.count("DELETE /devices"), out.String(), errs.String())
			}
			noSecrets(t, out.String()+errs.String())
		})
	}
}

func TestAnInterruptRemovesTheDevice(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	h := &fakeHub{answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Method == http.MethodPatch { // in the middle of a fact
			cancel()
		}
		usual(w, r)
	}}
	var out, errs bytes.Buffer
	if code := run(ctx, serve(t, h), &out, &errs); code != couldNotRun || h.count("DELETE /devices") != 1 {
		t.Errorf("exit code %d, %v\n%s%s", code, h.asked, out.String(), errs.String())
	}
	if n := h.count("PATCH /twins"); n != 1 {
		t.Errorf("%d writes after the interrupt", n-1)
	}
}

func TestAConfigurationIsRemovedBeforeItsDevice(t *testing.T) {
	h := &fakeHub{answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/configurations/") {
			panic(http.ErrAbortHandler) // its answer is lost
		}
		if r.Method == http.MethodPut {
			_, _ = w.Write([]byte(`{"authentication":{"symmetricKey":{"primaryKey":"` + deviceKey + `"}}}`))
			return
		}
		usual(w, r)
	}}
	var out, errs bytes.Buffer
	code := run(t.Context(), append(serve(t, h), "--configuration", "--configuration-patience=1ms", "--only", `^configuration\.stamps$`), &out, &errs)
	i, j := slices.Index(h.asked, "DELETE /configurations"), slices.Index(h.asked, "DELETE /devices")
	if code != couldNotRun || i < 0 || j < i {
		t.Errorf("exit code %d, %v\n%s%s", code, h.asked, out.String(), errs.String())
	}
}

func TestNothingIsWrittenUnlessAskedFor(t *testing.T) {
	h := &fakeHub{answer: func(w http.ResponseWriter, r *http.Request, _ int) { usual(w, r) }}
	var out, errs bytes.Buffer
	run(t.Context(), serve(t, h), &out, &errs)
	for _, kind := range h.asked {
		if strings.Contains(kind, "configurations") || strings.Contains(kind, "jobs") {
			t.Errorf("asked for %s", kind)
		}
	}
	noSecrets(t, out.String()+errs.String())
}

// A fact that even such a hub lives up to would say nothing of any other.
func TestNoFactHoldsAtAHubThatMakesNoSense(t *testing.T) {
	h := &fakeHub{answer: func(w http.ResponseWriter, r *http.Request, _ int) {
		if r.Method == http.MethodPut && strings.HasPrefix(r.URL.Path, "/devices/") || r.Method == http.MethodDelete {
			usual(w, r)
			return
		}
		w.Header().Set("ETag", `"nonsense"`)
		w.Header().Set("iothub-errorcode", "Nonsense")
		if r.Method != http.MethodGet {
			w.WriteHeader(http.StatusTeapot)
		}
		_, _ = w.Write([]byte(`{}`))
	}}
	var out, errs bytes.Buffer
	if code := run(t.Context(), serve(t, h), &out, &errs); code != someDiffer {
		t.Errorf("exit code %d: %s", code, errs.String())
	}
	if strings.Contains(out.String(), "  yes") {
		t.Error(out.String())
	}
}

func noSecrets(t *testing.T, text string) {
	t.Helper()
	for _, secret := range []string{hubKey, deviceKey, "SharedAccessSignature"} {
		if strings.Contains(text, secret) {
			t.Errorf("%s is printed:\n%s", secret, text)
		}
	}
}

func TestUnusableCommandLines(t *testing.T) {
	dir := t.TempDir()
	garbage := filepath.Join(dir, "garbage")
	must(t, os.WriteFile(garbage, []byte("HostName=h;SharedAccessKey="+hubKey), 0o600))
	for want, args := range map[string][]string{
		"CONNECTION_STRING_FILE":         {},
		"no such file":                   {"--connection-string-file", filepath.Join(dir, "none")},
		"SharedAccessKeyName is missing": {"--connection-string-file", garbage},
		"matches none":                   {"--connection-string-file", garbage, "--only", "nothing"},
		"no regular expression":          {"--connection-string-file", garbage, "--only", "("},
		"unexpected argument":            {"more"},
		"unknown flag":                   {"--nothing"},
	} {
		var errs bytes.Buffer
		if code := run(t.Context(), args, &bytes.Buffer{}, &errs); code != couldNotRun || !strings.Contains(errs.String(), want) {
			t.Errorf("%v: exit code %d, %s", args, code, errs.String())
		}
		noSecrets(t, errs.String())
	}
	if code := run(t.Context(), []string{"--help"}, &bytes.Buffer{}, &bytes.Buffer{}); code != allAgree {
		t.Errorf("--help: exit code %d", code)
	}
}

func TestWithoutNode(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	h := &fakeHub{answer: func(w http.ResponseWriter, r *http.Request, _ int) { usual(w, r) }}
	args := slices.DeleteFunc(serve(t, h), func(a string) bool { return a == "--service-only" })
	var errs bytes.Buffer
	if code := run(t.Context(), args, &bytes.Buffer{}, &errs); code != couldNotRun || !strings.Contains(errs.String(), "nodejs and npm") || len(h.asked) > 0 {
		t.Errorf("exit code %d, %s, asked %v", code, errs.String(), h.asked)
	}
}
