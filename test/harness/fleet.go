package harness

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"sync"
	"time"

	"github.com/pnp-operator/pnp-operator/hack/node"
	"github.com/pnp-operator/pnp-operator/simulator"
)

const (
	// devicesFolder has the devices on Microsoft's device SDK for Node.
	devicesFolder = "test/e2e/devices"
	// ServiceFolder has Microsoft's service client for Node.
	ServiceFolder = "test/conformance/service"
)

// BuildDevices installs the packages of the devices.
func (c Clone) BuildDevices(ctx context.Context, to *Report) error {
	return c.InstallPackages(ctx, to, devicesFolder)
}

// InstallPackages installs the packages of a folder unless they are there as the lock file wants
// them.
func (c Clone) InstallPackages(ctx context.Context, to *Report, name string) error {
	folder := c.Path(name)
	if installed, err := node.IsInstalled(folder); err != nil || installed {
		return err
	}
	cmd := NewCommand(ctx, node.Install[0], node.Install[1:]...)
	cmd.Dir = folder
	return RunWatched(ctx, to, cmd, "npm ci (in "+name+")")
}

// Fleet is devices on Microsoft's SDK, in a process of its own.
type Fleet struct {
	hub     *simulator.DebugClient
	CA      string
	process *node.Process

	mu      sync.Mutex
	seq     int
	waiting map[int]chan fleetEvent
	ran     map[string]int // commands by device and direct method
}

// fleetEvent is a line that the devices print.
type fleetEvent struct {
	ID      string `json:"id"`
	Seq     int    `json:"seq"`
	Event   string `json:"event"`
	Do      string `json:"do"`
	Name    string `json:"name"`
	Error   string `json:"error"`
	Message string `json:"message"`
}

// FleetCommand is a line that the devices read; Do says what the rest means.
type FleetCommand map[string]any

// StartFleet starts the process, without devices yet. It ends with stop, or with ctx.
func (d *Testbed) StartFleet(ctx context.Context) (*Fleet, error) {
	cmd := NewCommand(ctx, "node", d.Path(devicesFolder+"/main.js"))
	log, err := os.Create(d.File("devices.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	f := &Fleet{hub: d.Hub, CA: d.File(HubCAFile), waiting: map[int]chan fleetEvent{}, ran: map[string]int{}}
	if f.process, err = node.Start(cmd, f.hear, func() {}); err != nil {
		return nil, fmt.Errorf("starting the devices: %w", err)
	}
	return f, nil
}

// Stop disconnects all devices.
func (f *Fleet) Stop() error { return f.process.Stop() }

// hear takes note of a line that the devices print.
func (f *Fleet) hear(line []byte) {
	var e fleetEvent
	if json.Unmarshal(line, &e) != nil {
		return
	}
	f.mu.Lock()
	if e.Event == "command" {
		f.ran[e.ID+" "+e.Name]++
	}
	answer := f.waiting[e.Seq]
	delete(f.waiting, e.Seq)
	f.mu.Unlock()
	if answer != nil {
		answer <- e
	}
}

// Do has a device do something and waits until it did.
func (f *Fleet) Do(ctx context.Context, what, id string, more FleetCommand) error {
	answer := make(chan fleetEvent, 1)
	f.mu.Lock()
	f.seq++
	c := FleetCommand{"do": what, "id": id, "seq": f.seq}
	maps.Copy(c, more)
	f.waiting[f.seq] = answer
	err := f.process.Tell(c)
	f.mu.Unlock()
	if err != nil {
		return fmt.Errorf("telling device %s to %s: %w", id, what, err)
	}
	limit := time.NewTimer(30 * time.Second)
	defer limit.Stop()
	select {
	case e := <-answer:
		if e.Event == "failed" {
			return &RefusalError{id, what, e.Error, e.Message}
		}
		return nil
	case <-f.process.Ended():
		return fmt.Errorf("the devices ended; see devices.log")
	case <-limit.C:
		return fmt.Errorf("device %s did not %s within 30 s", id, what)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// RefusalError is a failure that the SDK reports.
type RefusalError struct{ id, what, Name, message string }

func (r *RefusalError) Error() string {
	return fmt.Sprintf("device %s: %s: %s: %s", r.id, r.what, r.Name, r.message)
}

// RanCommands returns how often a device was given a direct method.
func (f *Fleet) RanCommands(id, method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ran[id+" "+method]
}

// Create makes an identity at the hub.
func (f *Fleet) Create(ctx context.Context, id string) error {
	return f.hub.CreateDevices(ctx, simulator.DeviceRequest{ID: id, IdentityOnly: true})
}

// Connect runs a device for an identity that the hub has.
func (f *Fleet) Connect(ctx context.Context, id, model string) error {
	s, err := f.hub.ConnectionString(ctx, id)
	if err != nil {
		return err
	}
	return f.ConnectWith(ctx, id, model, s)
}

// ConnectWith is Connect with a connection string that may not be the device's own.
func (f *Fleet) ConnectWith(ctx context.Context, id, model, connectionString string) error {
	return f.Do(ctx, "start", id, FleetCommand{"connectionString": connectionString, "model": model, "ca": f.CA})
}

// Behave changes what a device does with a property, given by name or component.name.
func (f *Fleet) Behave(ctx context.Context, id, property string, behaviour FleetCommand) error {
	return f.Do(ctx, "behave", id, FleetCommand{"property": property, "behaviour": behaviour})
}

// Report has a device send a reported patch.
func (f *Fleet) Report(ctx context.Context, id string, patch any) error {
	return f.Do(ctx, "report", id, FleetCommand{"patch": patch})
}
