package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"
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
	events *journal[deviceEvent]
	stdin  io.WriteCloser
	cmd    *exec.Cmd
	meter  *meter
	ended  chan struct{}

	mu  sync.Mutex
	seq int
}

// installPackages brings the packages of the device, unless they are there as the lock file wants them.
func installPackages(ctx context.Context, folder string) error {
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%s is missing, which Microsoft's device SDK needs: install Node.js 20 or later with npm (Debian packages nodejs and npm), "+
				"or leave out the facts of a connected device by --service-only (make hubcheck SERVICE_ONLY=1)", program)
		}
	}
	want, err := os.Stat(filepath.Join(folder, "package-lock.json"))
	if err != nil {
		return fmt.Errorf("%w; --devices-folder is the folder test/e2e/devices of this project", err)
	}
	have, err := os.Stat(filepath.Join(folder, "node_modules", ".package-lock.json"))
	if err == nil && !have.ModTime().Before(want.ModTime()) {
		return nil
	}
	cmd := exec.CommandContext(ctx, "npm", "ci", "--no-audit", "--no-fund", "--loglevel=error")
	cmd.Dir = folder
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("npm ci in %s: %w\n%s", folder, err, out)
	}
	return nil
}

// startDevice starts the process; it does not connect yet. A terminal's interrupt does not reach it: it ends with stop.
func startDevice(folder string, m *meter) (*device, error) {
	cmd := exec.Command("node", filepath.Join(folder, "bare.js"))
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdin, err1 := cmd.StdinPipe()
	stdout, err2 := cmd.StdoutPipe()
	if err := errors.Join(err1, err2); err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("starting the device: %w", err)
	}
	d := &device{events: newJournal[deviceEvent](), stdin: stdin, cmd: cmd, meter: m, ended: make(chan struct{})}
	go d.read(stdout)
	return d, nil
}

func (d *device) read(out io.Reader) {
	defer close(d.ended)
	defer d.events.add(deviceEvent{Event: "ended"})
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e deviceEvent
		if json.Unmarshal(lines.Bytes(), &e) != nil {
			continue
		}
		if strings.HasPrefix(e.Topic, "$iothub/twin/") { // reads and notifications are billed, methods are counted with their call
			d.meter.spend(len(e.Payload))
		}
		d.events.add(e)
	}
}

// stop disconnects the device and waits for its process.
func (d *device) stop() error {
	_ = d.stdin.Close() // the process ends with it
	select {
	case <-d.ended:
	case <-time.After(10 * time.Second):
		_ = d.cmd.Process.Kill() // it may have ended by now
	}
	return d.cmd.Wait()
}

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
	raw, err := json.Marshal(line)
	if err == nil {
		_, err = d.stdin.Write(append(raw, '\n'))
	}
	d.mu.Unlock()
	if err != nil {
		return fmt.Errorf("telling the device to %s: %w", command, err)
	}
	e, found, err := d.events.await(ctx, mark, answerTime, func(e deviceEvent) bool { return e.Seq == seq || e.Event == "ended" })
	switch {
	case err != nil:
		return err
	case e.Event == "ended":
		return errors.New("the device's process ended: run node " + d.cmd.Args[1] + " to see why")
	case !found:
		return fmt.Errorf("the device did not %s within %s", command, answerTime)
	case e.Event == "failed":
		return &refusal{e.Name, e.Message}
	}
	return nil
}
