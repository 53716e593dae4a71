package devices

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// CommandAnswer overrides how a virtual device answers a command, which is named as direct methods are: "reboot", or
// "thermostat1*getMaxMinReport".
type CommandAnswer struct {
	Status  int             `json:"status"`
	Payload json.RawMessage `json:"payload,omitempty"`
	Delay   time.Duration   `json:"-"` // in JSON "delay":"2s"
	// Silent runs the command and never answers.
	Silent bool `json:"silent,omitempty"`
}

type plainAnswer CommandAnswer

type encodedAnswer struct {
	plainAnswer
	Delay jsontree.Duration `json:"delay,omitzero"`
}

// MarshalJSON shows the delay as "2s".
func (a CommandAnswer) MarshalJSON() ([]byte, error) {
	return json.Marshal(encodedAnswer{plainAnswer(a), jsontree.Duration(a.Delay)})
}

// UnmarshalJSON reads what MarshalJSON writes; a member that it does not know is an error.
func (a *CommandAnswer) UnmarshalJSON(data []byte) error {
	var e encodedAnswer
	err := jsontree.Decode(data, &e)
	if err == nil {
		*a = CommandAnswer(e.plainAnswer)
		a.Delay = time.Duration(e.Delay)
	}
	return err
}

// AnswerCommand changes how a device answers a command from now on.
func (d *Devices) AnswerCommand(id, name string, a CommandAnswer) error {
	if a.Payload != nil && !json.Valid(a.Payload) {
		return fmt.Errorf("the payload %q is not JSON", a.Payload)
	}
	return d.with(id, func(dev *device) error {
		dev.mu.Lock()
		defer dev.mu.Unlock()
		if dev.answers == nil {
			dev.answers = map[string]CommandAnswer{}
		}
		dev.answers[name] = a
		return nil
	})
}

// Ran is one command that reached a device.
type Ran struct {
	Name    string          `json:"name"`
	Payload json.RawMessage `json:"payload"`
	At      time.Time       `json:"at"`
}

// Commands returns the commands that reached a device, oldest first, whether or not they were answered.
func (d *Devices) Commands(id string) ([]Ran, error) {
	var ran []Ran
	err := d.with(id, func(dev *device) error {
		dev.mu.Lock()
		defer dev.mu.Unlock()
		ran = slices.Clone(dev.ran)
		return nil
	})
	return ran, err
}

// Invoke takes a direct method: it is the device's end of methods.Exchange.
func (dev *device) Invoke(ctx context.Context, i methods.Invocation) (methods.Answer, error) {
	a := dev.take(i)
	var answer <-chan time.Time // never, if the device is silent
	if !a.Silent {
		timer := time.NewTimer(a.Delay + dev.pool.ackDelay)
		defer timer.Stop()
		answer = timer.C
	}
	select {
	case <-answer:
		return methods.Answer{Status: a.Status, Payload: a.Payload}, nil
	case <-ctx.Done():
		return methods.Answer{}, ctx.Err()
	}
}

// take runs a command: it is counted, and the answer is known.
func (dev *device) take(i methods.Invocation) CommandAnswer {
	dev.mu.Lock()
	defer dev.mu.Unlock()
	dev.ran = append(dev.ran, Ran{i.Name, i.Payload, time.Now()})
	if a, ok := dev.answers[i.Name]; ok {
		return a
	}
	return models[dev.model].answer(i.Name)
}

// answer is what a device answers of itself. One of an unknown model can do anything.
func (m model) answer(name string) CommandAnswer {
	switch payload, ok := m.commands[name]; {
	case ok:
		return CommandAnswer{Status: 200, Payload: json.RawMessage(payload)}
	case m.commands == nil:
		return CommandAnswer{Status: 200}
	}
	return CommandAnswer{Status: 404, Payload: json.RawMessage(`"unknown command"`)}
}

const maxMinReport = `{"maxTemp":23.4,"minTemp":18.2,"avgTemp":20.6,"startTime":"2026-01-02T03:04:05Z","endTime":"2026-01-02T04:04:05Z"}`
