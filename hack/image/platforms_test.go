package main

import (
	"archive/tar"
	"bytes"
	"debug/elf"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/layout"
)

// TestIndexOfTwoPlatforms assembles what `make image` and `make simulator-image` do, of programs
// that do nothing: two builds of the operator take minutes.
func TestIndexOfTwoPlatforms(t *testing.T) {
	root := idleClone(t)
	for of, program := range images {
		t.Run(of, func(t *testing.T) { assembleIdle(t, root, of, program) })
	}
}

func assembleIdle(t *testing.T, root, of string, program program) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "image")
	args := []string{"-root=" + root, "-of=" + of, "-tag=factory/idle:v1", "-platforms=linux/amd64,linux/arm64", "-out=" + dir}
	if err := run(t.Context(), args, io.Discard); err != nil {
		t.Fatal(err)
	}
	stored, err := layout.ImageIndexFromPath(dir)
	if err != nil {
		t.Fatal(err)
	}
	outer, err := stored.IndexManifest()
	if err != nil || len(outer.Manifests) != 1 {
		t.Fatalf("%+v, %v", outer, err)
	}
	index, err := stored.ImageIndex(outer.Manifests[0].Digest)
	if err != nil {
		t.Fatal(err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		t.Fatal(err)
	}
	machines := map[string]elf.Machine{"linux/amd64": elf.EM_X86_64, "linux/arm64": elf.EM_AARCH64}
	for _, descriptor := range manifest.Manifests {
		machine, wanted := machines[descriptor.Platform.String()]
		if !wanted {
			t.Errorf("%s is there once more, or nobody asked for it", descriptor.Platform)
			continue
		}
		delete(machines, descriptor.Platform.String())
		image, err := index.Image(descriptor.Digest)
		if err != nil {
			t.Fatal(err)
		}
		checkPlatform(t, image, program.name, descriptor.Platform, machine)
	}
	if len(machines) > 0 {
		t.Errorf("there is no image for %v", machines)
	}
}

// checkPlatform wants the platform in the image's configuration, which a container engine compares,
// and its one program for it.
func checkPlatform(t *testing.T, image v1.Image, name string, platform *v1.Platform, machine elf.Machine) {
	t.Helper()
	config, err := image.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	if config.OS != platform.OS || config.Architecture != platform.Architecture {
		t.Errorf("%s: the configuration says %s/%s", platform, config.OS, config.Architecture)
	}
	found := map[string]elf.Machine{}
	each(t, image, func(h *tar.Header, r io.Reader) {
		if h.Typeflag != tar.TypeReg || h.Mode&0o111 == 0 {
			return
		}
		data, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		program, err := elf.NewFile(bytes.NewReader(data))
		if err != nil {
			t.Fatalf("%s: %s: %v", platform, h.Name, err)
		}
		found[h.Name] = program.Machine
	})
	if len(found) != 1 || found[name] != machine {
		t.Errorf("%s: the programs are %v, want %s for %s", platform, found, name, machine)
	}
}

// idleClone is a clone with the images' programs, which do nothing.
func idleClone(t *testing.T) string {
	t.Helper()
	root := t.TempDir()
	write := func(path, text string) {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module idle\n")
	for _, program := range images {
		write(filepath.Join(program.pkg, "main.go"), "package main\n\nvar version string\n\nfunc main() {}\n")
	}
	for _, args := range [][]string{{"init", "--quiet"}, {"-c", "user.name=t", "-c", "user.email=t@example.com", "-c", "commit.gpgsign=false", "commit", "--quiet", "--allow-empty", "--message=idle"}} {
		if out, err := exec.CommandContext(t.Context(), "git", append([]string{"-C", root}, args...)...).CombinedOutput(); err != nil {
			t.Fatalf("git %v: %v: %s", args, err, out)
		}
	}
	return root
}
