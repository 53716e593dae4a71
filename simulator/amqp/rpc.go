package amqp

import (
	"net/http"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

// request is a message to $cbs or $management.
type request struct {
	id, replyTo any
	application wire.Map
	body        any
}

func parseRequest(message []byte) (request, error) {
	sections, err := wire.ParseSections(message)
	var r request
	for _, s := range sections {
		switch s.Descriptor {
		case wire.SectionProperties:
			fields, _ := s.Value.([]any)
			p := wire.Performative{Fields: fields}
			r.id, r.replyTo = p.At(0), p.At(4)
		case wire.SectionApplication:
			r.application, _ = s.Value.(wire.Map)
		case wire.SectionValue:
			r.body = s.Value
		}
	}
	return r, err
}

func (r request) text(name string) string { s, _ := r.application.Get(name).(string); return s }

// answer encodes a response. azeventhubs panics without the properties section, and insists on a status of type int.
func (r request) answer(code int32, description, name string, body any) []byte {
	b := wire.List(nil, wire.SectionProperties, nil, nil, r.replyTo, nil, nil, r.id)
	application := wire.Map{"status-code", code, "status-description", description}
	if name != "" {
		application = append(application, "error-condition", wire.Symbol(name))
	}
	b = wire.AppendSection(b, wire.SectionApplication, application)
	return wire.AppendSection(b, wire.SectionValue, body)
}

func (r request) refusal(code int32, why *condition) []byte {
	return r.answer(code, why.text, why.name, nil)
}

// respond answers a request that came in on a link.
func (c *conn) respond(l *link, message []byte) {
	r, err := parseRequest(message)
	var answer []byte
	switch {
	case err != nil:
		answer = r.refusal(http.StatusBadRequest, &condition{condDecode, err.Error()})
	case l.address == cbsNode && r.text("operation") == "put-token":
		answer = c.putToken(r)
	case l.address == managementNode && c.server.faults.ignores(r):
		return
	case l.address == managementNode && r.text("operation") == "READ":
		answer = c.server.readProperties(r)
	default:
		answer = r.refusal(http.StatusBadRequest, unsupported())
	}
	to := l.replyLink(r)
	switch {
	case to == nil:
	case len(to.answers) >= maxAnswers:
		c.detach(l, conditionf(condResourceLimit, "More than %d answers wait for credit.", maxAnswers))
	default:
		to.answers = append(to.answers, answer)
	}
}

func unsupported() *condition { return &condition{condNotSupported, "The operation is not supported."} }

// replyLink is the link that the request names, or one on the same node that does not say what it is called: Go's client names
// its target, Node's its link, which has no target. The answer waits there for credit.
func (l *link) replyLink(r request) *link {
	to, _ := r.replyTo.(string)
	for _, o := range l.session.senders {
		if o.address == l.address && (to == "" || o.reply == to || o.name == to || o.reply == "") {
			return o
		}
	}
	return nil
}
