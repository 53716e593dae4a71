package mqtt

import (
	"bytes"
	"fmt"

	broker "github.com/mochi-mqtt/server/v2"
	"github.com/mochi-mqtt/server/v2/packets"
)

// hook is where the hub's rules meet the broker.
type hook struct {
	broker.HookBase
	server *Server
}

func (h *hook) ID() string { return "iothub" }

func (h *hook) Provides(b byte) bool {
	return bytes.IndexByte([]byte{
		broker.OnConnectAuthenticate, broker.OnACLCheck, broker.OnConnect, broker.OnSessionEstablished, broker.OnSubscribed,
		broker.OnUnsubscribed, broker.OnPacketRead, broker.OnPublish, broker.OnWill,
	}, b) >= 0
}

// OnConnect caps the keep-alive and leaves MQTT 5 to others.
func (h *hook) OnConnect(cl *broker.Client, pk packets.Packet) error {
	if pk.ProtocolVersion != 4 {
		return fmt.Errorf("MQTT version %d is not simulated", pk.ProtocolVersion)
	}
	if k := cl.State.Keepalive; k == 0 || k > maxKeepAlive {
		cl.State.Keepalive = maxKeepAlive
	}
	return nil
}

// OnConnectAuthenticate begins a session, or has the broker answer CONNACK 5, not authorized. It comes before the CONNACK: who
// is told that it is connected shows as connected.
func (h *hook) OnConnectAuthenticate(cl *broker.Client, pk packets.Packet) bool {
	a, err := h.server.admit(pk.Connect, connOf(cl))
	if err == nil {
		err = h.server.begin(newSession(h.server, cl, a))
	}
	if err != nil {
		h.server.Logger.V(1).Info("Refused a device", "clientID", pk.Connect.ClientIdentifier, "reason", err.Error())
	}
	return err == nil
}

// OnSessionEstablished finds the subscriptions that the device has from its last connection.
func (h *hook) OnSessionEstablished(cl *broker.Client, _ packets.Packet) { h.subscriptionsChanged(cl) }

// OnSubscribed comes before the SUBACK.
func (h *hook) OnSubscribed(cl *broker.Client, _ packets.Packet, _ []byte) {
	h.subscriptionsChanged(cl)
}

// OnUnsubscribed also comes when the broker forgets a client.
func (h *hook) OnUnsubscribed(cl *broker.Client, _ packets.Packet) { h.subscriptionsChanged(cl) }

func (h *hook) subscriptionsChanged(cl *broker.Client) {
	if one := h.server.sessionOf(cl); one != nil {
		one.takeMethods(one.subscribed(methodFilter))
	}
}

// OnACLCheck has nothing to add to OnPacketRead.
func (h *hook) OnACLCheck(*broker.Client, string, bool) bool { return true }

// OnPacketRead ends the connection of a device that breaks the rules of topics.
func (h *hook) OnPacketRead(cl *broker.Client, pk packets.Packet) (packets.Packet, error) {
	var err error
	switch pk.FixedHeader.Type {
	case packets.Publish:
		err = checkPublish(cl.ID, pk)
	case packets.Subscribe:
		err = checkSubscribe(cl, pk)
	}
	if err == nil {
		return pk, nil
	}
	h.server.Logger.V(1).Info("Ended the connection of a device", "clientID", cl.ID, "reason", err.Error())
	return pk, packets.ErrRejectPacket
}

func checkPublish(id string, pk packets.Packet) error {
	if pk.FixedHeader.Qos > 1 {
		return fmt.Errorf("QoS %d", pk.FixedHeader.Qos)
	}
	if len(pk.Payload) > maxMessage {
		return fmt.Errorf("a message of %d bytes", len(pk.Payload))
	}
	_, err := parsePublication(id, pk.TopicName)
	return err
}

func checkSubscribe(cl *broker.Client, pk packets.Packet) error {
	filters := map[string]bool{}
	for name := range cl.State.Subscriptions.GetAll() {
		filters[name] = true
	}
	for _, f := range pk.Filters {
		if !maySubscribe(cl.ID, f.Filter) {
			return fmt.Errorf("the topic filter %q is none of a device", f.Filter)
		}
		filters[f.Filter] = true
	}
	if len(filters) > maxSubscriptions {
		return fmt.Errorf("%d subscriptions", len(filters))
	}
	return nil
}

// OnPublish has the session deal with what the device published. The broker acknowledges it and gives it to nobody.
func (h *hook) OnPublish(cl *broker.Client, pk packets.Packet) (packets.Packet, error) {
	p, err := parsePublication(cl.ID, pk.TopicName)
	if one := h.server.sessionOf(cl); err == nil && one != nil {
		one.published(p, pk)
	}
	return pk, packets.CodeSuccessIgnore
}

// OnWill sends the message that the device left for the case that its connection breaks.
func (h *hook) OnWill(cl *broker.Client, w broker.Will) (broker.Will, error) {
	p, err := parsePublication(cl.ID, w.TopicName)
	if err == nil && p.kind == telemetry {
		h.server.publish(cl.ID, p, w.Payload, map[string]any{"iothub-MessageType": "Will"})
	}
	return w, nil
}

func connOf(cl *broker.Client) *conn { return cl.Net.Conn.(*conn) }
