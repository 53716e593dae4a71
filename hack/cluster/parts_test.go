package cluster

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"
)

func TestNodesAreConnected(t *testing.T) {
	for name, test := range map[string]struct {
		number, of int
		want       string
	}{
		"a node alone has a cable that leads nowhere": {1, 1, "link set lo up|link add eth0 type veth peer name cable|link set cable up|link set eth0 up|" +
			"address add 10.250.0.2/24 dev eth0|route add default dev eth0"},
		"the first of two keeps its cable for the other": {1, 2, "link set lo up|link add eth0 type veth peer name cable|link set eth0 up|" +
			"address add 10.250.0.2/24 dev eth0|route add default dev eth0|route add 10.244.1.0/24 via 10.250.0.3"},
		"the second has the end of it": {2, 2, "link set lo up|link set eth0 up|address add 10.250.0.3/24 dev eth0|route add default dev eth0|" +
			"route add 10.244.0.0/24 via 10.250.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, step := range networkSteps(test.number, test.of) {
				got = append(got, strings.Join(step, " "))
			}
			if diff := cmp.Diff(strings.Split(test.want, "|"), got); diff != "" {
				t.Errorf("(-want +got)\n%s", diff)
			}
		})
	}
}

func TestFilesOfANode(t *testing.T) {
	n := node{site: "/srv/a b", programs: "/srv/bin", number: 2, of: 2}
	for path, text := range n.files() {
		if !strings.HasPrefix(path, "/srv/a b/node-2/") {
			t.Errorf("%s is not the node's", path)
		}
		if strings.Contains(string(text), "{{") || strings.Contains(string(text), "<no value>") {
			t.Errorf("%s is not filled:\n%s", path, text)
		}
		if strings.HasSuffix(path, ".yaml") || strings.HasSuffix(path, ".conflist") {
			var into map[string]any
			if err := yaml.UnmarshalStrict(text, &into); err != nil || len(into) == 0 {
				t.Errorf("%s: %v\n%s", path, err, text)
			}
		}
	}
	if proxy := string(n.files()["/srv/a b/node-2/proxy.yaml"]); !strings.Contains(proxy, "hostnameOverride: node-2\n") {
		t.Error(proxy)
	}
}

func TestOneNodeHasTheControlPlane(t *testing.T) {
	first, later := node{site: "/s", number: 1, of: 2}.controlPlane()
	var names []string
	for _, p := range append(first, later...) {
		names = append(names, p.name)
	}
	if diff := cmp.Diff([]string{"etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "cluster-dns"}, names); diff != "" {
		t.Error(diff)
	}
	if (node{number: 2}).hasControlPlane() {
		t.Error("node 2 has one, too")
	}
}

func TestMountsAreTheNodesOwn(t *testing.T) {
	list := mountings([]hierarchy{{controllers: "memory"}, {controllers: "name=systemd"}})
	if list[0].target != "/" || list[0].flags == list[1].flags {
		t.Errorf("the first mounts are %+v: those that follow would be seen outside", list[:2])
	}
	readOnly := slices.IndexFunc(list, func(m mounting) bool { return m.target == "/proc/sys" && m.source == "" })
	for i, m := range list {
		if strings.HasPrefix(m.source, shownSettings) && i < readOnly {
			t.Errorf("%s is shown before /proc/sys is read-only", m.target)
		}
	}
	if !slices.Contains(list, mounting{"cgroup", "/sys/fs/cgroup/systemd", "cgroup", 0, "none,name=systemd"}) {
		t.Errorf("%+v", list)
	}
}

func TestCgroupsOfTwoClustersDiffer(t *testing.T) {
	one, other := node{site: "/a", number: 1}.cgroup(), node{site: "/b", number: 1}.cgroup()
	if one == other || !strings.HasPrefix(one, "pnp-") || !strings.HasSuffix(one, "-node-1") || strings.ContainsAny(one, "/[] ") {
		t.Errorf("%q and %q", one, other)
	}
}

func TestCommandLinesOfStages(t *testing.T) {
	n := node{site: "/srv/a b", programs: "/srv/bin", number: 2, of: 2}
	for _, lifeline := range []bool{false, true} {
		got, gotLifeline, err := parseNode(n.args(nodeCommand, lifeline)[1:])
		if err != nil || got != n || gotLifeline != lifeline {
			t.Errorf("%+v %t %v", got, gotLifeline, err)
		}
	}
	var said strings.Builder
	if _, ok := Execute([]string{"up"}, &said); ok {
		t.Error("up is taken for a stage")
	}
	if status, ok := Execute([]string{nodeCommand, "--nothing"}, &said); !ok || status != 1 || !strings.Contains(said.String(), "--nothing") && !strings.Contains(said.String(), "-nothing") {
		t.Errorf("%d %t %q", status, ok, said.String())
	}
}

func TestArchiveOfAnImage(t *testing.T) {
	dir := t.TempDir()
	program, archive := filepath.Join(dir, "pause"), filepath.Join(dir, "images", "pause.tar")
	if err := os.WriteFile(program, []byte("program"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := writeArchive(archive, "localhost/pause:1", program); err != nil {
		t.Fatal(err)
	}
	files := untar(t, archive)
	var manifest []struct {
		Config           string
		RepoTags, Layers []string
	}
	if err := json.Unmarshal(files["manifest.json"], &manifest); err != nil || manifest[0].RepoTags[0] != "localhost/pause:1" {
		t.Fatal(err, string(files["manifest.json"]))
	}
	if files[manifest[0].Config] == nil || !bytes.Contains(files[manifest[0].Layers[0]], []byte("program")) {
		t.Errorf("%q", slices.Sorted(func(yield func(string) bool) {
			for name := range files {
				if !yield(name) {
					return
				}
			}
		}))
	}
}

func untar(t *testing.T, path string) map[string][]byte {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	files := map[string][]byte{}
	for archive := tar.NewReader(file); ; {
		header, err := archive.Next()
		if errors.Is(err, io.EOF) {
			return files
		}
		if err != nil {
			t.Fatal(err)
		}
		if files[header.Name], err = io.ReadAll(archive); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFieldsOfAStatus(t *testing.T) {
	got := fieldsOf("Name:\tmanager\nGid:\t65532\t65532\t0\t65532\nGroups:\t \n")
	if diff := cmp.Diff(map[string]string{"Name": "manager", "Gid": "65532 65532 0 65532", "Groups": ""}, got); diff != "" {
		t.Error(diff)
	}
}

func TestAReadOnlyRoot(t *testing.T) {
	for mounts, want := range map[string]bool{
		"1 2 0:3 / / ro,relatime - overlay overlay rw\n3 1 0:4 / /tmp rw - ext4 x rw\n": true,
		"1 2 0:3 / / rw,relatime - overlay overlay ro\n":                                false,
		"": false,
	} {
		if got := (Process{Mounts: mounts}).RootIsReadOnly(); got != want {
			t.Errorf("%q: %t", mounts, got)
		}
	}
}
