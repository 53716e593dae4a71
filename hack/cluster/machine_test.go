package cluster

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
)

// able is a machine that lacks nothing.
func able() machine {
	return machine{
		root: true, programs: slices.Collect(maps.Keys(packages)), kernelLog: true, disk: neededDisk, memory: neededMemory,
	}
}

func TestWhatAMachineLacks(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*machine)
		want   []string // words of a line each
	}{
		"nothing": {func(*machine) {}, nil},
		"root, and then nothing else is known": {
			func(m *machine) { *m = machine{} }, []string{"root's rights"},
		},
		"programs, by package and in order": {
			func(m *machine) {
				m.programs = slices.DeleteFunc(m.programs, func(p string) bool { return p == "runc" || p == "ctr" || p == "containerd" || p == "ptp" })
			},
			[]string{"apt-get install --no-install-recommends containerd containernetworking-plugins runc"},
		},
		"hierarchies of cgroups": {
			func(m *machine) { m.controllers = []string{"cpu", "memory"} }, []string{"cgroup version 1 for cpu, memory"},
		},
		"namespaces": {
			func(m *machine) { m.namespaces = errors.New("unshare failed: Operation not permitted") }, []string{"Operation not permitted"},
		},
		"namespaces, which cannot be tried without programs": {
			func(m *machine) { m.namespaces, m.programs = errors.New("unshare is missing"), nil }, []string{"apt-get install"},
		},
		"the kernel's log": {func(m *machine) { m.kernelLog = false }, []string{"/dev/kmsg"}},
		"room on the disk": {func(m *machine) { m.disk = 100 << 20 }, []string{"disk: 100 MiB are free, 2048 MiB are needed"}},
		"memory":           {func(m *machine) { m.memory = neededMemory - 1 }, []string{"memory: 3071 MiB are available, 3072 MiB are needed"}},
		"several things":   {func(m *machine) { m.memory, m.disk = 0, 0 }, []string{"disk: ", "memory: "}},
	} {
		t.Run(name, func(t *testing.T) {
			m := able()
			test.change(&m)
			got := m.missing()
			if len(got) != len(test.want) {
				t.Fatalf("%d lines, want %d: %q", len(got), len(test.want), got)
			}
			for i, words := range test.want {
				if !strings.Contains(got[i], words) {
					t.Errorf("%q does not say %q", got[i], words)
				}
			}
		})
	}
}

func TestAFullDiskIsNamed(t *testing.T) {
	for name, test := range map[string]struct {
		log  string
		free uint64
		want string
	}{
		"there is room":                    {"cannot mount", neededDisk, "cannot mount"},
		"there was none for the log":       {"", 0, "the disk is full or nearly so: 0 MiB are free"},
		"there was none for the end of it": {"started", 3 << 20, "the disk is full or nearly so: 3 MiB are free\nstarted"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := saidOf(test.log, test.free); got != test.want {
				t.Errorf("%q, want %q", got, test.want)
			}
		})
	}
}
