package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/hack/demo/chaos"
	"github.com/pnp-operator/pnp-operator/hack/freeport"
	"github.com/pnp-operator/pnp-operator/hack/liveness"
)

// watchesBack is how long a client may take to hear of changes again after the API server is back: client-go waits longer and longer for it.
const watchesBack = 30 * time.Second

// apiServer is the one of the control plane, which keeps its pid file as this program does.
func (d *demo) apiServer() process {
	return process{name: "kube-apiserver", dir: d.file(controlPlaneFolder)}
}

// stopServer kills the API server. Its etcd stays.
func (k *storm) stopServer(ctx context.Context) error {
	p := k.apiServer()
	pid := p.pid()
	if pid == 0 {
		return errors.New("the API server does not run")
	}
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
	if err != nil {
		return fmt.Errorf("reading how the API server was started: %w", err)
	}
	known := k.server != nil
	k.server = strings.Split(string(bytes.TrimRight(line, "\x00")), "\x00")
	if !known {
		if err := holdPort(k.server); err != nil {
			return err
		}
	}
	k.down, k.isDown = time.Now(), true
	if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
		return fmt.Errorf("killing the API server: %w", err)
	}
	const within = 10 * time.Second
	late := func() error {
		return miss{"the API server", "ends within " + within.String(), "runs though it was killed"}
	}
	return poll(ctx, within, late, func(context.Context) (bool, error) { return liveness.HasEnded(pid, p.is), nil })
}

// holdPort keeps other runs from the port of a server that is down from time to time.
func holdPort(line []string) error {
	const flag = "--secure-port="
	i := slices.IndexFunc(line, func(arg string) bool { return strings.HasPrefix(arg, flag) })
	if i < 0 {
		return fmt.Errorf("the API server was started without %s: %q", flag, line)
	}
	port, err := strconv.Atoi(line[i][len(flag):])
	if err != nil {
		return fmt.Errorf("reading the port of the API server: %w", err)
	}
	return freeport.Hold(port)
}

// startServer starts it as it was, at the same port and over the same etcd, and waits until it answers.
func (k *storm) startServer(ctx context.Context) error {
	p := k.apiServer()
	k.isDown = false
	ended, err := p.start(k.server[0], k.server[1:]...)
	if err != nil {
		return err
	}
	err = p.await(ctx, ended, 3*time.Minute, func() error {
		return k.client.Get(ctx, types.NamespacedName{Namespace: namespace, Name: sampleHub}, &v1alpha1.IoTHub{})
	})
	k.history.Blind(chaos.Span{From: k.down, To: time.Now().Add(watchesBack)})
	return err
}
