package cluster

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// A cluster of two nodes takes, as measured, 300 MB on the disk and 1.7 GB of memory.
const (
	neededDisk   = 2 << 30
	neededMemory = 3 << 30
	fullDisk     = 500 << 20 // below it kubelet evicts pods, and programs fail in odd ways
)

// packages are the Debian packages of the programs that a node runs, which are looked for in searched.
var packages = map[string]string{
	"containerd": "containerd", "ctr": "containerd", "containerd-shim-runc-v2": "containerd", "runc": "runc", "ptp": "containernetworking-plugins",
	"host-local": "containernetworking-plugins", "nft": "nftables", "iptables": "iptables", "ip": "iproute2", "unshare": "util-linux", "nsenter": "util-linux",
}

// machine is what matters of a machine for a cluster.
type machine struct {
	root        bool
	programs    []string // of packages, those that are there
	controllers []string // of cgroups of version 1, those that are missing
	kernelLog   bool     // kubelet reads it
	namespaces  error    // why none can be made, with a network of its own
	disk        uint64   // free, where the cluster's folder is to be; in bytes, as memory
	memory      uint64
}

// missing says what the machine lacks, a line each. Without root it leaves out what only root can find out.
func (m machine) missing() []string {
	if !m.root {
		return []string{"root's rights: namespaces, mounts and cgroups are made"}
	}
	var lines []string
	if absent := m.absentPackages(); len(absent) > 0 {
		lines = append(lines, fmt.Sprintf("programs: apt-get install --no-install-recommends %s", strings.Join(absent, " ")))
	}
	if len(m.controllers) > 0 {
		lines = append(lines, fmt.Sprintf("hierarchies of cgroup version 1 for %s: with version 2 alone a node is not started", strings.Join(m.controllers, ", ")))
	}
	if !m.kernelLog {
		lines = append(lines, "/dev/kmsg, which kubelet reads")
	}
	if m.namespaces != nil && len(m.absentPackages()) == 0 {
		lines = append(lines, fmt.Sprintf("permission to make namespaces and veth interfaces: %v", m.namespaces))
	}
	if m.disk < neededDisk {
		lines = append(lines, fmt.Sprintf("disk: %s are free, %s are needed", mebibytes(m.disk), mebibytes(neededDisk)))
	}
	if m.memory < neededMemory {
		lines = append(lines, fmt.Sprintf("memory: %s are available, %s are needed", mebibytes(m.memory), mebibytes(neededMemory)))
	}
	return lines
}

func mebibytes(bytes uint64) string { return fmt.Sprintf("%d MiB", bytes>>20) }

func (m machine) absentPackages() []string {
	var absent []string
	for program, name := range packages {
		if !slices.Contains(m.programs, program) && !slices.Contains(absent, name) {
			absent = append(absent, name)
		}
	}
	slices.Sort(absent)
	return absent
}

// Missing says what this machine lacks for a cluster below a folder, a line each.
func Missing(folder string) []string { return look(folder).missing() }

func look(folder string) machine {
	m := machine{root: os.Geteuid() == 0}
	for program := range packages {
		if _, err := programPath(program); err == nil {
			m.programs = append(m.programs, program)
		}
	}
	all, err := ourHierarchies()
	if err == nil {
		m.controllers = missingControllers(all)
	} else {
		m.controllers = neededControllers
	}
	if log, err := os.Open("/dev/kmsg"); err == nil {
		m.kernelLog = true
		_ = log.Close()
	}
	if m.root {
		m.namespaces = command("unshare", "--mount", "--net", "--pid", "--ipc", "--uts", "--cgroup", "--fork", "ip", "link", "add", "eth0", "type", "veth", "peer", "name", cable)
	}
	m.disk, m.memory = freeDisk(folder), availableMemory()
	return m
}

// freeDisk is how much may be written below a folder, in bytes.
func freeDisk(folder string) uint64 {
	var disk syscall.Statfs_t
	if err := syscall.Statfs(folder, &disk); err != nil {
		return 0
	}
	return disk.Bavail * uint64(disk.Bsize)
}

func availableMemory() uint64 {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return 0
	}
	_, after, _ := strings.Cut(string(text), "MemAvailable:")
	kibibytes, err := strconv.ParseUint(strings.Fields(after + " 0")[0], 10, 64)
	if err != nil {
		return 0
	}
	return kibibytes << 10
}

// programPath finds a program of the machine. Users have no sbin in their path, and CNI's plugins are in a folder of their own.
func programPath(name string) (string, error) {
	if found, err := exec.LookPath(name); err == nil {
		return found, nil
	}
	for _, folder := range []string{"/usr/sbin", "/sbin", "/usr/lib/cni"} {
		if found, err := exec.LookPath(filepath.Join(folder, name)); err == nil {
			return found, nil
		}
	}
	return "", fmt.Errorf("%s is missing (Debian package %s)", name, packages[name])
}
