package dtdl

// identify reads @id, or what its stand-in is generated from: DTDL v2 to v4, "Digital Twin Model Identifier".
func (p *parser) identify(n placed, el *element) {
	value, ok := n.get("@id")
	if ok {
		el.id = p.givenID(value, n.at.member("@id"), el)
		return
	}
	if el.parent == nil {
		p.report(el, n.at, "idMissing", "has no @id, want a DTMI")
		return
	}
	if el.via.named {
		p.report(el.parent, n.at, "idMissing", "has no @id, which is needed in %q", el.via.name)
	}
	if found, ok := n.get("name"); ok && el.via.plural && found.kind == stringKind {
		el.label = cut(found.text)
	}
}

func (p *parser) givenID(value *node, at *place, el *element) string {
	if value.kind != stringKind {
		p.report(el, at, "idInvalid", "is %s, want a DTMI", value.show())
		return ""
	}
	el.given = true
	id := value.text
	named := &element{id: cut(id), owner: el.owner}
	longest := maxID
	if el.via.class == classInterface {
		longest = MaxInterfaceID
	}
	switch {
	case len(id) > longest:
		p.report(named, at, "idTooLong", "is a DTMI of %d characters, want at most %d", len(id), longest)
	case !validDTMI(id, el.version):
		p.report(named, at, "idInvalid", "is %s, want a DTMI %s", quote(id), dtmiForm(el.version))
	case el.ctx.reserved(id):
		p.report(named, at, "idReserved", "is %s, which only DTDL and its extensions may define", quote(id))
	default:
		return id
	}
	return cut(id)
}

func dtmiForm(version int) string {
	if version == 2 {
		return "such as dtmi:com:example:Thermostat;1"
	}
	return "such as dtmi:com:example:Thermostat;1, dtmi:com:example:Thermostat;1.2 or dtmi:com:example:Thermostat"
}
