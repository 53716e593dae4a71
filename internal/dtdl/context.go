package dtdl

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
)

const dtdlContext = "dtmi:dtdl:context;"

// The parts of the context of DTDL v4: the language without its limits, and the limits alone.
const (
	limitless  = dtdlContext + "4#limitless"
	limitsOnly = dtdlContext + "4#limits"
)

// iotCentralContext is the only extension that may come before the context of DTDL: it says that version 2 is meant.
const iotCentralContext = "dtmi:iotcentral:context;2"

// context is what the terms of an element mean: DTDL v2 to v4, section "Context".
type context struct {
	version    int
	extensions []*extension
	// incomplete contexts name an extension that nobody here knows. In DTDL v2 that allows any term; later it is an error.
	incomplete bool
}

// context reads the @context of an element, which adds to the one of the element that it is in. It is nil if there is none
// that can be used.
func (p *parser) context(n placed, outer *context) *context {
	value, ok := n.get("@context")
	at := n.at.member("@context")
	specifiers, good := p.specifiers(value, at)
	switch {
	case !good:
		return nil
	case len(specifiers) > 0:
		return p.extend(specifiers, at, outer)
	case outer != nil:
		return outer
	case ok:
		p.report(nil, at, "contextMissing", "is empty, want %s2 to %d", dtdlContext, newestVersion)
	default:
		p.report(nil, n.at, "contextMissing", "has no @context, want %s2 to %d", dtdlContext, newestVersion)
	}
	return nil
}

// specifiers lists what an @context names.
func (p *parser) specifiers(value *node, at *place) ([]string, bool) {
	if value == nil {
		return nil, true
	}
	items := []node{*value}
	if value.kind == listKind {
		items = value.items
	}
	var names []string
	for i := range items {
		if items[i].kind != stringKind {
			p.report(nil, at, "contextInvalid", "is or contains %s, want the DTMIs of contexts", items[i].show())
			return nil, false
		}
		names = append(names, items[i].text)
	}
	return names, true
}

// extend takes the contexts of extensions that say which DTDL they mean, then DTDL's, then other extensions'.
func (p *parser) extend(names []string, at *place, outer *context) *context {
	ctx := &context{}
	if outer != nil {
		*ctx = *outer
		ctx.extensions = slices.Clone(outer.extensions)
	}
	names = joined(names)
	first := 0
	for first < len(names) && names[first] == iotCentralContext {
		ctx.add(extensions[iotCentralContext])
		first++
	}
	for first < len(names) && strings.HasPrefix(names[first], dtdlContext) {
		if ctx.version = dtdlVersion(names[first]); ctx.version == 0 {
			p.report(nil, at, "contextUnknown", "names %s, want %s", quote(names[first]), contextFor(names[first]))
			return nil
		}
		first++
	}
	if ctx.version == 0 {
		p.report(nil, at, "contextMissing", "begins with %s, want %s2 to %d", quote(names[0]), dtdlContext, newestVersion)
		return nil
	}
	for _, name := range names[first:] {
		if !p.addExtension(ctx, name, at) {
			return nil
		}
	}
	return ctx
}

// joined has the whole context of DTDL v4 for its part without limits, wherever the limits follow:
// DTDL v4, "Context". A part that is alone stays, and is no version of DTDL.
func joined(names []string) []string {
	whole := dtdlContext + "4"
	var all []string
	for i := 0; i < len(names); i++ {
		if names[i] == limitless && i+1 < len(names) && (names[i+1] == limitsOnly || names[i+1] == whole) {
			all = append(all, whole)
			i++
			continue
		}
		all = append(all, names[i])
	}
	return all
}

// contextFor says what is wanted in place of a context that is none of DTDL's.
func contextFor(name string) string {
	switch name {
	case limitless:
		return "it right before " + limitsOnly + ": other limits than DTDL's own are not taken"
	case limitsOnly:
		return "it right after " + limitless
	}
	return fmt.Sprintf("%s2 to %d", dtdlContext, newestVersion)
}

// dtdlVersion is the version that a context of DTDL names, or 0. Since v3 it may have a minor version, which adds nothing yet.
func dtdlVersion(name string) int {
	major, _, _ := strings.Cut(strings.TrimPrefix(name, dtdlContext), ".")
	for version := oldestVersion; version <= newestVersion; version++ {
		if major == strconv.Itoa(version) && validDTMI(name, version) {
			return version
		}
	}
	return 0
}

func (p *parser) addExtension(ctx *context, name string, at *place) bool {
	major, _, _ := strings.Cut(name, ".")
	known := extensions[major]
	switch {
	case strings.HasPrefix(name, dtdlContext):
		p.report(nil, at, "contextOrder", "names %s after an extension, want it first", quote(name))
	case !validDTMI(name, ctx.version) || !strings.Contains(name, ";"):
		p.report(nil, at, "contextInvalid", "names %s, want the DTMI of an extension with its version", quote(name))
	case strings.HasPrefix(name, "dtmi:dtdl:limits:"):
		p.report(nil, at, "contextUnknown", "names %s; limits other than DTDL's own are not taken", quote(name))
	case known != nil:
		ctx.add(known)
		return true
	case ctx.version == 2:
		ctx.incomplete = true
		return true
	default:
		p.report(nil, at, "contextUnknown", "names %s, which is no known extension; DTDL v%d takes none that is unknown", quote(name), ctx.version)
	}
	return false
}

// add activates an extension; another version of it ends.
func (c *context) add(e *extension) {
	c.extensions = slices.DeleteFunc(c.extensions, func(other *extension) bool { return other.id == e.id })
	c.extensions = append(c.extensions, e)
}

// limits are those of the context's version of DTDL.
func (c *context) limits() *limits { return &versionLimits[c.version] }

// active lists what adds terms, the semantic types of DTDL v2 first: an extension does not change what DTDL defines.
func (c *context) active() []*extension {
	if c.version == 2 {
		return append([]*extension{version2}, c.extensions...)
	}
	return c.extensions
}

// cotype finds a co-type by its term or DTMI.
func (c *context) cotype(name string) *cotype {
	if strings.HasPrefix(name, "dtmi:") {
		return cotypesByID[name]
	}
	for _, e := range c.active() {
		if found := e.cotypes[name]; found != nil {
			return found
		}
	}
	return nil
}

// reserved says whether only DTDL or an extension may define an identifier.
func (c *context) reserved(id string) bool {
	return reservedID(id) || slices.ContainsFunc(c.extensions, func(e *extension) bool {
		return e.reserved != "" && strings.HasPrefix(id, e.reserved)
	})
}

// schema gives the DTMI of the standard schema, or command type, that a term stands for.
func (c *context) schema(term string) (string, bool) {
	if id, ok := standardTerms[c.version][term]; ok {
		return id, true
	}
	for _, e := range c.extensions {
		if id, ok := e.schemas[term]; ok {
			return id, true
		}
	}
	return "", false
}

// knows says whether the context defines a term at all, of whatever kind.
func (c *context) knows(term string) bool {
	if _, ok := c.schema(term); ok || knownClasses[term] || propertyTerms[term] {
		return true
	}
	for _, e := range c.active() {
		if e.cotypes[term] != nil || e.units[term] != nil || e.defines(term) {
			return true
		}
	}
	return false
}

// defines says whether a term is a unit or a property of the extension.
func (e *extension) defines(term string) bool {
	for _, units := range e.units {
		if units[term] {
			return true
		}
	}
	for _, c := range e.cotypes {
		if c.find(term) != nil {
			return true
		}
	}
	return false
}

var propertyTerms = func() map[string]bool {
	terms := map[string]bool{}
	for _, table := range classProperties {
		for _, property := range append(slices.Clone(table), describing...) {
			terms[property.name] = true
		}
	}
	return terms
}()
