package validate

import (
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/models"
)

func allocated() uint64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.TotalAlloc
}

// A pull request of a few megabytes fills no memory of the pipeline that checks it, and does not
// hold it up.
func TestHostileManifestsAreBounded(t *testing.T) {
	long := strings.Repeat("x", 1<<20)
	for name, c := range map[string]struct {
		text string
		want string // in the first finding
		most int    // findings
	}{
		"a long text, many times": {"a: &a " + long + "\nb: [" + strings.Repeat("*a,", 400) + "*a]\n", "with its aliases written out", 1},
		"such a text, named by what is named": {"a: &a [" + strings.Repeat("x,", 1000) + "x]\nb: &b [" + strings.Repeat("*a,", 1000) + "*a]\nc: [" +
			strings.Repeat("*b,", 1000) + "*b]\n", "with its aliases written out", 1},
		"many findings of an object with a long name": {"apiVersion: iot.pnp-operator.io/v1alpha1\nkind: PnPDevice\nmetadata: {name: " + long + "}\nspec:\n" +
			lines(3000, "  u%d: 1\n"), "unknown field", maxProblems + 1},
	} {
		t.Run(name, func(t *testing.T) {
			file := filepath.Join(t.TempDir(), "m.yaml")
			if err := os.WriteFile(file, []byte(c.text), 0o600); err != nil {
				t.Fatal(err)
			}
			before := allocated()
			result, err := Files(t.Context(), []string{file}, models.NewRepositories(nil, nil))
			if err != nil || len(result.Findings) == 0 || len(result.Findings) > c.most || !strings.Contains(result.Findings[0].Message, c.want) {
				t.Fatalf("%d findings, error %v", len(result.Findings), err)
			}
			if n := allocated() - before; n > 400<<20 {
				t.Errorf("%d MiB were allocated", n>>20)
			}
		})
	}
}

// The text before the first object is not gone through again for each.
func TestManyObjectsAfterALongComment(t *testing.T) {
	objects := "kind: List\nitems:\n" + lines(5000, "- {apiVersion: iot.pnp-operator.io/v1alpha1, kind: x%d}\n")
	read := func(text string) time.Duration {
		taken, began := 0, time.Now()
		r := reader{see: func(map[string]any) {}, take: func(manifest) { taken++ }}
		if broken := r.documents("m.yaml", []byte(text)); len(broken) > 0 || taken != 5000 {
			t.Fatalf("%d objects, %v", taken, broken)
		}
		return time.Since(began)
	}
	alone := read(objects)
	if after := read(strings.Repeat("# a comment of a line\n", 100_000) + objects); after > 10*alone+2*time.Second {
		t.Errorf("they take %s, and %s without a comment", after, alone)
	}
}

// Usual files pass: a few aliases, and signs that are none.
func TestAliasesThatAreUsualPass(t *testing.T) {
	for _, text := range []string{
		"a: &a {b: 1}\nc: *a\nd: {<<: *a, e: 2}\n", "script: |\n  a && b *.txt\n", "a: '&x'\nb: '*x'\n",
	} {
		if err := checkAliases([]byte(text)); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func lines(n int, format string) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}
