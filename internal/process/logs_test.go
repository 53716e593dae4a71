package process

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// TestLogLinesAreCleanAndCut feeds what devices, tenants and hubs may have logged.
func TestLogLinesAreCleanAndCut(t *testing.T) {
	const terrible = "a\x1b[2J\x07\u009b32m\u202e\r\n{\"level\":\"info\"}\x00\x9b\xff\u2028b"
	for name, text := range map[string]string{"control and format characters": terrible, "100 KB": strings.Repeat("x", 100_000)} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			log := zap.New(CleanLines(&out)).WithValues("with", text)
			log.Error(errors.New(text), "Test", "text", text, "texts", []string{terrible})
			line := strings.TrimSuffix(out.String(), "\n")
			if !json.Valid([]byte(line)) || !storable.IsClean(strings.ReplaceAll(line, "  ", " ")) {
				t.Errorf("%.500q", line)
			}
			if len(line) > 4*maxLogged {
				t.Errorf("a line of %d bytes", len(line))
			}
		})
	}
}
