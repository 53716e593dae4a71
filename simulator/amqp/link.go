package amqp

import (
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
)

const (
	cbsNode        = "$cbs"
	managementNode = "$management"

	maxMessage   = 1 << 20
	senderCredit = 300
	// maxAnswers wait for credit; azeventhubs asks before it grants any.
	maxAnswers = 1000
)

// link is one direction of messages. conn.mu guards it.
type link struct {
	conn    *conn
	session *session
	name    string
	handle  uint32
	sends   bool // we do
	settled bool
	address string // of the node
	reply   string // the peer's target, where answers go
	largest uint64 // message that the peer takes; 0: any

	credit, deliveries uint32
	drain              bool

	incoming incoming  // a message that comes in parts
	answers  [][]byte  // to send
	partly   *outgoing // sent in part
	receiver *receiver // of a partition
	target   *target   // of a sending client
}

// attach answers a new link. An error is the connection's.
func (c *conn) attach(s *session, p wire.Performative) error {
	l := c.newLink(s, p)
	switch {
	case l.handle > maxHandle:
		return conditionf(condFraming, "handle %d is above the maximum of %d", l.handle, maxHandle)
	case s.links[l.handle] != nil:
		c.end(s, conditionf(condHandleInUse, "handle %d is in use", l.handle))
		return nil
	}
	if l.sends && c.server.isHubEndpoint(l.address) {
		c.redirect(l, p)
		return nil
	}
	why := c.openNode(l, p)
	if why != nil && why.name != condStolen {
		c.refuse(l, p, why)
		return nil
	}
	c.accept(l, p)
	if why != nil { // azeventhubs sees a lost ownership only in a link that was open
		c.detach(l, why)
	}
	return nil
}

func (c *conn) newLink(s *session, p wire.Performative) *link {
	l := &link{
		conn: c, session: s, name: p.Text(0), handle: p.Uint(1, 0), sends: p.Bool(2), settled: p.At(3) != uint8(0), largest: p.Ulong(10),
		address: nodeOf(p.Composite(6).Text(0)), reply: p.Composite(6).Text(0),
	}
	if l.sends {
		l.address = nodeOf(p.Composite(5).Text(0))
	}
	return l
}

// nodeOf is the node that an address names: Go's and Node's clients write its path, Python's a URL such as
// amqps://namespace/hub/ConsumerGroups/group/Partitions/0.
func nodeOf(address string) string {
	if _, rest, isURL := strings.Cut(address, "://"); isURL {
		_, address, _ = strings.Cut(rest, "/")
	}
	return strings.Trim(address, "/")
}

// refuse shows neither source nor target, and a detach follows ("OASIS AMQP Version 1.0", 2.6.3). Only so does azeventhubs take
// the error as the answer to its attach, and fails at once; a link that opens and ends is one to open again.
func (c *conn) refuse(l *link, p wire.Performative, why *condition) {
	c.attached(l, p, nil, nil)
	c.frame(l.session.channel, wire.Detach, l.handle, true, why.value())
}

func (c *conn) accept(l *link, p wire.Performative) {
	l.session.links[l.handle] = l
	c.attached(l, p, p.At(5), p.At(6))
	if l.sends {
		l.session.senders = append(l.session.senders, l)
		return
	}
	l.credit = senderCredit
	c.linkFlow(l)
}

// attached echoes the settlement modes: azeventhubs refuses a link whose mode differs from what it asked for. The properties are
// empty, and there: azure-eventhub 5.11 for Python joins them to its own.
func (c *conn) attached(l *link, p wire.Performative, source, dest any) {
	var first any
	limit := uint64(maxMessage)
	if l.sends {
		first, limit = uint32(0), 0 // azeventhubs would hold us to a limit of our own
	}
	c.frame(l.session.channel, wire.Attach, l.name, l.handle, !l.sends, p.At(3), p.At(4), source, dest, nil, nil, first, limit, nil, nil, wire.Map{})
}

// openNode says what a link is connected to, or why it is not.
func (c *conn) openNode(l *link, p wire.Performative) *condition {
	if l.address == cbsNode {
		return c.openCBS(l)
	}
	if why := c.server.faults.attach(); why != nil {
		return why
	}
	if !c.claims.cover(c.needOf(l), c.server.options.Clock()) {
		return conditionf(condUnauthorized, "Unauthorized access. '%s' claim(s) are required to perform this operation.", rightNames[l.sends])
	}
	switch {
	case l.address == managementNode:
		return nil
	case l.sends:
		return c.openReceiver(l, p)
	default:
		return c.openTarget(l)
	}
}

// rightNames are what links need, by whether we send on them.
var rightNames = map[bool]string{true: "Listen", false: "Send"}

func (c *conn) needOf(l *link) need {
	if l.address == managementNode {
		return need{address: managementNode, any: true}
	}
	return need{address: strings.ToLower(l.address), listen: l.sends}
}

// openCBS lets one pair of links to $cbs be open on a connection, as Microsoft's live tests see Event Hubs do.
func (c *conn) openCBS(l *link) *condition {
	for _, s := range c.sessions {
		for _, o := range s.links {
			if o.address == cbsNode && o.sends == l.sends {
				return &condition{condNotAllowed, "$cbs node has already been opened."}
			}
		}
	}
	return nil
}
