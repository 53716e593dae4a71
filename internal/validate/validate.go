// Package validate checks manifests without a cluster, by the rules that the API server, the admission webhook and the operator go by.
package validate

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"

	"k8s.io/apimachinery/pkg/types"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/config/crd"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/models"
	"github.com/pnp-operator/pnp-operator/internal/storable"
)

// Finding is something to tell about a manifest.
type Finding struct {
	File    string
	Line    int
	Object  string // "PnPDevice factory/line-3", empty for a file that cannot be read
	Message string
	Warning bool
}

// String is one line that can be printed as it is.
func (f Finding) String() string {
	severity := "error"
	if f.Warning {
		severity = "warning"
	}
	if f.Object == "" {
		return Line(fmt.Sprintf("%s:%d: %s: %s", f.File, f.Line, severity, f.Message))
	}
	return Line(fmt.Sprintf("%s:%d: %s: %s: %s", f.File, f.Line, severity, f.Object, f.Message))
}

// Result is what was looked at and found.
type Result struct {
	Objects int
	// Unchecked are PnPDevices and DeviceCommands that no DeviceModel was there for.
	Unchecked int
	Findings  []Finding
}

// Failed reports whether anything would be refused.
func (r Result) Failed() bool {
	return slices.ContainsFunc(r.Findings, func(f Finding) bool { return !f.Warning })
}

// Files checks the manifests in files and folders. Models of repositories are fetched from them.
func Files(ctx context.Context, paths []string, repositories *models.Repositories) (Result, error) {
	known, err := kinds(crd.Bases)
	if err != nil {
		return Result{}, err
	}
	c := &checker{named: named{}}
	broken, err := reader{see: c.named.add, take: func(m manifest) { c.take(m, known[m.kind]) }}.read(paths)
	if err != nil {
		return Result{}, err
	}
	c.result.Findings = append(c.result.Findings, broken...)
	c.library = models.NewLibrary(c.shelf, repositories)
	c.checkAll(ctx)
	slices.SortStableFunc(c.result.Findings, func(a, b Finding) int {
		return cmp.Or(cmp.Compare(a.File, b.File), cmp.Compare(a.Line, b.Line))
	})
	return c.result, nil
}

// checker holds the objects that are sound, to check them against each other.
type checker struct {
	result   Result
	named    named
	library  *models.Library
	shelf    models.Objects
	hubs     []of[*v1alpha1.IoTHub]
	devices  []of[*v1alpha1.PnPDevice]
	commands []of[*v1alpha1.DeviceCommand]
	models   []of[*v1alpha1.DeviceModel]
}

type of[T any] struct {
	manifest
	object T
}

// take checks a manifest as the API server does.
func (c *checker) take(m manifest, k *kind) {
	c.result.Objects++
	if k == nil {
		c.tell(m, false, fmt.Sprintf("kind is %q, want DeviceCommand, DeviceModel, IoTHub or PnPDevice", m.kind))
		return
	}
	if c.remark(m) { // what follows would be about something else than what is written
		return
	}
	problems := k.check(m.raw)
	if more := len(problems) - maxProblems; more > 0 {
		problems = append(problems[:maxProblems], fmt.Sprintf("and %d more", more))
	}
	c.tell(m, false, problems...)
	if len(problems) > 0 {
		return
	}
	var err error
	switch m.kind {
	case "IoTHub":
		c.hubs, err = decoded(c.hubs, m)
	case "PnPDevice":
		c.devices, err = decoded(c.devices, m)
	case "DeviceCommand":
		c.commands, err = decoded(c.commands, m)
	case "DeviceModel":
		c.models, err = decoded(c.models, m)
		if err == nil {
			c.shelf = append(c.shelf, c.models[len(c.models)-1].object)
		}
	}
	if err != nil {
		c.tell(m, false, err.Error())
	}
}

// remark tells what is to be said about the text of a manifest, and whether that is no warning.
func (c *checker) remark(m manifest) (refused bool) {
	for _, r := range m.text {
		m.line = r.line
		c.tell(m, r.warning, r.message)
		refused = refused || !r.warning
	}
	return refused
}

func decoded[T any](list []of[*T], m manifest) ([]of[*T], error) {
	raw, err := json.Marshal(m.raw)
	if err != nil {
		return list, err
	}
	object := new(T)
	if err := json.Unmarshal(raw, object); err != nil {
		return list, err
	}
	m.raw, m.text = nil, nil // takes many times what the object does
	return append(list, of[*T]{m, object}), nil
}

// maxProblems is how many the schema of an object may find that are told.
const maxProblems = 100

func (c *checker) tell(m manifest, warning bool, messages ...string) {
	object := m.kind + " " + m.name
	for _, message := range messages {
		c.result.Findings = append(c.result.Findings, Finding{m.file, m.line, object, storable.Cut(message, 4*maxLine), warning})
	}
}

func (c *checker) checkAll(ctx context.Context) {
	for i, m := range c.models {
		m.object.UID = types.UID(strconv.Itoa(i)) // stands in for what a cluster would give it
	}
	for _, m := range c.models {
		c.checkModel(ctx, m)
	}
	for _, d := range c.devices {
		c.checkDevice(ctx, d)
	}
	for _, command := range c.commands {
		c.checkCommand(ctx, command)
	}
	c.references()
}

// checkModel also fetches: what an interface needs has to be there.
func (c *checker) checkModel(ctx context.Context, m of[*v1alpha1.DeviceModel]) {
	violations, _, err := c.library.CheckModel(ctx, m.object)
	if err != nil {
		violations = append(violations, err.Error())
	}
	if len(violations) == 0 {
		_, trouble, err := c.library.Load(ctx, m.object)
		switch {
		case err != nil:
			violations = append(violations, err.Error())
		case trouble != nil:
			violations = append(violations, trouble.Message)
		}
	}
	c.tell(m.manifest, false, violations...)
}

func (c *checker) checkDevice(ctx context.Context, d of[*v1alpha1.PnPDevice]) {
	declared, violations := declaration.Check(&d.object.Spec, c.hubOf(d.object))
	if len(violations) == 0 {
		violations = declaration.Unanswerable(&d.object.Spec, declared)
	}
	if len(violations) > 0 {
		c.tell(d.manifest, false, violations...)
		return
	}
	verdict, err := c.library.CheckDevice(ctx, d.object.Namespace, d.object.Spec.ModelID, declared)
	c.conclude(d.manifest, verdict, err)
}

func (c *checker) checkCommand(ctx context.Context, command of[*v1alpha1.DeviceCommand]) {
	modelID := ""
	for _, d := range c.devices {
		if d.object.Name == command.object.Spec.DeviceRef.Name && d.object.Namespace == command.object.Namespace {
			modelID = d.object.Spec.ModelID
		}
	}
	verdict, err := c.library.CheckCommand(ctx, command.object.Namespace, modelID, &command.object.Spec)
	c.conclude(command.manifest, verdict, err)
}

// conclude tells what a model says. One that cannot be used has been told of itself.
func (c *checker) conclude(m manifest, verdict models.Verdict, err error) {
	if err != nil {
		c.tell(m, false, err.Error())
		return
	}
	if verdict.Model == "" || verdict.NotReady != "" {
		c.result.Unchecked++
	}
	c.tell(m, false, verdict.Rounded...)
	c.tell(m, verdict.Warn, verdict.Violations...)
}

// hubOf finds the IoTHub of a device among the manifests, or nil.
func (c *checker) hubOf(device *v1alpha1.PnPDevice) *v1alpha1.IoTHub {
	for _, hub := range c.hubs {
		if hub.object.Name == device.Spec.HubRef.Name && hub.object.Namespace == device.Namespace {
			return hub.object
		}
	}
	return nil
}
