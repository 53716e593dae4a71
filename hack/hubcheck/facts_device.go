package main

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"time"
)

const (
	offlineAnswer = "404 DeviceNotOnline 404103 timeout 00:00:00"
	silentAnswer  = "504 GatewayTimeout 504101 timeout 00:00:05"
	notAuthorized = "CONNACK 5, not authorized"
	ended         = "the hub ends the connection"
	methodTopic   = "$iothub/methods/POST/"
)

// commandFacts are about direct methods and commands of a device that is not there.
var commandFacts = []check{
	methodAnswer("method.offline", "A direct method of a device that is offline is not kept", `"methodName":"m"`, offlineAnswer),
	methodAnswer("method.waited", "One that waits for the device says how long it did",
		`"methodName":"m","connectTimeoutInSeconds":5,"responseTimeoutInSeconds":10`, "404 DeviceNotOnline 404103 timeout 00:00:05"),
	methodAnswer("method.limits", "The connect time-out is not longer than the response time-out",
		`"methodName":"m","connectTimeoutInSeconds":10,"responseTimeoutInSeconds":5`, badArgument),
	methodAnswer("method.short", "The response time-out is 5 s at least", `"methodName":"m","responseTimeoutInSeconds":4`, badArgument),
	{
		id: "command.offline", fact: "Nor is a command",
		expected: offlineAnswer,
		play: func(ctx context.Context, on *site) (string, error) {
			a, err := on.hub.ask(ctx, http.MethodPost, "/digitaltwins/"+on.id+"/commands/m", "null")
			return a.detailed(), err
		},
	},
}

// methodAnswer is what the hub answers to a direct method.
func methodAnswer(id, fact, body, expected string) check {
	return check{id: id, fact: fact, expected: expected, play: func(ctx context.Context, on *site) (string, error) {
		a, err := on.method(ctx, body)
		return a.detailed(), err
	}}
}

func (s *site) method(ctx context.Context, body string) (answer, error) {
	return s.hub.ask(ctx, http.MethodPost, "/twins/"+s.id+"/methods", "{"+body+"}")
}

// connectionFacts are about a device that connects.
var connectionFacts = []check{
	{
		id: "connect.key", needs: aDevice, fact: "A device with a wrong key is told that it is not authorized",
		expected: notAuthorized,
		play: func(ctx context.Context, on *site) (string, error) {
			return connackOf(on.connect(ctx, base64.StdEncoding.EncodeToString(make([]byte, 32)), model))
		},
	},
	{
		id: "connect.disabled", needs: aDevice, fact: "So is a device that is disabled",
		expected: notAuthorized,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.setStatus(ctx, "disabled"); err != nil {
				return "", err
			}
			seen, err := connackOf(on.connect(ctx, on.key, model))
			return seen, errors.Join(err, on.disconnect(ctx), on.setStatus(ctx, "enabled"))
		},
	},
	{
		id: "connect.model", needs: aDevice, fact: "The model that a device announces is in its twin",
		expected: "shows",
		play: func(ctx context.Context, on *site) (string, error) {
			return on.twinShows(ctx, func(d document) bool { return d.text("modelId") == model })
		},
	},
	{
		id: "connect.state", needs: aDevice, fact: "So is that it is connected",
		expected: "shows",
		play: func(ctx context.Context, on *site) (string, error) {
			return on.twinShows(ctx, func(d document) bool { return d.text("connectionState") == "Connected" })
		},
	},
	{
		id: "connect.activity", needs: aDevice, fact: "So is when it was active last",
		expected: "shows",
		play: func(ctx context.Context, on *site) (string, error) {
			return on.twinShows(ctx, func(d document) bool {
				at := d.text("lastActivityTime")
				return at != "" && !strings.HasPrefix(at, "0001-")
			})
		},
	},
	{
		id: "connect.modelless", needs: aDevice, fact: "A device that comes back without a model keeps the one that it announced before",
		expected: model,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			if err := on.connect(ctx, on.key, ""); err != nil {
				return "", err
			}
			doc, err := on.read(ctx)
			return shownText(doc.text("modelId")), errors.Join(err, on.disconnect(ctx))
		},
	},
}

// connackOf says how the hub refused a connection: the SDK passes on the words of its MQTT library.
func connackOf(err error) (string, error) {
	var refused *refusal
	switch {
	case err == nil:
		return "connected", nil
	case !errors.As(err, &refused):
		return "", err
	case strings.Contains(refused.message, "Not authorized"):
		return notAuthorized, nil
	case strings.Contains(refused.message, "Bad username or password"):
		return "CONNACK 4, bad user name or password", nil
	}
	return refused.Error(), nil
}

func shownText(s string) string {
	if s == "" {
		return "nothing"
	}
	return s
}

// twinShows waits until the twin of the connected device is as it should be.
func (s *site) twinShows(ctx context.Context, fits func(document) bool) (string, error) {
	if err := s.connected(ctx); err != nil {
		return "", err
	}
	yes, err := eventually(ctx, s.patience, func() (bool, error) {
		doc, err := s.read(ctx)
		return err == nil && fits(doc), err
	})
	if !yes {
		return "not within " + s.patience.String(), err
	}
	return "shows", nil
}

// deviceFacts are about a device that is connected. The first one empties the twin, which keeps the others cheap.
var deviceFacts = []check{
	{
		id: "notify.replace", needs: aDevice, fact: "A device is told of a replaced twin by the new keys, and null for each that went",
		expected: "all of them",
		play:     notifyReplace,
	},
	{
		id: "notify.patch", needs: aDevice, fact: "A device is told of the keys of a patch and no others, also where a value is as before",
		expected: `{"n1":1,"n2":null,"n3":{"x":1}}`,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			if _, err := on.patch(ctx, `{"n1":1,"n2":1}`); err != nil {
				return "", err
			}
			doc, err := on.patch(ctx, `{"n1":1,"n2":null,"n3":{"x":1}}`)
			if err != nil {
				return "", err
			}
			return on.notified(ctx, doc.number("properties", "desired", "$version"))
		},
	},
	{
		id: "notify.component", needs: aDevice, fact: "A device is told of a component with its marker",
		expected: `{"notified":{"__t":"c","p":1}}`,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			if err := on.prepare(ctx, `[{"op":"add","path":"/notified","value":{"p":1,"$metadata":{}}}]`); err != nil {
				return "", err
			}
			doc, err := on.read(ctx)
			if err != nil {
				return "", err
			}
			return on.notified(ctx, doc.number("properties", "desired", "$version"))
		},
	},
	{
		id: "report.answer", needs: aDevice, fact: "A report moves the version of the twin, not its etag, and is answered with its own version",
		expected: "etag +0, version +1, reported $version +1, answered 204 with it",
		play:     reportAnswer,
	},
	{
		id: "report.refused", needs: aDevice, fact: "A report that is refused is answered with the number of the error",
		expected: "400, errorCode 400004",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			e, err := on.report(ctx, `{"refused":[null]}`)
			if err != nil {
				return "", err
			}
			status, _ := topicOf(e.Topic)
			doc, _ := parseDocument([]byte(e.Payload)) // what is no JSON has no number
			return fmt.Sprintf("%s, errorCode %s", status, shown(doc.at("errorCode"))), nil
		},
	},
	{
		id: "dt.reported", needs: aDevice, fact: "replace takes a property that is reported and was never desired",
		expected: accepted,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			if _, err := on.report(ctx, `{"reportedOnly":1}`); err != nil {
				return "", err
			}
			return on.played(ctx, `[{"op":"replace","path":"/reportedOnly","value":2}]`)
		},
	},
	{
		id: "command.answer", needs: aDevice, fact: "A command's status is in a header, the body is the device's, and a component is part of the method's name",
		expected: `200, x-ms-command-statuscode 207, {"x":1}, method probe*answered`,
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			mark := on.device.events.mark()
			a, err := on.hub.ask(ctx, http.MethodPost, "/digitaltwins/"+on.id+"/components/probe/commands/answered", "null")
			if err != nil {
				return "", err
			}
			given, err := on.given(ctx, mark)
			return fmt.Sprintf("%s, x-ms-command-statuscode %s, %s, method %s", a, a.header.Get("X-Ms-Command-Statuscode"), a.body, given), err
		},
	},
	{
		id: "method.silent", needs: aDevice, fact: "A direct method that is not answered times out, and was given to the device once",
		expected: silentAnswer + ", method silent",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			mark := on.device.events.mark()
			a, err := on.method(ctx, `"methodName":"silent","responseTimeoutInSeconds":5`)
			if err != nil {
				return "", err
			}
			given, err := on.given(ctx, mark)
			return a.detailed() + ", method " + given, err
		},
	},
	{
		id: "method.waits", needs: aDevice, fact: "One that waits for its device is given to it once it connects",
		expected: "200, status 207, method answered",
		play:     methodWaits,
	},
	{
		id: "method.gone", needs: aDevice, fact: "So does one whose device goes away before it answers",
		expected: silentAnswer,
		play:     methodGone,
	},
	ending("mqtt.topic", "A topic that is none of the device's", "hubcheck/unknown", 1),
	ending("mqtt.qos2", "A message of QoS 2", "devices/{id}/messages/events/", 2),
}

// ending is that the hub ends the connection of a device that publishes something.
func ending(id, what, topic string, qos int) check {
	return check{id: id, needs: aDevice, fact: what + " ends the connection", expected: ended, play: func(ctx context.Context, on *site) (string, error) {
		if err := on.connected(ctx); err != nil {
			return "", err
		}
		mark := on.device.events.mark()
		on.meter.spend(0)
		if err := on.device.do(ctx, "publish", map[string]any{"topic": strings.ReplaceAll(topic, "{id}", on.id), "body": "{}", "qos": qos}); err != nil {
			return "", err
		}
		_, found, err := on.device.events.await(ctx, mark, min(on.patience, 20*time.Second), func(e deviceEvent) bool { return e.Event == "disconnected" })
		err = errors.Join(err, on.disconnect(ctx))
		if !found {
			return "nothing happens", err
		}
		return ended, err
	}}
}

// notified is what the device was told of a version of the desired properties.
func (s *site) notified(ctx context.Context, version int64) (string, error) {
	doc, err := s.notification(ctx, version)
	return shown(without(map[string]any(doc), "$version")), err
}

func (s *site) notification(ctx context.Context, version int64) (document, error) {
	e, err := s.received(ctx, 0, fmt.Sprintf("$iothub/twin/PATCH/properties/desired/?$version=%d", version))
	if err != nil {
		return nil, err
	}
	return parseDocument([]byte(e.Payload))
}

// given names the direct methods that the device was given since a mark, one at least: what the device tells may come after the
// hub's answer.
func (s *site) given(ctx context.Context, mark int) (string, error) {
	if _, err := s.received(ctx, mark, methodTopic); err != nil {
		return "", err
	}
	var names []string
	list, _ := s.device.events.since(mark)
	for _, e := range list {
		if rest, ok := strings.CutPrefix(e.Topic, methodTopic); ok {
			name, _, _ := strings.Cut(rest, "/")
			names = append(names, name)
		}
	}
	return strings.Join(names, " "), nil
}

// topicOf reads the status and the version of a topic $iothub/twin/res/204/?$rid=1&$version=2.
func topicOf(topic string) (status, version string) {
	status, query, _ := strings.Cut(strings.TrimPrefix(topic, "$iothub/twin/res/"), "/?")
	values, _ := url.ParseQuery(query)
	return status, values.Get("$version")
}

func notifyReplace(ctx context.Context, on *site) (string, error) {
	if err := on.connected(ctx); err != nil {
		return "", err
	}
	before, err := on.patch(ctx, `{"gone":1}`)
	if err != nil {
		return "", err
	}
	after, err := on.replace(ctx, `{"properties":{"desired":{"kept":1}}}`)
	if err != nil {
		return "", err
	}
	got, err := on.notification(ctx, after.number("properties", "desired", "$version"))
	if err != nil {
		return "", err
	}
	want := map[string]any{"kept": after.at("properties", "desired", "kept")}
	section, _ := before.at("properties", "desired").(map[string]any)
	for name := range section {
		if name != "kept" && !strings.HasPrefix(name, "$") {
			want[name] = nil
		}
	}
	if seen := shown(without(map[string]any(got), "$version")); seen != shown(want) {
		return seen, nil
	}
	return "all of them", nil
}

func reportAnswer(ctx context.Context, on *site) (string, error) {
	if err := on.connected(ctx); err != nil {
		return "", err
	}
	before, err := on.read(ctx)
	if err != nil {
		return "", err
	}
	e, err := on.report(ctx, `{"reported":1}`)
	if err != nil {
		return "", err
	}
	after, err := on.read(ctx)
	if err != nil {
		return "", err
	}
	etag := "+0"
	if before.text("etag") != after.text("etag") {
		etag = "moved"
	}
	reported := []string{"properties", "reported", "$version"}
	status, version := topicOf(e.Topic)
	with := "it"
	if version != fmt.Sprint(after.number(reported...)) {
		with = "$version " + shownText(version)
	}
	return fmt.Sprintf("etag %s, version %+d, reported $version %+d, answered %s with %s", etag, after.number("version")-before.number("version"),
		after.number(reported...)-before.number(reported...), status, with), nil
}

// outcome is what became of a direct method.
type outcome struct {
	answer answer
	err    error
}

// methodAside invokes a direct method while something else happens.
func (s *site) methodAside(ctx context.Context, body string) <-chan outcome {
	done := make(chan outcome, 1)
	go func() {
		a, err := s.method(ctx, body)
		done <- outcome{a, err}
	}()
	return done
}

func methodGone(ctx context.Context, on *site) (string, error) {
	if err := on.connected(ctx); err != nil {
		return "", err
	}
	mark := on.device.events.mark()
	done := on.methodAside(ctx, `"methodName":"silent","responseTimeoutInSeconds":5`)
	_, err := on.received(ctx, mark, methodTopic+"silent/")
	err = errors.Join(err, on.disconnect(ctx))
	o := <-done
	return o.answer.detailed(), errors.Join(err, o.err)
}

func methodWaits(ctx context.Context, on *site) (string, error) {
	if err := on.disconnect(ctx); err != nil {
		return "", err
	}
	mark := on.device.events.mark()
	done := on.methodAside(ctx, `"methodName":"answered","connectTimeoutInSeconds":30,"responseTimeoutInSeconds":40`)
	select {
	case <-time.After(time.Second): // the call is to be there first
	case <-ctx.Done():
	}
	err := on.connected(ctx)
	o := <-done
	if err = errors.Join(err, o.err); err != nil || o.answer.status != http.StatusOK {
		return o.answer.detailed(), err
	}
	given, err := on.given(ctx, mark)
	doc, _ := parseDocument(o.answer.body) // what is no JSON has no status
	return fmt.Sprintf("%s, status %s, method %s", o.answer, shown(doc.at("status")), given), err
}
