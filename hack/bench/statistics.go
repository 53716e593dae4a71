package main

import (
	"math"
	"slices"
	"time"
)

// sample is repeated measurements of one thing.
type sample []float64

func (s sample) sorted() sample {
	c := slices.Clone(s)
	slices.Sort(c)
	return c
}

// quantile is the smallest value that a share of the sample, of 0 to 1, does not exceed.
func (s sample) quantile(q float64) float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	at := int(math.Ceil(q*float64(len(s)))) - 1
	return s.sorted()[min(max(at, 0), len(s)-1)]
}

func (s sample) median() float64 {
	if len(s) == 0 {
		return math.NaN()
	}
	c := s.sorted()
	return (c[(len(c)-1)/2] + c[len(c)/2]) / 2
}

// ratios are those of two samples measured in turn, pair by pair: what the machine does besides happened to both of a pair.
func ratios(a, b sample) sample {
	var r sample
	for i := range min(len(a), len(b)) {
		r = append(r, a[i]/b[i])
	}
	return r
}

func milliseconds(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
