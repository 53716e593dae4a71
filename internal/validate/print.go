package validate

import (
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// maxLine is what is printed of one finding, in bytes.
const maxLine = 4 << 10

// commands are what runners of GitHub and Azure take for instructions in the midst of what a step prints.
var commands = strings.NewReplacer("##[", "## [", "##vso[", "##vso [")

// Line is a text that may hold anything as one line that neither a terminal nor a runner of a pipeline acts on.
func Line(text string) string {
	line := commands.Replace(storable.Text(text, maxLine))
	if strings.HasPrefix(line, "::") { // a command to GitHub's
		return "./" + line
	}
	return line
}
