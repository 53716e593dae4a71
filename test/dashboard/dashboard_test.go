// Package dashboard_test asks a Prometheus with recorded metrics what the dashboard in config/grafana asks, and can draw the answers. Grafana itself is
// not needed, and not here.
package dashboard_test

import (
	"encoding/json"
	"flag"
	"os"
	"strings"
	"testing"
)

var draw = flag.String("draw", "", "write the dashboard with the recorded metrics to this file, as HTML")

// dashboard is what of Grafana's format is of interest here.
type dashboard struct {
	Panels     []panel
	Templating struct {
		List []struct{ Name, Type, Query string }
	}
}

type panel struct {
	ID          int
	Type, Title string
	Description string
	GridPos     struct{ X, Y, W, H int }
	Targets     []struct{ Expr, LegendFormat string }
	FieldConfig struct {
		Defaults struct {
			Unit       string
			Thresholds struct {
				Steps []struct {
					Color string
					Value *float64
				}
			}
		}
	}
}

func read(t *testing.T) dashboard {
	t.Helper()
	raw, err := os.ReadFile("../../config/grafana/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var d dashboard
	if err := json.Unmarshal(raw, &d); err != nil {
		t.Fatal(err)
	}
	return d
}

// filled puts what Grafana puts for its variables.
var filled = strings.NewReplacer("$__rate_interval", "15s", "$namespace", ".*", "$hub", ".*", "$job", ".*")

func TestEveryPanelShowsSomething(t *testing.T) {
	d, p := read(t), startPrometheus(t)
	var drawn []drawing
	for _, one := range d.Panels {
		if one.Type == "row" {
			drawn = append(drawn, drawing{panel: one})
			continue
		}
		if len(one.Targets) == 0 || one.Description == "" {
			t.Errorf("%s: it asks nothing, or does not say what it shows", one.Title)
		}
		var answers []series
		for _, target := range one.Targets {
			expr := filled.Replace(target.Expr)
			if strings.Contains(expr, "$") {
				t.Errorf("%s: unknown variable in %s", one.Title, expr)
			}
			answer := p.ask(t, expr)
			if len(answer) == 0 {
				t.Errorf("%s: no answer to %s", one.Title, expr)
			}
			for i := range answer {
				answer[i].Name = answer[i].legend(target.LegendFormat)
			}
			answers = append(answers, answer...)
		}
		drawn = append(drawn, drawing{one, answers})
	}
	if len(drawn) < 15 {
		t.Errorf("%d panels", len(drawn))
	}
	if *draw != "" {
		if err := os.WriteFile(*draw, page(drawn), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestVariablesHaveValues(t *testing.T) {
	d, p := read(t), startPrometheus(t)
	queries := 0
	for _, v := range d.Templating.List {
		if v.Type != "query" {
			continue
		}
		queries++
		inner, ok := strings.CutPrefix(strings.TrimSuffix(v.Query, ")"), "label_values(")
		at := strings.LastIndex(inner, ", ")
		if !ok || at < 0 {
			t.Errorf("%s: %s", v.Name, v.Query)
			continue
		}
		label := inner[at+2:]
		answer := p.ask(t, filled.Replace(inner[:at]))
		if len(answer) == 0 {
			t.Errorf("%s: no answer to %s", v.Name, inner[:at])
		}
		for _, s := range answer {
			if s.Metric[label] == "" {
				t.Errorf("%s: a series without %s", v.Name, label)
			}
		}
	}
	if queries == 0 {
		t.Error("no variable asks for its values")
	}
}

// TestLayout wants panels side by side, within the 24 columns, and none over another.
func TestLayout(t *testing.T) {
	taken, ids := map[[2]int]string{}, map[int]string{}
	for _, p := range read(t).Panels {
		if other, twice := ids[p.ID]; twice {
			t.Errorf("%s and %s have one id", p.Title, other)
		}
		ids[p.ID] = p.Title
		g := p.GridPos
		if g.W < 1 || g.H < 1 || g.X < 0 || g.X+g.W > 24 {
			t.Errorf("%s: %+v", p.Title, g)
		}
		for x := g.X; x < g.X+g.W; x++ {
			for y := g.Y; y < g.Y+g.H; y++ {
				if other, is := taken[[2]int{x, y}]; is {
					t.Fatalf("%s covers %s", p.Title, other)
				}
				taken[[2]int{x, y}] = p.Title
			}
		}
	}
}
