package engines

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/test/harness"
)

// engineScenario is one test with a GitOps engine. It has a site of its own, named after it.
type engineScenario struct {
	name, engine, title string
	// fault is the kind of fault that it is about, of the eleven that docs/gitops.md lists; 0 for
	// none.
	fault int
	// tools are programs that it needs beside the engines.
	tools []string
	// shape changes the site before its first commit; nil for the layout as it is.
	shape func(s *site) error
	play  func(ctx context.Context, s *site) (engineOutcome, error)
}

func (e engineScenario) label() string {
	if e.fault == 0 {
		return fmt.Sprintf("%s: %s", e.name, e.title)
	}
	return fmt.Sprintf("%s (fault %d): %s", e.name, e.fault, e.title)
}

// selection is which scenarios are played, and why the others are not.
type selection struct {
	played  []engineScenario
	leftOut []leftOut
}

type leftOut struct{ what, why string }

// wish is what the environment asks for.
type wish struct {
	// scenarios is a pattern for names, engines are words as modulesOf has them; empty for all.
	scenarios, engines string
}

// excludes reports whether an engine was not asked for.
func (w wish) excludes(engine string) bool {
	return w.engines != "" && !slices.Contains(strings.Fields(w.engines), wordFor[engine])
}

// wordFor are the engines in a command line.
var wordFor = map[string]string{flux: "flux", argoCD: "argocd"}

// pick selects the scenarios that are asked for. Those whose programs are missing are left out.
func pick(all []engineScenario, w wish, have func(program string) bool) (selection, error) {
	focus, err := regexp.Compile(w.scenarios)
	if err != nil {
		return selection{}, fmt.Errorf("reading SCENARIOS: %w", err)
	}
	var s selection
	for _, one := range all {
		missing := slices.DeleteFunc(slices.Clone(one.needs()), have)
		switch {
		case !focus.MatchString(one.name):
		case w.excludes(one.engine):
			s.leftOut = append(s.leftOut, leftOut{one.label(), one.engine + " is not among ENGINES"})
		case len(missing) > 0:
			s.leftOut = append(s.leftOut, leftOut{one.label(), "needs " + missing[0]})
		default:
			s.played = append(s.played, one)
		}
	}
	if len(s.played) == 0 {
		return s, fmt.Errorf("no scenario is left to play, of those that match %q", w.scenarios)
	}
	return s, nil
}

// needs are the programs that have to be there already.
func (e engineScenario) needs() []string {
	if e.engine == argoCD {
		return append([]string{"redis-server", "jq"}, e.tools...)
	}
	return e.tools
}

// engines are those that the played scenarios need.
func (s selection) engines() []string {
	var engines []string
	for _, one := range s.played {
		if !slices.Contains(engines, one.engine) {
			engines = append(engines, one.engine)
		}
	}
	return engines
}

// tell lists what was not run.
func (s selection) tell(out *harness.Report) {
	out.Print("\n")
	for _, one := range s.leftOut {
		out.Print(fmt.Sprintf("not run: %s: %s\n", one.what, one.why))
	}
	for _, what := range neverRun {
		out.Print("not run: " + what + "\n")
	}
}
