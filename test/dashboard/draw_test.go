package dashboard_test

import (
	"bytes"
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// drawing is a panel with its answers.
type drawing struct {
	panel
	series []series
}

const (
	column, line  = 52, 34 // pixels of the grid
	plotW, margin = 40, 44
)

var colours = []string{"#56a64b", "#f2cc0c", "#3274d9", "#e02f44", "#8f3bb8", "#ff780a", "#1aa2a2", "#a352cc", "#7c7c7c", "#c4162a"}

// page draws panels where the dashboard has them. It is for looking at, and knows no more than that needs.
func page(all []drawing) []byte {
	var b bytes.Buffer
	b.WriteString(`<meta charset="utf-8"><body style="background:#f4f5f5;font:12px sans-serif;margin:8px;position:relative">`)
	for _, d := range all {
		g := d.GridPos
		if d.Type == "row" {
			_, _ = fmt.Fprintf(&b, `<b style="position:absolute;left:4px;top:%dpx;font-size:15px">%s</b>`, g.Y*line+8, html.EscapeString(d.Title))
			continue
		}
		_, _ = fmt.Fprintf(&b, `<div style="position:absolute;left:%dpx;top:%dpx;width:%dpx;height:%dpx;background:#fff;border:1px solid #ddd;overflow:hidden"><b style="padding:4px;display:block">%s</b>`,
			g.X*column, g.Y*line, g.W*column-6, g.H*line-6, html.EscapeString(d.Title))
		if d.Type == "stat" {
			b.WriteString(d.stat())
		} else {
			b.WriteString(d.graph())
		}
		b.WriteString("</div>\n")
	}
	return b.Bytes()
}

// stat is the last value, in the colour of its threshold.
func (d drawing) stat() string {
	values := d.series[0].Values
	last, colour := values[len(values)-1].Value, ""
	for _, step := range d.FieldConfig.Defaults.Thresholds.Steps {
		if step.Value == nil || last >= *step.Value {
			colour = step.Color
		}
	}
	return fmt.Sprintf(`<div style="background:%s;color:#fff;font-size:34px;text-align:center;height:100%%">%s</div>`, colour, shown(last, d.FieldConfig.Defaults.Unit))
}

func shown(value float64, unit string) string {
	switch unit {
	case "percentunit":
		return fmt.Sprintf("%.1f %%", value*100)
	case "bytes":
		return fmt.Sprintf("%.1f MiB", value/(1<<20))
	case "s":
		return fmt.Sprintf("%.3g s", value)
	case "short":
		return fmt.Sprintf("%.4g", value)
	}
	return fmt.Sprintf("%.3g/s", value)
}

func (d drawing) graph() string {
	w, h := float64(d.GridPos.W*column-plotW-20), float64(d.GridPos.H*line-30-18*min(len(d.series), 6)-30)
	from, to, top := d.extent()
	var b, legend strings.Builder
	for i, s := range d.series {
		colour := colours[i%len(colours)]
		move := "M"
		var path strings.Builder
		for _, p := range s.Values {
			if math.IsNaN(p.Value) { // a gap
				move = "M"
				continue
			}
			_, _ = fmt.Fprintf(&path, "%s%.1f,%.1f ", move, margin+(p.At-from)/(to-from)*w, h-p.Value/top*h+6)
			move = "L"
		}
		_, _ = fmt.Fprintf(&b, `<path fill="none" stroke="%s" stroke-width="1.5" d="%s"/>`, colour, path.String())
		if i < 6 {
			last := s.Values[len(s.Values)-1].Value
			_, _ = fmt.Fprintf(&legend, `<div style="height:18px;padding-left:8px"><span style="color:%s">&#9632;</span> %s <span style="float:right;padding-right:8px">%s</span></div>`,
				colour, html.EscapeString(s.Name), shown(last, d.FieldConfig.Defaults.Unit))
		}
	}
	axis := fmt.Sprintf(`<text x="2" y="14" font-size="10">%s</text><text x="2" y="%.0f" font-size="10">0</text><line x1="%d" x2="%.0f" y1="%.0f" y2="%.0f" stroke="#ccc"/>`,
		shown(top, d.FieldConfig.Defaults.Unit), h+6, margin, margin+w, h+6, h+6)
	return fmt.Sprintf(`<svg width="%.0f" height="%.0f">%s%s</svg>%s`, w+margin+10, h+10, axis, b.String(), legend.String())
}

// extent is the span of time, and the highest value.
func (d drawing) extent() (from, to, top float64) {
	from, top = math.Inf(1), 1e-9
	for _, s := range d.series {
		from, to = min(from, s.Values[0].At), max(to, s.Values[len(s.Values)-1].At)
		top = max(top, slices.MaxFunc(s.Values, func(a, b sample) int {
			if a.Value < b.Value || math.IsNaN(a.Value) {
				return -1
			}
			return 1
		}).Value)
	}
	return from, max(to, from+1), top
}
