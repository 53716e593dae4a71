package main

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
	// serviceFolder has Microsoft's service client for Node.
	serviceFolder = "test/conformance/service"
)

// buildDevices installs the packages of the devices.
func (c clone) buildDevices(ctx context.Context, to *report) error {
	return c.npm(ctx, to, devicesFolder)
}

// npm installs the packages of a folder unless they are there as the lock file wants them.
func (c clone) npm(ctx context.Context, to *report, name string) error {
	folder := c.path(name)
	if installed, err := node.IsInstalled(folder); err != nil || installed {
		return err
	}
	cmd := newCommand(ctx, node.Install[0], node.Install[1:]...)
	cmd.Dir = folder
	return watched(ctx, to, cmd, "npm ci (in "+name+")")
}

// fleet is devices on Microsoft's SDK, in a process of its own.
type fleet struct {
	hub     *simulator.DebugClient
	ca      string
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

// fleetCommand is a line that the devices read; Do says what the rest means.
type fleetCommand map[string]any

// startFleet starts the process, without devices yet. It ends with stop, or with ctx.
func (d *demo) startFleet(ctx context.Context) (*fleet, error) {
	cmd := newCommand(ctx, "node", d.path(devicesFolder+"/main.js"))
	log, err := os.Create(d.file("devices.log"))
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	cmd.Stderr = log
	f := &fleet{hub: d.hub, ca: d.file(hubCAFile), waiting: map[int]chan fleetEvent{}, ran: map[string]int{}}
	if f.process, err = node.Start(cmd, f.hear, func() {}); err != nil {
		return nil, fmt.Errorf("starting the devices: %w", err)
	}
	return f, nil
}

// stop disconnects all devices.
func (f *fleet) stop() error { return f.process.Stop() }

// hear takes note of a line that the devices print.
func (f *fleet) hear(line []byte) {
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

// do has a device do something and waits until it did.
func (f *fleet) do(ctx context.Context, what, id string, more fleetCommand) error {
	answer := make(chan fleetEvent, 1)
	f.mu.Lock()
	f.seq++
	c := fleetCommand{"do": what, "id": id, "seq": f.seq}
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
			return &refusal{id, what, e.Error, e.Message}
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

// refusal is a failure that the SDK reports.
type refusal struct{ id, what, name, message string }

func (r *refusal) Error() string {
	return fmt.Sprintf("device %s: %s: %s: %s", r.id, r.what, r.name, r.message)
}

// ranCommands returns how often a device was given a direct method.
func (f *fleet) ranCommands(id, method string) int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.ran[id+" "+method]
}

// create makes an identity at the hub.
func (f *fleet) create(ctx context.Context, id string) error {
	return f.hub.CreateDevices(ctx, simulator.DeviceRequest{ID: id, IdentityOnly: true})
}

// connect runs a device for an identity that the hub has.
func (f *fleet) connect(ctx context.Context, id, model string) error {
	s, err := f.hub.ConnectionString(ctx, id)
	if err != nil {
		return err
	}
	return f.connectWith(ctx, id, model, s)
}

func (f *fleet) connectWith(ctx context.Context, id, model, connectionString string) error {
	return f.do(ctx, "start", id, fleetCommand{"connectionString": connectionString, "model": model, "ca": f.ca})
}

// behave changes what a device does with a property, given by name or component.name.
func (f *fleet) behave(ctx context.Context, id, property string, behaviour fleetCommand) error {
	return f.do(ctx, "behave", id, fleetCommand{"property": property, "behaviour": behaviour})
}

// report has a device send a reported patch.
func (f *fleet) report(ctx context.Context, id string, patch any) error {
	return f.do(ctx, "report", id, fleetCommand{"patch": patch})
}
