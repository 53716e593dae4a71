package hostile

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pnp-operator/pnp-operator/hack/cluster"
	"github.com/pnp-operator/pnp-operator/test/harness"
)

// container is what the operator's Deployment gives it.
type container struct {
	limit int64    // of memory, in bytes
	env   []string // KEY=VALUE, where Kubernetes needs no pod to know the value
}

// readContainer reads config/manager/manager.yaml.
func readContainer(path string) (container, error) {
	raw, err := os.ReadFile(path)
	if err != nil {
		return container{}, err
	}
	var deployment appsv1.Deployment
	if err := yaml.Unmarshal(raw, &deployment); err != nil {
		return container{}, fmt.Errorf("decoding %s: %w", path, err)
	}
	containers := deployment.Spec.Template.Spec.Containers
	if len(containers) != 1 || containers[0].Resources.Limits.Memory().IsZero() {
		return container{}, fmt.Errorf("%s has %d containers, expected 1 with a limit of memory", path, len(containers))
	}
	c := container{limit: containers[0].Resources.Limits.Memory().Value()}
	for _, e := range containers[0].Env {
		if value := valueOf(e, c.limit); value != "" {
			c.env = append(c.env, e.Name+"="+value)
		}
	}
	return c, nil
}

func valueOf(e corev1.EnvVar, limit int64) string {
	if from := e.ValueFrom; from != nil && from.ResourceFieldRef != nil && from.ResourceFieldRef.Resource == "limits.memory" {
		return strconv.FormatInt(limit/max(1, from.ResourceFieldRef.Divisor.Value()), 10)
	}
	return e.Value
}

// withoutGroup is the environment where the kernel enforces no limit: Go then keeps below it as well as it can.
func (c container) withoutGroup() []string {
	for _, e := range c.env {
		if strings.HasPrefix(e, "GOMEMLIMIT=") {
			return c.env
		}
	}
	return append(c.env, fmt.Sprintf("GOMEMLIMIT=%d", c.limit/10*9))
}

// memoryGroup is a memory cgroup of its own, the folder of which it is.
type memoryGroup string

// cgroupFiles are where Linux shows cgroups.
type cgroupFiles struct{ mounts, self string }

var linuxCgroups = cgroupFiles{mounts: "/sys/fs/cgroup", self: "/proc/self/cgroup"}

// newMemoryGroup makes a group with a limit in bytes below the group of this process, so that limits of that go on to hold, or below the nearest one above it that
// can have one: a group of version 2 with processes cannot.
func newMemoryGroup(files cgroupFiles, name string, limit int64) (memoryGroup, error) {
	top, own, unified, err := files.memory()
	if err != nil {
		return "", err
	}
	var errs []error
	for at := filepath.Join(top, own); ; at = filepath.Dir(at) {
		group := memoryGroup(filepath.Join(at, name))
		err := group.make(unified, limit)
		if err == nil {
			return group, nil
		}
		if errs = append(errs, err); at == top {
			return "", errors.Join(errs...)
		}
	}
}

// memory finds the hierarchy that counts memory, and the group of this process in it.
func (f cgroupFiles) memory() (top, own string, unified bool, err error) {
	raw, err := os.ReadFile(f.self)
	if err != nil {
		return "", "", false, err
	}
	for line := range strings.Lines(string(raw)) {
		parts := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(parts) != 3 {
			continue
		}
		switch parts[1] {
		case "memory":
			return filepath.Join(f.mounts, "memory"), parts[2], false, nil
		case "":
			top, own, unified = f.mounts, parts[2], true
		}
	}
	if top == "" {
		return "", "", false, fmt.Errorf("%s names no cgroup", f.self)
	}
	return top, own, unified, nil
}

func (g memoryGroup) make(unified bool, limit int64) error {
	if err := os.Mkdir(string(g), 0o755); err != nil { // as the kernel has it
		return err
	}
	name, swap, none := "memory.limit_in_bytes", "memory.memsw.limit_in_bytes", strconv.FormatInt(limit, 10)
	if unified {
		name, swap, none = "memory.max", "memory.swap.max", "0"
	}
	err := g.write(name, strconv.FormatInt(limit, 10))
	if err != nil {
		return errors.Join(err, os.Remove(string(g)))
	}
	_ = g.write(swap, none) // not every kernel accounts for swap
	return nil
}

func (g memoryGroup) write(name, value string) error {
	f, err := os.OpenFile(filepath.Join(string(g), name), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(value)
	return errors.Join(err, f.Close())
}

// wrap are the words of a command that begins in the group.
func (g memoryGroup) wrap() []string {
	return []string{"/bin/sh", "-c", "echo $$ > " + harness.ShellQuoted(filepath.Join(string(g), "cgroup.procs")) + ` && exec "$0" "$@"`}
}

// remove takes the group away once its processes have ended.
func (g memoryGroup) remove() error {
	if err := cluster.RemoveCgroups(string(g)); err != nil {
		return fmt.Errorf("removing the memory cgroup: %w", err)
	}
	return nil
}
