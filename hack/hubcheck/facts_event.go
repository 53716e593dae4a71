package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/eventstream"
)

// eventFacts are about what the hub announces of the device. One of a source that has no route is not played.
var eventFacts = []check{
	{
		id: "event.created", needs: someEvents, fact: "A new device is announced with its twin",
		expected: "createDeviceIdentity: deviceId etag properties version",
		play: func(ctx context.Context, on *site) (string, error) {
			a, err := on.announced(ctx, 0, lifecycle, on.patience, func(announcement) bool { return true })
			return a.members(), err
		},
	},
	{
		id: "event.patch", needs: someEvents, fact: "A write is announced with its keys and no others, and with their metadata",
		expected: `updateTwin: {"e1":1}, metadata of e1`,
		play: func(ctx context.Context, on *site) (string, error) {
			a, _, err := on.write(ctx, "e1")
			return fmt.Sprintf("%v: %s, metadata of %s", a.Properties["opType"], shown(without(a.body.at("properties", "desired"), "$metadata", "$version")),
				strings.Join(keysOf(without(a.body.at("properties", "desired", "$metadata"), "$lastUpdated", "$lastUpdatedVersion")), " ")), err
		},
	},
	{
		id: "event.tags", needs: someEvents, fact: "A change of tags is announced with the tags that were written, and nothing of the properties",
		expected: `updateTwin: {"e0":{"line":7}}`,
		play: func(ctx context.Context, on *site) (string, error) {
			mark := on.events.events.mark()
			a, err := on.hub.ask(ctx, http.MethodPatch, "/twins/"+on.id, `{"tags":{"e0":{"line":7}}}`)
			if err != nil || a.status != http.StatusOK {
				return "", on.refused("writing a tag", a, err)
			}
			e, err := on.announced(ctx, mark, twinChanges, on.patience, func(a announcement) bool { return a.body.has("tags", "e0") })
			seen := fmt.Sprintf("%v: %s", e.Properties["opType"], shown(e.body.at("tags")))
			if e.body.has("properties") {
				seen += ", properties " + shown(e.body.at("properties"))
			}
			return seen, err
		},
	},
	{
		id: "event.same", needs: someEvents, fact: "So is a write of a value that is there already",
		expected: "announced",
		play: func(ctx context.Context, on *site) (string, error) {
			if _, _, err := on.write(ctx, "e2"); err != nil {
				return "", err
			}
			mark := on.events.events.mark()
			if _, err := on.patch(ctx, `{"e2":1}`); err != nil {
				return "", err
			}
			_, found, err := on.events.events.await(ctx, mark, on.patience, wrote("e2"))
			if !found {
				return "not within " + on.patience.String(), err
			}
			return "announced", nil
		},
	},
	{
		id: "event.version", needs: someEvents, fact: "The event has the version of the twin that the write was answered with",
		expected: "the same",
		play: func(ctx context.Context, on *site) (string, error) {
			a, doc, err := on.write(ctx, "e3")
			if got, want := a.body.number("version"), doc.number("version"); got != want {
				return fmt.Sprintf("%d instead of %d", got, want), err
			}
			return "the same", err
		},
	},
	{
		id: "event.time", needs: someEvents, fact: "The time of an event is that of the write in the twin",
		expected: "the same",
		play: func(ctx context.Context, on *site) (string, error) {
			a, doc, err := on.write(ctx, "e4")
			if err != nil {
				return "", err
			}
			text, _ := a.Properties["operationTimestamp"].(string)
			event, err := time.Parse(time.RFC3339Nano, text)
			if err != nil {
				return "operationTimestamp " + text, nil
			}
			written, err := time.Parse(time.RFC3339Nano, doc.text("properties", "desired", "$metadata", "e4", "$lastUpdated"))
			if d := event.Sub(written); d != 0 {
				return d.String() + " later", err
			}
			return "the same", err
		},
	},
	{
		id: "event.replace", needs: someEvents, fact: "A replaced twin is announced whole",
		expected: "replaceTwin: deviceId etag properties tags version",
		play: func(ctx context.Context, on *site) (string, error) {
			mark := on.events.events.mark()
			if _, err := on.replace(ctx, `{"tags":{"hubcheck":true},"properties":{"desired":{"e5":1}}}`); err != nil {
				return "", err
			}
			a, err := on.announced(ctx, mark, twinChanges, on.patience, wrote("e5"))
			return a.members(), err
		},
	},
	{
		id: "event.order", needs: someEvents, fact: "Events of a device are in one partition, in the order of its writes",
		expected: "one partition, rising versions",
		play:     eventOrder,
	},
	{
		id: "event.digitaltwin", needs: someEvents, fact: "A desired value is announced as metadata of the digital twin",
		expected: `add /$metadata/e7 {"desiredValue":1,"desiredVersion":{version}}`,
		play:     eventDigitalTwin,
	},
	{
		id: "event.connected", needs: aDevice | someEvents, fact: "A device that connects is announced with a number that can be compared as text",
		expected: "deviceConnected, sequenceNumber of hex digits",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.disconnect(ctx); err != nil {
				return "", err
			}
			mark := on.events.events.mark()
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			a, err := on.announced(ctx, mark, connectionState, 2*on.patience, func(a announcement) bool { return a.Properties["opType"] == "deviceConnected" })
			number := a.body.text("sequenceNumber")
			if hexDigits.MatchString(number) {
				number = "of hex digits"
			}
			return fmt.Sprintf("%v, sequenceNumber %s", a.Properties["opType"], number), err
		},
	},
	{
		id: "event.telemetry", needs: aDevice | someEvents, fact: "Telemetry has its component, the device's model and how the device proved itself",
		expected: "dt-subject probe, dt-dataschema " + model + ", sas",
		play: func(ctx context.Context, on *site) (string, error) {
			if err := on.connected(ctx); err != nil {
				return "", err
			}
			mark := on.events.events.mark()
			on.meter.spend(0)
			if err := on.device.do(ctx, "telemetry", map[string]any{"component": "probe", "body": map[string]any{"t": 1}}); err != nil {
				return "", err
			}
			a, err := on.announced(ctx, mark, telemetry, on.patience, func(announcement) bool { return true })
			var method struct{ Type string }
			text, _ := a.Annotations["iothub-connection-auth-method"].(string)
			_ = json.Unmarshal([]byte(text), &method) // what is no JSON has no type
			return fmt.Sprintf("dt-subject %v, dt-dataschema %v, %s", a.Annotations["dt-subject"], a.Annotations["dt-dataschema"], method.Type), err
		},
	},
	{
		id: "event.decoded", needs: someEvents, fact: "The operator decodes every event of the device",
		expected: "all of them",
		play: func(_ context.Context, on *site) (string, error) {
			list, _ := on.events.events.since(0)
			if len(list) == 0 {
				return "", skipf("there was none")
			}
			for _, a := range list {
				e, err := eventstream.Decode(a.Message)
				switch {
				case err != nil:
					return a.source + ": " + err.Error(), nil
				case e.Kind == eventstream.Unknown:
					return fmt.Sprintf("%s: unknown: schema %v, operation %v", a.source, a.Properties["iothub-message-schema"], a.Properties["opType"]), nil
				}
			}
			return "all of them", nil
		},
	},
}

var hexDigits = regexp.MustCompile(`^[0-9A-F]+$`)

// members are the operation of an event and the names in its body.
func (a announcement) members() string {
	return fmt.Sprintf("%v: %s", a.Properties["opType"], strings.Join(keysOf(map[string]any(a.body)), " "))
}

func keysOf(v any) []string {
	o, _ := v.(map[string]any)
	return slices.Sorted(maps.Keys(o))
}

// write sets a desired property of its own and returns the event of that, and the twin after it.
func (s *site) write(ctx context.Context, key string) (announcement, document, error) {
	mark := s.events.events.mark()
	doc, err := s.patch(ctx, `{"`+key+`":1}`)
	if err != nil {
		return announcement{}, nil, err
	}
	a, err := s.announced(ctx, mark, twinChanges, s.patience, wrote(key))
	return a, doc, err
}

func eventOrder(ctx context.Context, on *site) (string, error) {
	const writes = 5
	mark := on.events.events.mark()
	for i := range writes {
		if _, err := on.patch(ctx, fmt.Sprintf(`{"e6":%d}`, i)); err != nil {
			return "", err
		}
	}
	if _, err := on.announced(ctx, mark, twinChanges, on.patience, func(a announcement) bool {
		return shown(a.body.at("properties", "desired", "e6")) == fmt.Sprint(writes-1)
	}); err != nil {
		return "", err
	}
	list, _ := on.events.events.since(mark)
	partitions := map[string]any{}
	var last int64
	order := "rising versions"
	for _, a := range list {
		if a.source != twinChanges {
			continue
		}
		partitions[a.Partition] = true
		if v := a.body.number("version"); v <= last {
			order = fmt.Sprintf("version %d after %d", v, last)
		} else {
			last = v
		}
	}
	if len(partitions) > 1 {
		return fmt.Sprintf("partitions %s, %s", strings.Join(keysOf(partitions), " "), order), nil
	}
	return "one partition, " + order, nil
}

func eventDigitalTwin(ctx context.Context, on *site) (string, error) {
	mark := on.events.events.mark()
	doc, err := on.patch(ctx, `{"e7":1}`)
	if err != nil {
		return "", err
	}
	a, err := on.announced(ctx, mark, digitalTwinChanges, on.patience, func(a announcement) bool { return strings.Contains(string(a.Body), "/e7") })
	if err != nil {
		return "", err
	}
	var operations []struct {
		Op, Path string
		Value    json.RawMessage
	}
	_ = json.Unmarshal(a.Body, &operations) // what is no JSON Patch shows as it is
	if len(operations) == 0 {
		return string(a.Body), nil
	}
	var seen []string
	for _, o := range operations {
		value := strings.ReplaceAll(string(o.Value), `"desiredVersion":`+fmt.Sprint(doc.number("properties", "desired", "$version")), `"desiredVersion":{version}`)
		seen = append(seen, o.Op+" "+o.Path+" "+value)
	}
	return strings.Join(seen, ", "), nil
}

// configurationFacts are about automatic device management, which writes twins beside whoever else does.
var configurationFacts = []check{
	{
		id: "configuration.stamps", needs: aConfiguration, fact: "What a configuration wrote has its name, and a digest like 18 digits",
		expected: "$lastUpdatedBy its id, $lastUpdatedByDigest 18 digits",
		play: func(ctx context.Context, on *site) (string, error) {
			doc, err := on.configurationHolds(ctx)
			if err != nil {
				return "", err
			}
			by, digest := doc.text(configuredStamp("$lastUpdatedBy")...), doc.text(configuredStamp("$lastUpdatedByDigest")...)
			if by == on.id {
				by = "its id"
			}
			if digits.MatchString(digest) {
				digest = "18 digits"
			}
			return fmt.Sprintf("$lastUpdatedBy %s, $lastUpdatedByDigest %s", shownText(by), shownText(digest)), nil
		},
	},
	{
		id: "configuration.event", needs: aConfiguration | someEvents, fact: "What a configuration wrote is announced, and nothing else of the twin",
		expected: `{"configured":{"a":1}}`,
		play: func(ctx context.Context, on *site) (string, error) {
			if _, err := on.configurationHolds(ctx); err != nil {
				return "", err
			}
			a, err := on.announced(ctx, 0, twinChanges, on.patience, wrote("configured"))
			return shown(without(a.body.at("properties", "desired"), "$metadata", "$version")), err
		},
	},
	{
		id: "configuration.drift", needs: aConfiguration, fact: "A configuration puts back what somebody else has changed",
		expected: "put back",
		play: func(ctx context.Context, on *site) (string, error) {
			if _, err := on.configurationHolds(ctx); err != nil {
				return "", err
			}
			if _, err := on.patch(ctx, `{"configured":{"a":2}}`); err != nil {
				return "", err
			}
			began := time.Now()
			yes, err := on.configurationShows(ctx)
			if !yes {
				return "not within " + on.configuration.String(), err
			}
			on.remark = "after " + time.Since(began).Round(time.Second).String()
			return "put back", nil
		},
	},
}

var digits = regexp.MustCompile(`^[0-9]{18}$`)

func configuredStamp(name string) []string {
	return []string{"properties", "desired", "$metadata", "configured", "a", name}
}

// configurationHolds has the configuration made and waits until it has written the twin, which has something else, too.
func (s *site) configurationHolds(ctx context.Context) (document, error) {
	if !s.configured {
		if _, err := s.replace(ctx, `{"properties":{"desired":{"other":1}}}`); err != nil { // a small twin is cheap to watch
			return nil, err
		}
		s.configured = true // also if the answer is lost
		body := fmt.Sprintf(`{"id":%q,"content":{"deviceContent":{"properties.desired.configured":{"a":1}}},"targetCondition":"deviceId='%s'","priority":1}`, s.id, s.id)
		a, err := s.hub.ask(ctx, http.MethodPut, "/configurations/"+s.id, body)
		if err != nil || a.status != http.StatusOK {
			return nil, s.refused("making a configuration", a, err)
		}
	}
	if yes, err := s.configurationShows(ctx); !yes {
		if err == nil {
			err = skipf("the configuration has not written the twin within %s", s.configuration)
		}
		return nil, err
	}
	return s.read(ctx)
}

// configurationShows waits until the twin holds what the configuration says.
func (s *site) configurationShows(ctx context.Context) (bool, error) {
	return eventually(ctx, s.configuration, func() (bool, error) {
		doc, err := s.read(ctx)
		return shown(doc.at("properties", "desired", "configured", "a")) == "1", err
	})
}
