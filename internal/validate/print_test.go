package validate

import (
	"strings"
	"testing"
)

func TestNoFindingIsACommandToARunner(t *testing.T) {
	for name, f := range map[string]Finding{
		"in the name of an object": {File: "a.yaml", Line: 1, Object: "PnPDevice x\n::error::gone", Message: "m"},
		"in a message":             {File: "a.yaml", Line: 1, Message: "##[group]x ##vso[task.setvariable variable=x]y\r::set-env name=x::y"},
		"in the name of a file":    {File: "::error::a.yaml", Line: 1, Message: "m"},
		"after white space":        {File: "\n\t::error::a.yaml", Line: 1, Message: "m"},
		"in escapes":               {File: "a.yaml", Line: 1, Object: "\x1b]0;OWNED\x07\x1b[2J", Message: "m"},
	} {
		t.Run(name, func(t *testing.T) {
			got := f.String()
			if strings.ContainsAny(got, "\r\n\x1b\x07") || strings.Contains(got, "##[") || strings.Contains(got, "##vso[") || strings.HasPrefix(strings.TrimSpace(got), "::") {
				t.Errorf("%q", got)
			}
		})
	}
}
