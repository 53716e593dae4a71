package main

import (
	"bytes"
	"cmp"
	"fmt"
	"image/color"
	"maps"
	"math"
	"slices"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/plotutil"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Size of one panel of the chart, the room in it for the names of its lines, and that for the text
// below all panels, in points.
const (
	panelWidth, panelHeight vg.Length = 460, 320
	legendWidth, footHeight vg.Length = 100, 20
)

// panels are drawn beside each other: each has the lines whose names end with its unit.
var panels = []struct{ title, unit string }{
	{"Devices converged a second", "devices/s"},
	{"Apply to acknowledged in status", "ms"},
}

// chart draws throughput and latency over the number of devices as SVG, both axes by powers of ten.
func chart(r *Results) ([]byte, error) {
	plot.DefaultFont = font.Font{Typeface: "Liberation", Variant: "Sans"}
	picture := vgsvg.New(vg.Length(len(panels))*panelWidth, panelHeight+footHeight)
	canvas := draw.New(picture)
	canvas.SetColor(color.White)
	canvas.Fill(canvas.Path())
	for i, panel := range panels {
		drawn, err := plotOf(panel.title, panel.unit, r.Points)
		if err != nil {
			return nil, fmt.Errorf("drawing %q: %w", panel.title, err)
		}
		at := vg.Length(i) * panelWidth
		drawn.Draw(draw.Canvas{Canvas: canvas, Rectangle: vg.Rectangle{
			Min: vg.Point{X: at, Y: footHeight},
			Max: vg.Point{X: at + panelWidth - legendWidth, Y: footHeight + panelHeight},
		}})
	}
	foot := draw.TextStyle{Color: color.Gray{Y: 0x66}, Font: font.From(plot.DefaultFont, 10), Handler: plot.DefaultTextHandler}
	canvas.FillText(foot, vg.Point{X: 10, Y: 8}, fmt.Sprintf("%s, %s%s", r.Version, r.Machine, quickly(r.Quick)))
	var svg bytes.Buffer
	_, err := picture.WriteTo(&svg)
	return svg.Bytes(), err
}

func quickly(quick bool) string {
	if quick {
		return ", a quick run"
	}
	return ""
}

// plotOf returns a plot of the lines of a unit. A value without a logarithm, which no measure has
// that was taken, is left out.
func plotOf(title, unit string, points []*Point) (*plot.Plot, error) {
	lines := map[string]plotter.XYs{}
	for _, point := range points {
		if name, ok := strings.CutSuffix(point.Line, " "+unit); ok && point.Value > 0 {
			lines[name] = append(lines[name], plotter.XY{X: float64(point.Devices), Y: point.Value})
		}
	}
	p := plot.New()
	p.Title.Text = title
	if len(lines) == 0 {
		p.HideAxes()
		p.X.Label.Text = "not measured in this run"
		return p, nil
	}
	p.X.Label.Text, p.Y.Label.Text = "devices", unit
	p.Legend.Top, p.Legend.XOffs = true, legendWidth-10
	p.Add(plotter.NewGrid())
	var named []any
	for _, name := range slices.Sorted(maps.Keys(lines)) {
		slices.SortFunc(lines[name], func(a, b plotter.XY) int { return cmp.Compare(a.X, b.X) })
		named = append(named, name, lines[name])
	}
	if err := plotutil.AddLinePoints(p, named...); err != nil {
		return nil, err
	}
	byPowersOfTen(&p.X)
	byPowersOfTen(&p.Y)
	return p, nil
}

// byPowersOfTen makes an axis begin and end with a power of ten: labels are at those alone.
func byPowersOfTen(a *plot.Axis) {
	low, high := math.Floor(math.Log10(a.Min)), math.Ceil(math.Log10(a.Max))
	a.Min, a.Max = math.Pow(10, low), math.Pow(10, max(high, low+1))
	a.Scale = plot.LogScale{}
	a.Tick.Marker = plot.TickerFunc(func(low, high float64) []plot.Tick {
		ticks := plot.LogTicks{}.Ticks(low, high)
		for i, tick := range ticks {
			if !tick.IsMinor() {
				ticks[i].Label = number(tick.Value)
			}
		}
		return ticks
	})
}
