package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// assetsOrSkip returns the folder of the binaries, or skips the test if they are not built.
func assetsOrSkip(t *testing.T) string {
	t.Helper()
	dir := os.Getenv("KUBEBUILDER_ASSETS")
	if dir == "" {
		dir = filepath.Join("..", "..", "..", "..", "bin", "k8s")
	}
	dir, err := filepath.Abs(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range append([]string{"kubectl"}, startOrder...) {
		if _, err := os.Stat(filepath.Join(dir, name)); err != nil {
			t.Skipf("no control plane: %s has no %s: build it with hack/controlplane/build.sh", dir, name)
		}
	}
	return dir
}

// fixture is a control plane in a folder of its own, which is stopped when the test ends.
type fixture struct {
	*testing.T
	assets string
	dir    string
}

func newFixture(t *testing.T) fixture {
	t.Helper()
	f := fixture{T: t, assets: assetsOrSkip(t), dir: filepath.Join(t.TempDir(), "control plane")}
	t.Cleanup(func() {
		if _, err := f.controlplane("down"); err != nil {
			t.Errorf("down: %v", err)
		}
	})
	return f
}

// in returns the fixture for use in a subtest.
func (f fixture) in(t *testing.T) fixture {
	f.T = t
	return f
}

// controlplane runs a command line on the fixture's folder and returns what it printed.
func (f fixture) controlplane(command string, flags ...string) (string, error) {
	f.Helper()
	var out bytes.Buffer
	args := slices.Concat([]string{command, "-assets", f.assets}, flags, []string{f.dir})
	err := execute(context.WithoutCancel(f.Context()), args, &out, io.Discard)
	f.Logf("controlplane %s: %v\n%s", command, err, out.String())
	return out.String(), err
}

// up starts the control plane.
func (f fixture) up() string {
	f.Helper()
	out, err := f.controlplane("up")
	if err != nil {
		f.Fatalf("up: %v", err)
	}
	return out
}

// kubectl runs kubectl as the administrator and returns what it printed.
func (f fixture) kubectl(args ...string) string {
	f.Helper()
	cmd := exec.CommandContext(f.Context(), filepath.Join(f.assets, "kubectl"), args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+filepath.Join(f.dir, kubeconfig))
	out, err := cmd.CombinedOutput()
	if err != nil {
		f.Fatalf("kubectl %q: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

// processes returns the command lines of all processes that name the fixture's folder.
func (f fixture) processes() []string {
	f.Helper()
	files, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		f.Fatal(err)
	}
	var found []string
	for _, file := range files {
		cmdline, err := os.ReadFile(file)
		if err == nil && bytes.Contains(cmdline, []byte(f.dir)) {
			found = append(found, string(bytes.ReplaceAll(cmdline, []byte{0}, []byte{' '})))
		}
	}
	return found
}

func (f fixture) wantNoProcess() {
	f.Helper()
	if left := f.processes(); len(left) > 0 {
		f.Errorf("processes left: %q", left)
	}
}

// kill kills the process of a part and waits for its end.
func (f fixture) kill(name string) {
	f.Helper()
	part := part{name: name, dir: f.dir}
	process, err := part.find()
	if err != nil {
		f.Fatalf("finding %s: %v", name, err)
	}
	if err := process.Kill(); err != nil {
		f.Fatalf("killing %s: %v", name, err)
	}
	if !part.awaitEnd(process.Pid, 10*time.Second) {
		f.Fatalf("%s does not end", name)
	}
}

func TestAControlPlaneServesUntilItIsTakenDown(t *testing.T) {
	f := newFixture(t)
	f.up()

	t.Run("kubectl and the API server are of one release", func(t *testing.T) {
		f.in(t).wantOneRelease()
	})
	t.Run("a service account has no rights until RBAC grants them", func(t *testing.T) {
		f.in(t).wantRBAC()
	})
	t.Run("a deleted namespace goes with what it holds", func(t *testing.T) {
		f := f.in(t)
		f.kubectl("create", "namespace", "short-lived")
		f.kubectl("create", "configmap", "held", "--namespace=short-lived")
		f.kubectl("delete", "namespace", "short-lived", "--wait", "--timeout=60s")
		if got := f.kubectl("get", "namespace", "short-lived", "--ignore-not-found"); got != "" {
			t.Errorf("the namespace is still there: %s", got)
		}
	})
	t.Run("what an owner owned goes with it", func(t *testing.T) {
		f.in(t).wantGarbageCollected()
	})
	t.Run("a second up leaves it running", func(t *testing.T) {
		f := f.in(t)
		before := f.processes()
		if out := f.up(); !strings.Contains(out, "already runs") {
			t.Errorf("up printed %q", out)
		}
		if after := f.processes(); !slices.Equal(before, after) {
			t.Errorf("processes were %q and are %q", before, after)
		}
	})
	t.Run("run refuses to take it over", func(t *testing.T) {
		f := f.in(t)
		if _, err := f.controlplane("run"); err == nil || !strings.Contains(err.Error(), "already runs") {
			t.Errorf("run returned %v", err)
		}
	})
	t.Run("status says that it is ready", func(t *testing.T) {
		f := f.in(t)
		if out, err := f.controlplane("status"); err != nil || !strings.Contains(out, "Ready") {
			t.Errorf("status printed %q and returned %v", out, err)
		}
	})
	t.Run("down leaves no process", func(t *testing.T) {
		f := f.in(t)
		if _, err := f.controlplane("down"); err != nil {
			t.Errorf("down: %v", err)
		}
		f.wantNoProcess()
		if _, err := f.controlplane("status"); !errors.Is(err, errNotReady) {
			t.Errorf("status returned %v", err)
		}
	})
}

// wantOneRelease checks the versions that kubectl and the API server tell.
func (f fixture) wantOneRelease() {
	f.Helper()
	var versions struct {
		ClientVersion, ServerVersion struct{ GitVersion, Major, Minor string }
	}
	out := f.kubectl("version", "--output=json")
	if err := json.Unmarshal([]byte(out), &versions); err != nil {
		f.Fatalf("reading %s: %v", out, err)
	}
	if versions.ClientVersion != versions.ServerVersion || !strings.HasPrefix(versions.ServerVersion.GitVersion, "v1.") {
		f.Errorf("kubectl version: %s", out)
	}
}

// wantRBAC checks that a service account, with a token made by the TokenRequest API, is refused what it was not granted.
func (f fixture) wantRBAC() {
	f.Helper()
	f.kubectl("create", "serviceaccount", "probe")
	token := f.kubectl("create", "token", "probe")
	const path = "/api/v1/namespaces/default/configmaps"
	status, body := f.getAs(token, path)
	if status != http.StatusForbidden || !strings.Contains(body, "system:serviceaccount:default:probe") {
		f.Errorf("without a role: status %d: %s", status, body)
	}
	f.kubectl("create", "rolebinding", "probe", "--clusterrole=view", "--serviceaccount=default:probe")
	for deadline := time.Now().Add(30 * time.Second); ; time.Sleep(pollInterval) {
		if status, body = f.getAs(token, path); status == http.StatusOK {
			break
		}
		if time.Now().After(deadline) {
			f.Fatalf("with a role: status %d: %s", status, body)
		}
	}
	if status, body := f.getAs(token, "/api/v1/namespaces/default/secrets"); status != http.StatusForbidden {
		f.Errorf("beyond the role: status %d: %s", status, body)
	}
	if status, _ := f.getAs("not-a-token", path); status != http.StatusUnauthorized {
		f.Errorf("with no good token: status %d", status)
	}
}

// getAs asks the API server for path with a token and no certificate.
func (f fixture) getAs(token, path string) (status int, body string) {
	f.Helper()
	config, err := clientTLS(filepath.Join(f.dir, keysFolder), adminCert)
	if err != nil {
		f.Fatal(err)
	}
	config.Certificates = nil
	server, err := os.ReadFile(filepath.Join(f.dir, serverFile))
	if err != nil {
		f.Fatal(err)
	}
	request, err := http.NewRequestWithContext(f.Context(), http.MethodGet, string(server)+path, nil)
	if err != nil {
		f.Fatal(err)
	}
	request.Header.Set("Authorization", "Bearer "+token)
	client := http.Client{Transport: &http.Transport{TLSClientConfig: config, DisableKeepAlives: true}}
	response, err := client.Do(request)
	if err != nil {
		f.Fatal(err)
	}
	defer func() { _ = response.Body.Close() }()
	data, err := io.ReadAll(response.Body)
	if err != nil {
		f.Fatal(err)
	}
	return response.StatusCode, string(data)
}

// wantGarbageCollected checks that deleting an owner deletes what refers to it.
func (f fixture) wantGarbageCollected() {
	f.Helper()
	f.kubectl("create", "configmap", "owner")
	f.kubectl("create", "configmap", "owned")
	uid := f.kubectl("get", "configmap", "owner", "--output=jsonpath={.metadata.uid}")
	f.kubectl("patch", "configmap", "owned", "--patch",
		`{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"ConfigMap","name":"owner","uid":"`+uid+`"}]}}`)
	f.kubectl("delete", "configmap", "owner")
	f.kubectl("wait", "configmap", "owned", "--for=delete", "--timeout=60s")
}

func TestUpReplacesWhatAKilledOneLeft(t *testing.T) {
	f := newFixture(t)
	f.up()
	f.kubectl("create", "configmap", "from-before")
	f.kill(apiServer)
	if _, err := f.controlplane("status"); !errors.Is(err, errNotReady) {
		t.Errorf("status of half a control plane returned %v", err)
	}
	f.up()
	if got := f.processes(); len(got) != len(startOrder) {
		t.Errorf("%d processes run, want %d: %q", len(got), len(startOrder), got)
	}
	if got := f.kubectl("get", "configmap", "from-before", "--ignore-not-found"); got != "" {
		t.Errorf("the new cluster holds an object of the old one: %s", got)
	}
}

func TestRunStopsWhatItStarted(t *testing.T) {
	for name, tc := range map[string]struct {
		end  func(f fixture, cancel func()) // what ends the run
		want string                         // what the error says, if there is one
	}{
		"when it is interrupted": {
			end: func(_ fixture, cancel func()) { cancel() },
		},
		"when down is called elsewhere": {
			end: func(f fixture, _ func()) {
				if _, err := f.controlplane("down"); err != nil {
					f.Errorf("down: %v", err)
				}
			},
		},
		"with an error when a part dies": {
			end:  func(f fixture, _ func()) { f.kill(etcd) },
			want: "etcd exited with signal: killed",
		},
	} {
		t.Run(name, func(t *testing.T) {
			f := newFixture(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			ended := make(chan error, 1)
			output, toRun := io.Pipe()
			go func() {
				ended <- execute(ctx, []string{"run", "-assets", f.assets, f.dir}, toRun, io.Discard)
				_ = toRun.Close()
			}()
			f.awaitLine(output, "Use it with")
			go io.Copy(io.Discard, output) // so that run can go on printing
			tc.end(f, cancel)
			f.wantError(<-ended, tc.want)
			f.wantNoProcess()
		})
	}
}

func TestUpWithoutAControllerManagerSaysWhatIsMissing(t *testing.T) {
	f := newFixture(t)
	whole := f.assets
	f.assets = t.TempDir()
	for _, name := range []string{etcd, apiServer} {
		if err := os.Symlink(filepath.Join(whole, name), filepath.Join(f.assets, name)); err != nil {
			t.Fatal(err)
		}
	}
	if out := f.up(); !strings.Contains(out, "has no kube-controller-manager") {
		t.Errorf("up printed %q", out)
	}
	if out := f.up(); !strings.Contains(out, "already runs") {
		t.Errorf("a second up printed %q", out)
	}
	if _, err := f.controlplane("down"); err != nil {
		t.Errorf("down: %v", err)
	}
	f.wantNoProcess()
}

// awaitLine reads output until a line has the text.
func (f fixture) awaitLine(output io.Reader, text string) {
	f.Helper()
	lines := bufio.NewScanner(output)
	for lines.Scan() {
		f.Log(lines.Text())
		if strings.Contains(lines.Text(), text) {
			return
		}
	}
	f.Fatalf("the output has no line with %q", text)
}

// wantError checks that err says what is wanted, or is nil if nothing is.
func (f fixture) wantError(err error, want string) {
	f.Helper()
	switch {
	case want == "" && err != nil:
		f.Errorf("unexpected error: %v", err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		f.Errorf("error is %v, want one that says %q", err, want)
	}
}
