package models

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/declaration"
	"github.com/pnp-operator/pnp-operator/internal/dtdl"
	"github.com/pnp-operator/pnp-operator/internal/twin"
)

// checkDeclaration lists what an interface does not allow in a declaration, one sentence each, sorted by path.
func checkDeclaration(device *dtdl.Interface, declared twin.Declaration) []string {
	leaves := slices.SortedFunc(maps.Keys(declared), func(a, b twin.Leaf) int {
		return cmp.Or(cmp.Compare(a.Component, b.Component), cmp.Compare(a.Name, b.Name))
	})
	c := declarationCheck{writable: map[*dtdl.Interface]string{}}
	unknown := map[string]bool{}
	for _, leaf := range leaves {
		holder, ok := device, true
		path := "spec.properties." + leaf.Name
		if leaf.Component != "" {
			holder, ok = componentOf(device, leaf.Component)
			path = fmt.Sprintf("spec.components[%s].properties.%s", leaf.Component, leaf.Name)
		}
		if ok {
			c.property(holder, leaf.Name, declared[leaf], path)
		} else if !unknown[leaf.Component] {
			unknown[leaf.Component] = true
			c.violations.Add(func() string {
				return fmt.Sprintf("spec.components[%s] %s", leaf.Component, noComponent(device, leaf.Component))
			})
		}
	}
	return c.violations.Texts()
}

// declarationCheck is the state of one checkDeclaration.
type declarationCheck struct {
	violations declaration.Violations
	writable   map[*dtdl.Interface]string // what each takes, as messages offer it
}

func (c *declarationCheck) property(holder *dtdl.Interface, name string, value any, path string) {
	property := holder.Property(name)
	switch {
	case property == nil:
		c.violations.Add(func() string {
			return fmt.Sprintf("%s is %s, want %s", path, otherContent(holder, name), c.choice(holder))
		})
	case !property.Writable:
		c.violations.Add(func() string { return fmt.Sprintf("%s is a read-only property, want %s", path, c.choice(holder)) })
	default:
		addAll(&c.violations, property.Schema.Validate(value, path))
	}
}

func addAll(violations *declaration.Violations, errors []dtdl.ValueError) {
	for _, e := range errors {
		violations.Add(e.Error)
	}
}

// choice offers the writable properties of an interface.
func (c *declarationCheck) choice(holder *dtdl.Interface) string {
	if _, known := c.writable[holder]; !known {
		c.writable[holder] = choice("a writable property", writable(holder))
	}
	return c.writable[holder]
}

func componentOf(device *dtdl.Interface, name string) (*dtdl.Interface, bool) {
	if c := device.Component(name); c != nil {
		return c.Interface, true
	}
	return nil, false
}

func noComponent(device *dtdl.Interface, name string) string {
	var names []string
	for _, c := range device.Components {
		names = append(names, c.Name)
	}
	return fmt.Sprintf("is %s, want %s", otherContent(device, name), choice("a component", names))
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
	holder := device
	if spec.Component != "" {
		var ok bool
		if holder, ok = componentOf(device, spec.Component); !ok {
			return []string{"spec.component " + noComponent(device, spec.Component)}
		}
	}
	command := holder.Command(spec.Command)
	if command == nil {
		var names []string
		for _, c := range holder.Commands {
			names = append(names, c.Name)
		}
		return []string{fmt.Sprintf("spec.command %q is %s, want %s", spec.Command, otherContent(holder, spec.Command), choice("a command", names))}
	}
	return checkPayload(command, spec)
}

func checkPayload(command *dtdl.Command, spec *v1alpha1.DeviceCommandSpec) []string {
	if spec.Payload != nil && len(spec.Payload.Raw) > declaration.MaxPayload {
		return []string{fmt.Sprintf("spec.payload has %d bytes, want at most %d", len(spec.Payload.Raw), declaration.MaxPayload)}
	}
	payload := declaration.Value(spec.Payload)
	if command.Request == nil {
		if payload != nil {
			return []string{fmt.Sprintf("spec.payload is given, want none: command %q takes no request", spec.Command)}
		}
		return nil
	}
	var violations declaration.Violations
	addAll(&violations, command.Request.Validate(payload, "spec.payload"))
	return violations.Texts()
}
