package cluster

import (
	"bufio"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
)

// neededControllers are what kubelet and runc want of version 1.
var neededControllers = []string{"cpu", "cpuacct", "cpuset", "devices", "freezer", "memory", "pids"}

// hierarchy is one of version 1 of cgroups: what it is mounted with, and our place in it.
type hierarchy struct {
	controllers string // as in cpu,cpuacct or name=systemd
	folder      string
}

// name is what its folder below /sys/fs/cgroup is called.
func (h hierarchy) name() string { return strings.TrimPrefix(h.controllers, "name=") }

// options are those of its mount.
func (h hierarchy) options() string {
	if strings.HasPrefix(h.controllers, "name=") {
		return "none," + h.controllers
	}
	return h.controllers
}

// hierarchies finds our place in each hierarchy of version 1, from the texts of /proc/self/cgroup and /proc/self/mountinfo.
// One that is not mounted is left out.
func hierarchies(cgroups, mounts string) []hierarchy {
	var found []hierarchy
	for line := range strings.Lines(cgroups) {
		fields := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(fields) != 3 || fields[1] == "" { // version 2
			continue
		}
		if folder, ok := folderOf(fields[1], fields[2], mounts); ok {
			found = append(found, hierarchy{controllers: fields[1], folder: folder})
		}
	}
	return found
}

// folderOf is where a path of a hierarchy is mounted.
func folderOf(controllers, path, mounts string) (string, bool) {
	lines := bufio.NewScanner(strings.NewReader(mounts))
	for lines.Scan() {
		before, after, _ := strings.Cut(lines.Text(), " - ")
		place, kind := strings.Fields(before), strings.Fields(after)
		if len(place) < 5 || len(kind) < 3 || kind[0] != "cgroup" || !hasAll(strings.Split(kind[2], ","), strings.Split(controllers, ",")) {
			continue
		}
		if below, err := filepath.Rel(place[3], path); err == nil && !strings.HasPrefix(below, "..") {
			return filepath.Join(place[4], below), true
		}
	}
	return "", false
}

func hasAll(list, wanted []string) bool {
	for _, item := range wanted {
		if !slices.Contains(list, item) {
			return false
		}
	}
	return true
}

// missingControllers lists those that no hierarchy has.
func missingControllers(found []hierarchy) []string {
	var all, missing []string
	for _, h := range found {
		all = append(all, strings.Split(h.controllers, ",")...)
	}
	for _, name := range neededControllers {
		if !slices.Contains(all, name) {
			missing = append(missing, name)
		}
	}
	return missing
}

// join puts this process into a cgroup called name below its own, in each hierarchy, and returns the folders.
func join(name string, all []hierarchy) ([]string, error) {
	var folders []string
	for _, h := range all {
		folder := filepath.Join(h.folder, name)
		folders = append(folders, folder)
		if err := enterCgroup(h, folder); err != nil {
			return folders, fmt.Errorf("entering cgroup %q: %w", folder, err)
		}
	}
	return folders, nil
}
