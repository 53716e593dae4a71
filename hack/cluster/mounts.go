package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"syscall"
)

// mounting is a mount within a node. None is seen outside.
type mounting struct {
	source, target, kind string
	flags                uintptr
	options              string
}

// kernelSettings are those that kubelet insists on. They are the whole machine's: kubelet is shown files with what it wants
// to see, and so sets nothing.
var kernelSettings = map[string]string{
	"vm/overcommit_memory": "1", "vm/panic_on_oom": "0", "kernel/panic": "10", "kernel/panic_on_oops": "1",
}

// shownSettings is where these files are.
const shownSettings = "/run/kernel-settings"

// mountings are a node's mounts in their order. Nobody may change the machine's settings but those of the network, which
// are the node's own. The files of kubelet and CNI below /var are in memory, whatever they are told.
func mountings(all []hierarchy) []mounting {
	list := []mounting{
		{target: "/", flags: syscall.MS_REC | syscall.MS_PRIVATE},
		{target: "/", flags: syscall.MS_REC | syscall.MS_SHARED}, // kubelet's mounts and those of containers are for each other
		{"sysfs", "/sys", "sysfs", 0, ""},
		{"cgroups", "/sys/fs/cgroup", "tmpfs", 0, "mode=755"},
	}
	for _, h := range all {
		list = append(list, mounting{"cgroup", "/sys/fs/cgroup/" + h.name(), "cgroup", 0, h.options()})
	}
	for _, folder := range []string{"/run", "/var/lib", "/var/log"} {
		list = append(list, mounting{"node", folder, "tmpfs", 0, "mode=755"})
	}
	list = append(list,
		mounting{source: "/proc/sys", target: "/proc/sys", flags: syscall.MS_BIND},
		mounting{source: "/proc/sys/net", target: "/proc/sys/net", flags: syscall.MS_BIND},
		mounting{target: "/proc/sys", flags: syscall.MS_BIND | syscall.MS_REMOUNT | syscall.MS_RDONLY},
	)
	for name := range kernelSettings {
		list = append(list, mounting{source: filepath.Join(shownSettings, name), target: filepath.Join("/proc/sys", name), flags: syscall.MS_BIND})
	}
	return list
}

// mountAll makes a node's mounts, and in those that are new the folders and files that are wanted.
func mountAll() error {
	all, err := ourHierarchies()
	if err != nil {
		return fmt.Errorf("finding the node's cgroups: %w", err)
	}
	for _, m := range mountings(all) {
		if m.kind == "cgroup" {
			err = os.MkdirAll(m.target, 0o755)
		}
		if err == nil {
			err = syscall.Mount(m.source, m.target, m.kind, m.flags, m.options)
		}
		if err != nil {
			return fmt.Errorf("mounting %s at %s: %w", m.source, m.target, err)
		}
		if m.target == "/run" {
			if err := fillRun(); err != nil {
				return err
			}
		}
	}
	return nil
}

func fillRun() error {
	for name, value := range kernelSettings {
		if err := writeFile(filepath.Join(shownSettings, name), []byte(value+"\n")); err != nil {
			return err
		}
	}
	return os.MkdirAll("/run/lock", 0o755)
}

func writeSetting(path, value string) error {
	if err := os.WriteFile(path, []byte(value+"\n"), 0o600); err != nil {
		return fmt.Errorf("changing a setting: %w", err)
	}
	return nil
}
