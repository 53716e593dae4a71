package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// watchedFolders are the folders with sources of the operator, relative to the top of the clone.
var watchedFolders = []string{"api", "config/crd", "controllers", "internal"}

// settleTime is the quiet time after a change before a build: editors write several files at once.
const settleTime = 200 * time.Millisecond

// dev starts the demonstration, follows the log of the operator, and rebuilds and restarts the
// operator after each change of a source, until ctx ends. Then dev removes everything.
func dev(ctx context.Context, c harness.Clone, out *harness.Report) error {
	d, err := buildStanding(ctx, c, out)
	if err != nil {
		return err
	}
	err = d.develop(ctx)
	if ctx.Err() != nil {
		err = nil // an interrupt ends the command
	}
	return d.Conclude(ctx, err)
}

// develop runs until ctx ends or the demonstration cannot start.
func (d *demo) develop(ctx context.Context) error {
	changes, err := watchSources(ctx, d.Root)
	if err != nil {
		return err
	}
	if err := d.buildForDebugging(ctx); err != nil {
		return err
	}
	ctx, err = d.Prepare(ctx)
	if err != nil {
		return err
	}
	flags, probes, err := d.WebhookFlags(ctx)
	if err != nil {
		return err
	}
	launch := func() error {
		_, err := d.LaunchOperator(ctx, d.Manager(), probes, flags...)
		return err
	}
	if err := launch(); err != nil {
		return err
	}
	go d.followLog(ctx)
	if err := d.declareSamples(ctx); err != nil {
		return err
	}
	d.sayHow()
	d.Out.Sayf("Edit a source: the operator is rebuilt and restarted. Interrupt to stop everything.")
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case changed := <-changes:
			d.Out.Sayf("== %s changed", changed)
			d.replaceOperator(ctx, launch)
		}
	}
}

// replaceOperator builds the operator and starts it in place of the running operator, which stays
// after a failed build.
func (d *demo) replaceOperator(ctx context.Context, launch func() error) {
	began := time.Now()
	if err := d.buildForDebugging(ctx); err != nil {
		d.Out.Sayf("%v", err)
		return
	}
	if _, err := d.Manager().Stop(10 * time.Second); err != nil {
		d.Out.Sayf("%v", err)
		return
	}
	if err := launch(); err != nil {
		d.Out.Sayf("%v", err)
		return
	}
	d.Out.Sayf("== the operator runs again after %.1f s, pid %d", time.Since(began).Seconds(), d.Manager().Pid())
}

// buildForDebugging builds the operator without optimizations of its own packages, for a debugger.
func (d *demo) buildForDebugging(ctx context.Context) error {
	words := []string{"go", "build", "-gcflags=./...=-N -l", "-o", "bin/manager", "."}
	cmd := harness.NewCommand(ctx, words[0], words[1:]...)
	cmd.Dir = d.Root
	return harness.RunWatched(ctx, d.Out, cmd, harness.CommandLine(words...))
}

// followLog copies the log of the operator to the report until ctx ends. Each start truncates the
// log.
func (d *demo) followLog(ctx context.Context) {
	var offset int64
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		select {
		case <-ctx.Done():
			tick.Stop()
			return
		case <-tick.C:
			offset = copyFrom(d.Out, d.Manager().LogFile(), offset)
		}
	}
}

// copyFrom copies a file from an offset to its end, and returns the new offset. A file shorter than
// the offset was truncated, and is copied from its beginning.
func copyFrom(to io.Writer, path string, offset int64) int64 {
	file, err := os.Open(path)
	if err != nil {
		return 0
	}
	defer func() { _ = file.Close() }()
	if info, err := file.Stat(); err == nil && info.Size() < offset {
		offset = 0
	}
	if _, err := file.Seek(offset, io.SeekStart); err != nil {
		return offset
	}
	copied, _ := io.Copy(to, file) // the rest follows with the next call
	return offset + copied
}

// watchSources reports changes of sources below root, a burst of changes once with the first file.
func watchSources(ctx context.Context, root string) (<-chan string, error) {
	watcher, err := fsnotify.NewWatcher()
	if err != nil {
		return nil, fmt.Errorf("watching sources: %w", err)
	}
	if err := addFolders(watcher, root); err != nil {
		return nil, errors.Join(err, watcher.Close())
	}
	changes := make(chan string)
	go func() {
		defer func() { _ = watcher.Close() }()
		for {
			changed, ok := nextChange(ctx, watcher, root)
			if !ok {
				return
			}
			select {
			case changes <- changed:
			case <-ctx.Done():
				return
			}
		}
	}()
	return changes, nil
}

// addFolders watches root and the folders of sources.
func addFolders(watcher *fsnotify.Watcher, root string) error {
	if err := watcher.Add(root); err != nil {
		return fmt.Errorf("watching %q: %w", root, err)
	}
	for _, folder := range watchedFolders {
		err := filepath.WalkDir(filepath.Join(root, filepath.FromSlash(folder)), func(path string, entry fs.DirEntry, err error) error {
			if err != nil || !entry.IsDir() {
				return err
			}
			return watcher.Add(path)
		})
		if err != nil {
			return fmt.Errorf("watching %q: %w", folder, err)
		}
	}
	return nil
}

// nextChange waits for a change of a source and the quiet time after it. It returns false when ctx
// ends.
func nextChange(ctx context.Context, watcher *fsnotify.Watcher, root string) (changed string, ok bool) {
	var quiet <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return "", false
		case <-quiet:
			return changed, true
		case event := <-watcher.Events:
			if event.Has(fsnotify.Create) && isFolder(event.Name) {
				_ = addFolders(watcher, root) // a new folder may be gone again
			}
			if name, err := filepath.Rel(root, event.Name); err == nil && isSource(filepath.ToSlash(name)) {
				if changed == "" {
					changed = name
				}
				quiet = time.After(settleTime)
			}
		case _, isOpen := <-watcher.Errors: // an overflow: the next change builds everything
			if !isOpen {
				return "", false
			}
		}
	}
}

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}

// isSource reports whether the operator is built from a file, named relative to the clone with
// slashes.
func isSource(name string) bool {
	inFolder := false
	for _, folder := range watchedFolders {
		inFolder = inFolder || strings.HasPrefix(name, folder+"/")
	}
	switch base := filepath.Base(name); {
	case strings.HasSuffix(base, "_test.go"), strings.HasPrefix(base, "."):
		return false
	case name == "go.mod" || name == "go.sum":
		return true
	case strings.HasSuffix(base, ".go"):
		return inFolder || !strings.Contains(name, "/")
	}
	return strings.HasPrefix(name, "config/crd/") && strings.HasSuffix(name, ".yaml")
}
