package main

import "testing"

func TestOptions(t *testing.T) {
	for name, c := range map[string]struct {
		options Options
		ok      bool
	}{
		"nothing said":                 {Options{}, true},
		"parts that there are":         {Options{Parts: PartNames()}, true},
		"a part that there is not":     {Options{Parts: []string{"converge", "diverge"}}, false},
		"numbers that ascend":          {Options{Devices: []int{10, 20}}, true},
		"numbers that do not ascend":   {Options{Devices: []int{20, 10}}, false},
		"one number, nothing compared": {Options{Devices: []int{10}}, false},
		"no devices":                   {Options{Devices: []int{0, 10}}, false},
	} {
		if err := c.options.Check(); (err == nil) != c.ok {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

func TestMaxima(t *testing.T) {
	got := maxima(map[string]any{
		"twinReadsPerSecond": map[string]any{"type": "integer", "maximum": int64(5000)},
		"dailyMessages":      map[string]any{"type": "integer"},
		"name":               map[string]any{"type": "string"},
	})
	if len(got) != 2 || got["twinReadsPerSecond"] != int64(5000) || got["dailyMessages"] != int64(1_000_000) {
		t.Errorf("got %v", got)
	}
}
