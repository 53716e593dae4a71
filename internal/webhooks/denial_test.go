package webhooks

import (
	"strings"
	"testing"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

func TestRefusalsAreCleanAndCut(t *testing.T) {
	for name, text := range map[string]string{"control and format characters": "a\x1b[2J\r\n\u009b\u202e\xff", "100 KB": strings.Repeat("x", 100_000)} {
		t.Run(name, func(t *testing.T) {
			got := denied(text, text).Error()
			if !storable.IsClean(got) || len(got) > maxDenial {
				t.Errorf("%d bytes: %.100q", len(got), got)
			}
			for _, warning := range warningsOf([]string{text}) {
				if !storable.IsClean(warning) || len(warning) > maxWarning {
					t.Errorf("warning of %d bytes: %.100q", len(warning), warning)
				}
			}
		})
	}
}
