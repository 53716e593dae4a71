package twin_test

import (
	"bytes"
	"encoding/json"
	"io"
	"reflect"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/twin"
)

func FuzzDecodeValue(f *testing.F) {
	for _, seed := range []string{`null`, `{"b":[1,2.0,-0,4.2e1,9007199254740993],"a":"<Ж\u0000\ud800>"}`, `1e999`, ` [] `, `1 2`, `{"a":1,"a":2}`, `-1.50e+3`, `12x`, `"\ud800\u00e9"`, "\"\xff\"", `"a" `, `"a" "b"`, `-`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		v, err := twin.DecodeValue(raw)
		if plain, ok := plainly(raw); ok != (err == nil) || ok && !reflect.DeepEqual(v, plain) {
			t.Fatalf("%q became %v, %v; a decoder makes %v, %v of it", raw, v, err, plain, ok)
		}
		if err != nil {
			return
		}
		again, err := twin.DecodeValue(twin.EncodeValue(v))
		if err != nil {
			t.Fatalf("encoded value does not decode: %v", err)
		}
		if !reflect.DeepEqual(v, again) { // cmp.Diff takes exponential time on deep arrays
			t.Fatalf("%s came back as %s", raw, twin.EncodeValue(again))
		}
		if !twin.Equal(v, again) || !twin.EqualReported(v, again) {
			t.Fatalf("%s does not equal itself", raw)
		}
	})
}

// plainly decodes one value without short cuts.
func plainly(raw []byte) (v any, ok bool) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	if dec.Decode(&v) != nil {
		return nil, false
	}
	_, err := dec.Token()
	return v, err == io.EOF
}

func FuzzParseDeviceTwin(f *testing.F) {
	f.Add([]byte(freshTwin))
	f.Add([]byte(`{"deviceId":"d","properties":{"desired":{"t1":{"__t":"c","a":{"b":1}},"$version":4,"$metadata":{"t1":{"a":[{"$lastUpdatedVersion":3}]}}},` +
		`"reported":{"t1":{"a":{"value":1,"ac":200,"av":3}},"x":null,"":{"__t":"c"}}}}`))
	f.Add([]byte(`{"deviceId":"d","version":1.5}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		tw, err := twin.ParseDeviceTwin(body)
		checkParsed(t, tw, err)
	})
}

func FuzzParseDigitalTwin(f *testing.F) {
	f.Add([]byte(`{"$dtId":"d","a":1,"t1":{"a":{"b":1},"$metadata":{"a":{"desiredValue":{"b":1},"desiredVersion":4,"ackVersion":4,"ackCode":200}}},"$metadata":{"$model":"m"}}`), `"AAAAAAAAAAE="`)
	f.Add([]byte(`{"$dtId":"d","$metadata":{"a":{"desiredValue":[],"desiredVersion":4},"b":3}}`), `W/"`)
	f.Fuzz(func(t *testing.T, body []byte, etag string) {
		tw, err := twin.ParseDigitalTwin(body, etag)
		checkParsed(t, tw, err)
	})
}

// checkParsed takes a twin that a hub might send through everything else: nothing panics, what is parsed holds together, and
// whoever declares just what the hub holds has nothing to write.
func checkParsed(t *testing.T, tw *twin.Twin, err error) {
	t.Helper()
	if err != nil {
		if tw != nil || len(err.Error()) > 500 {
			t.Fatalf("twin %v, error of %d bytes", tw, len(err.Error()))
		}
		return
	}
	d := twin.Declaration{}
	for leaf, p := range tw.Properties {
		if p.Desired == nil && p.Reported == nil {
			t.Fatalf("%s is neither desired nor reported", leaf)
		}
		if leaf.Component != "" && !tw.Components[leaf.Component] {
			t.Fatalf("%s is in no known component", leaf)
		}
		if p.Desired != nil {
			d[leaf] = p.Desired.Value
			twin.Judge(p.Desired.Value, p, p.Desired.Version, tw.AckLimit())
		}
	}
	owned := twin.Ownership{}.After(tw, nil, d, true)
	if changes := twin.Diff(d, owned, tw); len(changes) > 0 {
		t.Fatalf("declared as held, and yet to write: %v", changes)
	}
	removals, _ := twin.Read{Twin: tw}.Depart(owned, nil)
	if len(removals) != len(d) {
		t.Fatalf("%d removals of %d leaves", len(removals), len(d))
	}
	for _, render := range []func([]twin.Change, *twin.Twin) ([]byte, error){twin.RenderDeviceTwin, twin.RenderDigitalTwin} {
		patch, err := render(removals, tw)
		if err != nil {
			t.Fatalf("render removals: %v", err)
		}
		if _, err := twin.DecodeValue(patch); err != nil {
			t.Fatalf("patch is no JSON: %v", err)
		}
	}
	twin.NonConformant(tw)
	twin.Validate(d, twin.DigitalTwin)
	for leaf, p := range tw.Apply(removals, "", 1).Properties {
		if p.Desired != nil {
			t.Fatalf("%s is still desired", leaf)
		}
	}
}
