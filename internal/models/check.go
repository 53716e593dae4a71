package models

import (
	"fmt"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// maxViolations is how many of them a person is told at once.
const maxViolations = 20

// checkDeclaration lists what an interface does not allow in a declaration, one sentence each, sorted.
func checkDeclaration(device *dtdl.Interface, declared twin.Declaration) []string {
	var found []string
	unknown := map[string]bool{}
	for leaf, value := range declared {
		path := "spec.properties." + leaf.Name
		if leaf.Component != "" {
			path = fmt.Sprintf("spec.components[%s].properties.%s", leaf.Component, leaf.Name)
		}
		holder, problem := part(device, leaf.Component)
		if problem != "" {
			unknown[fmt.Sprintf("spec.components[%s] %s", leaf.Component, problem)] = true
			continue
		}
		found = append(found, checkProperty(holder, leaf.Name, value, path)...)
	}
	for problem := range unknown {
		found = append(found, problem)
	}
	slices.Sort(found)
	return bounded(found)
}

func checkProperty(holder *dtdl.Interface, name string, value any, path string) []string {
	property := holder.Property(name)
	switch {
	case property == nil:
		return []string{fmt.Sprintf("%s is %s, want %s", path, otherContent(holder, name), choice("a writable property", writable(holder)))}
	case !property.Writable:
		return []string{fmt.Sprintf("%s is a read-only property, want %s", path, choice("a writable property", writable(holder)))}
	}
	return texts(property.Schema.Validate(value, path))
}

// part is the interface that has what is declared of a component, or of the device itself.
func part(device *dtdl.Interface, component string) (holder *dtdl.Interface, problem string) {
	if component == "" {
		return device, ""
	}
	if c := device.Component(component); c != nil {
		return c.Interface, ""
	}
	var names []string
	for _, c := range device.Components {
		names = append(names, c.Name)
	}
	return nil, fmt.Sprintf("is %s, want %s", otherContent(device, component), choice("a component", names))
}

// otherContent says what a name is, if it is not what was asked for.
func otherContent(holder *dtdl.Interface, name string) string {
	if kind := holder.Content(name); kind != "" {
		return fmt.Sprintf("a %s of %s", strings.ToLower(kind), holder.DTMI)
	}
	return "not in " + holder.DTMI
}

// choice offers what there is, if it is not too much.
func choice(what string, names []string) string {
	const most = 12
	switch {
	case len(names) == 0:
		return what + ", of which it has none"
	case len(names) > most:
		return what
	}
	slices.Sort(names)
	return what + ": " + strings.Join(names, ", ")
}

func writable(i *dtdl.Interface) []string {
	var names []string
	for _, p := range i.Properties {
		if p.Writable {
			names = append(names, p.Name)
		}
	}
	return names
}

// checkCommand lists what an interface does not allow in a command.
func checkCommand(device *dtdl.Interface, spec *v1alpha1.DeviceCommandSpec) []string {
	holder, problem := part(device, spec.Component)
	if problem != "" {
		return []string{"spec.component " + problem}
	}
	command := holder.Command(spec.Command)
	if command == nil {
		var names []string
		for _, c := range holder.Commands {
			names = append(names, c.Name)
		}
		return []string{fmt.Sprintf("spec.command %q is %s, want %s", spec.Command, otherContent(holder, spec.Command), choice("a command", names))}
	}
	payload := declaration.Value(spec.Payload)
	if command.Request == nil {
		if payload != nil {
			return []string{fmt.Sprintf("spec.payload is given, want none: command %q takes no request", spec.Command)}
		}
		return nil
	}
	return bounded(texts(command.Request.Validate(payload, "spec.payload")))
}

func texts(errors []dtdl.ValueError) []string {
	all := make([]string, len(errors))
	for i, e := range errors {
		all[i] = e.Error()
	}
	return all
}

func bounded(violations []string) []string {
	if len(violations) <= maxViolations {
		return violations
	}
	return append(violations[:maxViolations:maxViolations], fmt.Sprintf("and %d more", len(violations)-maxViolations))
}
