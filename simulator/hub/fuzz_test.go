package hub

import (
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/simulator/jsontree"
)

// Whatever a client sends, the hub refuses it or keeps the invariant, and what it holds is JSON.
func FuzzWrites(f *testing.F) {
	for _, s := range []string{
		`{"tags":{"a":[1,{"b":null}]},"properties":{"desired":{"c":{"__t":"c","p":1}}}}`, `{"properties":{"desired":{"a":{"b":{}}}}}`,
		`[{"op":"add","path":"/c","value":{"$metadata":{},"p":1}},{"op":"remove","path":"/c/p"}]`, `[{"op":"replace","path":"/p","value":{"a":1}}]`, `{}`, `[]`,
	} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		h := New(func() time.Time { return time.Unix(1700000000, 0) }, 1)
		must(t, h.CreateDevice("dev1", WithDesired(`{"p":1,"c":{"__t":"c","q":1}}`), WithReported(`{"c":{"__t":"c","r":1}}`)))
		if o, err := jsontree.ParseObject(body); err == nil {
			_, _ = h.PatchTwin("dev1", o, "")
			_, _ = h.Report("dev1", o)
			_, _ = h.ReplaceTwin("dev1", o, "")
			_, _ = h.PutIdentity("dev1", o.With("deviceId", "dev1"), "*")
		}
		_, _ = h.PatchDigitalTwin("dev1", body, "")
		twin := state(t, h, "dev1")
		if twin.Version() != twin.ETagCounter()+twin.ReportedVersion() {
			t.Fatalf("version %d, etag %d, reported %d", twin.Version(), twin.ETagCounter(), twin.ReportedVersion())
		}
		for _, o := range []jsontree.Object{twin.Document(), twin.DigitalTwin(), twin.Identity.Document()} {
			if _, err := jsontree.Parse(jsontree.Append(nil, o)); err != nil {
				t.Fatal(err)
			}
		}
	})
}
