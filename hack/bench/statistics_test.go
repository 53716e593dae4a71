package main

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestQuantiles(t *testing.T) {
	s := sample{5, 1, 4, 2, 3}
	for q, want := range map[float64]float64{0: 1, 0.2: 1, 0.5: 3, 0.8: 4, 0.81: 5, 0.99: 5, 1: 5} {
		if got := s.quantile(q); got != want {
			t.Errorf("quantile %g: got %g, want %g", q, got, want)
		}
	}
	if got := (sample{4, 1, 3, 2}).median(); got != 2.5 {
		t.Errorf("the median of an even number: got %g, want 2.5", got)
	}
	if s[0] != 5 {
		t.Error("the sample was sorted in place: pairs would be lost")
	}
}

func TestRatiosArePairwise(t *testing.T) {
	if diff := cmp.Diff(sample{2, 0.5}, ratios(sample{4, 1, 9}, sample{2, 2})); diff != "" {
		t.Error("(-want +got)", diff)
	}
}
