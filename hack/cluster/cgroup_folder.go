package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

// ourHierarchies are those of this process.
func ourHierarchies() ([]hierarchy, error) {
	cgroups, err := os.ReadFile("/proc/self/cgroup")
	if err != nil {
		return nil, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return nil, err
	}
	return hierarchies(string(cgroups), string(mounts)), nil
}

// enterCgroup makes a folder of a hierarchy and moves this process there. A set of processors begins empty, and takes nobody
// until it has some.
func enterCgroup(h hierarchy, folder string) error {
	if err := os.Mkdir(folder, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	if slices.Contains(strings.Split(h.controllers, ","), "cpuset") {
		for _, file := range []string{"cpuset.cpus", "cpuset.mems"} {
			inherited, err := os.ReadFile(filepath.Join(h.folder, file))
			if err != nil {
				return err
			}
			if err := os.WriteFile(filepath.Join(folder, file), inherited, 0o600); err != nil {
				return err
			}
		}
	}
	return os.WriteFile(filepath.Join(folder, "cgroup.procs"), []byte("0"), 0o600)
}

// RemoveCgroups removes folders of cgroups with all below. Their processes have ended, but the kernel may take a moment.
func RemoveCgroups(folders ...string) error {
	var errs []error
	for _, folder := range folders {
		errs = append(errs, retry(5*time.Second, func() error { return removeCgroup(folder) }))
	}
	return errors.Join(errs...)
}

func removeCgroup(folder string) error {
	var found []string
	err := filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && entry.IsDir() {
			found = append(found, path)
		}
		return err
	})
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, path := range slices.Backward(found) {
		if err := syscall.Rmdir(path); err != nil && !errors.Is(err, syscall.ENOENT) {
			return fmt.Errorf("removing cgroup %q: %w", path, err)
		}
	}
	return err
}

// retry tries until the time is up.
func retry(within time.Duration, try func() error) error {
	for end := time.Now().Add(within); ; time.Sleep(50 * time.Millisecond) {
		err := try()
		if err == nil || time.Now().After(end) {
			return err
		}
	}
}
