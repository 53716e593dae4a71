package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/iothub"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	badArgument   = "400 ArgumentInvalid"
	withinAMinute = "within a minute of this machine's"
)

// twinFacts are about the device twin, as the service API reads and writes it.
var twinFacts = []check{
	{
		id: "clock", fact: "A write is stamped by a clock like ours",
		expected: withinAMinute,
		play: func(ctx context.Context, on *site) (string, error) {
			before := time.Now()
			doc, err := on.patch(ctx, `{"clock":1}`)
			if err != nil {
				return "", err
			}
			at, err := time.Parse(time.RFC3339Nano, doc.text("properties", "desired", "$metadata", "$lastUpdated"))
			return clockSeen(at.Sub(before.Add(time.Since(before) / 2))), err
		},
	},
	{
		id: "client.reads", fact: "The operator's own client reads both twins and a query's rows",
		expected: "both, with one etag; rows: 1",
		play:     clientReads,
	},
	{
		id: "twin.header", fact: "A device twin comes without an ETag header",
		expected: "no ETag",
		play: func(ctx context.Context, on *site) (string, error) {
			a, err := on.hub.ask(ctx, http.MethodGet, "/twins/"+on.id, "")
			if err != nil || a.status != http.StatusOK {
				return "", on.refused("reading the twin", a, err)
			}
			if a.header.Get("ETag") == "" {
				return "no ETag", nil
			}
			return "ETag " + a.header.Get("ETag"), nil
		},
	},
	{
		id: "twin.same", fact: "A value that is there already counts as written",
		expected: "moved: etag version $version $lastUpdatedVersion",
		play: func(ctx context.Context, on *site) (string, error) {
			before, err := on.patch(ctx, `{"same":1}`)
			if err != nil {
				return "", err
			}
			after, err := on.patch(ctx, `{"same":1}`)
			desired := []string{"properties", "desired"}
			return moved(before, after, []path{
				{"etag", []string{"etag"}}, {"version", []string{"version"}}, {"$version", append(desired, "$version")},
				{"$lastUpdatedVersion", []string{"properties", "desired", "$metadata", "same", "$lastUpdatedVersion"}},
			}), err
		},
	},
	{
		id: "twin.stamps", fact: "A patch stamps what it names and what is above it, and no sibling",
		expected: "moved: leaf object section",
		play: func(ctx context.Context, on *site) (string, error) {
			before, err := on.patch(ctx, `{"stamps":{"a":1,"b":1}}`)
			if err != nil {
				return "", err
			}
			after, err := on.patch(ctx, `{"stamps":{"a":2}}`)
			stamp := func(of ...string) []string {
				return append(append([]string{"properties", "desired", "$metadata"}, of...), "$lastUpdatedVersion")
			}
			return moved(before, after, []path{
				{"leaf", stamp("stamps", "a")}, {"object", stamp("stamps")}, {"section", stamp()}, {"sibling", stamp("stamps", "b")},
			}), err
		},
	},
	{
		id: "twin.emptied", fact: "An object stays when its last key is removed",
		expected: "{}",
		play: func(ctx context.Context, on *site) (string, error) {
			if _, err := on.patch(ctx, `{"emptied":{"a":1}}`); err != nil {
				return "", err
			}
			doc, err := on.patch(ctx, `{"emptied":{"a":null}}`)
			return shown(doc.at("properties", "desired", "emptied")), err
		},
	},
	{
		id: "twin.retyped", fact: "A scalar that becomes an object has metadata for the keys inside",
		expected: "has metadata",
		play: func(ctx context.Context, on *site) (string, error) {
			if _, err := on.patch(ctx, `{"retyped":1}`); err != nil {
				return "", err
			}
			doc, err := on.patch(ctx, `{"retyped":{"inner":1}}`)
			if !doc.has("properties", "desired", "$metadata", "retyped", "inner") {
				return "has none", err
			}
			return "has metadata", err
		},
	},
	{
		id: "twin.depth", fact: "Ten objects may be inside each other, and a scalar in the tenth",
		expected: "10: 200, 11: " + badArgument,
		play: func(ctx context.Context, on *site) (string, error) {
			ten, err := on.tryPatch(ctx, `{"deep":`+nested(10)+`}`)
			if err != nil {
				return "", err
			}
			eleven, err := on.tryPatch(ctx, `{"deep":`+nested(11)+`}`)
			if err != nil {
				return "", err
			}
			_, err = on.patch(ctx, `{"deep":null}`) // no digital twin holds that
			return fmt.Sprintf("10: %s, 11: %s", ten, eleven), err
		},
	},
	{
		id: "twin.integer", fact: "Integers have 53 bits with their sign",
		expected: "4503599627370495: 200, 4503599627370496: " + badArgument,
		play: func(ctx context.Context, on *site) (string, error) {
			most, err := on.tryPatch(ctx, `{"integer":4503599627370495}`)
			if err != nil {
				return "", err
			}
			over, err := on.tryPatch(ctx, `{"integer":4503599627370496}`)
			return fmt.Sprintf("4503599627370495: %s, 4503599627370496: %s", most, over), err
		},
	},
	refusedPatch("twin.key", "A key has no dot", `{"a.b":1}`),
	refusedPatch("twin.null", "An array has no null", `{"list":[1,null]}`),
	{
		id: "twin.size", fact: "Tags of more than 8 KB are refused like any other wrong value",
		expected: badArgument,
		play: func(ctx context.Context, on *site) (string, error) {
			part := strings.Repeat("x", 3000)
			a, err := on.hub.ask(ctx, http.MethodPatch, "/twins/"+on.id, fmt.Sprintf(`{"tags":{"a":%q,"b":%q,"c":%q}}`, part, part, part))
			return a.String(), err
		},
	},
}

// refusedPatch is that the hub takes some desired properties for invalid.
func refusedPatch(id, fact, desired string) check {
	return check{id: id, fact: fact, expected: badArgument, play: func(ctx context.Context, on *site) (string, error) {
		a, err := on.tryPatch(ctx, desired)
		if err == nil && a.status == http.StatusOK {
			on.empty(ctx) // no digital twin holds that
		}
		return a.String(), err
	}}
}

// clockSeen is how far the hub's clock is ahead.
func clockSeen(ahead time.Duration) string {
	switch {
	case ahead.Abs() <= time.Minute:
		return withinAMinute
	case ahead < 0:
		return ahead.Abs().Round(time.Second).String() + " behind this machine's"
	}
	return ahead.Round(time.Second).String() + " ahead of this machine's"
}

// path of a document under a short name.
type path struct {
	name string
	of   []string
}

// moved names what differs between two documents.
func moved(before, after document, paths []path) string {
	names := []string{"moved:"}
	for _, p := range paths {
		if shown(before.at(p.of...)) != shown(after.at(p.of...)) {
			names = append(names, p.name)
		}
	}
	return strings.Join(names, " ")
}

// nested is so many objects inside each other, with a number in the last.
func nested(levels int) string {
	return strings.Repeat(`{"o":`, levels) + "1" + strings.Repeat("}", levels)
}

// clientReads has the operator's client read this hub: what it cannot read, it would not manage.
func clientReads(ctx context.Context, on *site) (string, error) {
	_, parsed, err := on.hubString()
	if err != nil {
		return "", err
	}
	bundle, err := on.bundle()
	if err != nil {
		return "", err
	}
	client, err := iothub.New(iothub.Options{
		HostName: parsed.HostName, Endpoint: on.endpoint, CABundle: bundle, ConnectionString: parsed, Gate: metered{on.meter},
		AllowedHostSuffixes: []string{parsed.HostName, "localhost:*", "127.0.0.1:*"},
	})
	if err != nil {
		return "", err
	}
	defer client.Close()
	if err := on.inIndex(ctx); err != nil {
		return "", err
	}
	var twins [2]*twin.Twin
	if twins[0], err = client.GetTwin(ctx, on.id); err != nil {
		return "device twin: " + err.Error(), nil
	}
	if twins[1], err = client.GetDigitalTwin(ctx, on.id); err != nil {
		return "digital twin: " + err.Error(), nil
	}
	page, err := client.Query(ctx, iothub.Query{SQL: "SELECT deviceId, version FROM devices WHERE deviceId IN ['" + on.id + "']"})
	if err != nil {
		return "query: " + err.Error(), nil
	}
	if twins[0].ETag != twins[1].ETag {
		return fmt.Sprintf("both, with etags %s and %s", twins[0].ETag, twins[1].ETag), nil
	}
	return fmt.Sprintf("both, with one etag; rows: %d", len(page.Items)), nil
}

// metered counts what the operator's client reads.
type metered struct{ *meter }

func (m metered) Enter(_ context.Context, _ iothub.Operation, bytes int) error { return m.room(bytes) }

func (m metered) Leave(_ context.Context, _ iothub.Operation, e iothub.Exchange) { m.spend(e.Answered) }
