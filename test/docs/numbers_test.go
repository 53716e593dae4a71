package docs

import (
	"fmt"
	"go/constant"
	"go/token"
	"go/types"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

// stated are sentences of pages with the number, or time, that a constant of the code has.
var stated = []struct {
	page, sentence string // {} is the number
	source, name   string
	unit           func(int64) string
}{
	{"devicemodel.md", "Files are read up to {}", "internal/models/repositories.go", "maxFile", mib},
	{"devicemodel.md", "a model up to {}", "internal/dtdl/bounds.go", "MaxBytes", mib},
	{"devicemodel.md", "all errors with their paths, up to {} ", "internal/declaration/violations.go", "MaxViolations", number},
	{"devicemodel.md", "of at most {} in all", "internal/validate/manifests.go", "maxFiles", mib},
	{"devicemodel.md", "each of their documents at most {},", "internal/validate/manifests.go", "maxDocument", mib},
	{"devicemodel.md", "Reconciling for {} minutes, then Stalled", "internal/waits/waits_commands.go", "otherWithin", minutes},
	{"devicecommand.md", "any JSON, up to {}.", "internal/declaration/declaration.go", "MaxPayload", kb},
	{"devicecommand.md", "`response` of the device, up to {} as JSON", "internal/command/response.go", "MaxResponse", kib},
	{"devicecommand.md", "up to {}, response of the original", "internal/ledger/room.go", "maxResponse", kib},
	{"devicecommand.md", "a timer is left: {} minutes for an offline device", "internal/command/rest.go", "RestOffline", minutes},
	{"devicecommand.md", "device, {} for a disabled or unknown device", "internal/command/rest.go", "RestAbsent", minutes},
	{"devicecommand.md", "the first retry follows after {} seconds", "internal/command/rest.go", "RestLeast", seconds},
	{"devicecommand.md", "lasted, at most {} seconds", "internal/command/rest.go", "RestMost", seconds},
	{"devicecommand.md", "the hub has {} commands under way", "internal/command/registry.go", "maxPlaces", number},
	{"devicecommand.md", "waits up to {} seconds for answers", "controllers/command/flight.go", "drainFor", seconds},
	{"operations.md", "waits up to {} seconds for commands", "controllers/command/flight.go", "drainFor", seconds},
	{"operations.md", "the lease's {} seconds", "internal/leadership/lease.go", "LeaseDuration", seconds},
	{"operations.md", "{} commands, or ", "internal/ledger/room.go", "maxEntries", number},
	{"operations.md", "commands, or {}, of an eighth", "internal/ledger/room.go", "maxWeight", kib},
	{"pnpdevice.md", "| 1 to {} bytes; no control characters", "internal/twin/validate.go", "maxKeyBytes", plain},
	{"pnpdevice.md", "| strings | {} bytes", "internal/twin/validate.go", "maxStringBytes", plain},
	{"pnpdevice.md", "to {}; other numbers must fit a double", "internal/twin/validate.go", "maxInteger", plain},
	{"pnpdevice.md", "| nesting | {} objects and arrays", "internal/twin/validate.go", "maxDepth", number},
	{"pnpdevice.md", "objects at most {} deep", "internal/twin/conform.go", "maxObjectDepth", number},
	{"pnpdevice.md", "(1 to {} of `a-z", "internal/twin/conform.go", "maxDTDLName", number},
	{"pnpdevice.md", "| size | {} for the whole declaration", "internal/twin/validate.go", "maxDesiredSize", kib},
	{"pnpdevice.md", "shows up to {} properties beside", "internal/convergence/room.go", "maxShownEntries", number},
	{"pnpdevice.md", "a body of more than {},", "internal/eventstream/event_telemetry.go", "maxTelemetryBody", kb},
	{"pnpdevice.md", "with more than {} numbers", "internal/eventstream/event_telemetry.go", "maxNumbers", number},
	{"pnpdevice.md", "for {} seconds after that, more of the same", "controllers/device/quiet.go", "quietTime", seconds},
	{"pnpdevice.md", "Read again every {} minutes", "internal/convergence/state.go", "RetryAbsent", minutes},
	{"pnpdevice.md", "Shown after {} s of failure", "internal/halt/halt.go", "DefaultGrace", seconds},
	{"iothub.md", "good for {} and renews them", "internal/iothub/sas.go", "tokenLifetime", anHour},
	{"iothub.md", "A query covers up to {} devices", "internal/session/sweep.go", "maxVersionChunk", number},
	{"iothub.md", "whole twins are compared, {} a query", "internal/session/sweep.go", "maxValueChunk", number},
	{"iothub.md", "waits for more than {} seconds; what is shorter", "internal/budget/line.go", "grace", seconds},
	{"iothub.md", "half a second to {} seconds, a refused credential", "internal/waits/waits.go", "SafetyNet", seconds},
	{"iothub.md", "been missing, at most {} seconds apart", "internal/waits/waits.go", "SafetyNet", seconds},
	{"security.md", "been missing, at most {} seconds apart", "internal/waits/waits.go", "SafetyNet", seconds},
	{"iothub.md", "removed in the last {} minutes", "controllers/removals/window.go", "brakeWindow", minutes},
	{"iothub.md", "is more than {} properties and more than a tenth", "controllers/removals/brake.go", "brakeAtLeast", number},
	{"iothub.md", "One confirmation covers up to {} objects", "controllers/removals/halts.go", "mostNamed", number},
	{"architecture.md", "the hub held {} seconds after the attempt", "internal/command/rest.go", "tellsWithin", seconds},
	{"architecture.md", "also kept, up to {} of them", "internal/session/news.go", "maxArrivals", number},
	{"architecture.md", "status waits {} ms for the answer", "controllers/device/quiet.go", "answerTime", milliseconds},
	{"architecture.md", "is followed by {} seconds in which", "controllers/device/quiet.go", "quietTime", seconds},
	{"architecture.md", "all declared devices, {} a query", "internal/session/sweep.go", "maxVersionChunk", number},
	{"architecture.md", "bounds answers to {},", "internal/iothub/answers.go", "maxResponseBody", mib},
	{"scale.md", "| connections to a hub | {} kept", "internal/iothub/transport.go", "maxIdleConns", number},
	{"scale.md", "| events fetched ahead | up to {} a partition", "internal/eventstream/prefetch.go", "maxPrefetch", number},
	{"scale.md", "| wait for a device's answer | {} ms", "controllers/device/quiet.go", "answerTime", milliseconds},
	{"scale.md", "| quiet time | {} s ", "controllers/device/quiet.go", "quietTime", seconds},
	{"security.md", "answers of devices up to {};", "internal/ledger/room.go", "maxResponse", kib},
	{"security.md", "at most {} of a twin that is not in status yet", "internal/session/device.go", "maxKept", mib},
	{"security.md", "of refusals those of at most {} |", "internal/iothub/envelope.go", "maxErrorBody", kib},
	{"security.md", "during a pass {} of events", "internal/session/news.go", "maxArrivalBytes", mib},
	{"security.md", "webhook's port | {}, with 8", "internal/webhooks/port.go", "maxConnections", number},
	{"security.md", "with {} requests each, of", "internal/webhooks/port.go", "maxStreams", number},
	{"security.md", "requests each, of {} of headers", "internal/ports/ports.go", "maxHeaders", kib},
	{"security.md", "metrics and of probes | {} to each; one", "internal/diagnostics/ports.go", "maxConnections", number},
	{"security.md", "the oldest; {} of headers each", "internal/ports/ports.go", "maxHeaders", kib},
	{"security.md", "headers each, {} scrapes at a time", "internal/diagnostics/server.go", "maxScrapes", number},
	{"security.md", "| {} | [TestReviewsAreRefusedForTheirSize]", "internal/webhooks/limits.go", "maxReading", mib},
	{"security.md", "| {} | [TestReviewsUnderWayAreBounded]", "internal/webhooks/limits.go", "maxChecking", mib},
	{"security.md", "| {} | [TestModelsThatAreKeptAreBounded]", "internal/models/library.go", "maxOutcomes", mib},
	{"security.md", "| {} | [TestWhatIsHeldOfRepositoriesIsBounded]", "internal/models/repositories.go", "maxHeld", mib},
	{"security.md", "fetched models | {} in one namespace", "internal/models/repositories.go", "maxHeldOfTenant", mib},
	{"security.md", "200 files; {} at a time", "internal/models/repositories.go", "maxFetches", number},
	{"security.md", "| {} | [TestPrefetchIsBounded]", "internal/eventstream/intake.go", "maxArrived", mib},
}

func TestNumbersInPagesAreThoseOfTheCode(t *testing.T) {
	for _, s := range stated {
		raw, err := os.ReadFile(filepath.Join("docs", s.page))
		if err != nil {
			t.Fatal(err)
		}
		want := strings.ReplaceAll(s.sentence, "{}", s.unit(constantOf(t, s.source, s.name)))
		if !strings.Contains(strings.Join(strings.Fields(string(raw)), " ")+" ", want) {
			t.Errorf("docs/%s does not say %q, by %s of %s", s.page, want, s.name, s.source)
		}
	}
}

// The bounds of the table about memory, as it adds them up, leave something of the container's limit.
func TestBoundsOfMemoryFitTheLimit(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "security.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(page), "\n## Memory\n")
	rows, rest, found := strings.Cut(table, "\n| sum ")
	if !found {
		t.Fatal("docs/security.md has no table with a sum")
	}
	const together = 4 // the column
	mibOf := func(row string) int {
		n := 0
		if columns := strings.Split(row, "|"); len(columns) > together {
			_, _ = fmt.Sscanf(strings.TrimSpace(columns[together]), "%d MiB", &n)
		}
		return n
	}
	sum := 0
	for row := range strings.Lines(rows) {
		sum += mibOf(row)
	}
	const limit = 512
	if stated := mibOf("| sum " + rest); sum == 0 || sum != stated || sum >= limit {
		t.Errorf("the bounds add up to %d MiB, docs/security.md says %d, and the limit is %d", sum, stated, limit)
	}
}

// times stand in for the constants of package time, which an expression without a package does not know.
var times = strings.NewReplacer("time.Millisecond", fmt.Sprint(int64(time.Millisecond)), "time.Second", fmt.Sprint(int64(time.Second)),
	"time.Minute", fmt.Sprint(int64(time.Minute)), "time.Hour", fmt.Sprint(int64(time.Hour)))

// constantOf evaluates a constant of a file.
func constantOf(t *testing.T, source, name string) int64 {
	t.Helper()
	raw, err := os.ReadFile(filepath.FromSlash(source))
	if err != nil {
		t.Fatal(err)
	}
	is := regexp.MustCompile(`(?m)^\s*(?:const )?` + name + `\s+= (.+?)(?:\s*//.*)?$`).FindStringSubmatch(string(raw))
	if is == nil {
		t.Fatalf("%s has no constant %s", source, name)
	}
	value, err := types.Eval(token.NewFileSet(), nil, token.NoPos, times.Replace(is[1]))
	if err != nil {
		t.Fatalf("%s of %s: %v", name, source, err)
	}
	n, ok := constant.Int64Val(constant.ToInt(value.Value))
	if !ok {
		t.Fatalf("%s of %s is %s", name, source, value.Value)
	}
	return n
}

func plain(n int64) string { return fmt.Sprint(n) }

// number has a comma in front of each thousand.
func number(n int64) string {
	if n < 1000 {
		return fmt.Sprint(n)
	}
	return fmt.Sprintf("%s,%03d", number(n/1000), n%1000)
}

func mib(n int64) string          { return fmt.Sprintf("%d MiB", n>>20) }
func kib(n int64) string          { return fmt.Sprintf("%d KiB", n>>10) }
func kb(n int64) string           { return fmt.Sprintf("%d KB", n>>10) } // as Microsoft's pages write it
func minutes(n int64) string      { return fmt.Sprint(n / int64(time.Minute)) }
func seconds(n int64) string      { return fmt.Sprint(n / int64(time.Second)) }
func milliseconds(n int64) string { return fmt.Sprint(n / int64(time.Millisecond)) }

func anHour(n int64) string {
	if n == int64(time.Hour) {
		return "an hour"
	}
	return time.Duration(n).String()
}

// TestTheTableOfFlagsIsThatOfTheCode compares docs/flags.md with main.go: names, and defaults that are numbers or truth values.
func TestTheTableOfFlagsIsThatOfTheCode(t *testing.T) {
	source, err := os.ReadFile("main.go")
	if err != nil {
		t.Fatal(err)
	}
	page, err := os.ReadFile("docs/flags.md")
	if err != nil {
		t.Fatal(err)
	}
	defaults := map[string]string{}
	for _, f := range regexp.MustCompile(`flag\.\w+Var\(&o\.\w+, "([a-z-]+)", ([^,]+),`).FindAllStringSubmatch(string(source), -1) {
		defaults[f[1]] = f[2]
	}
	rows := regexp.MustCompile("(?m)^\\| `--([a-z-]+)` \\| ([^|]*) ?\\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) < 10 {
		t.Fatalf("%d rows", len(rows))
	}
	for _, row := range rows {
		is, ok := defaults[row[1]]
		delete(defaults, row[1])
		said, _, _ := strings.Cut(strings.Trim(row[2], "` "), " ")
		switch {
		case !ok:
			t.Errorf("docs/flags.md has --%s, which there is not", row[1])
		case regexp.MustCompile(`^(\d+|true)$`).MatchString(is) && said != is:
			t.Errorf("docs/flags.md has %q as default of --%s, the code %s", said, row[1], is)
		}
	}
	for name := range defaults {
		t.Errorf("docs/flags.md lacks --%s", name)
	}
}

// TestTheTableOfTheBudgetIsThatOfTheDefinition compares docs/iothub.md with the CustomResourceDefinition.
func TestTheTableOfTheBudgetIsThatOfTheDefinition(t *testing.T) {
	page, err := os.ReadFile(filepath.Join("docs", "iothub.md"))
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.FromSlash("config/crd/bases/iot.pnp-operator.io_iothubs.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var definition apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(raw, &definition); err != nil {
		t.Fatal(err)
	}
	fields := definition.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"].Properties["requestBudget"].Properties
	rows := regexp.MustCompile("(?m)^\\| `(\\w+)` \\| ([\\d,]+) \\| ([\\d,]+) to ([\\d,]+) \\|").FindAllStringSubmatch(string(page), -1)
	if len(rows) != len(fields) {
		t.Fatalf("%d rows, %d fields", len(rows), len(fields))
	}
	for _, row := range rows {
		is := fields[row[1]]
		want := fmt.Sprintf("%s %.0f %.0f", is.Default.Raw, *is.Minimum, *is.Maximum)
		if got := strings.ReplaceAll(strings.Join(row[2:], " "), ",", ""); got != want {
			t.Errorf("docs/iothub.md has %s: %s, the definition %s", row[1], got, want)
		}
	}
}
