package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/node"
)

// answerTime is how long the device process may take for a command.
const answerTime = 60 * time.Second

// deviceEvent is a line of the device process: what became of a command, or what the hub sent.
type deviceEvent struct {
	Event   string // done, failed, message, disconnected, error, and ended for the process
	Seq     int
	Name    string // of an error
	Message string
	Topic   string
	Payload string
}

// device is the device on Microsoft's SDK, in a process of its own.
type device struct {
	events  *journal[deviceEvent]
	process *node.Process
	script  string
	meter   *meter

	mu  sync.Mutex
	seq int
}

// installPackages brings the packages of the device, unless they are there as the lock file wants them.
func installPackages(ctx context.Context, folder string) error {
	if err := node.Missing(); err != nil {
		return fmt.Errorf("running Microsoft's device SDK: %w, or leave out the facts of a connected device by --service-only (make hubcheck SERVICE_ONLY=1)", err)
	}
	installed, err := node.IsInstalled(folder)
	if err != nil {
		return fmt.Errorf("%w; --devices-folder is the folder test/e2e/devices of this project", err)
	}
	if installed {
		return nil
	}
	cmd := exec.CommandContext(ctx, node.Install[0], node.Install[1:]...)
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", folder, err, out)
	}
	return nil
}

// startDevice starts the process; it does not connect yet. A terminal's interrupt does not reach it: it ends with stop.
func startDevice(folder string, m *meter) (*device, error) {
	script := filepath.Join(folder, "bare.js")
	cmd := exec.Command("node", script)
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	d := &device{events: newJournal[deviceEvent](), script: script, meter: m}
	var err error
	if d.process, err = node.Start(cmd, d.hear, func() { d.events.add(deviceEvent{Event: "ended"}) }); err != nil {
		return nil, fmt.Errorf("starting the device: %w", err)
	}
	return d, nil
}

// hear takes note of a line that the device prints.
func (d *device) hear(line []byte) {
	var e deviceEvent
	if json.Unmarshal(line, &e) != nil {
		return
	}
	if strings.HasPrefix(e.Topic, "$iothub/twin/") { // reads and notifications are billed, methods are counted with their call
		d.meter.spend(len(e.Payload))
	}
	d.events.add(e)
}

// stop disconnects the device and waits for its process.
func (d *device) stop() error { return d.process.Stop() }

// refusal is a command that the SDK could not carry out.
type refusal struct{ name, message string }

func (r *refusal) Error() string { return r.name + ": " + r.message }

// do has the device do something and waits until it did.
func (d *device) do(ctx context.Context, command string, more map[string]any) error {
	d.mu.Lock()
	d.seq++
	seq, mark := d.seq, d.events.mark()
	line := map[string]any{"command": command, "seq": seq}
	maps.Copy(line, more)
	err := d.process.Tell(line)
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("telling the device to %s: %w", command, err)
	}
	e, found, err := d.events.await(ctx, mark, answerTime, func(e deviceEvent) bool { return e.Seq == seq || e.Event == "ended" })
	switch {
	case err != nil:
		return err
	case e.Event == "ended":
		return errors.New("the device's process ended: run node " + d.script + " to see why")
	case !found:
		return fmt.Errorf("the device did not %s within %s", command, answerTime)
	case e.Event == "failed":
		return &refusal{e.Name, e.Message}
	}
	return nil
}
