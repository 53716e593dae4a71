package hostile

import (
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/pnp-operator/pnp-operator/internal/dtdl"
)

func TestTheContainerIsThatOfTheDeployment(t *testing.T) {
	for name, test := range map[string]struct {
		env, resources string
		want           container
		broken         bool
	}{
		"with a limit":               {"[]", "{limits: {memory: 512Mi}}", container{limit: 512 << 20}, false},
		"with a variable":            {`[{name: GOMEMLIMIT, value: 400MiB}]`, "{limits: {memory: 512Mi}}", container{512 << 20, []string{"GOMEMLIMIT=400MiB"}}, false},
		"with the limit as one":      {`[{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory}}}]`, "{limits: {memory: 1Ki}}", container{1024, []string{"A=1024"}}, false},
		"with the limit in other":    {`[{name: A, valueFrom: {resourceFieldRef: {resource: limits.memory, divisor: 1Ki}}}]`, "{limits: {memory: 4Ki}}", container{4096, []string{"A=4"}}, false},
		"with what only a pod has":   {`[{name: A, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]`, "{limits: {memory: 1Ki}}", container{limit: 1024}, false},
		"without a limit is refused": {"[]", "{}", container{}, true},
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "manager.yaml")
			text := "apiVersion: apps/v1\nkind: Deployment\nspec: {template: {spec: {containers: [{name: manager, env: " + test.env + ", resources: " + test.resources + "}]}}}\n"
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			got, err := readContainer(path)
			if (err != nil) != test.broken {
				t.Fatal(err)
			}
			if diff := cmp.Diff(test.want, got, cmp.AllowUnexported(container{})); diff != "" {
				t.Error(diff)
			}
		})
	}
	if _, err := readContainer(filepath.Join("..", "..", "config", "manager", "manager.yaml")); err != nil {
		t.Error(err)
	}
}

// A folder stands for the kernel: in it, a group can be made wherever a folder can, and the files of one are there only where newGroup makes them.
func TestWhereAMemoryGroupIsMade(t *testing.T) {
	for name, test := range map[string]struct {
		self string
		want string // the end of the first folder that was tried
	}{
		"of version 1, below our own":        {"5:devices:/\n4:memory:/a/b\n0::/\n", "memory/a/b/us"},
		"of version 2, below our own":        {"0::/a\n", "a/us"},
		"of version 2, in a namespace":       {"0::/\n", "us"},
		"with a colon in the name, as it is": {"4:memory:/a:b\n", "memory/a:b/us"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			self := filepath.Join(dir, "self")
			if err := os.WriteFile(self, []byte(test.self), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(test.want)), 0o700); err != nil {
				t.Fatal(err)
			}
			_, err := newMemoryGroup(cgroupFiles{dir, self}, "us", 1<<20)
			if err == nil || !strings.Contains(strings.Split(err.Error(), "\n")[0], filepath.Join(dir, test.want)) {
				t.Errorf("tried first: %v", err)
			}
			if _, err := os.Stat(filepath.Join(dir, test.want)); err == nil {
				t.Error("a group that takes no limit stays")
			}
		})
	}
	if _, err := newMemoryGroup(cgroupFiles{t.TempDir(), os.DevNull}, "us", 1); err == nil {
		t.Error("a group where there are none")
	}
}

func TestPeakOf(t *testing.T) {
	for status, want := range map[string]int64{"Name:\tmanager\nVmHWM:\t    1708 kB\nVmRSS:\t 1 kB\n": 1708 << 10, "Name:\tkernel\n": 0, "VmHWM:": 0, "VmHWM: x kB": 0} {
		if got := peakOf([]byte(status)); got != want {
			t.Errorf("%q: %d, want %d", status, got, want)
		}
	}
}

func TestUnsafeRunes(t *testing.T) {
	for text, want := range map[string]string{
		"NAME\tREADY\nd  True — ±°é\n": "", "a\x1b[2J": "U+001B", "a\u009b32m": "U+009B", "\x07\x07": "U+0007", "a\rb": "U+000D", "\x7f": "U+007F", "\u202eexe": "U+202E", "\u2066a\u2069": "U+2066 U+2069",
		"a\u2028b": "U+2028", "\xff": "U+FFFD", "\ufffd": "", "\x00": "U+0000",
	} {
		if got := strings.Join(unsafeRunes(text), " "); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	if len(unsafeRunes(hostileWords)) < 8 {
		t.Errorf("%q is hardly hostile", hostileWords)
	}
	if !hasLine("a\n  "+forgedLine+" x\n", forgedLine) || hasLine("ad: "+forgedLine, forgedLine) || !hasLine("a\r"+forgedLine, forgedLine) {
		t.Error("lines")
	}
}

// What is to be refused for what it takes must not be refused for what it says.
func TestTheSmallestBombIsAModel(t *testing.T) {
	for name, text := range map[string]string{"one base": inheritance(1, 3, 4, 1), "several": inheritance(3, 2, 4, 2)} {
		if m := dtdl.Parse([]byte(text)); len(m.Errors)+len(m.Missing) > 0 || len(m.Interfaces()) == 0 {
			t.Errorf("%s: %v, %v", name, m.Errors, m.Missing)
		}
	}
	for _, text := range append(shapes(), review(bomb()), emptyTwin("d"), objectOf(control(2)), padding(1, 9000), objectOf(tiny(10_000))) {
		if !json.Valid([]byte(text)) {
			t.Errorf("%.80s… is not JSON", text)
		}
	}
	names := map[string]bool{}
	for _, m := range tiny(10_000) {
		names[m.name] = true
	}
	if len(names) != 10_000 {
		t.Errorf("%d names", len(names))
	}
	if n := len(bomb()); n > 200<<10 {
		t.Errorf("the bomb has %d bytes", n)
	}
}

func TestChosenAttacks(t *testing.T) {
	all, _ := chosenAttacks("", false)
	quick, _ := chosenAttacks("", true)
	one, _ := chosenAttacks("^slow-hub$", true)
	if len(all) <= len(quick) || len(quick) == 0 || len(one) != 1 {
		t.Errorf("%d, %d and %d attacks", len(all), len(quick), len(one))
	}
	for _, pattern := range []string{"none of them", "("} {
		if _, err := chosenAttacks(pattern, false); err == nil {
			t.Errorf("%q chooses", pattern)
		}
	}
	names := map[string]bool{}
	for _, a := range all {
		if names[a.name] || a.title == "" || a.play == nil {
			t.Errorf("attack %q", a.name)
		}
		names[a.name] = true
	}
}

func TestCheckLine(t *testing.T) {
	keys := keysIn(map[string]string{"HUB": "HostName=h;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0", "EVENTS": "SharedAccessKey=b3RoZXI=;EntityPath=e", "NONE": "x"})
	if len(keys) != 2 {
		t.Fatalf("%q", keys)
	}
	for line, ok := range map[string]bool{`{"a":1}`: true, `a`: false, ``: false, `{"a":"c2VjcmV0"}`: false, `{"a":"x b3RoZXI= x"}`: false} {
		if err := checkLine(line, keys); (err == nil) != ok {
			t.Errorf("%q: %v", line, err)
		}
	}
}
