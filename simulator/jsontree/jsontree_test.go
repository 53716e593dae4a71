package jsontree

import (
	"encoding/json"
	"reflect"
	"strings"
	"testing"
)

func TestRoundTrip(t *testing.T) {
	tests := map[string]struct{ in, want string }{
		"members keep their order":          {`{"b":1,"a":2}`, `{"b":1,"a":2}`},
		"numbers are verbatim":              {`[1,1.0,1e3,-0,12345678901234567890]`, `[1,1.0,1e3,-0,12345678901234567890]`},
		"the last of equal names wins":      {`{"a":1,"b":2,"a":3}`, `{"a":3,"b":2}`},
		"white space goes":                  {" { \"a\" : [ ] } ", `{"a":[]}`},
		"scalars":                           {`true`, `true`},
		"null":                              {`null`, `null`},
		"text is escaped only where needed": {`"\u003c\u00e9\n\"\\\u2028"`, `"<é\n\"\\\u2028"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v, err := Parse([]byte(test.in))
			if err != nil {
				t.Fatal(err)
			}
			if got := string(Append(nil, v)); got != test.want {
				t.Errorf("got %s want %s", got, test.want)
			}
		})
	}
}

func TestParseRefuses(t *testing.T) {
	for name, s := range map[string]string{
		"nothing": ``, "an open object": `{"a":1`, "an open array": `[1`, "two values": `{} {}`, "garbage behind": `{}x`,
		"a name that is no text": `{1:2}`, "a comma too many": `[1,]`,
	} {
		t.Run(name, func(t *testing.T) {
			if v, err := Parse([]byte(s)); err == nil {
				t.Errorf("accepted as %v", v)
			}
		})
	}
	if _, err := ParseObject([]byte(`[]`)); err == nil {
		t.Error("an array is no object")
	}
}

func TestObjectsAreNotChangedInPlace(t *testing.T) {
	o, err := ParseObject([]byte(`{"a":1,"b":{"c":2}}`))
	if err != nil {
		t.Fatal(err)
	}
	_ = o.With("a", 9).With("z", 1)
	_ = o.Without("a")
	if got := string(Append(nil, o)); got != `{"a":1,"b":{"c":2}}` {
		t.Errorf("got %s", got)
	}
	if c, ok := o.Object("b").Get("c"); !ok || c != json.Number("2") || o.Object("a") != nil {
		t.Errorf("got %v", c)
	}
}

func TestAppendPanicsOnForeignTypes(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("no panic")
		}
	}()
	Append(nil, 1.5)
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{`{"b":1,"a":[true,null,"\u2028<"]}`, `-1.5e3`, `{"a":{"a":{}}}`, `"` + "\xff" + `"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		v, err := Parse([]byte(s))
		if (err == nil) != json.Valid([]byte(s)) && strings.TrimSpace(s) != "" && len(s) < 10000 {
			t.Fatalf("%q: %v, encoding/json says %v", s, err, json.Valid([]byte(s)))
		}
		if err != nil {
			return
		}
		again, err := Parse(Append(nil, v))
		if err != nil || !reflect.DeepEqual(v, again) {
			t.Fatalf("%q came back as %v, %v", s, again, err)
		}
	})
}
