package models

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

const (
	valveID = "dtmi:com:example:Valve;1"
	pumpID  = "dtmi:com:example:Pump;1"

	valveDTDL = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:Valve;1","@type":"Interface","contents":[
		{"@type":"Property","name":"opening","writable":true,"schema":"integer"},
		{"@type":"Property","name":"turns","schema":"integer"},
		{"@type":"Telemetry","name":"flow","schema":"double"},
		{"@type":"Command","name":"close"},
		{"@type":"Command","name":"turn","request":{"name":"by","schema":"integer"}}]}`
	pumpDTDL = `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:Pump;1","@type":"Interface","contents":[
		{"@type":"Property","name":"limits","writable":true,"schema":{"@type":"Object","fields":[{"name":"low","schema":"double"},{"name":"high","schema":"double"}]}},
		{"@type":"Component","name":"inlet","schema":"dtmi:com:example:Valve;1"}]}`
)

func inline(name, dtdl string) *v1alpha1.DeviceModel {
	return &v1alpha1.DeviceModel{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Generation: 1},
		Spec:       v1alpha1.DeviceModelSpec{DTDL: &apiextensionsv1.JSON{Raw: json.RawMessage(dtdl)}},
	}
}

func newTestLibrary(objects ...*v1alpha1.DeviceModel) (*Library, *Objects) {
	s := Objects(objects)
	return NewLibrary(&s, NewRepositories(nil, nil)), &s
}

func (l *Library) device(t *testing.T, modelID string, declared twin.Declaration) Verdict {
	t.Helper()
	v, err := l.CheckDevice(t.Context(), "", modelID, declared)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestDeclarations(t *testing.T) {
	l, _ := newTestLibrary(inline("pump", pumpDTDL), inline("valve", valveDTDL))
	number := func(s string) json.Number { return json.Number(s) }
	tests := map[string]struct {
		component, name string
		value           any
		want            []string // parts of the violation; none: it conforms
	}{
		"an object":                   {"", "limits", map[string]any{"low": number("1"), "high": number("2.5")}, nil},
		"part of an object":           {"", "limits", map[string]any{"low": number("1")}, nil},
		"in a component":              {"inlet", "opening", number("50"), nil},
		"a whole number, written odd": {"inlet", "opening", number("5e1"), nil},
		"wrong type":                  {"inlet", "opening", "half", []string{"spec.components[inlet].properties.opening", `"half"`, "integer"}},
		"wrong type within":           {"", "limits", map[string]any{"low": "x"}, []string{"spec.properties.limits.low", `"x"`, "double"}},
		"unknown field":               {"", "limits", map[string]any{"lo": number("1")}, []string{"spec.properties.limits", "lo", "high"}},
		"unknown property":            {"inlet", "openning", number("1"), []string{"spec.components[inlet].properties.openning", "a writable property: opening"}},
		"read-only":                   {"inlet", "turns", number("1"), []string{"spec.components[inlet].properties.turns", "read-only", "a writable property: opening"}},
		"telemetry":                   {"inlet", "flow", number("1"), []string{"a telemetry of " + valveID}},
		"a component as property":     {"", "inlet", number("1"), []string{"spec.properties.inlet", "a component of " + pumpID}},
		"unknown component":           {"outlet", "opening", number("1"), []string{"spec.components[outlet]", "not in " + pumpID, "a component: inlet"}},
		"a property as component":     {"limits", "low", number("1"), []string{"spec.components[limits]", "a property of " + pumpID}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			v := l.device(t, pumpID, twin.Declaration{{Component: test.component, Name: test.name}: test.value})
			if v.Model != "pump" || v.NotReady != "" || v.Refuses() != (len(test.want) > 0) {
				t.Fatalf("%+v", v)
			}
			for _, part := range test.want {
				if !strings.Contains(v.Text(), part) {
					t.Errorf("%q does not tell of %q", v.Text(), part)
				}
			}
		})
	}
}

func TestCommands(t *testing.T) {
	l, _ := newTestLibrary(inline("pump", pumpDTDL), inline("valve", valveDTDL))
	tests := map[string]struct {
		component, command, payload string
		want                        []string
	}{
		"with its request":              {"inlet", "turn", "3", nil},
		"without a request":             {"inlet", "close", "", nil},
		"null for no request":           {"inlet", "close", "null", nil},
		"a request that is not wanted":  {"inlet", "close", "3", []string{"spec.payload", `"close" takes no request`}},
		"a wrong request":               {"inlet", "turn", `"left"`, []string{"spec.payload", `"left"`, "integer"}},
		"no request where one is asked": {"inlet", "turn", "", []string{"spec.payload", "null", "integer"}},
		"unknown command":               {"inlet", "open", "", []string{`spec.command "open"`, "not in " + valveID, "close, turn"}},
		"of the device":                 {"", "close", "", []string{`spec.command "close"`, "a command, of which it has none"}},
		"unknown component":             {"outlet", "close", "", []string{"spec.component is not in", "inlet"}},
		"a property as command":         {"inlet", "opening", "", []string{"a property of " + valveID}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			spec := &v1alpha1.DeviceCommandSpec{Component: test.component, Command: test.command}
			if test.payload != "" {
				spec.Payload = &apiextensionsv1.JSON{Raw: []byte(test.payload)}
			}
			v, err := l.CheckCommand(t.Context(), "", pumpID, spec)
			if err != nil || v.Refuses() != (len(test.want) > 0) {
				t.Fatalf("%+v, %v", v, err)
			}
			for _, part := range test.want {
				if !strings.Contains(v.Text(), part) {
					t.Errorf("%q does not tell of %q", v.Text(), part)
				}
			}
		})
	}
}

func TestWhatAModelIsMadeOfMayChange(t *testing.T) {
	opening := twin.Declaration{{Component: "inlet", Name: "opening"}: json.Number("5")}
	l, s := newTestLibrary(inline("pump", pumpDTDL))
	if v := l.device(t, pumpID, opening); !strings.Contains(v.NotReady, valveID) || v.Refuses() {
		t.Errorf("without the valve: %+v", v)
	}
	valve := inline("valve", valveDTDL)
	*s = append(*s, valve)
	if v := l.device(t, pumpID, opening); v.NotReady != "" || v.Refuses() {
		t.Errorf("with the valve: %+v", v)
	}
	valve.Spec.DTDL.Raw = json.RawMessage(strings.Replace(valveDTDL, `"writable":true,`, "", 1))
	valve.Generation++
	if v := l.device(t, pumpID, opening); !v.Refuses() {
		t.Errorf("with a valve that cannot be opened: %+v", v)
	}
	(*s)[0].Spec.Validation = v1alpha1.ValidationWarn
	if v := l.device(t, pumpID, opening); v.Refuses() || !v.Warn || len(v.Violations) != 1 {
		t.Errorf("with a warning: %+v", v)
	}
	valve.Spec.DTDL.Raw = json.RawMessage(strings.Replace(valveDTDL, "turns", "2nd", 1))
	valve.Generation++
	if v := l.device(t, pumpID, opening); !strings.Contains(v.NotReady, "Another DeviceModel") {
		t.Errorf("with a wrong valve: %+v", v)
	}
	*s = (*s)[:1]
	if v := l.device(t, pumpID, opening); !strings.Contains(v.NotReady, valveID) {
		t.Errorf("without the valve again: %+v", v)
	}
	if v := l.device(t, "dtmi:com:example:Other;1", opening); v.Model != "" || v.NotReady != "" {
		t.Errorf("of another model: %+v", v)
	}
}

// It goes by the identity of what is compiled.
func TestAModelIsCompiledOnce(t *testing.T) {
	pump := inline("pump", pumpDTDL)
	l, _ := newTestLibrary(pump, inline("valve", valveDTDL))
	load := func() *dtdl.Interface {
		m, trouble, err := l.Load(t.Context(), pump)
		if err != nil || trouble != nil {
			t.Fatal(trouble, err)
		}
		return m.Device
	}
	first := load()
	if load() != first {
		t.Error("it is compiled again, though nothing changed")
	}
	pump.Generation++
	if load() != first {
		t.Error("it is compiled again, though its content did not change")
	}
	pump.Generation++
	pump.Spec.DTDL.Raw = json.RawMessage(strings.Replace(pumpDTDL, "inlet", "outlet", 1))
	if load() == first {
		t.Error("it is not compiled again, though it changed")
	}
}

func TestSpecsOfModels(t *testing.T) {
	tests := map[string]struct {
		edit func(*v1alpha1.DeviceModelSpec)
		want string // part of the trouble, empty: none
	}{
		"an interface": {func(*v1alpha1.DeviceModelSpec) {}, ""},
		"a list": {func(s *v1alpha1.DeviceModelSpec) {
			s.DTDL.Raw = json.RawMessage("[" + pumpDTDL + "," + valveDTDL + "]")
		}, ""},
		"neither":         {func(s *v1alpha1.DeviceModelSpec) { s.DTDL = nil }, "exactly one of"},
		"both":            {func(s *v1alpha1.DeviceModelSpec) { s.Repository = &v1alpha1.ModelRepository{URL: "https://h"} }, "exactly one of"},
		"another modelID": {func(s *v1alpha1.DeviceModelSpec) { s.ModelID = pumpID }, "spec.modelID is " + pumpID},
		"a text":          {func(s *v1alpha1.DeviceModelSpec) { s.DTDL.Raw = json.RawMessage(`"x"`) }, "no interface with an @id"},
		"an empty list":   {func(s *v1alpha1.DeviceModelSpec) { s.DTDL.Raw = json.RawMessage(`[]`) }, "no interface with an @id"},
		"a rule of DTDL": {func(s *v1alpha1.DeviceModelSpec) {
			s.DTDL.Raw = json.RawMessage(strings.Replace(valveDTDL, "opening", "2nd", 1))
		}, "/contents/0/name"},
		"a repository without modelID": {func(s *v1alpha1.DeviceModelSpec) {
			s.DTDL, s.Repository = nil, &v1alpha1.ModelRepository{URL: "https://h"}
		}, "spec.modelID must be set"},
		"a repository that is not told": {func(s *v1alpha1.DeviceModelSpec) {
			*s = v1alpha1.DeviceModelSpec{ModelID: valveID, Repository: &v1alpha1.ModelRepository{URL: "https://h"}}
		}, `"h"`},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			m := inline("m", valveDTDL)
			test.edit(&m.Spec)
			l, _ := newTestLibrary(m)
			_, trouble, err := l.Load(t.Context(), m)
			if err != nil {
				t.Fatal(err)
			}
			violations, _, _ := l.CheckModel(t.Context(), m)
			if test.want == "" {
				if trouble != nil || len(violations) > 0 {
					t.Error(trouble, violations)
				}
				return
			}
			if trouble == nil || !trouble.Final || !strings.Contains(trouble.Message, test.want) {
				t.Errorf("trouble %+v, want %q", trouble, test.want)
			}
			if !strings.Contains(strings.Join(violations, "; "), test.want) {
				t.Errorf("at admission: %q, want %q", violations, test.want)
			}
		})
	}
}

func TestDigestsDoNotDependOnLayout(t *testing.T) {
	one := digest([][]byte{[]byte(valveDTDL), []byte(pumpDTDL)})
	for name, documents := range map[string][][]byte{
		"order": {[]byte(pumpDTDL), []byte(valveDTDL)}, "list": {[]byte("[" + pumpDTDL + " , " + valveDTDL + "]")},
	} {
		if digest(documents) != one {
			t.Errorf("another %s, another digest", name)
		}
	}
	if digest([][]byte{[]byte(valveDTDL), []byte(strings.Replace(pumpDTDL, "inlet", "outlet", 1))}) == one {
		t.Error("another model, and the same digest")
	}
}

func TestRepositories(t *testing.T) {
	valve, pump := "/dtmi/com/example/valve-1", "/dtmi/com/example/pump-1"
	tests := map[string]struct {
		files  map[string]string
		status int
		reason string
		files2 int // documents, if it was fetched
	}{
		"expanded":                {files: map[string]string{pump + ".expanded.json": "[" + pumpDTDL + "," + valveDTDL + "]"}, files2: 1},
		"one by one":              {files: map[string]string{pump + ".json": pumpDTDL, valve + ".json": valveDTDL}, files2: 2},
		"absent":                  {reason: v1alpha1.ReasonModelNotFound},
		"lacks what it needs":     {files: map[string]string{pump + ".json": pumpDTDL}, reason: v1alpha1.ReasonModelNotFound},
		"another one in its file": {files: map[string]string{pump + ".json": pumpDTDL, valve + ".json": pumpDTDL}, reason: v1alpha1.ReasonModelNotFound},
		"down":                    {status: http.StatusBadGateway, reason: v1alpha1.ReasonRepositoryUnavailable},
		"moved":                   {status: http.StatusFound, reason: v1alpha1.ReasonRepositoryUnavailable},
		"too large":               {files: map[string]string{pump + ".expanded.json": strings.Repeat(" ", maxFile+1)}, reason: v1alpha1.ReasonRepositoryUnavailable},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				file, ok := test.files[r.URL.Path]
				switch {
				case test.status != 0:
					w.Header().Set("Location", "https://127.0.0.1/elsewhere")
					w.WriteHeader(test.status)
				case !ok:
					w.WriteHeader(http.StatusNotFound)
				default:
					_, _ = w.Write([]byte(file))
				}
			}))
			defer server.Close()
			r := NewRepositories([]string{"127.0.0.1"}, server.Client().Transport)
			got, trouble := r.get(t.Context(), modelKey{"uid", server.URL, pumpID})
			if test.reason != "" {
				if trouble == nil || trouble.Reason != test.reason || trouble.Final {
					t.Errorf("trouble %+v, want %s", trouble, test.reason)
				}
				return
			}
			if trouble != nil || len(got.documents) != test.files2 {
				t.Fatalf("%d documents, trouble %+v", len(got.documents), trouble)
			}
			if again, _ := r.get(t.Context(), modelKey{"uid", server.URL, pumpID}); again != got {
				t.Error("it is fetched again")
			}
		})
	}
}

func TestRepositoriesThatMayNotBeAsked(t *testing.T) {
	r := NewRepositories([]string{"models.example", ".inside.example", "other.example:8443"}, nil)
	for url, allowed := range map[string]bool{
		"https://models.example": true, "https://models.example:8443/a": false, "https://models.example:443/a": true, "https://other.example:8443/a": true, "https://a.inside.example": true, "https://MODELS.example": true,
		"http://models.example": false, "https://models.example.attacker.example": false, "https://xmodels.example": false, "https://inside.example": false,
		"https://user@models.example": false, "https://attacker.example/models.example": false, "https://169.254.169.254": false, "https://": false, "::": false,
		"https://[::ffff:169.254.169.254]": false, "https://kubernetes.default.svc": false, "https://kubernetes%2edefault%2esvc": false, "https://models.example.": false,
		"https://attacker.example#models.example": false, "https://attacker.example?.inside.example": false, `https://attacker.example\.inside.example`: false,
	} {
		if _, trouble := r.root(url); (trouble == nil) != allowed {
			t.Errorf("%s: %+v", url, trouble)
		}
	}
}

func fromRepository(name, url string) *v1alpha1.DeviceModel {
	return &v1alpha1.DeviceModel{
		ObjectMeta: metav1.ObjectMeta{Name: name, UID: types.UID(name), Generation: 1},
		Spec:       v1alpha1.DeviceModelSpec{ModelID: valveID, Repository: &v1alpha1.ModelRepository{URL: url}},
	}
}

func TestARepositoryThatIsDownIsNoMissingInterface(t *testing.T) {
	var down bool
	server := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down {
			w.WriteHeader(http.StatusBadGateway)
			return
		}
		_, _ = w.Write([]byte(valveDTDL))
	}))
	defer server.Close()
	pump, valve := inline("pump", pumpDTDL), fromRepository("valve", server.URL)
	s := Objects{pump, valve}
	l := NewLibrary(&s, NewRepositories([]string{"127.0.0.1"}, server.Client().Transport))
	down = true
	if _, trouble, err := l.Load(t.Context(), pump); err != nil || trouble == nil || trouble.Final || trouble.Reason != v1alpha1.ReasonRepositoryUnavailable {
		t.Errorf("while it is down: %+v, %v", trouble, err)
	}
	down = false
	if _, trouble, err := l.Load(t.Context(), pump); err != nil || trouble != nil {
		t.Errorf("when it is up: %+v, %v", trouble, err)
	}
	// What another DeviceModel of the same model has fetched anew is nothing to this one.
	down = true
	other := fromRepository("other", server.URL)
	l.Refetch(other.UID)
	if _, _, err := l.Load(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	if v := l.device(t, valveID, twin.Declaration{{Name: "opening"}: json.Number("1")}); v.NotReady != "" {
		t.Errorf("after another one's trouble: %+v", v)
	}
}

func TestWhatAModelIsMadeOfIsBounded(t *testing.T) {
	var contents []string
	s := Objects{}
	for i := range 10 {
		id := "dtmi:com:example:Part" + string(rune('A'+i)) + ";1"
		contents = append(contents, `{"@type":"Component","name":"part`+string(rune('A'+i))+`","schema":"`+id+`"}`)
		part := strings.Replace(strings.ReplaceAll(valveDTDL, valveID, id), `"contents"`, `"comment":"`+strings.Repeat("x", 500)+`","contents"`, 1)
		s = append(s, inline("part-"+string(rune('a'+i)), part+strings.Repeat(" ", 600_000)))
	}
	whole := inline("whole", `{"@context":"dtmi:dtdl:context;2","@id":"dtmi:com:example:Whole;1","@type":"Interface","contents":[`+strings.Join(contents, ",")+`]}`)
	s = append(s, whole)
	_, trouble, err := NewLibrary(&s, NewRepositories(nil, nil)).Load(t.Context(), whole)
	if err != nil || trouble == nil || !trouble.Final || !strings.Contains(trouble.Message, "want at most") {
		t.Errorf("%+v, %v", trouble, err)
	}
}
