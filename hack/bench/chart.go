package main

import (
	"fmt"
	"html"
	"math"
	"slices"
	"strings"
)

// Size of one panel of the chart, in pixels, and the margins within it.
const (
	panelWidth, panelHeight  = 460.0, 320.0
	left, right, top, bottom = 60.0, 150.0, 40.0, 45.0
)

// panel is a set of lines with a scale of their own.
type panel struct {
	title, unit string
	lines       map[string][]*Point
}

var palette = []string{"#1b6ca8", "#d1495b", "#3a8f5b", "#a06cd5", "#e08e2b"}

// chart draws throughput and latency over the number of devices, both axes by powers of ten.
func chart(r *Results) string {
	panels := []panel{
		{"Devices converged a second", "devices/s", map[string][]*Point{}},
		{"Apply to acknowledged in status", "ms", map[string][]*Point{}},
	}
	for _, p := range r.Points {
		name, isThroughput := strings.CutSuffix(p.Line, " devices/s")
		if isThroughput {
			panels[0].lines[name] = append(panels[0].lines[name], p)
		} else if name, isLatency := strings.CutSuffix(p.Line, " ms"); isLatency {
			panels[1].lines[name] = append(panels[1].lines[name], p)
		}
	}
	var b strings.Builder
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" width="%g" height="%g" font-family="sans-serif" font-size="12">`+"\n", 2*panelWidth, panelHeight+20)
	fmt.Fprintf(&b, `<rect width="100%%" height="100%%" fill="white"/><text x="10" y="%g" fill="#666" font-size="10">%s</text>`+"\n",
		panelHeight+12, html.EscapeString(fmt.Sprintf("%s, %s%s", r.Version, r.Machine, quickly(r.Quick))))
	for i, p := range panels {
		fmt.Fprintf(&b, `<g transform="translate(%g,0)">`+"\n", float64(i)*panelWidth)
		p.draw(&b)
		b.WriteString("</g>\n")
	}
	b.WriteString("</svg>\n")
	return b.String()
}

func quickly(quick bool) string {
	if quick {
		return ", a quick run"
	}
	return ""
}

// axis maps values between two powers of ten to pixels.
type axis struct{ low, high, from, to float64 }

func axisOf(values []float64, from, to float64) axis {
	low, high := math.Floor(math.Log10(slices.Min(values))), math.Ceil(math.Log10(slices.Max(values)))
	return axis{low, max(high, low+1), from, to}
}

func (a axis) at(v float64) float64 {
	return a.from + (math.Log10(v)-a.low)/(a.high-a.low)*(a.to-a.from)
}

// ticks are the powers of ten.
func (a axis) ticks() []float64 {
	var t []float64
	for e := a.low; e <= a.high; e++ {
		t = append(t, math.Pow(10, e))
	}
	return t
}

func (p panel) draw(b *strings.Builder) {
	fmt.Fprintf(b, `<text x="%g" y="22" font-weight="bold">%s</text>`+"\n", left, html.EscapeString(p.title))
	var devices, values []float64
	for _, line := range p.lines {
		for _, point := range line {
			devices, values = append(devices, float64(point.Devices)), append(values, point.Value)
		}
	}
	if len(values) == 0 {
		fmt.Fprintf(b, `<text x="%g" y="60" fill="#666">not measured in this run</text>`+"\n", left)
		return
	}
	x, y := axisOf(devices, left, panelWidth-right), axisOf(values, panelHeight-bottom, top)
	for _, t := range x.ticks() {
		fmt.Fprintf(b, `<line x1="%[1]g" x2="%[1]g" y1="%[2]g" y2="%[3]g" stroke="#ddd"/><text x="%[1]g" y="%[4]g" text-anchor="middle">%[5]s</text>`+"\n",
			x.at(t), top, panelHeight-bottom, panelHeight-bottom+16, number(t))
	}
	for _, t := range y.ticks() {
		fmt.Fprintf(b, `<line x1="%[1]g" x2="%[2]g" y1="%[3]g" y2="%[3]g" stroke="#ddd"/><text x="%[4]g" y="%[5]g" text-anchor="end">%[6]s</text>`+"\n",
			left, panelWidth-right, y.at(t), left-6, y.at(t)+4, number(t))
	}
	fmt.Fprintf(b, `<text x="%g" y="%g" text-anchor="middle">devices</text><text x="%g" y="%g">%s</text>`+"\n",
		(left+panelWidth-right)/2, panelHeight-bottom+34, 6.0, top-4, html.EscapeString(p.unit))
	p.drawLines(b, x, y)
}

func (p panel) drawLines(b *strings.Builder, x, y axis) {
	var names []string
	for name := range p.lines {
		names = append(names, name)
	}
	slices.Sort(names)
	for i, name := range names {
		color := palette[i%len(palette)]
		line := slices.SortedFunc(slices.Values(p.lines[name]), func(a, b *Point) int { return a.Devices - b.Devices })
		var corners []string
		for _, point := range line {
			corners = append(corners, fmt.Sprintf("%.1f,%.1f", x.at(float64(point.Devices)), y.at(point.Value)))
			fmt.Fprintf(b, `<circle cx="%.1f" cy="%.1f" r="3" fill="%s"><title>%s: %s at %s devices</title></circle>`+"\n",
				x.at(float64(point.Devices)), y.at(point.Value), color, html.EscapeString(name), number(point.Value), thousands(point.Devices))
		}
		fmt.Fprintf(b, `<polyline points="%s" fill="none" stroke="%s" stroke-width="2"/>`+"\n", strings.Join(corners, " "), color)
		fmt.Fprintf(b, `<text x="%g" y="%g" fill="%s">%s</text>`+"\n", panelWidth-right+12, top+14+18*float64(i), color, html.EscapeString(name))
	}
}
