package conformance_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

var dtdlParser = &nodeClient{folder: "dtdl"}

const (
	valid   = "valid"
	invalid = "invalid"
	missing = "missing"
	// crash is no verdict: Microsoft's parser fails on its own account.
	crash = "crash"
)

// answer is what Microsoft's parser says of a set of interfaces.
type answer struct {
	Verdict string // valid, invalid, missing or crash
	Missing []string
	Rules   []string
	Causes  []string
}

// microsoft is a process with Microsoft's parser.
type microsoft struct {
	process  *exec.Cmd
	requests io.WriteCloser
	answers  *bufio.Reader
}

func startMicrosoft(t *testing.T) *microsoft {
	t.Helper()
	dtdlParser.need(t)
	m := &microsoft{}
	m.start(t)
	t.Cleanup(func() { m.stop(t) })
	return m
}

func (m *microsoft) start(t *testing.T) {
	t.Helper()
	m.process = exec.Command("node", "parse.js") // ends with its standard input
	m.process.Dir, m.process.Stderr = dtdlParser.folder, os.Stderr
	var err error
	m.requests, err = m.process.StdinPipe()
	must(t, err)
	answers, err := m.process.StdoutPipe()
	must(t, err)
	must(t, m.process.Start())
	m.answers = bufio.NewReader(answers)
	var hello struct{ Version string }
	must(t, m.read(&hello))
	if !strings.HasPrefix(hello.Version, "DTDLParser, Version=1.1.3") {
		t.Fatalf("the parser is %q, want version 1.1.3", hello.Version)
	}
}

func (m *microsoft) stop(t *testing.T) {
	t.Helper()
	must(t, m.requests.Close())
	must(t, m.process.Wait())
}

func (m *microsoft) read(into any) error {
	line, err := m.answers.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("the parser stopped: %w", err)
	}
	return json.Unmarshal(line, into)
}

// judge asks for a verdict on a text without line breaks. A crash may leave the parser unable to answer anything else, so it is
// asked again after a new start.
func (m *microsoft) judge(t *testing.T, text []byte) answer {
	t.Helper()
	a := m.ask(t, text)
	if a.Verdict == crash {
		m.stop(t)
		m.start(t)
		a = m.ask(t, text)
	}
	return a
}

func (m *microsoft) ask(t *testing.T, text []byte) answer {
	t.Helper()
	_, err := m.requests.Write(append(slices.Clip(text), '\n'))
	must(t, err)
	var a answer
	must(t, m.read(&a))
	return a
}

// ours is our verdict in the same terms.
func ours(text []byte) (answer, *dtdl.Model) {
	m := dtdl.Parse(text)
	a := answer{Verdict: valid}
	for _, e := range m.Errors {
		a.Rules = append(a.Rules, e.Rule)
		a.Causes = append(a.Causes, e.Error())
	}
	for _, needed := range m.Missing {
		a.Missing = append(a.Missing, needed.DTMI)
	}
	switch {
	case len(a.Rules) > 0:
		a.Verdict = invalid
	case len(a.Missing) > 0:
		a.Verdict = missing
	}
	return a, m
}

// agree says whether two verdicts are the same. Microsoft's parser looks for what is missing before it checks the rest, and
// stops there; we report both.
func agree(theirs, our answer) bool {
	switch theirs.Verdict {
	case missing:
		return len(our.Missing) > 0
	case crash:
		return true
	default:
		return theirs.Verdict == our.Verdict
	}
}

// corpus are sets of interfaces by name: each real model with what it needs, and those of testdata, which use every feature.
func corpus(t *testing.T) map[string][]any {
	t.Helper()
	sets := map[string][]any{}
	for _, version := range []string{"v2", "v3", "v4"} {
		raw, err := os.ReadFile("dtdl/testdata/" + version + ".json")
		must(t, err)
		sets[version] = decodeModel(t, raw).([]any)
	}
	for name, raw := range sharedModels(t) {
		sets[name] = dependencies(t, raw)
	}
	return sets
}

// sharedFolder is where the real models are.
func sharedFolder() string {
	if folder := os.Getenv("PNP_SHARED"); folder != "" {
		return filepath.Join(folder, "models")
	}
	return "../../../shared/models"
}

func sharedModels(t *testing.T) map[string][]byte {
	t.Helper()
	folder := sharedFolder()
	models := map[string][]byte{}
	if _, err := os.Stat(folder); errors.Is(err, fs.ErrNotExist) {
		t.Logf("the real models are missing, set PNP_SHARED: %v", err)
		return models
	}
	must(t, filepath.WalkDir(folder, func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() && strings.HasSuffix(path, ".json") {
			models[path], err = os.ReadFile(path)
		}
		return err
	}))
	return models
}

// dependencies lists a model and what it needs, as far as it is there.
func dependencies(t *testing.T, raw []byte) []any {
	t.Helper()
	documents := [][]byte{raw}
	for more := true; more; {
		more = false
		for _, needed := range dtdl.Parse(documents...).Missing {
			path, _ := dtdl.RepositoryPath(needed.DTMI)
			if raw, err := os.ReadFile(filepath.Join(sharedFolder(), path)); err == nil {
				documents, more = append(documents, raw), true
			}
		}
	}
	var set []any
	for _, raw := range documents {
		set = append(set, decodeModel(t, raw))
	}
	return set
}

func decodeModel(t *testing.T, raw []byte) any {
	t.Helper()
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	var v any
	must(t, dec.Decode(&v))
	return v
}

func encodeModel(t *testing.T, v any) []byte {
	t.Helper()
	raw, err := json.Marshal(v)
	must(t, err)
	return raw
}

func TestModelsAreValidForMicrosoftsParserAndUs(t *testing.T) {
	m := startMicrosoft(t)
	sets := corpus(t)
	for _, name := range slices.Sorted(maps.Keys(sets)) {
		text := encodeModel(t, sets[name])
		theirs := m.judge(t, text)
		our, _ := ours(text)
		if theirs.Verdict != valid || our.Verdict != valid {
			t.Errorf("%s: theirs is %+v, ours is %+v", name, theirs, our)
		}
	}
	t.Logf("%d sets of interfaces", len(sets))
}

// mutants is how many changed models are compared; PNP_DTDL_MUTANTS says otherwise.
const mutants = 1500

func TestMutatedModelsGetMicrosoftsVerdict(t *testing.T) {
	m := startMicrosoft(t)
	sets := corpus(t)
	names := slices.Sorted(maps.Keys(sets))
	kinds := slices.Sorted(maps.Keys(mutations))
	seed, count := dtdlSeed(t)
	verdicts, accepted := map[string]int{}, map[string]int{}
	for i := range count {
		r := mutator{rand.New(rand.NewPCG(seed, uint64(i)))}
		name := names[r.IntN(len(names))]
		if r.IntN(2) == 0 {
			name = pick(r, []string{"v2", "v3", "v4"})
		}
		model := clone(sets[name]).([]any)
		var done []string
		for len(done) < 1 || r.IntN(4) == 0 {
			if kind := pick(r, kinds); mutations[kind](r, model) {
				done = append(done, kind)
			}
		}
		text := encodeModel(t, model)
		theirs := m.judge(t, text)
		our, _ := ours(text)
		verdicts[theirs.Verdict]++
		if agree(theirs, our) {
			continue
		}
		if reason := justified(theirs, our, text); reason != "" {
			accepted[reason]++
			continue
		}
		t.Errorf("seed %d, mutant %d of %s, %s:\ntheirs is %+v\nours is %+v", seed, i, name, strings.Join(done, ", "), theirs, our)
		if os.Getenv("PNP_DTDL_SHOW") != "" {
			t.Logf("%s", text)
		}
	}
	if verdicts[crash] > count/50 {
		t.Errorf("Microsoft's parser crashed %d times, so too little was compared", verdicts[crash])
	}
	t.Logf("seed %d: %d mutants, Microsoft's verdicts %v, justified disagreements %v", seed, count, verdicts, accepted)
}

// dtdlSeed reads PNP_DTDL_SEED and PNP_DTDL_MUTANTS.
func dtdlSeed(t *testing.T) (seed uint64, count int) {
	t.Helper()
	seed, count = 1, mutants
	if text := os.Getenv("PNP_DTDL_SEED"); text != "" {
		var err error
		seed, err = strconv.ParseUint(text, 10, 64)
		must(t, err)
	}
	if text := os.Getenv("PNP_DTDL_MUTANTS"); text != "" {
		var err error
		count, err = strconv.Atoi(text)
		must(t, err)
	}
	return seed, count
}

// disagreement is a case in which we differ from Microsoft's parser on purpose; test/conformance/dtdl/README.md says why.
type disagreement struct {
	reason string
	is     func(theirs, our answer, text []byte) bool
}

var disagreements = []disagreement{
	{"the unit byte", func(theirs, our answer, _ []byte) bool {
		return our.Verdict != invalid && slices.Contains(theirs.Rules, "wrongParent") && strings.Contains(strings.Join(theirs.Causes, " "), "dtmi:dtdl:instance:Schema:byte;4")
	}},
	{"a list as @value", func(theirs, _ answer, text []byte) bool {
		return theirs.Verdict == invalid && bytes.Contains(text, []byte(`"@value":[`))
	}},
}

// justified gives the reason for a disagreement, or "" if there is none.
func justified(theirs, our answer, text []byte) string {
	for _, d := range disagreements {
		if d.is(theirs, our, text) {
			return d.reason
		}
	}
	return ""
}
