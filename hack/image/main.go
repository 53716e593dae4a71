// Command image assembles the container image of the operator, or that of the simulator, from a
// program that `go build` made: what their Dockerfiles describe, on machines without a container
// engine. It is reproducible: the same commit gives the same digest.
package main

import (
	"archive/tar"
	"bytes"
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/layout"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/partial"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
	"github.com/google/go-containerregistry/pkg/v1/types"
)

const (
	// certificates are where Debian's package ca-certificates puts them: those of the machine that builds go into the image.
	certificates = "/etc/ssl/certs/ca-certificates.crt"
	// user is nobody's on the node. kubelet passes on the user alone: the group is root's unless the pod says another.
	user = "65532:65532"
)

// program is what an image holds, and runs.
type program struct{ title, name, pkg string }

// images of this repository, by what -of calls them.
var images = map[string]program{
	"operator":  {"pnp-operator", "manager", "."},
	"simulator": {"iothub-simulator", "iothub-simulator", "./simulator/cmd/iothub-simulator"},
}

// recipe is what an image is made of.
type recipe struct {
	program   program
	root      string // of the clone
	version   string
	revision  string
	created   time.Time
	platforms []v1.Platform
	programs  string // the folder of programs that were built already; empty: they are built
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		_, _ = fmt.Fprintln(os.Stderr, "image:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	flags := flag.NewFlagSet("image", flag.ContinueOnError)
	root := flags.String("root", ".", "The clone.")
	of := flags.String("of", "operator", "What the image runs: operator or simulator.")
	tag := flags.String("tag", "", "The image's name, such as pnp-operator:v1; its tag is the version.")
	platforms := flags.String("platforms", "linux/amd64,linux/arm64", "What to build for.")
	dir := flags.String("out", "", "Folder for the OCI layout; beside it goes an archive for docker load, of this machine's platform.")
	built := flags.String("programs", "", "Folder of the programs where they are built already, for one platform; for tests, as such an image is not reproducible.")
	push := flags.Bool("push", false, "Push to the registry that the tag names, with docker's credentials.")
	if err := flags.Parse(args); err != nil {
		return err
	}
	program, ok := images[*of]
	if !ok {
		return fmt.Errorf("-of: %q is neither operator nor simulator", *of)
	}
	reference, err := name.ParseReference(*tag, name.WithDefaultTag("dev"))
	if err != nil {
		return fmt.Errorf("-tag: %w", err)
	}
	r := recipe{program: program, root: *root, version: reference.Identifier(), programs: *built}
	for text := range strings.SplitSeq(*platforms, ",") {
		platform, err := v1.ParsePlatform(text)
		if err != nil {
			return fmt.Errorf("-platforms: %w", err)
		}
		r.platforms = append(r.platforms, *platform)
	}
	if r.programs != "" && len(r.platforms) != 1 {
		return fmt.Errorf("-programs: they are for one platform, -platforms has %d", len(r.platforms))
	}
	if err := r.date(ctx); err != nil {
		return err
	}
	index, err := r.index(ctx, out)
	if err != nil {
		return err
	}
	if err := store(index, reference, *dir); err != nil {
		return err
	}
	digest, err := index.Digest()
	if err != nil {
		return err
	}
	_, _ = fmt.Fprintf(out, "image: %s %s in %s\n", reference, digest, *dir)
	if !*push {
		return nil
	}
	if err := remote.WriteIndex(reference, index, remote.WithContext(ctx), remote.WithAuthFromKeychain(authn.DefaultKeychain)); err != nil {
		return fmt.Errorf("pushing: %w", err)
	}
	_, _ = fmt.Fprintf(out, "image: pushed %s\n", reference.Context().Digest(digest.String()))
	return nil
}

// date takes revision and time from the commit, so that two builds of it are the same.
func (r *recipe) date(ctx context.Context) error {
	raw, err := exec.CommandContext(ctx, "git", "-C", r.root, "log", "-1", "--format=%H %ct").Output()
	if err != nil {
		return fmt.Errorf("asking git for the commit: %w", err)
	}
	revision, seconds, _ := strings.Cut(strings.TrimSpace(string(raw)), " ")
	unix, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return fmt.Errorf("asking git for the commit: %w", err)
	}
	r.revision, r.created = revision, time.Unix(unix, 0).UTC()
	return nil
}

// index makes the image of each platform.
func (r *recipe) index(ctx context.Context, out io.Writer) (v1.ImageIndex, error) {
	index := mutate.IndexMediaType(empty.Index, types.OCIImageIndex)
	for _, platform := range r.platforms {
		_, _ = fmt.Fprintf(out, "image: building for %s\n", platform)
		image, err := r.image(ctx, platform)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", platform, err)
		}
		index = mutate.AppendManifests(index, mutate.IndexAddendum{Add: image, Descriptor: v1.Descriptor{Platform: &platform}})
	}
	return index, nil
}

func (r *recipe) image(ctx context.Context, platform v1.Platform) (v1.Image, error) {
	roots, err := os.ReadFile(certificates)
	if err != nil {
		return nil, fmt.Errorf("the image needs CA certificates (Debian package ca-certificates): %w", err)
	}
	image, err := r.add(mutate.ConfigMediaType(mutate.MediaType(empty.Image, types.OCIManifestSchema1), types.OCIConfigJSON), strings.TrimPrefix(certificates, "/"), 0o644, roots)
	if err != nil {
		return nil, err
	}
	binary, err := r.binary(ctx, platform)
	if err != nil {
		return nil, err
	}
	if image, err = r.add(image, r.program.name, 0o755, binary); err != nil {
		return nil, err
	}
	return mutate.ConfigFile(image, r.config(image, platform))
}

// add puts a file into a layer of its own.
func (r *recipe) add(image v1.Image, path string, mode int64, data []byte) (v1.Image, error) {
	layer, err := r.layer(path, mode, data)
	if err != nil {
		return nil, err
	}
	return mutate.Append(image, mutate.Addendum{Layer: layer, History: v1.History{Created: v1.Time{Time: r.created}, CreatedBy: "hack/image"}})
}

// config says how the image is run, as its Dockerfile does.
func (r *recipe) config(image v1.Image, platform v1.Platform) *v1.ConfigFile {
	config, err := partial.ConfigFile(image)
	if err != nil {
		config = &v1.ConfigFile{}
	}
	config = config.DeepCopy()
	config.Architecture, config.OS, config.Variant = platform.Architecture, platform.OS, platform.Variant
	config.Created = v1.Time{Time: r.created}
	config.Config = v1.Config{
		User: user, Entrypoint: []string{"/" + r.program.name}, WorkingDir: "/",
		Labels: map[string]string{
			"org.opencontainers.image.title": r.program.title, "org.opencontainers.image.version": r.version, "org.opencontainers.image.revision": r.revision,
			"org.opencontainers.image.licenses": "Apache-2.0",
		},
	}
	return config
}

// binary reads the program where it was built already, or builds it.
func (r *recipe) binary(ctx context.Context, platform v1.Platform) ([]byte, error) {
	if r.programs != "" {
		return os.ReadFile(filepath.Join(r.programs, r.program.name))
	}
	return r.build(ctx, platform)
}

func (r *recipe) build(ctx context.Context, platform v1.Platform) ([]byte, error) {
	dir, err := os.MkdirTemp("", "pnp-image-")
	if err != nil {
		return nil, err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	target := filepath.Join(dir, "program")
	cmd := exec.CommandContext(ctx, "go", "build", "-buildvcs=false", "-trimpath", "-ldflags", "-s -w -X main.version="+r.version, "-o", target, r.program.pkg)
	cmd.Dir = r.root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOWORK=off", "GOOS="+platform.OS, "GOARCH="+platform.Architecture)
	var problems bytes.Buffer
	cmd.Stderr = &problems
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("go build: %w: %s", err, problems.String())
	}
	return os.ReadFile(target)
}

// layer holds one file, and the folders that lead to it.
func (r *recipe) layer(path string, mode int64, data []byte) (v1.Layer, error) {
	var buffer bytes.Buffer
	archive := tar.NewWriter(&buffer)
	var errs []error
	for dir := filepath.Dir(path); dir != "."; dir = filepath.Dir(dir) {
		errs = append(errs, archive.WriteHeader(&tar.Header{Name: dir + "/", Typeflag: tar.TypeDir, Mode: 0o755, ModTime: r.created}))
	}
	errs = append(errs, archive.WriteHeader(&tar.Header{Name: path, Typeflag: tar.TypeReg, Mode: mode, Size: int64(len(data)), ModTime: r.created}))
	_, err := archive.Write(data)
	if err := errors.Join(append(errs, err, archive.Close())...); err != nil {
		return nil, err
	}
	return tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(buffer.Bytes())), nil }, tarball.WithMediaType(types.OCILayer))
}

// store writes the index as an OCI layout, and one of its images as an archive.
func store(index v1.ImageIndex, reference name.Reference, dir string) error {
	if err := os.RemoveAll(dir); err != nil {
		return err
	}
	path, err := layout.Write(dir, empty.Index)
	if err != nil {
		return fmt.Errorf("writing the OCI layout: %w", err)
	}
	if err := path.AppendIndex(index, layout.WithAnnotations(map[string]string{"org.opencontainers.image.ref.name": reference.Identifier()})); err != nil {
		return fmt.Errorf("writing the OCI layout: %w", err)
	}
	manifest, err := index.IndexManifest()
	if err != nil {
		return err
	}
	image, err := index.Image(manifest.Manifests[0].Digest)
	if err != nil {
		return err
	}
	return tarball.WriteToFile(dir+".tar", reference, image)
}
