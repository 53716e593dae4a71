package hub

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net"
	"strings"

	apimeta "k8s.io/apimachinery/pkg/api/meta"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pnp-operator/pnp-operator/api/v1alpha1"
	"github.com/pnp-operator/pnp-operator/internal/allowlist"
	"github.com/pnp-operator/pnp-operator/internal/conditions"
	"github.com/pnp-operator/pnp-operator/internal/eventstream"
	"github.com/pnp-operator/pnp-operator/internal/halt"
	"github.com/pnp-operator/pnp-operator/internal/session"
)

// eventStream is the stream of events that a hub's spec and Secret ask for.
type eventStream struct {
	// wanted is nil without spec.events.
	wanted *v1alpha1.EventSource
	config eventstream.Config
	// problem keeps the stream from being read; the rest of the hub works without it.
	problem *halt.Error
	// goesOn is true if the right to read its Secret was withdrawn from under it: it is read with what was known before.
	goesOn bool
}

// fingerprint changes with everything that the stream depends on.
func (e eventStream) fingerprint() string {
	switch {
	case e.wanted == nil:
		return ""
	case e.problem != nil && !e.goesOn:
		return e.problem.Error()
	}
	return strings.Join([]string{e.config.ConnectionString, e.config.ConsumerGroup, e.config.Endpoint, string(e.config.CABundle), fmt.Sprint(e.config.WebSocket)}, "\x00")
}

// eventsOf reads what the event stream depends on. Only an API server that fails is an error.
func (r *IoTHubReconciler) eventsOf(ctx context.Context, hub *v1alpha1.IoTHub) (eventStream, error) {
	e := eventStream{wanted: hub.Spec.Events}
	if e.wanted == nil {
		return e, nil
	}
	config, err := r.eventConfig(ctx, hub)
	if err != nil && !errors.As(err, &e.problem) {
		return e, err
	}
	if halt.IsDenied(err) && r.goesOn(hub) {
		e.problem, e.goesOn = goingOn(err), true
		return e, nil
	}
	e.config = config
	return e, nil
}

func (r *IoTHubReconciler) eventConfig(ctx context.Context, hub *v1alpha1.IoTHub) (eventstream.Config, error) {
	config, err := r.eventSource(ctx, hub)
	if err != nil {
		return config, err
	}
	if err := r.checkEventHost(config.Namespace, hub.Spec.Events.Endpoint); err != nil {
		return config, halt.Stalled(v1alpha1.ReasonHostNotAllowed, err.Error(), 0)
	}
	config.ConsumerGroup, config.Instance = hub.Spec.Events.ConsumerGroup, "pnp-operator/"+hub.Namespace+"/"+hub.Name
	config.Endpoint, config.CABundle = hub.Spec.Events.Endpoint, []byte(hub.Spec.Events.CABundle)
	config.WebSocket = hub.Spec.Events.Transport == v1alpha1.EventTransportWebSocket
	if err := config.Check(); err != nil {
		return config, halt.Stalled(v1alpha1.ReasonInvalidEndpoint, "spec.events: "+err.Error(), 0)
	}
	return config, nil
}

// streamKey is what one IoTHub of the cluster reads at a time.
func streamKey(c eventstream.Config) session.StreamKey {
	return session.StreamKey{
		Namespace: strings.ToLower(c.Namespace), Endpoint: c.Endpoint, CABundle: string(c.CABundle),
		EventHub: strings.ToLower(c.EventHub), ConsumerGroup: strings.ToLower(c.ConsumerGroup),
	}
}

// eventSource reads where the events are, and the credential for it.
func (r *IoTHubReconciler) eventSource(ctx context.Context, hub *v1alpha1.IoTHub) (eventstream.Config, error) {
	if source := hub.Spec.Events.EventHub; source != nil {
		has, err := r.identities.credential(hub)
		if err != nil {
			return eventstream.Config{}, err
		}
		return eventstream.Config{Credential: has.Credential, Namespace: source.FullyQualifiedNamespace, EventHub: source.Name}, nil
	}
	ref := hub.Spec.Events.ConnectionStringSecretRef
	secret, err := r.secretValue(ctx, hub, ref)
	if err != nil {
		return eventstream.Config{}, err
	}
	config, err := eventstream.ParseConnectionString(secret)
	if err != nil {
		return config, halt.Stalled(v1alpha1.ReasonInvalidConnectionString, keyName(ref)+": "+err.Error(), 0)
	}
	return config, nil
}

// amqpPort is where event hubs answer, beside that of WebSockets, which is that of HTTPS. A namespace
// without a port is dialled there.
const amqpPort = "5671"

// checkEventHost guards the token as the hub client guards its own: the namespace and what is dialled have to be allowed.
func (r *IoTHubReconciler) checkEventHost(namespace, endpoint string) error {
	host, _, err := net.SplitHostPort(namespace)
	dialled := cmp.Or(endpoint, namespace)
	if err != nil {
		host = namespace
		dialled = cmp.Or(endpoint, net.JoinHostPort(namespace, amqpPort))
	}
	allowed := allowlist.List{Entries: r.AllowedEventHubSuffixes, Flag: "--allowed-event-hub-suffixes", Ports: []string{amqpPort}}
	return allowed.Check(host, "https://"+dialled)
}

// describeEvents says how the event stream is doing.
func (r *IoTHubReconciler) describeEvents(hub *v1alpha1.IoTHub, e eventStream) {
	if e.wanted == nil {
		apimeta.RemoveStatusCondition(hub.GetConditions(), v1alpha1.ConditionEventStreamReady)
		return
	}
	v := conditions.Verdict{Reason: v1alpha1.ReasonConnecting, Message: "Opening the event stream"}
	session := r.Hubs.Get(client.ObjectKeyFromObject(hub))
	switch {
	case e.problem != nil:
		v = e.problem.Verdict
	case session == nil:
		v.Message = "Waiting for the hub to accept the credential"
	default:
		if state, ok := session.Stream(); ok {
			v = streamVerdict(hub, e.config.EventHub, state, session)
		}
	}
	if e.goesOn && v.Ready {
		v = e.problem.Verdict
	}
	conditions.Set(hub, v1alpha1.ConditionEventStreamReady, v.Ready, v.Reason, v.Message)
}

func streamVerdict(hub *v1alpha1.IoTHub, eventHub string, state eventstream.State, session *session.Session) conditions.Verdict {
	group := hub.Spec.Events.ConsumerGroup
	switch state.Phase {
	case eventstream.Reading:
		return readingVerdict(hub, session)
	case eventstream.Connecting:
		return conditions.Verdict{Reason: v1alpha1.ReasonConnecting, Message: "Opening the event stream"}
	case eventstream.Lagging:
		return conditions.Verdict{Reason: v1alpha1.ReasonLagging, Message: "Events wait at the hub to be read" + ofPartitions(state)}
	case eventstream.Shared:
		return conditions.Verdict{Reason: v1alpha1.ReasonConsumerGroupShared, Message: fmt.Sprintf(
			"Another IoTHub of this cluster reads consumer group %q of event hub %q: give each its own", group, eventHub)}
	case eventstream.Taken:
		return conditions.Verdict{Reason: v1alpha1.ReasonConsumerGroupTaken, Message: fmt.Sprintf(
			"Another reader has consumer group %q%s: the operator needs one for itself, and goes on by itself when that reader leaves", group, ofPartitions(state))}
	case eventstream.Unauthorized:
		return conditions.Verdict{Reason: v1alpha1.ReasonUnauthorized, Message: eventsRefused(hub)}
	case eventstream.HubGone:
		return conditions.Verdict{Reason: v1alpha1.ReasonEndpointMoved, Message: eventsGone(hub)}
	case eventstream.GroupGone:
		return conditions.Verdict{Reason: v1alpha1.ReasonConsumerGroupNotFound, Message: groupGone(hub)}
	case eventstream.Busy:
		return conditions.Verdict{Reason: v1alpha1.ReasonEventHubBusy, Message: "The event hub is busy, or has no room for another reader; tried again" + ofPartitions(state)}
	case eventstream.StoreFailed:
		return conditions.Verdict{Reason: v1alpha1.ReasonCheckpointFailed, Message: "The operator cannot read or write its checkpoint (a ConfigMap in its own namespace): see its log"}
	}
	return conditions.Verdict{Reason: v1alpha1.ReasonEventHubUnavailable, Message: "The event hub cannot be reached, or breaks off; tried again" + ofPartitions(state)}
}

func eventsRefused(hub *v1alpha1.IoTHub) string {
	if source := hub.Spec.Events.EventHub; source != nil {
		return fmt.Sprintf("Event hub %q refused the token of the workload identity: it needs the role 'Azure Event Hubs Data Receiver', and a new one takes minutes to count", source.Name)
	}
	return keyName(hub.Spec.Events.ConnectionStringSecretRef) + ": the event hub refused the credential: check the policy, its key and that it may listen"
}

func eventsGone(hub *v1alpha1.IoTHub) string {
	if source := hub.Spec.Events.EventHub; source != nil {
		return fmt.Sprintf("Event hub %q does not exist in namespace %q: correct spec.events.eventHub", source.Name, source.FullyQualifiedNamespace)
	}
	return keyName(hub.Spec.Events.ConnectionStringSecretRef) +
		": the event hub does not exist. After a failover the built-in endpoint has another name: put its new connection string into the Secret"
}

func groupGone(hub *v1alpha1.IoTHub) string {
	group := hub.Spec.Events.ConsumerGroup
	if source := hub.Spec.Events.EventHub; source != nil {
		namespace, _, _ := strings.Cut(source.FullyQualifiedNamespace, ".")
		return fmt.Sprintf("Consumer group %q does not exist: az eventhubs eventhub consumer-group create --namespace-name %s --eventhub-name %s --name %s --resource-group ...",
			group, namespace, source.Name, group)
	}
	return fmt.Sprintf("Consumer group %q does not exist: az iot hub consumer-group create --hub-name %s --name %s", group, hubName(hub), group)
}

func readingVerdict(hub *v1alpha1.IoTHub, session *session.Session) conditions.Verdict {
	if session.EventsMissing() {
		return conditions.Verdict{Reason: v1alpha1.ReasonNoTwinChangeEvents, Message: fmt.Sprintf(
			"The operator's own writes do not come back as events: no route sends twin changes here. For the built-in endpoint: "+
				"for s in TwinChangeEvents DeviceLifecycleEvents DeviceConnectionStateEvents DeviceMessages; do az iot hub message-route create --hub-name %s "+
				"--route-name pnp-$s --source-type $s --endpoint-name events; done (DeviceMessages, since the first route ends the default one for telemetry)", hubName(hub))}
	}
	if session.EventsTrusted() {
		return conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonStreaming, Message: "Device changes arrive as events"}
	}
	if session.EventsLate() {
		return conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonStreaming, Message: "The event stream is read; a write of the operator has not come back through it yet"}
	}
	return conditions.Verdict{Ready: true, Reason: v1alpha1.ReasonStreaming, Message: "The event stream is read; no twin change has come through it yet"}
}

func ofPartitions(state eventstream.State) string {
	if len(state.Partitions) == 0 {
		return ""
	}
	return " (partitions " + strings.Join(state.Partitions, ", ") + ")"
}

func hubName(hub *v1alpha1.IoTHub) string {
	name, _, _ := strings.Cut(hub.Spec.HostName, ".")
	return name
}
