package cli

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"strings"

	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/validate"
)

const validateUsage = `Usage: pnp-operator validate -f PATH [-f PATH ...]

Checks IoTHubs, PnPDevices, DeviceCommands and DeviceModels in files and folders without a cluster: by the schemas and rules of
their CustomResourceDefinitions, the rules of device twins, and the DeviceModels among them. Other kinds are passed over.
Files have to be regular ones, of at most 64 MiB in all, and each of their documents at most 3 MiB.
Exit status: 0 if nothing would be refused, 1 if something would, 2 if the manifests cannot be read.

`

// paths is a flag that may be given several times.
type paths []string

func (p *paths) String() string     { return strings.Join(*p, ",") }
func (p *paths) Set(s string) error { *p = append(*p, s); return nil }

// Validate is "pnp-operator validate" and returns its exit status.
func Validate(args []string, stdout, stderr io.Writer) int {
	var files paths
	flags := flag.NewFlagSet("validate", flag.ContinueOnError)
	flags.SetOutput(stderr)
	flags.Usage = func() { _, _ = io.WriteString(stderr, validateUsage); flags.PrintDefaults() }
	flags.Var(&files, "f", "File or folder with manifests; may be given several times.")
	repositories := flags.String("allowed-model-repositories", DefaultModelRepositories, "Hosts that models may be fetched from, as the operator has it.")
	switch err := flags.Parse(args); {
	case errors.Is(err, flag.ErrHelp):
		return 0
	case err != nil:
		return 2
	case len(files) == 0 || flags.NArg() > 0:
		flags.Usage()
		return 2
	}
	// A signal ends the process whatever it is at: there is nothing to clean up.
	result, err := validate.Files(context.Background(), files, models.NewRepositories(SplitList(*repositories), nil))
	if err != nil {
		_, _ = fmt.Fprintf(stderr, "validate: %s\n", validate.Line(err.Error()))
		return 2
	}
	return tell(result, stdout)
}

func tell(result validate.Result, stdout io.Writer) int {
	warnings := 0
	for _, f := range result.Findings {
		if f.Warning {
			warnings++
		}
		_, _ = fmt.Fprintln(stdout, f)
	}
	_, _ = fmt.Fprintf(stdout, "%d objects checked, %d of them against no model: %d errors, %d warnings\n",
		result.Objects, result.Unchecked, len(result.Findings)-warnings, warnings)
	if result.Failed() {
		return 1
	}
	return 0
}
