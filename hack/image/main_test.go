package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"log"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// files are those of an image, by path.
func files(t *testing.T, image v1.Image) map[string]*tar.Header {
	t.Helper()
	found := map[string]*tar.Header{}
	each(t, image, func(h *tar.Header, _ io.Reader) { found[h.Name] = h })
	return found
}

func each(t *testing.T, image v1.Image, do func(*tar.Header, io.Reader)) {
	t.Helper()
	flat := mutate.Extract(image)
	defer func() { _ = flat.Close() }()
	for r := tar.NewReader(flat); ; {
		h, err := r.Next()
		if err == io.EOF {
			return
		}
		if err != nil {
			t.Fatal(err)
		}
		do(h, r)
	}
}

// what is expected of an image.
type expected struct {
	of, program, title string
	flag, says         string // what its program says to a flag; empty: anything
}

// TestImage builds each image, pushes it to a registry, takes it from there and looks at it.
func TestImage(t *testing.T) {
	for _, want := range []expected{
		{"operator", "manager", "pnp-operator", "--version", "v9.8.7"},
		{"simulator", "iothub-simulator", "iothub-simulator", "--help", ""},
	} {
		t.Run(want.of, func(t *testing.T) { buildAndLook(t, want) })
	}
}

func buildAndLook(t *testing.T, want expected) {
	t.Helper()
	server := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	defer server.Close()
	tag := strings.TrimPrefix(server.URL, "http://") + "/factory/" + want.title + ":v9.8.7"
	dir := filepath.Join(t.TempDir(), "image")
	args := []string{"-root=../..", "-of=" + want.of, "-tag=" + tag, "-platforms=linux/" + runtime.GOARCH, "-out=" + dir, "-push"}
	var out bytes.Buffer
	if err := run(t.Context(), args, &out); err != nil {
		t.Fatal(err, out.String())
	}
	reference, err := name.ParseReference(tag)
	if err != nil {
		t.Fatal(err)
	}
	index, err := remote.Index(reference)
	if err != nil {
		t.Fatal(err)
	}
	image := only(t, index)
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.Config.User != "65532:65532" || !slices.Equal(config.Config.Entrypoint, []string{"/" + want.program}) || config.Architecture != runtime.GOARCH {
		t.Errorf("%+v", config)
	}
	if v := config.Config.Labels["org.opencontainers.image.version"]; v != "v9.8.7" {
		t.Errorf("version %q", v)
	}
	if title := config.Config.Labels["org.opencontainers.image.title"]; title != want.title {
		t.Errorf("title %q, want %q", title, want.title)
	}
	has := files(t, image)
	for path, h := range has {
		if h.Uid != 0 || h.Mode&0o022 != 0 {
			t.Errorf("%s can be changed by the one who runs it: %o of %d", path, h.Mode, h.Uid)
		}
	}
	if len(has) != 5 || has[want.program] == nil || has["etc/ssl/certs/ca-certificates.crt"] == nil {
		t.Errorf("the image has %v", has)
	}
	checkProgram(t, image, want)
	again, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := again.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	pushed, err := index.Digest()
	if err != nil || stored.Manifests[0].Digest != pushed {
		t.Errorf("stored %s, pushed %s, %v", stored.Manifests[0].Digest, pushed, err)
	}
	if !strings.Contains(out.String(), pushed.String()) {
		t.Errorf("%s does not name %s", out.String(), pushed)
	}
	if info, err := os.Stat(dir + ".tar"); err != nil || info.Size() < 1<<20 {
		t.Errorf("the archive for docker load: %v", err)
	}
	secondTime(t, args, dir, pushed)
}

// secondTime builds once more: it must be the same.
func secondTime(t *testing.T, args []string, dir string, want v1.Hash) {
	t.Helper()
	if err := run(t.Context(), args[:len(args)-1], io.Discard); err != nil {
		t.Fatal(err)
	}
	again, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	stored, err := again.IndexManifest()
	if err != nil || len(stored.Manifests) != 1 || stored.Manifests[0].Digest != want {
		t.Errorf("built once more: %+v, %v, want %s", stored, err, want)
	}
}

func only(t *testing.T, index v1.ImageIndex) v1.Image {
	t.Helper()
	manifest, err := index.IndexManifest()
	if err != nil || len(manifest.Manifests) != 1 {
		t.Fatalf("%+v, %v", manifest, err)
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

// checkProgram runs what is in the image: it needs nothing of this machine, and the operator knows its version.
func checkProgram(t *testing.T, image v1.Image, want expected) {
	t.Helper()
	path := filepath.Join(t.TempDir(), want.program)
	each(t, image, func(h *tar.Header, r io.Reader) {
		if h.Name != want.program {
			return
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o700); err != nil {
			t.Fatal(err)
		}
	})
	program, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = program.Close() }()
	for _, section := range program.Progs {
		if section.Type == elf.PT_INTERP {
			t.Error("the program is linked dynamically")
		}
	}
	says, err := exec.CommandContext(t.Context(), path, want.flag).CombinedOutput()
	if err != nil || want.says != "" && strings.TrimSpace(string(says)) != want.says {
		t.Errorf("%s %s prints %q, %v", want.program, want.flag, says, err)
	}
}

// TestTheDockerfilesSayTheSame keeps the two ways to an image together: the same program by the
// same toolchain.
func TestTheDockerfilesSayTheSame(t *testing.T) {
	module, err := os.ReadFile("../../go.mod")
	if err != nil {
		t.Fatal(err)
	}
	toolchain := regexp.MustCompile(`(?m)^go (.+)$`).FindStringSubmatch(string(module))[1]
	for file, lines := range map[string][]string{
		"Dockerfile":           {"-X main.version=$VERSION\" -o /manager .\n", "COPY --from=build /manager /\n", "ENTRYPOINT [\"/manager\"]\n"},
		"simulator/Dockerfile": {" -o /iothub-simulator ./simulator/cmd/iothub-simulator\n", "COPY --from=build /iothub-simulator /\n", "ENTRYPOINT [\"/iothub-simulator\"]\n"},
	} {
		raw, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		lines = append(lines, " golang:"+toolchain+" AS build\n", "FROM scratch\n", "USER "+user+"\n", "COPY --from=build "+certificates+" ", "CGO_ENABLED=0", "-trimpath")
		for _, line := range lines {
			if !strings.Contains(string(raw), line) {
				t.Errorf("%s lacks %q", file, line)
			}
		}
	}
}

func TestWhatCannotBeBuilt(t *testing.T) {
	for name, args := range map[string][]string{
		"no tag":         {"-tag="},
		"of":             {"-tag=a:b", "-of=device"},
		"platform":       {"-tag=a:b", "-platforms=linux/amd64/x/y/z"},
		"no such clone":  {"-tag=a:b", "-root=/nowhere"},
		"out":            {"-tag=a:b", "-root=../..", "-platforms=linux/" + runtime.GOARCH, "-out=/dev/null/image"},
		"other operands": {"-tag=a:b", "-unknown"},
	} {
		if err := run(t.Context(), args, io.Discard); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
