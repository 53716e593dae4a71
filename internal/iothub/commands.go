package iothub

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/redact"
)

// answerMargin is how much longer than the hub the client waits.
const answerMargin = 30 * time.Second

// Invocation is a command on its way to a device.
type Invocation struct {
	DeviceID string
	// Component is empty for the default one.
	Component, Command string
	// Payload is JSON; empty is null.
	Payload []byte
	// Connect is how long the hub waits for the device to connect, Response how long for everything. Both in whole seconds.
	Connect, Response time.Duration
}

// CommandAnswer is what the device answered.
type CommandAnswer struct {
	// StatusCode is the device's own.
	StatusCode int
	// Payload is what came, which need not be JSON.
	Payload []byte
}

// InvokeCommand invokes a command by the digital twin: POST /digitaltwins/{id}[/components/{component}]/commands/{command}. It is sent
// once. After an error other than one of the hub's own words the device may have run it, see package command.
func (c *Client) InvokeCommand(ctx context.Context, i Invocation) (answer CommandAnswer, err error) {
	q := i.call(OpInvokeCommand)
	if q.path, err = devicePath(q, "/digitaltwins/"); err != nil {
		return answer, err
	}
	if i.Component != "" {
		q.path += "/components/" + escape(i.Component)
	}
	q.path += "/commands/" + escape(i.Command)
	q.query = url.Values{
		"connectTimeoutInSeconds": {seconds(i.Connect)}, "responseTimeoutInSeconds": {seconds(i.Response)},
	}
	q.body = i.payload()
	q.decode = func(header http.Header, body []byte) (err error) {
		answer.Payload = body
		answer.StatusCode, err = deviceCode(header.Get("X-Ms-Command-Statuscode"))
		return err
	}
	err = c.do(ctx, q) // before answer is read, which it fills in
	return answer, err
}

// InvokeMethod invokes a command as the direct method of its name: POST /twins/{id}/methods. Errors are as for InvokeCommand.
func (c *Client) InvokeMethod(ctx context.Context, i Invocation) (answer CommandAnswer, err error) {
	q := i.call(OpInvokeMethod)
	if q.path, err = devicePath(q, "/twins/"); err != nil {
		return answer, err
	}
	q.path += "/methods"
	q.body, err = json.Marshal(map[string]any{
		"methodName": i.method(), "payload": json.RawMessage(i.payload()),
		"connectTimeoutInSeconds": int(i.Connect.Seconds()), "responseTimeoutInSeconds": int(i.Response.Seconds()),
	})
	if err != nil {
		return answer, localError(q, CodeInvalidPayload, Terminal, fmt.Errorf("the payload is not JSON: %w", err))
	}
	q.decode = func(_ http.Header, body []byte) error {
		var result struct {
			Status  json.Number     `json:"status"`
			Payload json.RawMessage `json:"payload"`
		}
		if err := json.Unmarshal(body, &result); err != nil {
			return fmt.Errorf("the answer is not that of a direct method: %w", err)
		}
		answer.Payload = result.Payload
		var err error
		answer.StatusCode, err = deviceCode(string(result.Status))
		return err
	}
	err = c.do(ctx, q) // before answer is read, which it fills in
	return answer, err
}

func (i Invocation) call(op Operation) call {
	return call{op: op, deviceID: i.DeviceID, method: http.MethodPost, timeout: i.Connect + i.Response + answerMargin, hurried: true}
}

// method is the name of the direct method that a command is.
func (i Invocation) method() string {
	if i.Component == "" {
		return i.Command
	}
	return i.Component + "*" + i.Command
}

func (i Invocation) payload() []byte {
	if len(i.Payload) == 0 {
		return []byte("null")
	}
	return i.Payload
}

func seconds(d time.Duration) string { return strconv.Itoa(int(d.Seconds())) }

// deviceCode reads the device's code, which the hub passes on.
func deviceCode(s string) (int, error) {
	n, err := strconv.ParseInt(s, 10, 32)
	if err != nil {
		return 0, fmt.Errorf("the device's status code %q is no number", redact.Text(s))
	}
	return int(n), nil
}
