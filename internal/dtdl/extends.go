package dtdl

import "math"

// progress is how far a walk over elements that may form a circle has come.
type progress uint8

const (
	untouched progress = iota
	underWay
	done
)

// maxWork bounds how often contents and ancestors are handed down, all interfaces together.
const maxWork = 4_000_000

// inheritance is what an interface is made of, with all that it extends.
type inheritance struct {
	progress  progress
	ancestors []*element
	contents  []*element // its own first
	names     map[string]*element
	depth     int // of the longest way up
	ways      int // up, all of them
}

// inherit works out the contents of every interface.
func (p *parser) inherit() {
	work := 0
	for _, el := range p.all {
		if el.class == classInterface {
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
	if inh.progress != untouched {
		return inh
	}
	inh.progress = underWay
	inh.contents = el.linked("contents")
	seen := map[*element]bool{}
	for _, l := range el.links {
		if l.property.name != "extends" || l.to == nil {
			continue
		}
		parent := p.inheritance(l.to, work)
		if parent.progress == underWay {
			p.report(el, l.at, "extendsCycle", "extends %s, which extends this interface", quote(l.to.id))
			continue
		}
		inh.depth = max(inh.depth, parent.depth+1)
		inh.ways = saturated(inh.ways, parent.ways+1)
		inh.add(l.to, seen, work)
		for _, ancestor := range parent.ancestors {
			inh.add(ancestor, seen, work)
		}
	}
	if *work > maxWork {
		p.report(el, el.at, "tooLarge", "makes the documents inherit more than %d contents in all", maxWork)
	}
	p.merge(el, work)
	inh.progress = done
	p.extendsFits(el)
	return inh
}

func (inh *inheritance) add(ancestor *element, seen map[*element]bool, work *int) {
	if seen[ancestor] || *work > maxWork {
		return
	}
	*work++
	seen[ancestor] = true
	inh.ancestors = append(inh.ancestors, ancestor)
}

// merge adds the contents of the ancestors. The same element may come on several ways, but a name stands for one element.
func (p *parser) merge(el *element, work *int) {
	inh := el.inherited
	names := map[string]*element{}
	inh.names = names
	for _, own := range inh.contents {
		names[own.text("name")] = own
	}
	for _, ancestor := range inh.ancestors {
		for _, content := range ancestor.linked("contents") {
			if *work++; *work > maxWork {
				return
			}
			name := content.text("name")
			other, taken := names[name]
			switch {
			case !taken:
				names[name] = content
				inh.contents = append(inh.contents, content)
			case other != content && name != "":
				p.report(el, el.at, "nameRepeated", "has %q of %s and of %s", name, quote(other.owner.id), quote(ancestor.id))
			}
		}
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
