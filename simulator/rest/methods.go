package rest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/hub"
	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
	"github.com/pnp-operator/pnp-operator/simulator/methods"
)

// Limits of "Understand and invoke direct methods from IoT Hub".
const (
	maxMethodPayload    = 128 << 10
	defaultResponseTime = 30
	minResponseTime     = 5
	maxMethodTime       = 300
)

// invokeMethod answers POST /twins/{id}/methods: the device's code is part of the body.
func invokeMethod(c *call) (reply, error) {
	body, err := c.object()
	if err != nil {
		return reply{}, err
	}
	name, _ := body.Get("methodName")
	method, _ := name.(string)
	if method == "" {
		return reply{}, argumentInvalid("methodName is missing")
	}
	within, err := c.timeouts()
	if err != nil {
		return reply{}, err
	}
	payload, _ := body.Get("payload")
	answer, err := c.invoke(method, jsontree.Append(nil, payload), within)
	if err != nil {
		return reply{}, err
	}
	return ok(jsontree.Object{
		{Name: "status", Value: answer.Status},
		{Name: "payload", Value: asJSON(answer.Payload)},
	}), nil
}

// invokeCommand answers both routes of digital-twin commands: the device's code is in a header, its payload is the body.
func invokeCommand(c *call) (reply, error) {
	method := c.params["command"]
	if component := c.params["component"]; component != "" {
		method = component + "*" + method
	}
	within, err := c.timeouts()
	if err != nil {
		return reply{}, err
	}
	payload := c.body
	if len(payload) == 0 {
		payload = []byte("null")
	}
	if !json.Valid(payload) {
		return reply{}, argumentInvalid("The payload of the command is not JSON")
	}
	answer, err := c.invoke(method, payload, within)
	if err != nil {
		return reply{}, err
	}
	return reply{status: http.StatusOK, header: http.Header{}, body: jsontree.Append(nil, asJSON(answer.Payload))}.
		with("x-ms-command-statuscode", strconv.Itoa(answer.Status)), nil
}

// timeouts are in the body of a direct method, and in the query of a command.
func (c *call) timeouts() (methods.Timeouts, error) {
	if c.route.operation != InvokeMethod {
		return parseTimeouts(c.query.Get("connectTimeoutInSeconds"), c.query.Get("responseTimeoutInSeconds"))
	}
	body, err := c.object()
	if err != nil {
		return methods.Timeouts{}, err
	}
	return parseTimeouts(number(body, "connectTimeoutInSeconds"), number(body, "responseTimeoutInSeconds"))
}

// invoke waits for the device and puts what goes wrong into the words of the hub.
func (c *call) invoke(method string, payload []byte, within methods.Timeouts) (methods.Answer, error) {
	if len(payload) > maxMethodPayload {
		return methods.Answer{}, usual[413].failure(413)
	}
	if _, err := c.server.Hub.Get(c.target()); err != nil {
		return methods.Answer{}, err
	}
	answer, err := c.server.Methods.Invoke(c.target(), methods.Invocation{Name: method, Payload: payload}, within)
	var absent methods.NotOnlineError
	var late methods.TimeoutError
	switch {
	case err == nil:
		return answer, nil
	case errors.As(err, &absent):
		return answer, offline(absent.After)
	case errors.As(err, &late):
		return answer, &failure{refusal: *usual[504].failure(504), envelope: E3, elapsed: &late.After}
	}
	return answer, usual[503].failure(503)
}

// offline is what the hub says of a device that was not there within its connect time-out.
func offline(within time.Duration) *failure {
	return &failure{refusal: hub.Error{Status: 404, Name: "DeviceNotOnline", Number: 404103, Message: notOnline}, envelope: E3, elapsed: &within}
}

const notOnline = "The operation failed because the requested device isn't online or hasn't registered the direct method callback. " +
	"To learn more, see https://aka.ms/iothub404103"

func parseTimeouts(connect, response string) (methods.Timeouts, error) {
	c, err := seconds("connectTimeoutInSeconds", connect, 0, 0)
	if err != nil {
		return methods.Timeouts{}, err
	}
	r, err := seconds("responseTimeoutInSeconds", response, defaultResponseTime, minResponseTime)
	if err != nil {
		return methods.Timeouts{}, err
	}
	if c > r {
		return methods.Timeouts{}, argumentInvalid("Device connection timeout " + c.String() + " cannot be longer than an overall call timeout " + r.String())
	}
	return methods.Timeouts{Connect: c, Response: r}, nil
}

func seconds(name, value string, usually, least int) (time.Duration, error) {
	if value == "" {
		return time.Duration(usually) * time.Second, nil
	}
	n, err := strconv.Atoi(value)
	if err != nil || n < least || n > maxMethodTime {
		return 0, argumentInvalid(name + " is " + value + ", but must be a whole number between " + strconv.Itoa(least) + " and " + strconv.Itoa(maxMethodTime))
	}
	return time.Duration(n) * time.Second, nil
}

// number is a member as text: empty if it is absent or null. The hub takes numbers that are written as texts, too: the Azure CLI
// sends its default time-outs so.
func number(o jsontree.Object, name string) string {
	v, _ := o.Get(name)
	switch v := v.(type) {
	case nil:
		return ""
	case string:
		return v
	}
	return string(jsontree.Append(nil, v))
}

// asJSON is what a device sent, which need not be JSON: the hub passes on what it cannot read as a string.
func asJSON(payload json.RawMessage) any {
	if len(payload) == 0 {
		return nil
	}
	if v, err := jsontree.Parse(payload); err == nil {
		return v
	}
	return string(payload)
}

func argumentInvalid(message string) error {
	e := usual[400].failure(400)
	e.Message = message
	return e
}
