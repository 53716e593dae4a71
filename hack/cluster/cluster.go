package cluster

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/liveness"
)

// MostNodes is how many nodes a cluster may have: they have one cable.
const MostNodes = 2

// Cluster is a cluster whose files are in one folder.
type Cluster struct {
	Site     string // the folder, by its one absolute name
	Programs string // the folder of what hack/controlplane/build.sh makes
	Nodes    int

	held *os.File // our end of the nodes' lifeline
}

func (c *Cluster) node(number int) node {
	return node{site: c.Site, programs: c.Programs, number: number, of: c.Nodes}
}

// cgroup is the name of a node's cgroup: nodes of several clusters may be beside each other.
func (n node) cgroup() string {
	return fmt.Sprintf("pnp-%.4x-%s", sha256.Sum256([]byte(n.site)), NodeName(n.number))
}

// EnforcesPolicies reports whether NetworkPolicies mean anything in the cluster.
func (c *Cluster) EnforcesPolicies() bool { return c.node(1).enforcesPolicies() }

// Kubeconfig is the administrator's, which is of use within a node.
func (c *Cluster) Kubeconfig() string { return filepath.Join(c.Site, "kubeconfig") }

// AddPause gives the nodes the image that holds a pod's namespaces, and AddImage another one.
func (c *Cluster) AddPause() error {
	return writeArchive(filepath.Join(c.Site, imagesFolder, "pause.tar"), "localhost/pause:1", filepath.Join(c.Programs, "pause"))
}

// AddImage gives the nodes an image of an archive.
func (c *Cluster) AddImage(archive string) error {
	data, err := os.ReadFile(archive)
	if err != nil {
		return fmt.Errorf("reading an image: %w", err)
	}
	return writeFile(filepath.Join(c.Site, imagesFolder, filepath.Base(archive)), data)
}

// MakeKeys has the control plane's command write keys and kubeconfigs.
func (c *Cluster) MakeKeys() error {
	args := []string{"keys", "-service", kubernetesIP, c.Site}
	for number := 1; number <= c.Nodes; number++ {
		args = append(args, NodeName(number)+"="+nodeIP(number))
	}
	out, err := exec.Command(filepath.Join(c.Programs, "controlplane"), args...).CombinedOutput()
	if err != nil {
		return fmt.Errorf("making keys: %w: %s", err, out)
	}
	return nil
}

// Start starts the nodes. With attached they end with this process, whatever ends it.
func (c *Cluster) Start(attached bool) error {
	self, err := os.Executable()
	if err != nil {
		return fmt.Errorf("finding this program: %w", err)
	}
	var theirs *os.File
	if attached {
		if theirs, c.held, err = os.Pipe(); err != nil {
			return fmt.Errorf("making a lifeline: %w", err)
		}
		defer func() { _ = theirs.Close() }()
	}
	for number := 1; number <= c.Nodes; number++ {
		if err := c.node(number).launch(self, theirs); err != nil {
			return err
		}
	}
	if c.Nodes > 1 {
		return c.plugIn()
	}
	return nil
}

// launch starts the first stage of a node as a session of its own and records its pid.
func (n node) launch(self string, lifeline *os.File) error {
	if err := os.MkdirAll(n.dir(), 0o700); err != nil {
		return fmt.Errorf("making the folder of %s: %w", NodeName(n.number), err)
	}
	log, err := os.OpenFile(n.log("node"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return fmt.Errorf("making the log of %s: %w", NodeName(n.number), err)
	}
	defer func() { _ = log.Close() }()
	all, err := ourHierarchies()
	if err != nil {
		return fmt.Errorf("finding our cgroups: %w", err)
	}
	var folders strings.Builder
	for _, h := range all {
		folders.WriteString(filepath.Join(h.folder, n.cgroup()) + "\n")
	}
	if err := writeFile(n.file("cgroups"), []byte(folders.String())); err != nil {
		return err
	}
	cmd := exec.Command(self, n.args(enterCommand, lifeline != nil)...)
	cmd.Stdout, cmd.Stderr = log, log
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if lifeline != nil {
		cmd.ExtraFiles = []*os.File{lifeline}
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("starting %s: %w", NodeName(n.number), err)
	}
	go func() { _ = cmd.Wait() }()
	if err := writeFile(n.file("pid"), []byte(strconv.Itoa(cmd.Process.Pid))); err != nil {
		return errors.Join(err, cmd.Process.Kill())
	}
	return nil
}

// plugIn gives node 2 the end of node 1's cable.
func (c *Cluster) plugIn() error {
	return retry(30*time.Second, func() error {
		first, second := c.node(1).inner(), c.node(2).inner()
		if first == 0 || second == 0 || sameNetwork(first, second) || sameNetwork(second, os.Getpid()) {
			return errors.Join(errors.New("the nodes have no network of their own yet"), c.Check())
		}
		return command("nsenter", "--target="+strconv.Itoa(first), "--net", "ip", "link", "set", cable, "netns", strconv.Itoa(second), "name", "eth0")
	})
}

func sameNetwork(a, b int) bool {
	one, err := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", a))
	other, failed := os.Readlink(fmt.Sprintf("/proc/%d/ns/net", b))
	return err != nil || failed != nil || one == other
}

// Check returns an error if a node has ended, with the end of what it said, and of the logs that are there.
func (c *Cluster) Check() error {
	for number := 1; number <= c.Nodes; number++ {
		if n := c.node(number); n.outer() == 0 {
			return fmt.Errorf("%s ended: %s", NodeName(number), saidOf(tail(n.log("node")), freeDisk(c.Site)))
		}
	}
	return nil
}

// saidOf is the end of a log, which says little where there was no room for it.
func saidOf(log string, free uint64) string {
	if free < fullDisk {
		return strings.TrimSpace(fmt.Sprintf("the disk is full or nearly so: %s are free\n%s", mebibytes(free), log))
	}
	return log
}

// Started reports whether every part of every node was started.
func (c *Cluster) Started() bool {
	for number := 1; number <= c.Nodes; number++ {
		if _, err := os.Stat(c.node(number).file(readyFile)); err != nil {
			return false
		}
	}
	return true
}

// Within is a command line that runs a program in a node.
func (c *Cluster) Within(number int, program string, args ...string) ([]string, error) {
	pid := c.node(number).inner()
	if pid == 0 {
		return nil, fmt.Errorf("%s does not run", NodeName(number))
	}
	return append([]string{"nsenter", "--target=" + strconv.Itoa(pid), "--mount", "--net", "--pid", "--uts", "--ipc", "--cgroup", "--wd=" + c.Site, program}, args...), nil
}

// outer is the pid of what a node's first process is the child of, 0 if it does not run.
func (n node) outer() int {
	text, err := os.ReadFile(n.file("pid"))
	if err != nil {
		return 0
	}
	pid, err := strconv.Atoi(string(text))
	if err != nil || pid <= 1 || liveness.HasEnded(pid, n.is) || !n.is(pid) {
		return 0
	}
	return pid
}

// is knows a node by its folder, which each stage has in its command line.
func (n node) is(pid int) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	return err == nil && strings.Contains(string(line), "\x00--site="+n.site+"/\x00") && strings.Contains(string(line), fmt.Sprintf("\x00--node=%d\x00", n.number))
}

// inner is the pid, here, of a node's process 1, 0 if there is none.
func (n node) inner() int {
	outer := n.outer()
	if outer == 0 {
		return 0
	}
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", outer, outer))
	if err != nil {
		return 0
	}
	pid, _ := strconv.Atoi(strings.TrimSpace(string(text)))
	return pid
}

// Stop ends all nodes and removes their cgroups. It is of use for one that was started in part, too.
func (c *Cluster) Stop() error {
	var errs []error
	for number := 1; number <= MostNodes; number++ {
		errs = append(errs, c.node(number).stop())
	}
	if c.held != nil {
		_ = c.held.Close()
	}
	return errors.Join(errs...)
}

// stop kills process 1, which takes all others of the node, their mounts and interfaces along.
func (n node) stop() error {
	outer := n.outer()
	for _, pid := range []int{n.inner(), outer} {
		if pid == 0 {
			continue
		}
		if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && !errors.Is(err, syscall.ESRCH) {
			return fmt.Errorf("ending %s: %w", NodeName(n.number), err)
		}
		ended := func() error {
			if outer != 0 && !liveness.HasEnded(outer, n.is) {
				return fmt.Errorf("%s, pid %d, does not end", NodeName(n.number), outer)
			}
			return nil
		}
		if err := retry(10*time.Second, ended); err == nil {
			break
		}
	}
	text, err := os.ReadFile(n.file("cgroups"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return fmt.Errorf("reading which cgroups %s has: %w", NodeName(n.number), err)
	}
	return RemoveCgroups(strings.Fields(string(text))...)
}

// Tail is the end of a part's log.
func (c *Cluster) Tail(number int, name string) string { return tail(c.node(number).log(name)) }

func tail(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return strings.Join(lines[max(0, len(lines)-15):], "\n")
}
