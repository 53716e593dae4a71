package amqp

import (
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/pnp-operator/pnp-operator/internal/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/internal/simulator/eventhub"
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

// answer encodes a response. Clients insist on the properties section with the request's id, and on a status of type int.
func (r request) answer(code int32, description, name string, body any) []byte {
	b := wire.List(nil, wire.SectionProperties, nil, nil, r.replyTo, nil, nil, r.id)
	application := wire.Map{"status-code", code, "status-description", description}
	if name != "" {
		application = append(application, "error-condition", wire.Symbol(name))
	}
	b = wire.AppendSection(b, wire.SectionApplication, application)
	return wire.AppendSection(b, wire.SectionValue, body)
}

// respond answers a request that came in on a link. The answer goes to the link that the request names, or to the one on
// the same node: Node's client names its link, Go's its target. It waits there for credit.
func (c *conn) respond(l *link, message []byte) {
	r, err := parseRequest(message)
	var answer []byte
	switch {
	case err != nil:
		answer = r.answer(http.StatusBadRequest, err.Error(), condDecode, nil)
	case l.address == cbsNode && r.text("operation") == "put-token":
		answer = c.putToken(r)
	case l.address == managementNode && r.text("operation") == "READ":
		answer = c.readProperties(r)
	default:
		answer = r.answer(http.StatusBadRequest, "The operation is not supported.", condNotSupported, nil)
	}
	to, _ := r.replyTo.(string)
	for _, o := range l.session.senders {
		if o.address == l.address && (to == "" || o.reply == to || o.name == to || o.reply == "") {
			o.answers = append(o.answers, answer)
			return
		}
	}
}

func (c *conn) putToken(r request) []byte {
	token, _ := r.body.(string)
	claim, err := c.server.claimOf(r.text("name"), r.text("type"), token)
	if err == nil {
		err = c.server.faults.putToken()
	}
	if err != nil {
		return r.answer(http.StatusUnauthorized, err.Error(), condUnauthorized, nil)
	}
	c.claims[entity(r.text("name"))] = claim
	return r.answer(http.StatusAccepted, "Accepted", "", nil)
}

func (c *conn) readProperties(r request) []byte {
	log := c.server.options.Log
	if name := r.text("name"); !log.Exists() || !strings.EqualFold(name, log.Name()) {
		return r.answer(http.StatusNotFound, fmt.Sprintf("The messaging entity '%s' could not be found.", name), condNotFound, nil)
	}
	switch r.text("type") {
	case "com.microsoft:eventhub":
		return r.answer(http.StatusOK, "OK", "", hubProperties(log))
	case "com.microsoft:partition":
		p := log.Partition(r.text("partition"))
		if p == nil {
			return r.answer(http.StatusBadRequest, "The specified partition is invalid for an EventHub partition sender or receiver.", condOutOfRange, nil)
		}
		return r.answer(http.StatusOK, "OK", "", partitionProperties(log, p))
	}
	return r.answer(http.StatusBadRequest, "The operation is not supported.", condNotSupported, nil)
}

// hubProperties: azeventhubs wants the ids as an array of strings and the replication factor to be there.
func hubProperties(log *eventhub.Log) wire.Map {
	ids := make([]string, len(log.Partitions()))
	for i, p := range log.Partitions() {
		ids[i] = p.ID()
	}
	return wire.Map{
		"name", log.Name(), "type", "com.microsoft:eventhub", "created_at", log.Created(),
		"partition_count", int32(len(ids)), "partition_ids", ids, "georeplication_factor", int32(1),
	}
}

func partitionProperties(log *eventhub.Log, p *eventhub.Partition) wire.Map {
	i := p.Info()
	return wire.Map{
		"name", log.Name(), "type", "com.microsoft:partition", "partition", p.ID(),
		"begin_sequence_number", i.Begin, "last_enqueued_sequence_number", i.Last,
		"last_enqueued_offset", strconv.FormatInt(i.LastOffset, 10), "last_enqueued_time_utc", i.LastTime,
		"is_partition_empty", i.IsEmpty,
	}
}

// appendMetrics tells a receiver that asked for it where its partition ends.
func appendMetrics(b []byte, i eventhub.Info, now time.Time) []byte {
	return wire.AppendSection(b, wire.SectionDeliveryAnnotations, wire.Map{
		wire.Symbol("last_enqueued_sequence_number"), i.Last,
		wire.Symbol("last_enqueued_offset"), strconv.FormatInt(i.LastOffset, 10),
		wire.Symbol("last_enqueued_time_utc"), i.LastTime,
		wire.Symbol("runtime_info_retrieval_time_utc"), now,
	})
}
