package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha512"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
)

const envtestVersion = "1.36.2"

// published serves an index of envtest's programs and the archive that it names. Each program is a script that tells its name.
type published struct {
	checksum func(archive []byte) string
	missing  bool // there is no archive
}

func (p published) serve(t *testing.T) string {
	t.Helper()
	archive := envtestArchive(t)
	name := fmt.Sprintf("envtest-v%s-linux-%s.tar.gz", envtestVersion, runtime.GOARCH)
	mux := http.NewServeMux()
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	mux.HandleFunc("/index.yaml", func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, "releases:\n  v%s:\n    %s:\n      hash: %s\n      selfLink: %s/archive\n", envtestVersion, name, p.checksum(archive), server.URL)
	})
	mux.HandleFunc("/archive", func(w http.ResponseWriter, _ *http.Request) {
		if p.missing {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		_, _ = w.Write(archive)
	})
	return server.URL + "/index.yaml"
}

func envtestArchive(t *testing.T) []byte {
	t.Helper()
	var buffer bytes.Buffer
	zipped := gzip.NewWriter(&buffer)
	files := tar.NewWriter(zipped)
	for _, name := range []string{"etcd", "kube-apiserver", "kubectl"} {
		script := "#!/bin/sh\necho published " + name + "\n"
		if err := files.WriteHeader(&tar.Header{Name: "controller-tools/envtest/" + name, Mode: 0o755, Size: int64(len(script)), Typeflag: tar.TypeReg}); err != nil {
			t.Fatal(err)
		}
		if _, err := files.Write([]byte(script)); err != nil {
			t.Fatal(err)
		}
	}
	if err := files.Close(); err != nil {
		t.Fatal(err)
	}
	if err := zipped.Close(); err != nil {
		t.Fatal(err)
	}
	return buffer.Bytes()
}

func right(archive []byte) string { return fmt.Sprintf("%x", sha512.Sum512(archive)) }
func wrong([]byte) string         { return strings.Repeat("0", 128) }

// quickly runs build.sh --quick with a compiler that compiles developer tools, but no Kubernetes.
func quickly(t *testing.T, out, index string) (string, error) {
	t.Helper()
	compiler, err := exec.LookPath("go")
	if err != nil {
		t.Skip("no go")
	}
	bin := t.TempDir()
	stub := "#!/bin/bash\ncase \"$*\" in\nbuild*controlplane-multicall*) echo 'built from source' >&2; exit 7;;\n*) exec " + compiler + " \"$@\";;\nesac\n"
	if err := os.WriteFile(filepath.Join(bin, "go"), []byte(stub), 0o700); err != nil {
		t.Fatal(err)
	}
	script, err := filepath.Abs("../../build.sh")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), script, "--quick", out)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "ENVTEST_INDEX="+index, "ENVTEST_SECONDS=20", "KUBEBUILDER_ASSETS=")
	said, err := cmd.CombinedOutput()
	return string(said), err
}

func TestQuickBuilds(t *testing.T) {
	for name, test := range map[string]struct {
		index   func(*testing.T) string
		want    string // is said
		fetched bool
	}{
		"published programs are used":         {published{checksum: right}.serve, "using envtest's published programs " + envtestVersion + ", fetched within", true},
		"with a wrong checksum they are not":  {published{checksum: wrong}.serve, "so they are built: ", false},
		"nor if they cannot be fetched":       {published{checksum: right, missing: true}.serve, "so they are built: ", false},
		"nor if there is nobody at the index": {func(*testing.T) string { return "http://127.0.0.1:1/index.yaml" }, "so they are built: ", false},
	} {
		t.Run(name, func(t *testing.T) {
			out := t.TempDir()
			said, err := quickly(t, out, test.index(t))
			if !strings.Contains(said, test.want) || strings.Contains(said, "built from source") == test.fetched {
				t.Errorf("%v: %s", err, said)
			}
			if !test.fetched {
				return
			}
			for _, program := range []string{"etcd", "kube-apiserver", "kubectl"} {
				if says, err := exec.CommandContext(t.Context(), filepath.Join(out, program)).Output(); err != nil || string(says) != "published "+program+"\n" {
					t.Errorf("%s: %q, %v", program, says, err)
				}
			}
			if said, err := quickly(t, out, "http://127.0.0.1:1/index.yaml"); err != nil || !strings.Contains(said, "using envtest's published programs "+envtestVersion+"\n") {
				t.Errorf("once more: %v: %s", err, said)
			}
		})
	}
}
