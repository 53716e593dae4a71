package main

import (
	"context"
	"fmt"
	"net/http"
	"strings"
)

const (
	badDigitalTwinPatch = "400 InvalidDigitalTwinPatch"
	accepted            = "202"
)

// digitalTwinFacts are about the digital twin, and what its patches make of the device twin. The first one begins with an empty
// twin: a property of before that no digital twin holds would have all patches refused.
var digitalTwinFacts = []check{
	{
		id: "dt.etag", fact: "The ETag of a digital twin is that of the device twin",
		expected: "the device twin's",
		play: func(ctx context.Context, on *site) (string, error) {
			doc, err := on.replace(ctx, emptyTwin)
			if err != nil {
				return "", err
			}
			a, err := on.hub.ask(ctx, http.MethodGet, "/digitaltwins/"+on.id, "")
			if err == nil && a.status != http.StatusOK {
				return "", on.refused("reading the digital twin", a, err)
			}
			if etag := strings.Trim(a.header.Get("ETag"), `"`); err != nil || etag != doc.text("etag") {
				return fmt.Sprintf("%s instead of %s", etag, doc.text("etag")), err
			}
			return "the device twin's", nil
		},
	},
	{
		id: "dt.stale", fact: "An etag that is not the newest has a write refused, in either dialect",
		expected: "device twin: 412 PreconditionFailed, digital twin: 412 PreconditionFailed",
		play: func(ctx context.Context, on *site) (string, error) {
			old, err := on.patch(ctx, `{"stale":1}`)
			if err != nil {
				return "", err
			}
			if _, err := on.patch(ctx, `{"stale":2}`); err != nil {
				return "", err
			}
			etag := []string{"If-Match", `"` + old.text("etag") + `"`}
			device, err := on.hub.ask(ctx, http.MethodPatch, "/twins/"+on.id, `{"properties":{"desired":{"stale":3}}}`, etag...)
			if err != nil {
				return "", err
			}
			digital, err := on.hub.ask(ctx, http.MethodPatch, "/digitaltwins/"+on.id, `[{"op":"add","path":"/stale","value":3}]`, etag...)
			return fmt.Sprintf("device twin: %s, digital twin: %s", device, digital), err
		},
	},
	{
		id: "dt.location", fact: "A patch is answered with the Location of the digital twin",
		expected: "202, https://{hub}/digitaltwins/{id}?api-version=" + apiVersion,
		play: func(ctx context.Context, on *site) (string, error) {
			a, err := on.patchDT(ctx, `[{"op":"add","path":"/located","value":1}]`)
			where := strings.NewReplacer(on.hub.hostName, "{hub}", on.id, "{id}").Replace(a.header.Get("Location"))
			return a.String() + ", " + where, err
		},
	},
	digitalTwinPatch("dt.replace.missing", "replace of a property that is nowhere fails", `[{"op":"replace","path":"/absent1","value":1}]`, badDigitalTwinPatch),
	digitalTwinPatch("dt.remove.missing", "remove of a property that is nowhere fails", `[{"op":"remove","path":"/absent2"}]`, badDigitalTwinPatch),
	digitalTwinPatch("dt.below.missing", "add of a property fails below a component that is nowhere",
		`[{"op":"add","path":"/absent3/a","value":1}]`, badDigitalTwinPatch),
	digitalTwinPatch("dt.component.missing", "replace of a component that is nowhere fails",
		`[{"op":"replace","path":"/absent4","value":{"a":1,"$metadata":{}}}]`, badDigitalTwinPatch),
	digitalTwinPatch("dt.accumulated", "One patch may add, replace and remove one path",
		`[{"op":"add","path":"/one","value":1},{"op":"replace","path":"/one","value":2},{"op":"remove","path":"/one"}]`, accepted),
	digitalTwinPatch("dt.array", "An array is a bad payload", `[{"op":"add","path":"/list","value":[1]}]`, "400 InvalidDigitalTwinPayload"),
	digitalTwinPatch("dt.name", "A name that DTDL does not allow is a bad path", `[{"op":"add","path":"/1a","value":1}]`, "400 InvalidDigitalTwinPatchPath"),
	digitalTwinPatch("dt.empty", "A patch without operations is none", `[]`, "400 InvalidDigitalTwinJsonPatch"),
	{
		id: "dt.unanswered", fact: "A desired value that no device answered has no value, but metadata",
		expected: "value nothing, desiredValue 5, desiredVersion that of the write",
		play:     unanswered,
	},
	{
		id: "dt.object", fact: "An object without $metadata is a property, no component",
		expected: `{"a":1}`,
		play: func(ctx context.Context, on *site) (string, error) {
			return desiredAfter(ctx, on, "plain", `[{"op":"add","path":"/plain","value":{"a":1}}]`)
		},
	},
	{
		id: "dt.component.clears", fact: "add of a component clears what it does not name",
		expected: `{"__t":"c","a":3}`,
		play: func(ctx context.Context, on *site) (string, error) {
			return desiredAfter(ctx, on, "clears",
				`[{"op":"add","path":"/clears","value":{"a":1,"b":2,"$metadata":{}}}]`, `[{"op":"add","path":"/clears","value":{"a":3,"$metadata":{}}}]`)
		},
	},
	{
		id: "dt.component.last", fact: "A component goes with its last property",
		expected: "nothing",
		play: func(ctx context.Context, on *site) (string, error) {
			return desiredAfter(ctx, on, "last", `[{"op":"add","path":"/last","value":{"a":1,"$metadata":{}}}]`, `[{"op":"remove","path":"/last/a"}]`)
		},
	},
	{
		id: "dt.foreign", fact: "One property that DTDL does not allow has every patch refused",
		expected: badArgument,
		play: func(ctx context.Context, on *site) (string, error) {
			if _, err := on.patch(ctx, `{"bad-name":1}`); err != nil {
				return "", err
			}
			seen, err := on.played(ctx, `[{"op":"add","path":"/fine","value":1}]`)
			if err != nil {
				return "", err
			}
			_, err = on.patch(ctx, `{"bad-name":null}`)
			return seen, err
		},
	},
}

// digitalTwinPatch is what the hub answers to a patch.
func digitalTwinPatch(id, fact, operations, expected string) check {
	return check{id: id, fact: fact, expected: expected, play: func(ctx context.Context, on *site) (string, error) {
		seen, err := on.played(ctx, operations)
		if err == nil && seen != expected {
			on.empty(ctx) // whatever it wrote would be in the way of the next patch
		}
		return seen, err
	}}
}

// desiredAfter is a desired property after patches of the digital twin.
func desiredAfter(ctx context.Context, on *site, name string, patches ...string) (string, error) {
	for _, p := range patches {
		if err := on.prepare(ctx, p); err != nil {
			return "", err
		}
	}
	doc, err := on.read(ctx)
	return shown(doc.at("properties", "desired", name)), err
}

func unanswered(ctx context.Context, on *site) (string, error) {
	if err := on.prepare(ctx, `[{"op":"add","path":"/unanswered","value":5}]`); err != nil {
		return "", err
	}
	written, err := on.read(ctx)
	if err != nil {
		return "", err
	}
	a, err := on.hub.ask(ctx, http.MethodGet, "/digitaltwins/"+on.id, "")
	if err != nil {
		return "", err
	}
	doc, err := parseDocument(a.body)
	version := "that of the write"
	if got, want := doc.number("$metadata", "unanswered", "desiredVersion"), written.number("properties", "desired", "$version"); got != want {
		version = fmt.Sprintf("%d instead of %d", got, want)
	}
	return fmt.Sprintf("value %s, desiredValue %s, desiredVersion %s",
		shown(doc.at("unanswered")), shown(doc.at("$metadata", "unanswered", "desiredValue")), version), err
}
