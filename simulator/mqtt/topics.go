package mqtt

import (
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
)

// What a device may subscribe to, beside its own cloud-to-device messages.
const (
	methodFilter  = "$iothub/methods/POST/#"
	answerFilter  = "$iothub/twin/res/#"
	desiredFilter = "$iothub/twin/PATCH/properties/desired/#"
)

// maxSubscriptions is how many a connection may have.
const maxSubscriptions = 5

func maySubscribe(id, filter string) bool {
	switch filter {
	case methodFilter, answerFilter, desiredFilter, "devices/" + id + "/messages/devicebound/#":
		return true
	}
	return false
}

// What a device may publish.
const (
	twinGet = iota
	twinReport
	methodAnswer
	telemetry
)

// publication is a topic that a device published to, understood.
type publication struct {
	kind       int
	request    string            // $rid
	status     int               // of a method's answer
	properties map[string]string // of telemetry
}

// parsePublication understands a topic, or says why the hub ends the connection.
func parsePublication(id, topic string) (publication, error) {
	if rest, ok := strings.CutPrefix(topic, "devices/"+id+"/messages/events/"); ok {
		return parseTelemetry(rest)
	}
	if topic == "devices/"+id+"/messages/events" {
		return publication{kind: telemetry}, nil
	}
	path, query, _ := strings.Cut(topic, "?")
	values, err := parseBag(query)
	if err != nil {
		return publication{}, fmt.Errorf("the topic's query: %w", err)
	}
	p := publication{request: values["$rid"]}
	status, isAnswer := strings.CutPrefix(path, "$iothub/methods/res/")
	switch {
	case path == "$iothub/twin/GET/":
		p.kind = twinGet
	case path == "$iothub/twin/PATCH/properties/reported/":
		p.kind = twinReport
	case isAnswer:
		p.kind = methodAnswer
		p.status, err = strconv.Atoi(strings.TrimSuffix(status, "/"))
	default:
		return p, fmt.Errorf("the topic %q is none of a device", topic)
	}
	if err == nil && p.request == "" {
		err = fmt.Errorf("the topic %q has no $rid", topic)
	}
	return p, err
}

// parseTelemetry reads the properties at the end of a topic.
func parseTelemetry(bag string) (publication, error) {
	values, err := parseBag(strings.TrimPrefix(strings.TrimSuffix(bag, "/"), "?"))
	if err != nil {
		return publication{}, fmt.Errorf("the properties of the message: %w", err)
	}
	return publication{kind: telemetry, properties: values}, nil
}

// parseBag reads pairs name=value, percent-encoded and separated by &. Model ids come with their semicolon as it is.
func parseBag(s string) (map[string]string, error) {
	values := map[string]string{}
	if s == "" {
		return values, nil
	}
	for pair := range strings.SplitSeq(s, "&") {
		name, value, _ := strings.Cut(pair, "=")
		plainName, err1 := url.PathUnescape(name)
		plainValue, err2 := url.PathUnescape(value)
		if err := errors.Join(err1, err2); err != nil {
			return nil, err
		}
		values[plainName] = plainValue
	}
	return values, nil
}
