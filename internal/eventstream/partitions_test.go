package eventstream

import (
	"strconv"
	"strings"
	"testing"
)

// Memory and metrics of partitions are bounded, whatever an event hub calls them.
func TestPartitionsAreThoseOfEventHubs(t *testing.T) {
	var most, more []string
	for n := range maxPartitions {
		most = append(most, strconv.Itoa(n))
	}
	more = append(more, most...)
	for name, c := range map[string]struct {
		ids []string
		ok  bool
	}{
		"as many as may be":    {most, true},
		"those of a small one": {[]string{"0", "1"}, true},
		"the highest number":   {[]string{"1023"}, true},
		"one more":             {append(more, "128"), false},
		"a number beyond":      {[]string{"1024"}, false},
		"a name":               {[]string{"a"}, false},
		"no name":              {[]string{""}, false},
		"a number twice":       {[]string{"01"}, false},
		"a signed number":      {[]string{"+1"}, false},
		"below zero":           {[]string{"-1"}, false},
		"a long name":          {[]string{strings.Repeat("1", 1<<20)}, false},
	} {
		t.Run(name, func(t *testing.T) {
			err := checkPartitions(c.ids)
			if (err == nil) != c.ok {
				t.Errorf("error %v", err)
			}
			if err != nil && len(err.Error()) > 1000 {
				t.Errorf("an error of %d bytes", len(err.Error()))
			}
		})
	}
}
