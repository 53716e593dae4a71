package amqp

import (
	"net"
	"strings"

	"github.com/pnp-operator/pnp-operator/simulator/amqp/wire"
	"github.com/pnp-operator/pnp-operator/simulator/auth"
)

// defaultPort is that of AMQP over TLS.
const defaultPort = 5671

// isHubEndpoint reports whether a node is where the IoT hub itself offers its events. Clients that start with the connection string
// of a hub, such as the Azure CLI, ask there for the way to the event hub.
func (s *Server) isHubEndpoint(node string) bool {
	const events = "messages/events"
	node = strings.ToLower(node)
	return s.options.HubHostName != "" && (node == events || strings.HasPrefix(node, events+"/"))
}

// redirect sends a reader to the event hub, as the hub was seen to (azure-event-hubs#167, azure-sdk-for-js#7060), if it has logged
// in with a token of the hub.
func (c *conn) redirect(l *link, p wire.Performative) {
	o := c.server.options
	if err := o.Policies.Authorize(c.password, o.HubHostName, auth.ServiceConnect, o.Clock()); err != nil {
		c.refuse(l, p, conditionf(condUnauthorized, "The endpoint of the hub wants a token as the password of PLAIN: %v", err))
		return
	}
	c.attached(l, p, nil, nil)
	why := wire.ErrorOf(condRedirect, "Link redirected to "+o.Namespace+".", wire.Map{
		wire.Symbol("hostname"), o.Namespace, wire.Symbol("network-host"), o.Namespace, wire.Symbol("port"), c.port(),
		wire.Symbol("address"), "amqps://" + o.Namespace + "/" + o.Log.Name(),
	})
	c.frame(l.session.channel, wire.Detach, l.handle, true, why)
}

// port is where this server was reached: it is the event hub, too.
func (c *conn) port() uint32 {
	if a, ok := c.net.LocalAddr().(*net.TCPAddr); ok {
		return uint32(a.Port)
	}
	return defaultPort
}
