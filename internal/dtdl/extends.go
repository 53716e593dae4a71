package dtdl

import (
	"math"
	"slices"
)

// progress is how far a walk over elements that may form a circle has come.
type progress uint8

const (
	untouched progress = iota
	underWay
	done
)

// inheritance is what an interface is made of, with all that it extends.
type inheritance struct {
	progress  progress
	ancestors []*element
	contents  []*element // its own first
	component *element   // the first of them that is one
	depth     int        // of the longest way up
	ways      int        // up, all of them
}

// inherit works out the contents of every interface.
func (p *parser) inherit() {
	work := 0
	for _, el := range p.all {
		if el.class == classInterface && !p.stopped {
			p.inheritance(el, &work)
		}
	}
}

// inheritance works out the contents of one interface: DTDL v2 to v4, "Interface", "extends".
func (p *parser) inheritance(el *element, work *int) *inheritance {
	if el.inherited == nil {
		el.inherited = &inheritance{}
	}
	inh := el.inherited
	if inh.progress != untouched || p.stopped {
		return inh
	}
	inh.progress = underWay
	inh.contents = el.linked("contents")
	p.ascend(el, work)
	p.merge(el, work)
	if at := slices.IndexFunc(inh.contents, func(c *element) bool { return c.class == classComponent }); at >= 0 {
		inh.component = inh.contents[at]
	}
	inh.progress = done
	p.extendsFits(el)
	return inh
}

// ascend collects the ancestors of an interface.
func (p *parser) ascend(el *element, work *int) {
	inh := el.inherited
	seen := map[*element]bool{}
	for _, l := range el.links {
		if l.property.name != "extends" || l.to == nil {
			continue
		}
		parent := p.inheritance(l.to, work)
		if parent.progress == underWay {
			p.report(el, l.at, "extendsCycle", "extends %s, which extends this interface", quote(l.to.dtmi()))
			continue
		}
		inh.depth = max(inh.depth, parent.depth+1)
		inh.ways = saturated(inh.ways, parent.ways+1)
		for i := -1; i < len(parent.ancestors) && p.inherits(el, work); i++ {
			ancestor := l.to
			if i >= 0 {
				ancestor = parent.ancestors[i]
			}
			if !seen[ancestor] {
				seen[ancestor] = true
				inh.ancestors = append(inh.ancestors, ancestor)
			}
		}
	}
}

// inherits counts what interfaces inherit. It is false once that is too much.
func (p *parser) inherits(el *element, work *int) bool {
	if *work++; *work > maxInherited && !p.stopped {
		p.stop(el, el.at.member("extends"), "makes the interfaces inherit more than %d contents and interfaces in all, want at most that", maxInherited)
	}
	return !p.stopped
}

// merge adds the contents of the ancestors. The same element may come on several ways, but a name stands for one element.
func (p *parser) merge(el *element, work *int) {
	inh := el.inherited
	if len(inh.ancestors) == 0 {
		return
	}
	names := make(map[string]*element, len(inh.contents))
	for _, own := range inh.contents {
		names[own.text("name")] = own
	}
	for _, ancestor := range inh.ancestors {
		for _, l := range ancestor.links {
			if l.property.name != "contents" || l.to == nil {
				continue
			}
			if !p.inherits(el, work) {
				return
			}
			p.inheritContent(el, ancestor, l.to, names)
		}
	}
}

func (p *parser) inheritContent(el, ancestor, content *element, names map[string]*element) {
	name := content.text("name")
	other, taken := names[name]
	switch {
	case !taken:
		names[name] = content
		el.inherited.contents = append(el.inherited.contents, content)
	case other != content && name != "":
		p.report(el, el.at, "nameRepeated", "has %q of %s and of %s", name, quote(other.owner.dtmi()), quote(ancestor.dtmi()))
	}
}

// extendsFits checks the limits of inheritance.
func (p *parser) extendsFits(el *element) {
	inh, l := el.inherited, el.ctx.limits()
	at := el.at.member("extends")
	if inh.depth > l.extendsDepth {
		p.report(el, at, "extendsTooDeep", "extends interfaces %d levels deep, want at most %d", inh.depth, l.extendsDepth)
	}
	if l.hierarchy > 0 && inh.ways > l.hierarchy {
		p.report(el, at, "extendsTooMany", "extends %d interfaces in all, each counted on every way to it, want at most %d", inh.ways, l.hierarchy)
	}
	if l.contents > 0 && len(inh.contents) > l.contents {
		p.report(el, el.at.member("contents"), "tooMany", "has %d contents, inherited ones included, want at most %d", len(inh.contents), l.contents)
	}
}

// saturated adds what may grow exponentially.
func saturated(a, b int) int { return min(a+b, math.MaxInt32) }
