package cluster

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// The texts of a machine with version 1, of one with both, of a container, and of one with version 2 alone.
func TestHierarchies(t *testing.T) {
	for name, test := range map[string]struct {
		cgroups, mounts string
		want            []hierarchy
	}{
		"a machine with version 1 has folders of its own in each": {
			"9:name=systemd:/\n4:memory:/jobs/7\n2:cpu,cpuacct:/\n0::/\n",
			"31 25 0:26 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,name=systemd\n" +
				"32 25 0:27 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n" +
				"33 25 0:28 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n" +
				"34 25 0:29 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw\n",
			[]hierarchy{
				{"name=systemd", "/sys/fs/cgroup/systemd"}, {"memory", "/sys/fs/cgroup/memory/jobs/7"}, {"cpu,cpuacct", "/sys/fs/cgroup/cpu,cpuacct"},
			},
		},
		"a container sees its own cgroup as the root of the mount": {
			"4:memory:/docker/abc/below\n",
			"32 25 0:27 /docker/abc /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			[]hierarchy{{"memory", "/sys/fs/cgroup/memory/below"}},
		},
		"one that is mounted for another part of the tree is left out": {
			"4:memory:/docker/abc\n",
			"32 25 0:27 /docker/other /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n",
			nil,
		},
		"version 2 alone has none": {
			"0::/user.slice\n",
			"32 25 0:27 / /sys/fs/cgroup rw - cgroup2 cgroup2 rw\n",
			nil,
		},
		"nothing is mounted": {"4:memory:/\n", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, hierarchies(test.cgroups, test.mounts), cmp.AllowUnexported(hierarchy{})); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestMountOptionsOfHierarchies(t *testing.T) {
	for controllers, want := range map[string][2]string{
		"memory": {"memory", "memory"}, "cpu,cpuacct": {"cpu,cpuacct", "cpu,cpuacct"}, "name=systemd": {"systemd", "none,name=systemd"},
	} {
		h := hierarchy{controllers: controllers}
		if got := [2]string{h.name(), h.options()}; got != want {
			t.Errorf("%s: %q, want %q", controllers, got, want)
		}
	}
}

func TestMissingControllers(t *testing.T) {
	found := []hierarchy{{controllers: "cpu,cpuacct"}, {controllers: "memory"}, {controllers: "name=systemd"}, {controllers: "devices"}, {controllers: "freezer"}}
	if diff := cmp.Diff([]string{"cpuset", "pids"}, missingControllers(found)); diff != "" {
		t.Error(diff)
	}
}
