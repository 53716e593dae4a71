package cluster

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Process is one of a pod's, seen from outside of the node.
type Process struct {
	Pid    int
	Status map[string]string // of /proc/PID/status
	Mounts string            // of /proc/PID/mountinfo
}

// ProcessesOf are the processes of a pod that run a program, by the pod's UID, which its cgroup has in its name.
func ProcessesOf(uid, program string) ([]Process, error) {
	entries, err := os.ReadDir("/proc")
	if err != nil {
		return nil, err
	}
	var found []Process
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || !isProgram(pid, program) {
			continue
		}
		groups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
		if err != nil || !strings.Contains(string(groups), "/pod"+uid+"/") {
			continue
		}
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		if err != nil {
			continue // it has ended
		}
		mounts, err := os.ReadFile(fmt.Sprintf("/proc/%d/mountinfo", pid))
		if err != nil {
			continue
		}
		found = append(found, Process{Pid: pid, Status: fieldsOf(string(status)), Mounts: string(mounts)})
	}
	return found, nil
}

func isProgram(pid int, program string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return false
	}
	first, _, _ := strings.Cut(string(line), "\x00")
	return filepath.Base(first) == program
}

// fieldsOf reads lines NAME: VALUE, whose values may have several columns.
func fieldsOf(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if name, value, ok := strings.Cut(line, ":"); ok {
			fields[name] = strings.Join(strings.Fields(value), " ")
		}
	}
	return fields
}

// RootIsReadOnly reports whether nothing can be written to the process's root.
func (p Process) RootIsReadOnly() bool {
	for line := range strings.Lines(p.Mounts) {
		if fields := strings.Fields(line); len(fields) > 5 && fields[4] == "/" {
			return slices.Contains(strings.Split(fields[5], ","), "ro")
		}
	}
	return false
}

// MemoryLimit is what the process's cgroup may have, in bytes.
func (p Process) MemoryLimit() (int64, error) {
	cgroups, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", p.Pid))
	if err != nil {
		return 0, err
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return 0, err
	}
	for _, h := range hierarchies(string(cgroups), string(mounts)) {
		if h.controllers == "memory" {
			text, err := os.ReadFile(filepath.Join(h.folder, "memory.limit_in_bytes"))
			if err != nil {
				return 0, err
			}
			return strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
		}
	}
	return 0, fmt.Errorf("process %d has no cgroup for memory", p.Pid)
}
